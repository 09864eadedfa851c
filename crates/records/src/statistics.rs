//! Paired differences over few seeds: how large, how sure, and a verdict in words.
//!
//! ```text
//! d_i    = accuracy(method, seed i) - accuracy(reference, seed i)        i = 1..n
//! e      = max(deviation(d), r / sqrt 6) / sqrt n                        r = one sample, in points
//! p      = P(|T_{n-1}| > |mean d| / e)                                   Student's t, two-sided
//! Holm   : m comparisons, p_(1) <= p_(2) <= ..; p_(k) is significant when p_(j) <= 0.05 / (m - j + 1)
//!          for all j <= k
//! ```
//! With 3 to 5 seeds a percentile bootstrap is far too sure (it cannot leave the range of the
//! differences seen), so the verdict is by Student's t; the bootstrap's interval is given beside it.
//! Accuracies are counts, so equal differences are no proof that nothing varies: the deviation is at
//! least that of rounding two counts, `r / sqrt 6`.

use faculty_random::{Purpose, below, draw};
use serde::{Deserialize, Serialize};

/// Chance of a wrong verdict among all comparisons together, when no method differs.
pub const SIGNIFICANCE: f64 = 0.05;

/// Resamples of the bootstrap.
const RESAMPLES: usize = 10_000;

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

/// Both ends of an interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
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
    /// Two-sided p of Student's t, not corrected; none with one seed.
    pub p: Option<f64>,
    /// `p` corrected for the number of comparisons by Holm's rule.
    pub corrected_p: Option<f64>,
    /// Half the width of [`Paired::interval`].
    pub margin: Option<f64>,
    /// Interval by Student's t at the level of this method's step of Holm's rule; 0 lies outside of
    /// it exactly when the verdict is not "no evidence".
    pub interval: Option<Interval>,
    /// Percentile bootstrap, 95 %, not corrected: too narrow with few seeds.
    pub bootstrap: Option<Interval>,
    /// What follows.
    pub verdict: Verdict,
}

impl Paired {
    /// `helps: +0.80 ± 0.20 over aver`, `no evidence (+0.10 ± 0.50)`
    #[must_use]
    pub fn words(&self, reference: &str) -> String {
        let mean = self.mean;
        let Some(margin) = self.margin else {
            return format!("no evidence ({mean:+.2} on one seed)");
        };
        match self.verdict {
            Verdict::Helps => format!("helps: {mean:+.2} ± {margin:.2} over {reference}"),
            Verdict::Hurts => format!("hurts: {mean:+.2} ± {margin:.2} under {reference}"),
            Verdict::NoEvidence => format!("no evidence ({mean:+.2} ± {margin:.2})"),
        }
    }
}

/// Compares several methods with one reference. `families[m]` holds the differences of method m,
/// one a seed; `resolution` is the smallest difference that can be seen (one sample, in points).
#[must_use]
pub fn compare_paired(families: &[Vec<f64>], resolution: f64) -> Vec<Paired> {
    let mut all = by_student(families, resolution);
    for own in all.iter_mut().filter(|own| own.differences.len() > 1) {
        own.bootstrap = Some(bootstrap(&own.differences));
    }
    all
}

/// [`compare_paired`] without the bootstrap, which is slow and decides nothing.
fn by_student(families: &[Vec<f64>], resolution: f64) -> Vec<Paired> {
    let mut all: Vec<Paired> =
        families.iter().map(|differences| alone(differences, resolution)).collect();
    let mut order: Vec<usize> = (0..all.len()).filter(|&at| all[at].p.is_some()).collect();
    let p = |own: &Paired| own.p.unwrap_or(1.0);
    order.sort_by(|&a, &b| p(&all[a]).total_cmp(&p(&all[b])));
    let count = order.len();
    let (mut corrected, mut failed) = (0.0_f64, None);
    for (step, &at) in order.iter().enumerate() {
        let own = &mut all[at];
        let factor = (count - step) as f64;
        corrected = corrected.max((p(own) * factor).min(1.0));
        own.corrected_p = Some(corrected);
        // After the first that is not significant none is, at that one's level.
        let level = failed.unwrap_or(SIGNIFICANCE / factor);
        let significant = failed.is_none() && p(own) <= level;
        if !significant {
            failed = Some(level);
        }
        if let Some(error) = own.standard_error {
            let margin = student_quantile(own.differences.len() - 1, level) * error;
            own.margin = Some(margin);
            own.interval = Some(Interval { low: own.mean - margin, high: own.mean + margin });
        }
        own.verdict = match significant {
            true if own.mean > 0.0 => Verdict::Helps,
            true => Verdict::Hurts,
            false => Verdict::NoEvidence,
        };
    }
    all
}

