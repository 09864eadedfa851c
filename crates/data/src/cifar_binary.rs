//! The binary version of CIFAR-10 and CIFAR-100.
//!
//! ```text
//! CIFAR-10    data_batch_1.bin …, test_batch.bin   records: label, 3072 bytes;               names: batches.meta.txt
//! CIFAR-100   train.bin, test.bin                  records: coarse, fine label, 3072 bytes;  names: fine_label_names.txt,
//!                                                                                            coarse_label_names.txt
//! ```
//!
//! The 3072 bytes are red, green, blue planes of 32x32. The folder may also be the one above, with
//! the archive's own folder in it (`cifar-10-batches-bin`, `cifar-100-binary`). For CIFAR-100,
//! `label_column` is `fine_label` (default) or `coarse_label`.

use std::path::{Path, PathBuf};

use crate::classes::{check_labels, read_class_names};
use crate::files::{FileRoot, MOST_BYTES};
use crate::findings::Findings;
use crate::splits::choice::choose;
use crate::{DataError, Dataset, Format, ImageSet, ReadOptions};

const SIDE: usize = 32;
const IMAGE_LEN: usize = 3 * SIDE * SIDE;

/// Which of the two, and where.
#[derive(Debug)]
enum Found {
    Cifar10(PathBuf),
    Cifar100(PathBuf),
}

fn find(path: &Path) -> Option<Found> {
    let has = |folder: &Path, name: &str| folder.join(name).is_file();
    let ten = [path.to_owned(), path.join("cifar-10-batches-bin")];
    let hundred = [path.to_owned(), path.join("cifar-100-binary")];
    let cifar10 = ten.into_iter().find(|folder| {
        // Any of them: if the first is missing, the reader says so.
        has(folder, "batches.meta.txt")
            || (1..=5).any(|n| has(folder, &format!("data_batch_{n}.bin")))
    });
    let cifar100 = hundred
        .into_iter()
        .find(|folder| has(folder, "train.bin") || has(folder, "fine_label_names.txt"));
    cifar10.map(Found::Cifar10).or(cifar100.map(Found::Cifar100))
}

pub(crate) fn recognises(path: &Path) -> Result<bool, DataError> {
    Ok(find(path).is_some())
}

/// Reads the dataset in the folder `path`.
///
/// # Errors
/// A missing batch or list of names, a file that is not a whole number of records, a label without
/// a class: [`DataError`].
pub fn read(path: &Path, options: &ReadOptions) -> Result<Dataset, DataError> {
    match find(path) {
        Some(Found::Cifar10(folder)) => read_cifar10(path, &folder, options),
        Some(Found::Cifar100(folder)) => read_cifar100(path, &folder, options),
        None => Err(DataError::MissingFile { path: path.join("data_batch_1.bin") }),
    }
}

fn read_cifar10(path: &Path, folder: &Path, options: &ReadOptions) -> Result<Dataset, DataError> {
    check_label_column(path, options)?;
    let files = FileRoot::new(path, options.follow_links)?;
    let file = folder.join("batches.meta.txt");
    let names = if file.exists() { Some(read_class_names(&files, &file)?) } else { None };
    let classes = class_names(names, &file, options)?;
    // Training on four of five batches would go unnoticed, so a gap in the numbers is an error.
    let number = |name: &str| -> Option<u32> {
        name.strip_prefix("data_batch_")?.strip_suffix(".bin")?.parse().ok()
    };
    let last = files.list(folder)?.iter().filter_map(|entry| number(&entry.name)).max();
    let batches = 1..=last.unwrap_or(1).max(1);
    let train = batches.map(|batch| folder.join(format!("data_batch_{batch}.bin"))).collect();
    let records = Records::new(1, 0, classes.len());
    finish(path, &files, options, classes, records, train, &folder.join("test_batch.bin"))
}

fn read_cifar100(path: &Path, folder: &Path, options: &ReadOptions) -> Result<Dataset, DataError> {
    let (names, label_at) = match fine_or_coarse(path, options)? {
        FineOrCoarse::Fine => ("fine_label_names.txt", 1),
        FineOrCoarse::Coarse => ("coarse_label_names.txt", 0),
    };
    let files = FileRoot::new(path, options.follow_links)?;
    let file = folder.join(names);
    let names = if file.exists() { Some(read_class_names(&files, &file)?) } else { None };
    let classes = class_names(names, &file, options)?;
    let records = Records::new(2, label_at, classes.len());
    let train = vec![folder.join("train.bin")];
    finish(path, &files, options, classes, records, train, &folder.join("test.bin"))
}

