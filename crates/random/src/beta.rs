//! The beta distribution with two equal parameters, of which mixtures of two samples are drawn.
//!
//! ```text
//! Beta(α, α) = G / (G + G'),   G, G' ~ Gamma(α)
//! Gamma(α)   by Marsaglia and Tsang (2000) from Gamma(α + 1) U^(1/α), in logarithms, so that no α is too
//!            small
//! ```

use super::{splitmix64, unit};

/// A draw from Beta(`alpha`, `alpha`), between 0 and 1: a function of its arguments alone.
///
/// # Panics
/// If `alpha` is not above 0.
#[must_use]
pub fn beta(alpha: f64, key: u64) -> f64 {
    assert!(alpha > 0.0, "the parameter of a beta distribution is above 0");
    let mut words = Words { key, next: 0 };
    let [first, second] = [log_gamma(alpha, &mut words), log_gamma(alpha, &mut words)];
    1.0 / (1.0 + (second - first).exp())
}

/// The words that a draw is made from.
struct Words {
    key: u64,
    next: u64,
}

impl Words {
    /// Uniform in (0, 1).
    fn unit(&mut self) -> f64 {
        self.next += 1;
        unit(splitmix64(self.key, self.next - 1)) + 0.5 / (1_u64 << 53) as f64
    }

    /// Standard normal by Box and Muller.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.unit().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// The logarithm of a draw from Gamma(`alpha`, 1).
fn log_gamma(alpha: f64, words: &mut Words) -> f64 {
    let boost = words.unit().ln() / alpha;
    let d = alpha + 1.0 - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = words.normal();
        let v = (1.0 + c * x).powi(3);
        // Accepted with a probability above 0.95, whatever `alpha`.
        if v > 0.0 && words.unit().ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return (d * v).ln() + boost;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(alpha: f64) -> Vec<f64> {
        let mut all: Vec<f64> = (0..20_000).map(|key| beta(alpha, splitmix64(9, key))).collect();
        all.sort_by(f64::total_cmp);
        all
    }

    /// Largest distance from a distribution function; 1.95 / sqrt(20,000) = 0.0138 is exceeded once in a
    /// thousand samples.
    fn distance(alpha: f64, distribution: impl Fn(f64) -> f64) -> f64 {
        let all = draws(alpha);
        let steps = all.iter().enumerate().map(|(i, &x)| {
            let (low, high) = (i as f64 / 20_000.0, (i + 1) as f64 / 20_000.0);
            (distribution(x) - low).abs().max((distribution(x) - high).abs())
        });
        steps.fold(0.0, f64::max)
    }

    #[test]
    fn draws_have_the_distributions_of_closed_form() {
        assert!(distance(1.0, |x| x) < 0.0138);
        // The arcsine law.
        let arcsine = |x: f64| 2.0 / std::f64::consts::PI * x.sqrt().asin();
        assert!(distance(0.5, arcsine) < 0.0138);
        assert!(distance(2.0, |x| x * x * (3.0 - 2.0 * x)) < 0.0138);
    }

    #[test]
    fn every_parameter_has_its_mean_and_variance() {
        for alpha in [0.01, 0.1, 0.2, 0.4, 3.0, 50.0] {
            let all = draws(alpha);
            let mean = all.iter().sum::<f64>() / all.len() as f64;
            let variance = all.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / all.len() as f64;
            let want = 0.25 / (2.0 * alpha + 1.0);
            // Four standard deviations of a mean; a variance is known to a few percent.
            assert!((mean - 0.5).abs() < 4.0 * (want / 20_000.0).sqrt(), "{alpha}: {mean}");
            assert!((variance / want - 1.0).abs() < 0.05, "{alpha}: {variance}, not {want}");
            assert!(all.iter().all(|x| (0.0..=1.0).contains(x)));
        }
        assert!(beta(1e-300, 3).is_finite());
    }

    #[test]
    fn draws_are_fixed_for_ever() {
        assert_eq!(beta(0.2, 5), beta(0.2, 5));
        assert_ne!(beta(0.2, 5), beta(0.2, 6));
    }
}
