//! One writer a folder. The lock belongs to the operating system and ends with its process, however
//! that ends; the file's text only says whose it is.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::{
    FileError, create_folder, failed, is_partial, open_no_follow, open_or_create, remove,
    remove_partial,
};

const FILE: &str = "lock";

/// A folder that cannot be locked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another process writes it.
    #[error("{owner} {what} `{}` already", path.display())]
    Held {
        /// The folder.
        path: PathBuf,
        /// What it does there.
        what: &'static str,
        /// Which process, on which machine.
        owner: String,
    },
    /// It holds something else, or is no place for a run.
    #[error("`{}` is no folder for results: {holds}", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// What speaks against it.
        holds: String,
    },
    /// The lock file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
}

impl LockError {
    /// How to fix it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Held { .. } => "wait for it to end, or use another folder",
            Self::Foreign { .. } => "name a new folder, or an empty one",
            Self::File(error) => error.hint(),
        }
    }
}

/// A folder that no other process writes as long as this lives, or of [`FolderLock::take_part`] a part
/// of its work that no other process does.
#[derive(Debug)]
pub struct FolderLock {
    /// Held, never read: closing it gives the lock back.
    _file: File,
    /// Of the part.
    part: Option<(File, PathBuf)>,
}

/// The last of a part's lock: its file only says that it is in work.
impl Drop for FolderLock {
    fn drop(&mut self) {
        if let Some((_, path)) = &self.part {
            // Whoever opened it before and locks it now does a part that is done.
            let _ = remove(path);
        }
    }
}

impl FolderLock {
    /// Locks `folder`, which is created if it is missing. `what` is what two processes would both
    /// do there.
    ///
    /// # Errors
    /// [`LockError::Held`], with the process that has it.
    pub fn take(folder: &Path, what: &'static str) -> Result<Self, LockError> {
        let file = lock(folder, FILE, what, File::try_lock)?;
        remove_partial(folder);
        // Of parts that were killed: nobody does one now.
        for path in parts_of(folder) {
            let _ = remove(&path);
        }
        Ok(Self { _file: file, part: None })
    }

    /// Makes part number `part` of `parts` of the work in `folder` this process's own, where several processes may
    /// do a part each; none of them while another one has [taken](FolderLock::take) the folder.
    ///
    /// # Errors
    /// [`LockError::Held`], when another process does this part, or has the folder.
    pub fn take_part(
        folder: &Path,
        [part, parts]: [usize; 2],
        what: &'static str,
    ) -> Result<Self, LockError> {
        let file = lock(folder, FILE, what, File::try_lock_shared)?;
        let name = part_file([part, parts]);
        let own = lock(folder, &name, what, File::try_lock)?;
        Ok(Self { _file: file, part: Some((own, folder.join(name))) })
    }

    /// Waits until no other process that has a part of the work holds this; to be given back soon. For
    /// owners of a part.
    ///
    /// # Errors
    /// [`LockError::File`].
    pub fn wait_among_parts(&self, folder: &Path) -> Result<impl Drop + use<>, LockError> {
        let path = folder.join(AMONG_PARTS);
        let file =
            open_or_create(&path, File::options().write(true)).map_err(failed("write", &path))?;
        match file.lock() {
            Err(error) if error.kind() != ErrorKind::Unsupported => {
                Err(failed("lock", path)(error).into())
            }
            _ => Ok(Closing(file)),
        }
    }

    /// Whether [`FolderLock::take`] would get it now; a folder that was never locked is not touched.
    ///
    /// # Errors
    /// As [`FolderLock::take`].
    pub fn check(folder: &Path, what: &'static str) -> Result<(), LockError> {
        check_place(folder)?;
        if folder.join(FILE).exists() { Self::take(folder, what).map(drop) } else { Ok(()) }
    }

    /// Whether a process of this machine holds the lock of `folder`, for those who only look on: to try
    /// it, as [`FolderLock::check`] does, would turn away a run that starts at that moment. `None` where
    /// the system does not tell (it does on Linux).
    #[must_use]
    pub fn is_held(folder: &Path) -> Option<bool> {
        let table = fs::read_to_string("/proc/locks").ok()?;
        let Ok((file, length)) = open_no_follow(&folder.join(FILE)) else { return Some(false) };
        let number = inode(&file.metadata().ok()?)?;
        let mut text = String::new();
        file.take(length.min(LONGEST_OWNER)).read_to_string(&mut text).ok()?;
        // `process 12 on host`; numbers of files are only unique within a file system.
        let process = text.split(' ').nth(1)?;
        Some(table.lines().any(|line| is_lock(line, process, number)))
    }
}

/// A lock that ends with the file.
struct Closing(File);

impl Drop for Closing {
    fn drop(&mut self) {
        // Closing the file gives it back anyway.
        let _ = self.0.unlock();
    }
}

