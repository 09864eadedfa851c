//! The loss straight from its formula, in `f64` and without the gradient: the reference of the
//! tests, which differentiate it numerically.

use super::{SoftmaxKl, SoftmaxKlLoss};

fn softmax(logits: &[f64], temperature: f64) -> Vec<f64> {
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exp: Vec<f64> = logits.iter().map(|z| ((z - max) / temperature).exp()).collect();
    let sum: f64 = exp.iter().sum();
    exp.iter().map(|e| e / sum).collect()
}

/// The loss; shapes as in [`softmax_kl`](super::softmax_kl).
pub fn loss(
    loss: &SoftmaxKl,
    student: &[f64],
    labels: &[u32],
    teachers: &[f64],
    teacher_weights: &[f64],
) -> SoftmaxKlLoss {
    let (batch, classes, temperature) = (loss.batch, loss.classes, f64::from(loss.temperature));
    let (mut ce, mut kd) = (0.0, 0.0);
    for row in 0..batch {
        let z = &student[row * classes..][..classes];
        ce -= softmax(z, 1.0)[labels[row] as usize].ln() / batch as f64;
        let q = softmax(z, temperature);
        for k in 0..loss.teachers {
            let p = softmax(&teachers[(k * batch + row) * classes..][..classes], temperature);
            let kl: f64 = p.iter().zip(&q).map(|(p, q)| p * (p.ln() - q.ln())).sum();
            kd += teacher_weights[k * batch + row] * temperature * temperature * kl / batch as f64;
        }
    }
    let total = f64::from(loss.ce_weight) * ce + f64::from(loss.kd_weight) * kd;
    SoftmaxKlLoss { ce, kd, total }
}
