//! Gradients through one student step, by differences instead of second derivatives: what MMKD's
//! teacher weights and IKD's teacher learn from.
//!
//! Zhang, Chen, Wang, 2023, <https://arxiv.org/abs/2306.06634> (MMKD); Liu et al., EMNLP Findings
//! 2021, <https://arxiv.org/abs/2109.04641> (IKD).
//!
//! ```text
//! θ' = θ - η ∇[ mean_b CE + mean_b Σ_k w[k,b] ℓ_k,b ],   ℓ = τ² KL;   v = ∇ L_meta(θ')
//! ∂L_meta/∂w[k,b]   = -η/B ⟨∇ℓ_k,b, v⟩ ≈ -η/B (ℓ_k,b(θ+εv) - ℓ_k,b(θ-εv)) / 2ε,   ε = 2·10⁻⁴/‖v‖
//! ∂L_meta/∂z_k[b,c] ≈ -η τ w[k,b] / (2 ε B) · p_c (Σ_i p_i h_i - h_c),   h = log q(θ+εv) - log q(θ-εv)
//! ```
//! # Shapes
//! as named with each function.
//! # Gradient
//! the results are gradients.
//! # Paper and code
//! the papers differentiate twice; two more passes of the student give the same to a few percent.
//! Length of a probe: a step of 0.01, as is usual, crosses so many kinks of ReLU and bends batch norm
//! so much that what the map errors of all teachers have in common no longer cancels (up to 20 % of
//! what is left between teachers was wrong, measured against a backward pass for each weight on
//! ResNet-8 and -20, untrained and trained). Between 10⁻⁴ and 3·10⁻⁴ it is at most 4 %; below 10⁻⁴ the rounding of
//! `f32` takes over.
//! # Limits
//! The gradient is of first order in η: where a student bends much within a step it is rough.

/// Length of a probe.
const PROBE: f64 = 2e-4;

/// ε, from the direction v, so that the probe has its fixed length; 0 for a direction of length 0.
#[must_use]
pub fn probe_step(direction: &[f32]) -> f64 {
    let length = direction.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    if length > 0.0 { PROBE / length } else { 0.0 }
}

/// `∂L_meta/∂w`, `[teachers, batch]`, from ℓ at θ+εv and θ-εv, `[teachers, batch]` each.
#[must_use]
pub fn gradient_by_weights(
    above: &[f64],
    below: &[f64],
    batch: usize,
    inner_rate: f64,
    step: f64,
) -> Vec<f64> {
    let factor = -inner_rate / (batch as f64 * 2.0 * step);
    above.iter().zip(below).map(|(above, below)| factor * (above - below)).collect()
}

/// `∂L_meta/∂z_k` of one teacher and sample, `[classes]`, from its softened output p, the change h of
/// the student's softened log-probabilities between θ-εv and θ+εv, and its weight w.
#[must_use]
pub fn gradient_by_teacher_logits(
    softened: &[f64],
    change: &[f64],
    weight: f64,
    temperature: f64,
    batch: usize,
    inner_rate: f64,
    step: f64,
) -> Vec<f64> {
    let mean: f64 = softened.iter().zip(change).map(|(p, h)| p * h).sum();
    let factor = -inner_rate * temperature * weight / (2.0 * step * batch as f64);
    softened.iter().zip(change).map(|(p, h)| factor * p * (mean - h)).collect()
}
