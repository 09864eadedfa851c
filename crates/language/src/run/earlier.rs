//! What an earlier program left of a planned run: nothing, a part, all of it, or another run.

use std::collections::BTreeMap;
use std::path::Path;

use faculty_files::{FolderLock, LockError};
use faculty_nets::weights;
use faculty_records::language_run::LanguageCard;

use super::checkpoint::Progress;
use super::folder::{self, LanguageFolder, LanguageStart};
use crate::run_error::RunError;

/// What is there of one planned run.
#[derive(Debug)]
pub(crate) enum FoundRun {
    /// No checkpoint.
    Nothing,
    /// Some steps.
    Begun,
    /// All of it.
    Finished(Box<LanguageCard>),
}

/// Looks into the folder of a run of so many steps that depends on this; nothing is written, no weights are
/// read.
///
/// # Errors
/// When the folder holds another run.
pub(crate) fn find_run(
    path: &Path,
    identity: &BTreeMap<String, String>,
    steps: u64,
) -> Result<FoundRun, RunError> {
    let card = folder::card_in(path);
    let checkpoints = ["last", "previous"].map(|name| folder::checkpoint_in(path, name));
    let Some(checkpoint) = checkpoints.iter().find(|own| own.exists()) else {
        return match card {
            // Without its checkpoint nobody knows what a finished run was.
            Some(_) => Err(RunError::FolderInUse { path: path.to_owned(), finished: true }),
            None => Ok(FoundRun::Nothing),
        };
    };
    let progress: Option<Progress> = weights::metadata(checkpoint)
        .ok()
        .and_then(|own| serde_json::from_str(own.get("progress")?).ok());
    // One that is damaged is told by whoever goes on from it.
    let Some(progress) = progress else { return Ok(FoundRun::Begun) };
    if let Some((what, _)) =
        identity.iter().find(|(key, value)| progress.identity.get(*key) != Some(value))
    {
        return Err(RunError::Changed { path: path.to_owned(), what: what.clone() });
    }
    Ok(match card {
        Some(card) if progress.steps == steps && card.steps == steps => {
            FoundRun::Finished(Box::new(card))
        }
        _ => FoundRun::Begun,
    })
}

/// Fails while another process writes a run's folder.
pub(crate) fn is_written(path: &Path) -> Result<(), LockError> {
    FolderLock::check(path, folder::WHAT)
}

/// Removes the files of the run in a folder.
///
/// # Errors
/// When another process writes there, or a file cannot be removed.
pub(crate) fn clear_run(path: &Path) -> Result<(), RunError> {
    LanguageFolder::open(path, LanguageStart::Overwrite).map(drop)
}
