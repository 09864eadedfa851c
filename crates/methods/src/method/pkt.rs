//! PKT: probabilistic knowledge transfer, how likely each sample takes each other one for its like.
//!
//! Passalis, Tefas, ECCV 2018, <https://arxiv.org/abs/1803.10837>.
//!
//! ```text
//! s(f)[i,j] = (1 + cos(f_i, f_j)) / 2,   P(f)[i,j] = s[i,j] / Σ_j s[i,j]
//! L         = mean_b CE_b(z_S) + β mean_ij P(f_T) log(P(f_T) / P(f_S)) [+ α τ² KL]
//! ```
//! # Shapes
//! pooled vectors `[batch, channels]`, which need not agree in channels; labels `[batch]`.
//! # Gradient
//! through the student only.
//! # Paper and code
//! the kernel and the constant 1e-7 inside the logarithm are the released code's; its mean over all
//! pairs explains β = 30000.
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

/// Inside the logarithm and the quotients (released code).
const EPSILON: f32 = 1e-7;

/// Constants of [`Pkt`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PktConfig {
    /// Weight of the term, ≥ 0. Default 30000.
    pub beta: f64,
    /// Output term beside it. Default none.
    pub logit_term: LogitTermConfig,
}

impl Default for PktConfig {
    fn default() -> Self {
        Self { beta: 30000.0, logit_term: LogitTermConfig::default() }
    }
}

/// Probabilistic knowledge transfer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pkt {
    config: PktConfig,
}

impl Pkt {
    /// With these constants.
    #[must_use]
    pub const fn new(config: PktConfig) -> Self {
        Self { config }
    }
}

/// Row of this method.
pub(crate) const ROW: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "pkt",
        help: "how likely each sample takes each other one for its like",
        options: &[
            option(
                "beta",
                OptionValue::Number(30000.0),
                Range::at_least(0.0),
                BENCHMARKS,
                "weight of the term",
            ),
            KD_ALPHA,
            LOGIT_TERM_TEMPERATURE,
        ],
        min_teachers: 1,
        max_teachers: None,
    },
    paper: "Passalis, Tefas, ECCV 2018, arXiv 1803.10837",
    status: Status::Exact,
    build: |options| {
        Box::new(Pkt::new(PktConfig {
            beta: number(options, "beta"),
            logit_term: LogitTermConfig::of(options),
        }))
    },
};

impl Method for Pkt {
    fn setup(&self) -> Setup {
        Setup::label_free()
    }

    fn needs(&self, _epoch: usize) -> Needs {
        let needs = matched(vec![Tap::Pooled]).union(self.config.logit_term.needs());
        Needs { min_batch: 2, ..needs }
    }

    fn loss(&self, step: &Step) -> Loss {
        let student = rows(step.student_maps[0].clone());
        let of_teacher =
            |maps: &Vec<Tensor<4>>| likeness_divergence(student.clone(), rows(maps[0].clone()));
        let mut loss = self.config.logit_term.loss(step);
        let values = step.teacher_maps.iter().map(of_teacher).collect();
        loss.terms.push(over_teachers(step, "likeness", self.config.beta, values));
        loss
    }

    fn objective(&self, teachers: usize) -> String {
        let PktConfig { beta, logit_term } = self.config;
        let term = mean_k("P log P/P", teachers);
        format!("{} + {beta} {term}", logit_term.objective())
    }
}

/// `mean_j P(f_T) log(P(f_T) / P(f_S))` of each sample i, `[batch]`, of rows `[batch, channels]`.
pub(crate) fn likeness_divergence(student: Tensor<2>, teacher: Tensor<2>) -> Tensor<1> {
    let likeness = |rows: Tensor<2>| {
        let unit = unit_rows(rows);
        // Rounding may take a cosine a little below -1.
        let kernel = (unit.clone().matmul(unit.transpose()).clamp_min(-1.0) + 1.0) / 2.0;
        kernel.clone() / (kernel.sum_dim(1) + EPSILON)
    };
    let (student, teacher) = (likeness(student), likeness(teacher));
    let ratio = (teacher.clone() + EPSILON).log() - (student + EPSILON).log();
    sample_means(teacher * ratio)
}
