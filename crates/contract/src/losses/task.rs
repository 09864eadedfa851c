//! The task loss: cross-entropy against the labels, as a recipe wants it.
//!
//! ```text
//! q[b,c] = (1 - ε) [c = y_b] + ε / C
//! L      = Σ_b Σ_c w[c] q[b,c] (-log σ(z_b)[c]) / Σ_b w[y_b]
//! ```
//! Samples without a label are in neither sum; without any label at all the loss is 0.
//! ε is the label smoothing (Szegedy and others, CVPR 2016, <https://arxiv.org/abs/1512.00567>), `w`
//! weighs the classes. Of a sample mixed from two, with labels y and y' in shares λ and 1 - λ, both count:
//! `[c = y_b]` becomes `λ_b [c = y_b] + (1 - λ_b) [c = y'_b]`, and `w[y_b]` likewise. With one label each
//! this is the `cross_entropy` of PyTorch with `label_smoothing` and `weight`;
//! with ε = 0 and without weights it is the mean cross-entropy.

use std::sync::Arc;

use burn::Tensor;
use burn::tensor::Int;

use faculty_data::{MixedLabels, UNLABELLED};

use super::{class_numbers, mean_cross_entropy, numbers, with_gradient};

/// Cross-entropy against the labels, with label smoothing and class weights; plain by default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskLoss {
    label_smoothing: f64,
    class_weights: Option<Arc<[f64]>>,
}

impl TaskLoss {
    /// Takes the share `label_smoothing`, from 0 to below 1, of each label's probability and spreads
    /// it evenly over all classes.
    #[must_use]
    pub fn with_label_smoothing(mut self, label_smoothing: f64) -> Self {
        self.label_smoothing = label_smoothing;
        self
    }

    /// Weighs each class, `[classes]`, above 0 for classes that occur.
    #[must_use]
    pub fn with_class_weights(mut self, weights: impl Into<Arc<[f64]>>) -> Self {
        self.class_weights = Some(weights.into());
        self
    }

    /// Whether this is the mean cross-entropy alone.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.label_smoothing == 0.0 && self.class_weights.is_none()
    }

    /// Share of a label's probability that is spread over all classes.
    #[must_use]
    pub fn label_smoothing(&self) -> f64 {
        self.label_smoothing
    }

    /// Weight of each class, `[classes]`, if they are not all the same.
    #[must_use]
    pub fn class_weights(&self) -> Option<&[f64]> {
        self.class_weights.as_deref()
    }

    /// The loss of a batch, `[1]`, in nats.
    ///
    /// Shapes: logits `[batch, classes]`, labels `[batch]` in `0..classes` or -1.
    ///
    /// # Panics
    /// When there is not one weight a class.
    #[must_use]
    pub fn mean(&self, logits: &Tensor<2>, labels: &Tensor<1, Int>) -> Tensor<1> {
        self.mean_of_mixed(logits, labels, None)
    }

    /// The same of samples of which some are mixed from two.
    ///
    /// # Panics
    /// When there is not one weight a class, or not one partner and share a sample.
    #[must_use]
    pub fn mean_of_mixed(
        &self,
        logits: &Tensor<2>,
        labels: &Tensor<1, Int>,
        mixed: Option<&MixedLabels>,
    ) -> Tensor<1> {
        let numbers_of_labels = class_numbers(labels);
        if self.is_plain() && mixed.is_none() && !numbers_of_labels.contains(&UNLABELLED) {
            return mean_cross_entropy(logits, labels);
        }
        let classes = logits.dims()[1];
        let ones: Arc<[f64]> = vec![1.0; classes].into();
        let weights = self.class_weights.as_ref().unwrap_or(&ones);
        assert_eq!(weights.len(), classes, "one weight for each class");
        let (values, labels) = (numbers(logits), numbers_of_labels);
        // Two labels of each sample that has any, with their shares; without a mixture the second has
        // none.
        let pair = |row: usize| {
            let label = labels[row] as usize;
            let (other, share) = mixed.map_or((label, 1.0), |mixed| {
                (mixed.partners[row] as usize, f64::from(mixed.shares[row]))
            });
            (labels[row] != UNLABELLED).then_some([(label, share), (other, 1.0 - share)])
        };
        let pairs: Vec<Option<[(usize, f64); 2]>> = (0..labels.len()).map(pair).collect();
        let known = pairs.iter().flatten().flatten();
        let total: f64 = known.map(|(label, share)| share * weights[*label]).sum();
        // A batch of classes that do not count at all.
        let factor = if total > 0.0 { 1.0 / total } else { 0.0 };
        let spread = self.label_smoothing / classes as f64;
        let mut loss = 0.0;
        let mut gradient = Vec::with_capacity(values.len());
        for (row, pair) in values.chunks_exact(classes).zip(&pairs) {
            let Some(pair) = pair else {
                gradient.extend(std::iter::repeat_n(0.0, classes));
                continue;
            };
            let log_p = log_softmax(row);
            let target = |class: usize| {
                let of_class = pair.iter().filter(|(label, _)| *label == class);
                let share: f64 =
                    of_class.map(|(_, share)| share * (1.0 - self.label_smoothing)).sum();
                weights[class] * (share + spread)
            };
            let sum: f64 = (0..classes).map(target).sum();
            loss -= (0..classes).map(|class| target(class) * log_p[class]).sum::<f64>();
            let by_logit = |(class, log_p): (usize, &f64)| log_p.exp() * sum - target(class);
            let row = log_p.iter().enumerate().map(by_logit);
            gradient.extend(row.map(|by_logit| (factor * by_logit) as f32));
        }
        with_gradient(factor * loss, logits, gradient)
    }
}

