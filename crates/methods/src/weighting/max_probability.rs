//! A teacher counts by its largest probability, whatever the label.

use burn::Tensor;
use burn::tensor::Int;
use burn::tensor::activation::softmax;
use faculty_kernels::teacher_weights::shares;

use super::{Weighting, constant};
use faculty_contract::losses::numbers;

/// `w[k,b] = m_k / Σ_j m_j`, `m_k` the largest of `σ(z_k)` at temperature 1.
#[derive(Clone, Copy, Debug, Default)]
pub struct MaxProbability;

impl Weighting for MaxProbability {
    fn weights(&self, teacher_logits: &Tensor<3>, _labels: &Tensor<1, Int>) -> Tensor<2> {
        let [teachers, batch, _] = teacher_logits.dims();
        let largest = numbers(&softmax(teacher_logits.clone(), 2).max_dim(2));
        let largest: Vec<f64> = largest.into_iter().map(f64::from).collect();
        let device = &teacher_logits.device();
        constant(&shares(&largest, teachers), [teachers, batch], device)
    }
}
