//! AT: attention transfer, where in the picture each stage is active.
//!
//! Zagoruyko, Komodakis, ICLR 2017, <https://arxiv.org/abs/1612.03928>.
//!
//! ```text
//! A(F)[b] = a / ‖a‖,  a[h,w] = mean_c F[b,c,h,w]²
//! L       = mean_b CE_b(z_S) + β Σ_stages mean_b,hw (A(F_S) - A(F_T))² [+ α τ² KL]
//! ```
//! # Shapes
//! maps `[batch, channels, height, width]`, with any number of channels; the larger of two maps is
//! average-pooled to the size of the smaller. Labels `[batch]`.
//! # Gradient
//! through the student only.
//! # Paper and code
//! β = 1000, the mean over samples and positions, and the maps (f1 and all after it, as far as both
//! have them: four on VGG, MobileNetV2 and ResNets of four stages, three on the others) are those of the
//! distillation benchmarks; the paper sums over positions, with β in proportion.
//! # Limits
//! with several teachers, the mean over them, at the maps that all of them have.

use burn::Tensor;

use crate::shared::features::{
    FIRST_STAGE, KD_ALPHA, LOGIT_TERM_TEMPERATURE, LogitTermConfig, STAGES, Stages, mean_k,
    over_teachers, rows, sample_means, unit_rows,
};
use crate::shared::layers::resize;
use crate::shared::options::{BENCHMARKS, number, option};
use crate::{Facts, Loss, Method, MethodInfo, Needs, Setup, Status, Step};
use faculty_nets::Tap;
use faculty_recipe::{MethodSpec, OptionValue, Range};

/// Constants of [`At`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AtConfig {
    /// Weight of the attention term, ≥ 0. Default 1000.
    pub beta: f64,
    /// The maps that are matched. Default f1 and all after it.
    pub stages: Stages,
    /// Output term beside it. Default none.
    pub logit_term: LogitTermConfig,
}

impl Default for AtConfig {
    fn default() -> Self {
        Self { beta: 1000.0, stages: Stages::default(), logit_term: LogitTermConfig::default() }
    }
}

/// Attention transfer.
#[derive(Clone, Copy, Debug, Default)]
pub struct At {
    config: AtConfig,
}

impl At {
    /// With these constants.
    #[must_use]
    pub const fn new(config: AtConfig) -> Self {
        Self { config }
    }
}

/// Row of this method.
pub(crate) const ROW: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "at",
        help: "where in the picture each stage is active",
        options: &[
            option(
                "beta",
                OptionValue::Number(1000.0),
                Range::at_least(0.0),
                BENCHMARKS,
                "weight of the attention term",
            ),
            FIRST_STAGE,
            STAGES,
            KD_ALPHA,
            LOGIT_TERM_TEMPERATURE,
        ],
        min_teachers: 1,
        max_teachers: None,
    },
    paper: "Zagoruyko, Komodakis, ICLR 2017, arXiv 1612.03928",
    status: Status::Exact,
    build: |options| {
        Box::new(At::new(AtConfig {
            beta: number(options, "beta"),
            stages: Stages::of(options),
            logit_term: LogitTermConfig::of(options),
        }))
    },
};

impl Method for At {
    fn setup(&self) -> Setup {
        Setup { averages_samples: true, ..Setup::label_free() }
    }

    fn needs(&self, _epoch: usize) -> Needs {
        self.config.stages.needs().union(self.config.logit_term.needs())
    }

    fn prepare(&mut self, facts: Facts<'_>) {
        if let Facts::Maps(shapes) = facts {
            self.config.stages.choose(shapes, Tap::Feature);
        }
    }

    fn loss(&self, step: &Step) -> Loss {
        let of_teacher = |maps: &Vec<Tensor<4>>| {
            let stages = step.student_maps.iter().zip(maps);
            stages
                .map(|(student, teacher)| attention_difference(student.clone(), teacher.clone()))
                .reduce(|sum, stage| sum + stage)
                .expect("at least one stage")
        };
        let mut loss = self.config.logit_term.loss(step);
        let values = step.teacher_maps.iter().map(of_teacher).collect();
        loss.terms.push(over_teachers(step, "attention", self.config.beta, values));
        loss
    }

    fn objective(&self, teachers: usize) -> String {
        let AtConfig { beta, stages, logit_term } = self.config;
        let term = mean_k("Σ MSE of attention maps", teachers);
        format!("{} + {beta} {term}, {stages}", logit_term.objective())
    }
}

/// `mean_hw (A(F_S) - A(F_T))²`, `[batch]`.
pub(crate) fn attention_difference(student: Tensor<4>, teacher: Tensor<4>) -> Tensor<1> {
    let ([_, _, rows_s, columns_s], [_, _, rows_t, columns_t]) = (student.dims(), teacher.dims());
    let (height, width) = (rows_s.min(rows_t), columns_s.min(columns_t));
    let attention =
        |map: Tensor<4>| unit_rows(rows(resize(map, height, width).square().mean_dim(1)));
    sample_means((attention(student) - attention(teacher)).square())
}
