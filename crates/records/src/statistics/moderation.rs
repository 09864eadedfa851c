//! Moderated variances: what all methods together say of the variance of one.
//!
//! Smyth, "Linear models and empirical Bayes methods for assessing differential expression in microarray
//! experiments", Statistical Applications in Genetics and Molecular Biology 3 (2004), sections 3 and 6.2.
//!
//! ```text
//! s_k²   given σ_k²  ~  σ_k² χ²_d / d                   d = n - 1 seeds
//! 1/σ_k²             ~  χ²_d0 / (d0 s0²)                what the methods have in common
//! z_k    = ln s_k² - ψ(d/2) + ln(d/2)                   e = mean z
//! ψ'(d0/2) = var z - ψ'(d/2)                            s0² = exp(e + ψ(d0/2) - ln(d0/2))
//! s̃_k²   = (d0 s0² + d s_k²) / (d0 + d)                 with d0 + d degrees of freedom
//! ```
//! With few methods `var z` is itself hardly known, and where it happens to be below `ψ'(d/2)` the
//! methods would seem to have one and the same variance. So a part, [`CAUTION`], of its standard error
//! `ψ'(d/2) sqrt(2 / (m - 1))` is added: the fewer the methods, the less they lend each other.

use super::moments::{deviation, mean};
use super::special::{digamma, inverse_trigamma, trigamma};

/// Standard errors of the spread of log variances that are added to it. The least with which the
/// simulated tables stay at 5 % where the reference alone is ten times as variable as all others.
pub(super) const CAUTION: f64 = 0.25;

/// What variances have in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Prior {
    /// How many degrees of freedom it is worth, d0; infinite if the variances do not differ.
    pub(super) degrees: f64,
    /// The common variance, s0².
    pub(super) variance: f64,
}

impl Prior {
    /// Of at least two positive variances with `degrees` degrees of freedom each.
    pub(super) fn of(variances: &[f64], degrees: f64, caution: f64) -> Self {
        let half = 0.5 * degrees;
        let unbiased = |variance: &f64| variance.ln() - digamma(half) + half.ln();
        let logs: Vec<f64> = variances.iter().map(unbiased).collect();
        let expected = trigamma(half);
        let spread = deviation(&logs).unwrap_or(0.0).powi(2);
        let error = expected * (2.0 / (logs.len().max(2) - 1) as f64).sqrt();
        let excess = (spread - expected).max(0.0) + caution * error;
        if excess <= 0.0 {
            return Self { degrees: f64::INFINITY, variance: mean(variances) };
        }
        let half = inverse_trigamma(excess);
        let variance = (mean(&logs) + digamma(half) - half.ln()).exp();
        Self { degrees: 2.0 * half, variance }
    }

    /// The moderated variance of `variance` with `degrees` degrees of freedom.
    pub(super) fn moderate(self, variance: f64, degrees: f64) -> f64 {
        if self.degrees.is_infinite() {
            return self.variance;
        }
        (self.degrees * self.variance + degrees * variance) / (self.degrees + degrees)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Case {
        degrees: f64,
        variances: Vec<f64>,
        caution: f64,
        prior_degrees: Option<f64>,
        prior_variance: f64,
    }

    #[test]
    fn estimates_are_those_of_an_independent_computation() {
        // By scipy 1.17: digamma and polygamma, the inverse by root finding. None: infinite.
        #[derive(serde::Deserialize)]
        struct Golden {
            prior: Vec<Case>,
        }
        let text = include_str!("../../tests/golden/verdict.json");
        let golden: Golden = serde_json::from_str(text).unwrap();
        assert_eq!(golden.prior.len(), 12);
        for case in golden.prior {
            let own = Prior::of(&case.variances, case.degrees, case.caution);
            let near = |got: f64, want: f64| (got - want).abs() <= 1e-9 * want;
            let degrees = match case.prior_degrees {
                Some(want) => near(own.degrees, want),
                None => own.degrees.is_infinite(),
            };
            assert!(degrees && near(own.variance, case.prior_variance), "{own:?}");
        }
    }

    #[test]
    fn moderation_lies_between_the_own_and_the_common_variance() {
        let prior = Prior { degrees: 6.0, variance: 1.0 };
        assert_eq!(prior.moderate(4.0, 2.0), 1.75);
        let prior = Prior { degrees: f64::INFINITY, variance: 1.0 };
        assert_eq!(prior.moderate(4.0, 2.0), 1.0);
    }

    #[test]
    fn few_methods_lend_each_other_less() {
        let of = |count| Prior::of(&vec![1.0; count], 2.0, CAUTION).degrees;
        assert!(of(2) < of(3) && of(3) < of(10) && of(10) < of(100), "{}", of(2));
    }
}
