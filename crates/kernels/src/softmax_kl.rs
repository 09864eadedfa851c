//! Cross-entropy and weighted distillation loss over several teachers, fused with the gradient.
//!
//! ```text
//! L  = ce_weight * CE + kd_weight * KD
//! CE = mean_b  -log softmax(z[b])[label[b]]
//! KD = mean_b  sum_k w[k,b] * T^2 * KL(softmax(t[k,b] / T) || softmax(z[b] / T))
//! dL/dz[b] = ce_weight / batch * (softmax(z[b]) - onehot(label[b]))
//!          + kd_weight / batch * T * sum_k w[k,b] * (softmax(z[b] / T) - softmax(t[k,b] / T))
//! ```
//! The teachers' distributions are mixed once, so the student's row is read once for all of them.
//!
//! # Shapes
//! student logits and gradient `[batch, classes]`, teacher logits `[teachers, batch, classes]`,
//! teacher weights `[teachers, batch]`, labels `[batch]`.
//!
//! # Error
//! Exponentials (to 1e-14), logarithms and sums in `f64`; the gradient is rounded once. Finite at
//! any finite logits, since maxima are subtracted first.
//!
//! # Threads
//! Rows in parallel, their losses added in row order: the same for any number of threads.

mod exponential;
pub mod scalar;
#[cfg(test)]
mod tests;

use rayon::prelude::*;

use self::exponential::exp;
use crate::isa::{Isa, Kernel};
use crate::simd::Simd;
use crate::sizes;

/// Rows of one task: some ten microseconds at 100 classes and three teachers.
const ROWS_PER_TASK: usize = 8;
/// Independent running values of a reduction, so that it can use whole vectors.
const LANES: usize = 16;

/// Sizes and factors of the loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SoftmaxKl {
    /// Rows.
    pub batch: usize,
    /// Classes.
    pub classes: usize,
    /// Teachers; 0 leaves the cross-entropy.
    pub teachers: usize,
    /// Softens the distributions of the distillation term; greater than 0.
    pub temperature: f32,
    /// Factor of the cross-entropy.
    pub ce_weight: f32,
    /// Factor of the distillation term.
    pub kd_weight: f32,
}

/// The terms of the loss, without their factors, in nats.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SoftmaxKlLoss {
    /// Cross-entropy, mean over the batch.
    pub ce: f64,
    /// Distillation term, mean over the batch.
    pub kd: f64,
    /// `ce_weight * ce + kd_weight * kd`
    pub total: f64,
}

/// Natural logarithms of `softmax(logits / temperature)`.
#[inline(always)]
fn log_softmax(logits: &[f32], temperature: f64, log: &mut [f64]) {
    let mut maxima = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = logits.as_chunks::<LANES>();
    for chunk in chunks {
        for i in 0..LANES {
            maxima[i] = if chunk[i] > maxima[i] { chunk[i] } else { maxima[i] };
        }
    }
    for (max, &z) in maxima.iter_mut().zip(rest) {
        *max = if z > *max { z } else { *max };
    }
    let max = f64::from(maxima.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    for (log, &z) in log.iter_mut().zip(logits) {
        *log = (f64::from(z) - max) / temperature;
    }
    let normaliser = sum(log, exp).ln();
    log.iter_mut().for_each(|z| *z -= normaliser);
}

/// Sum of `f` over `values` in a fixed order.
#[inline(always)]
fn sum(values: &[f64], f: impl Fn(f64) -> f64) -> f64 {
    let mut sums = [0.0; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for i in 0..LANES {
            sums[i] += f(chunk[i]);
        }
    }
    for (sum, &value) in sums.iter_mut().zip(rest) {
        *sum += f(value);
    }
    sums.iter().sum()
}

/// What the teachers say of all rows.
#[derive(Clone, Copy)]
struct Teachers<'a> {
    logits: &'a [f32],
    weights: &'a [f32],
}

/// The rows of one task.
struct Rows<'a> {
    loss: &'a SoftmaxKl,
    /// Index of the first row.
    first: usize,
    student: &'a [f32],
    labels: &'a [u32],
    teachers: Teachers<'a>,
    /// `[rows, classes]`
    grad: &'a mut [f32],
    /// Cross-entropy and distillation term of each row.
    terms: &'a mut [(f64, f64)],
}

impl Kernel for Rows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let Self { loss, first, student, labels, teachers, grad, terms } = self;
        let classes = loss.classes;
        let mut buffers = vec![0.0_f64; 3 * classes];
        let (log, rest) = buffers.split_at_mut(classes);
        let (mix, grads) = rest.split_at_mut(classes);
        for (i, (grad, term)) in grad.chunks_exact_mut(classes).zip(terms).enumerate() {
            let row = first + i;
            let label = labels[row] as usize;
            let z = &student[row * classes..][..classes];
            grads.fill(0.0);
            if loss.teachers > 0 {
                term.1 = distillation(loss, teachers, row, z, log, mix, grads);
            }
            log_softmax(z, 1.0, log);
            term.0 = -log[label];
            let factor = f64::from(loss.ce_weight) / loss.batch as f64;
            for ((grad, &sum), &log) in grad.iter_mut().zip(&*grads).zip(&*log) {
                *grad = (sum + factor * exp(log)) as f32;
            }
            // The label's own class again, so that the difference is rounded once.
            grad[label] = (grads[label] + factor * (exp(log[label]) - 1.0)) as f32;
        }
    }
}

