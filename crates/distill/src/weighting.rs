//! How much each teacher counts for each sample.
//!
//! A rule gives weights `[teachers, batch]` that sum to 1 over the teachers for every sample, so
//! that every multi-teacher method has the same distillation strength at the same α. Weights are
//! constants: no gradient flows through them.

use burn::Tensor;
use burn::tensor::Int;
use burn::tensor::activation::softmax;

mod calibrated;
mod class_reliability;
mod confidence;
mod single;
mod uniform;

pub use calibrated::CalibratedConfidence;
pub use class_reliability::ClassReliability;
pub use confidence::Confidence;
pub use single::Single;
pub use uniform::Uniform;

/// A rule that weighs teachers per sample.
pub trait Weighting: Send + Sync + std::fmt::Debug {
    /// Weights `[teachers, batch]`, from teacher logits `[teachers, batch, classes]` and labels
    /// `[batch]`. Every column sums to 1.
    fn weights(&self, teacher_logits: &Tensor<3>, labels: &Tensor<1, Int>) -> Tensor<2>;
}

/// `(1 - softmax_k(cost)) / (K - 1)` over the teacher axis: a low cost earns a high weight, and the
/// weights sum to 1. With one teacher the weight is 1 (the formula would divide by zero).
///
/// Shape: cost `[teachers, batch]`, result likewise.
#[must_use]
pub fn complement_of_softmax(cost: Tensor<2>) -> Tensor<2> {
    let teachers = cost.dims()[0];
    if teachers == 1 {
        return cost.ones_like();
    }
    (softmax(cost, 0).neg() + 1.0) / (teachers - 1) as f32
}

/// The same of plain numbers: cost `[teachers, batch]` row-major, result likewise.
#[must_use]
pub fn complement_of_softmax_values(cost: &[f64], teachers: usize) -> Vec<f64> {
    if teachers == 1 {
        return vec![1.0; cost.len()];
    }
    let batch = cost.len() / teachers.max(1);
    let mut weights = vec![0.0; cost.len()];
    for sample in 0..batch {
        let column = || (0..teachers).map(|k| cost[k * batch + sample]);
        let largest = column().fold(f64::NEG_INFINITY, f64::max);
        let whole: f64 = column().map(|cost| (cost - largest).exp()).sum();
        for k in 0..teachers {
            let share = (cost[k * batch + sample] - largest).exp() / whole;
            weights[k * batch + sample] = (1.0 - share) / (teachers - 1) as f64;
        }
    }
    weights
}
