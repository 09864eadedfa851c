//! The temperature at which a teacher's probabilities fit the labels best.
//!
//! Guo, Pleiss, Sun, Weinberger, ICML 2017, <https://arxiv.org/abs/1706.04599>.

use serde::{Deserialize, Serialize};

use faculty_records::quality::{Quality, QualityMeter};

/// Where the temperature is looked for. A teacher whose answers say nothing about the labels, or
/// the contrary, ends at the upper bound: there its probabilities are almost equal.
pub const TEMPERATURE_BOUNDS: [f64; 2] = [0.05, 20.0];

/// A teacher at its fitted temperature.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedTemperature {
    /// Logits divided by this give the smallest negative log-likelihood. Above 1, the teacher is
    /// surer than it should be.
    pub temperature: f64,
    /// Whether it lies at one of [`TEMPERATURE_BOUNDS`].
    pub at_bound: bool,
    /// Mean negative log-likelihood at that temperature, nats.
    pub nll: f64,
    /// Expected calibration error at that temperature, 0 to 1.
    pub ece: f64,
}

/// Fits the temperature `T` that minimises the mean of `-log σ(z/T)[y]`.
///
/// In `β = 1/T` that is convex, so its slope has one zero at most. Newton steps in `log T` look for
/// it; a step that leaves the interval in which the slope changes its sign is replaced by halving
/// that interval. Without finite logits the temperature is 1.
///
/// Shapes: logits `[samples, classes]`, labels `[samples]`. Cost: about ten passes over the logits.
#[must_use]
pub fn fit_temperature(logits: &[f32], labels: &[u32]) -> FittedTemperature {
    let (temperature, at_bound) = minimum(logits, labels);
    let mut meter = QualityMeter::default();
    if !labels.is_empty() {
        let scaled: Vec<f32> =
            logits.iter().map(|&z| (f64::from(z) / temperature) as f32).collect();
        meter.add(&scaled, labels);
    }
    let (nll, ece) = meter.quality().map_or((0.0, 0.0), |Quality { nll, ece, .. }| (nll, ece));
    FittedTemperature { temperature, at_bound, nll, ece }
}

fn minimum(logits: &[f32], labels: &[u32]) -> (f64, bool) {
    if labels.is_empty() || logits.iter().any(|z| !z.is_finite()) {
        return (1.0, false);
    }
    let [lowest, highest] = TEMPERATURE_BOUNDS;
    // The likelihood falls with β as long as the slope is positive.
    if slope(logits, labels, 1.0 / highest).0 >= 0.0 {
        return (highest, true);
    }
    if slope(logits, labels, 1.0 / lowest).0 <= 0.0 {
        return (lowest, true);
    }
    let (mut low, mut high) = (lowest.ln(), highest.ln());
    let mut log = 0.0_f64;
    for _ in 0..100 {
        let beta = (-log).exp();
        let (value, curvature) = slope(logits, labels, beta);
        // A positive slope: β is too large, T too small.
        if value > 0.0 {
            low = log;
        } else {
            high = log;
        }
        let newton = log + value / (curvature * beta);
        let next = if newton > low && newton < high { newton } else { f64::midpoint(low, high) };
        let step = (next - log).abs();
        log = next;
        if step < 1e-9 {
            break;
        }
    }
    (log.exp(), false)
}

/// First and second derivative by `β` of the mean of `-log σ(βz)[y]`: mean over the samples of
/// `E[z] - z[y]` and of `Var[z]` under `σ(βz)`.
fn slope(logits: &[f32], labels: &[u32], beta: f64) -> (f64, f64) {
    let classes = logits.len() / labels.len();
    let (mut first, mut second) = (0.0, 0.0);
    for (row, &label) in logits.chunks_exact(classes).zip(labels) {
        let largest = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let (mut whole, mut sum, mut squares) = (0.0, 0.0, 0.0);
        for &z in row {
            let z = f64::from(z) - largest;
            let e = (beta * z).exp();
            whole += e;
            sum += e * z;
            squares += e * z * z;
        }
        let mean = sum / whole;
        first += mean - (f64::from(row[label as usize]) - largest);
        second += squares / whole - mean * mean;
    }
    let samples = labels.len() as f64;
    (first / samples, second / samples)
}

