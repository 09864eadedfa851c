//! This process among the ranks that a launcher started.

use std::io::Write as _;

use faculty_comm::{Comm, CommError};
use ferrompi::{Communicator, Mpi, ReduceOp, ThreadLevel};

type Result<T> = faculty_comm::Result<T>;

/// MPI while it is at work in this process; it ends when this is dropped, which waits for all ranks.
///
/// Sums are in a fixed order as far as the library adds in one: Open MPI and MPICH do for the same
/// number of ranks in the same places.
pub struct World {
    mpi: Mpi,
    world: Communicator,
}

impl World {
    /// Begins. Calls may then come from any thread, one at a time.
    ///
    /// # Errors
    /// When there is no MPI to begin with, it has begun before, or it allows one thread only.
    pub fn start() -> Result<Self> {
        let mpi = Mpi::init_thread(ThreadLevel::Serialized).map_err(library)?;
        if mpi.thread_level() < ThreadLevel::Serialized {
            return Err(CommError::Library(
                "the library was built without support for threads".to_owned(),
            ));
        }
        let world = mpi.world();
        Ok(Self { mpi, world })
    }

    /// This rank, for the parts of a training.
    #[must_use]
    pub fn rank(&self) -> Rank {
        Rank { world: self.mpi.world() }
    }

    /// Ends all ranks when this one panics, with its number and message on stderr: the others would
    /// wait for it for ever.
    pub fn abort_on_panic(&self) {
        let world = self.mpi.world();
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            before(panic);
            end_all(&world, &format!("panic: {panic}"), PANICKED);
        }));
    }

    /// Ends all ranks with this exit code, with the number of this one and `message` on stderr.
    pub fn end_all(&self, message: &str, code: i32) -> ! {
        end_all(&self.world, message, code)
    }
}

/// Exit code of a program of ours that panics, as Rust has it.
const PANICKED: i32 = 101;

fn end_all(world: &Communicator, message: &str, code: i32) -> ! {
    let (rank, size) = (world.rank(), world.size());
    // Nobody can be told that nobody can be told.
    let _ = writeln!(std::io::stderr(), "rank {rank} of {size}: {message}");
    world.abort(code)
}

/// One of the ranks.
pub struct Rank {
    world: Communicator,
}

impl std::fmt::Debug for Rank {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rank({} of {})", self.world.rank(), self.world.size())
    }
}

fn library(error: ferrompi::Error) -> CommError {
    CommError::Library(error.to_string())
}

fn count(number: i32) -> usize {
    usize::try_from(number).unwrap_or(0)
}

/// A count as MPI before version 4 has it.
fn small(number: usize) -> Result<i32> {
    i32::try_from(number)
        .map_err(|_| CommError::Library(format!("{number} values are too many for one message")))
}

/// Values of one message: counts are 31 bits wide in most libraries.
const MOST: usize = 1 << 28;

impl Comm for Rank {
    fn rank(&self) -> usize {
        count(self.world.rank())
    }

    fn size(&self) -> usize {
        count(self.world.size())
    }

    fn sum_f32(&self, values: &mut [f32]) -> Result<()> {
        let mut parts = values.chunks_mut(MOST);
        parts
            .try_for_each(|part| self.world.allreduce_inplace(part, ReduceOp::Sum))
            .map_err(library)
    }

    fn sum_f64(&self, values: &mut [f64]) -> Result<()> {
        let mut parts = values.chunks_mut(MOST);
        parts
            .try_for_each(|part| self.world.allreduce_inplace(part, ReduceOp::Sum))
            .map_err(library)
    }

    fn max(&self, value: u64) -> Result<u64> {
        self.world.allreduce_scalar(value, ReduceOp::Max).map_err(library)
    }

    fn gather(&self, rows: &[f32]) -> Result<Vec<f32>> {
        let mut counts = vec![0_u64; self.size()];
        counts[self.rank()] = rows.len() as u64;
        self.world.allreduce_inplace(&mut counts, ReduceOp::Sum).map_err(library)?;
        let counts = counts.iter().map(|&own| small(own as usize)).collect::<Result<Vec<i32>>>()?;
        let mut starts = Vec::with_capacity(counts.len());
        let mut len = 0;
        for &own in &counts {
            starts.push(small(len)?);
            len += count(own);
        }
        let mut all = vec![0.0; len];
        self.world.allgatherv(rows, &mut all, &counts, &starts).map_err(library)?;
        Ok(all)
    }

    fn broadcast(&self, root: usize, bytes: &mut Vec<u8>) -> Result<()> {
        let root = small(root)?;
        let mut len = [bytes.len() as u64];
        self.world.broadcast(&mut len, root).map_err(library)?;
        bytes.resize(len[0] as usize, 0);
        let mut parts = bytes.chunks_mut(MOST);
        parts.try_for_each(|part| self.world.broadcast(part, root)).map_err(library)
    }

    fn barrier(&self) -> Result<()> {
        self.world.barrier().map_err(library)
    }
}
