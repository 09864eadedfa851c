//! What the file system refused, and where.

use std::io;
use std::path::PathBuf;

/// A file or folder that could not be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{}`", path.display())]
#[non_exhaustive]
pub struct FileError {
    /// What was to be done: `read`, `write`, `create`.
    pub action: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// The system's reason.
    pub source: io::Error,
}

impl FileError {
    /// How to fix it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        "check the path, its permissions and free space"
    }
}

/// Adds to the system's error what was to be done and where, for `map_err`.
pub fn failed(
    action: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(io::Error) -> FileError {
    let path = path.into();
    move |source| FileError { action, path, source }
}
