//! Methods against a reference: differences paired by seed, a moderated t, Holm's rule.
//!
//! ```text
//! y_ki   accuracy of student k at seed i, k = 0 the reference, k = 1..m;   i = 1..n
//! d_mi   = y_mi - y_0i                                    s_m²  variance of d_m, n - 1 degrees
//! r_ki   = y_ki - (mean of k) - (mean of i) + mean        w_k   = K / (K - 1) sum_i r_ki² / (n - 1)
//! ~      moderated (`moderation`): s̃_m² by all s², w̃_k by all w;   b = max(w_0, w̃_0)
//! v_m    = max(s_m², s̃_m², w̃_m + b)                       e_m = sqrt(v_m / n)
//! f_m    = (w̃_m + b)² / (w̃_m² / min(d0 + n - 1, m (n - 1)) + b² / (n - 1)),  at most m (n - 1)
//! p      = P(|T_f| > |mean d_m| / e_m)                    Student's t, two-sided
//! Holm   : m comparisons, p_(1) <= p_(2) <= ..; p_(k) is significant when p_(j) <= 0.05 / (m - j + 1)
//!          for all j <= k
//! ```
//! A plain paired t knows the variance of its differences from n - 1 degrees of freedom alone; with
//! three seeds and many methods it sees nothing. Here the methods tell each other how much students
//! scatter (Smyth 2004), which raises the degrees of freedom and never lowers a method's variance
//! below its own. Two things keep that honest. Seeds are blocks: w is what is left of a student's
//! scatter when what the seed does to all of them alike is taken out. And all differences share the
//! reference, whose luck no number of methods averages out: its part b counts with the n - 1 degrees of
//! its own seeds (Satterthwaite's rule) and is never moderated downwards. With one method all this is
//! the plain paired t.
//!
//! Accuracies are counts, so equal differences are no proof that nothing varies: variances are at
//! least that of rounding, r² / 12 of a student and r² / 6 of a difference.

use serde::{Deserialize, Serialize};

use super::bootstrap::over_seeds;
use super::interval::Interval;
use super::moderation::{CAUTION, Prior};
use super::moments::{deviation, mean};
use super::needed::{NeededSeeds, seeds_needed};
use super::special::{student_quantile, student_tail};

/// Chance of a wrong verdict among all comparisons together, when no method differs.
pub const SIGNIFICANCE: f64 = 0.05;

/// Variances have logarithms: what stands for zero where nothing can vary.
const LEAST_VARIANCE: f64 = 1e-100;

/// What the seeds say of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Better than the reference.
    Helps,
    /// Worse than the reference.
    Hurts,
    /// Too near, too scattered or too few seeds.
    NoEvidence,
}

/// A method against the reference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Paired {
    /// One a seed, points.
    pub differences: Vec<f64>,
    /// Their mean.
    pub mean: f64,
    /// Standard error of the mean; none with one seed.
    pub standard_error: Option<f64>,
    /// Degrees of freedom of Student's t; none with one seed, and in files of earlier versions, where
    /// they are those of the seeds.
    #[serde(default)]
    pub degrees: Option<f64>,
    /// Two-sided p of Student's t, not corrected; none with one seed.
    pub p: Option<f64>,
    /// `p` corrected for the number of comparisons by Holm's rule.
    pub corrected_p: Option<f64>,
    /// Half the width of [`Paired::interval`].
    pub margin: Option<f64>,
    /// Interval by Student's t at the level of this method's step of Holm's rule; 0 lies outside of
    /// it exactly when the verdict is not "no evidence".
    pub interval: Option<Interval>,
    /// Percentile bootstrap over the seeds, 95 %, not corrected: too narrow with few seeds.
    pub bootstrap: Option<Interval>,
    /// Percentile bootstrap over images and seeds together, 95 %, not corrected: what other images of
    /// this kind would say of these students; none where their answers were not kept.
    #[serde(default)]
    pub per_image: Option<Interval>,
    /// Seeds that a gap as large as [`Paired::mean`] takes; none with one seed.
    #[serde(default)]
    pub needed: Option<NeededSeeds>,
    /// What follows.
    pub verdict: Verdict,
}

impl Paired {
    /// `helps: +0.80 ± 0.20 over aver`, `no evidence (+0.10 ± 0.50)`
    #[must_use]
    pub fn words(&self, reference: &str) -> String {
        self.words_to(reference, 2)
    }

    /// The same with so many decimals.
    #[must_use]
    pub fn words_to(&self, reference: &str, digits: usize) -> String {
        let mean = format!("{:+.digits$}", self.mean);
        let Some(margin) = self.margin else {
            return format!("no evidence ({mean} on one seed)");
        };
        let margin = format!("{margin:.digits$}");
        match self.verdict {
            Verdict::Helps => format!("helps: {mean} ± {margin} over {reference}"),
            Verdict::Hurts => format!("hurts: {mean} ± {margin} under {reference}"),
            Verdict::NoEvidence => format!("no evidence ({mean} ± {margin})"),
        }
    }

    /// Standard error, degrees of freedom and p, where there are several seeds.
    fn tested(&self) -> Option<(f64, f64, f64)> {
        Some((self.standard_error?, self.degrees?, self.p?))
    }
}

