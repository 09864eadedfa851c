//! What a teacher would reach without looking: the accuracy of guessing.
//!
//! ```text
//! chance            share of the most frequent class: always naming it
//! balanced chance   1 / classes that have samples: the mean over the classes of any constant answer
//! near chance       at most a tenth of the way from chance to perfection, by both,
//!                 such an answer would be rare of a teacher half way to perfection
//! ```
//! The last line spares good teachers on a handful of samples: one of two right is no reason to refuse.
//! Either accuracy alone misleads where classes are uneven. A teacher that names the frequent class of 500 to
//! 25 images every time is right on 95 %; one that knows both classes may be right on less.

use faculty_records::class_accuracy::ClassAccuracy;

/// How far towards perfection a teacher must be.
const WAY: f64 = 0.1;

/// Guessing on some labels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Chance {
    /// The most frequent class, the first of equals.
    pub(crate) majority: usize,
    /// Its share, percent.
    pub(crate) top1: f64,
    /// Mean over the classes that have samples, percent.
    pub(crate) balanced: f64,
}

impl Chance {
    /// Of `[samples]` labels, at least one.
    pub(crate) fn of(labels: &[u32], classes: usize) -> Self {
        let mut counts = vec![0_usize; classes];
        for &label in labels {
            counts[label as usize] += 1;
        }
        let most = counts.iter().copied().max().unwrap_or(0);
        let present = counts.iter().filter(|&&count| count > 0).count();
        Self {
            majority: counts.iter().position(|&count| count == most).unwrap_or(0),
            top1: 100.0 * most as f64 / labels.len().max(1) as f64,
            balanced: 100.0 / present.max(1) as f64,
        }
    }

    /// An accuracy below this is near chance, percent.
    pub(crate) fn near_below(&self) -> f64 {
        away_from(self.top1)
    }

    /// Whether `right` of `samples` are so few that a teacher half way from chance to perfection would
    /// rarely (5 %) do no better; or, where all its answers are the same class, whether there are samples
    /// enough to see it.
    pub(crate) fn is_convincing(&self, right: usize, samples: usize, constant: bool) -> bool {
        const RARE: f64 = 0.05;
        const ENOUGH: usize = 4;
        let half_way = f64::midpoint(self.top1, 100.0) / 100.0;
        constant && samples >= ENOUGH || at_most(right, samples, half_way) < RARE
    }

    /// Whether a teacher of this accuracy and mean accuracy over the classes is near chance.
    pub(crate) fn is_near(&self, top1: f64, balanced: f64) -> bool {
        // On one class alone there is nothing to tell teachers by.
        self.balanced < 100.0 && top1 < self.near_below() && balanced < away_from(self.balanced)
    }
}

fn away_from(chance: f64) -> f64 {
    chance + WAY * (100.0 - chance)
}

/// Probability of at most `right` successes in `samples` trials of probability `p`.
fn at_most(right: usize, samples: usize, p: f64) -> f64 {
    if p >= 1.0 {
        return if right < samples { 0.0 } else { 1.0 };
    }
    // Each term from the one before, in logarithms: the first underflows where samples are many.
    let mut log = samples as f64 * (1.0 - p).ln();
    let mut sum = log.exp();
    for k in 0..right.min(samples) {
        log += ((samples - k) as f64 / (k + 1) as f64).ln() + (p / (1.0 - p)).ln();
        sum += log.exp();
    }
    sum.min(1.0)
}

