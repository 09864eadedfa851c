//! A [`Comm`] whose first error stays.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::alone::Alone;
use crate::comm::Comm;
use crate::error::{CommError, Result};

/// A handle on the ranks that many parts of a step share. Operations deep inside a step, such as the
/// sums of a batch norm, cannot return an error: after one, [`Group::sum`] leaves its values as they
/// are and waits for nobody, and [`Group::check`] tells at the step's end.
#[derive(Clone, Debug)]
pub struct Group(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    comm: Box<dyn Comm>,
    failed: OnceLock<CommError>,
    /// Nanoseconds in operations.
    spent: AtomicU64,
}

impl Default for Group {
    fn default() -> Self {
        Self::new(Alone)
    }
}

impl Group {
    /// Of these ranks.
    pub fn new(comm: impl Comm + 'static) -> Self {
        let (failed, spent) = (OnceLock::new(), AtomicU64::new(0));
        Self(Arc::new(Shared { comm: Box::new(comm), failed, spent }))
    }

    /// As [`Comm::rank`].
    #[must_use]
    pub fn rank(&self) -> usize {
        self.0.comm.rank()
    }

    /// As [`Comm::size`].
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.comm.size()
    }

    /// Whether there is no other rank.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.size() == 1
    }

    /// Whether this rank writes files and tells of the run.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// As [`Comm::sum_f64`]; the error stays.
    pub fn sum(&self, values: &mut [f64]) {
        let _ = self.run(|comm| comm.sum_f64(values));
    }

    /// As [`Comm::sum_f32`]; the error stays.
    pub fn sum_f32(&self, values: &mut [f32]) {
        let _ = self.run(|comm| comm.sum_f32(values));
    }

    /// The first error of an operation so far.
    ///
    /// # Errors
    /// That one.
    pub fn check(&self) -> Result<()> {
        self.0.failed.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// As [`Comm::max`].
    ///
    /// # Errors
    /// As there, and when an earlier operation failed.
    pub fn max(&self, value: u64) -> Result<u64> {
        self.run(|comm| comm.max(value))
    }

    /// As [`Comm::gather`].
    ///
    /// # Errors
    /// As [`Group::max`].
    pub fn gather(&self, rows: &[f32]) -> Result<Vec<f32>> {
        self.run(|comm| comm.gather(rows))
    }

    /// As [`Comm::broadcast`].
    ///
    /// # Errors
    /// As [`Group::max`].
    pub fn broadcast(&self, root: usize, bytes: &mut Vec<u8>) -> Result<()> {
        self.run(|comm| comm.broadcast(root, bytes))
    }

    /// As [`Comm::barrier`].
    ///
    /// # Errors
    /// As [`Group::max`].
    pub fn barrier(&self) -> Result<()> {
        self.run(|comm| comm.barrier())
    }

    /// What the first rank that has a text says, for all ranks; none where none has.
    ///
    /// # Errors
    /// As [`Group::max`].
    pub fn first_text(&self, own: Option<&str>) -> Result<Option<String>> {
        // The lowest rank has the largest value.
        let from_the_end = own.map_or(0, |_| (self.size() - self.rank()) as u64);
        let most = self.max(from_the_end)?;
        if most == 0 {
            return Ok(None);
        }
        let root = self.size() - usize::try_from(most).unwrap_or(self.size());
        let mut bytes = own.unwrap_or_default().as_bytes().to_vec();
        self.broadcast(root, &mut bytes)?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Time in operations so far, the waiting for other ranks included.
    #[must_use]
    pub fn spent(&self) -> Duration {
        Duration::from_nanos(self.0.spent.load(Ordering::Relaxed))
    }

    fn run<T>(&self, work: impl FnOnce(&dyn Comm) -> Result<T>) -> Result<T> {
        self.check()?;
        let started = Instant::now();
        let result = work(self.0.comm.as_ref());
        let nanos = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.0.spent.fetch_add(nanos, Ordering::Relaxed);
        result.inspect_err(|error| {
            // The first one stays; a later one follows from it.
            let _ = self.0.failed.set(error.clone());
        })
    }
}
