//! What one batch showed.

/// A term of the loss at one batch.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct TermValue {
    /// Name of the term.
    pub name: &'static str,
    /// Its constant.
    pub weight: f64,
    /// Its value before weighting.
    pub value: f64,
}

/// What one batch showed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct StepRecord {
    /// `Σ weight · value`.
    pub loss: f64,
    /// Its parts.
    pub terms: Vec<TermValue>,
    /// Per level: each teacher's weight, mean over the batch.
    pub teacher_weights: Vec<(&'static str, Vec<f64>)>,
    /// Samples that the student got right in training mode; of mixed ones by the label of the larger
    /// share.
    pub correct: usize,
    /// Samples that have no label, which cannot be got right.
    pub unlabelled: usize,
}
