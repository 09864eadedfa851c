//! The loss straight from its formula, in `f64`, with all logits: the reference of the tests, which
//! differentiate it numerically.

use super::{Divergence, RowLoss, RowStatistics, Targets};

/// Hidden values, weight and width of a head.
pub type WideHead<'a> = (&'a [f64], &'a [f64], usize);

/// Logits of a row.
fn logits((hidden, weight, width): WideHead<'_>, row: usize, classes: usize) -> Vec<f64> {
    let hidden = &hidden[row * width..][..width];
    let logit = |class: usize| -> f64 {
        let weight = &weight[class * width..][..width];
        weight.iter().zip(hidden).map(|(w, h)| w * h).sum()
    };
    (0..classes).map(logit).collect()
}

fn log_sum_exp(values: &[f64]) -> f64 {
    let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    max + values.iter().map(|z| (z - max).exp()).sum::<f64>().ln()
}

fn log_softmax(logits: &[f64], temperature: f64) -> Vec<f64> {
    let softened: Vec<f64> = logits.iter().map(|z| z / temperature).collect();
    let normaliser = log_sum_exp(&softened);
    softened.iter().map(|z| z - normaliser).collect()
}

/// `KL(a || b)` of logarithms.
fn kl(a: &[f64], b: &[f64]) -> f64 {
    let terms = a.iter().zip(b).map(|(a, b)| if a.exp() == 0.0 { 0.0 } else { a.exp() * (a - b) });
    terms.sum()
}

/// `ln (x e^a + y e^b)` of each element.
fn mix(parts: &[(f64, Vec<f64>)]) -> Vec<f64> {
    let value = |class: usize| {
        let terms: Vec<f64> = parts.iter().map(|(share, log)| share.ln() + log[class]).collect();
        log_sum_exp(&terms)
    };
    (0..parts[0].1.len()).map(value).collect()
}

/// Distillation term of a row, from logits of the student and of each teacher with its weight.
fn distillation(
    student: &[f64],
    teachers: &[(f64, Vec<f64>)],
    temperature: f64,
    divergence: Divergence,
) -> f64 {
    let teachers: Vec<_> = teachers.iter().filter(|(weight, _)| *weight > 0.0).collect();
    if teachers.is_empty() {
        return 0.0;
    }
    let beta = match divergence {
        Divergence::Forward => {
            let q = log_softmax(student, temperature);
            let kd = |(weight, logits): &&(f64, Vec<f64>)| {
                weight * temperature * temperature * kl(&log_softmax(logits, temperature), &q)
            };
            return teachers.iter().map(kd).sum();
        }
        Divergence::Reverse => 1.0,
        Divergence::JensenShannon { beta } => f64::from(beta),
    };
    let q = log_softmax(student, 1.0);
    let parts = teachers.iter().map(|(weight, logits)| (*weight, log_softmax(logits, 1.0)));
    let p = mix(&parts.collect::<Vec<_>>());
    if beta == 0.0 {
        kl(&p, &q)
    } else if beta == 1.0 {
        kl(&q, &p)
    } else {
        let middle = mix(&[(beta, p.clone()), (1.0 - beta, q.clone())]);
        beta * kl(&p, &middle) + (1.0 - beta) * kl(&q, &middle)
    }
}

/// The terms of every row; shapes as in [`head_loss`](super::head_loss), the teachers' heads in the
/// order of those in `targets`.
#[must_use]
pub fn head_loss(
    classes: usize,
    student: WideHead<'_>,
    teachers: &[WideHead<'_>],
    targets: &Targets<'_>,
) -> Vec<RowLoss> {
    let row = |row: usize| {
        let own = logits(student, row, classes);
        let theirs: Vec<_> = teachers
            .iter()
            .zip(targets.teachers)
            .map(|(&head, (_, weights))| (f64::from(weights[row]), logits(head, row, classes)))
            .collect();
        let kd = distillation(&own, &theirs, f64::from(targets.temperature), targets.divergence);
        RowLoss { ce: -log_softmax(&own, 1.0)[targets.labels[row] as usize], kd }
    };
    (0..targets.labels.len()).map(row).collect()
}

/// Statistics of every row, as [`head_statistics`](super::head_statistics).
#[must_use]
pub fn head_statistics(
    classes: usize,
    head: WideHead<'_>,
    labels: &[u32],
    temperature: f64,
) -> Vec<RowStatistics> {
    let row = |(row, &label): (usize, &u32)| {
        let logits: Vec<f64> = logits(head, row, classes).iter().map(|z| z / temperature).collect();
        let log = log_softmax(&logits, 1.0);
        RowStatistics {
            ce: -log[label as usize],
            log_sum_exp: log_sum_exp(&logits),
            entropy: -log.iter().map(|log| log.exp() * log).sum::<f64>(),
            largest_probability: log.iter().map(|log| log.exp()).fold(0.0, f64::max),
        }
    };
    labels.iter().enumerate().map(row).collect()
}