/// Name of the lock file of a part.
fn part_file([part, parts]: [usize; 2]) -> String {
    format!("lock-{part}-of-{parts}")
}

/// The lock file of [`FolderLock::wait_among_parts`].
const AMONG_PARTS: &str = "lock-among-parts";

/// Lock files of parts, and of nothing else.
fn parts_of(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_part = |entry: &fs::DirEntry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let numbers = name.strip_prefix("lock-").and_then(|own| own.split_once("-of-"));
        let numbers = numbers.and_then(|(part, parts)| part.parse().ok().zip(parts.parse().ok()));
        name == AMONG_PARTS || numbers.is_some_and(|(part, parts)| part_file([part, parts]) == name)
    };
    entries.filter(is_part).map(|entry| entry.path())
}

/// Locks the file `name` in `folder`, which is created if it is missing.
fn lock(
    folder: &Path,
    name: &str,
    what: &'static str,
    how: impl Fn(&File) -> Result<(), TryLockError>,
) -> Result<File, LockError> {
    check_place(folder)?;
    create_folder(folder).map_err(failed("create", folder))?;
    // The file stays: if it were removed, two processes could each lock a file of this name.
    let path = folder.join(name);
    let mut file =
        open_or_create(&path, File::options().write(true)).map_err(failed("write", &path))?;
    match how(&file) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let owner = fs::read_to_string(&path).unwrap_or_default();
            let owner = owner.lines().next().filter(|line| !line.is_empty());
            let owner = owner.unwrap_or("another process").to_owned();
            return Err(LockError::Held { path: folder.to_owned(), what, owner });
        }
        // A file system without locks: whoever uses it has to know what else is running.
        Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {}
        Err(TryLockError::Error(error)) => return Err(failed("lock", path)(error).into()),
    }
    let owner = format!("process {} on {}\n", std::process::id(), host());
    // Only a help for people: a lock without a name is a lock all the same.
    let _ = file.set_len(0).and_then(|()| file.write_all(owner.as_bytes()));
    Ok(file)
}

/// Bytes of a lock file that are read.
const LONGEST_OWNER: u64 = 4096;

/// A line of `/proc/locks`: `1: FLOCK  ADVISORY  WRITE 12 08:01:131 0 EOF`, the fifth word is the process,
/// behind the last colon of the sixth is the file's number.
fn is_lock(line: &str, process: &str, inode: u64) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, "FLOCK", _, _, owner, file, ..] = words[..] else { return false };
    let number = file.rsplit(':').next().and_then(|own| own.parse().ok());
    owner == process && number == Some(inode)
}

#[cfg(unix)]
fn inode(metadata: &fs::Metadata) -> Option<u64> {
    Some(std::os::unix::fs::MetadataExt::ino(metadata))
}

#[cfg(not(unix))]
fn inode(_: &fs::Metadata) -> Option<u64> {
    None
}

/// What stands in a folder of ours: one of these is enough.
const OURS: [&str; 9] = [
    FILE,
    "recipe.toml",
    "card.json",
    "plan.json",
    "metrics.jsonl",
    "manifest.json",
    "comparison.json",
    "sweep.json",
    "checkpoints",
];

/// Refuses the root of the file system, a home folder, and a folder that holds something and nothing
/// of ours.
///
/// # Errors
/// [`LockError::Foreign`].
pub fn check_place(folder: &Path) -> Result<(), LockError> {
    let refused = |holds: String| Err(LockError::Foreign { path: folder.to_owned(), holds });
    let Ok(place) = folder.canonicalize() else { return Ok(()) };
    if place.parent().is_none() {
        return refused("it is the root of the file system".to_owned());
    }
    let home = std::env::var_os(if cfg!(windows) { "USERPROFILE" } else { "HOME" });
    if home.is_some_and(|home| Path::new(&home).canonicalize().is_ok_and(|home| home == place)) {
        return refused("it is a home folder".to_owned());
    }
    let entries = fs::read_dir(&place).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    // What a writer that was killed leaves is ours as well.
    let is_ours = |name: &String| OURS.contains(&name.as_str()) || is_partial(name.as_ref());
    match names.first() {
        Some(first) if !names.iter().any(is_ours) => refused(format!("it holds `{first}`")),
        _ => Ok(()),
    }
}

