//! Whether two models have the same tokens.
//!
//! Ids must stand for the same tokens, and tables of words have as many rows. Rows without a token in one of
//! the models fill its table up: they are not compared.

use crate::run_error::RunError;
use crate::tokenizer::TextTokenizer;

/// A model's tokens, and the rows of its word table.
pub(crate) type Vocabulary<'a> = (&'a TextTokenizer, usize);

/// The ids below both numbers of rows that stand for another token.
pub(crate) fn other_tokens(
    (one, rows): Vocabulary<'_>,
    (other, other_rows): Vocabulary<'_>,
) -> Vec<u32> {
    let differs = |&id: &u32| {
        let tokens = [one, other].map(|own| own.token(id));
        matches!(&tokens, [Some(own), Some(other)] if own != other)
    };
    (0..rows.min(other_rows) as u32).filter(differs).collect()
}

/// Compares all tokens by what they stand for: equal sizes alone say little.
///
/// # Errors
/// [`RunError::Vocabulary`] with both sizes and the first token that differs.
pub(crate) fn check_same(
    name: &str,
    teacher: Vocabulary<'_>,
    student: Vocabulary<'_>,
) -> Result<(), RunError> {
    let (rows, own_rows) = (teacher.1, student.1);
    let others = other_tokens(teacher, student);
    let beyond = (rows != own_rows).then_some(rows.min(own_rows) as u32);
    let Some(id) = others.first().copied().or(beyond) else { return Ok(()) };
    let shown = |(tokenizer, rows): Vocabulary<'_>| {
        let token = ((id as usize) < rows).then(|| tokenizer.token(id)).flatten();
        token.map_or("none".to_owned(), |token| format!("`{}`", token.escape_debug()))
    };
    Err(RunError::Vocabulary {
        teacher: name.to_owned(),
        sizes: format!("{rows} there, {own_rows} here"),
        id: id as usize,
        theirs: shown(teacher),
        own: shown(student),
    })
}
