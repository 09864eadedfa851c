//! What seems to be wrong with a teacher, and when a better way to read it is much better.

use serde::{Deserialize, Serialize};

/// Something that seems to be wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspicion {
    /// What was seen.
    pub what: String,
    /// How to fix it.
    #[serde(alias = "mend")]
    pub fix: String,
}

impl std::fmt::Display for Suspicion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.what, self.fix)
    }
}

/// Whether another way to read a teacher is much better than the given one on the same samples, of
/// which it makes `gained` right that were wrong and `lost` wrong that were right: by at least 5
/// points, and by at least 3 standard errors of the difference (McNemar's; about ten ways are
/// tried, so 2 would cry wolf).
pub(crate) fn much_better(gained: usize, lost: usize, samples: usize) -> bool {
    let net = gained as f64 - lost as f64;
    net >= 0.05 * samples as f64 && net > 0.0 && net >= 3.0 * ((gained + lost) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn much_better_needs_points_and_certainty() {
        assert!(much_better(60, 0, 1000));
        assert!(!much_better(49, 0, 1000), "under 5 points");
        assert!(!much_better(300, 240, 1000), "2.6 standard errors");
        assert!(much_better(400, 300, 1000));
        assert!(!much_better(8, 0, 100), "2.8 standard errors");
        assert!(!much_better(0, 0, 0));
    }
}
