//! How much each teacher counts for each sample.
//!
//! A rule gives weights `[teachers, batch]` that sum to 1 over the teachers for every sample, so
//! that every multi-teacher method has the same distillation strength at the same α. Weights are
//! constants: no gradient flows through them.

use burn::Tensor;
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Int, TensorData};
use faculty_contract::Step;
use faculty_data::MixedLabels;

mod agreement;
mod calibrated;
mod class_reliability;
mod confidence;
mod entropy;
mod max_probability;
mod min_norm;
mod one_at_random;
mod single;
mod uniform;
mod unlabelled;

pub use agreement::{agreement_weights, logit_gradients, same_for_all_samples};
pub use calibrated::CalibratedConfidence;
pub use class_reliability::ClassReliability;
pub use confidence::{Confidence, confidence_values};
pub use entropy::Entropy;
/// [`complement_of_softmax`] of plain numbers, `[teachers, batch]`.
pub use faculty_kernels::teacher_weights::complement_of_softmax as complement_of_softmax_values;
pub use max_probability::MaxProbability;
pub use min_norm::min_norm_weights;
pub use one_at_random::{DrawPer, OneAtRandom};
pub use single::Single;
pub use uniform::Uniform;
pub use unlabelled::WithoutLabel;

/// A rule that weighs teachers per sample.
pub trait Weighting: Send + Sync + std::fmt::Debug {
    /// Weights `[teachers, batch]`, from teacher logits `[teachers, batch, classes]` and labels
    /// `[batch]` in `0..classes` (in rules that read none they may be anything). Every column sums to 1.
    fn weights(&self, teacher_logits: &Tensor<3>, labels: &Tensor<1, Int>) -> Tensor<2>;

    /// The same of samples mixed from two. A rule that reads labels reads both; others need nothing of
    /// their own.
    fn mixed_weights(
        &self,
        teacher_logits: &Tensor<3>,
        labels: &Tensor<1, Int>,
        mixed: &MixedLabels,
    ) -> Tensor<2> {
        let _ = mixed;
        self.weights(teacher_logits, labels)
    }

    /// The weights of a step's samples by these logits.
    fn of_step(&self, teacher_logits: &Tensor<3>, step: &Step) -> Tensor<2> {
        match &step.mixed {
            None => self.weights(teacher_logits, &step.labels),
            Some(mixed) => self.mixed_weights(teacher_logits, &step.labels, mixed),
        }
    }
}

/// `(1 - softmax_k(cost)) / (K - 1)` over the teacher axis: a low cost earns a high weight, and the
/// weights sum to 1. With one teacher the weight is 1 (the formula would divide by zero).
///
/// Shape: cost `[teachers, batch]`, result likewise.
#[must_use]
pub fn complement_of_softmax(cost: Tensor<2>) -> Tensor<2> {
    complement(softmax(cost, 0))
}

/// `(1 - share) / (K - 1)`: weights that sum to 1 from shares that do, the larger the share the
/// lower the weight. With one teacher the weight is 1.
///
/// Shape: shares `[teachers, batch]`, result likewise.
#[must_use]
pub fn complement(shares: Tensor<2>) -> Tensor<2> {
    let teachers = shares.dims()[0];
    if teachers == 1 {
        return shares.ones_like();
    }
    (shares.neg() + 1.0) / (teachers - 1) as f32
}

/// Plain weights `[teachers, batch]` as a constant tensor.
fn constant(weights: &[f64], [teachers, batch]: [usize; 2], device: &Device) -> Tensor<2> {
    let weights: Vec<f32> = weights.iter().map(|&weight| weight as f32).collect();
    Tensor::from_data(TensorData::new(weights, [teachers, batch]), device)
}
