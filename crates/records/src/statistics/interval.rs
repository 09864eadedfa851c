//! Two ends.

use serde::{Deserialize, Serialize};

/// Both ends of an interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

impl Interval {
    /// From end to end.
    #[must_use]
    pub fn width(self) -> f64 {
        self.high - self.low
    }
}
