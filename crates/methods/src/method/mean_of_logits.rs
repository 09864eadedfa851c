//! Mean of logits: the teachers' logits averaged into one teacher.
//!
//! Hinton, Vinyals, Dean, 2015, <https://arxiv.org/abs/1503.02531>, on ensembles: the geometric mean
//! of the outputs, which is the softmax of the mean logits.
//!
//! ```text
//! z = (1/K) Σ_k z_k
//! L = mean_b CE_b(z_S) + α mean_b τ² KL(σ(z/τ) ‖ σ(z_S/τ))
//! ```
//! # Shapes
//! student logits `[batch, classes]`, teacher logits `[teachers, batch, classes]`, labels `[batch]`.
//! # Gradient
//! through the student only.
//! # Paper and code
//! the plain formula.
//! # Limits
//! a teacher whose logits are larger counts for more; `mean-of-probabilities` is bounded.

use crate::shared::options::{ALPHA, TEMPERATURE};
use crate::shared::output_layer::{OutputConfig, task_and_kd};
use crate::{Loss, Method, MethodInfo, Needs, Setup, Status, Step};
use faculty_contract::losses::kl_divergence;
use faculty_recipe::MethodSpec;

/// Distillation from the mean of the teachers' logits.
#[derive(Clone, Copy, Debug, Default)]
pub struct MeanOfLogits {
    config: OutputConfig,
}

impl MeanOfLogits {
    /// With these constants.
    #[must_use]
    pub const fn new(config: OutputConfig) -> Self {
        Self { config }
    }
}

/// Row of this method.
pub(crate) const ROW: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "mean-of-logits",
        help: "the mean of the teachers' logits as one teacher",
        options: &[TEMPERATURE, ALPHA],
        min_teachers: 1,
        max_teachers: None,
    },
    paper: "Hinton, Vinyals, Dean 2015, arXiv 1503.02531",
    status: Status::Exact,
    build: |options| Box::new(MeanOfLogits::new(OutputConfig::of(options))),
};

impl Method for MeanOfLogits {
    fn setup(&self) -> Setup {
        Setup { averages_samples: true, ..Setup::label_free() }
    }

    fn needs(&self, _epoch: usize) -> Needs {
        Needs { teacher_logits: true, ..Needs::default() }
    }

    fn loss(&self, step: &Step) -> Loss {
        let OutputConfig { temperature, alpha } = self.config;
        let mean = step.given_logits().clone().mean_dim(0).squeeze_dim::<2>(0);
        let kd = kl_divergence(mean, step.student_logits.clone(), temperature).mean();
        task_and_kd(step, alpha, kd)
    }

    fn objective(&self, teachers: usize) -> String {
        let OutputConfig { temperature, alpha } = self.config;
        format!("CE + {alpha} τ² KL(σ(mean_k z_k/τ) ‖ q), τ = {temperature}, K = {teachers}")
    }
}