/// The distillation term of one row; its gradient is added to `grads`.
#[inline(always)]
fn distillation(
    loss: &SoftmaxKl,
    given: Teachers<'_>,
    row: usize,
    z: &[f32],
    log: &mut [f64],
    mix: &mut [f64],
    grads: &mut [f64],
) -> f64 {
    let &SoftmaxKl { batch, classes, teachers, temperature, kd_weight, .. } = loss;
    let temperature = f64::from(temperature);
    let (mut weights, mut negative_entropy) = (0.0, 0.0);
    mix.fill(0.0);
    for k in 0..teachers {
        let weight = f64::from(given.weights[k * batch + row]);
        let teacher = &given.logits[(k * batch + row) * classes..][..classes];
        log_softmax(teacher, temperature, log);
        weights += weight;
        for (mix, &log) in mix.iter_mut().zip(&*log) {
            *mix += weight * exp(log);
        }
        // A class of probability 0 adds nothing; 0 * -inf would be NaN.
        negative_entropy += weight
            * sum(log, |log| {
                let p = exp(log);
                if p == 0.0 { 0.0 } else { p * log }
            });
    }
    log_softmax(z, temperature, log);
    let mut cross = [0.0; LANES];
    for (mix, log) in mix.chunks(LANES).zip(log.chunks(LANES)) {
        for ((cross, &mix), &log) in cross.iter_mut().zip(mix).zip(log) {
            *cross += if mix == 0.0 { 0.0 } else { mix * log };
        }
    }
    let factor = f64::from(kd_weight) * temperature / batch as f64;
    for ((grad, &mix), &log) in grads.iter_mut().zip(&*mix).zip(&*log) {
        *grad += factor * (weights * exp(log) - mix);
    }
    temperature * temperature * (negative_entropy - cross.iter().sum::<f64>())
}

/// The loss and its gradient by the student's logits (overwritten).
///
/// # Panics
/// If a length does not match `loss`, a label is not below `classes`, or the temperature is not
/// greater than 0.
pub fn softmax_kl(
    loss: &SoftmaxKl,
    student: &[f32],
    labels: &[u32],
    teachers: &[f32],
    teacher_weights: &[f32],
    student_grad: &mut [f32],
) -> SoftmaxKlLoss {
    let &SoftmaxKl { batch, classes, temperature, ce_weight, kd_weight, .. } = loss;
    let values = sizes::elements([batch, classes]);
    let check = |name: &str, got: usize, want: usize| {
        assert!(got == want, "`{name}` has {got} elements, {want} expected for {loss:?}");
    };
    check("student", student.len(), values);
    check("labels", labels.len(), batch);
    check("teachers", teachers.len(), sizes::elements([loss.teachers, batch, classes]));
    check("teacher_weights", teacher_weights.len(), sizes::elements([loss.teachers, batch]));
    check("student_grad", student_grad.len(), values);
    assert!(temperature > 0.0, "`temperature` is {temperature}, it must be greater than 0");
    if values == 0 {
        return SoftmaxKlLoss::default();
    }
    check_labels(labels, classes);
    let isa = Isa::active();
    let teachers = Teachers { logits: teachers, weights: teacher_weights };
    let mut terms = vec![(0.0, 0.0); batch];
    (student_grad.par_chunks_mut(ROWS_PER_TASK * classes))
        .zip(terms.par_chunks_mut(ROWS_PER_TASK))
        .enumerate()
        .for_each(|(task, (grad, terms))| {
            let first = task * ROWS_PER_TASK;
            isa.run(Rows { loss, first, student, labels, teachers, grad, terms });
        });
    let ce = terms.iter().map(|term| term.0).sum::<f64>() / batch as f64;
    let kd = terms.iter().map(|term| term.1).sum::<f64>() / batch as f64;
    let total = f64::from(ce_weight) * ce + f64::from(kd_weight) * kd;
    SoftmaxKlLoss { ce, kd, total }
}

fn check_labels(labels: &[u32], classes: usize) {
    for (row, &label) in labels.iter().enumerate() {
        assert!(
            (label as usize) < classes,
            "label {label} of row {row} is not below {classes} classes"
        );
    }
}

/// `-log softmax(logits[row])[label]` of every row: logits `[rows, classes]`, row `r` with label
/// `labels[r % labels.len()]`, so that the logits of several networks can follow each other.
///
/// # Panics
/// If the logits are not whole repetitions of `labels.len()` rows, or a label is not below
/// `classes`.
#[must_use]
pub fn cross_entropy_rows(classes: usize, logits: &[f32], labels: &[u32]) -> Vec<f64> {
    let rows = logits.len() / classes.max(1);
    assert!(
        rows * classes == logits.len() && (rows == 0 || rows.is_multiple_of(labels.len())),
        "{} logits are not whole batches of {} rows of {classes} classes",
        logits.len(),
        labels.len()
    );
    check_labels(labels, classes);
    let isa = Isa::active();
    let mut all = vec![0.0; rows];
    all.par_chunks_mut(ROWS_PER_TASK).enumerate().for_each(|(task, costs)| {
        isa.run(RowCosts { classes, first: task * ROWS_PER_TASK, logits, labels, costs });
    });
    all
}

/// The cross-entropies of one task.
struct RowCosts<'a> {
    classes: usize,
    first: usize,
    logits: &'a [f32],
    labels: &'a [u32],
    costs: &'a mut [f64],
}

impl Kernel for RowCosts<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let mut log = vec![0.0; self.classes];
        for (i, cost) in self.costs.iter_mut().enumerate() {
            let row = self.first + i;
            log_softmax(&self.logits[row * self.classes..][..self.classes], 1.0, &mut log);
            *cost = -log[self.labels[row % self.labels.len()] as usize];
        }
    }
}
