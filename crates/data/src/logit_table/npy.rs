//! NumPy's `.npy`, two dimensions, and the ids beside it.

use std::path::{Path, PathBuf};

use half::f16;

use super::columns::{Columns, problem, read_bytes};
use crate::npy::{Header, numbers};
use crate::{DataError, SampleId};

/// `NAME.npy` gives `NAME.ids.txt`.
pub(super) fn ids_path(path: &Path) -> PathBuf {
    path.with_extension("ids.txt")
}

pub(super) fn read(path: &Path) -> Result<Columns, DataError> {
    let bytes = read_bytes(path)?;
    let header = Header::read(&bytes).map_err(|wrong| problem(path, wrong))?;
    let shape = &header.shape;
    let &[rows, classes] = shape.as_slice() else {
        let text = format!("its shape is {shape:?}, [n, classes] is expected");
        return Err(problem(path, text));
    };
    if header.fortran_order && rows > 1 && classes > 1 {
        return Err(problem(
            path,
            "its values are in column order: save `np.ascontiguousarray(…)`",
        ));
    }
    let data = &bytes[header.data.clone()];
    let logits: Vec<f32> = match header.descr.as_str() {
        "<f4" => numbers(data, f32::from_le_bytes),
        "<f2" => numbers(data, |b| f16::from_le_bytes(b).to_f32()),
        // Percent, or probabilities scaled to a byte.
        "|u1" => numbers(data, |[byte]| f32::from(byte)),
        "<f8" => numbers(data, |b| f64::from_le_bytes(b) as f32),
        other => return Err(problem(path, format!("its type is `{other}`, `<f4` is expected"))),
    };
    if header.values() != Some(logits.len()) {
        let text = format!("its shape is {shape:?}, but it holds {} values", logits.len());
        return Err(problem(path, text));
    }
    let ids = read_ids(path, &ids_path(path))?;
    if ids.len() != rows {
        return Err(problem(path, format!("{} ids, but {rows} rows of logits", ids.len())));
    }
    Ok(Columns { ids, classes, logits, class_names: None })
}

/// One id a line. Without this file rows would be known by their position only, and that is not
/// accepted.
fn read_ids(table: &Path, path: &Path) -> Result<Vec<SampleId>, DataError> {
    if !path.exists() {
        return Err(problem(
            table,
            format!("a .npy file needs the ids of its rows in `{}`", path.display()),
        ));
    }
    let bytes = read_bytes(path)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| problem(path, "it is no text"))?;
    let id = |(line, text): (usize, &str)| {
        text.trim().parse().map_err(|error| problem(path, format!("line {}: {error}", line + 1)))
    };
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(id).collect()
}