/// Before any correction.
fn alone(differences: &[f64], resolution: f64) -> Paired {
    let count = differences.len();
    let middle = mean(differences);
    let error = (count > 1).then(|| {
        let least = resolution / 6.0_f64.sqrt();
        deviation(differences).unwrap_or(0.0).max(least) / (count as f64).sqrt()
    });
    let p = error.map(|error| {
        // Without resolution nothing may vary: then any difference is certain.
        let t = if middle == 0.0 { 0.0 } else { middle.abs() / error };
        student_tail(count - 1, t)
    });
    Paired {
        differences: differences.to_vec(),
        mean: middle,
        standard_error: error,
        p,
        corrected_p: None,
        margin: None,
        interval: None,
        bootstrap: None,
        verdict: Verdict::NoEvidence,
    }
}

/// Mean; 0 of nothing.
#[must_use]
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Deviation of the values that these are a sample of; none of fewer than two.
#[must_use]
pub fn deviation(values: &[f64]) -> Option<f64> {
    let middle = mean(values);
    let squares: f64 = values.iter().map(|value| (value - middle).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (values.len() - 1) as f64).sqrt())
}

/// Percentile bootstrap of the mean, 95 %; the same values give the same interval.
fn bootstrap(values: &[f64]) -> Interval {
    let count = values.len();
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|resample| {
            let one = |k: usize| {
                let random = draw(Purpose::Method, 0, resample as u64, k as u64, 0);
                values[below(random, count as u64) as usize]
            };
            (0..count).map(one).sum::<f64>() / count as f64
        })
        .collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[((RESAMPLES - 1) as f64 * share).round() as usize];
    Interval { low: at(0.025), high: at(0.975) }
}

/// P(|T| > t) of Student's t, by the finite series for whole degrees of freedom (Abramowitz,
/// Stegun, 26.7.3 and 26.7.4). Its error is that of adding up `degrees / 2` terms below 1, about
/// 1e-15: small beside any level in use.
fn student_tail(degrees: usize, t: f64) -> f64 {
    if t.is_infinite() {
        return 0.0;
    }
    let angle = (t / (degrees as f64).sqrt()).atan();
    let (sine, cosine) = angle.sin_cos();
    let odd = degrees % 2 == 1;
    let (mut term, mut sum) = if odd { (cosine, 0.0) } else { (1.0, 0.0) };
    let first = if odd { 3 } else { 2 };
    for k in (first..=degrees).step_by(2) {
        sum += term;
        term *= cosine * cosine * (k - 1) as f64 / k as f64;
    }
    let inside = if odd { (angle + sine * sum) * std::f64::consts::FRAC_2_PI } else { sine * sum };
    (1.0 - inside).clamp(0.0, 1.0)
}

