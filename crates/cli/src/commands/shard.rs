//! `--shard I/N`: what processes say and wait for that share a work.

use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use faculty_comm::Share;
use faculty_distill::Error;
use faculty_files::LockError;
use serde_json::json;

use super::shown;
use crate::failure::Failure;
use crate::progress::print_json;

/// How often a work is tried again that another process does.
const POLL: Duration = Duration::from_millis(200);

/// Does what only one process may do at a time; one of several shares waits for the others with it.
pub(super) fn in_turn<T>(
    share: Share,
    stop: &AtomicBool,
    mut work: impl FnMut() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut announced = false;
    loop {
        match work() {
            Err(Failure::Run(error)) if !share.is_whole() && is_held(&error) => {
                if stop.load(Ordering::Relaxed) {
                    return Err(Failure::Run(error));
                }
                if !std::mem::replace(&mut announced, true) {
                    eprintln!("waiting: {error}");
                }
                thread::sleep(POLL);
            }
            done => return done,
        }
    }
}

fn is_held(error: &Error) -> bool {
    matches!(error, Error::Folder(LockError::Held { .. }))
}

/// What a process says at its end that trained a share of a comparison.
pub(super) fn tell(
    share: Share,
    folder: &Path,
    own: usize,
    missing: &[String],
    missing_shares: &[Share],
    json: bool,
) -> Result<(), Failure> {
    if json {
        let shares: Vec<String> = missing_shares.iter().map(Share::to_string).collect();
        print_json(&json!({
            "event": "result", "folder": folder, "runs": own, "missing": missing,
            "missing_shares": shares,
        }));
        return Ok(());
    }
    let mut out = crate::terminal::stdout();
    let text = left_to_do(missing_shares);
    writeln!(out, "share {share} is trained, {own} runs in {}; {text}", shown(folder))?;
    if missing.is_empty() {
        writeln!(out, "the same command without `--shard` compares")?;
    }
    Ok(())
}

/// What the other shares have to do.
pub(super) fn left_to_do<T: ToString>(missing: &[T]) -> String {
    let names: Vec<String> = missing.iter().map(ToString::to_string).collect();
    match &names[..] {
        [] => "nothing is missing of the others".to_owned(),
        [one] => format!("still missing: share {one}"),
        all => format!("still missing: shares {}", all.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn held() -> Failure {
        let (path, owner) = (PathBuf::from("heads"), "process 7 on a machine".to_owned());
        Error::Folder(LockError::Held { path, what: "trains heads in", owner }).into()
    }

    #[test]
    fn shares_wait_for_each_other_and_a_whole_work_does_not() {
        let stop = AtomicBool::new(false);
        let mut left = 3;
        let mut work = || {
            left -= 1;
            if left > 0 { Err(held()) } else { Ok(left) }
        };
        assert!(in_turn(Share::WHOLE, &stop, &mut work).is_err());
        assert!(matches!(in_turn("2/3".parse().unwrap(), &stop, &mut work), Ok(0)));
        stop.store(true, Ordering::Relaxed);
        let stopped = in_turn::<()>("2/3".parse().unwrap(), &stop, || Err(held()));
        assert!(stopped.is_err());
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(left_to_do::<&str>(&[]), "nothing is missing of the others");
        assert_eq!(left_to_do(&["3/8"]), "still missing: share 3/8");
        assert_eq!(left_to_do(&["3/8", "5/8"]), "still missing: shares 3/8, 5/8");
    }
}
