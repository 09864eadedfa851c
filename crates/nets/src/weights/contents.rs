//! What every format comes down to: tensors in storages, and where in the file those lie.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::Path;

use faculty_zip::Extent;
use half::{bf16, f16};

use super::budget::Budget;
use super::state_dict::Array;
use crate::error::{Error, Result};

/// A tensor that has not been read yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    /// PyTorch's word for its numbers, `float32`; or for what holds no plain ones, `sparse`.
    pub(super) dtype: String,
    pub(super) shape: Vec<usize>,
    /// In elements, for tensors that are not simply row-major.
    pub(super) strides: Option<Vec<usize>>,
    pub(super) storage: String,
    /// Byte of the storage with its first element.
    pub(super) start: u64,
}

impl Stored {
    pub(super) fn new(
        dtype: &str,
        shape: Vec<usize>,
        strides: Vec<usize>,
        storage: String,
        start: u64,
    ) -> Self {
        let row_major = is_row_major(&shape, &strides);
        let strides = Some(strides).filter(|_| !row_major);
        Self { dtype: dtype.to_owned(), shape, strides, storage, start }
    }

    /// Something called a tensor that has no numbers of its own.
    pub(super) fn without_numbers(what: &str) -> Self {
        let (shape, storage) = (Vec::new(), String::new());
        Self { dtype: what.to_owned(), shape, strides: None, storage, start: 0 }
    }

    /// Whether its numbers can be weights.
    pub(super) fn is_float(&self) -> bool {
        float_bytes(&self.dtype).is_some()
    }

    pub(super) fn elements(&self) -> u64 {
        self.shape.iter().fold(1, |product, &extent| product.saturating_mul(extent as u64))
    }

    /// Elements of the storage from its first to its last one.
    fn span(&self) -> u64 {
        match &self.strides {
            _ if self.elements() == 0 => 0,
            None => self.elements(),
            Some(strides) => {
                self.shape.iter().zip(strides).fold(1, |last: u64, (&extent, &stride)| {
                    last.saturating_add((extent as u64 - 1).saturating_mul(stride as u64))
                })
            }
        }
    }
}

/// Whether elements follow each other without gaps; the stride of an axis of one element says
/// nothing.
fn is_row_major(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1_usize;
    shape.iter().zip(strides).rev().all(|(&extent, &stride)| {
        let fits = extent <= 1 || stride == expected;
        expected = expected.saturating_mul(extent);
        fits
    })
}

/// Bytes of a number that can be a weight.
pub(super) fn float_bytes(dtype: &str) -> Option<u64> {
    match dtype {
        "float32" => Some(4),
        "float64" => Some(8),
        "float16" | "bfloat16" => Some(2),
        _ => None,
    }
}

/// The tensors of a file under the names that lead to them, dots between them.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) tensors: BTreeMap<String, Stored>,
    pub(super) storages: HashMap<String, Extent>,
    pub(super) big_endian: bool,
    /// Pickled objects that are no tensors, by name: their classes.
    pub(super) objects: BTreeMap<String, String>,
    /// The class of a whole module among them.
    pub(super) module: Option<String>,
}

impl Contents {
    /// The numbers of one of its tensors.
    pub(super) fn read(
        &self,
        name: &str,
        path: &Path,
        file: &mut File,
        budget: &mut Budget,
    ) -> Result<Array> {
        let damaged = |problem: &str| Error::Damaged {
            path: path.to_owned(),
            problem: format!("tensor `{name}` {problem}"),
        };
        let stored = self.tensors.get(name).ok_or_else(|| damaged("is missing"))?;
        let Some(size) = float_bytes(&stored.dtype) else {
            let (path, tensor, found) = (path.to_owned(), name.to_owned(), stored.dtype.clone());
            return Err(Error::TensorType { path, tensor, found });
        };
        let span = stored.span().saturating_mul(size);
        budget.spend(stored.elements().saturating_mul(4).max(span))?;
        let beyond = || damaged("reaches beyond its storage");
        let extent = self.storages.get(&stored.storage).ok_or_else(|| damaged("has no storage"))?;
        let start = stored.start;
        if start.checked_add(span).is_none_or(|end| end > extent.length) {
            return Err(beyond());
        }
        let bytes = extent
            .read(file, start, span)
            .map_err(|source| unreadable(path, &format!("tensor `{name}`"), source))?;
        let values = floats(&stored.dtype, &bytes, self.big_endian);
        let values = match &stored.strides {
            None => values,
            Some(strides) => gathered(&values, &stored.shape, strides),
        };
        Ok(Array { shape: stored.shape.clone(), values })
    }
}

/// The error for bytes that are there and wrong, or that cannot be read.
pub(super) fn unreadable(path: &Path, what: &str, source: std::io::Error) -> Error {
    use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    let path = path.to_owned();
    match source.kind() {
        InvalidData | InvalidInput | UnexpectedEof => {
            Error::Damaged { path, problem: format!("{what}: {source}") }
        }
        _ => Error::Read { path, source },
    }
}

fn floats(dtype: &str, bytes: &[u8], big_endian: bool) -> Vec<f32> {
    match dtype {
        "float32" => values(bytes, big_endian, f32::from_le_bytes),
        "float64" => values(bytes, big_endian, |b| f64::from_le_bytes(b) as f32),
        "float16" => values(bytes, big_endian, |b| f16::from_le_bytes(b).to_f32()),
        _ => values(bytes, big_endian, |b| bf16::from_le_bytes(b).to_f32()),
    }
}

fn values<const N: usize>(
    bytes: &[u8],
    big_endian: bool,
    decode: impl Fn([u8; N]) -> f32,
) -> Vec<f32> {
    let (chunks, _) = bytes.as_chunks::<N>();
    let little = |mut chunk: [u8; N]| {
        if big_endian {
            chunk.reverse();
        }
        chunk
    };
    chunks.iter().map(|&chunk| decode(little(chunk))).collect()
}

/// Row-major values of a tensor with other strides.
fn gathered(storage: &[f32], shape: &[usize], strides: &[usize]) -> Vec<f32> {
    let count = shape.iter().product();
    let mut index = vec![0; shape.len()];
    let mut at = 0;
    let mut values = Vec::with_capacity(count);
    while values.len() < count {
        values.push(storage[at]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            at -= index[axis] * strides[axis];
            index[axis] = 0;
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_are_followed() {
        let storage: Vec<f32> = (0..6).map(|n| n as f32).collect();
        assert_eq!(gathered(&storage, &[3, 2], &[1, 3]), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(gathered(&storage, &[2, 2], &[0, 1]), [0.0, 1.0, 0.0, 1.0]);
        assert_eq!(gathered(&storage, &[], &[]), [0.0]);
    }

    #[test]
    fn numbers_of_every_kind_and_order_are_read() {
        assert_eq!(floats("float32", &1.5f32.to_be_bytes(), true), [1.5]);
        assert_eq!(floats("float64", &(-0.25f64).to_le_bytes(), false), [-0.25]);
        assert_eq!(floats("float16", &f16::from_f32(3.0).to_be_bytes(), true), [3.0]);
        assert_eq!(floats("bfloat16", &bf16::from_f32(-2.0).to_le_bytes(), false), [-2.0]);
    }
}
