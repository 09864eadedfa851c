//! Whether the files of two models have the same tokens.

use std::path::Path;

use faculty_nets::decoder_config;

use crate::model::LanguageModel;
use crate::run_error::RunError;
use crate::vocabulary::check_same;

/// Checks that a teacher's file has the tokens of another model's, without reading weights.
///
/// # Errors
/// [`RunError::Vocabulary`], and when a file cannot be read.
pub fn check_same_tokens(name: &str, teacher: &Path, student: &Path) -> Result<(), RunError> {
    if teacher == student {
        return Ok(());
    }
    let rows = |path: &Path| decoder_config(path).map(|own| own.vocabulary);
    let [(theirs, _), (own, _)] =
        [LanguageModel::tokenizer(teacher)?, LanguageModel::tokenizer(student)?];
    check_same(name, (&theirs, rows(teacher)?), (&own, rows(student)?))
}
