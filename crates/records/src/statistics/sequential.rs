//! Going on until the seeds tell enough, without fooling oneself.
//!
//! Whoever looks after every seed and stops when he likes what he sees is wrong far more often than 5 %.
//! So a comparison that goes on looks at planned numbers of seeds, and spends its chance of a wrong
//! verdict over the looks (alpha spending; Lan, DeMets, "Discrete sequential boundaries for clinical
//! trials", Biometrika 70, 1983):
//!
//! ```text
//! seeds    3, 4, 6, 8, 11, 15, 20, ..                 each a third more than the last, rounded up
//! level_k  = level / (k (k + 1))                      k = 1, 2, ..: sums to level over all looks
//! ```
//! By the union bound intervals and verdicts of all looks together are wrong with chance `level` at
//! most, whatever decides when to stop: an interval that is narrow enough, a verdict, patience.

/// Seeds at the first look.
pub const FIRST_LOOK: usize = 3;

/// One look at a comparison that goes on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// From 1.
    pub number: usize,
    /// Seeds of each method.
    pub seeds: usize,
    /// Chance of any wrong verdict at this look.
    pub level: f64,
}

impl Look {
    /// All looks, which spend `level`.
    pub fn all(level: f64) -> impl Iterator<Item = Self> {
        let seeds = std::iter::successors(Some(FIRST_LOOK), |&own| Some((own * 4).div_ceil(3)));
        (1_usize..).zip(seeds).map(move |(number, seeds)| Self {
            number,
            seeds,
            level: level / (number * (number + 1)) as f64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_spend_the_level_and_no_more() {
        let looks: Vec<Look> = Look::all(0.05).take(60).collect();
        let seeds: Vec<usize> = looks[..7].iter().map(|own| own.seeds).collect();
        assert_eq!(seeds, [3, 4, 6, 8, 11, 15, 20]);
        let spent: f64 = looks.iter().map(|own| own.level).sum();
        assert!(spent < 0.05 && spent > 0.049, "{spent}");
    }
}
