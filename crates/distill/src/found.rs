//! What an earlier program left of a planned run: nothing, a part, or all of it.

use crate::checkpoint::{self, Progress};
use crate::error::{Error, Result};
use crate::record::RunCard;
use crate::run_folder::RunFolder;
use crate::trainer::check_same_run;

/// What is there of one planned run.
pub(crate) enum Found {
    /// No epoch.
    Nothing,
    /// Some epochs.
    Part,
    /// All of it.
    Finished(Box<RunCard>),
}

/// Looks into the folder of a run of `epochs` epochs that would begin with `expected`.
///
/// # Errors
/// When the folder holds another run or is damaged.
pub(crate) fn find_run(folder: &RunFolder, expected: &Progress, epochs: usize) -> Result<Found> {
    let path = folder.last_checkpoint();
    let card = folder.card()?;
    if !path.exists() {
        // Without its checkpoint nobody knows what a finished run was.
        return match card {
            Some(_) => Err(Error::FolderInUse { path: folder.path().into(), finished: true }),
            None => Ok(Found::Nothing),
        };
    }
    let progress = checkpoint::progress(&path)?;
    check_same_run(&path, &progress, expected)?;
    Ok(match card {
        Some(card) if progress.epoch == epochs => Found::Finished(Box::new(card)),
        _ => Found::Part,
    })
}