#[cfg(test)]
mod tests {
    use faculty_data::rng::{Purpose, draw, unit};

    use super::*;

    /// Samples whose labels are drawn from `σ(z / temperature)`.
    fn drawn(samples: usize, classes: usize, temperature: f64) -> (Vec<f32>, Vec<u32>) {
        let number = |a, b| unit(draw(Purpose::Method, 5, a, b, 0));
        let mut logits = Vec::new();
        let mut labels = Vec::new();
        for sample in 0..samples as u64 {
            let row: Vec<f32> =
                (0..classes as u64).map(|c| 8.0 * number(sample, c) as f32).collect();
            let weights: Vec<f64> =
                row.iter().map(|&z| (f64::from(z) / temperature).exp()).collect();
            let mut left = number(sample, 1000) * weights.iter().sum::<f64>();
            let label = weights.iter().position(|w| {
                left -= w;
                left < 0.0
            });
            labels.push(label.unwrap_or(classes - 1) as u32);
            logits.extend(row);
        }
        (logits, labels)
    }

    #[test]
    fn recovers_the_temperature_that_the_labels_were_drawn_at() {
        for truth in [0.5, 1.0, 2.5] {
            let (logits, labels) = drawn(20_000, 5, truth);
            let fitted = fit_temperature(&logits, &labels);
            assert!(!fitted.at_bound);
            // The standard error of the estimate is near 1 % at this number of samples.
            assert!((fitted.temperature / truth).ln().abs() < 0.04, "{truth}: {fitted:?}");
            assert!(fitted.ece < 0.015, "{truth}: {fitted:?}");
            // Nothing near it is better.
            for other in [0.98, 1.02] {
                let scaled: Vec<f32> = logits
                    .iter()
                    .map(|&z| (f64::from(z) / (other * fitted.temperature)) as f32)
                    .collect();
                let mut meter = QualityMeter::default();
                meter.add(&scaled, &labels);
                assert!(meter.quality().unwrap().nll > fitted.nll);
            }
        }
    }

    #[test]
    fn the_temperature_of_scaled_logits_is_scaled() {
        let (logits, labels) = drawn(2000, 4, 1.5);
        let scaled: Vec<f32> = logits.iter().map(|z| 3.0 * z).collect();
        let (a, b) = (fit_temperature(&logits, &labels), fit_temperature(&scaled, &labels));
        assert!((b.temperature / a.temperature - 3.0).abs() < 1e-4, "{a:?} {b:?}");
        assert!((a.nll - b.nll).abs() < 1e-6);
    }

    #[test]
    fn two_classes_have_a_closed_form() {
        // Right in 3 of 4 with equal margins m: σ(m/T) = 3/4, so T = m / ln 3.
        let logits = [6.0_f32, 0.0].repeat(4);
        let fitted = fit_temperature(&logits, &[0, 0, 0, 1]);
        assert!((fitted.temperature - 6.0 / 3.0_f64.ln()).abs() < 1e-6, "{fitted:?}");
        assert!(fitted.ece < 1e-6, "{fitted:?}");
    }

    #[test]
    fn ends_at_a_bound_when_always_right_or_always_wrong() {
        let logits = [2.0_f32, 0.0].repeat(3);
        let right = fit_temperature(&logits, &[0, 0, 0]);
        assert_eq!((right.temperature, right.at_bound), (TEMPERATURE_BOUNDS[0], true));
        let wrong = fit_temperature(&logits, &[1, 1, 1]);
        assert_eq!((wrong.temperature, wrong.at_bound), (TEMPERATURE_BOUNDS[1], true));
        // Equal logits: no temperature changes anything.
        assert!(fit_temperature(&[0.0; 6], &[0, 1, 0]).at_bound);
    }

    #[test]
    fn survives_huge_and_broken_logits() {
        let fitted = fit_temperature(&[1e30, -1e30, 1e30, -1e30], &[0, 1]);
        assert!(fitted.temperature.is_finite(), "{fitted:?}");
        assert_eq!(fit_temperature(&[f32::NAN, 0.0], &[0]).temperature, 1.0);
        assert_eq!(fit_temperature(&[], &[]).temperature, 1.0);
    }
}
