//! FitNet: hints from a teacher's middle feature map.
//!
//! Romero et al., ICLR 2015, <https://arxiv.org/abs/1412.6550>.
//!
//! ```text
//! L = mean_b CE_b(z_S) + β mean (regressor(F_S) - F_T)² [+ α τ² KL]
//! ```
//! # Shapes
//! student map and teacher map `[batch, channels, height, width]`, of any sizes; labels `[batch]`.
//! # Gradient
//! through the student and the regressor.
//! # Paper and code
//! the joint form of the distillation benchmarks (one stage of training, β = 100, second stage of
//! the network); the paper first trains on hints alone. Regressors as described in the hints'
//! documentation: 3×3 of stride 2, transposed 4×4 of stride 2, or a convolution of the surplus; weight
//! and bias start uniform in ±1/√fan-in, PyTorch's default.
//! # Limits
//! with several teachers, the mean over them; `fitnet-mkd` is the form of the multi-teacher papers.

use crate::shared::features::{
    KD_ALPHA, LOGIT_TERM_TEMPERATURE, LogitTermConfig, mean_k, over_teachers,
};
use crate::shared::hints::Hints;
use crate::shared::options::{BENCHMARKS, count, number, option};
use crate::{Loss, Method, MethodInfo, Needs, Parts, Setup, Shapes, Status, Step};
use faculty_recipe::{MethodSpec, OptionSpec, OptionValue, Range};

/// Constants of [`Fitnet`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FitnetConfig {
    /// Weight of the hint, ≥ 0. Default 100.
    pub beta: f64,
    /// Feature tap of the hint. Default 2, the second stage.
    pub stage: usize,
    /// Output term beside it. Default none.
    pub logit_term: LogitTermConfig,
}

impl Default for FitnetConfig {
    fn default() -> Self {
        Self { beta: 100.0, stage: 2, logit_term: LogitTermConfig::default() }
    }
}

/// Distillation by hints.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fitnet {
    config: FitnetConfig,
}

impl Fitnet {
    /// With these constants.
    #[must_use]
    pub const fn new(config: FitnetConfig) -> Self {
        Self { config }
    }

    fn hints(&self) -> Hints {
        Hints { stage: self.config.stage }
    }
}

/// `beta` of hints.
pub(crate) const HINT_BETA: OptionSpec = option(
    "beta",
    OptionValue::Number(100.0),
    Range::at_least(0.0),
    BENCHMARKS,
    "weight of the hint",
);

/// Feature tap of the hints.
pub(crate) const HINT_STAGE: OptionSpec = option(
    "stage",
    OptionValue::Integer(2),
    Range::between(0.0, 100.0),
    BENCHMARKS,
    "number of the feature map that is matched, as in `faculty networks`",
);

/// Row of this method.
pub(crate) const ROW: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "fitnet",
        help: "a middle feature map through a trained regressor",
        options: &[HINT_BETA, HINT_STAGE, KD_ALPHA, LOGIT_TERM_TEMPERATURE],
        min_teachers: 1,
        max_teachers: None,
    },
    paper: "Romero et al., ICLR 2015, arXiv 1412.6550",
    status: Status::Exact,
    build: |options| {
        Box::new(Fitnet::new(FitnetConfig {
            beta: number(options, "beta"),
            stage: count(options, "stage"),
            logit_term: LogitTermConfig::of(options),
        }))
    },
};

impl Method for Fitnet {
    fn setup(&self) -> Setup {
        Setup { averages_samples: true, ..Setup::label_free() }
    }

    fn needs(&self, _epoch: usize) -> Needs {
        self.hints().needs().union(self.config.logit_term.needs())
    }

    fn parts(&self, shapes: &Shapes) -> Parts {
        self.hints().parts(shapes)
    }

    fn loss(&self, step: &Step) -> Loss {
        let mut loss = self.config.logit_term.loss(step);
        let errors = self.hints().errors(step);
        loss.terms.push(over_teachers(step, "hint", self.config.beta, errors));
        loss
    }

    fn objective(&self, teachers: usize) -> String {
        let FitnetConfig { beta, stage, logit_term } = self.config;
        let hint = mean_k("MSE", teachers);
        format!("{} + {beta} {hint} at f{stage}", logit_term.objective())
    }
}
