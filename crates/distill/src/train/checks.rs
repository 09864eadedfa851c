//! Numbers that broke down: in a step, a weight, an answer, a measurement.

use faculty_nets::Network;
use faculty_teachers::RunData;

use crate::error::Result;
use crate::evaluate::broken_output;
use crate::learner::StepRecord;
use crate::metrics::Quality;

/// The student's answers, in the words of [`crate::Error::NotFinite`].
pub(crate) const OUTPUTS: &str = "an output of the student";

/// The first part of a loss that is not finite.
pub(crate) fn broken(step: &StepRecord) -> Option<(String, f64)> {
    let mut named = step.terms.iter().map(|t| (format!("loss term `{}`", t.name), t.value));
    named
        .find(|(_, value)| !value.is_finite())
        .or_else(|| (!step.loss.is_finite()).then(|| ("the loss".to_owned(), step.loss)))
}

/// A first output of the student that is not finite. Weights may all be finite, and yet so large
/// that the maps they make are not: a checkpoint of such a student is good for nothing.
pub(crate) fn broken_student(student: &Network, data: &RunData) -> Result<Option<f64>> {
    let part = data.validation.as_ref().filter(|part| !part.is_empty());
    broken_output(student, part.unwrap_or(&data.train), &data.views)
}

/// The quality of a student whose answers are not all finite.
pub(crate) fn broken_quality(quality: Option<Quality>) -> Option<f64> {
    quality.filter(|quality| !quality.is_finite()).map(|quality| quality.nll)
}

/// The first weight that is not finite.
pub(crate) fn broken_weight(network: &Network) -> Option<f64> {
    let mut weights = network.parameters().iter().flatten();
    weights.find(|w| !w.is_finite()).map(|&w| f64::from(w))
}
