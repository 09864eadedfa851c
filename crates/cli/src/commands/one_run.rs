//! `faculty train` and `faculty distill`: one run of a recipe, of whatever kind.

use faculty_distill::recipe::LanguageRecipe;

use super::{Kind, language_run, train};
use crate::arguments::RunOptions;
use crate::failure::Failure;

pub(crate) fn run(options: &RunOptions, kind: Kind) -> Result<(), Failure> {
    if LanguageRecipe::is_at(&options.recipe, &options.sets) {
        return language_run::run(options, kind);
    }
    train::run(options, kind)
}
