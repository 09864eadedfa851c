//! CA-MKD's rule: a teacher counts by how small its cross-entropy against the true label is.
//!
//! Zhang, Chen, Wang, ICASSP 2022, <https://arxiv.org/abs/2201.00007>.

use burn::Tensor;
use burn::tensor::Int;
use faculty_kernels::softmax_kl::cross_entropy_rows;

use super::{Weighting, complement_of_softmax_values, constant};
use faculty_contract::losses::{class_numbers, costs_by_label, numbers};
use faculty_data::MixedLabels;

/// `w[k,b] = (1 - softmax_k(CE_b(z_k))) / (K - 1)`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Confidence;

impl Weighting for Confidence {
    fn weights(&self, teacher_logits: &Tensor<3>, labels: &Tensor<1, Int>) -> Tensor<2> {
        of_logits(teacher_logits, labels, None)
    }

    /// By the mean of the cross-entropies against both labels.
    fn mixed_weights(
        &self,
        teacher_logits: &Tensor<3>,
        labels: &Tensor<1, Int>,
        mixed: &MixedLabels,
    ) -> Tensor<2> {
        of_logits(teacher_logits, labels, Some(mixed))
    }
}

fn of_logits(
    teacher_logits: &Tensor<3>,
    labels: &Tensor<1, Int>,
    mixed: Option<&MixedLabels>,
) -> Tensor<2> {
    let [teachers, batch, classes] = teacher_logits.dims();
    let logits = numbers(teacher_logits);
    let cost = costs_by_label(&class_numbers(labels), mixed, |labels| {
        cross_entropy_rows(classes, &logits, labels)
    });
    let weights = complement_of_softmax_values(&cost, teachers);
    constant(&weights, [teachers, batch], &teacher_logits.device())
}

/// The same of plain numbers: each teacher's logits `[batch, classes]`; weights
/// `[teachers, batch]`.
#[must_use]
pub fn confidence_values(
    teacher_logits: &[&[f32]],
    labels: &[u32],
    mixed: Option<&MixedLabels>,
) -> Vec<f64> {
    let of = |labels: &[u32]| -> Vec<f64> {
        let classes = |logits: &[f32]| logits.len() / labels.len().max(1);
        let all = teacher_logits.iter();
        all.flat_map(|logits| cross_entropy_rows(classes(logits), logits, labels)).collect()
    };
    complement_of_softmax_values(&costs_by_label(labels, mixed, of), teacher_logits.len())
}
