//! One teacher counts, the others do not: the rule of `best-teacher`.

use burn::Tensor;
use burn::tensor::Int;

use super::Weighting;

/// `w[k,b] = 1` for one teacher `k`, 0 for the others.
#[derive(Clone, Copy, Debug)]
pub struct Single {
    /// Position of the teacher that counts.
    pub teacher: usize,
}

impl Weighting for Single {
    fn weights(&self, teacher_logits: &Tensor<3>, _labels: &Tensor<1, Int>) -> Tensor<2> {
        let [teachers, batch, _] = teacher_logits.dims();
        let rows: Vec<f32> = (0..teachers).map(|k| f32::from(k == self.teacher)).collect();
        let rows: Tensor<1> = Tensor::from_floats(rows.as_slice(), &teacher_logits.device());
        rows.reshape([teachers, 1]).repeat_dim(1, batch)
    }
}