/// Mean over the classes that have samples of the accuracy on them, percent.
pub(crate) fn balanced_accuracy(per_class: &[ClassAccuracy]) -> f64 {
    let known: Vec<f64> = per_class.iter().filter_map(|class| class.top1).collect();
    known.iter().sum::<f64>() / known.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use faculty_records::class_accuracy::class_accuracies;

    /// Accuracy, balanced accuracy, and whether it is near chance.
    fn judged(answers: &[u32], labels: &[u32], classes: usize) -> (f64, f64, bool) {
        let said: Vec<Option<u32>> = answers.iter().copied().map(Some).collect();
        let right = answers.iter().zip(labels).filter(|(a, b)| a == b).count();
        let top1 = 100.0 * right as f64 / labels.len() as f64;
        let balanced = balanced_accuracy(&class_accuracies(&said, labels, classes));
        (top1, balanced, Chance::of(labels, classes).is_near(top1, balanced))
    }

    #[test]
    fn a_constant_teacher_is_near_chance_however_uneven_the_classes_are() {
        for (frequent, rare) in [(500, 25), (50, 50), (999, 1)] {
            let labels = [vec![0; frequent], vec![1; rare]].concat();
            for class in [0, 1] {
                let (_, balanced, near) = judged(&vec![class; labels.len()], &labels, 2);
                assert!(near && (balanced - 50.0).abs() < 1e-9, "{frequent}:{rare}, {class}");
            }
        }
        let labels = [vec![0; 500], vec![1; 25]].concat();
        let (top1, ..) = judged(&vec![0; 525], &labels, 2);
        assert!((top1 - 95.238).abs() < 1e-3);
        assert!((Chance::of(&labels, 2).top1 - top1).abs() < 1e-9);
    }

    #[test]
    fn a_handful_of_samples_convicts_no_teacher() {
        let even = |samples: u32| Chance::of(&(0..samples).map(|i| i % 2).collect::<Vec<_>>(), 2);
        // One of two right: 0.44 of a teacher that is right on 75 %.
        assert!((at_most(1, 2, 0.75) - 0.4375).abs() < 1e-12);
        assert!(!even(2).is_convincing(1, 2, false) && !even(2).is_convincing(1, 2, true));
        assert!(!even(6).is_convincing(3, 6, false) && even(6).is_convincing(3, 6, true));
        assert!(even(20).is_convincing(10, 20, false));
        // Ten classes: none of five right is rare.
        let ten = Chance::of(&[0, 1, 2, 3, 4], 10);
        assert!(ten.is_convincing(0, 5, false) && !ten.is_convincing(2, 5, false));
        // Against the sum itself, and far out where the first term underflows.
        let direct: f64 = (0..=3)
            .map(|k| {
                [1.0, 7.0, 21.0, 35.0][k] * 0.6_f64.powi(k as i32) * 0.4_f64.powi(7 - k as i32)
            })
            .sum();
        assert!((at_most(3, 7, 0.6) - direct).abs() < 1e-12);
        assert!((at_most(5_000, 10_000, 0.5) - 0.504).abs() < 1e-3);
        assert!((at_most(7, 7, 0.6) - 1.0).abs() < 1e-12);
        assert_eq!(at_most(3, 7, 1.0), 0.0);
    }

    #[test]
    fn a_teacher_that_knows_the_rare_class_is_not() {
        // 92 % is less than naming the frequent class gives, but 93 % and 80 % of the classes.
        let labels = [vec![0; 500], vec![1; 25]].concat();
        let answers = [vec![0; 463], vec![1; 37], vec![1; 20], vec![0; 5]].concat();
        let (top1, balanced, near) = judged(&answers, &labels, 2);
        assert!(top1 < 92.1 && (balanced - 86.3).abs() < 0.1 && !near, "{top1} {balanced}");
    }

    #[test]
    fn even_classes_give_what_they_always_gave() {
        let labels: Vec<u32> = (0..100).map(|i| i % 10).collect();
        let chance = Chance::of(&labels, 10);
        assert!((chance.near_below() - 19.0).abs() < 1e-9);
        assert!(chance.is_near(18.9, 18.9) && !chance.is_near(19.1, 19.1));
        // Classes without samples have no part in it.
        let labels: Vec<u32> = (0..100).map(|i| i % 2).collect();
        assert!((Chance::of(&labels, 10).balanced - 50.0).abs() < 1e-9);
        // One class tells nothing.
        assert!(!Chance::of(&[3; 9], 10).is_near(100.0, 100.0));
    }
}