/// Logarithms of `softmax(logits)`.
fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let shifted = logits.iter().map(|&z| f64::from(z) - largest);
    let normaliser = shifted.clone().map(f64::exp).sum::<f64>().ln();
    shifted.map(|z| z - normaliser).collect()
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    fn logits(values: &[f32], classes: usize) -> Tensor<2> {
        let data = TensorData::new(values.to_vec(), [values.len() / classes, classes]);
        Tensor::from_data(data, &Device::flex().autodiff()).require_grad()
    }

    fn labels(values: &[i32]) -> Tensor<1, Int> {
        let data = TensorData::new(values.to_vec(), [values.len()]);
        Tensor::from_data(data, &Device::flex().autodiff())
    }

    /// Value and gradient.
    fn of(task: &TaskLoss, values: &[f32], of_rows: &[i32]) -> (f64, Vec<f32>) {
        let z = logits(values, values.len() / of_rows.len());
        let loss = task.mean(&z, &labels(of_rows));
        let value = f64::from(numbers(&loss)[0]);
        (value, numbers(&z.grad(&loss.backward()).unwrap()))
    }

    const Z: [f32; 6] = [1.0, -0.5, 2.0, 0.25, 0.75, -1.5];

    #[test]
    fn smoothing_and_weights_give_the_sum_of_the_formula() {
        let task =
            TaskLoss::default().with_label_smoothing(0.1).with_class_weights(vec![0.5, 2.0, 1.5]);
        let log_p = |row: usize, class: usize| {
            let row = &Z[3 * row..][..3];
            let sum: f64 = row.iter().map(|&z| f64::from(z).exp()).sum();
            f64::from(row[class]) - sum.ln()
        };
        // Labels 2 and 1 weigh 1.5 and 2; each class gets a thirtieth, the label 0.9 more.
        let mut want = 0.0;
        for (row, label) in [(0, 2), (1, 1)] {
            for (class, weight) in [0.5, 2.0, 1.5].into_iter().enumerate() {
                let share = 0.1 / 3.0 + if class == label { 0.9 } else { 0.0 };
                want -= weight * share * log_p(row, class) / 3.5;
            }
        }
        let (value, gradient) = of(&task, &Z, &[2, 1]);
        assert!((value - want).abs() < 1e-6, "{value} instead of {want}");
        for i in 0..Z.len() {
            let at = |by: f32| {
                let mut z = Z;
                z[i] += by;
                of(&task, &z, &[2, 1]).0
            };
            let difference = (at(1e-2) - at(-1e-2)) / 2e-2;
            let got = f64::from(gradient[i]);
            assert!((got - difference).abs() < 1e-4, "{i}: {got} instead of {difference}");
        }
    }

    #[test]
    fn mixed_labels_give_the_mean_of_both_losses_by_their_shares() {
        let mixed = |partners: &[u32], shares: &[f32]| MixedLabels {
            partners: partners.to_vec(),
            shares: shares.to_vec(),
        };
        let weighted =
            TaskLoss::default().with_label_smoothing(0.1).with_class_weights(vec![0.5, 2.0, 1.5]);
        let of_mixed = |task: &TaskLoss, rows: &[f32], first: &[i32], mixed: &MixedLabels| {
            let z = logits(rows, 3);
            let loss = task.mean_of_mixed(&z, &labels(first), Some(mixed));
            let value = f64::from(numbers(&loss)[0]);
            (value, numbers(&z.grad(&loss.backward()).unwrap()))
        };
        let close = |(a, by_a): (f64, Vec<f32>), (b, by_b): (f64, Vec<f32>)| {
            assert!((a - b).abs() < 1e-6, "{a}, not {b}");
            assert!(by_a.iter().zip(&by_b).all(|(a, b)| (a - b).abs() < 1e-6), "{by_a:?} {by_b:?}");
        };
        for task in [TaskLoss::default(), weighted.clone()] {
            // At the ends one label is left.
            close(
                of_mixed(&task, &Z, &[2, 1], &mixed(&[0, 0], &[1.0, 1.0])),
                of(&task, &Z, &[2, 1]),
            );
            close(
                of_mixed(&task, &Z, &[0, 0], &mixed(&[2, 1], &[0.0, 0.0])),
                of(&task, &Z, &[2, 1]),
            );
            // Two halves of one label are the label.
            close(
                of_mixed(&task, &Z, &[2, 1], &mixed(&[2, 1], &[0.5, 0.5])),
                of(&task, &Z, &[2, 1]),
            );
        }
        // Without weights, λ CE(y) + (1 - λ) CE(y') of every row.
        let row = |row: usize, label: i32| of(&TaskLoss::default(), &Z[3 * row..][..3], &[label]).0;
        let want = 0.25 * row(0, 2) + 0.75 * row(0, 0) + 0.5 * row(1, 1) + 0.5 * row(1, 2);
        let (got, _) = of_mixed(&TaskLoss::default(), &Z, &[2, 1], &mixed(&[0, 2], &[0.25, 0.5]));
        assert!((got - want / 2.0).abs() < 1e-6, "{got}, not {}", want / 2.0);
        // With them the weights of both labels are in the divisor.
        let parts = [(0, 2, 0.25), (0, 0, 0.75), (1, 1, 0.5), (1, 2, 0.5)];
        let weight = |label: i32| [0.5, 2.0, 1.5][label as usize];
        let total: f64 = parts.iter().map(|(_, label, share)| share * weight(*label)).sum();
        // One row alone is divided by its own weight.
        let sum: f64 = parts
            .iter()
            .map(|&(row, label, share)| {
                share * weight(label) * of(&weighted, &Z[3 * row..][..3], &[label]).0
            })
            .sum();
        let (got, gradient) = of_mixed(&weighted, &Z, &[2, 1], &mixed(&[0, 2], &[0.25, 0.5]));
        assert!((got - sum / total).abs() < 1e-6, "{got}, not {}", sum / total);
        for i in 0..Z.len() {
            let at = |by: f32| {
                let mut z = Z;
                z[i] += by;
                of_mixed(&weighted, &z, &[2, 1], &mixed(&[0, 2], &[0.25, 0.5])).0
            };
            let difference = (at(1e-2) - at(-1e-2)) / 2e-2;
            let got = f64::from(gradient[i]);
            assert!((got - difference).abs() < 1e-4, "{i}: {got} instead of {difference}");
        }
    }

    #[test]
    fn even_weights_and_no_smoothing_are_the_plain_loss() {
        let (plain, by_plain) = of(&TaskLoss::default(), &Z, &[0, 2]);
        let even = TaskLoss::default().with_class_weights(vec![3.0; 3]);
        let (value, by_logits) = of(&even, &Z, &[0, 2]);
        assert!((value - plain).abs() < 1e-6);
        for (got, want) in by_logits.iter().zip(&by_plain) {
            assert!((got - want).abs() < 1e-6);
        }
        assert!(TaskLoss::default().is_plain() && !even.is_plain());
    }

    #[test]
    fn samples_without_a_label_are_in_no_sum() {
        let weighted =
            TaskLoss::default().with_label_smoothing(0.1).with_class_weights(vec![0.5, 2.0, 1.5]);
        for task in [TaskLoss::default(), weighted] {
            let (alone, by_alone) = of(&task, &Z[3..], &[1]);
            let (value, by_logits) = of(&task, &Z, &[-1, 1]);
            assert!((value - alone).abs() < 1e-6);
            assert_eq!(by_logits[..3], [0.0; 3]);
            for (got, want) in by_logits[3..].iter().zip(&by_alone) {
                assert!((got - want).abs() < 1e-6);
            }
            assert_eq!(of(&task, &Z, &[-1, -1]), (0.0, vec![0.0; 6]));
        }
    }

    #[test]
    fn huge_logits_and_a_batch_without_weight_stay_finite() {
        let task = TaskLoss::default().with_label_smoothing(0.2);
        let (value, gradient) = of(&task, &[1e4, -1e4, 0.0], &[1]);
        assert!(value.is_finite() && gradient.iter().all(|g| g.is_finite()));
        let none = TaskLoss::default().with_class_weights(vec![0.0, 1.0, 1.0]);
        assert_eq!(of(&none, &Z, &[0, 0]), (0.0, vec![0.0; 6]));
    }
}
