//! AEKD's rule: the weights under which the teachers pull the student where they agree.
//!
//! Du et al., "Agree to disagree: adaptive ensemble knowledge distillation in gradient space",
//! NeurIPS 2020.

use burn::Tensor;
use burn::tensor::TensorData;

use super::min_norm::min_norm_weights;

/// `argmin ‖Σ_k a_k v_k‖²` with `Σ a = 1` and `0 ≤ a_k ≤ max(cap, 1/K)`; one weight a teacher.
///
/// Each of `vectors` is the pull of one teacher; all have the same length.
#[must_use]
pub fn agreement_weights(vectors: &[Vec<f64>], cap: f64) -> Vec<f64> {
    let count = vectors.len();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let gram: Vec<f64> =
        (0..count * count).map(|i| dot(&vectors[i / count], &vectors[i % count])).collect();
    min_norm_weights(&gram, count, cap)
}

/// For each teacher the gradient of `mean_b τ² KL(σ(z_k/τ) ‖ σ(z_S/τ))` by the student's logits,
/// averaged over the batch: `v_k = mean_b τ (σ(z_S/τ) - σ(z_k/τ)) / B`, `[classes]` each.
///
/// Shapes: teachers `[teachers, batch, classes]`, student `[batch, classes]`.
#[must_use]
pub fn logit_gradients(
    teachers: &Tensor<3>,
    student: &Tensor<2>,
    temperature: f32,
) -> Vec<Vec<f64>> {
    let [count, batch, classes] = teachers.dims();
    let temperature = f64::from(temperature);
    let student = values(student);
    let teachers = values(teachers);
    let summed = |logits: &[f32]| -> Vec<f64> {
        let mut sum = vec![0.0; classes];
        for row in logits.chunks_exact(classes) {
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let exponent = |z: &f32| (f64::from(z - largest) / temperature).exp();
            let total: f64 = row.iter().map(exponent).sum();
            sum.iter_mut().zip(row).for_each(|(sum, z)| *sum += exponent(z) / total);
        }
        sum
    };
    let of_student = summed(&student);
    let factor = temperature / (batch * batch) as f64;
    teachers
        .chunks_exact(batch * classes)
        .take(count)
        .map(|teacher| {
            of_student
                .iter()
                .zip(summed(teacher))
                .map(|(student, other)| factor * (student - other))
                .collect()
        })
        .collect()
}

/// One weight a teacher as `[teachers, batch]`, the same for every sample.
#[must_use]
pub fn same_for_all_samples(weights: &[f64], batch: usize, like: &Tensor<2>) -> Tensor<2> {
    let all: Vec<f32> =
        weights.iter().flat_map(|&w| std::iter::repeat_n(w as f32, batch)).collect();
    Tensor::from_data(TensorData::new(all, [weights.len(), batch]), &like.device())
}

fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    let data = tensor.clone().detach().into_data();
    data.try_to_vec::<f32>().expect("every tensor here holds f32")
}
