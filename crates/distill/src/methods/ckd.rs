//! CKD: comparative distillation, differences between samples instead of outputs.
//!
//! Wilf et al., WACV 2025, <https://arxiv.org/abs/2311.02253>.
//!
//! ```text
//! d(z)  = z_i - z_j  (pairs)   or   (z_i + z_j)/2 - z_l  (groups), of random tuples of a batch
//! L     = mean (d(z_S) - d(onehot))² + α mean (d(z_S) - d(z_T))²       over tuples and classes
//! ```
//! Raw logits: no softmax, no temperature, no cross-entropy.
//! # Shapes
//! student logits `[batch, classes]`, teacher logits `[teachers, batch, classes]`, labels `[batch]`.
//! # Gradient
//! through the student only.
//! # Paper and code
//! tuples are drawn within a batch, of different samples, 64 a step; `tuples = "all-pairs"` takes all
//! pairs at once, in closed form, which is what pairs are on average. The paper runs the teacher on a
//! few thousand images once: `data.train_samples` and `data.views` of the recipe give that.
//! # Limits
//! the value belongs to the whole batch, three samples at least for groups. A number added to all
//! logits of a class changes nothing, so that only differences between samples are learnt; the
//! comparison with the labels fixes them. With several teachers, the mean over them.

use burn::Tensor;
use burn::tensor::{Int, TensorData};
use faculty_data::rng::{Purpose, below, draw};

use super::features::{mean_k, mean_over_teachers};
use super::options::{OURS, count, number, option, word};
use super::{Loss, Method, MethodInfo, Needs, Status, Step, Term};
use crate::recipe::{MethodSpec, OptionValue, Range};

/// Which tuples are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tuples {
    /// One sample less another one.
    Pairs,
    /// The mean of two samples less a third one.
    #[default]
    Groups,
    /// All pairs of the batch.
    AllPairs,
}

/// Constants of [`Ckd`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CkdConfig {
    /// Weight of the teacher's differences, ≥ 0. Default 1 (paper).
    pub alpha: f64,
    /// Default [`Tuples::Groups`].
    pub tuples: Tuples,
    /// Tuples of a batch, ≥ 1. Default 64 (paper).
    pub per_batch: usize,
}

impl Default for CkdConfig {
    fn default() -> Self {
        Self { alpha: 1.0, tuples: Tuples::Groups, per_batch: 64 }
    }
}

/// Comparative distillation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ckd {
    config: CkdConfig,
}

impl Ckd {
    /// With these constants.
    #[must_use]
    pub const fn new(config: CkdConfig) -> Self {
        Self { config }
    }
}

/// Row of this method.
pub(super) const ROW: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "ckd",
        help: "differences between samples, without softmax",
        options: &[
            option(
                "alpha",
                OptionValue::Number(1.0),
                Range::at_least(0.0),
                "paper",
                "weight of the teacher's differences beside those of the labels",
            ),
            option(
                "tuples",
                OptionValue::Word("groups"),
                Range::Words(&["pairs", "groups", "all-pairs"]),
                OURS,
                "one sample less another, the mean of two less a third, or all pairs of a batch",
            ),
            option(
                "tuples_per_batch",
                OptionValue::Integer(64),
                Range::between(1.0, 1e6),
                "paper",
                "tuples drawn in each batch",
            ),
        ],
        min_teachers: 1,
        max_teachers: None,
    },
    paper: "Wilf et al., WACV 2025, arXiv 2311.02253",
    status: Status::Exact,
    build: |options| {
        Box::new(Ckd::new(CkdConfig {
            alpha: number(options, "alpha"),
            tuples: match word(options, "tuples") {
                "pairs" => Tuples::Pairs,
                "all-pairs" => Tuples::AllPairs,
                _ => Tuples::Groups,
            },
            per_batch: count(options, "tuples_per_batch"),
        }))
    },
};

impl Method for Ckd {
    fn needs(&self, _epoch: usize) -> Needs {
        let min_batch = if self.config.tuples == Tuples::Groups { 3 } else { 2 };
        Needs { teacher_logits: true, min_batch, ..Needs::default() }
    }

