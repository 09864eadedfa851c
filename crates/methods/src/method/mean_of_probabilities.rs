//! Mean of probabilities: the teachers' softened outputs averaged into one target.
//!
//! Hinton, Vinyals, Dean, 2015, <https://arxiv.org/abs/1503.02531>, on ensembles: the arithmetic mean.
//!
//! ```text
//! p = (1/K) Σ_k σ(z_k/τ)
//! L = mean_b CE_b(z_S) + α mean_b τ² KL(p ‖ σ(z_S/τ))
//! ```
//! # Shapes
//! student logits `[batch, classes]`, teacher logits `[teachers, batch, classes]`, labels `[batch]`.
//! # Gradient
//! through the student only. It is the gradient of `aver`: the two losses differ by a number that
//! the student has no part in (how far the teachers are from their mean), so they train alike, and
//! this one's value is 0 when the student equals the mean.
//! # Paper and code
//! the plain formula.
//! # Limits
//! at least one teacher; with one it is `aver`.

use crate::shared::options::{ALPHA, TEMPERATURE};
use crate::shared::output_layer::{OutputConfig, task_and_kd};
use crate::weighting::{Uniform, Weighting as _};
use crate::{Loss, Method, MethodInfo, Needs, Setup, Status, Step};
use faculty_contract::losses::{kl_from_log_target, log_mixture};
use faculty_recipe::MethodSpec;

/// Distillation from the mean of the teachers' probabilities.
#[derive(Clone, Copy, Debug, Default)]
pub struct MeanOfProbabilities {
    config: OutputConfig,
}

impl MeanOfProbabilities {
    /// With these constants.
    #[must_use]
    pub const fn new(config: OutputConfig) -> Self {
        Self { config }
    }
}

/// Row of this method.
pub(crate) const ROW: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "mean-of-probabilities",
        help: "the mean of the teachers' softened outputs as one target",
        options: &[TEMPERATURE, ALPHA],
        min_teachers: 1,
        max_teachers: None,
    },
    paper: "Hinton, Vinyals, Dean 2015, arXiv 1503.02531",
    status: Status::Exact,
    build: |options| Box::new(MeanOfProbabilities::new(OutputConfig::of(options))),
};

impl Method for MeanOfProbabilities {
    fn setup(&self) -> Setup {
        Setup { averages_samples: true, ..Setup::label_free() }
    }

    fn needs(&self, _epoch: usize) -> Needs {
        Needs { teacher_logits: true, ..Needs::default() }
    }

    fn loss(&self, step: &Step) -> Loss {
        let OutputConfig { temperature, alpha } = self.config;
        let teachers = step.given_logits();
        let log_weights = Uniform.weights(teachers, &step.labels).log();
        let target = log_mixture(teachers.clone(), log_weights, temperature);
        let kd = kl_from_log_target(target, step.student_logits.clone(), temperature).mean();
        task_and_kd(step, alpha, kd)
    }

    fn objective(&self, teachers: usize) -> String {
        let OutputConfig { temperature, alpha } = self.config;
        format!("CE + {alpha} τ² KL(mean_k p_k ‖ q), τ = {temperature}, K = {teachers}")
    }
}
