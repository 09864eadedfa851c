//! Quality of predictions against labels.

use serde::{Deserialize, Serialize};

use crate::class_accuracy::wilson;

/// Bins of the expected calibration error (Guo et al., ICML 2017, use 15).
const CALIBRATION_BINS: usize = 15;

/// Quality of a classifier on a set of samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Samples whose label has the highest logit, percent.
    pub top1: f64,
    /// Samples whose label is among the five highest logits, percent.
    pub top5: f64,
    /// Mean negative log-likelihood of the label, nats.
    #[serde(with = "crate::number")]
    pub nll: f64,
    /// Expected calibration error over 15 bins of confidence, 0 to 1.
    #[serde(with = "crate::number")]
    pub ece: f64,
    /// Mean over the classes that occur of the share of their samples that is right, percent; none in
    /// records of before it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balanced_accuracy: Option<f64>,
    /// Mean over the classes that occur or are predicted of the harmonic mean of precision and recall,
    /// `2 right / (labelled + predicted)`, percent; likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub macro_f1: Option<f64>,
    /// Number of samples.
    pub samples: usize,
}

/// Fewer samples than this are a small part: accuracies on it differ by points from part to part.
const SMALL_PART: usize = 2000;

impl Quality {
    /// Where the true accuracy lies with 95 % confidence, percent: Wilson's interval for the number of
    /// samples.
    #[must_use]
    pub fn interval(&self) -> [f64; 2] {
        let right = (self.top1 / 100.0 * self.samples as f64).round() as usize;
        wilson(right, self.samples).map(|share| 100.0 * share)
    }

    /// [`Quality::interval`], where the samples are so few that accuracies should not stand without it.
    #[must_use]
    pub fn interval_of_small_part(&self) -> Option<[f64; 2]> {
        (self.samples < SMALL_PART).then(|| self.interval())
    }

    /// Whether all logits behind it were numbers.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        self.nll.is_finite() && self.ece.is_finite()
    }
}

/// One bin of a calibration diagram: the samples whose highest probability lies in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// How many.
    pub samples: usize,
    /// Mean of their highest probability, 0 to 1.
    #[serde(with = "crate::number")]
    pub confidence: f64,
    /// Share of them that is right, 0 to 1.
    pub accuracy: f64,
}

/// Samples of one class.
#[derive(Clone, Copy, Debug, Default)]
struct ClassCounts {
    labelled: usize,
    predicted: usize,
    right: usize,
}

/// Adds up batches of logits; order and batching do not matter beyond rounding.
#[derive(Clone, Debug, Default)]
pub struct QualityMeter {
    samples: usize,
    top1: usize,
    top5: usize,
    nll: f64,
    /// Per bin: samples, sum of confidence, correct.
    bins: [(usize, f64, usize); CALIBRATION_BINS],
    classes: Vec<ClassCounts>,
}

impl QualityMeter {
    /// Adds a batch: logits `[batch, classes]`, labels `[batch]`.
    ///
    /// # Panics
    /// When the lengths do not fit together.
    pub fn add(&mut self, logits: &[f32], labels: &[u32]) {
        assert!(!labels.is_empty() && logits.len().is_multiple_of(labels.len()), "ragged batch");
        let classes = logits.len() / labels.len();
        if self.classes.len() < classes {
            self.classes.resize(classes, ClassCounts::default());
        }
        for (row, &label) in logits.chunks_exact(classes).zip(labels) {
            self.add_sample(row, label as usize);
        }
    }

