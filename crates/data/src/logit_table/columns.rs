//! A table as it stands in a file, and what its readers share.

use std::path::Path;

use crate::files::read_regular;
use crate::{DataError, SampleId};

/// A table as it stands in a file.
pub(super) struct Columns {
    pub(super) ids: Vec<SampleId>,
    pub(super) classes: usize,
    pub(super) logits: Vec<f32>,
    pub(super) class_names: Option<Vec<String>>,
}

pub(super) fn problem(path: &Path, problem: impl Into<String>) -> DataError {
    DataError::LogitTable { path: path.to_owned(), problem: problem.into() }
}

/// `class_names` of a file's metadata.
pub(super) fn class_names(
    path: &Path,
    text: Option<&str>,
) -> Result<Option<Vec<String>>, DataError> {
    let Some(text) = text else { return Ok(None) };
    let names = serde_json::from_str(text)
        .map_err(|error| problem(path, format!("`class_names` is no JSON list of names: {error}")));
    names.map(Some)
}

/// The most bytes of a table: 10 million samples of 20,000 classes.
const MOST_TABLE_BYTES: u64 = 1 << 40;

pub(super) fn read_bytes(path: &Path) -> Result<Vec<u8>, DataError> {
    read_regular(path, MOST_TABLE_BYTES)
}
