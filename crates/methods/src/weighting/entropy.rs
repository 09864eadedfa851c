//! EBKD's rule: a teacher counts by how sure its output is, whatever the label.
//!
//! Kwon, Na, Lee, Kim, "Adaptive knowledge distillation based on entropy", ICASSP 2020.

use burn::Tensor;
use burn::tensor::Int;

use super::{Weighting, complement};
use faculty_contract::losses::entropy;

/// Keeps the shares defined, and equal, where every teacher's entropy is 0.
const EPSILON: f32 = 1e-12;

/// `w[k,b] = (1 - H_k/Σ_j H_j) / (K - 1)`, `H` the entropy of `σ(z_k)` at temperature 1.
#[derive(Clone, Copy, Debug, Default)]
pub struct Entropy;

impl Weighting for Entropy {
    fn weights(&self, teacher_logits: &Tensor<3>, _labels: &Tensor<1, Int>) -> Tensor<2> {
        let [teachers, batch, classes] = teacher_logits.dims();
        let rows = teacher_logits.clone().reshape([teachers * batch, classes]);
        // Rounding may leave an entropy a little below 0.
        let entropy = entropy(rows).reshape([teachers, batch]).clamp_min(0.0) + EPSILON;
        complement(entropy.clone() / entropy.sum_dim(0)).detach()
    }
}
