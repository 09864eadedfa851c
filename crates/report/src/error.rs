//! What can go wrong with folders of runs.

use std::path::PathBuf;

/// Result with this crate's [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// A report that cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing of ours lies there.
    #[error("`{}` holds neither a run nor a comparison", path.display())]
    NothingThere {
        /// The folder.
        path: PathBuf,
    },
    /// Two subjects that do not go into one report.
    #[error("`{}` is a comparison, which has a report of its own", path.display())]
    ComparisonAmongRuns {
        /// Its folder.
        path: PathBuf,
    },
    /// A file whose content is not what its name says.
    #[error("`{}` cannot be understood: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file or folder that cannot be read or written.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

impl Error {
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    /// How to fix it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NothingThere { .. } => {
                "give a folder that `faculty distill`, `faculty train` or `faculty compare` wrote"
            }
            Self::ComparisonAmongRuns { .. } => {
                "give it alone, or give run folders only (`COMPARISON/METHOD/seed1` is one)"
            }
            Self::Damaged { .. } => {
                "run the same `faculty compare` again: finished runs are kept, and it is written anew"
            }
            Self::Io { action: "write", .. } => {
                "name a file in a folder that you may write to with `--output`"
            }
            Self::Io { .. } => "check the path and its permissions",
        }
        .to_owned()
    }
}
