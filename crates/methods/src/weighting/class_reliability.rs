//! A teacher counts by how reliable it is on the sample's class.

use burn::Tensor;
use burn::tensor::Int;

use faculty_data::MixedLabels;

use super::Weighting;

/// `w[k,b] = r[k,y_b] / Σ_j r[j,y_b]` from a table of reliabilities; `1/K` where all are 0.
#[derive(Clone, Debug)]
pub struct ClassReliability {
    /// Weights `[teachers][classes]`; sum to 1 over the teachers for every class.
    shares: Vec<Vec<f32>>,
}

impl ClassReliability {
    /// From reliabilities `[teachers][classes]`, none below 0.
    #[must_use]
    pub fn new(reliabilities: &[Vec<f64>]) -> Self {
        let count = reliabilities.len() as f64;
        let classes = reliabilities.first().map_or(0, Vec::len);
        let whole: Vec<f64> = (0..classes)
            .map(|class| reliabilities.iter().map(|teacher| teacher[class]).sum())
            .collect();
        let share = |(teacher, whole): (&f64, &f64)| {
            (if *whole > 0.0 { teacher / whole } else { 1.0 / count }) as f32
        };
        let shares = reliabilities
            .iter()
            .map(|teacher| teacher.iter().zip(&whole).map(share).collect())
            .collect();
        Self { shares }
    }
}

impl Weighting for ClassReliability {
    fn weights(&self, teacher_logits: &Tensor<3>, labels: &Tensor<1, Int>) -> Tensor<2> {
        let device = teacher_logits.device();
        let [teachers, _, classes] = teacher_logits.dims();
        let shares: Vec<f32> = self.shares.iter().flatten().copied().collect();
        let shares: Tensor<1> = Tensor::from_floats(shares.as_slice(), &device);
        shares.reshape([teachers, classes]).select(1, labels.clone())
    }

    /// The mean by their shares of the weights on both classes.
    fn mixed_weights(
        &self,
        teacher_logits: &Tensor<3>,
        labels: &Tensor<1, Int>,
        mixed: &MixedLabels,
    ) -> Tensor<2> {
        let device = teacher_logits.device();
        let partners: Vec<i64> = mixed.partners.iter().map(|&label| label.into()).collect();
        let partners = Tensor::<1, Int>::from_data(partners.as_slice(), &device);
        let shares = Tensor::<1>::from_floats(mixed.shares.as_slice(), &device).unsqueeze::<2>();
        let rest = shares.clone().neg() + 1.0;
        self.weights(teacher_logits, labels) * shares
            + self.weights(teacher_logits, &partners) * rest
    }
}
