//! Ranks as threads of one process.

use std::any::Any;
use std::fmt::{self, Display};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::comm::Comm;
use crate::error::{CommError, Result};

/// One of several threads of this process that are the ranks of a training.
///
/// Ranks that compute in a pool of threads need one each: a rank that waits in a shared pool would
/// hold up the work of the rank that it waits for.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use faculty_comm::{Comm as _, CommError, Threads};
///
/// let sums = Threads::run(3, Duration::from_secs(60), |rank| {
///     let mut values = [rank.rank() as f64, 1.0];
///     rank.sum_f64(&mut values)?;
///     Ok::<_, CommError>(values)
/// });
/// assert!(sums.into_iter().all(|own| own.unwrap() == [3.0, 3.0]));
/// ```
#[derive(Clone, Debug)]
pub struct Threads {
    rank: usize,
    table: Arc<Table>,
}

/// How a rank of [`Threads::run`] ended, if not well.
#[derive(Debug)]
pub enum Failed<E> {
    /// With an error.
    Error(E),
    /// With a panic, of this message.
    Panic(String),
}

impl<E: Display> Display for Failed<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => error.fmt(f),
            Self::Panic(message) => write!(f, "panic: {message}"),
        }
    }
}

/// A network that [`Threads`] pretend to have between them.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    /// From one rank to another.
    pub latency: Duration,
    /// Of each rank, in each direction.
    pub bytes_per_second: f64,
}

impl Network {
    /// Time of one operation over so many bytes a rank among `size` ranks, by the faster of two ways: a
    /// ring, in which each rank sends and gets `2 (size - 1) / size` of its bytes in `2 (size - 1)`
    /// messages, for many bytes; all of them in `log2 size` exchanges for few.
    #[must_use]
    pub fn time(&self, bytes: usize, size: usize) -> Duration {
        let latency = self.latency.as_secs_f64();
        let whole = bytes as f64 / self.bytes_per_second;
        let steps = 2.0 * (size as f64 - 1.0);
        let ring = steps * (latency + whole / size as f64);
        let exchanges = (size as f64).log2().ceil() * (latency + whole);
        Duration::from_secs_f64(ring.min(exchanges))
    }
}

/// Where the ranks lay down what they have.
#[derive(Debug)]
struct Table {
    size: usize,
    limit: Duration,
    network: Option<Network>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// Operations that came about.
    done: u64,
    /// What lies here for the next one, by rank.
    laid: Vec<Option<Message>>,
    /// What was laid down for the last one. It cannot be replaced before all ranks have read it,
    /// since the next operation needs all of them.
    last: Arc<[Message]>,
    /// Ranks that came to their end.
    left: Vec<bool>,
    failed: Option<CommError>,
}

#[derive(Clone, Debug)]
enum Message {
    Sum32(Vec<f32>),
    Sum64(Vec<f64>),
    Max(u64),
    Rows(Vec<f32>),
    Bytes(usize, Vec<u8>),
    Barrier,
}

impl Message {
    /// What all ranks must have in common, in words.
    fn kind(&self) -> String {
        match self {
            Self::Sum32(values) => format!("sums {} values of f32", values.len()),
            Self::Sum64(values) => format!("sums {} values of f64", values.len()),
            Self::Max(_) => "asks for the largest value".to_owned(),
            Self::Rows(_) => "gathers rows".to_owned(),
            Self::Bytes(root, _) => format!("gets bytes of rank {root}"),
            Self::Barrier => "waits for all".to_owned(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Sum32(values) | Self::Rows(values) => size_of_val(&values[..]),
            Self::Sum64(values) => size_of_val(&values[..]),
            Self::Max(_) => 8,
            Self::Bytes(_, bytes) => bytes.len(),
            Self::Barrier => 0,
        }
    }
}

impl Threads {
    /// Runs `work` on so many threads, at least 1, each with its rank; gives what came of each, by
    /// rank. When one fails or panics, all others that wait for it get [`CommError::RankFailed`]; when
    /// one does not come to an operation within `limit`, they get [`CommError::Late`].
    pub fn run<T: Send, E: Send + Display>(
        size: usize,
        limit: Duration,
        work: impl Fn(Self) -> std::result::Result<T, E> + Sync,
    ) -> Vec<std::result::Result<T, Failed<E>>> {
        Self::run_on(size, limit, None, work)
    }

    /// The same with a network between the ranks: every operation takes [`Network::time`] longer.
    #[expect(clippy::missing_panics_doc, reason = "panics of `work` are caught")]
    pub fn run_on<T: Send, E: Send + Display>(
        size: usize,
        limit: Duration,
        network: Option<Network>,
        work: impl Fn(Self) -> std::result::Result<T, E> + Sync,
    ) -> Vec<std::result::Result<T, Failed<E>>> {
        let size = size.max(1);
        let table = Arc::new(Table::new(size, limit, network));
        let one = |rank: usize| {
            let own = Self { rank, table: Arc::clone(&table) };
            let result = catch_unwind(AssertUnwindSafe(|| work(own)));
            let result = match result {
                Ok(result) => result.map_err(Failed::Error),
                Err(payload) => Err(Failed::Panic(panic_message(payload.as_ref()))),
            };
            table.leave(rank, result.as_ref().err().map(ToString::to_string));
            result
        };
        std::thread::scope(|scope| {
            let one = &one;
            let threads: Vec<_> = (0..size).map(|rank| scope.spawn(move || one(rank))).collect();
            let ended = threads.into_iter();
            ended.map(|thread| thread.join().expect("panics are caught inside")).collect()
        })
    }

