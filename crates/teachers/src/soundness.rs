//! Whether a teacher's logits are numbers that a loss can use.

use serde::{Deserialize, Serialize};

/// Logits beyond this are no answers of a network: there neighbouring f32 numbers lie 0.06 apart,
/// and squares of differences soon overflow. Trained classifiers stay below a hundred or so.
pub const LARGEST_LOGIT: f32 = 1e6;

/// Counts samples whose logits no loss can use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Soundness {
    /// All samples.
    pub samples: usize,
    /// Those with a logit that is NaN, infinite, or beyond [`LARGEST_LOGIT`].
    pub unusable: usize,
    /// The first such logit, NaN and infinities before large ones.
    pub example: Option<f32>,
}

impl Soundness {
    /// Adds logits `[samples, classes]`.
    pub fn add(&mut self, logits: &[f32], classes: usize) {
        for row in logits.chunks_exact(classes.max(1)) {
            self.samples += 1;
            let Some(bad) = unusable(row) else { continue };
            self.unusable += 1;
            if self.example.is_none_or(|first| first.is_finite() && !bad.is_finite()) {
                self.example = Some(bad);
            }
        }
    }
}

/// The first of some values that no loss can use: NaN and infinities before large ones.
pub fn unusable(values: &[f32]) -> Option<f32> {
    // Written so that NaN counts. One pass where all is well.
    if values.iter().all(|value| value.abs() <= LARGEST_LOGIT) {
        return None;
    }
    let first = |bad: fn(&f32) -> bool| values.iter().copied().find(bad);
    first(|value| !value.is_finite()).or_else(|| first(|value| value.abs() > LARGEST_LOGIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_samples_with_numbers_that_no_loss_can_use() {
        let logits =
            [1.0, -3.0, f32::NAN, 0.0, 1e30, 0.0, 0.0, -1e30, 0.0, f32::NEG_INFINITY, 9e5, -9e5];
        let mut own = Soundness::default();
        own.add(&logits[4..6], 2);
        assert_eq!(own, Soundness { samples: 1, unusable: 1, example: Some(1e30) });
        own.add(&logits, 2);
        assert_eq!((own.samples, own.unusable), (7, 5));
        assert!(own.example.unwrap().is_nan(), "what is no number is shown first");
        assert_eq!(unusable(&[1.0, 1e7, f32::INFINITY]), Some(f32::INFINITY));
        assert_eq!(unusable(&[]), None);
    }
}
