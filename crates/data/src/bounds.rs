//! How much memory a file justifies. What compression makes of a few bytes has no bound of its own:
//! a bomb of some kilobytes would fill any machine.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::DataError;

/// Decoded bytes for one stored byte; photographs have 20, drawings in flat colours about 100.
const MOST_RATIO: u64 = 128;
/// Sizes up to which the ratio does not matter: those of one picture, and of a data set.
pub(crate) const OF_A_PICTURE: u64 = 64 << 20;
pub(crate) const OF_A_DATASET: u64 = 1 << 30;

/// Refuses `decoded` bytes from `stored` ones if they are more than any real file gives.
pub(crate) fn check_justified(
    path: &Path,
    stored: u64,
    decoded: u64,
    free: u64,
) -> Result<(), DataError> {
    if decoded <= free.max(stored.saturating_mul(MOST_RATIO)) {
        return Ok(());
    }
    Err(DataError::Bomb { path: path.to_owned(), stored, decoded })
}

/// What the pictures of a part take together.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    stored: AtomicU64,
    decoded: AtomicU64,
}

impl Budget {
    /// Counts the bytes of a file before what is in it.
    pub(crate) fn store(&self, bytes: u64) {
        self.stored.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts pixels that were decoded from `path`.
    pub(crate) fn decode(&self, path: &Path, bytes: u64) -> Result<(), DataError> {
        let before = self.decoded.fetch_add(bytes, Ordering::Relaxed);
        let stored = self.stored.load(Ordering::Relaxed);
        check_justified(path, stored, before.saturating_add(bytes), OF_A_DATASET)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_files_pass_and_bombs_do_not() {
        let path = Path::new("x");
        let of = |stored, decoded| check_justified(path, stored, decoded, OF_A_PICTURE);
        assert!(of(1, OF_A_PICTURE).is_ok());
        assert!(of(10 << 20, 1 << 30).is_ok());
        assert!(matches!(of(1 << 10, OF_A_PICTURE + 1), Err(DataError::Bomb { .. })));
        let budget = Budget::default();
        budget.store(100);
        assert!(budget.decode(path, OF_A_DATASET).is_ok());
        assert!(budget.decode(path, 1).is_err());
        budget.store(OF_A_DATASET / 64);
        assert!(budget.decode(path, 1).is_ok());
    }
}
