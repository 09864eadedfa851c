//! How the program is stopped from outside.

use std::io::Read as _;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::exit::Exit;

/// Set for programs that a comparison starts. They may hear one wish to stop twice, from the
/// terminal and from the comparison; and their stdin is a pipe from the comparison, which ends with
/// it, however that ends.
pub(crate) const JOB: &str = "FACULTY_JOB";

/// How long a program may take to save once it is to stop.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What a job has in place of stdin.
pub(crate) fn lifeline() -> Stdio {
    Stdio::piped()
}

/// Leaves ignored what whoever started the program ignores: `nohup` the end of the terminal, a
/// script Ctrl-C for what it runs in the background. The handler of [`stop_on_interrupt`] would hear
/// them; a blocked signal is never delivered. Before the first thread: threads inherit it.
#[cfg(unix)]
pub(crate) fn keep_ignored() {
    use nix::sys::signal::{SigSet, Signal};

    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut set = SigSet::empty();
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM] {
        if is_ignored(&status, signal as u32) {
            set.add(signal);
        }
    }
    // Without it the program is stopped after all, with its work kept.
    let _ = set.thread_block();
}

/// Elsewhere nothing is inherited so.
#[cfg(not(unix))]
pub(crate) fn keep_ignored() {}

/// By the line `SigIgn:` of `/proc/PID/status`: bit n - 1 is signal n. Where there is no such file
/// (not Linux) nothing is known to be ignored.
#[cfg(unix)]
fn is_ignored(status: &str, signal: u32) -> bool {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}

/// A flag that Ctrl-C, SIGTERM or SIGHUP sets; a second one ends the program at once, unless it is
/// a job of a comparison. The exit code is that of Ctrl-C for all of them: each says that the work can
/// go on.
pub(crate) fn stop_on_interrupt() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let is_job = std::env::var_os(JOB).is_some();
    let installed = ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            if is_job {
                return;
            }
            std::process::exit(Exit::Interrupted as i32);
        }
        eprintln!("finishing this batch, then saving; press Ctrl-C again to quit now");
    });
    if let Err(error) = installed {
        // Without the handler Ctrl-C still ends the program, only less politely.
        eprintln!("warning: cannot catch Ctrl-C: {error}");
    }
    if is_job {
        end_with_the_comparison(Arc::clone(&stop));
    }
    stop
}

/// Ends the program with success at Ctrl-C, SIGTERM or SIGHUP: for what runs until it is ended.
pub(crate) fn end_on_interrupt() {
    let installed = ctrlc::set_handler(|| std::process::exit(Exit::Done as i32));
    if let Err(error) = installed {
        // Without the handler Ctrl-C still ends the program, only with another code.
        eprintln!("warning: cannot catch Ctrl-C: {error}");
    }
}

/// Stops this job when the comparison that started it is no more.
fn end_with_the_comparison(stop: Arc<AtomicBool>) {
    thread::spawn(move || {
        // Nothing is ever written there: the read ends when the other end is closed.
        let _ = std::io::stdin().lock().read(&mut [0]);
        eprintln!("the comparison has ended: stopping after this batch, what is done is kept");
        stop.store(true, Ordering::Relaxed);
        thread::sleep(PATIENCE);
        std::process::exit(Exit::Interrupted as i32);
    });
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_mask() {
        let status = "Name:\tfaculty\nSigBlk:\t0000000000000007\nSigIgn:\t0000000000001003\n";
        let ignored: Vec<u32> = (1..=16).filter(|&n| is_ignored(status, n)).collect();
        assert_eq!(ignored, [1, 2, 13]);
        assert!(!is_ignored("", 1) && !is_ignored("SigIgn: none", 1));
    }
}
