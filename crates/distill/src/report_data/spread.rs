//! How a method's teacher weights are spread: over classes, and over right and wrong answers.

use serde::{Deserialize, Serialize};

use super::Seen;
use crate::statistics::mean;

/// Teacher weights at one level of a method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LevelWeights {
    /// `kd` (output) or `intermediate` (maps), as in `metrics.jsonl`.
    pub level: String,
    /// One a teacher, in the order of the run card.
    pub teachers: Vec<TeacherWeightsSeen>,
}

/// One teacher's weights at one level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TeacherWeightsSeen {
    /// Mean over all samples.
    #[serde(with = "crate::number")]
    pub mean: f64,
    /// Mean over the samples of each class; none of a class without samples.
    #[serde(with = "crate::number")]
    pub per_class: Vec<Option<f64>>,
    /// Where the teacher is right; none if it never is.
    pub right: Option<WeightSpread>,
    /// Where it is wrong; none if it never is.
    pub wrong: Option<WeightSpread>,
}

/// Mean and quantiles of weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightSpread {
    /// How many samples.
    pub samples: usize,
    /// Their mean.
    #[serde(with = "crate::number")]
    pub mean: f64,
    /// A tenth, a quarter, a half, three quarters and nine tenths of the weights lie below these.
    pub quantiles: [f64; 5],
}

impl WeightSpread {
    /// Of finite values; none of nothing.
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        let at = |share: f64| values[(last as f64 * share).round() as usize];
        Some(Self {
            samples: values.len(),
            mean: mean(&values),
            quantiles: [0.1, 0.25, 0.5, 0.75, 0.9].map(at),
        })
    }
}

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
    use crate::report_data::Answer;

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
