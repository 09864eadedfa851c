//! How much memory a file justifies. What compression makes of a few bytes has no bound of its own:
//! a bomb of some kilobytes would fill any machine.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

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

/// Bytes of the pictures that all threads decode at a time: with many cores a few bombs would
/// otherwise fill the memory together.
const AT_A_TIME: u64 = 256 << 20;

/// Runs `work`, which holds `bytes`, as soon as the others' work leaves room; what is larger than
/// all room runs alone.
pub(crate) fn in_turn<R>(bytes: u64, work: impl FnOnce() -> R) -> R {
    static HELD: Mutex<u64> = Mutex::new(0);
    static FREED: Condvar = Condvar::new();
    fn held<'a>() -> MutexGuard<'a, u64> {
        HELD.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Gives back also when a decoder panics.
    struct Turn(u64);
    impl Drop for Turn {
        fn drop(&mut self) {
            *held() -= self.0;
            FREED.notify_all();
        }
    }
    let bytes = bytes.min(AT_A_TIME);
    let mut sum = held();
    while *sum + bytes > AT_A_TIME {
        sum = FREED.wait(sum).unwrap_or_else(PoisonError::into_inner);
    }
    *sum += bytes;
    drop(sum);
    let _turn = Turn(bytes);
    work()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_decoded_at_a_time_stays_in_bounds_even_after_a_panic() {
        let (now, most) = (AtomicU64::new(0), AtomicU64::new(0));
        let share = AT_A_TIME / 3;
        std::thread::scope(|scope| {
            for index in 0..16 {
                let (now, most) = (&now, &most);
                scope.spawn(move || {
                    let bytes = if index == 3 { 9 * AT_A_TIME } else { share };
                    let work = || {
                        let running = now.fetch_add(1, Ordering::SeqCst) + 1;
                        most.fetch_max(running, Ordering::SeqCst);
                        std::thread::yield_now();
                        now.fetch_sub(1, Ordering::SeqCst);
                        assert_ne!(index, 5, "one decoder panics");
                    };
                    let work = std::panic::AssertUnwindSafe(|| in_turn(bytes, work));
                    assert_eq!(std::panic::catch_unwind(work).is_err(), index == 5);
                });
            }
        });
        assert!(most.load(Ordering::SeqCst) <= 3);
        in_turn(u64::MAX, || {});
    }

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
