//! Whether a teacher's classes stand in another order than those of the data.
//!
//! The order is fitted on one half of the samples (of every class) and measured on the other, both
//! ways round: a permutation of many classes fits the samples that it was fitted on far too well.

use serde::{Deserialize, Serialize};

use super::assignment::best_assignment;
use crate::suspicion::{Suspicion, much_better};

/// A class that stands elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedClass {
    /// What the teacher answers, by the data's order.
    pub answer: String,
    /// What the samples are.
    pub label: String,
}

/// The teacher under the order of classes that fits it best.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassOrderCheck {
    /// Samples that it was measured on.
    pub samples: usize,
    /// Accuracy as given, percent.
    pub as_given: f64,
    /// Accuracy under the other order, on samples that it was not fitted on, percent.
    pub reordered: f64,
    /// Whether that is much better: by 5 points and 3 standard errors at least.
    pub much_better: bool,
    /// Label of each answer, `[classes]`, fitted on all samples.
    pub order: Vec<usize>,
    /// Classes that move under it.
    pub moved: Vec<MovedClass>,
}

impl ClassOrderCheck {
    /// Told if the other order is much better.
    #[must_use]
    pub fn suspicion(&self) -> Option<Suspicion> {
        if !self.much_better {
            return None;
        }
        let Self { samples, as_given, reordered, moved, .. } = self;
        let first: Vec<String> = moved
            .iter()
            .take(3)
            .map(|MovedClass { answer, label }| format!("`{label}` where it says `{answer}`"))
            .collect();
        let more = match moved.len().saturating_sub(3) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Some(Suspicion {
            what: format!(
                "its classes seem to stand in another order: right on {reordered:.1} % instead of \
                 {as_given:.1} % of {samples} samples if read as {}{more}",
                first.join(", ")
            ),
            fix: "compare its class names with those of the data; if they are the same, it learnt \
                   from wrong labels"
                .to_owned(),
        })
    }
}

/// Looks for a better order of the classes.
///
/// Shapes: answers and labels `[samples]`. Cost: three assignments of `O(classes³)` each.
#[must_use]
pub fn check_class_order(
    answers: &[Option<u32>],
    labels: &[u32],
    names: &[String],
) -> ClassOrderCheck {
    let classes = names.len();
    // Every second sample of each class.
    let mut seen = vec![0_usize; classes];
    let half: Vec<usize> = labels
        .iter()
        .map(|&label| {
            seen[label as usize] += 1;
            seen[label as usize] % 2
        })
        .collect();
    let fitted_on = |keep: &dyn Fn(usize) -> bool| {
        let mut counts = vec![0_i64; classes * classes];
        for ((answer, &label), &half) in answers.iter().zip(labels).zip(&half) {
            if let (Some(answer), true) = (answer, keep(half)) {
                counts[*answer as usize * classes + label as usize] += 1;
            }
        }
        // Where nothing speaks for another label, a class stays where it is: the diagonal wins ties
        // but never against a sample.
        let scale = classes as i64 + 1;
        for (at, count) in counts.iter_mut().enumerate() {
            *count = *count * scale + i64::from(at / classes == at % classes);
        }
        best_assignment(&counts, classes)
    };
    let by_half = [fitted_on(&|half| half == 1), fitted_on(&|half| half == 0)];
    let (mut given, mut reordered, mut gained, mut lost) = (0, 0, 0, 0);
    for ((answer, &label), &half) in answers.iter().zip(labels).zip(&half) {
        let Some(answer) = *answer else { continue };
        let before = answer == label;
        let after = by_half[half][answer as usize] == label as usize;
        given += usize::from(before);
        reordered += usize::from(after);
        gained += usize::from(after && !before);
        lost += usize::from(before && !after);
    }
    let order = fitted_on(&|_| true);
    let moved = order
        .iter()
        .enumerate()
        .filter(|&(answer, &label)| answer != label)
        .map(|(answer, &label)| MovedClass {
            answer: names[answer].clone(),
            label: names[label].clone(),
        })
        .collect();
    let samples = labels.len();
    let percent = |right: usize| 100.0 * right as f64 / samples.max(1) as f64;
    ClassOrderCheck {
        samples,
        as_given: percent(given),
        reordered: percent(reordered),
        much_better: much_better(gained, lost, samples),
        order,
        moved,
    }
}

#[cfg(test)]
mod tests {
    use faculty_data::rng::{Purpose, below, draw, unit};

    use super::*;

    fn names(classes: usize) -> Vec<String> {
        (0..classes).map(|class| format!("c{class}")).collect()
    }

    /// Right on a share of the samples and random elsewhere, then renamed.
    fn says(
        labels: &[u32],
        classes: u32,
        share: f64,
        rename: impl Fn(u32) -> u32,
    ) -> Vec<Option<u32>> {
        let one = |(i, &label): (usize, &u32)| {
            let number = |b| draw(Purpose::Method, 3, i as u64, b, 0);
            let right = unit(number(0)) < share;
            let class = if right { label } else { below(number(1), u64::from(classes)) as u32 };
            Some(rename(class))
        };
        labels.iter().enumerate().map(one).collect()
    }

    #[test]
    fn finds_classes_in_another_order() {
        let classes = 10;
        let labels: Vec<u32> = (0..500).map(|i| i % classes).collect();
        // Alphabetic against numeric order: 1 and 2 change places with 7 and 8.
        let swap = |class| match class {
            1 => 7,
            7 => 1,
            2 => 8,
            8 => 2,
            other => other,
        };
        let check = check_class_order(&says(&labels, classes, 0.7, swap), &labels, &names(10));
        assert!(check.much_better, "{check:?}");
        assert_eq!(check.moved.len(), 4);
        assert_eq!(check.moved[0], MovedClass { answer: "c1".into(), label: "c7".into() });
        assert!(check.reordered > 68.0 && check.as_given < 50.0, "{check:?}");
        let message = check.suspicion().unwrap().to_string();
        assert!(message.contains("`c7` where it says `c1`"), "{message}");
        assert!(message.contains("and 1 more"), "{message}");
    }

    #[test]
    fn is_quiet_about_good_teachers_and_about_guessing() {
        let labels: Vec<u32> = (0..600).map(|i| i % 100).collect();
        let good = check_class_order(&says(&labels, 100, 0.7, |c| c), &labels, &names(100));
        assert_eq!(good.suspicion(), None, "{good:?}");
        // Six samples a class: fitted on all of them, some order fits guessing well; half by half
        // it does not.
        let guess = check_class_order(&says(&labels, 100, 0.0, |c| c), &labels, &names(100));
        assert_eq!(guess.suspicion(), None, "{guess:?}");
        let fits = guess.order.iter().enumerate();
        let counted = says(&labels, 100, 0.0, |c| c);
        let on_all: usize = fits
            .map(|(answer, &label)| {
                let pairs = counted.iter().zip(&labels);
                pairs.filter(|&(a, &l)| *a == Some(answer as u32) && l as usize == label).count()
            })
            .sum();
        assert!(100 * on_all > 10 * labels.len(), "the trap is real: {on_all}");
        assert!(guess.reordered < 4.0, "{guess:?}");
    }

    #[test]
    fn a_teacher_of_one_answer_moves_nothing() {
        let labels: Vec<u32> = (0..90).map(|i| i % 3).collect();
        let check = check_class_order(&vec![Some(0); 90], &labels, &names(3));
        assert_eq!(check.suspicion(), None, "{check:?}");
        let none = check_class_order(&vec![None; 90], &labels, &names(3));
        assert_eq!((none.suspicion(), none.moved.len()), (None, 0));
    }
}
