//! Gradients through steps of the student, by differences instead of second derivatives: what MMKD's
//! teacher weights and IKD's teacher learn from.
//!
//! Zhang, Chen, Wang, 2023, <https://arxiv.org/abs/2306.06634> (MMKD); Liu et al., EMNLP Findings
//! 2021, <https://arxiv.org/abs/2109.04641> (IKD).
//!
//! ```text
//! θ' = the student after a step along g(θ) = ∇[ mean_b CE + mean_b Σ_k w[k,b] ℓ_k,b ],   ℓ = τ² KL
//! d  = ∂L_meta/∂g,   for a plain step of rate η: -η ∇L_meta(θ')
//! ∂L_meta/∂w[k,b]   = 1/B ⟨∇ℓ_k,b(θ), d⟩ ≈ (ℓ_k,b(θ+εd) - ℓ_k,b(θ-εd)) / 2εB
//! ∂L_meta/∂θ        = ∂L_meta/∂θ at constant g + H d,   H d ≈ (g(θ+εd) - g(θ-εd)) / 2ε
//! ∂L_meta/∂z_k[b,c] ≈ -η τ w[k,b] / (2 ε B) · p_c (Σ_i p_i h_i - h_c),   h = log q(θ+εv) - log q(θ-εv)
//! ```
//! with v = ∇ L_meta(θ') in the last line; ε = 2·10⁻⁴/‖v‖ there, and 3·10⁻⁵ ‖θ‖/‖d‖ elsewhere. Several
//! steps are gone through from the last to the first, each at the point where it began.
//! # Shapes
//! as named with each function.
//! # Gradient
//! the results are gradients.
//! # Paper and code
//! the papers differentiate twice; central differences give the same up to ε². Length of a probe: a step
//! of 0.01, as is usual, crosses so many kinks of ReLU and bends batch norm so much that what the map
//! errors of all teachers have in common no longer cancels (up to 20 % of what is left between teachers
//! was wrong, measured against a backward pass for each weight on ResNet-8 and -20, untrained and
//! trained). Between 10⁻⁴ and 3·10⁻⁴ it is at most 4 %; below 10⁻⁴ the rounding of `f32` takes over.
//!
//! MMKD holds the activation pattern of θ (`faculty_nets::ActivationPattern`), as a second derivative does,
//! so that no kinks are left and the probe is chosen by batch norm's bend and by rounding alone, in lengths
//! of the parameters: on the demo's network the meta gradient is the same from 10⁻⁵ to 3·10⁻⁵, off by 1 % at
//! 10⁻⁴ and by up to 23 % at 10⁻³.
//! # Limits
//! IKD's probes hold no pattern: it takes first derivatives alone, where a kink counts by the share of the
//! probe behind it.

/// Length of a probe.
const PROBE: f64 = 2e-4;

/// Length of a probe with a held pattern, in lengths of the parameters.
const HELD_PROBE: f64 = 3e-5;

/// ε, from the direction v, so that the probe has its fixed length; 0 for a direction of length 0.
#[must_use]
pub fn probe_step(direction: &[f32]) -> f64 {
    let length = norm(direction.iter());
    if length > 0.0 { PROBE / length } else { 0.0 }
}

/// ε for differences with a held activation pattern, from parameters w and direction v: a probe is that
/// share of w's length. 0 for a direction of length 0.
pub(crate) fn held_probe_step<'a>(
    parameters: impl Iterator<Item = &'a f32>,
    direction: impl Iterator<Item = &'a f32>,
) -> f64 {
    let (from, length) = (norm(parameters), norm(direction));
    if length > 0.0 { HELD_PROBE * from / length } else { 0.0 }
}

fn norm<'a>(values: impl Iterator<Item = &'a f32>) -> f64 {
    values.map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt()
}

/// `∂L_meta/∂w`, `[teachers, batch]`, from ℓ at θ+εd and θ-εd, `[teachers, batch]` each.
#[must_use]
pub fn gradient_by_weights(above: &[f64], below: &[f64], batch: usize, step: f64) -> Vec<f64> {
    let factor = 1.0 / (batch as f64 * 2.0 * step);
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
