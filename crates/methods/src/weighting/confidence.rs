//! CA-MKD's rule: a teacher counts by how small its cross-entropy against the true label is.
//!
//! Zhang, Chen, Wang, ICASSP 2022, <https://arxiv.org/abs/2201.00007>.

use burn::Tensor;
use burn::tensor::Int;
use faculty_kernels::softmax_kl::cross_entropy_rows;

use super::{Weighting, complement_of_softmax_values, constant};
use faculty_contract::losses::{class_numbers, numbers};

/// `w[k,b] = (1 - softmax_k(CE_b(z_k))) / (K - 1)`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Confidence;

impl Weighting for Confidence {
    fn weights(&self, teacher_logits: &Tensor<3>, labels: &Tensor<1, Int>) -> Tensor<2> {
        let [teachers, batch, classes] = teacher_logits.dims();
        let cost = cross_entropy_rows(classes, &numbers(teacher_logits), &class_numbers(labels));
        let weights = complement_of_softmax_values(&cost, teachers);
        constant(&weights, [teachers, batch], &teacher_logits.device())
    }
}

/// The same of plain numbers: each teacher's logits `[batch, classes]`; weights
/// `[teachers, batch]`.
#[must_use]
pub fn confidence_values(teacher_logits: &[&[f32]], labels: &[u32]) -> Vec<f64> {
    let costs: Vec<f64> = teacher_logits
        .iter()
        .flat_map(|logits| cross_entropy_rows(logits.len() / labels.len().max(1), logits, labels))
        .collect();
    complement_of_softmax_values(&costs, teacher_logits.len())
}
