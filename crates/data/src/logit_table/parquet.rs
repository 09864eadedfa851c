//! A table of logits in a Parquet file, as pandas and PyArrow write it.

use std::path::Path;

use super::columns::{Columns, class_names, problem};
use crate::parquet::column::Table;
use crate::{DataError, SampleId};

pub(super) fn read(path: &Path) -> Result<Columns, DataError> {
    let table = Table::open(path)?;
    let names = table
        .file_metadata()
        .key_value_metadata()
        .and_then(|all| all.iter().find(|entry| entry.key == "class_names"))
        .and_then(|entry| entry.value.as_deref());
    let class_names = class_names(path, names)?;
    let leaves = table.leaves();
    let id = leaves.iter().find(|leaf| leaf.name == "id").ok_or_else(|| {
        problem(path, "it has no column `id`: 16 hexadecimal digits, or 64-bit numbers")
    })?;
    let lists = table.list("logits").ok_or_else(|| {
        problem(path, "it has no column `logits` with a list of floats in each row")
    })?;
    let mut ids = Vec::new();
    if id.physical == parquet::basic::Type::INT64 {
        table.labels(id, |_, number| {
            ids.push(SampleId(number.cast_unsigned()));
            Ok(())
        })?;
    } else {
        table.images(id, |first_row, texts| {
            for (row, text) in (first_row..).zip(texts) {
                let text = String::from_utf8_lossy(text.data());
                let id = text.parse().map_err(|error| problem(path, format!("row {row}: {error}")));
                ids.push(id?);
            }
            Ok(())
        })?;
    }
    let (mut classes, mut logits) = (0, Vec::new());
    table.lists(&lists, |row, values| {
        if row == 0 {
            classes = values.len();
        }
        if values.len() != classes {
            let text = format!("row {row} has {} logits, row 0 has {classes}", values.len());
            return Err(problem(path, text));
        }
        logits.extend_from_slice(values);
        Ok(())
    })?;
    Ok(Columns { ids, classes, logits, class_names })
}
