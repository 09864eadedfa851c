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

use crate::shared::options::{ALPHA, TEMPERATURE};
use crate::shared::output_layer::{OutputConfig, task_and_weighted_kd};
use crate::weighting::{Uniform, Weighting as _};
use crate::{Loss, Method, MethodInfo, Needs, Setup, Status, Step};
use faculty_recipe::MethodSpec;

/// Equal-weight distillation from several teachers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Aver {
    config: OutputConfig,
}

impl Aver {
    /// With these constants.
    #[must_use]
    pub const fn new(config: OutputConfig) -> Self {
        Self { config }
    }
}

/// Row of this method.
pub(crate) const ROW: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "aver",
        help: "several teachers that all count the same",
        options: &[TEMPERATURE, ALPHA],
        min_teachers: 1,
        max_teachers: None,
    },
    paper: "You, Xu, Xu, Tao, KDD 2017",
    status: Status::Exact,
    build: |options| Box::new(Aver::new(OutputConfig::of(options))),
};

impl Method for Aver {
    fn setup(&self) -> Setup {
        Setup { averages_samples: true, ..Setup::label_free() }
    }

    fn needs(&self, _epoch: usize) -> Needs {
        Needs { teacher_logits: true, ..Needs::default() }
    }

    fn loss(&self, step: &Step) -> Loss {
        let weights = Uniform.weights(step.given_logits(), &step.labels);
        task_and_weighted_kd(step, weights, self.config.alpha, self.config.temperature)
    }

    fn objective(&self, teachers: usize) -> String {
        let OutputConfig { temperature, alpha } = self.config;
        format!("CE + {alpha} τ² mean_k KL, τ = {temperature}, K = {teachers}")
    }
}
