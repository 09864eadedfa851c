//! CKD: comparative distillation, differences between samples instead of outputs.
//!
//! Wilf et al., WACV 2025, <https://arxiv.org/abs/2311.02253>.
//!
//! ```text
//! d(z)  = z_i - z_j  (pairs)   or   (z_i + z_j)/2 - z_l  (groups), of random tuples of a batch
//! L     = mean (d(z_S) - d(onehot))² + α mean (d(z_S) - d(z_T))²       over tuples and classes
//! b    += mean ((onehot + α z_T)/(1 + α)) - mean z_S                   b: the last bias, after training
//! ```
//! Raw logits: no softmax, no temperature, no cross-entropy.
//! # Shapes
//! student logits `[batch, classes]`, teacher logits `[teachers, batch, classes]`, labels `[batch]`.
//! # Gradient
//! through the student only.
//! # Paper and code
//! 64 tuples a step, of samples of the batch without repetition as long as there are enough of them:
//! the release's step, of 64 tuples of fresh images, is `train.batch_size = 128` for pairs and 192 for
//! groups; a smaller batch is cut into tuples several times, in other orders. `tuples = "all-pairs"`
//! takes all pairs at once, in closed form, which is what pairs are on average. The paper runs the
//! teacher on a few thousand images once: `data.train_samples` and `data.views` of the recipe give
//! that.
//!
//! Labels and teachers both come as differences, to which a number added to all logits of a class is
//! nothing: the loss leaves these offsets wherever the start put them. So the last bias is set to where
//! the same squares without differences are smallest: the student's mean logits over the training
//! samples (inference mode, the epoch's views) become those of labels and teachers, which are kept from
//! the batches trained on: no call of a teacher is added.
//! # Limits
//! the value belongs to the whole batch, three samples at least for groups. The offsets cost one more
//! pass of the student over the training samples before each measurement (`train.evaluate_every`). In
//! the first epoch the accuracy in training mode is that of offsets nobody has set yet. With several
//! teachers, the mean over them.

use burn::Tensor;
use burn::tensor::{Int, TensorData};
use faculty_data::rng::{Purpose, below, draw};
use faculty_nets::Init;

use crate::shared::features::{mean_k, mean_over_teachers};
use crate::shared::layers::parameter;
use crate::shared::options::{OURS, count, number, option, word};
use crate::{Loss, Method, MethodInfo, Needs, Parts, Shapes, Status, Step, Term};
use faculty_contract::losses::numbers;
use faculty_contract::{Setup, Write};
use faculty_recipe::{MethodSpec, OptionValue, Range};

/// Which tuples are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
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
pub(crate) const ROW: MethodInfo = MethodInfo {
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

/// Arrays of its memory: mean of what the logits are compared with, and of how many samples.
const MEAN: usize = 0;
const SEEN: usize = 1;

impl Ckd {
    /// Samples of a tuple, or of the smallest batch.
    const fn tuple_size(&self) -> usize {
        match self.config.tuples {
            Tuples::Groups => 3,
            Tuples::Pairs | Tuples::AllPairs => 2,
        }
    }

    /// The memory with the batch of this step.
    fn with_batch(&self, step: &Step) -> Vec<Write> {
        let alpha = self.config.alpha;
        let [batch, classes] = step.student_logits.dims();
        let labels = one_hot(&step.labels, classes);
        let teachers = step.given_logits().clone().mean_dim(0).squeeze_dim::<2>(0);
        let compared = (labels + teachers * alpha) / (1.0 + alpha);
        let seen = step.memory[SEEN][0] + batch as f32;
        let share = batch as f32 / seen;
        let means = numbers(&compared.mean_dim(0));
        let old = step.memory[MEAN].iter();
        let values = old.zip(means).map(|(old, new)| old + share * (new - old)).collect();
        vec![
            Write { array: MEAN, rows: vec![0], values },
            Write { array: SEEN, rows: vec![0], values: vec![seen] },
        ]
    }
}

impl Method for Ckd {
    fn setup(&self) -> Setup {
        // Offsets of classes are counted by the labels.
        Setup { has_task_loss: false, needs_one_label: true, ..Setup::default() }
    }

    fn needs(&self, _epoch: usize) -> Needs {
        Needs { teacher_logits: true, min_batch: self.tuple_size(), ..Needs::default() }
    }

    fn parts(&self, shapes: &Shapes) -> Parts {
        Parts {
            memory: vec![
                parameter("mean".to_owned(), &[1, shapes.classes], Init::Zeros),
                parameter("seen".to_owned(), &[1, 1], Init::Zeros),
            ],
            mean_logits: Some(|memory| (memory[SEEN][0] > 0.0).then(|| memory[MEAN].to_vec())),
            ..Parts::default()
        }
    }

    fn loss(&self, step: &Step) -> Loss {
        let CkdConfig { alpha, tuples, per_batch } = self.config;
        let student = &step.student_logits;
        let [batch, classes] = student.dims();
        let device = student.device();
        let difference: Box<dyn Fn(Tensor<2>) -> Tensor<1>> = match tuples {
            Tuples::AllPairs => Box::new(all_pairs_difference),
            Tuples::Pairs | Tuples::Groups => {
                let drawn = drawn_tuples(step.step_seed, batch, self.tuple_size(), per_batch);
                let group = tuples == Tuples::Groups;
                let coefficients = tuple_coefficients(&drawn, batch, group);
                let shape = [per_batch, batch];
                let matrix = Tensor::from_data(TensorData::new(coefficients, shape), &device);
                Box::new(move |r| tuple_difference(&matrix, r))
            }
        };
        let labels = one_hot(&step.labels, classes);
        let of_labels = difference(student.clone() - labels);
        let of_teachers = step
            .given_logits()
            .clone()
            .iter_dim(0)
            .map(|teacher| difference(student.clone() - teacher.squeeze_dim::<2>(0)))
            .collect();
        let terms = vec![
            Term { name: "task", weight: 1.0, value: of_labels },
            mean_over_teachers("kd", alpha, of_teachers),
        ];
        Loss::new(terms).with_writes(self.with_batch(step))
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

/// `count` tuples of `size` samples of `0..batch`, 2 or 3. The batch is cut into tuples in a random
/// order, and again in another one when none are left, so that a tuple holds different samples and each
/// sample comes as often as the others.
pub(crate) fn drawn_tuples(
    number: u64,
    batch: usize,
    size: usize,
    count: usize,
) -> Vec<[usize; 3]> {
    let each = (batch / size).max(1);
    let tuples = (0..count.div_ceil(each)).flat_map(|turn| {
        let mut order: Vec<usize> = (0..batch).collect();
        for i in 0..batch {
            let chosen = draw(Purpose::Method, number, turn as u64, i as u64, 0);
            order.swap(i, i + below(chosen, (batch - i) as u64) as usize);
        }
        // A batch of fewer samples than a tuple repeats them.
        (0..each).map(move |tuple| [0, 1, 2].map(|place| order[(tuple * size + place) % batch]))
    });
    tuples.take(count).collect()
}

/// Row-major `[tuples, batch]`: first less second, whatever the third, or the mean of first and second
/// less the third.
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