    fn exchange(&self, own: Message) -> Result<Arc<[Message]>> {
        let bytes = own.bytes();
        let all = self.table.exchange(self.rank, own)?;
        if let Some(network) = self.table.network {
            std::thread::sleep(network.time(bytes, self.table.size));
        }
        Ok(all)
    }
}

impl Comm for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.table.size
    }

    fn sum_f32(&self, values: &mut [f32]) -> Result<()> {
        let all = self.exchange(Message::Sum32(values.to_vec()))?;
        values.fill(0.0);
        for message in &*all {
            if let Message::Sum32(more) = message {
                values.iter_mut().zip(more).for_each(|(sum, value)| *sum += value);
            }
        }
        Ok(())
    }

    fn sum_f64(&self, values: &mut [f64]) -> Result<()> {
        let all = self.exchange(Message::Sum64(values.to_vec()))?;
        values.fill(0.0);
        for message in &*all {
            if let Message::Sum64(more) = message {
                values.iter_mut().zip(more).for_each(|(sum, value)| *sum += value);
            }
        }
        Ok(())
    }

    fn max(&self, value: u64) -> Result<u64> {
        let all = self.exchange(Message::Max(value))?;
        let values = all.iter().map(|message| match message {
            Message::Max(value) => *value,
            _ => 0,
        });
        Ok(values.max().unwrap_or(value))
    }

    fn gather(&self, rows: &[f32]) -> Result<Vec<f32>> {
        let all = self.exchange(Message::Rows(rows.to_vec()))?;
        let rows = all.iter().map(|message| match message {
            Message::Rows(rows) => rows.as_slice(),
            _ => &[],
        });
        Ok(rows.flatten().copied().collect())
    }

    fn broadcast(&self, root: usize, bytes: &mut Vec<u8>) -> Result<()> {
        let own = if self.rank == root { std::mem::take(bytes) } else { Vec::new() };
        let all = self.exchange(Message::Bytes(root, own))?;
        if let Some(Message::Bytes(_, sent)) = all.get(root) {
            bytes.clone_from(sent);
        }
        Ok(())
    }

    fn barrier(&self) -> Result<()> {
        self.exchange(Message::Barrier).map(drop)
    }
}

impl Table {
    fn new(size: usize, limit: Duration, network: Option<Network>) -> Self {
        let state = State {
            done: 0,
            laid: vec![None; size],
            last: Arc::new([]),
            left: vec![false; size],
            failed: None,
        };
        Self { size, limit, network, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// A thread that panics while it holds the lock leaves the state as it is, which is whole between
    /// any two lines below.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lays down what a rank has, and gives what all have once they have come.
    fn exchange(&self, rank: usize, own: Message) -> Result<Arc<[Message]>> {
        let size = self.size;
        let mut state = self.state();
        let number = state.done;
        if state.failed.is_none() {
            state.laid[rank] = Some(own);
            if state.laid.iter().all(Option::is_some) {
                let all: Vec<Message> = state.laid.iter_mut().filter_map(Option::take).collect();
                match first_mismatch(&all) {
                    Some(error) => state.failed = Some(error),
                    None => {
                        state.last = all.into();
                        state.done += 1;
                    }
                }
                self.changed.notify_all();
            }
        }
        let deadline = Instant::now() + self.limit;
        loop {
            if state.done > number {
                return Ok(Arc::clone(&state.last));
            }
            if let Some(error) = &state.failed {
                return Err(error.clone());
            }
            if let Some(rank) = (0..size).find(|&rank| state.left[rank]) {
                state.failed = Some(CommError::RankLeft { rank, size });
                self.changed.notify_all();
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let missing = (0..size).filter(|&rank| state.laid[rank].is_none()).collect();
                state.failed = Some(CommError::Late { missing, size, limit: self.limit });
                self.changed.notify_all();
                continue;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// A rank is at its end.
    fn leave(&self, rank: usize, message: Option<String>) {
        let mut state = self.state();
        state.left[rank] = true;
        if let Some(message) = message {
            let error = CommError::RankFailed { rank, size: self.size, message };
            state.failed.get_or_insert(error);
        }
        self.changed.notify_all();
    }
}

/// Of the messages of one operation, by rank.
fn first_mismatch(all: &[Message]) -> Option<CommError> {
    let expected = all.first()?.kind();
    let rank = all.iter().position(|message| message.kind() != expected)?;
    let found = all[rank].kind();
    Some(CommError::Mismatch { rank, size: all.len(), found, expected })
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests;
