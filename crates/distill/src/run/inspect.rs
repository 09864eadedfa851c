//! The teachers of a recipe, measured instead of a run.

use faculty_data::Dataset;
use faculty_recipe::Recipe;
use faculty_teachers::{self as teachers, prepare_data};

use crate::error::Result;
use crate::heads::mounted_if_trained;
use crate::preflight::Report;

/// Measures the teachers of a recipe and tries other normalisations and class orders on each, for
/// `faculty teachers`. At most `samples` of the validation split are used, if that is given. Heads
/// are measured too if they are all trained.
///
/// # Errors
/// When data or teachers cannot be used, a teacher gives what no loss can use, or there is neither a
/// validation nor a test split. A teacher near chance is no error here.
pub fn inspect_teachers(
    recipe: &Recipe,
    dataset: &Dataset,
    samples: Option<usize>,
) -> Result<Report> {
    recipe.check(&crate::methods::specs())?;
    let recipe = &mounted_if_trained(recipe, dataset)?;
    let data = prepare_data(recipe, dataset)?;
    Ok(teachers::inspect_teachers(recipe, dataset.classes(), &data, samples)?)
}
