//! Batches of several ranks that are one batch to batch norm.

use faculty_comm::Group;

/// The ranks whose parts of a batch are normalised by the statistics of the whole batch.
#[derive(Clone, Debug, Default)]
pub struct Together {
    /// All of them; one alone by default.
    pub group: Group,
    /// Whether the samples of this rank do not count: it has none, and computes on some other one to
    /// take part in what all ranks do together.
    pub absent: bool,
}

impl Together {
    /// Whether there is no other rank.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.group.is_alone()
    }

    /// Puts the sums over all ranks that count in the place of each value.
    pub fn sum(&self, values: &mut [f64]) {
        if self.absent {
            values.fill(0.0);
        }
        self.group.sum(values);
    }
}
