//! One teacher at a time, drawn at random.

use burn::Tensor;
use burn::tensor::{Int, TensorData};
use faculty_data::rng::{Purpose, below, draw};

use super::Weighting;

/// What one draw decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DrawPer {
    /// The teacher of a whole batch.
    #[default]
    Batch,
    /// The teacher of one sample.
    Sample,
}

/// Weight 1 for the teacher that `draw` picks, 0 for the others; every teacher is equally likely.
#[derive(Clone, Copy, Debug)]
pub struct OneAtRandom {
    /// A random number, another one for every batch.
    pub step_seed: u64,
    /// Whether all samples of the batch get the same teacher.
    pub per: DrawPer,
}

impl Weighting for OneAtRandom {
    fn weights(&self, teacher_logits: &Tensor<3>, _labels: &Tensor<1, Int>) -> Tensor<2> {
        let [teachers, batch, _] = teacher_logits.dims();
        let mut weights = vec![0.0_f32; teachers * batch];
        for sample in 0..batch {
            let number = match self.per {
                DrawPer::Batch => 0,
                DrawPer::Sample => 1 + sample as u64,
            };
            let draw = draw(Purpose::Method, self.step_seed, number, 0, 0);
            weights[below(draw, teachers as u64) as usize * batch + sample] = 1.0;
        }
        Tensor::from_data(TensorData::new(weights, [teachers, batch]), &teacher_logits.device())
    }
}
