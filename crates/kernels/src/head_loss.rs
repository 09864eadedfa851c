//! Cross-entropy and distillation loss of a head with many classes, from the values before the
//! head, in memory that does not grow with the classes.
//!
//! ```text
//! z[r] = weight hidden[r]      t_k[r] = the teachers' likewise      q = softmax(z)      p_k = softmax(t_k)
//! CE[r] = -log q[r][label[r]]
//! KD[r] = sum_k w_k[r] T² KL(softmax(t_k[r] / T) || softmax(z[r] / T))          Divergence::Forward
//!         KL(q[r] || p[r])                           p = sum_k w_k p_k          Divergence::Reverse
//!         β KL(p[r] || m[r]) + (1 - β) KL(q[r] || m[r])   m = β p + (1 - β) q   Divergence::JensenShannon
//! L     = sum_r ce_factor[r] CE[r] + kd_factor[r] KD[r]
//! d[r]  = dL/dz[r] = ce_factor[r] (q[r] - onehot(label[r])) + kd_factor[r] times
//!         T sum_k w_k[r] (softmax(z[r] / T) - softmax(t_k[r] / T))
//!         q (ln q - ln p - KL(q || p))
//!         (1 - β) q (ln q - ln m - KL(q || m))
//! hidden_grad[r] = weightᵀ d[r]      weight_grad += sum_r d[r] hidden[r]ᵀ
//! ```
//! Means and masks are the factors: `1 / valid tokens` where a token counts, 0 elsewhere. The sum of
//! the divergences from several teachers has the gradient of that from their mixture. Reverse and
//! Jensen-Shannon are those of MiniLLM (Gu et al., ICLR 2024) and GKD (Agarwal et al., ICLR 2024).
//!
//! # Shapes
//! hidden `[rows, width]` and weight `[classes, width]`, each teacher's with a width of its own,
//! labels, factors and weights `[rows]`.
//!
//! # Algorithm
//! Blocks of 512 rows and 2048 classes: logits are made twice, once for the sums of their exponentials, once
//! for the gradient, so that at most 4 MiB of them are there, and as much of each teacher's. A third
//! more products than with all logits kept. Divergences from the mixture need its logarithm before
//! they can be summed, and their sum before the gradient: there logits are made three times.
//!
//! # Error
//! Logits as [`matmul`](crate::matmul)'s products. Exponentials and logarithms to 2e-7, 128 terms summed in
//! `f32`, those sums in `f64`: losses to 1e-6 of the largest logit. Finite at any finite logits.
//!
//! # Threads
//! Blocks in order, rows within them in parallel: the same for any number of threads.

mod head;
mod mixture;
mod reductions;
pub mod scalar;
mod softened;
mod statistics;
mod sums;
#[cfg(test)]
mod tests;

use rayon::prelude::*;

pub use self::head::Head;
pub use self::statistics::{RowStatistics, head_statistics};

use self::head::{CLASSES, ROWS, check_labels};
use self::mixture::{Between, Terms};
use self::sums::{Given, MeasureGiven, MeasureOwn, Own};
use crate::isa::Isa;
use crate::matmul::{Finish, Matrix, MatrixMut, matmul};
use crate::scratch::Scratch;

/// How the student's distribution `q` is compared with the teachers'.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Divergence {
    /// `sum_k w_k T² KL(p_k || q)`, both softened by the temperature.
    #[default]
    Forward,
    /// `KL(q || p)` with the mixture `p = sum_k w_k p_k`, at temperature 1 whatever that of
    /// [`Targets`] is: the student is to stay where the teachers are sure.
    Reverse,
    /// Generalised Jensen-Shannon divergence from the mixture, at temperature 1 likewise.
    JensenShannon {
        /// In 0 to 1: at its ends `KL(p || q)` and `KL(q || p)`.
        beta: f32,
    },
}

impl Divergence {
    /// `None` for the sum over the teachers.
    fn between(self) -> Option<Between> {
        match self {
            Self::Forward => None,
            Self::Reverse => Some(Between::Reverse),
            Self::JensenShannon { beta } => Some(Between::new(f64::from(beta))),
        }
    }
}

