//! SGD and AdamW with PyTorch's semantics, over plain slices.
//!
//! State is kept per group (a network) in the order of its parameters, so a checkpoint can name it
//! by parameter. Weight decay applies to every parameter, as in the papers' training scripts, unless
//! its [`ParameterRule`] says otherwise.

mod adjoint;
mod rule;

use rayon::prelude::*;

pub use adjoint::Adjoint;
pub use rule::{ParameterRule, RuleConfig};

/// Which optimiser, with its constants.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum OptimizerConfig {
    /// `g += λ w; v = μ v + g; w -= η (nesterov ? g + μ v : v)`, the first `v` being `g`.
    Sgd {
        /// μ, 0 ≤ μ < 1.
        momentum: f32,
        /// Look-ahead form.
        nesterov: bool,
        /// λ ≥ 0, added to the gradient.
        weight_decay: f32,
    },
    /// Loshchilov, Hutter, ICLR 2019, <https://arxiv.org/abs/1711.05101>.
    AdamW {
        /// Decay of the first and second moments, each in [0, 1).
        betas: [f32; 2],
        /// Added to the root of the second moment, > 0.
        epsilon: f32,
        /// λ ≥ 0, decoupled: `w *= 1 - η λ`.
        weight_decay: f32,
    },
}

impl OptimizerConfig {
    /// Names of the state vectors per parameter, in the order of [`OptimizerState::slots`].
    #[must_use]
    pub const fn slot_names(&self) -> &'static [&'static str] {
        match self {
            Self::Sgd { .. } => &["momentum"],
            Self::AdamW { .. } => &["first_moment", "second_moment"],
        }
    }
}

/// An optimiser's memory of one network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OptimizerState {
    /// Updates made so far.
    pub steps: u64,
    /// `slots[s][p]`: state vector `s` of parameter `p`; empty before the first update.
    pub slots: Vec<Vec<Vec<f32>>>,
}

/// Values of one task; each is updated by itself, so threads change no bit.
const CHUNK: usize = 1 << 15;

impl OptimizerState {
    /// Updates `parameters` in place by `gradients` (same shapes) at learning rate `rate`.
    ///
    /// # Panics
    /// When the shapes differ from those of the first call.
    pub fn update(
        &mut self,
        config: &OptimizerConfig,
        rate: f32,
        parameters: &mut [Vec<f32>],
        gradients: &[Vec<f32>],
    ) {
        self.update_by(|_| ParameterRule::default(), config, rate, parameters, gradients);
    }