    fn loss(&self, step: &Step) -> Loss {
        let CkdConfig { alpha, tuples, per_batch } = self.config;
        let student = &step.student_logits;
        let [batch, classes] = student.dims();
        let device = student.device();
        let difference: Box<dyn Fn(Tensor<2>) -> Tensor<1>> = match tuples {
            Tuples::AllPairs => Box::new(all_pairs_difference),
            Tuples::Pairs | Tuples::Groups => {
                let group = tuples == Tuples::Groups;
                let drawn = drawn_tuples(step.draw, batch, per_batch);
                let coefficients = tuple_coefficients(&drawn, batch, group);
                let shape = [per_batch, batch];
                let matrix = Tensor::from_data(TensorData::new(coefficients, shape), &device);
                Box::new(move |r| tuple_difference(&matrix, r))
            }
        };
        let labels = one_hot(&step.labels, classes);
        let of_labels = difference(student.clone() - labels);
        let of_teachers = step
            .teacher_logits()
            .clone()
            .iter_dim(0)
            .map(|teacher| difference(student.clone() - teacher.squeeze_dim::<2>(0)))
            .collect();
        let terms = vec![
            Term { name: "task", weight: 1.0, value: of_labels },
            mean_over_teachers("kd", alpha, of_teachers),
        ];
        Loss { terms, teacher_weights: Vec::new() }
    }

    fn objective(&self, teachers: usize) -> String {
        let CkdConfig { alpha, tuples, per_batch } = self.config;
        let what = match tuples {
            Tuples::Pairs => format!("{per_batch} pairs"),
            Tuples::Groups => format!("{per_batch} groups"),
            Tuples::AllPairs => "all pairs".to_owned(),
        };
        format!("MSE(d, d of labels) + {alpha} {}, {what} a batch", mean_k("MSE(d, d_k)", teachers))
    }
}

/// `[batch, classes]`, 1 at the label.
pub(crate) fn one_hot(labels: &Tensor<1, Int>, classes: usize) -> Tensor<2> {
    let batch = labels.dims()[0];
    let numbers = Tensor::<1, Int>::arange(0..classes as i64, &labels.device());
    let numbers = numbers.reshape([1, classes]).repeat_dim(0, batch);
    numbers.equal(labels.clone().reshape([batch, 1]).repeat_dim(1, classes)).float()
}

/// Three samples of `0..batch` each, different as far as there are enough.
pub(crate) fn drawn_tuples(number: u64, batch: usize, count: usize) -> Vec<[usize; 3]> {
    (0..count as u64)
        .map(|tuple| {
            let pick = |which: u64, from: usize| {
                below(draw(Purpose::Method, number, tuple, which, 0), from.max(1) as u64) as usize
            };
            let first = pick(0, batch);
            let second = (first + 1 + pick(1, batch.saturating_sub(1))) % batch;
            // The third skips the other two in their order.
            let mut third = pick(2, batch.saturating_sub(2));
            for taken in [first.min(second), first.max(second)] {
                third += usize::from(third >= taken);
            }
            [first, second, third % batch]
        })
        .collect()
}

/// Row-major `[tuples, batch]`: first less second, or the mean of first and second less the third.
pub(crate) fn tuple_coefficients(tuples: &[[usize; 3]], batch: usize, group: bool) -> Vec<f32> {
    let mut matrix = vec![0.0; tuples.len() * batch];
    for (row, &[first, second, third]) in matrix.chunks_exact_mut(batch).zip(tuples) {
        if group {
            row[first] += 0.5;
            row[second] += 0.5;
            row[third] -= 1.0;
        } else {
            row[first] += 1.0;
            row[second] -= 1.0;
        }
    }
    matrix
}

/// `mean (d(z_S) - d(z_T))²`, `[1]`, from `r = z_S - z_T`, in which d is linear.
pub(crate) fn tuple_difference(coefficients: &Tensor<2>, r: Tensor<2>) -> Tensor<1> {
    coefficients.clone().matmul(r).square().mean()
}

/// The same over all pairs: `2 (mean_b ‖r‖² - ‖mean_b r‖²) / classes`.
pub(crate) fn all_pairs_difference(r: Tensor<2>) -> Tensor<1> {
    (r.clone() - r.mean_dim(0)).square().mean() * 2.0
}
