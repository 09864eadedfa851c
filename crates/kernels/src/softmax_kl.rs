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
//! Exponentials, logarithms and sums in `f64`; the gradient is rounded once. Finite at any finite
//! logits, since maxima are subtracted first.
//!
//! # Threads
//! Rows in parallel, their losses added in row order: the same for any number of threads.

pub mod scalar;
#[cfg(test)]
mod tests;

use rayon::prelude::*;

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
fn log_softmax(logits: &[f32], temperature: f64, log: &mut Vec<f64>) {
    let max = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    log.clear();
    log.extend(logits.iter().map(|&z| (f64::from(z) - max) / temperature));
    let normaliser = log.iter().map(|z| z.exp()).sum::<f64>().ln();
    log.iter_mut().for_each(|z| *z -= normaliser);
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
    let rows = batch * classes;
    let check = |name: &str, got: usize, want: usize| {
        assert!(got == want, "`{name}` has {got} elements, {want} expected for {loss:?}");
    };
    check("student", student.len(), rows);
    check("labels", labels.len(), batch);
    check("teachers", teachers.len(), loss.teachers * rows);
    check("teacher_weights", teacher_weights.len(), loss.teachers * batch);
    check("student_grad", student_grad.len(), rows);
    assert!(temperature > 0.0, "`temperature` is {temperature}, it must be greater than 0");
    if rows == 0 {
        return SoftmaxKlLoss::default();
    }
    let temperature = f64::from(temperature);
    let mut terms = vec![(0.0, 0.0); batch];
    let tasks = student_grad.par_chunks_mut(classes).zip(&mut terms).enumerate();
    tasks.for_each_init(Vec::new, |log, (row, (grad, (ce, kd)))| {
        let label = labels[row] as usize;
        assert!(label < classes, "label {label} of row {row} is not below {classes} classes");
        let mut grads = vec![0.0_f64; classes];
        let z = &student[row * classes..][..classes];
        if loss.teachers > 0 {
            let mut mix = vec![0.0_f64; classes];
            let (mut weights, mut negative_entropy) = (0.0, 0.0);
            for k in 0..loss.teachers {
                let weight = f64::from(teacher_weights[k * batch + row]);
                log_softmax(&teachers[(k * batch + row) * classes..][..classes], temperature, log);
                weights += weight;
                for (mix, log) in mix.iter_mut().zip(&*log) {
                    let p = log.exp();
                    *mix += weight * p;
                    // A class of probability 0 adds nothing; 0 * -inf would be NaN.
                    negative_entropy += if p > 0.0 { weight * p * log } else { p };
                }
            }
            log_softmax(z, temperature, log);
            let cross: f64 = (mix.iter().zip(&*log))
                .map(|(mix, log)| if *mix == 0.0 { 0.0 } else { mix * log })
                .sum();
            *kd = temperature * temperature * (negative_entropy - cross);
            let factor = f64::from(kd_weight) * temperature / batch as f64;
            for ((grad, mix), log) in grads.iter_mut().zip(&mix).zip(&*log) {
                *grad = factor * (weights * log.exp() - mix);
            }
        }
        log_softmax(z, 1.0, log);
        *ce = -log[label];
        let factor = f64::from(ce_weight) / batch as f64;
        for (class, ((grad, &sum), log)) in grad.iter_mut().zip(&grads).zip(&*log).enumerate() {
            let hot = if class == label { 1.0 } else { 0.0 };
            *grad = (sum + factor * (log.exp() - hot)) as f32;
        }
    });
    let ce = terms.iter().map(|term| term.0).sum::<f64>() / batch as f64;
    let kd = terms.iter().map(|term| term.1).sum::<f64>() / batch as f64;
    let total = f64::from(ce_weight) * ce + f64::from(kd_weight) * kd;
    SoftmaxKlLoss { ce, kd, total }
}
