//! The loss straight from its formula, in `f64`, with all logits: the reference of the tests, which
//! differentiate it numerically.

use super::{RowLoss, Targets};

/// Hidden values, weight and width of a head.
pub type WideHead<'a> = (&'a [f64], &'a [f64], usize);

fn log_softmax(head: WideHead<'_>, row: usize, classes: usize, temperature: f64) -> Vec<f64> {
    let (hidden, weight, width) = head;
    let hidden = &hidden[row * width..][..width];
    let logit = |class: usize| -> f64 {
        let weight = &weight[class * width..][..width];
        weight.iter().zip(hidden).map(|(w, h)| w * h).sum::<f64>() / temperature
    };
    let logits: Vec<f64> = (0..classes).map(logit).collect();
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let normaliser = max + logits.iter().map(|z| (z - max).exp()).sum::<f64>().ln();
    logits.iter().map(|z| z - normaliser).collect()
}

/// The terms of every row; shapes as in [`head_loss`](super::head_loss).
#[must_use]
pub fn head_loss(
    classes: usize,
    student: WideHead<'_>,
    teacher: Option<WideHead<'_>>,
    targets: &Targets<'_>,
) -> Vec<RowLoss> {
    let temperature = f64::from(targets.temperature);
    let row = |row: usize| {
        let label = targets.labels[row] as usize;
        let ce = -log_softmax(student, row, classes, 1.0)[label];
        let kd = teacher.map_or(0.0, |teacher| {
            let q = log_softmax(student, row, classes, temperature);
            let p = log_softmax(teacher, row, classes, temperature);
            let kl: f64 = p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum();
            temperature * temperature * kl
        });
        RowLoss { ce, kd }
    };
    (0..targets.labels.len()).map(row).collect()
}
