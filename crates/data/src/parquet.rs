//! Parquet files as on the Hugging Face hub.
//!
//! ```text
//! train-00000-of-00002.parquet, train-00001-of-00002.parquet, test-00000-of-00001.parquet
//! train/0000.parquet, train/0001.parquet, test/0000.parquet       the hub's own conversion
//!     in the folder, in its `data/`, or in its only subfolder with such files
//! image column   a struct { bytes, path } or plain bytes: an image file
//! label column   whole numbers, with class names from the key `huggingface` of the file's metadata;
//!                or texts, which are the class names
//! ```
//!
//! The label column is the one of the option `label_column`, else the only `ClassLabel` column,
//! else `fine_label` where there is also `coarse_label` (CIFAR-100), else the one called `label`;
//! anything else is an error that lists the candidates. A shard that is missing (`…-of-00002`) is an
//! error. Without class names in the file they are the option `classes`, or the numbers from 0 (or
//! the option `first_label`) to the highest label. A split whose labels are all -1 has none.
//! Snappy, gzip, Zstandard and no compression are read.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use ::parquet::basic::Type;

mod bounded;
pub(crate) mod column;
pub(crate) mod schema;
mod zstd;

use crate::bounds::Budget;
use crate::error::panic_message;
use crate::files::FileRoot;
use crate::findings::Findings;
use crate::image::picture::{self, Decoding, Gather};
use crate::listing::composed;
use crate::shards::{locate, locate_one, locate_split};
use crate::splits::choice::choose;
use crate::splits::{Chosen, Role, Splits};
use crate::{DataError, Dataset, Format, ReadOptions};

use self::column::Table;
use self::schema::Columns;

/// The label of a sample without one.
const UNLABELLED: i64 = -1;

/// Endings of the files.
pub(crate) const ENDINGS: [&str; 1] = [".parquet"];

pub(crate) fn recognises(path: &Path) -> Result<bool, DataError> {
    Ok(!locate(path, &ReadOptions::default(), &ENDINGS)?.is_empty())
}

/// Reads the dataset in the folder `path`.
///
/// # Errors
/// A missing shard, a damaged file, no or several possible columns, an empty row, a label without a
/// class, a damaged image, images of several sizes: [`DataError`] with file, column and row.
pub fn read(path: &Path, options: &ReadOptions) -> Result<Dataset, DataError> {
    let splits = locate_one(path, options, &ENDINGS)?;
    let names: Vec<String> = splits.keys().cloned().collect();
    let mut findings = Findings::default();
    let chosen = choose(path, &names, options, &mut findings.notes)?;
    let mut reader = Reader {
        options,
        files: FileRoot::new(path, options.follow_links)?,
        names: None,
        label_limit: 0,
        findings,
    };
    let train_files = locate_split(path, &chosen.train, &splits, &ENDINGS)?;
    reader.collect_text_labels(&train_files)?;
    let train = reader.read_split(path, &chosen.train, &train_files)?;
    let train = train.ok_or_else(|| DataError::NoImages { path: path.to_owned() })?;
    let mut read_other = |split: Option<&Chosen>| match split {
        Some(split) => {
            let files = locate_split(path, split, &splits, &ENDINGS)?;
            reader.read_split(path, split, &files)
        }
        None => Ok(None),
    };
    let validation = read_other(chosen.validation.as_ref())?;
    let test = read_other(chosen.test.as_ref())?;
    let sets = picture::into_sets(Splits { train, validation, test }, &mut reader.findings)?;
    let classes = match reader.names {
        Some((names, _)) => names,
        None => (0..reader.label_limit)
            .map(|label| (label + options.first_label.unwrap_or(0)).to_string())
            .collect(),
    };
    Dataset::assemble(path, Format::Parquet, classes, sets, reader.findings)
}

/// What is carried from file to file.
struct Reader<'a> {
    options: &'a ReadOptions,
    files: FileRoot,
    /// Class names, and the file they are from.
    names: Option<(Vec<String>, PathBuf)>,
    /// One more than the highest label, where there are no names.
    label_limit: u32,
    findings: Findings,
}