/// This machine's name, where it is known.
fn host() -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let variable = || std::env::var("HOSTNAME").or_else(|_| std::env::var("COMPUTERNAME")).ok();
    let name = kernel.or_else(variable).map(|name| name.trim().to_owned());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "this machine".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_of_something_else_is_refused_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        for place in [Path::new("/"), folder.path()] {
            fs::write(folder.path().join("thesis.tex"), "text").unwrap();
            for result in
                [FolderLock::check(place, "train"), FolderLock::take(place, "train").map(drop)]
            {
                assert!(matches!(result, Err(LockError::Foreign { .. })), "{}", place.display());
            }
        }
        assert!(!folder.path().join(FILE).exists());
        // With something of ours it is ours: notes may lie beside a run.
        fs::write(folder.path().join("recipe.toml"), "").unwrap();
        FolderLock::take(folder.path(), "train").unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_lock_that_is_a_link_is_not_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let (run, target) = (folder.path().join("run"), folder.path().join("keys"));
        fs::create_dir(&run).unwrap();
        fs::write(&target, "precious").unwrap();
        std::os::unix::fs::symlink(&target, run.join(FILE)).unwrap();
        let error = FolderLock::take(&run, "train").unwrap_err();
        assert!(matches!(error, LockError::File(_)), "{error}");
        assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
        // One that leads nowhere makes nothing there.
        fs::remove_file(&target).unwrap();
        FolderLock::take(&run, "train").unwrap_err();
        assert!(!target.exists());
    }

    #[test]
    fn lines_of_the_systems_locks_are_told_apart() {
        let line = "3: FLOCK  ADVISORY  WRITE 12 08:01:131 0 EOF";
        assert!(is_lock(line, "12", 131));
        assert!(!is_lock(line, "1", 131) && !is_lock(line, "12", 31));
        assert!(!is_lock("3: POSIX  ADVISORY  WRITE 12 08:01:131 0 EOF", "12", 131));
        // Who waits for it does not hold it.
        assert!(!is_lock("3: -> FLOCK  ADVISORY  WRITE 12 08:01:131 0 EOF", "12", 131));
        assert!(!is_lock("", "", 0));
    }

    #[test]
    fn looking_on_tells_who_writes_and_takes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let held = || FolderLock::is_held(folder.path());
        if held().is_none() {
            return;
        }
        assert_eq!(held(), Some(false));
        let own = FolderLock::take(folder.path(), "train").unwrap();
        assert_eq!(held(), Some(true));
        drop(own);
        // The file and its text stay.
        assert_eq!(held(), Some(false));
    }

    #[test]
    fn parts_are_taken_side_by_side_each_once_and_not_beside_the_whole() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let names = || -> Vec<String> {
            let entries = fs::read_dir(folder).unwrap();
            let names = entries.map(|own| own.unwrap().file_name().into_string().unwrap());
            let mut names: Vec<String> = names.collect();
            names.sort();
            names
        };
        let first = FolderLock::take_part(folder, [1, 2], "builds").unwrap();
        let second = FolderLock::take_part(folder, [2, 2], "builds").unwrap();
        for refused in [
            FolderLock::take_part(folder, [1, 2], "builds").map(drop),
            FolderLock::take(folder, "builds").map(drop),
            FolderLock::check(folder, "builds"),
        ] {
            assert!(matches!(refused, Err(LockError::Held { .. })), "{refused:?}");
        }
        let held = first.wait_among_parts(folder).unwrap();
        drop(held);
        drop(second.wait_among_parts(folder).unwrap());
        drop(first);
        assert_eq!(names(), ["lock", "lock-2-of-2", "lock-among-parts"]);
        drop(second);
        // What a part that was killed leaves goes with the next owner of the whole.
        for name in ["lock-1-of-2", "lock-notes", "lock-01-of-2"] {
            fs::write(folder.join(name), "process 1 on a machine\n").unwrap();
        }
        let whole = FolderLock::take(folder, "builds").unwrap();
        assert_eq!(names(), ["lock", "lock-01-of-2", "lock-notes"]);
        let refused = FolderLock::take_part(folder, [1, 2], "builds");
        assert!(matches!(refused, Err(LockError::Held { .. })), "{refused:?}");
        drop(whole);
        FolderLock::take_part(folder, [1, 2], "builds").unwrap();
    }

    #[test]
    fn a_second_writer_is_told_who_is_there_and_a_dead_one_is_no_obstacle() {
        let folder = tempfile::tempdir().unwrap();
        // What a process left that is no more.
        fs::write(folder.path().join("lock"), "process 1 on a machine with a rather long name\n")
            .unwrap();
        let own = FolderLock::take(folder.path(), "train").unwrap();
        let error = FolderLock::take(folder.path(), "train").unwrap_err();
        let LockError::Held { owner, .. } = &error else { panic!("{error}") };
        assert_eq!(*owner, format!("process {} on {}", std::process::id(), host()));
        assert!(FolderLock::check(folder.path(), "train").is_err());
        drop(own);
        FolderLock::check(folder.path(), "train").unwrap();
        FolderLock::take(folder.path(), "train").unwrap();
        // Looking does not leave a lock file.
        let other = tempfile::tempdir().unwrap();
        FolderLock::check(other.path(), "train").unwrap();
        assert!(!other.path().join(FILE).exists());
    }
}
