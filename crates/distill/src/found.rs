//! What an earlier program left of a planned run: nothing, a part, all of it, or another run.

use std::path::Path;

use crate::checkpoint::{self, Progress};
use crate::error::{Error, Result};
use crate::methods;
use crate::recipe::Recipe;
use crate::record::RunCard;
use crate::run::comparable;
use crate::run_folder::RunFolder;

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

/// Refuses a checkpoint of other data, another recipe or other weights, with the first difference.
pub(crate) fn check_same_run(path: &Path, found: &Progress, expected: &Progress) -> Result<()> {
    let other = |what: &str| Error::OtherRun { path: path.to_owned(), what: what.to_owned() };
    if found.data_fingerprint != expected.data_fingerprint {
        return Err(other("the data set"));
    }
    if found.recipe != expected.recipe {
        let line = first_difference(&found.recipe, &expected.recipe);
        return Err(other(&format!("the recipe or a weight file ({line})")));
    }
    Ok(())
}

/// Refuses the folder of another recipe, with the first difference.
pub(crate) fn check_same_recipe(folder: &RunFolder, recipe: &Recipe) -> Result<()> {
    let path = folder.recipe();
    if !path.exists() {
        return Err(Error::NothingToResume { path: folder.path().to_owned() });
    }
    let then = comparable(&Recipe::load(&path, &[], &methods::specs())?.recipe)?;
    let now = comparable(recipe)?;
    if then == now {
        return Ok(());
    }
    let what = format!("the recipe ({})", first_difference(&then, &now));
    Err(Error::OtherRun { path, what })
}

/// The first line that differs, as `now …, then …`.
fn first_difference(then: &str, now: &str) -> String {
    let mut then_lines = then.lines();
    let mut now_lines = now.lines();
    loop {
        match (then_lines.next(), now_lines.next()) {
            (None, None) => return "line endings".to_owned(),
            (a, b) if a == b => {}
            (a, b) => {
                return format!("now `{}`, then `{}`", b.unwrap_or("-"), a.unwrap_or("-"));
            }
        }
    }
}
