//! CA-MKD's rule: a teacher counts by how small its cross-entropy against the true label is.
//!
//! Zhang, Chen, Wang, ICASSP 2022, <https://arxiv.org/abs/2201.00007>.

use burn::Tensor;
use burn::tensor::Int;

use super::{Weighting, complement_of_softmax};
use crate::losses::cross_entropy;

/// `w[k,b] = (1 - softmax_k(CE_b(z_k))) / (K - 1)`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Confidence;

impl Weighting for Confidence {
    fn weights(&self, teacher_logits: &Tensor<3>, labels: &Tensor<1, Int>) -> Tensor<2> {
        let [teachers, batch, classes] = teacher_logits.dims();
        let rows = teacher_logits.clone().reshape([teachers * batch, classes]);
        let labels = labels.clone().repeat_dim(0, teachers);
        let cost = cross_entropy(rows, &labels).reshape([teachers, batch]);
        complement_of_softmax(cost).detach()
    }
}