/// What the loss compares with, and how much each row counts.
#[derive(Clone, Copy)]
pub struct Targets<'a> {
    /// `[rows]`; also where `ce_factor` is 0 they must be below the classes.
    pub labels: &'a [u32],
    /// Factor of a row's cross-entropy, `[rows]`.
    pub ce_factor: &'a [f32],
    /// Factor of a row's distillation term, `[rows]`; without teachers it may be empty.
    pub kd_factor: &'a [f32],
    /// Each teacher and its weight in each row, `[rows]`, none below 0; a mixture's must sum to 1
    /// over the teachers, or all be 0, which leaves the term out.
    pub teachers: &'a [(Head<'a>, &'a [f32])],
    /// Softens the distributions of [`Divergence::Forward`]; greater than 0.
    pub temperature: f32,
    /// What the distillation term is.
    pub divergence: Divergence,
}

/// The gradients.
pub struct HeadGrads<'a> {
    /// `[rows, width]`; overwritten.
    pub hidden: &'a mut [f32],
    /// `[classes, width]`; added to.
    pub weight: &'a mut [f32],
}

/// The terms of a row, without their factors, in nats.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RowLoss {
    /// Cross-entropy.
    pub ce: f64,
    /// Distillation term, with the weights of the teachers; 0 without a teacher.
    pub kd: f64,
}

impl Targets<'_> {
    fn check(&self, classes: usize) {
        let &Targets { labels, ce_factor, kd_factor, teachers, temperature, divergence } = self;
        let rows = labels.len();
        assert!(ce_factor.len() == rows, "{} `ce_factor`, {rows} labels", ce_factor.len());
        let needed = if teachers.is_empty() { kd_factor.len().min(rows) } else { rows };
        assert!(kd_factor.len() == needed, "{} `kd_factor`, {rows} labels", kd_factor.len());
        for (k, (teacher, weights)) in teachers.iter().enumerate() {
            teacher.check(&format!("teacher {k}"), rows, classes);
            assert!(
                weights.len() == rows,
                "{} weights of teacher {k}, {rows} labels",
                weights.len()
            );
        }
        assert!(temperature > 0.0, "`temperature` is {temperature}, it must be greater than 0");
        if let Divergence::JensenShannon { beta } = divergence {
            assert!((0.0..=1.0).contains(&beta), "`beta` is {beta}, it must be from 0 to 1");
        }
        check_labels(classes, labels);
    }
}

/// The terms of every row, and the gradients of the loss if there is room for them.
///
/// # Panics
/// If a length does not match, a width is 0, a label is not below `classes`, the temperature is
/// not greater than 0, or β is not from 0 to 1.
pub fn head_loss(
    classes: usize,
    student: Head<'_>,
    targets: &Targets<'_>,
    mut grads: Option<HeadGrads<'_>>,
) -> Vec<RowLoss> {
    let rows = targets.labels.len();
    student.check("the student", rows, classes);
    targets.check(classes);
    if let Some(grads) = &grads {
        let (got, want) = (
            [grads.hidden.len(), grads.weight.len()],
            [student.hidden.len(), student.weight.len()],
        );
        assert!(got == want, "gradients of {got:?} values, {want:?} expected");
    }
    let mut losses = Vec::with_capacity(rows);
    let block = ROWS.min(rows) * CLASSES.min(classes);
    let mut logits = Logits {
        own: Scratch::take(block),
        teachers: targets.teachers.iter().map(|_| Scratch::take(block)).collect(),
    };
    for first in (0..rows).step_by(ROWS) {
        let count = ROWS.min(rows - first);
        let block = Block { classes, student, targets, rows: [first, count] };
        let mut sums = block.sums(&mut logits);
        if let Some(between) = block.between() {
            block.compare(between, &mut sums, &mut logits);
        }
        losses.extend((0..count).map(|row| block.loss(&sums, row)));
        if let Some(grads) = &mut grads {
            block.gradients(&sums, grads, &mut logits);
        }
    }
    losses
}

/// Room for the logits of some rows and classes.
struct Logits {
    own: Scratch,
    teachers: Vec<Scratch>,
}

/// What the rows of a block come to.
struct Sums {
    /// `[rows]`
    own: Vec<Own>,
    /// `[rows, teachers]`
    given: Vec<Given>,
    /// `[rows]`, of divergences from the mixture.
    terms: Vec<Terms>,
}