    /// The same with a rule for the parameter at each place; those that are not trained and their
    /// state stay as they are.
    ///
    /// # Panics
    /// When the shapes differ from those of the first call.
    pub fn update_by(
        &mut self,
        rule: impl Fn(usize) -> ParameterRule,
        config: &OptimizerConfig,
        rate: f32,
        parameters: &mut [Vec<f32>],
        gradients: &[Vec<f32>],
    ) {
        assert_eq!(parameters.len(), gradients.len(), "one gradient per parameter");
        if self.slots.is_empty() {
            let zeros: Vec<Vec<f32>> = parameters.iter().map(|p| vec![0.0; p.len()]).collect();
            self.slots = vec![zeros; config.slot_names().len()];
        }
        self.steps += 1;
        let all = parameters.iter_mut().zip(gradients).enumerate();
        for (index, (w, g)) in all {
            assert_eq!(w.len(), g.len(), "gradient of parameter {index}");
            let ParameterRule { trained, rate_factor, decays } = rule(index);
            if !trained {
                continue;
            }
            let rate = rate * rate_factor;
            let decay = |weight_decay: f32| if decays { weight_decay } else { 0.0 };
            match *config {
                OptimizerConfig::Sgd { momentum, nesterov, weight_decay } => {
                    let weight_decay = decay(weight_decay);
                    // With zeros as the first velocity, `μ·0 + g` is PyTorch's first `v = g`.
                    let velocity = self.slots[0][index].par_chunks_mut(CHUNK);
                    let chunks = w.par_chunks_mut(CHUNK).zip(g.par_chunks(CHUNK)).zip(velocity);
                    chunks.for_each(|((w, g), velocity)| {
                        for ((w, &g), v) in w.iter_mut().zip(g).zip(velocity) {
                            let g = g + weight_decay * *w;
                            *v = momentum * *v + g;
                            *w -= rate * if nesterov { g + momentum * *v } else { *v };
                        }
                    });
                }
                OptimizerConfig::AdamW { betas: [beta1, beta2], epsilon, weight_decay } => {
                    let weight_decay = decay(weight_decay);
                    let steps = i32::try_from(self.steps).unwrap_or(i32::MAX);
                    let correction1 = 1.0 - f64::from(beta1).powi(steps);
                    let correction2 = (1.0 - f64::from(beta2).powi(steps)).sqrt();
                    let step_size = (f64::from(rate) / correction1) as f32;
                    let correction2 = correction2 as f32;
                    let [first, second] = self.slots.as_mut_slice() else {
                        unreachable!("AdamW has two state vectors")
                    };
                    let moments = first[index].par_chunks_mut(CHUNK);
                    let moments = moments.zip(second[index].par_chunks_mut(CHUNK));
                    let chunks = w.par_chunks_mut(CHUNK).zip(g.par_chunks(CHUNK)).zip(moments);
                    chunks.for_each(|((w, g), (first, second))| {
                        let moments = first.iter_mut().zip(second);
                        for ((w, &g), (m, v)) in w.iter_mut().zip(g).zip(moments) {
                            *w -= rate * weight_decay * *w;
                            *m += (1.0 - beta1) * (g - *m);
                            *v = beta2 * *v + (1.0 - beta2) * g * g;
                            *w -= step_size * *m / (v.sqrt() / correction2 + epsilon);
                        }
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three updates worked out by hand for `w = 1`, constant gradient 0.5.
    fn run(config: OptimizerConfig) -> Vec<f32> {
        let mut state = OptimizerState::default();
        let mut w = vec![vec![1.0_f32]];
        (0..3)
            .map(|_| {
                state.update(&config, 0.1, &mut w, &[vec![0.5]]);
                w[0][0]
            })
            .collect()
    }

    fn close(got: &[f32], want: [f64; 3]) {
        for (got, want) in got.iter().zip(want) {
            assert!((f64::from(*got) - want).abs() < 1e-6, "{got} instead of {want}");
        }
    }

    #[test]
    fn sgd_follows_pytorchs_rule() {
        let sgd = |nesterov| OptimizerConfig::Sgd { momentum: 0.9, nesterov, weight_decay: 0.1 };
        let (mut w, mut v) = (1.0, 0.0);
        close(
            &run(sgd(false)),
            std::array::from_fn(|_| {
                let g = 0.5 + 0.1 * w;
                v = 0.9 * v + g;
                w -= 0.1 * v;
                w
            }),
        );
        // First step by hand: g = 0.6, v = 0.6, w = 1 - 0.1 (0.6 + 0.54) = 0.886.
        let nesterov = run(sgd(true));
        assert!((nesterov[0] - 0.886).abs() < 1e-6, "{nesterov:?}");
    }

    #[test]
    fn a_rule_scales_the_rate_and_leaves_out_the_decay_of_its_parameter_alone() {
        let sgd = OptimizerConfig::Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.1 };
        let adam = OptimizerConfig::AdamW { betas: [0.9, 0.99], epsilon: 1e-8, weight_decay: 0.1 };
        for config in [sgd, adam] {
            let without = match config {
                OptimizerConfig::Sgd { momentum, nesterov, .. } => {
                    OptimizerConfig::Sgd { momentum, nesterov, weight_decay: 0.0 }
                }
                OptimizerConfig::AdamW { betas, epsilon, .. } => {
                    OptimizerConfig::AdamW { betas, epsilon, weight_decay: 0.0 }
                }
            };
            let alone = |config: &OptimizerConfig, rate: f32, w: f32| {
                let (mut state, mut w) = (OptimizerState::default(), vec![vec![w]]);
                (0..3).for_each(|_| state.update(config, rate, &mut w, &[vec![0.5]]));
                w[0][0]
            };
            let rules = [
                ParameterRule::default(),
                ParameterRule { decays: false, ..ParameterRule::default() },
                ParameterRule { rate_factor: 4.0, ..ParameterRule::default() },
                ParameterRule { trained: false, ..ParameterRule::default() },
            ];
            let (mut state, mut w) = (OptimizerState::default(), vec![vec![1.0_f32]; 4]);
            for _ in 0..3 {
                state.update_by(|index| rules[index], &config, 0.01, &mut w, &vec![vec![0.5]; 4]);
            }
            let want = [
                alone(&config, 0.01, 1.0),
                alone(&without, 0.01, 1.0),
                alone(&config, 0.04, 1.0),
                1.0,
            ];
            assert_eq!(w.concat(), want, "{config:?}");
        }
    }

    #[test]
    fn adamw_moves_by_the_learning_rate_under_a_constant_gradient() {
        let config =
            OptimizerConfig::AdamW { betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 0.01 };
        // Bias correction makes m/sqrt(v) exactly 1, so w ← w (1 - 0.001) - 0.1 each step.
        let mut w = 1.0;
        close(
            &run(config),
            std::array::from_fn(|_| {
                w = w * (1.0 - 0.001) - 0.1;
                w
            }),
        );
    }
}