/// Which of CIFAR-100's two labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FineOrCoarse {
    Fine,
    Coarse,
}

pub(crate) fn fine_or_coarse(
    path: &Path,
    options: &ReadOptions,
) -> Result<FineOrCoarse, DataError> {
    match options.label_column.as_deref() {
        None | Some("fine_label" | "fine") => Ok(FineOrCoarse::Fine),
        Some("coarse_label" | "coarse") => Ok(FineOrCoarse::Coarse),
        Some(column) => Err(bad_label_column(path, column, "`fine_label` and `coarse_label`")),
    }
}

/// CIFAR-10 has one label.
pub(crate) fn check_label_column(path: &Path, options: &ReadOptions) -> Result<(), DataError> {
    match options.label_column.as_deref() {
        None | Some("label") => Ok(()),
        Some(column) => Err(bad_label_column(path, column, "`label`")),
    }
}

fn bad_label_column(path: &Path, value: &str, possible: &str) -> DataError {
    DataError::BadOption {
        path: path.to_owned(),
        key: "label_column",
        value: value.to_owned(),
        possible: possible.to_owned(),
    }
}

/// The names of the file; those of the caller instead of them, if they are as many.
pub(crate) fn class_names(
    of_file: Option<Vec<String>>,
    file: &Path,
    options: &ReadOptions,
) -> Result<Vec<String>, DataError> {
    match (&options.classes, of_file) {
        (None, Some(names)) => Ok(names),
        (None, None) => Err(DataError::MissingFile { path: file.to_owned() }),
        (Some(given), Some(names)) if names.len() != given.len() => {
            let (path, expected) = (PathBuf::from("classes"), names.len());
            Err(DataError::WrongClassCount { path, expected, found: given.len() })
        }
        (Some(given), _) => Ok(given.clone()),
    }
}

fn finish(
    path: &Path,
    files: &FileRoot,
    options: &ReadOptions,
    classes: Vec<String>,
    records: Records,
    train: Vec<PathBuf>,
    test: &Path,
) -> Result<Dataset, DataError> {
    let mut findings = Findings::default();
    let names = names_with_test(test.exists());
    let splits = choose(path, &names, options, &mut findings.notes)?.try_map(|split| {
        let mut records = records.clone();
        match split.name.as_str() {
            "train" => train.iter().try_for_each(|file| records.read(files, file))?,
            "test" => records.read(files, test)?,
            _ => return Err(split.missing(path, &names)),
        }
        records.into_set()
    })?;
    Dataset::assemble(path, Format::CifarBinary, classes, splits, findings)
}

/// The splits of a data set with one or two.
pub(crate) fn names_with_test(test: bool) -> Vec<String> {
    let names = if test { &["train", "test"][..] } else { &["train"] };
    names.iter().map(|&name| name.to_owned()).collect()
}

/// Records read so far.
#[derive(Clone)]
struct Records {
    label_bytes: usize,
    label_at: usize,
    classes: usize,
    pixels: Vec<u8>,
    labels: Vec<u32>,
}

impl Records {
    fn new(label_bytes: usize, label_at: usize, classes: usize) -> Self {
        Self { label_bytes, label_at, classes, pixels: Vec::new(), labels: Vec::new() }
    }

    fn read(&mut self, files: &FileRoot, path: &Path) -> Result<(), DataError> {
        let bytes = files.read(path, MOST_BYTES)?;
        let record_len = self.label_bytes + IMAGE_LEN;
        if bytes.is_empty() {
            return Err(DataError::NoImages { path: path.to_owned() });
        }
        if bytes.len() % record_len != 0 {
            let record = bytes.len() / record_len;
            return Err(DataError::Truncated {
                path: path.to_owned(),
                record: Some(record as u64),
                expected: ((record + 1) * record_len) as u64,
                found: bytes.len() as u64,
            });
        }
        let records = || bytes.chunks_exact(record_len);
        let labels: Vec<u32> = records().map(|record| record[self.label_at].into()).collect();
        check_labels(&labels, self.classes, path)?;
        self.pixels.reserve(labels.len() * IMAGE_LEN);
        records().for_each(|record| self.pixels.extend_from_slice(&record[self.label_bytes..]));
        self.labels.extend(labels);
        Ok(())
    }

    fn into_set(self) -> Result<ImageSet, DataError> {
        ImageSet::new(3, SIDE, SIDE, self.pixels, self.labels)
    }
}

#[cfg(test)]
mod tests;
