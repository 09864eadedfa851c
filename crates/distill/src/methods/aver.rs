//! AVER: distillation from several teachers that all count the same.
//!
//! You et al., KDD 2017; the equal-weight baseline of the multi-teacher papers.
//!
//! ```text
//! L = mean_b CE_b(z_S) + α mean_b (1/K) Σ_k τ² KL(σ(z_k/τ) ‖ σ(z_S/τ))
//! ```
//! # Shapes
//! student logits `[batch, classes]`, teacher logits `[teachers, batch, classes]`, labels `[batch]`.
//! # Gradient
//! through the student only.
//! # Paper and code
//! the factor equals that of the released code of CA-MKD's comparison.
//! # Limits
//! at least one teacher.

use super::options::{ALPHA, TEMPERATURE, number, temperature};
use super::output_layer::task_and_weighted_kd;
use super::{Loss, Method, MethodInfo, Needs, Status, Step};
use crate::recipe::MethodSpec;
use crate::weighting::{Uniform, Weighting as _};

/// Constants of [`Aver`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AverConfig {
    /// Softening of both distributions, > 0. Default 4.
    pub temperature: f32,
    /// Weight of the distillation term, ≥ 0. Default 1.
    pub alpha: f64,
}

impl Default for AverConfig {
    fn default() -> Self {
        Self { temperature: 4.0, alpha: 1.0 }
    }
}

/// Equal-weight distillation from several teachers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Aver {
    config: AverConfig,
}

impl Aver {
    /// With these constants.
    #[must_use]
    pub const fn new(config: AverConfig) -> Self {
        Self { config }
    }
}

/// Row of this method.
pub(super) const ROW: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "aver",
        help: "several teachers that all count the same",
        options: &[TEMPERATURE, ALPHA],
        min_teachers: 1,
        max_teachers: None,
    },
    paper: "You, Xu, Xu, Tao, KDD 2017",
    status: Status::Exact,
    build: |options| {
        Box::new(Aver::new(AverConfig {
            temperature: temperature(options),
            alpha: number(options, "alpha"),
        }))
    },
};

impl Method for Aver {
    fn needs(&self, _epoch: usize) -> Needs {
        Needs { teacher_logits: true, ..Needs::default() }
    }

    fn loss(&self, step: &Step) -> Loss {
        let weights = Uniform.weights(step.teacher_logits(), &step.labels);
        task_and_weighted_kd(step, weights, self.config.alpha, self.config.temperature)
    }

    fn objective(&self, teachers: usize) -> String {
        let AverConfig { temperature, alpha } = self.config;
        format!("CE + {alpha} τ² mean_k KL, τ = {temperature}, K = {teachers}")
    }
}
