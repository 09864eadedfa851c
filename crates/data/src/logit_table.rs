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

use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::error::panic_message;
use crate::files::read_regular;
use crate::{DataError, SampleId};

mod npy;
mod parquet;
#[cfg(test)]
mod tests;

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

/// A table as it stands in a file.
struct Columns {
    ids: Vec<SampleId>,
    classes: usize,
    logits: Vec<f32>,
    class_names: Option<Vec<String>>,
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
            Some("safetensors") => safetensors(path)?,
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
        columns.into_table(path, files)
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

impl Columns {
    fn into_table(self, path: &Path, files: Vec<PathBuf>) -> Result<LogitTable, DataError> {
        let Self { ids, classes, logits, class_names } = self;
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
        Ok(LogitTable { rows, classes, logits, class_names, files })
    }
}

fn problem(path: &Path, problem: impl Into<String>) -> DataError {
    DataError::LogitTable { path: path.to_owned(), problem: problem.into() }
}

/// `class_names` of a file's metadata.
fn class_names(path: &Path, text: Option<&str>) -> Result<Option<Vec<String>>, DataError> {
    let Some(text) = text else { return Ok(None) };
    let names = serde_json::from_str(text)
        .map_err(|error| problem(path, format!("`class_names` is no JSON list of names: {error}")));
    names.map(Some)
}

/// The most bytes of a table: 10 million samples of 20,000 classes.
const MOST_TABLE_BYTES: u64 = 1 << 40;

fn read_bytes(path: &Path) -> Result<Vec<u8>, DataError> {
    read_regular(path, MOST_TABLE_BYTES)
}

fn safetensors(path: &Path) -> Result<Columns, DataError> {
    let bytes = read_bytes(path)?;
    let damaged = |error| problem(path, format!("no readable safetensors file: {error}"));
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(damaged)?;
    let names = header.metadata().as_ref().and_then(|metadata| metadata.get("class_names"));
    let class_names = class_names(path, names.map(String::as_str))?;
    let file = SafeTensors::deserialize(&bytes).map_err(damaged)?;
    let tensor = |name: &str| -> Result<TensorView<'_>, DataError> {
        file.tensor(name).map_err(|_| {
            let found = file.names().into_iter().map(|n| format!("`{n}`")).collect::<Vec<_>>();
            problem(path, format!("it has no tensor `{name}`, only {}", found.join(", ")))
        })
    };
    let (ids, logits) = (tensor("ids")?, tensor("logits")?);
    let (&[samples], Dtype::U64 | Dtype::I64) = (ids.shape(), ids.dtype()) else {
        let (dtype, shape) = (ids.dtype(), ids.shape());
        return Err(problem(path, format!("`ids` is {dtype:?} {shape:?}, U64 [n] is expected")));
    };
    let &[rows, classes] = logits.shape() else {
        let shape = logits.shape();
        return Err(problem(path, format!("`logits` is {shape:?}, [n, classes] is expected")));
    };
    if rows != samples {
        return Err(problem(path, format!("{samples} ids, but {rows} rows of logits")));
    }
    let values = match logits.dtype() {
        Dtype::F32 => numbers(logits.data(), f32::from_le_bytes),
        Dtype::F16 => numbers(logits.data(), |b| f16::from_le_bytes(b).to_f32()),
        Dtype::BF16 => numbers(logits.data(), |b| bf16::from_le_bytes(b).to_f32()),
        Dtype::F64 => numbers(logits.data(), |b| f64::from_le_bytes(b) as f32),
        Dtype::U8 => numbers(logits.data(), |[byte]| f32::from(byte)),
        other => return Err(problem(path, format!("`logits` is {other:?}, F32 is expected"))),
    };
    let ids = numbers(ids.data(), |bytes| SampleId(u64::from_le_bytes(bytes)));
    Ok(Columns { ids, classes, logits: values, class_names })
}

fn numbers<const N: usize, T>(bytes: &[u8], decode: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|&chunk| decode(chunk)).collect()
}
