//! `faculty compare --jobs N`: several runs at a time, each a `faculty distill` of its own.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use faculty_files::{self as files, write_atomically};

use crate::commands::shown;
use crate::failure::Failure;
use crate::interrupt::{JOB, PATIENCE, lifeline};
use crate::progress::JobsProgress;

/// How often finished programs are looked for.
const POLL: Duration = Duration::from_millis(50);

/// A run that a program of its own makes.
pub(super) struct Planned {
    /// `METHOD/seedN`.
    pub(super) name: String,
    /// `distill`, or `train`.
    pub(super) command: &'static str,
    /// Its recipe as TOML.
    pub(super) recipe: String,
    /// Its run folder.
    pub(super) folder: PathBuf,
    /// Whether it goes on from a checkpoint.
    pub(super) begun: bool,
    /// How much it is, in units of progress.
    pub(super) all: usize,
    /// How much of it an earlier start has done.
    pub(super) done: usize,
}

/// What progress is counted in.
#[derive(Clone, Copy)]
pub(super) struct Unit {
    /// `epochs`
    pub(super) name: &'static str,
    /// How many of them are done in a run's folder.
    pub(super) done: fn(&Path) -> usize,
}

/// How the programs ended.
pub(super) enum Ended {
    /// All are finished.
    All,
    /// Stopped from outside.
    Stopped {
        /// Finished ones.
        done: usize,
    },
}

struct Job<'a> {
    run: &'a Planned,
    child: Child,
    log: PathBuf,
    started: Instant,
}

/// Ends what is still running when the comparison breaks off.
impl Drop for Job<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Trains these runs, `jobs` at a time. What each program said is in `logs/` of the folder.
pub(super) fn run(
    runs: &[Planned],
    jobs: usize,
    threads: Option<usize>,
    unit: Unit,
    folder: &Path,
    stop: &AtomicBool,
) -> Result<Ended, Failure> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = (threads.unwrap_or(cores) / jobs).max(1);
    let logs = folder.join("logs");
    fs::create_dir_all(&logs).map_err(faculty_files::failed("create", &logs))?;
    let mut waiting = runs.iter();
    let mut working: Vec<Job<'_>> = Vec::new();
    let mut done = 0;
    let mut progress = JobsProgress::new(runs.len(), runs.iter().map(|run| run.all), unit.name);
    // What runs that go on have done is not the work of this start.
    let before: usize = runs.iter().map(|run| run.done).sum();
    let done_of = |run: &Planned| (unit.done)(&run.folder).min(run.all);
    loop {
        let stopped = stop.load(Ordering::Relaxed);
        while working.len() < jobs && !stopped {
            let Some(run) = waiting.next() else { break };
            working.push(start(run, &logs, threads)?);
        }
        if working.is_empty() {
            break;
        }
        thread::sleep(POLL);
        let mut still = Vec::new();
        for mut job in working {
            match job.child.try_wait().map_err(faculty_files::failed("wait for", &job.log))? {
                None => still.push(job),
                Some(status) if status.success() => {
                    done += 1;
                    let (name, seconds) = (&job.run.name, job.started.elapsed().as_secs());
                    let count = runs.len();
                    progress.line(&format!("{name}: finished in {seconds} s ({done} of {count})"));
                }
                Some(_) if stop.load(Ordering::Relaxed) => {}
                Some(status) => return Err(failed(&job, status.code())),
            }
        }
        working = still;
        progress.show(done, || runs.iter().map(done_of).sum(), before);
        if stopped {
            // Ctrl-C reaches the programs as well, a signal to this one alone does not.
            working.iter().for_each(|job| ask_to_stop(&job.child));
            let since = Instant::now();
            while since.elapsed() < PATIENCE
                && working.iter_mut().any(|job| matches!(job.child.try_wait(), Ok(None)))
            {
                thread::sleep(POLL);
            }
            break;
        }
    }
    progress.finish();
    match stop.load(Ordering::Relaxed) {
        true => Ok(Ended::Stopped { done }),
        false => Ok(Ended::All),
    }
}

fn start<'a>(run: &'a Planned, logs: &Path, threads: usize) -> Result<Job<'a>, Failure> {
    let name = run.name.replace('/', "-");
    let (recipe, log) = (logs.join(format!("{name}.toml")), logs.join(format!("{name}.log")));
    write_atomically(&recipe, run.recipe.as_bytes())
        .map_err(faculty_files::failed("write", &recipe))?;
    // What lies there of an earlier start may be anything.
    let create = || File::options().write(true).create_new(true).open(&log);
    let file = files::remove(&log)
        .and_then(|()| create())
        .map_err(faculty_files::failed("write", &log))?;
    let program =
        std::env::current_exe().map_err(faculty_files::failed("find the program of", &log))?;
    let child = Command::new(program)
        .env(JOB, "1")
        // What it says is read below.
        .env("NO_COLOR", "1")
        .arg(run.command)
        .arg(&recipe)
        .arg("--output")
        .arg(&run.folder)
        .arg(if run.begun { "--resume" } else { "--overwrite" })
        .arg("--set")
        .arg(format!("train.threads={threads}"))
        .stdin(lifeline())
        .stdout(Stdio::null())
        .stderr(file)
        .spawn()
        .map_err(faculty_files::failed("start a program for", &recipe))?;
    Ok(Job { run, child, log, started: Instant::now() })
}

/// Lets a program save and end.
#[cfg(unix)]
fn ask_to_stop(child: &Child) {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    if let Ok(id) = i32::try_from(child.id()) {
        // One that has just ended by itself cannot be asked.
        let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
    }
}

/// Elsewhere the console asks them.
#[cfg(not(unix))]
fn ask_to_stop(_child: &Child) {}

/// What the program said, where and why.
fn failed(job: &Job<'_>, code: Option<i32>) -> Failure {
    let said = fs::read_to_string(&job.log).unwrap_or_default();
    let error = said.lines().rfind(|line| line.starts_with("error: "));
    let error = error.and_then(|line| line.strip_prefix("error: ")).unwrap_or("it ended early");
    let what = format!("run `{}` of the comparison: {error}", job.run.name);
    let hint = format!("`{}` has all that it said; finished runs are kept", shown(&job.log));
    match code {
        Some(1) => Failure::Answer { what, hint },
        _ => Failure::Usage { what, hint },
    }
}

/// The metrics of a run that may be at work; nothing where they cannot be read.
pub(super) fn metrics_text(path: &Path) -> String {
    let mut text = String::new();
    // Anything but a file may keep its reader waiting.
    if let Ok((mut file, _)) = faculty_files::open_regular(path) {
        let _ = file.read_to_string(&mut text);
    }
    text
}

/// Programs of a comparison that was killed save and end by themselves; until then their folders are
/// theirs.
pub(super) fn wait_for_jobs(
    written_by_others: impl Fn() -> Result<Vec<String>, Failure>,
) -> Result<(), Failure> {
    let since = Instant::now();
    let mut reported = false;
    loop {
        let busy = written_by_others()?;
        if busy.is_empty() || since.elapsed() > PATIENCE {
            // Whoever wants to write there reports what is still running then.
            return Ok(());
        }
        if !reported {
            eprintln!("waiting for programs of an earlier start to save: {}", busy.join(", "));
            reported = true;
        }
        thread::sleep(Duration::from_millis(200));
    }
}
