//! Tables of a teacher's logits, keyed by sample id: for teachers that cannot be run here.
//!
//! ```text
//! NAME.safetensors  `ids` [n], U64 or I64 (the same bits), and `logits` [n, classes], F32, F16, BF16, F64 or U8
//! NAME.parquet      column `id`, 16 hexadecimal digits or 64-bit numbers, and column `logits`,
//!                   a list of floats, as long in every row
//! NAME.npy          [n, classes], f4, f2, f8 or u1, and beside it NAME.ids.txt: one id a line
//! ```
//! Rows are found by id and never by position, so their order is free and rows of other data are
//! ignored. What the numbers are (logits, probabilities, percent) is not looked at here. A safetensors or Parquet file may name its classes: metadata `class_names`, a JSON list.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::error::panic_message;
use crate::{DataError, SampleId};

mod columns;
mod npy;
mod parquet;
mod safetensors;
#[cfg(test)]
mod tests;

use self::columns::{Columns, problem};

/// More classes are a mistake, not a table.
const MOST_CLASSES: usize = 1 << 20;

/// Logits by sample id.
#[derive(Clone, Debug)]
pub struct LogitTable {
    rows: HashMap<SampleId, usize>,
    classes: usize,
    logits: Vec<f32>,
    class_names: Option<Vec<String>>,
    files: Vec<PathBuf>,
}

impl LogitTable {
    /// Reads a table; the format is the one of the file's ending.
    ///
    /// # Errors
    /// [`DataError::Io`] and [`DataError::LogitTable`]: another ending, a damaged file, missing
    /// parts, shapes that do not fit, an id that is none or stands there twice, a logit that is not
    /// finite.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        if let Err(error) = std::fs::metadata(path) {
            return Err(problem(path, format!("it cannot be read: {error}")));
        }
        let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        let mut files = vec![path.to_owned()];
        let columns = match ending.as_deref() {
            Some("safetensors") => safetensors::read(path)?,
            Some("parquet") => {
                // The Parquet reader is not ours; see `parquet.rs`.
                catch_unwind(AssertUnwindSafe(|| parquet::read(path))).unwrap_or_else(
                    |payload| {
                        let message = panic_message(payload.as_ref());
                        Err(DataError::DecoderPanicked {
                            path: path.to_owned(),
                            row: None,
                            message,
                        })
                    },
                )?
            }
            Some("npy") => {
                files.push(npy::ids_path(path));
                npy::read(path)?
            }
            _ => {
                return Err(problem(
                    path,
                    "it ends in none of `.safetensors`, `.parquet` and `.npy`",
                ));
            }
        };
        Self::of(columns, path, files)
    }

    /// Writes a table as `.safetensors`: logits `[ids, classes]` of different samples.
    ///
    /// # Errors
    /// [`DataError::LogitTable`] if it cannot be written.
    ///
    /// # Panics
    /// If there is not a row of `class_names` logits for each id.
    pub fn write(
        path: &Path,
        ids: &[SampleId],
        logits: &[f32],
        class_names: &[String],
    ) -> Result<(), DataError> {
        assert_eq!(logits.len(), ids.len() * class_names.len(), "a row of logits for each id");
        safetensors::write(path, ids, logits, class_names)
    }

    /// Checks that the parts fit together.
    fn of(columns: Columns, path: &Path, files: Vec<PathBuf>) -> Result<Self, DataError> {
        let Columns { ids, classes, logits, class_names } = columns;
        if classes == 0 || ids.is_empty() {
            return Err(problem(path, "it holds no logits"));
        }
        if classes > MOST_CLASSES || ids.len().checked_mul(classes) != Some(logits.len()) {
            return Err(problem(
                path,
                format!("{} ids and {} logits of {classes} classes", ids.len(), logits.len()),
            ));
        }
        if let Some(at) = logits.iter().position(|logit| !logit.is_finite()) {
            let (row, class) = (at / classes, at % classes);
            return Err(problem(path, format!("row {row}, class {class} is {}", logits[at])));
        }
        if let Some(names) = class_names.as_ref().filter(|names| names.len() != classes) {
            return Err(problem(
                path,
                format!("`class_names` has {} names, there are {classes} classes", names.len()),
            ));
        }
        let mut rows = HashMap::with_capacity(ids.len());
        for (row, id) in ids.into_iter().enumerate() {
            if let Some(first) = rows.insert(id, row) {
                return Err(problem(
                    path,
                    format!("rows {first} and {row} are both of sample {id}"),
                ));
            }
        }
        Ok(Self { rows, classes, logits, class_names, files })
    }

    /// Number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Number of samples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it has no samples.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The names of its classes, where the file has them.
    #[must_use]
    pub fn class_names(&self) -> Option<&[String]> {
        self.class_names.as_deref()
    }

    /// The logits of a sample, `[classes]`.
    #[must_use]
    pub fn get(&self, id: SampleId) -> Option<&[f32]> {
        let row = *self.rows.get(&id)?;
        Some(&self.logits[row * self.classes..][..self.classes])
    }

    /// The files that it was read from.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }
}