/// Compares several methods with one reference. `reference` holds its accuracy at each seed in points,
/// `others[m]` those of method m at the same seeds; `resolution` is the smallest difference that can be
/// seen (one sample, in points), `level` the chance of any wrong verdict ([`SIGNIFICANCE`]).
#[must_use]
pub fn compare_paired(
    reference: &[f64],
    others: &[Vec<f64>],
    resolution: f64,
    level: f64,
) -> Vec<Paired> {
    let mut all = judged(reference, others, resolution, level);
    for (own, level) in &mut all {
        let Some((error, degrees, _)) = own.tested() else { continue };
        let margin = student_quantile(degrees, *level) * error;
        own.margin = Some(margin);
        own.interval = Some(Interval { low: own.mean - margin, high: own.mean + margin });
        own.bootstrap = Some(over_seeds(&own.differences));
        own.needed = Some(seeds_needed(own.mean, error, degrees, own.differences.len(), *level));
    }
    all.into_iter().map(|(own, _)| own).collect()
}

/// The verdicts, each with the level of its step of Holm's rule, without what only explains them.
pub(super) fn judged(
    reference: &[f64],
    others: &[Vec<f64>],
    resolution: f64,
    level: f64,
) -> Vec<(Paired, f64)> {
    let tested = tested(reference, others, resolution);
    let mut all: Vec<(Paired, f64)> = tested.into_iter().map(|own| (own, level)).collect();
    let mut order: Vec<(usize, f64)> =
        all.iter().enumerate().filter_map(|(at, own)| Some((at, own.0.p?))).collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    let count = order.len();
    let (mut corrected, mut failed) = (0.0_f64, None);
    for (step, (at, p)) in order.into_iter().enumerate() {
        let (own, own_level) = &mut all[at];
        let factor = (count - step) as f64;
        corrected = corrected.max((p * factor).min(1.0));
        own.corrected_p = Some(corrected);
        // After the first that is not significant none is, at that one's level.
        *own_level = failed.unwrap_or(level / factor);
        let significant = failed.is_none() && p <= *own_level;
        if !significant {
            failed = Some(*own_level);
        }
        own.verdict = match significant {
            true if own.mean > 0.0 => Verdict::Helps,
            true => Verdict::Hurts,
            false => Verdict::NoEvidence,
        };
    }
    all
}

/// Mean, standard error, degrees of freedom and p of each method, before any correction.
fn tested(reference: &[f64], others: &[Vec<f64>], resolution: f64) -> Vec<Paired> {
    let differences: Vec<Vec<f64>> = others
        .iter()
        .map(|own| own.iter().zip(reference).map(|(own, base)| own - base).collect())
        .collect();
    let seeds = differences.iter().map(Vec::len).min().unwrap_or(0);
    let variances = match seeds {
        0 | 1 => Vec::new(),
        _ => variances(reference, others, &differences, resolution.powi(2) / 12.0),
    };
    differences
        .into_iter()
        .enumerate()
        .map(|(at, differences)| {
            let mean = mean(&differences);
            let known = variances.get(at).copied();
            let error = known.map(|(variance, _)| (variance / differences.len() as f64).sqrt());
            let p = known.zip(error).map(|((_, degrees), error)| {
                let t = if mean == 0.0 { 0.0 } else { mean.abs() / error };
                student_tail(degrees, t)
            });
            Paired {
                differences,
                mean,
                standard_error: error,
                degrees: known.map(|(_, degrees)| degrees),
                p,
                corrected_p: None,
                margin: None,
                interval: None,
                bootstrap: None,
                per_image: None,
                needed: None,
                verdict: Verdict::NoEvidence,
            }
        })
        .collect()
}

/// Variance and degrees of freedom of each method's difference at one seed; `rounding` is the variance
/// that rounding alone gives a student.
fn variances(
    reference: &[f64],
    others: &[Vec<f64>],
    differences: &[Vec<f64>],
    rounding: f64,
) -> Vec<(f64, f64)> {
    let degrees = (reference.len() - 1) as f64;
    let methods = others.len() as f64;
    let rounding = rounding.max(LEAST_VARIANCE);
    let square = |own: &Vec<f64>| deviation(own).unwrap_or(0.0).powi(2).max(2.0 * rounding);
    let own: Vec<f64> = differences.iter().map(square).collect();
    if own.len() == 1 {
        return vec![(own[0], degrees)];
    }
    let blocks = block_variances(reference, others, rounding);
    let (paired_prior, prior) =
        (Prior::of(&own, degrees, CAUTION), Prior::of(&blocks, degrees, CAUTION));
    let base = prior.moderate(blocks[0], degrees).max(blocks[0]);
    let known = (prior.degrees + degrees).min(methods * degrees);
    own.iter()
        .zip(&blocks[1..])
        .map(|(&variance, &block)| {
            let student = prior.moderate(block, degrees);
            let sum = student + base;
            let satterthwaite = sum.powi(2) / (student.powi(2) / known + base.powi(2) / degrees);
            let largest = variance.max(paired_prior.moderate(variance, degrees)).max(sum);
            (largest, satterthwaite.min(methods * degrees))
        })
        .collect()
}

/// Variance of each student, the reference first, when what a seed does to all alike is taken out.
fn block_variances(reference: &[f64], others: &[Vec<f64>], rounding: f64) -> Vec<f64> {
    let students: Vec<&[f64]> =
        std::iter::once(reference).chain(others.iter().map(Vec::as_slice)).collect();
    let count = students.len() as f64;
    let seeds: Vec<f64> = (0..reference.len())
        .map(|seed| students.iter().map(|own| own[seed]).sum::<f64>() / count)
        .collect();
    let whole = mean(&seeds);
    let variance = |own: &&[f64]| {
        let middle = mean(own);
        let rest = own.iter().zip(&seeds).map(|(y, seed)| (y - middle - seed + whole).powi(2));
        let scaled = rest.sum::<f64>() / (seeds.len() - 1) as f64 * count / (count - 1.0);
        scaled.max(rounding)
    };
    students.iter().map(variance).collect()
}

#[cfg(test)]
mod tests;
