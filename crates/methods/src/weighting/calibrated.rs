//! CA-MKD's rule on calibrated teachers.

use burn::Tensor;
use burn::tensor::Int;

use faculty_data::MixedLabels;

use super::{Confidence, Weighting};

/// [`Confidence`] on `z_k / T_k`: a teacher that is surer than it should be does not look more
/// right than it is.
#[derive(Clone, Debug)]
pub struct CalibratedConfidence {
    /// `T_k > 0` of each teacher, `[teachers]`.
    pub temperatures: Vec<f64>,
}

impl CalibratedConfidence {
    /// Teacher logits `[teachers, batch, classes]` divided by each teacher's temperature.
    #[must_use]
    pub fn calibrate(&self, teacher_logits: &Tensor<3>) -> Tensor<3> {
        let divisors: Vec<f32> = self.temperatures.iter().map(|&t| t as f32).collect();
        let divisors: Tensor<1> =
            Tensor::from_floats(divisors.as_slice(), &teacher_logits.device());
        teacher_logits.clone() / divisors.reshape([self.temperatures.len(), 1, 1])
    }
}

impl Weighting for CalibratedConfidence {
    fn weights(&self, teacher_logits: &Tensor<3>, labels: &Tensor<1, Int>) -> Tensor<2> {
        Confidence.weights(&self.calibrate(teacher_logits), labels)
    }

    fn mixed_weights(
        &self,
        teacher_logits: &Tensor<3>,
        labels: &Tensor<1, Int>,
        mixed: &MixedLabels,
    ) -> Tensor<2> {
        Confidence.mixed_weights(&self.calibrate(teacher_logits), labels, mixed)
    }
}
