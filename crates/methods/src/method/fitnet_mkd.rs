//! FitNet-MKD: hints and outputs of several teachers that all count the same.
//!
//! The comparison of the multi-teacher papers: FitNets (Romero et al., ICLR 2015,
//! <https://arxiv.org/abs/1412.6550>) with several teachers.
//!
//! ```text
//! L = mean_b CE_b(z_S) + α mean_k τ² KL(σ(z_k/τ) ‖ σ(z_S/τ)) + β mean_k mean (regressor_k(F_S) - F_k)²
//! ```
//! # Shapes
//! student logits `[batch, classes]`, teacher logits `[teachers, batch, classes]`, student map and
//! teacher maps `[batch, channels_k, height_k, width_k]`, labels `[batch]`.
//! # Gradient
//! through the student and the regressors, one a teacher.
//! # Paper and code
//! constants of the released code of CA-MKD's comparison, which builds a new tensor of the hints'
//! values and so loses their gradient; here they train. Regressors as described for `fitnet`,
//! with the same start.
//! # Limits
//! student and teachers need the feature map of that number.

use crate::method::fitnet::{HINT_BETA, HINT_STAGE};
use crate::shared::features::{mean_k, over_teachers};
use crate::shared::hints::Hints;
use crate::shared::options::{ALPHA, TEMPERATURE, count, number};
use crate::shared::output_layer::{OutputConfig, task_and_weighted_kd};
use crate::weighting::{Uniform, Weighting as _};
use crate::{Loss, Method, MethodInfo, Needs, Parts, Setup, Shapes, Status, Step};
use faculty_recipe::MethodSpec;

/// Constants of [`FitnetMkd`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FitnetMkdConfig {
    /// Of the output term.
    pub output: OutputConfig,
    /// Weight of the hints, ≥ 0. Default 100.
    pub beta: f64,
    /// Feature tap of the hints. Default 2, the second stage.
    pub stage: usize,
}

impl Default for FitnetMkdConfig {
    fn default() -> Self {
        Self { output: OutputConfig::default(), beta: 100.0, stage: 2 }
    }
}

/// Equal-weight distillation of outputs and hints.
#[derive(Clone, Copy, Debug, Default)]
pub struct FitnetMkd {
    config: FitnetMkdConfig,
}

impl FitnetMkd {
    /// With these constants.
    #[must_use]
    pub const fn new(config: FitnetMkdConfig) -> Self {
        Self { config }
    }

    fn hints(&self) -> Hints {
        Hints { stage: self.config.stage }
    }
}

/// Row of this method.
pub(crate) const ROW: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "fitnet-mkd",
        help: "aver, and a middle feature map of each teacher through a trained regressor",
        options: &[TEMPERATURE, ALPHA, HINT_BETA, HINT_STAGE],
        min_teachers: 1,
        max_teachers: None,
    },
    paper: "Romero et al., ICLR 2015, arXiv 1412.6550",
    status: Status::Exact,
    build: |options| {
        Box::new(FitnetMkd::new(FitnetMkdConfig {
            output: OutputConfig::of(options),
            beta: number(options, "beta"),
            stage: count(options, "stage"),
        }))
    },
};

impl Method for FitnetMkd {
    fn setup(&self) -> Setup {
        Setup { averages_samples: true, ..Setup::label_free() }
    }

    fn needs(&self, _epoch: usize) -> Needs {
        Needs { teacher_logits: true, ..self.hints().needs() }
    }

    fn parts(&self, shapes: &Shapes) -> Parts {
        self.hints().parts(shapes)
    }

    fn loss(&self, step: &Step) -> Loss {
        let OutputConfig { temperature, alpha } = self.config.output;
        let weights = Uniform.weights(step.given_logits(), &step.labels);
        let mut loss = task_and_weighted_kd(step, weights, alpha, temperature);
        let errors = self.hints().errors(step);
        loss.terms.push(over_teachers(step, "hint", self.config.beta, errors));
        loss
    }

    fn objective(&self, teachers: usize) -> String {
        let FitnetMkdConfig { output: OutputConfig { temperature, alpha }, beta, stage } =
            self.config;
        let (kd, hint) = (mean_k("KL", teachers), mean_k("MSE", teachers));
        format!(
            "CE + {alpha} τ² {kd} + {beta} {hint} at f{stage}, τ = {temperature}, K = {teachers}"
        )
    }
}
