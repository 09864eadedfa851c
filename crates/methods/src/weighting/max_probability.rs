//! A teacher counts by its largest probability, whatever the label.

use burn::Tensor;
use burn::tensor::Int;
use burn::tensor::activation::softmax;

use super::Weighting;

/// `w[k,b] = m_k / Σ_j m_j`, `m_k` the largest of `σ(z_k)` at temperature 1.
#[derive(Clone, Copy, Debug, Default)]
pub struct MaxProbability;

impl Weighting for MaxProbability {
    fn weights(&self, teacher_logits: &Tensor<3>, _labels: &Tensor<1, Int>) -> Tensor<2> {
        let [teachers, batch, _] = teacher_logits.dims();
        let largest = softmax(teacher_logits.clone(), 2).max_dim(2).reshape([teachers, batch]);
        (largest.clone() / largest.sum_dim(0)).detach()
    }
}
