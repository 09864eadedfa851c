//! What ranks do together.

use std::fmt::Debug;

use crate::error::Result;

/// The ranks of one training, seen from one of them.
///
/// Every method but [`Comm::rank`] and [`Comm::size`] is collective: all ranks call it, and it comes
/// back when all have. After an error the ranks no longer agree on anything, and every later call
/// fails too.
pub trait Comm: Debug + Send + Sync {
    /// This rank, from 0.
    fn rank(&self) -> usize;

    /// How many ranks there are, at least 1.
    fn size(&self) -> usize;

    /// Puts the sum over all ranks in the place of each value; all have equally many.
    ///
    /// # Errors
    /// When a rank is gone or does something else, as in all methods.
    fn sum_f32(&self, values: &mut [f32]) -> Result<()>;

    /// As [`Comm::sum_f32`].
    ///
    /// # Errors
    /// As there.
    fn sum_f64(&self, values: &mut [f64]) -> Result<()>;

    /// The largest of all ranks' values.
    ///
    /// # Errors
    /// As [`Comm::sum_f32`].
    fn max(&self, value: u64) -> Result<u64>;

    /// All ranks' rows behind one another in the order of the ranks, which may have different numbers
    /// of them; each rank gets all.
    ///
    /// # Errors
    /// As [`Comm::sum_f32`].
    fn gather(&self, rows: &[f32]) -> Result<Vec<f32>>;

    /// Replaces `bytes` by those of rank `root`.
    ///
    /// # Errors
    /// As [`Comm::sum_f32`].
    fn broadcast(&self, root: usize, bytes: &mut Vec<u8>) -> Result<()>;

    /// Comes back when all ranks are here.
    ///
    /// # Errors
    /// As [`Comm::sum_f32`].
    fn barrier(&self) -> Result<()>;
}
