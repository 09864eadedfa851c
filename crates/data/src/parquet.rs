//! Parquet files as on the Hugging Face hub.
//!
//! ```text
//! train-00000-of-00002.parquet, train-00001-of-00002.parquet, test-00000-of-00001.parquet
//!     in the folder, in its `data/`, or in its only subfolder with such files
//! image column   a struct { bytes, path }, bytes are a PNG or JPEG file
//! label column   whole numbers; class names from the key `huggingface` of the file's metadata
//! ```
//!
//! The label column is the one of the option `label_column`, else the only `ClassLabel` column,
//! else `fine_label` where there is also `coarse_label` (CIFAR-100); anything else is an error that
//! lists the candidates. The test part is the first of `test`, `validation`, `val`, `valid`, or
//! that of the option `test_part`. A shard that is missing (`…-of-00002`) is an error. Without
//! class names in the file they are the option `classes`, or the numbers from 0 to the highest
//! label.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

mod bounded;
pub(crate) mod column;
mod schema;

use crate::bounds::Budget;
use crate::error::panic_message;
use crate::folder::TEST_PARTS;
use crate::format::dataset_name;
use crate::listing::list;
use crate::picture::{self, Gather};
use crate::{DataError, Dataset, Format, ReadOptions};

use self::column::Table;
use self::schema::Columns;

pub(crate) fn recognises(path: &Path) -> Result<bool, DataError> {
    Ok(!locate(path)?.is_empty())
}

