//! DIH: distillation from classifier heads mounted inside one teacher.
//!
//! Asadian, Salehi-Abari, 2021, <https://arxiv.org/abs/2103.00497>.
//!
//! ```text
//! L = Σ_j [ (1 - a) mean_b CE_b(z_S) + a mean_b τ² KL(σ(head_j/τ) ‖ σ(z_S/τ)) ]     j: final head, then inner ones
//! ```
//! divided by the number of heads if `mean`.
//! # Shapes
//! heads `[heads, batch, classes]`, student logits `[batch, classes]`, labels `[batch]`.
//! # Gradient
//! through the student only.
//! # Paper and code
//! the released code sums over the heads, a = 0.1, τ = 5.
//! # Limits
//! only the loss: training heads on a frozen teacher is not built, so there is no method of this name
//! yet. Given the heads as teachers, every rule of [`crate::weighting`] applies to them.

use burn::Tensor;
use burn::tensor::Int;

use crate::losses::{cross_entropy, weighted_kl};

/// The loss, `[1]`.
#[must_use]
pub fn loss_of_heads(
    heads: &Tensor<3>,
    student: &Tensor<2>,
    labels: &Tensor<1, Int>,
    alpha: f32,
    temperature: f32,
    mean: bool,
) -> Tensor<1> {
    let [count, batch, _] = heads.dims();
    let share = if mean { 1.0 / count as f32 } else { 1.0 };
    let task = cross_entropy(student.clone(), labels).mean();
    let weights = Tensor::full([count, batch], share, &student.device());
    let kd = weighted_kl(heads, student, &weights, temperature);
    task * ((1.0 - alpha) * share * count as f32) + kd * alpha
}
