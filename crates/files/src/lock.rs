//! One writer a folder. The lock belongs to the operating system and ends with its process, however
//! that ends; the file's text only says whose it is.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use crate::{FileError, create_folder, failed};

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
    /// The lock file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A folder that no other process writes as long as this lives.
#[derive(Debug)]
pub struct FolderLock {
    /// Held, never read: closing it gives the lock back.
    _file: File,
}

impl FolderLock {
    /// Locks `folder`, which is created if it is missing. `what` is what two processes would both
    /// do there.
    ///
    /// # Errors
    /// [`LockError::Held`], with the process that has it.
    pub fn take(folder: &Path, what: &'static str) -> Result<Self, LockError> {
        create_folder(folder).map_err(failed("create", folder))?;
        // The file stays: if it were removed, two processes could each lock a file of this name.
        let path = folder.join(FILE);
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(failed("write", &path))?;
        match file.try_lock() {
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
        Ok(Self { _file: file })
    }

    /// Whether [`FolderLock::take`] would get it now; a folder that was never locked is not touched.
    ///
    /// # Errors
    /// As [`FolderLock::take`].
    pub fn check(folder: &Path, what: &'static str) -> Result<(), LockError> {
        if folder.join(FILE).exists() { Self::take(folder, what).map(drop) } else { Ok(()) }
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
