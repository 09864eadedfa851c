//! The ranks of a training: processes that `mpirun` started together.
//!
//! The first one speaks; the others are silent unless something happens to them alone.

use std::fs;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use faculty_comm::{Group, Share};
use faculty_distill::Error;
use faculty_mpi::{BUILT_WITH_MPI, launched};

use crate::arguments::Command;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal;

/// How long a rank waits with its own error: most errors are those of all ranks, and the first one, which
/// tells them, ends all.
const FIRST_SPEAKS: Duration = Duration::from_secs(2);

static GROUP: OnceLock<Group> = OnceLock::new();

/// The ranks of this command; this process alone by default.
pub(crate) fn group() -> Group {
    GROUP.get().cloned().unwrap_or_default()
}

/// This rank's share of a work.
pub(crate) fn share() -> Share {
    let group = group();
    Share::new(group.rank(), group.size()).unwrap_or(Share::WHOLE)
}

/// What has to be ended together.
#[derive(Default)]
pub(crate) struct Ranks {
    #[cfg(feature = "mpi")]
    world: Option<faculty_mpi::World>,
}

/// Begins, where the command is one that several processes do together and a launcher started several.
pub(crate) fn start(command: &Command) -> Result<Ranks, Failure> {
    let together = match command {
        Command::Distill(_) | Command::Train(_) => true,
        Command::Cache(options) => {
            options.shard.is_whole() && options.verify.is_none() && !options.dry_run
        }
        _ => false,
    };
    let Some(size) = launched().filter(|size| together && *size > 1) else {
        return Ok(Ranks::default());
    };
    if !BUILT_WITH_MPI {
        return Err(Failure::Usage {
            what: format!("started {size} times, and this program was built without MPI"),
            hint:
                "build it with `cargo build --release --features mpi`, start it once, or give each \
                   process its `--shard`; see docs/scale.md"
                    .to_owned(),
        });
    }
    begin()
}

#[cfg(feature = "mpi")]
fn begin() -> Result<Ranks, Failure> {
    let world = faculty_mpi::World::start().map_err(Error::from)?;
    world.abort_on_panic();
    let group = GROUP.get_or_init(|| Group::new(world.rank()));
    if !group.is_first() {
        terminal::be_silent(true);
    }
    Ok(Ranks { world: Some(world) })
}

#[cfg(not(feature = "mpi"))]
fn begin() -> Result<Ranks, Failure> {
    Ok(Ranks::default())
}

impl Ranks {
    /// The exit code of this rank. What happened to it alone ends all others too.
    pub(crate) fn end(self, result: Result<(), Failure>) -> Exit {
        let failure = match result {
            Ok(()) => return Exit::Done,
            Err(failure) => failure,
        };
        let is_first = group().is_first();
        if !is_first && !is_of_all(&failure) {
            thread::sleep(FIRST_SPEAKS);
            terminal::be_silent(false);
        }
        let code = failure.report();
        #[cfg(feature = "mpi")]
        if let Some(world) = &self.world
            && !is_of_all(&failure)
            && code != Exit::Done
        {
            world.end_all("ends all others", code as i32);
        }
        code
    }
}

/// Whether all ranks end with this, so that nobody waits for anybody.
fn is_of_all(failure: &Failure) -> bool {
    let Failure::Run(error) = failure else { return false };
    matches!(
        **error,
        Error::Interrupted { .. }
            | Error::NotFinite { .. }
            | Error::TeacherBroke { .. }
            | Error::OneProcess { .. }
            | Error::ProcessesDiffer { .. }
    )
}

/// Threads for this rank: its part of the cores that it may use, as many as the recipe says if it says
/// so.
pub(crate) fn threads(requested: Option<usize>) -> Result<Option<usize>, Failure> {
    let group = group();
    if group.is_alone() {
        return Ok(requested);
    }
    let (mask, host) = (allowed_cores(), hostname());
    let own = format!("{host}\n{mask}");
    let mut sharing = 0;
    for rank in 0..group.size() {
        let mut text = own.clone().into_bytes();
        group.broadcast(rank, &mut text).map_err(Error::from)?;
        sharing += usize::from(text == own.as_bytes());
    }
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = requested.unwrap_or_else(|| part_of(cores, sharing));
    if threads * sharing > cores {
        eprintln!(
            "warning: {sharing} ranks of {threads} threads share {cores} cores of {host} and wait for \
             each other; start fewer, or bind them to other cores (docs/scale.md)"
        );
    }
    Ok(Some(threads))
}

/// Cores for each of `sharing` ranks.
fn part_of(cores: usize, sharing: usize) -> usize {
    (cores / sharing.max(1)).max(1)
}

/// The cores that this process may use, as the system writes them; nothing where it does not tell.
fn allowed_cores() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    line.unwrap_or_default().trim().to_owned()
}

fn hostname() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_share_cores_evenly_and_have_one_at_least() {
        assert_eq!([1, 2, 3, 5, 8].map(|sharing| part_of(8, sharing)), [8, 4, 2, 1, 1]);
        assert_eq!(part_of(2, 4), 1);
    }

    #[test]
    fn a_stop_is_of_all_ranks_and_a_missing_file_of_one() {
        let (epoch, batch, kept) = (1, 2, None);
        assert!(is_of_all(&Error::Interrupted { epoch, batch, kept }.into()));
        let usage = Failure::Usage { what: "no file".to_owned(), hint: "look".to_owned() };
        assert!(!is_of_all(&usage));
    }
}
