//! Texts as samples.
//!
//! ```text
//! files -> rows (texts, label, place) -> classes, splits, what is said of them -> TextSet
//! TextSet -> view (words swapped, left out) -> Tokenizer -> Inputs::Texts
//! ```
//!
//! One format is one file: [`csv`], [`json_lines`], [`parquet`], [`folder`]. Each gives rows; what is
//! common to all (labels, empty texts, duplicates) is in `gather`.

mod columns;
pub mod csv;
pub mod folder;
mod gather;
pub mod json_lines;
pub mod parquet;
pub(crate) mod set;
mod table;
pub(crate) mod tokenizer;
mod utf8;
pub(crate) mod words;

use std::path::Path;

pub(crate) use self::columns::are_texts;
use crate::DataError;

/// The error of a data set without texts.
pub(crate) fn no_texts(path: &Path) -> DataError {
    DataError::Texts {
        path: path.to_owned(),
        place: None,
        problem: "there are no texts with a label".to_owned(),
        fix: "add texts, or name another split".to_owned(),
    }
}
