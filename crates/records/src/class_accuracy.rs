//! Accuracy on the samples of each class.

use serde::{Deserialize, Serialize};

/// One class as one teacher knows it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassAccuracy {
    /// Samples with this label.
    pub samples: usize,
    /// Share of them that the teacher gives this class (recall), percent; absent without samples.
    pub top1: Option<f64>,
    /// Where the true share lies with 95 % confidence, percent: the score interval of Wilson (JASA
    /// 1927).
    pub interval: Option<[f64; 2]>,
}

/// Accuracy on each class, `[classes]`. Shapes: answers and labels `[samples]`.
#[must_use]
pub fn class_accuracies(
    answers: &[Option<u32>],
    labels: &[u32],
    classes: usize,
) -> Vec<ClassAccuracy> {
    let mut counts = vec![(0_usize, 0_usize); classes];
    for (answer, &label) in answers.iter().zip(labels) {
        let own = &mut counts[label as usize];
        own.0 += 1;
        own.1 += usize::from(*answer == Some(label));
    }
    counts
        .into_iter()
        .map(|(samples, right)| ClassAccuracy {
            samples,
            top1: (samples > 0).then(|| 100.0 * right as f64 / samples as f64),
            interval: (samples > 0).then(|| wilson(right, samples).map(|share| 100.0 * share)),
        })
        .collect()
}

/// Wilson's score interval at 95 %, as shares; of no samples it is everything.
#[must_use]
pub fn wilson(right: usize, samples: usize) -> [f64; 2] {
    const Z: f64 = 1.959_963_984_540_054;
    if samples == 0 {
        return [0.0, 1.0];
    }
    let n = samples as f64;
    let share = right as f64 / n;
    let middle = share + Z * Z / (2.0 * n);
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let whole = 1.0 + Z * Z / n;
    [((middle - half) / whole).max(0.0), ((middle + half) / whole).min(1.0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_label_and_tells_absent_classes() {
        let answers = [Some(0), Some(1), None, Some(1)];
        let own = class_accuracies(&answers, &[0, 0, 0, 1], 3);
        assert_eq!(own[0].samples, 3);
        assert!((own[0].top1.unwrap() - 100.0 / 3.0).abs() < 1e-12);
        assert_eq!(own[1].top1, Some(100.0));
        assert_eq!(own[2], ClassAccuracy { samples: 0, top1: None, interval: None });
    }

    #[test]
    fn the_interval_is_wilsons() {
        // Published example: 8 of 10 gives 0.490 to 0.943.
        let [low, high] = wilson(8, 10);
        assert!((low - 0.4902).abs() < 1e-4 && (high - 0.9433).abs() < 1e-4, "{low} {high}");
        assert_eq!(wilson(0, 5)[0], 0.0);
        assert_eq!(wilson(5, 5)[1], 1.0);
    }
}
