//! A table of logits in a safetensors file.

use std::collections::HashMap;
use std::path::Path;

use faculty_files::write_atomically;

use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::columns::{Columns, class_names, problem, read_bytes};
use crate::npy::numbers;
use crate::{DataError, SampleId};

/// Writes a table that [`read`] reads, whole or not at all.
pub(super) fn write(
    path: &Path,
    ids: &[SampleId],
    logits: &[f32],
    class_names: &[String],
) -> Result<(), DataError> {
    let bytes: Vec<u8> = ids.iter().flat_map(|id| id.0.to_le_bytes()).collect();
    let values: Vec<u8> = logits.iter().flat_map(|logit| logit.to_le_bytes()).collect();
    let classes = logits.len() / ids.len().max(1);
    let wrong = |error| problem(path, format!("it cannot be written: {error}"));
    let ids = TensorView::new(Dtype::U64, vec![ids.len()], &bytes).map_err(wrong)?;
    let logits = TensorView::new(Dtype::F32, vec![ids.shape()[0], classes], &values);
    let names = serde_json::to_string(class_names).expect("names always serialise");
    let metadata = HashMap::from([("class_names".to_owned(), names)]);
    let tensors = [("ids", ids), ("logits", logits.map_err(wrong)?)];
    let file = safetensors::serialize(tensors, Some(metadata)).map_err(wrong)?;
    write_atomically(path, &file).map_err(|error| problem(path, error.to_string()))
}

pub(super) fn read(path: &Path) -> Result<Columns, DataError> {
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
