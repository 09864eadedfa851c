//! How a method's teacher weights are spread: over classes, and over right and wrong answers.

use faculty_records::report_data::{LevelWeights, TeacherWeightsSeen, WeightSpread};

use super::seen::Seen;
use crate::statistics::mean;

pub(super) fn levels(seen: &Seen, classes: usize) -> Vec<LevelWeights> {
    let level = |(name, weights): &(&'static str, Vec<Vec<f64>>)| {
        let own = weights.iter().enumerate();
        let teachers = own.map(|(at, weights)| of_teacher(seen, at, weights, classes)).collect();
        LevelWeights { level: (*name).to_owned(), teachers }
    };
    seen.weights.iter().map(level).collect()
}

fn of_teacher(seen: &Seen, at: usize, weights: &[f64], classes: usize) -> TeacherWeightsSeen {
    // Samples whose batch had no weights, or whose logits are no numbers, say nothing.
    let known: Vec<(usize, f64)> =
        weights.iter().copied().enumerate().filter(|(_, weight)| weight.is_finite()).collect();
    let of = |keep: &dyn Fn(usize) -> bool| -> Vec<f64> {
        known.iter().filter(|(sample, _)| keep(*sample)).map(|&(_, weight)| weight).collect()
    };
    let right = |sample: usize| {
        seen.teachers[at][sample].is_some_and(|own| own.class == seen.labels[sample])
    };
    let per_class = (0..classes).map(|class| {
        let own = of(&|sample| seen.labels[sample] as usize == class);
        (!own.is_empty()).then(|| mean(&own))
    });
    TeacherWeightsSeen {
        mean: mean(&of(&|_| true)),
        per_class: per_class.collect(),
        right: WeightSpread::of(of(&right)),
        wrong: WeightSpread::of(of(&|sample| !right(sample))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use faculty_records::report_data::Answer;

    #[test]
    fn weights_are_spread_over_classes_and_answers() {
        let says = |class| Some(Answer { class, confidence: 1.0, of_label: 0.0 });
        let seen = Seen {
            labels: vec![0, 0, 1, 1],
            student: vec![None; 4],
            teachers: vec![vec![says(0), says(1), says(1), None]],
            weights: vec![("kd", vec![vec![0.8, 0.2, 0.6, f64::NAN]])],
        };
        let own = &levels(&seen, 3)[0];
        assert_eq!(own.level, "kd");
        let own = &own.teachers[0];
        assert!((own.mean - 1.6 / 3.0).abs() < 1e-12);
        assert_eq!(own.per_class, [Some(0.5), Some(0.6), None]);
        let right = own.right.unwrap();
        assert_eq!((right.samples, right.quantiles[0], right.quantiles[4]), (2, 0.6, 0.8));
        assert_eq!(own.wrong.unwrap().mean, 0.2);
    }
}