impl Reader<'_> {
    fn open(&self, split: Option<&Chosen>, path: &Path) -> Result<Table, DataError> {
        // What the caller names may lie anywhere.
        let opened = match split.is_some_and(|split| split.asked) {
            true => crate::files::open_regular(path)?,
            false => self.files.open(path)?,
        };
        Table::of_file(path, opened)
    }

    /// Where labels are texts, the classes are those of the training split, sorted.
    fn collect_text_labels(&mut self, files: &[PathBuf]) -> Result<(), DataError> {
        let mut names = BTreeSet::new();
        for path in files {
            let table = self.open(None, path)?;
            let columns = Columns::choose(&table, self.options)?;
            if columns.label.physical != Type::BYTE_ARRAY || self.options.classes.is_some() {
                return Ok(());
            }
            guarded(path, || {
                table.texts(&columns.label, |_, text| {
                    names.insert(composed(text));
                    Ok(())
                })
            })?;
        }
        if let (Some(first), false) = (files.first(), names.is_empty()) {
            let names: Vec<String> = names.into_iter().collect();
            crate::classes::check_class_names(&names, first)?;
            self.names = Some((names, first.clone()));
        }
        Ok(())
    }

    /// Nothing if the split has no labels.
    fn read_split(
        &mut self,
        path: &Path,
        split: &Chosen,
        files: &[PathBuf],
    ) -> Result<Option<Gather>, DataError> {
        let (mut gather, budget) = (Gather::default(), Budget::default());
        let mut labels = Vec::new();
        for file in files {
            let table = self.open(Some(split), file)?;
            let columns = Columns::choose(&table, self.options)?;
            let found = guarded(file, || self.read_labels(&table, &columns));
            match found {
                Err(DataError::MissingValue { row: 0, column, .. })
                    if column == columns.label.name && !split.asked =>
                {
                    return split.unlabelled(path, &mut self.findings.notes);
                }
                found => labels.push((table, columns, found?)),
            }
        }
        let mut all = labels.iter().flat_map(|(_, _, labels)| labels).peekable();
        if all.peek().is_some() && all.all(|&label| label == UNLABELLED) {
            return split.unlabelled(path, &mut self.findings.notes);
        }
        for (table, columns, labels) in labels {
            let file = table.path().to_owned();
            let labels = self.check_labels(&table, &columns, &labels, split)?;
            guarded(&file, || self.read_images(&table, &columns, &labels, &mut gather, &budget))?;
        }
        match gather.is_empty() {
            true => Err(DataError::NoImages { path: files.first().map_or(path, |f| f).to_owned() }),
            false => Ok(Some(gather)),
        }
    }

    /// The labels as numbers, as far as the file knows.
    fn read_labels(&self, table: &Table, columns: &Columns) -> Result<Vec<i64>, DataError> {
        let mut labels = Vec::new();
        if columns.label.physical == Type::BYTE_ARRAY {
            let names = self.names.iter().flat_map(|(names, _)| names);
            let given = self.options.classes.iter().flatten();
            let numbers: BTreeMap<String, i64> =
                given.chain(names).map(|name| composed(name)).zip(0..).collect();
            table.texts(&columns.label, |row, text| {
                let label = numbers.get(&composed(text));
                labels.push(*label.ok_or_else(|| DataError::UnknownClass {
                    path: table.path().to_owned(),
                    row,
                    class: text.to_owned(),
                })?);
                Ok(())
            })?;
        } else {
            let first = i64::from(self.options.first_label.unwrap_or(0));
            table.labels(&columns.label, |_, label| {
                labels.push(if label == UNLABELLED { label } else { label.saturating_sub(first) });
                Ok(())
            })?;
        }
        Ok(labels)
    }

    /// Refuses labels without a class.
    fn check_labels(
        &mut self,
        table: &Table,
        columns: &Columns,
        labels: &[i64],
        split: &Chosen,
    ) -> Result<Vec<u32>, DataError> {
        let path = table.path();
        self.check_names(path, columns)?;
        let (classes, named) = match &self.names {
            Some((names, _)) => (names.len(), true),
            // Without names a label must be below the number of rows: keeps the list of classes in
            // bounds.
            None => (table.rows(), false),
        };
        if !named
            && split.role == Role::Train
            && self.options.first_label.is_none()
            && let Some(first) = labels.iter().min().and_then(|&first| u64::try_from(first).ok())
            && first > 0
        {
            return Err(DataError::LabelsStartAt { path: path.to_owned(), first });
        }
        let check = |(row, &label): (usize, &i64)| {
            let number = u32::try_from(label).ok().filter(|&label| (label as usize) < classes);
            number.ok_or_else(|| {
                let (path, row) = (path.to_owned(), row as u64);
                DataError::LabelOutOfRange { path, row, label, classes }
            })
        };
        let labels: Vec<u32> = labels.iter().enumerate().map(check).collect::<Result<_, _>>()?;
        if !named {
            let highest = labels.iter().max().map_or(0, |label| label + 1);
            self.label_limit = self.label_limit.max(highest);
        }
        Ok(labels)
    }

    fn read_images(
        &mut self,
        table: &Table,
        columns: &Columns,
        labels: &[u32],
        gather: &mut Gather,
        budget: &Budget,
    ) -> Result<(), DataError> {
        let (path, decoding) = (table.path(), Decoding::of(self.options));
        // A dictionary can give one image to many rows, so the file counts, not its images.
        budget.store(table.file_bytes());
        table.images(&columns.image, |first_row, images| {
            let decoded = column::in_parallel(images, |offset, bytes| {
                let picture = picture::decode(bytes, path, Some(first_row + offset), decoding)?;
                budget.decode(path, picture.bytes()).map(|()| picture)
            });
            for (row, picture) in (first_row..).zip(decoded) {
                match picture {
                    Ok(picture) => gather.push(picture, labels[row as usize], path, Some(row))?,
                    Err(error) => self.findings.skip(error, self.options)?,
                }
            }
            Ok(())
        })
    }

    /// The caller's names count; without them those of the first file, and all files must agree.
    fn check_names(&mut self, path: &Path, columns: &Columns) -> Result<(), DataError> {
        match (&self.options.classes, &columns.names, &self.names) {
            (Some(given), Some(names), _) if given.len() != names.len() => {
                let (expected, found) = (names.len(), given.len());
                let path = PathBuf::from("classes");
                return Err(DataError::WrongClassCount { path, expected, found });
            }
            (Some(given), _, None) => self.names = Some((given.clone(), "classes".into())),
            (None, Some(names), None) => {
                crate::classes::check_class_names(names, path)?;
                self.names = Some((names.clone(), path.to_owned()));
            }
            (None, Some(names), Some((first, first_path))) if names != first => {
                let (first, other) = (first_path.clone(), path.to_owned());
                return Err(DataError::ClassNamesDiffer { first, other });
            }
            _ => {}
        }
        Ok(())
    }
}

/// The Parquet reader is not ours; should it panic on a damaged file, that is still an error of the
/// file.
pub(crate) fn guarded<R>(
    path: &Path,
    read: impl FnOnce() -> Result<R, DataError>,
) -> Result<R, DataError> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|payload| {
        let message = panic_message(payload.as_ref());
        Err(DataError::DecoderPanicked { path: path.to_owned(), row: None, message })
    })
}

#[cfg(test)]
mod tests;