    fn add_sample(&mut self, logits: &[f32], label: usize) {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|&z| f64::from(z - largest).exp()).sum();
        // Rank of the label: a tie goes to the lower class number, as arg max does. Written so that
        // NaN never counts as right.
        let own = logits[label];
        let rank = logits
            .iter()
            .enumerate()
            .filter(|&(class, &z)| class != label && !(z < own || (z == own && class > label)))
            .count();
        let confidence = 1.0 / sum;
        let bin = ((confidence * CALIBRATION_BINS as f64) as usize).min(CALIBRATION_BINS - 1);
        self.samples += 1;
        self.top1 += usize::from(rank == 0);
        self.top5 += usize::from(rank < 5);
        self.nll += sum.ln() - f64::from(own - largest);
        self.bins[bin].0 += 1;
        self.bins[bin].1 += confidence;
        self.bins[bin].2 += usize::from(rank == 0);
        self.classes[label].labelled += 1;
        self.classes[label].right += usize::from(rank == 0);
        if let Some(class) = highest(logits) {
            self.classes[class].predicted += 1;
        }
    }

    /// All that was added up, with counts of `classes` classes at least, so that meters of parts of the
    /// samples can be added up value by value; counts stay whole numbers up to 2⁵³.
    #[must_use]
    pub fn sums(&self, classes: usize) -> Vec<f64> {
        let mut sums = vec![self.samples as f64, self.top1 as f64, self.top5 as f64, self.nll];
        for &(samples, confidence, correct) in &self.bins {
            sums.extend([samples as f64, confidence, correct as f64]);
        }
        let none = ClassCounts::default();
        for class in 0..classes.max(self.classes.len()) {
            let ClassCounts { labelled, predicted, right } =
                self.classes.get(class).unwrap_or(&none);
            sums.extend([labelled, predicted, right].map(|&count| count as f64));
        }
        sums
    }

    /// The meter behind [`QualityMeter::sums`], or of several of them added up.
    #[must_use]
    pub fn of_sums(sums: &[f64]) -> Self {
        let mut meter = Self::default();
        let count = |at: usize| sums.get(at).map_or(0, |own| *own as usize);
        let number = |at: usize| sums.get(at).copied().unwrap_or_default();
        (meter.samples, meter.top1, meter.top5, meter.nll) =
            (count(0), count(1), count(2), number(3));
        for (bin, own) in meter.bins.iter_mut().enumerate() {
            let at = 4 + 3 * bin;
            *own = (count(at), number(at + 1), count(at + 2));
        }
        let first = 4 + 3 * CALIBRATION_BINS;
        meter.classes = (first..sums.len())
            .step_by(3)
            .map(|at| ClassCounts {
                labelled: count(at),
                predicted: count(at + 1),
                right: count(at + 2),
            })
            .collect();
        meter
    }

    /// Mean over the classes of which `of` says something, percent.
    fn mean_of_classes(&self, of: impl Fn(&ClassCounts) -> Option<f64>) -> Option<f64> {
        let shares: Vec<f64> = self.classes.iter().filter_map(of).collect();
        (!shares.is_empty()).then(|| 100.0 * shares.iter().sum::<f64>() / shares.len() as f64)
    }

    /// The bins behind [`Quality::ece`], from confidence 0 to 1; empty ones are all zeros.
    #[must_use]
    pub fn calibration(&self) -> Vec<CalibrationBin> {
        let bin = |&(samples, confidence, correct): &(usize, f64, usize)| {
            let n = samples.max(1) as f64;
            CalibrationBin { samples, confidence: confidence / n, accuracy: correct as f64 / n }
        };
        self.bins.iter().map(bin).collect()
    }

    /// The figures so far; `None` without samples.
    #[must_use]
    pub fn quality(&self) -> Option<Quality> {
        let n = self.samples as f64;
        let gap = |&(_, confidence, correct): &(usize, f64, usize)| {
            (confidence - correct as f64).abs() / n
        };
        (self.samples > 0).then(|| Quality {
            top1: 100.0 * self.top1 as f64 / n,
            top5: 100.0 * self.top5 as f64 / n,
            nll: self.nll / n,
            ece: self.bins.iter().map(gap).sum(),
            balanced_accuracy: self.mean_of_classes(|own| {
                (own.labelled > 0).then(|| own.right as f64 / own.labelled as f64)
            }),
            macro_f1: self.mean_of_classes(|own| {
                let all = own.labelled + own.predicted;
                (all > 0).then(|| 2.0 * own.right as f64 / all as f64)
            }),
            samples: self.samples,
        })
    }
}

/// The class with the highest logit in each row: the lowest of equal ones, none among NaN, as
/// [`Quality::top1`] counts.
#[must_use]
pub fn predictions(logits: &[f32], classes: usize) -> Vec<Option<u32>> {
    let one = |row: &[f32]| highest(row).and_then(|class| u32::try_from(class).ok());
    logits.chunks_exact(classes.max(1)).map(one).collect()
}

