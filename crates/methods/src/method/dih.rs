//! DIH: distillation from classifier heads mounted inside a teacher.
//!
//! Asadian, Salehi-Abari, 2021, <https://arxiv.org/abs/2103.00497>.
//!
//! ```text
//! L = (1/K) Σ_k [ (1 - α) mean_b CE_b(z_S) + α mean_b τ² KL(σ(z_k/τ) ‖ σ(z_S/τ)) ]
//! k: every teacher's own output and those of its heads;  K of them in all
//! ```
//! `reduce = "sum"` leaves the 1/K out.
//! # Shapes
//! student logits `[batch, classes]`, logits of all heads `[heads, batch, classes]`, labels
//! `[batch]`.
//! # Gradient
//! through the student only.
//! # Paper and code
//! the released code sums over the heads, α = 0.1, τ = 5. A mean makes the strength independent of
//! the number of heads. The heads start as there: uniform in ±1/√fan-in, PyTorch's default.
//! # Limits
//! at least one teacher that is a network: heads are mounted on its maps. Where the recipe names no
//! `heads`, all stages of all networks get one. Under another method the same heads are weighed by
//! its own rule.

use crate::shared::options::{number, option, temperature, word};
use crate::weighting::{Uniform, Weighting as _};
use crate::{Loss, Method, MethodInfo, Needs, Status, Step, Term};
use faculty_contract::Setup;
use faculty_contract::losses::weighted_kl;
use faculty_recipe::{MethodSpec, OptionValue, Range};

const CODE: &str = "DIH released code";

/// How the losses of the heads become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reduce {
    /// Their mean.
    #[default]
    Mean,
    /// Their sum, as in the released code.
    Sum,
}

/// Constants of [`Dih`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DihConfig {
    /// Softening of both distributions, > 0. Default 5.
    pub temperature: f32,
    /// Weight of the KL terms, 0 to 1; the task term gets the rest. Default 0.1.
    pub alpha: f64,
    /// Mean or sum over the heads. Default: mean.
    pub reduce: Reduce,
}

impl Default for DihConfig {
    fn default() -> Self {
        Self { temperature: 5.0, alpha: 0.1, reduce: Reduce::Mean }
    }
}

/// Distillation from a teacher and the heads inside it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dih {
    config: DihConfig,
}

impl Dih {
    /// With these constants.
    #[must_use]
    pub const fn new(config: DihConfig) -> Self {
        Self { config }
    }

    /// What the mean over the heads is multiplied by.
    fn factor(&self, heads: usize) -> f64 {
        match self.config.reduce {
            Reduce::Mean => 1.0,
            Reduce::Sum => heads as f64,
        }
    }
}

/// Row of this method.
pub(crate) const ROW: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "dih",
        help: "teachers and classifier heads that are trained inside them",
        options: &[
            option(
                "temperature",
                OptionValue::Number(5.0),
                Range::above(0.0),
                CODE,
                "softening τ of teacher and student outputs in the distillation terms",
            ),
            option(
                "alpha",
                OptionValue::Number(0.1),
                Range::between(0.0, 1.0),
                CODE,
                "weight of the distillation terms; the task term gets 1 - alpha",
            ),
            option(
                "reduce",
                OptionValue::Word("mean"),
                Range::Words(&["mean", "sum"]),
                crate::shared::options::OURS,
                "mean over the heads, or their sum as in the released code",
            ),
        ],
        min_teachers: 1,
        max_teachers: None,
    },
    paper: "Asadian, Salehi-Abari 2021, arXiv 2103.00497",
    status: Status::Exact,
    build: |options| {
        Box::new(Dih::new(DihConfig {
            temperature: temperature(options),
            alpha: number(options, "alpha"),
            reduce: if word(options, "reduce") == "sum" { Reduce::Sum } else { Reduce::Mean },
        }))
    },
};

impl Method for Dih {
    fn setup(&self) -> Setup {
        Setup { mounts_heads: true, averages_samples: true, ..Setup::label_free() }
    }

    fn needs(&self, _epoch: usize) -> Needs {
        Needs { teacher_logits: true, ..Needs::default() }
    }

    fn loss(&self, step: &Step) -> Loss {
        let DihConfig { temperature, alpha, .. } = self.config;
        let heads = step.given_logits();
        let factor = self.factor(heads.dims()[0]);
        let weights = Uniform.weights(heads, &step.labels);
        let kd = weighted_kl(heads, &step.student_logits, &weights, temperature);
        Loss::new(vec![
            Term { name: "task", weight: (1.0 - alpha) * factor, value: step.task_loss() },
            Term { name: "kd", weight: alpha * factor, value: kd },
        ])
        .with_teacher_weights("kd", weights)
    }

    fn objective(&self, teachers: usize) -> String {
        let DihConfig { temperature, alpha, .. } = self.config;
        let factor = self.factor(teachers);
        format!(
            "{} CE + {} τ² mean_k KL, τ = {temperature}, K = {teachers} (teachers and their heads)",
            (1.0 - alpha) * factor,
            alpha * factor,
        )
    }
}