/// The t that is exceeded on both sides together with chance `level`.
fn student_quantile(degrees: usize, level: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while student_tail(degrees, high) > level && high < 1e12 {
        high *= 2.0;
    }
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if student_tail(degrees, middle) > level { low = middle } else { high = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Normally distributed, a function of its arguments (Box, Muller).
    fn normal(case: u64, method: u64, seed: u64) -> f64 {
        let unit =
            |k| faculty_random::unit(draw(Purpose::Method, 77, case, method * 1000 + seed, k));
        let radius = (-2.0 * (1.0 - unit(0)).ln()).sqrt();
        radius * (std::f64::consts::TAU * unit(1)).cos()
    }

    /// Of `total` simulated comparisons of `methods` methods over `seeds` seeds, the share in which
    /// `count` holds, percent. Differences have deviation 1 and mean `gap`.
    fn share(
        total: u64,
        (seeds, methods): (u64, u64),
        gap: f64,
        count: impl Fn(&[Paired]) -> bool,
    ) -> f64 {
        let cases = (0..total).filter(|&case| {
            let own = |method| (0..seeds).map(|s| gap + normal(case, method, s)).collect();
            let families: Vec<Vec<f64>> = (0..methods).map(own).collect();
            count(&by_student(&families, 0.01))
        });
        100.0 * cases.count() as f64 / total as f64
    }

    fn any(all: &[Paired]) -> bool {
        all.iter().any(|own| own.verdict != Verdict::NoEvidence)
    }

    #[test]
    fn two_equal_methods_give_no_evidence_in_95_of_100_cases() {
        for seeds in [2, 3, 5, 10] {
            // 5 %, and 4 deviations of 10,000 cases to either side.
            let wrong = share(10_000, (seeds, 1), 0.0, any);
            assert!((4.1..=5.9).contains(&wrong), "{seeds} seeds: {wrong} %");
        }
    }

    #[test]
    fn any_wrong_verdict_among_ten_equal_methods_is_as_rare() {
        for seeds in [3, 5] {
            // 1 - 0.995^10 = 4.9 % of independent methods.
            let wrong = share(10_000, (seeds, 10), 0.0, any);
            assert!((4.0..=5.8).contains(&wrong), "{seeds} seeds: {wrong} %");
        }
    }

    #[test]
    fn a_gap_of_two_deviations_is_found() {
        let is = |verdict| move |all: &[Paired]| all[0].verdict == verdict;
        // One comparison of 5 seeds: noncentrality 2 sqrt 5, power 0.91.
        let found = share(1000, (5, 1), 2.0, is(Verdict::Helps));
        assert!(found > 88.0, "{found} %");
        assert!(share(1000, (5, 1), 2.0, is(Verdict::Hurts)) < 0.2);
        assert!(share(1000, (5, 1), -2.0, is(Verdict::Hurts)) > 88.0);
        // Corrected for four methods, more seeds are needed.
        assert!(share(1000, (8, 4), 2.0, is(Verdict::Helps)) > 90.0);
    }

    #[test]
    fn the_bootstrap_is_too_sure_of_few_seeds() {
        // Why the verdict is not by the bootstrap.
        let misses = |all: &[Paired]| {
            let Interval { low, high } = bootstrap(&all[0].differences);
            low > 0.0 || high < 0.0
        };
        assert!(share(1000, (3, 1), 0.0, misses) > 12.0);
    }

    #[test]
    fn student_is_that_of_tables() {
        let cases = [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (30, 2.042)];
        for (degrees, expected) in cases {
            assert!((student_quantile(degrees, 0.05) - expected).abs() < 6e-4, "{degrees}");
        }
        assert!((student_quantile(4, 0.01) - 4.604).abs() < 6e-4);
        assert!((student_tail(4, 2.0) - 0.116_117).abs() < 1e-6);
        assert_eq!(student_tail(3, 0.0), 1.0);
    }

    #[test]
    fn holm_corrects_by_rank_and_intervals_say_what_verdicts_say() {
        let families = vec![
            vec![1.0, 1.1, 0.9, 1.0, 1.05],
            vec![0.5, 0.9, 0.1, 0.6, 0.3],
            vec![0.1, -0.2, 0.3, -0.1, 0.0],
            vec![-2.0, -2.2, -2.1, -1.9, -2.0],
        ];
        let all = compare_paired(&families, 0.01);
        let verdicts: Vec<Verdict> = all.iter().map(|own| own.verdict).collect();
        use Verdict::{Helps, Hurts, NoEvidence};
        assert_eq!(verdicts, [Helps, Helps, NoEvidence, Hurts]);
        for own in &all {
            let Interval { low, high } = own.interval.unwrap();
            assert_eq!(own.verdict == NoEvidence, low <= 0.0 && 0.0 <= high, "{own:?}");
            assert!(own.corrected_p.unwrap() >= own.p.unwrap());
        }
        assert_eq!(all[2].corrected_p, all[2].p, "the last step is not corrected");
        let by_hand = all[1].p.unwrap() * 2.0;
        assert!((all[1].corrected_p.unwrap() - by_hand).abs() < 1e-15);
        assert!(all[0].words("aver").starts_with("helps: +1.01 ± 0.1"), "{}", all[0].words("aver"));
        assert!(all[2].words("aver").starts_with("no evidence (+0.02 ± "));
    }

    #[test]
    fn equal_runs_and_single_seeds_prove_nothing() {
        let own = &compare_paired(&[vec![0.0; 5]], 0.1)[0];
        assert_eq!((own.verdict, own.p), (Verdict::NoEvidence, Some(1.0)));
        let own = &compare_paired(&[vec![3.0]], 0.1)[0];
        assert_eq!((own.verdict, own.p, own.interval), (Verdict::NoEvidence, None, None));
        assert_eq!(own.words("ce"), "no evidence (+3.00 on one seed)");
        // Two seeds that differ by the same one sample.
        let own = &compare_paired(&[vec![0.1, 0.1]], 0.1)[0];
        assert_eq!(own.verdict, Verdict::NoEvidence);
    }

    #[test]
    fn the_same_differences_give_the_same_bootstrap_within_their_range() {
        let values = [0.3, -0.1, 0.7];
        let own = bootstrap(&values);
        assert_eq!(own, bootstrap(&values));
        assert!(own.low > -0.1001 && own.high < 0.7001 && own.low < own.high, "{own:?}");
    }
}
