//! What a teacher loses by the precision in which it is run.
//!
//! Its answers to the same samples in that precision and in f32, compared sample by sample: samples that
//! both call alike say nothing about the difference, however many there are.

use faculty_records::quality::{Quality, QualityMeter, predictions};
use serde::{Deserialize, Serialize};

use crate::suspicion::Suspicion;

/// Standard errors of a difference from which on it is more than noise, as for [`Suspicion`]s.
const SURE: f64 = 3.0;

/// A teacher in its precision beside itself in f32.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrecisionCheck {
    /// In which it is run.
    pub precision: String,
    /// Samples that were compared.
    pub samples: usize,
    /// In that precision.
    pub own: Quality,
    /// In f32.
    pub in_f32: Quality,
    /// Samples that it gets right in its precision alone.
    pub gained: usize,
    /// Samples that it gets right in f32 alone.
    pub lost: usize,
    /// NLL in its precision less that in f32, nats.
    #[serde(with = "faculty_records::number")]
    pub nll_difference: f64,
    /// Standard error of that, over the differences of the samples.
    #[serde(with = "faculty_records::number")]
    pub nll_difference_error: f64,
    /// Standard error of the NLL in f32 itself, over the samples.
    #[serde(with = "faculty_records::number")]
    pub nll_error: f64,
}

impl PrecisionCheck {
    /// From logits `[samples, classes]` in `precision` and in f32; none of no samples.
    #[must_use]
    pub fn of(precision: &str, own: &[f32], in_f32: &[f32], labels: &[u32]) -> Option<Self> {
        let classes = own.len() / labels.len().max(1);
        let [right, right_in_f32] = [own, in_f32].map(|logits| -> Vec<bool> {
            let answers = predictions(logits, classes).into_iter().zip(labels);
            answers.map(|(answer, &label)| answer == Some(label)).collect()
        });
        let only = |a: &[bool], b: &[bool]| a.iter().zip(b).filter(|&(&a, &b)| a && !b).count();
        let [nll, nll_in_f32] = [own, in_f32].map(|logits| nlls(logits, labels, classes));
        let differences: Vec<f64> = nll.iter().zip(&nll_in_f32).map(|(a, b)| a - b).collect();
        let (nll_difference, nll_difference_error) = mean_and_error(&differences);
        let (_, nll_error) = mean_and_error(&nll_in_f32);
        Some(Self {
            precision: precision.to_owned(),
            samples: labels.len(),
            own: quality(own, labels)?,
            in_f32: quality(in_f32, labels)?,
            gained: only(&right, &right_in_f32),
            lost: only(&right_in_f32, &right),
            nll_difference,
            nll_difference_error,
            nll_error,
        })
    }

    /// Whether accuracies differ by more than chance would: McNemar's statistic, of the samples that
    /// only one of the two gets right, is 3 standard errors or more.
    #[must_use]
    pub fn accuracy_differs(&self) -> bool {
        let net = self.gained.abs_diff(self.lost) as f64;
        net > 0.0 && net >= SURE * ((self.gained + self.lost) as f64).sqrt()
    }

    /// Whether NLLs differ by 3 standard errors of the difference, and by more than the NLL of any such
    /// split is sure to: rounding always moves it a little, which enough samples would show.
    #[must_use]
    pub fn nll_differs(&self) -> bool {
        let difference = self.nll_difference.abs();
        let is_sure = difference >= SURE * self.nll_difference_error;
        // No number is as different as can be.
        !difference.is_finite() || (difference > self.nll_error && is_sure)
    }

    /// What seems to be wrong with the precision, if anything does.
    #[must_use]
    pub fn suspicion(&self) -> Option<Suspicion> {
        let Self { precision, samples, own, in_f32, gained, lost, .. } = self;
        let what = if self.accuracy_differs() {
            format!(
                "it is another teacher in {precision} than in f32: right on {:.2} % of {samples} samples \
                 instead of {:.2} % ({gained} right in {precision} alone, {lost} in f32 alone)",
                own.top1, in_f32.top1
            )
        } else if self.nll_differs() {
            format!(
                "it is another teacher in {precision} than in f32: NLL {:.3} instead of {:.3} on \
                 {samples} samples",
                own.nll, in_f32.nll
            )
        } else {
            return None;
        };
        Some(Suspicion { what, fix: "remove its `precision`, so that it is run in f32".to_owned() })
    }
}

fn quality(logits: &[f32], labels: &[u32]) -> Option<Quality> {
    let mut meter = QualityMeter::default();
    if !labels.is_empty() {
        meter.add(logits, labels);
    }
    meter.quality()
}

