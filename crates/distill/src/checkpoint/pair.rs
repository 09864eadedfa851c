//! The last two checkpoints of a run: when the newer one is damaged, the older one is used.

use std::path::{Path, PathBuf};

use faculty_files as files;
use faculty_files::failed;

use super::file::{Checkpoint, save};
use super::progress::Progress;
use super::state::Saved;
use crate::error::{Error, Result};
use crate::optimizer::OptimizerConfig;

/// Where the last two checkpoints lie.
#[derive(Clone, Debug)]
pub(crate) struct CheckpointPair {
    last: PathBuf,
    previous: PathBuf,
    damaged: PathBuf,
    next: PathBuf,
}

impl CheckpointPair {
    pub(crate) fn below(folder: &Path) -> Self {
        let file = |name: &str| folder.join(format!("{name}.safetensors"));
        let next = folder.join("last.partial");
        Self { last: file("last"), previous: file("previous"), damaged: file("damaged"), next }
    }

    /// The newer file that is there.
    pub(crate) fn newest(&self) -> Option<&Path> {
        [&self.last, &self.previous].into_iter().find(|path| path.exists()).map(PathBuf::as_path)
    }

    /// Writes a new last one; what was the last one becomes the previous one.
    pub(crate) fn save(
        &self,
        students: &[Saved<'_>],
        optimizer: &OptimizerConfig,
        progress: &Progress,
    ) -> Result<()> {
        // Whole and synced before anything is moved: at every moment one good file has a name.
        save(&self.next, students, optimizer, progress)?;
        let moved = match files::rename(&self.last, &self.previous) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => files::rename(&self.next, &self.last),
        };
        moved.map_err(|error| {
            let _ = files::remove(&self.next);
            failed("write", &self.last)(error).into()
        })
    }

    /// The newest checkpoint that is whole, with a warning where that is not the last one.
    ///
    /// # Errors
    /// When there are checkpoints, and none is whole.
    pub(crate) fn read(&self) -> Result<Option<(Checkpoint, Option<String>)>> {
        let problem = match Checkpoint::read(&self.last) {
            Ok(checkpoint) => return Ok(Some((checkpoint, None))),
            Err(problem) => problem,
        };
        let shown = self.last.display();
        let reason = match self.last.exists() {
            true => format!("checkpoint `{shown}` cannot be used ({})", reason(&problem)),
            false if !self.previous.exists() => return Ok(None),
            false => format!("checkpoint `{shown}` is missing"),
        };
        match Checkpoint::read(&self.previous) {
            Ok(checkpoint) => {
                let Progress { epoch, .. } = checkpoint.progress;
                let batch = checkpoint.progress.batch();
                let from = format!("the one before it is used: epoch {epoch}, batch {batch} on");
                Ok(Some((checkpoint, Some(format!("{reason}; {from}")))))
            }
            Err(_) => Err(problem),
        }
    }

    /// Puts a last checkpoint that is not whole out of the way, so that the good one before it is
    /// not replaced by it.
    pub(crate) fn set_aside(&self) -> Result<()> {
        if !self.last.exists() {
            return Ok(());
        }
        Ok(files::rename(&self.last, &self.damaged).map_err(failed("rename", &self.last))?)
    }
}

/// Why a checkpoint cannot be read, without its name.
fn reason(problem: &Error) -> String {
    match problem {
        Error::Checkpoint { reason, .. } => reason.clone(),
        other => {
            std::error::Error::source(other).map_or_else(|| other.to_string(), |e| e.to_string())
        }
    }
}
