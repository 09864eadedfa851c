//! KD: knowledge distillation from one teacher's softened outputs.
//!
//! Hinton, Vinyals, Dean, 2015, <https://arxiv.org/abs/1503.02531>.
//!
//! ```text
//! L = (1 - α) mean_b CE_b(z_S) + α mean_b τ² KL(σ(z_T/τ) ‖ σ(z_S/τ))
//! ```
//! # Shapes
//! student logits `[batch, classes]`, teacher logits `[1, batch, classes]`, labels `[batch]`.
//! # Gradient
//! through the student only.
//! # Paper and code
//! the constants are those of the distillation benchmarks (0.1 CE + 0.9 KL, τ = 4). KL is summed
//! over the classes and carries τ².
//! # Limits
//! exactly one teacher; `aver` takes several.

use crate::shared::options::{BENCHMARKS, TEMPERATURE, number, option, temperature};
use crate::weighting::{Uniform, Weighting as _};
use crate::{Loss, Method, MethodInfo, Needs, Setup, Status, Step, Term};
use faculty_contract::losses::weighted_kl;
use faculty_recipe::{MethodSpec, OptionValue, Range};

/// Constants of [`Kd`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KdConfig {
    /// Softening of both distributions, > 0. Default 4.
    pub temperature: f32,
    /// Weight of the KL term, 0 to 1; the task term gets the rest. Default 0.9.
    pub alpha: f64,
}

impl Default for KdConfig {
    fn default() -> Self {
        Self { temperature: 4.0, alpha: 0.9 }
    }
}

/// Distillation from one teacher.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kd {
    config: KdConfig,
}

impl Kd {
    /// With these constants.
    #[must_use]
    pub const fn new(config: KdConfig) -> Self {
        Self { config }
    }
}

/// Row of this method.
pub(crate) const ROW: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "kd",
        help: "one teacher's softened outputs",
        options: &[
            TEMPERATURE,
            option(
                "alpha",
                OptionValue::Number(0.9),
                Range::between(0.0, 1.0),
                BENCHMARKS,
                "weight of the distillation term; the task term gets 1 - alpha",
            ),
        ],
        min_teachers: 1,
        max_teachers: Some(1),
    },
    paper: "Hinton, Vinyals, Dean 2015, arXiv 1503.02531",
    status: Status::Exact,
    build: |options| {
        Box::new(Kd::new(KdConfig {
            temperature: temperature(options),
            alpha: number(options, "alpha"),
        }))
    },
};

impl Method for Kd {
    fn setup(&self) -> Setup {
        Setup { averages_samples: true, ..Setup::label_free() }
    }

    fn needs(&self, _epoch: usize) -> Needs {
        Needs { teacher_logits: true, ..Needs::default() }
    }

    fn loss(&self, step: &Step) -> Loss {
        let KdConfig { temperature, alpha } = self.config;
        let teachers = step.given_logits();
        let weights = Uniform.weights(teachers, &step.labels);
        let kd = weighted_kl(teachers, &step.student_logits, &weights, temperature);
        Loss::new(vec![
            Term { name: "task", weight: 1.0 - alpha, value: step.task_loss() },
            Term { name: "kd", weight: alpha, value: kd },
        ])
        .with_teacher_weights("kd", weights)
    }

    fn objective(&self, _teachers: usize) -> String {
        let KdConfig { temperature, alpha } = self.config;
        format!("{} CE + {alpha} τ² KL, τ = {temperature}", 1.0 - alpha)
    }
}