/// Negative log-likelihood of each sample, nats.
fn nlls(logits: &[f32], labels: &[u32], classes: usize) -> Vec<f64> {
    let rows = logits.chunks_exact(classes.max(1)).zip(labels);
    rows.map(|(row, &label)| {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = row.iter().map(|&z| f64::from(z - largest).exp()).sum();
        sum.ln() - f64::from(row[label as usize] - largest)
    })
    .collect()
}

/// Of numbers: their mean, and its standard error.
fn mean_and_error(numbers: &[f64]) -> (f64, f64) {
    let count = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / count;
    let squares: f64 = numbers.iter().map(|number| (number - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0).max(1.0) / count).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two classes; right by a margin, or wrong by it.
    fn says(right: &[bool], margin: f32) -> Vec<f32> {
        right.iter().flat_map(|&right| if right { [margin, 0.0] } else { [0.0, margin] }).collect()
    }

    /// The first `count` of 1,000 samples are as said, of the others every tenth is wrong.
    fn check(count: usize, own: bool, in_f32: bool) -> PrecisionCheck {
        let both = |first: bool| -> Vec<bool> {
            (0..1000).map(|at| if at < count { first } else { at % 10 > 0 }).collect()
        };
        let [own, in_f32] = [own, in_f32].map(|first| says(&both(first), 2.0));
        PrecisionCheck::of("bf16", &own, &in_f32, &vec![0; 1000]).unwrap()
    }

    #[test]
    fn the_same_answers_are_no_difference() {
        let own = check(20, true, true);
        assert_eq!((own.gained, own.lost, own.nll_difference), (0, 0, 0.0));
        assert_eq!((own.own, own.suspicion()), (own.in_f32, None));
    }

    #[test]
    fn accuracies_differ_beyond_three_standard_errors_of_the_samples_that_changed() {
        // 8 against none are 2.8 standard errors, 9 are 3.
        assert!(!check(8, false, true).accuracy_differs());
        let own = check(9, false, true);
        assert_eq!((own.gained, own.lost), (0, 9));
        assert!(own.accuracy_differs() && check(9, true, false).accuracy_differs());
        let suspicion = own.suspicion().unwrap().to_string();
        let expected = "it is another teacher in bf16 than in f32: right on 89.20 % of 1000 samples instead \
                    of 90.10 % (0 right in bf16 alone, 9 in f32 alone): remove its `precision`, so that \
                    it is run in f32";
        assert_eq!(suspicion, expected);
        // As many changed both ways.
        let (mut a, mut b) = (vec![true; 100], vec![true; 100]);
        a[..20].fill(false);
        b[20..40].fill(false);
        let own = PrecisionCheck::of("bf16", &says(&a, 1.0), &says(&b, 1.0), &[0; 100]).unwrap();
        assert_eq!((own.gained, own.lost, own.accuracy_differs()), (20, 20, false));
    }

    #[test]
    fn the_nll_differs_if_it_does_so_surely_and_by_more_than_its_own_error() {
        let right: Vec<bool> = (0..1000).map(|at| at % 10 > 0).collect();
        let of = |margin| {
            PrecisionCheck::of("bf16", &says(&right, margin), &says(&right, 2.0), &[0; 1000])
        };
        // -log of the probability of the label at margins 2 and 2.01, by hand.
        let nll = |z: f64| 0.9 * (1.0 + (-z).exp()).ln() + 0.1 * (1.0 + z.exp()).ln();
        let little = of(2.01).unwrap();
        assert!((little.nll_difference - (nll(2.01) - nll(2.0))).abs() < 1e-5);
        assert!((little.in_f32.nll - nll(2.0)).abs() < 1e-5);
        // Standard error of a value that is 2 apart on a tenth of 1,000 samples.
        let error = (2.0_f64.powi(2) * 0.09 / 999.0).sqrt();
        assert!((little.nll_error - error).abs() < 1e-6, "{}", little.nll_error);
        assert!(!little.nll_differs() && little.suspicion().is_none());
        // The 900 right answers gain little, the 100 wrong ones lose 4 nats each.
        let much = of(6.0).unwrap();
        assert!(much.nll_differs() && !much.accuracy_differs());
        assert!(much.suspicion().unwrap().what.contains("NLL 0.602 instead of 0.327"));
        let broken = of(f32::INFINITY).unwrap();
        assert!(broken.nll_differs());
    }

    #[test]
    fn of_no_samples_nothing_is_said() {
        assert_eq!(PrecisionCheck::of("bf16", &[], &[], &[]), None);
    }
}
