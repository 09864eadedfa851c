//! `faculty compare --jobs N`: several runs at a time, each a `faculty distill` of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use faculty_distill::comparison::MissingRun;
use faculty_distill::recipe::Recipe;
use faculty_distill::{Error, RunFolder};
use faculty_files::{self as files, write_atomically};

use crate::commands::shown;
use crate::failure::Failure;
use crate::interrupt::{JOB, PATIENCE, lifeline};
use crate::progress::JobsProgress;

/// How often finished programs are looked for.
const POLL: Duration = Duration::from_millis(50);

struct Job<'a> {
    run: &'a MissingRun,
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
    runs: &[MissingRun],
    jobs: usize,
    recipe: &Recipe,
    folder: &Path,
    stop: &AtomicBool,
) -> Result<(), Failure> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = (recipe.train.threads.unwrap_or(cores) / jobs).max(1);
    let logs = folder.join("logs");
    fs::create_dir_all(&logs).map_err(faculty_files::failed("create", &logs))?;
    let mut waiting = runs.iter();
    let mut working: Vec<Job<'_>> = Vec::new();
    let mut done = 0;
    let mut progress =
        JobsProgress::new(runs.len(), runs.iter().map(|run| run.recipe.train.epochs));
    // Epochs of runs that go on are not the work of this start.
    let before: usize = runs.iter().filter(|run| run.begun).map(epochs_done).sum();
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
        progress.show(done, || runs.iter().map(epochs_done).sum(), before);
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
    if stop.load(Ordering::Relaxed) {
        let (path, runs) = (folder.to_owned(), runs.len());
        return Err(Error::ComparisonStopped { path, done, runs }.into());
    }
    Ok(())
}

/// Epochs of a run that are done, by the lines of its metrics.
fn epochs_done(run: &MissingRun) -> usize {
    // What an earlier program left of a run that begins anew goes away when it starts.
    let text = fs::read_to_string(RunFolder::at(&run.folder).metrics()).unwrap_or_default();
    text.lines().count().min(run.recipe.train.epochs)
}

fn start<'a>(run: &'a MissingRun, logs: &Path, threads: usize) -> Result<Job<'a>, Failure> {
    let name = run.name.replace('/', "-");
    let (recipe, log) = (logs.join(format!("{name}.toml")), logs.join(format!("{name}.log")));
    let text = run.recipe.to_toml()?;
    write_atomically(&recipe, text.as_bytes()).map_err(faculty_files::failed("write", &recipe))?;
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
        .arg("distill")
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
