//! EBKD's rule: a teacher counts by how sure its output is, whatever the label.
//!
//! Kwon, Na, Lee, Kim, "Adaptive knowledge distillation based on entropy", ICASSP 2020.

use burn::Tensor;
use burn::tensor::Int;
use faculty_kernels::teacher_weights::complement_of_shares;

use super::{Weighting, constant};
use faculty_contract::losses::{entropy, numbers};

/// `w[k,b] = (1 - H_k/Σ_j H_j) / (K - 1)`, `H` the entropy of `σ(z_k)` at temperature 1.
#[derive(Clone, Copy, Debug, Default)]
pub struct Entropy;

impl Weighting for Entropy {
    fn weights(&self, teacher_logits: &Tensor<3>, _labels: &Tensor<1, Int>) -> Tensor<2> {
        let [teachers, batch, classes] = teacher_logits.dims();
        let rows = teacher_logits.clone().reshape([teachers * batch, classes]);
        // Rounding may leave an entropy a little below 0.
        let entropy = numbers(&entropy(rows)).into_iter().map(|value| f64::from(value).max(0.0));
        let weights = complement_of_shares(&entropy.collect::<Vec<_>>(), teachers);
        constant(&weights, [teachers, batch], &teacher_logits.device())
    }
}
