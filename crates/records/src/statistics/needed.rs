//! How many seeds a gap takes.

use serde::{Deserialize, Serialize};

use super::special::student_quantile;

/// Chance of finding the gap that a number of seeds is to give.
const POWER: f64 = 0.8;

/// More seeds than this nobody trains.
const MOST_SEEDS: usize = 1000;

/// Seeds that a gap takes, to be found four times in five.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NeededSeeds {
    /// The gap, points, above 0.
    pub gap: f64,
    /// Seeds of each method; none if even a thousand are too few.
    pub seeds: Option<usize>,
}

/// Seeds for a gap of `gap` points with the scatter and at the level of a comparison over `seeds`
/// seeds, whose mean difference had the standard error `error` with `degrees` degrees of freedom.
///
/// ```text
/// gap >= (t_{level} + t_{0.2, one-sided}) sqrt(v / N),   v = error² seeds
/// ```
/// with degrees of freedom that grow as N - 1 does. The scatter is an estimate, so this is one.
#[must_use]
pub fn seeds_needed(gap: f64, error: f64, degrees: f64, seeds: usize, level: f64) -> NeededSeeds {
    let gap = gap.abs();
    let deviation = error * (seeds as f64).sqrt();
    let enough = |count: &usize| {
        let degrees = degrees * (count - 1) as f64 / (seeds.max(2) - 1) as f64;
        let quantiles =
            student_quantile(degrees, level) + student_quantile(degrees, 2.0 * (1.0 - POWER));
        quantiles * deviation <= gap * (*count as f64).sqrt()
    };
    // More seeds are never worse, so that the least is found by halving.
    let (mut low, mut high) = (1, MOST_SEEDS);
    if !enough(&high) {
        return NeededSeeds { gap, seeds: None };
    }
    while high - low > 1 {
        let middle = usize::midpoint(low, high);
        if enough(&middle) { high = middle } else { low = middle }
    }
    NeededSeeds { gap, seeds: Some(high) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_of_two_deviations_takes_five_seeds() {
        // One comparison: power 0.8 at noncentrality 2 sqrt 5 is passed, at 2 sqrt 4 it is not.
        let own = seeds_needed(-2.0, 1.0 / 3.0_f64.sqrt(), 2.0, 3, 0.05);
        assert_eq!(own, NeededSeeds { gap: 2.0, seeds: Some(5) });
    }

    #[test]
    fn smaller_gaps_take_more_and_no_gap_takes_too_many() {
        let of = |gap| seeds_needed(gap, 0.5, 4.0, 4, 0.05).seeds;
        assert!(of(0.5) > of(1.0) && of(1.0) > of(4.0));
        // (1.96 + 0.84)² / 0.1² = 785
        assert_eq!(of(0.1).map(|own| own / 10), Some(78));
        assert_eq!(of(0.0), None);
    }
}
