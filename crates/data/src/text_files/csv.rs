//! Tables of texts as CSV or TSV.
//!
//! ```text
//! train.csv, perhaps validation.csv and test.csv; train.tsv, dev.tsv; as in `shards`
//! reviews.csv                              the only such file: all of it is for training
//!     text,label                           or with further columns, in any order
//!     text,label,split                     one file for all splits
//! ```
//!
//! Columns are known by their names, see `columns`, or named by the options `text_column`,
//! `text_pair_column`, `label_column`. Fields are separated by commas, semicolons or tabs and quoted
//! as RFC 4180 says; a quoted text may have several lines. In a table of tabs with one row a line a
//! quotation mark is a letter, as in the files of GLUE. The first line must be a header.

use std::path::Path;

use super::columns::Columns;
use super::gather::{Row, Rows, trimmed};
use super::table::{Header, Kind, Source, Table};
use crate::files::{MOST_BYTES, read_at_most};
use crate::utf8::text_of;
use crate::{DataError, Dataset, Format, ReadOptions, separated};

const KIND: Kind = Kind {
    format: Format::TextCsv,
    endings: &[".csv", ".tsv"],
    header: |path| Some(Header { columns: separated::header(path)?, has_images: false }),
    read: read_table,
};

pub(crate) fn recognises(path: &Path, options: &ReadOptions) -> Result<bool, DataError> {
    KIND.recognises(path, options)
}

/// Whether there are files that only this format can be of; reading them says what is wrong.
pub(crate) fn has_files(path: &Path, options: &ReadOptions) -> Result<bool, DataError> {
    KIND.has_files(path, options)
}

/// Reads the dataset in the folder `path`.
///
/// # Errors
/// No file, no column of texts, a row with other fields than the header, a file that is not UTF-8,
/// labels that are no classes: [`DataError`] with file and line.
pub fn read(path: &Path, options: &ReadOptions) -> Result<Dataset, DataError> {
    KIND.read_dataset(path, options)
}

fn read_table(source: &Source<'_>) -> Result<Table, DataError> {
    let Source { path, options, budget, .. } = *source;
    let (file, length) = source.open()?;
    budget.store(length);
    let text = text_of(path, read_at_most(file, length, path, MOST_BYTES)?)?;
    let table = separated::Table::parse(&text).map_err(|(line, problem)| DataError::Texts {
        path: path.to_owned(),
        place: Some(("line", line as u64)),
        problem,
        fix:
            "put a text that holds the separator or a line break into quotation marks, and double \
              those inside it"
                .to_owned(),
    })?;
    let columns = Columns::choose(path, &table.header, options)?;
    let mut rows = Vec::with_capacity(table.rows.len());
    let mut splits = Vec::new();
    for (line, fields) in table.rows {
        let field = |column: usize| fields[column].as_str();
        let text = trimmed(field(columns.first), columns.second.map(field));
        budget.take(path, &text)?;
        let label = columns.label.map_or_else(String::new, |label| field(label).to_owned());
        rows.push(Row { text, label, place: line as u64 });
        splits.extend(columns.split.map(|split| field(split).trim().to_owned()));
    }
    Ok(Table { rows: Rows { path: path.to_owned(), kind: "line", rows, names: None }, splits })
}

#[cfg(test)]
mod tests;
