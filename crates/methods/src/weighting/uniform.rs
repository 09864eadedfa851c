//! Every teacher counts the same: the rule of AVER.

use burn::Tensor;
use burn::tensor::Int;

use super::Weighting;

/// `w[k,b] = 1/K`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Uniform;

impl Weighting for Uniform {
    fn weights(&self, teacher_logits: &Tensor<3>, _labels: &Tensor<1, Int>) -> Tensor<2> {
        let [teachers, batch, _] = teacher_logits.dims();
        Tensor::full([teachers, batch], 1.0 / teachers as f32, &teacher_logits.device())
    }
}
