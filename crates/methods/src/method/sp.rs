//! SP: similarity-preserving distillation, which samples of a batch the network finds alike.
//!
//! Tung, Mori, ICCV 2019, <https://arxiv.org/abs/1907.09682>.
//!
//! ```text
//! G(F) = rows of Q Qᵀ, each divided by its length,   Q = F as [batch, c h w]
//! L    = mean_b CE_b(z_S) + β ‖G(F_S) - G(F_T)‖² / batch² [+ α τ² KL]
//! ```
//! # Shapes
//! last feature maps `[batch, channels, height, width]`, which need not agree in channels or size;
//! labels `[batch]`.
//! # Gradient
//! through the student only.
//! # Paper and code
//! β = 3000 and the maps are those of the distillation benchmarks: the last feature map, which on a
//! wide ResNet is before its last batch norm, and on MobileNetV2 (160 channels) and ShuffleNetV2 (464)
//! before the last convolution.
//! # Limits
//! the value belongs to the whole batch. With several teachers, the mean over them.

use burn::Tensor;

use crate::shared::features::{
    KD_ALPHA, LOGIT_TERM_TEMPERATURE, LogitTermConfig, matched, mean_k, over_teachers, rows,
    sample_means, unit_rows,
};
use crate::shared::options::{BENCHMARKS, number, option};
use crate::{Loss, Method, MethodInfo, Needs, Setup, Status, Step};
use faculty_nets::Tap;
use faculty_recipe::{MethodSpec, OptionValue, Range};

/// Constants of [`Sp`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpConfig {
    /// Weight of the similarity term, ≥ 0. Default 3000.
    pub beta: f64,
    /// Output term beside it. Default none.
    pub logit_term: LogitTermConfig,
}

impl Default for SpConfig {
    fn default() -> Self {
        Self { beta: 3000.0, logit_term: LogitTermConfig::default() }
    }
}

/// Similarity-preserving distillation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sp {
    config: SpConfig,
}

impl Sp {
    /// With these constants.
    #[must_use]
    pub const fn new(config: SpConfig) -> Self {
        Self { config }
    }
}

/// Row of this method.
pub(crate) const ROW: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "sp",
        help: "which samples of a batch the network finds alike",
        options: &[
            option(
                "beta",
                OptionValue::Number(3000.0),
                Range::at_least(0.0),
                BENCHMARKS,
                "weight of the similarity term",
            ),
            KD_ALPHA,
            LOGIT_TERM_TEMPERATURE,
        ],
        min_teachers: 1,
        max_teachers: None,
    },
    paper: "Tung, Mori, ICCV 2019, arXiv 1907.09682",
    status: Status::Exact,
    build: |options| {
        Box::new(Sp::new(SpConfig {
            beta: number(options, "beta"),
            logit_term: LogitTermConfig::of(options),
        }))
    },
};

impl Method for Sp {
    fn setup(&self) -> Setup {
        Setup::label_free()
    }

    fn needs(&self, _epoch: usize) -> Needs {
        let needs = matched(vec![Tap::LastFeature]).union(self.config.logit_term.needs());
        Needs { min_batch: 2, ..needs }
    }

    fn loss(&self, step: &Step) -> Loss {
        let student = &step.student_maps[0];
        let of_teacher =
            |maps: &Vec<Tensor<4>>| similarity_difference(student.clone(), maps[0].clone());
        let mut loss = self.config.logit_term.loss(step);
        let values = step.teacher_maps.iter().map(of_teacher).collect();
        loss.terms.push(over_teachers(step, "similarity", self.config.beta, values));
        loss
    }

    fn objective(&self, teachers: usize) -> String {
        let SpConfig { beta, logit_term } = self.config;
        let term = mean_k("MSE of similarities", teachers);
        format!("{} + {beta} {term}", logit_term.objective())
    }
}

/// `‖G(F_S)[i] - G(F_T)[i]‖² / batch` of each sample i, `[batch]`.
pub(crate) fn similarity_difference(student: Tensor<4>, teacher: Tensor<4>) -> Tensor<1> {
    let similarity = |map: Tensor<4>| {
        let rows = rows(map);
        unit_rows(rows.clone().matmul(rows.transpose()))
    };
    sample_means((similarity(student) - similarity(teacher)).square())
}