/// Some rows.
#[derive(Clone, Copy)]
struct Block<'a> {
    classes: usize,
    student: Head<'a>,
    targets: &'a Targets<'a>,
    /// The first, and how many.
    rows: [usize; 2],
}

impl Block<'_> {
    fn between(&self) -> Option<Between> {
        if self.targets.teachers.is_empty() { None } else { self.targets.divergence.between() }
    }

    /// The temperature of the distillation term.
    fn temperature(&self) -> f32 {
        if self.between().is_some() { 1.0 } else { self.targets.temperature }
    }

    /// The first of some classes, and how many, block by block.
    fn blocks(&self) -> impl Iterator<Item = [usize; 2]> + use<> {
        let classes = self.classes;
        (0..classes).step_by(CLASSES).map(move |first| [first, CLASSES.min(classes - first)])
    }

    /// Makes the logits of some classes, of the student and the teachers.
    fn logits(&self, classes: [usize; 2], logits: &mut Logits) {
        let len = self.rows[1] * classes[1];
        self.student.logits(self.rows, classes, &mut logits.own[..len]);
        for ((head, _), logits) in self.targets.teachers.iter().zip(&mut logits.teachers) {
            head.logits(self.rows, classes, &mut logits[..len]);
        }
    }

    /// Where the label of a row of the block stands among the classes from `first` on.
    fn label(&self, row: usize, [first, count]: [usize; 2]) -> Option<usize> {
        let label = self.targets.labels[self.rows[0] + row] as usize;
        label.checked_sub(first).filter(|&label| label < count)
    }

    fn loss(&self, sums: &Sums, row: usize) -> RowLoss {
        let (own, teachers) = (&sums.own[row], self.targets.teachers.len());
        let given = &sums.given[row * teachers..][..teachers];
        let mut given = given.iter().filter(|given| given.weight != 0.0).peekable();
        let kd = match self.between() {
            Some(between) if given.peek().is_some() => between.divergence(sums.terms[row]),
            Some(_) => 0.0,
            None => {
                let temperature = f64::from(self.targets.temperature);
                given.map(|given| f64::from(given.weight) * given.kd(own, temperature)).sum()
            }
        };
        RowLoss { ce: own.ce(), kd }
    }

    /// The first pass.
    fn sums(&self, logits: &mut Logits) -> Sums {
        let isa = Isa::active();
        let (teachers, [first_row, rows]) = (self.targets.teachers, self.rows);
        let softened = !teachers.is_empty() && self.between().is_none();
        let inverse = 1.0 / self.temperature();
        let weights = |row| teachers.iter().map(move |(_, weight)| weight[first_row + row]);
        let mut all = Sums {
            own: vec![Own::default(); rows],
            given: (0..rows).flat_map(weights).map(Given::new).collect(),
            terms: vec![Terms::default(); rows],
        };
        for classes in self.blocks() {
            self.logits(classes, logits);
            let row_of = |row: usize| row * classes[1]..(row + 1) * classes[1];
            let Logits { own, teachers: theirs } = &*logits;
            all.own.par_iter_mut().with_min_len(4).enumerate().for_each(|(row, sums)| {
                isa.run(MeasureOwn {
                    logits: &own[row_of(row)],
                    label: self.label(row, classes),
                    inverse: softened.then_some(inverse),
                    sums,
                });
            });
            if theirs.is_empty() {
                continue;
            }
            let given = all.given.par_chunks_mut(theirs.len()).with_min_len(4);
            given.enumerate().for_each(|(row, given)| {
                for (sums, teacher) in given.iter_mut().zip(theirs) {
                    let at = row_of(row);
                    isa.run(MeasureGiven {
                        own: &own[at.clone()],
                        teacher: &teacher[at],
                        inverse,
                        sums,
                    });
                }
            });
        }
        all
    }

    /// Calls `work` with each row, the student's logits, the first teacher's, those of each other
    /// one, and the sums of all of them.
    fn each_row(
        &self,
        count: usize,
        sums: &Sums,
        logits: &mut Logits,
        work: impl Fn(usize, &mut [f32], &mut [f32], &[&[f32]], &[Given]) + Sync,
    ) {
        let rows = self.rows[1];
        let (first, others) = logits.teachers.split_first_mut().expect("called with teachers");
        let (others, teachers) = (&*others, 1 + others.len());
        let own = logits.own[..rows * count].par_chunks_mut(count);
        let first = first[..rows * count].par_chunks_mut(count);
        own.zip(first).with_min_len(4).enumerate().for_each(|(row, (own, first))| {
            let others: Vec<&[f32]> =
                others.iter().map(|logits| &logits[row * count..][..count]).collect();
            work(row, own, first, &others, &sums.given[row * teachers..][..teachers]);
        });
    }

    /// Turns logits into logarithms of the student's probabilities and, in place of the first teacher's,
    /// of the mixture's.
    fn logarithms(&self, count: usize, sums: &Sums, logits: &mut Logits) {
        let isa = Isa::active();
        self.each_row(count, sums, logits, |row, own, mixture, others, given| {
            isa.run(mixture::Logarithms { own, mixture, others, sums: &sums.own[row], given });
        });
    }

    /// The second pass of divergences from the mixture.
    fn compare(&self, between: Between, sums: &mut Sums, logits: &mut Logits) {
        let isa = Isa::active();
        for classes in self.blocks() {
            let count = classes[1];
            if self.classes > CLASSES {
                self.logits(classes, logits);
            }
            self.logarithms(count, sums, logits);
            let Logits { own, teachers } = &*logits;
            sums.terms.par_iter_mut().with_min_len(4).enumerate().for_each(|(row, terms)| {
                let [own, mixture] =
                    [own, &teachers[0]].map(|logits| &logits[row * count..][..count]);
                isa.run(mixture::Compare { own, mixture, between, terms });
            });
        }
    }

    /// The last pass.
    fn gradients(&self, sums: &Sums, grads: &mut HeadGrads<'_>, logits: &mut Logits) {
        let (width, [first_row, rows]) = (self.student.width, self.rows);
        let hidden = &self.student.hidden[first_row * width..][..rows * width];
        let hidden_grad = &mut grads.hidden[first_row * width..][..rows * width];
        for classes in self.blocks() {
            let [first, count] = classes;
            // With one block of classes those of the pass before are still there.
            if self.classes > CLASSES {
                self.logits(classes, logits);
                if self.between().is_some() {
                    self.logarithms(count, sums, logits);
                }
            }
            self.differences(classes, sums, logits);
            let differences = Matrix::new(&logits.own[..rows * count], [rows, count]);
            let weight = &self.student.weight[first * width..][..count * width];
            let finish = if first == 0 { Finish::Store } else { Finish::Add };
            matmul(
                differences,
                Matrix::new(weight, [count, width]),
                finish,
                MatrixMut::new(hidden_grad, [rows, width]),
            );
            matmul(
                differences.transposed(),
                Matrix::new(hidden, [rows, width]),
                Finish::Add,
                MatrixMut::new(&mut grads.weight[first * width..][..count * width], [count, width]),
            );
        }
    }

    /// What stands in place of the student's logits becomes the gradient by them.
    fn differences(&self, classes: [usize; 2], sums: &Sums, logits: &mut Logits) {
        let isa = Isa::active();
        let [first_row, rows] = self.rows;
        let (count, ce_factor) = (classes[1], &self.targets.ce_factor[first_row..][..rows]);
        if self.targets.teachers.is_empty() {
            let own = logits.own[..rows * count].par_chunks_mut(count).with_min_len(4);
            own.enumerate().for_each(|(row, own)| {
                let (label, sums) = (self.label(row, classes), &sums.own[row]);
                isa.run(softened::Plain { own, label, ce_factor: ce_factor[row], sums });
            });
            return;
        }
        let kd_factor = &self.targets.kd_factor[first_row..][..rows];
        self.each_row(count, sums, logits, |row, own, mixture, others, given| {
            let (label, ce_factor) = (self.label(row, classes), ce_factor[row]);
            let kd_factor = kd_factor[row];
            match self.between() {
                Some(between) => {
                    let terms = sums.terms[row];
                    isa.run(mixture::Differences {
                        own,
                        mixture,
                        between,
                        label,
                        ce_factor,
                        kd_factor,
                        terms,
                    });
                }
                None => isa.run(softened::Differences {
                    own,
                    mixture,
                    others,
                    label,
                    ce_factor,
                    kd_factor,
                    temperature: self.targets.temperature,
                    sums: &sums.own[row],
                    given,
                }),
            }
        });
    }
}