/// The class with the highest logit: the lowest of equal ones, none among NaN.
fn highest(logits: &[f32]) -> Option<usize> {
    let mut best = 0;
    for (class, &z) in logits.iter().enumerate() {
        if z.is_nan() {
            return None;
        }
        if z > logits[best] {
            best = class;
        }
    }
    Some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meters_of_parts_add_up_to_that_of_all() {
        let logit = |i: usize| ((i * 7919) % 31) as f32 / 5.0;
        let logits: Vec<f32> = (0..40 * 6).map(logit).collect();
        let labels: Vec<u32> = (0..40).map(|i| (i * i % 5) as u32).collect();
        let mut whole = QualityMeter::default();
        whole.add(&logits, &labels);
        let (mut sums, mut first) = (Vec::new(), true);
        for range in [0..7, 7..8, 8..8, 8..40] {
            let mut part = QualityMeter::default();
            if !range.is_empty() {
                part.add(&logits[6 * range.start..6 * range.end], &labels[range]);
            }
            let own = part.sums(6);
            if std::mem::take(&mut first) {
                sums = own;
            } else {
                sums.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
            }
        }
        let (all, want) =
            (QualityMeter::of_sums(&sums).quality().unwrap(), whole.quality().unwrap());
        assert_eq!((all.top1, all.top5, all.samples), (want.top1, want.top5, want.samples));
        assert_eq!(all.balanced_accuracy, want.balanced_accuracy);
        assert_eq!(all.macro_f1, want.macro_f1);
        assert!((all.nll - want.nll).abs() < 1e-12 && (all.ece - want.ece).abs() < 1e-12);
        assert_eq!(QualityMeter::of_sums(&whole.sums(6)).quality(), Some(want));
        assert_eq!(QualityMeter::of_sums(&QualityMeter::default().sums(6)).quality(), None);
    }

    #[test]
    fn figures_of_a_small_batch_are_those_worked_out_by_hand() {
        let mut meter = QualityMeter::default();
        let ln3 = 3.0_f32.ln();
        // Two classes: p = (3/4, 1/4) twice, once right and once wrong.
        meter.add(&[ln3, 0.0, ln3, 0.0], &[0, 1]);
        let quality = meter.quality().unwrap();
        assert_eq!((quality.top1, quality.top5, quality.samples), (50.0, 100.0, 2));
        let nll = f64::midpoint(-(0.75_f64.ln()), -(0.25_f64.ln()));
        assert!((quality.nll - nll).abs() < 1e-6);
        // One bin with confidence 0.75 and accuracy 0.5.
        assert!((quality.ece - 0.25).abs() < 1e-6, "{}", quality.ece);
        let bins = meter.calibration();
        assert_eq!((bins.len(), bins[10]), (15, CalibrationBin::default()));
        assert_eq!((bins[11].samples, bins[11].accuracy), (2, 0.5));
        assert!((bins[11].confidence - 0.75).abs() < 1e-6);
    }

    #[test]
    fn balanced_accuracy_and_macro_f1_are_those_worked_out_by_hand() {
        let mut meter = QualityMeter::default();
        let answers = |class: usize| (0..4).map(move |c| if c == class { 1.0_f32 } else { 0.0 });
        // Labels 0 0 0 0 1 2, answers 0 0 0 1 1 0; class 3 neither occurs nor is predicted.
        let logits: Vec<f32> = [0, 0, 0, 1, 1, 0].into_iter().flat_map(answers).collect();
        meter.add(&logits[..16], &[0, 0, 0, 0]);
        meter.add(&logits[16..], &[1, 2]);
        let quality = meter.quality().unwrap();
        // Recalls 3/4, 1, 0; F1 2·3/(4+4), 2·1/(1+2), 0, as scikit-learn's `macro`.
        let balanced = 100.0 * (0.75 + 1.0 + 0.0) / 3.0;
        let f1 = 100.0 * (0.75 + 2.0 / 3.0 + 0.0) / 3.0;
        assert!((quality.balanced_accuracy.unwrap() - balanced).abs() < 1e-9);
        assert!((quality.macro_f1.unwrap() - f1).abs() < 1e-9);
        assert!((quality.top1 - 400.0 / 6.0).abs() < 1e-9);
    }

    #[test]
    fn records_of_before_have_no_class_means() {
        let text = r#"{"top1":50.0,"top5":90.0,"nll":1.0,"ece":0.1,"samples":10}"#;
        let quality: Quality = serde_json::from_str(text).unwrap();
        assert_eq!((quality.balanced_accuracy, quality.macro_f1), (None, None));
        assert_eq!(serde_json::to_string(&quality).unwrap(), text);
    }

    #[test]
    fn a_tie_goes_to_the_lower_class() {
        let mut meter = QualityMeter::default();
        meter.add(&[0.0; 20], &[9, 3]);
        let quality = meter.quality().unwrap();
        assert_eq!((quality.top1, quality.top5), (0.0, 50.0));
    }

    #[test]
    fn nan_is_never_right() {
        let mut meter = QualityMeter::default();
        meter.add(&[f32::NAN; 10], &[0]);
        meter.add(&[f32::NAN, 1.0], &[1]);
        assert_eq!(meter.quality().unwrap().top1, 0.0);
    }

    #[test]
    fn small_parts_have_an_interval_to_show() {
        let of = |samples| Quality {
            top1: 80.0,
            top5: 100.0,
            nll: 0.5,
            ece: 0.0,
            balanced_accuracy: None,
            macro_f1: None,
            samples,
        };
        // 8 of 10: Wilson's published 0.490 to 0.943.
        let [low, high] = of(10).interval_of_small_part().unwrap();
        assert!((low - 49.02).abs() < 0.01 && (high - 94.33).abs() < 0.01, "{low} {high}");
        assert_eq!(of(10_000).interval_of_small_part(), None);
        assert!((of(10_000).interval()[0] - 79.2).abs() < 0.05);
    }

    #[test]
    fn stays_finite_at_huge_logits() {
        let mut meter = QualityMeter::default();
        meter.add(&[1e4, -1e4], &[1]);
        assert!(meter.quality().unwrap().nll.is_finite());
    }
}
