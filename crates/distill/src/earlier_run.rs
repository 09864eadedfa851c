//! What an earlier program left of a planned run: nothing, a part, all of it, or another run.

use std::path::Path;

use crate::checkpoint::{Identity, recipe_changes};
use crate::error::{Error, Result};
use crate::methods;
use crate::recipe::Recipe;
use crate::record::RunCard;
use crate::run_folder::RunFolder;

/// What is there of one planned run.
pub(crate) enum Found {
    /// No epoch.
    Nothing,
    /// Some epochs.
    Split,
    /// All of it.
    Finished(Box<RunCard>),
}

/// Looks into the folder of a run of `epochs` epochs that has this identity.
///
/// # Errors
/// When the folder holds another run or is damaged.
pub(crate) fn find_run(folder: &RunFolder, identity: &Identity, epochs: usize) -> Result<Found> {
    let card = folder.card()?;
    let Some(progress) = folder.progress()? else {
        // Without its checkpoint nobody knows what a finished run was.
        return match card {
            Some(_) => Err(Error::FolderInUse { path: folder.path().into(), finished: true }),
            None => Ok(Found::Nothing),
        };
    };
    check_same_run(folder.path(), &progress.identity, identity, None)?;
    Ok(match card {
        Some(card) if progress.epoch == epochs || card.early_stop.is_some() => {
            Found::Finished(Box::new(card))
        }
        _ => Found::Split,
    })
}

/// Refuses a run of other data, another recipe or other weights, unless the change is `allowed`;
/// none where nobody could allow it.
pub(crate) fn check_same_run(
    folder: &Path,
    then: &Identity,
    now: &Identity,
    allowed: Option<&[String]>,
) -> Result<()> {
    let changes = then.refused(now, allowed.unwrap_or_default());
    if changes.is_empty() {
        return Ok(());
    }
    let can_allow = allowed.is_some();
    Err(Error::OtherRun { path: folder.to_owned(), changes, can_allow })
}

/// Refuses the folder of another recipe; one without any becomes that of this one.
pub(crate) fn check_same_recipe(folder: &RunFolder, recipe: &Recipe) -> Result<()> {
    let path = folder.recipe();
    if !path.exists() {
        // Killed before it wrote anything: `RunFolder::open` has looked.
        return folder.write_recipe(&recipe.to_toml()?);
    }
    let then = Recipe::load(&path, &[], &methods::specs())?.recipe;
    let changes = recipe_changes(&then, recipe)?;
    if changes.is_empty() {
        return Ok(());
    }
    Err(Error::OtherRun { path: folder.path().to_owned(), changes, can_allow: false })
}