/// The folders that hold `train-*.parquet`: the first of `path`, `path/data`, else all such
/// subfolders.
fn locate(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    for folder in [path.to_owned(), path.join("data")] {
        if folder.is_dir() && !shards(&folder, "train")?.is_empty() {
            return Ok(vec![folder]);
        }
    }
    let mut found = Vec::new();
    for entry in list(path)?.into_iter().filter(|entry| entry.is_dir) {
        match shards(&entry.path, "train") {
            Ok(files) if files.is_empty() => {}
            Ok(_) => found.push(entry.path),
            // A subfolder that cannot be listed is perhaps none of ours.
            Err(DataError::Io { .. } | DataError::NotUtf8 { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// The files of one part, in order of their numbers; none if the part is not there.
fn shards(folder: &Path, part: &str) -> Result<Vec<PathBuf>, DataError> {
    let mut files = Vec::new();
    let mut numbered = Vec::new();
    for entry in list(folder)?.into_iter().filter(|entry| !entry.is_dir) {
        let Some(stem) = entry.name.strip_suffix(".parquet") else {
            continue;
        };
        let Some(rest) = stem.strip_prefix(part) else {
            continue;
        };
        if rest.is_empty() || rest.starts_with('-') {
            numbered.extend(shard_numbers(rest));
            files.push(entry.path);
        }
    }
    if let Some(&(_, count)) = numbered.first() {
        for index in 0..count {
            if !numbered.contains(&(index, count)) {
                let name = format!("{part}-{index:05}-of-{count:05}.parquet");
                return Err(DataError::MissingFile { path: folder.join(name) });
            }
        }
        if files.len() != count {
            return Err(DataError::WrongShape {
                what: "Parquet files of one part",
                expected: count,
                found: files.len(),
            });
        }
    }
    Ok(files)
}

/// Index and count from `-00000-of-00002` or `-00000-of-00002-0123abcd`.
fn shard_numbers(rest: &str) -> Option<(usize, usize)> {
    let mut words = rest.strip_prefix('-')?.split('-');
    let index = words.next()?.parse().ok()?;
    if words.next()? != "of" {
        return None;
    }
    Some((index, words.next()?.parse().ok()?))
}

/// Reads the dataset in the folder `path`.
///
/// # Errors
/// A missing shard, a damaged file, no or several possible columns, an empty row, a label without a
/// class, a damaged image, images of several sizes: [`DataError`] with file, column and row.
pub fn read(path: &Path, options: &ReadOptions) -> Result<Dataset, DataError> {
    let folder = match locate(path)?.as_slice() {
        [folder] => folder.clone(),
        [] => {
            return Err(DataError::MissingFile { path: path.join("train-*.parquet") });
        }
        several => {
            return Err(DataError::SeveralDatasets {
                path: path.to_owned(),
                folders: several.iter().map(|folder| format!("`{}`", folder.display())).collect(),
            });
        }
    };
    let train_files = shards(&folder, "train")?;
    let test_files = test_shards(&folder, options)?;

    let mut reader = Reader { options, names: None, label_limit: 0 };
    let train = reader.read_part(&train_files)?.ok_or(DataError::NoImages { path: folder })?;
    let test = reader.read_part(&test_files)?;
    let (train, test) = picture::into_sets(train, test)?;
    let classes = match reader.names {
        Some((names, _)) => names,
        None => (0..reader.label_limit).map(|label| label.to_string()).collect(),
    };
    Dataset::new(&dataset_name(path), Format::Parquet, classes, train, test)
}

fn test_shards(folder: &Path, options: &ReadOptions) -> Result<Vec<PathBuf>, DataError> {
    if let Some(part) = &options.test_part {
        let files = shards(folder, part)?;
        if files.is_empty() {
            let path = folder.join(format!("{part}-*.parquet"));
            return Err(DataError::MissingFile { path });
        }
        return Ok(files);
    }
    for part in TEST_PARTS {
        let files = shards(folder, part)?;
        if !files.is_empty() {
            return Ok(files);
        }
    }
    Ok(Vec::new())
}

/// What is carried from file to file.
struct Reader<'a> {
    options: &'a ReadOptions,
    /// Class names, and the file they are from.
    names: Option<(Vec<String>, PathBuf)>,
    /// One more than the highest label, where there are no names.
    label_limit: u32,
}

impl Reader<'_> {
    fn read_part(&mut self, files: &[PathBuf]) -> Result<Option<Gather>, DataError> {
        let (mut gather, budget) = (Gather::default(), Budget::default());
        for path in files {
            // The Parquet reader is not ours; should it panic on a damaged file, that is still an
            // error of the file.
            catch_unwind(AssertUnwindSafe(|| self.read_file(path, &mut gather, &budget)))
                .unwrap_or_else(|payload| {
                    let message = panic_message(payload.as_ref());
                    Err(DataError::DecoderPanicked { path: path.clone(), row: None, message })
                })?;
        }
        Ok((!gather.is_empty()).then_some(gather))
    }

    fn read_file(
        &mut self,
        path: &Path,
        gather: &mut Gather,
        budget: &Budget,
    ) -> Result<(), DataError> {
        let table = Table::open(path)?;
        let columns = Columns::choose(&table, self.options)?;
        self.check_names(path, &columns)?;
        let (limit, named) = match &self.names {
            Some((names, _)) => (names.len(), true),
            // Without names a label must be below the number of rows: keeps the list of classes in
            // bounds.
            None => (table.rows(), false),
        };
        let mut labels = Vec::new();
        table.labels(&columns.label, |row, label| {
            match u32::try_from(label).ok().filter(|&label| (label as usize) < limit) {
                Some(label) => labels.push(label),
                None => {
                    let (path, classes) = (path.to_owned(), limit);
                    return Err(DataError::LabelOutOfRange { path, row, label, classes });
                }
            }
            Ok(())
        })?;
        if !named {
            let highest = labels.iter().max().map_or(0, |label| label + 1);
            self.label_limit = self.label_limit.max(highest);
        }
        let resize = self.options.resize;
        // A dictionary can give one image to many rows, so the file counts, not its images.
        budget.store(table.file_bytes());
        table.images(&columns.image, |first_row, images| {
            let decoded = column::in_parallel(images, |offset, bytes| {
                let picture = picture::decode(bytes, path, Some(first_row + offset), resize)?;
                budget.decode(path, picture.bytes()).map(|()| picture)
            });
            for (row, picture) in (first_row..).zip(decoded) {
                gather.push(picture?, labels[row as usize], path, Some(row))?;
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
                crate::dataset::check_class_names(names, path)?;
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

#[cfg(test)]
mod tests;
