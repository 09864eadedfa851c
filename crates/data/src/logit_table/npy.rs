//! NumPy's `.npy`, two dimensions, and the ids beside it.
//!
//! ```text
//! "\x93NUMPY", version (2 bytes), length of the header (2 bytes; 4 from version 2), header, values
//! header: {'descr': '<f4', 'fortran_order': False, 'shape': (n, classes), }
//! ```

use std::path::{Path, PathBuf};

use half::f16;

use super::columns::{Columns, numbers, problem, read_bytes};
use crate::{DataError, SampleId};

/// `NAME.npy` gives `NAME.ids.txt`.
pub(super) fn ids_path(path: &Path) -> PathBuf {
    path.with_extension("ids.txt")
}

pub(super) fn read(path: &Path) -> Result<Columns, DataError> {
    let bytes = read_bytes(path)?;
    let wrong = |what: &str| problem(path, format!("no readable .npy file: {what}"));
    let rest = bytes.strip_prefix(b"\x93NUMPY").ok_or_else(|| wrong("other first bytes"))?;
    let (&[major, _minor], rest) =
        rest.split_first_chunk().ok_or_else(|| wrong("it is cut short"))?;
    let (length, rest) = match major {
        1 => rest.split_first_chunk().map(|(n, rest)| (u16::from_le_bytes(*n) as usize, rest)),
        _ => rest.split_first_chunk().map(|(n, rest)| (u32::from_le_bytes(*n) as usize, rest)),
    }
    .ok_or_else(|| wrong("it is cut short"))?;
    let (header, data) = rest.split_at_checked(length).ok_or_else(|| wrong("it is cut short"))?;
    let header = std::str::from_utf8(header).map_err(|_| wrong("its header is no text"))?;
    let value = |key: &str| {
        let (_, rest) = header.split_once(&format!("'{key}':"))?;
        Some(rest.trim_start())
    };
    let fortran = value("fortran_order").ok_or_else(|| wrong("no `fortran_order`"))?;
    let shape = value("shape")
        .and_then(|text| text.strip_prefix('(')?.split_once(')'))
        .ok_or_else(|| wrong("no `shape`"))?
        .0;
    let sizes: Option<Vec<usize>> = shape
        .split(',')
        .map(str::trim)
        .filter(|size| !size.is_empty())
        .map(|size| size.parse().ok())
        .collect();
    let &[rows, classes] = sizes.as_deref().unwrap_or_default() else {
        return Err(problem(path, format!("its shape is ({shape}), (n, classes) is expected")));
    };
    if !fortran.starts_with("False") && rows > 1 && classes > 1 {
        return Err(problem(
            path,
            "its values are in column order: save `np.ascontiguousarray(…)`",
        ));
    }
    let descr = value("descr").and_then(|text| text.get(..5)).unwrap_or_default();
    let logits: Vec<f32> = match descr {
        "'<f4'" => numbers(data, f32::from_le_bytes),
        "'<f2'" => numbers(data, |b| f16::from_le_bytes(b).to_f32()),
        // Percent, or probabilities scaled to a byte.
        "'|u1'" => numbers(data, |[byte]| f32::from(byte)),
        "'<f8'" => numbers(data, |b| f64::from_le_bytes(b) as f32),
        other => return Err(problem(path, format!("its type is {other}, '<f4' is expected"))),
    };
    if rows.checked_mul(classes) != Some(logits.len()) {
        let text = format!("its shape is ({shape}), but it holds {} values", logits.len());
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
