//! Whether two models have the same tokens.

use crate::run_error::RunError;
use crate::tokenizer::TextTokenizer;

/// A model's tokens, and the rows of its word table.
pub(super) type Vocabulary<'a> = (&'a TextTokenizer, usize);

/// Compares all tokens by what they stand for: equal sizes alone say little.
///
/// # Errors
/// [`RunError::Vocabulary`] with both sizes and the first token that differs.
pub(super) fn check_same(
    name: &str,
    (teacher, rows): Vocabulary<'_>,
    (student, own_rows): Vocabulary<'_>,
) -> Result<(), RunError> {
    let differs = |&id: &usize| {
        let token = |own: &TextTokenizer| u32::try_from(id).ok().and_then(|id| own.token(id));
        token(teacher) != token(student)
    };
    let shared = rows.min(own_rows);
    let Some(id) = (0..shared).find(differs).or((rows != own_rows).then_some(shared)) else {
        return Ok(());
    };
    let shown = |tokenizer: &TextTokenizer, rows: usize| {
        let token = u32::try_from(id).ok().filter(|_| id < rows).and_then(|id| tokenizer.token(id));
        token.map_or("none".to_owned(), |token| format!("`{}`", token.escape_debug()))
    };
    Err(RunError::Vocabulary {
        teacher: name.to_owned(),
        sizes: format!("{rows} there, {own_rows} here"),
        id,
        theirs: shown(teacher, rows),
        own: shown(student, own_rows),
    })
}
