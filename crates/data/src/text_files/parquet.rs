//! Tables of texts as Parquet, as on the Hugging Face hub.
//!
//! ```text
//! train-00000-of-00001.parquet, test-00000-of-00001.parquet; as in `shards`
//! text columns     UTF-8, known by their names as those of [`super::csv`] are
//! label column     whole numbers (also as floats), with class names from the key `huggingface` of the
//!                  file's metadata (`ClassLabel`) or without; texts; true and false
//! ```
//!
//! A file with a column of images is one of images ([`crate::parquet`]), unless `text_column` is
//! given. A row without a value in the label column, or with -1, has no label.

use std::path::Path;

use ::parquet::basic::Type;

use super::columns::{Columns, is_called_label};
use super::gather::{Row, Rows, trimmed};
use super::table::{self, Header, Kind, Source};
use crate::parquet::column::{Leaf, Table};
use crate::parquet::schema::{class_labels, has_images};
use crate::parquet::{ENDINGS, guarded};
use crate::{DataError, Dataset, Format, ReadOptions};

const KIND: Kind =
    Kind { format: Format::TextParquet, endings: &ENDINGS, header, read: read_table };

pub(crate) fn recognises(path: &Path, options: &ReadOptions) -> Result<bool, DataError> {
    KIND.recognises(path, options)
}

/// Reads the dataset in the folder `path`.
///
/// # Errors
/// A missing shard, a damaged file, no or several possible columns, labels that are no classes:
/// [`DataError`] with file, column and row.
pub fn read(path: &Path, options: &ReadOptions) -> Result<Dataset, DataError> {
    KIND.read_dataset(path, options)
}

/// The columns of a file, if it can be read.
fn header(path: &Path) -> Option<Header> {
    let leaves = guarded(path, || Table::open(path)).ok()?.leaves();
    let may_be_images =
        leaves.iter().filter(|leaf| !super::columns::is_text_for_certain(&leaf.name));
    let has_images = has_images(&may_be_images.cloned().collect::<Vec<_>>());
    Some(Header { columns: names(&leaves), has_images })
}

/// Old programs write texts without saying that they are.
fn is_text(leaf: &Leaf) -> bool {
    leaf.physical == Type::BYTE_ARRAY
}

/// Columns that may be texts or labels, by their names.
fn names(leaves: &[Leaf]) -> Vec<String> {
    let fits = |leaf: &&Leaf| {
        let can_be = matches!(
            leaf.physical,
            Type::INT32 | Type::INT64 | Type::BOOLEAN | Type::FLOAT | Type::DOUBLE
        );
        !leaf.name.contains('.') && (can_be || is_text(leaf))
    };
    leaves.iter().filter(fits).map(|leaf| leaf.name.clone()).collect()
}

fn read_table(source: &Source<'_>) -> Result<table::Table, DataError> {
    guarded(source.path, || {
        let Source { path, options, budget, .. } = *source;
        let (file, length) = source.open()?;
        budget.store(length);
        let table = Table::of_file(path, (file, length))?;
        let leaves = table.leaves();
        let header = names(&leaves);
        let columns = Columns::choose(path, &header, options)?;
        let leaf = |column: usize| {
            let leaf = leaves.iter().find(|leaf| leaf.name == header[column]);
            leaf.expect("the header is made of the leaves")
        };
        let values = |column: usize| -> Result<Vec<String>, DataError> {
            let mut values = Vec::with_capacity(table.rows());
            table.optional_texts(leaf(column), |_, value| {
                let value = value.unwrap_or_default().to_owned();
                budget.take(path, &trimmed(&value, None))?;
                values.push(value);
                Ok(())
            })?;
            Ok(values)
        };
        for column in [Some(columns.first), columns.second].into_iter().flatten() {
            if !is_text(leaf(column)) {
                return Err(DataError::Column {
                    path: path.to_owned(),
                    problem: format!("column `{}` holds no texts", header[column]),
                    candidates: format!("the columns `{}`", header.join("`, `")),
                    key: "text_column",
                });
            }
        }
        if columns.label.is_none() {
            refuse_other_labels(path, &table.columns(), &header)?;
        }
        let first = values(columns.first)?;
        let second = columns.second.map(values).transpose()?;
        let labels = columns.label.map(values).transpose()?;
        let splits = columns.split.map(values).transpose()?.unwrap_or_default();
        let rows = first.iter().enumerate().map(|(row, first)| Row {
            text: trimmed(first, second.as_ref().map(|second| second[row].as_str())),
            label: labels.as_ref().map_or_else(String::new, |labels| labels[row].clone()),
            place: row as u64,
        });
        let label = columns.label.map(|label| &header[label]);
        let mut named = class_labels(&table)?.into_iter().filter(|(name, _)| Some(name) == label);
        let names = named.next().and_then(|(_, names)| names);
        let rows = Rows { path: path.to_owned(), kind: "row", rows: rows.collect(), names };
        Ok(table::Table { rows, splits })
    })
}

/// Refuses a column that is called like one of labels and holds something else, such as lists.
fn refuse_other_labels(path: &Path, all: &[String], header: &[String]) -> Result<(), DataError> {
    let other = all.iter().find(|name| !header.contains(name) && is_called_label(name));
    other.map_or(Ok(()), |name| {
        Err(DataError::Labels {
            path: path.to_owned(),
            problem: format!("column `{name}` holds neither numbers nor texts"),
            fix: "give each text one label, a whole number or a text; or name another column with \
                  `label_column = …`"
                .to_owned(),
        })
    })
}

#[cfg(test)]
mod tests;
