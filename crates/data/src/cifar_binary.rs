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

use crate::dataset::check_labels;
use crate::format::dataset_name;
use crate::listing::{list, read_class_names, read_file};
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
    if let Some(column) = &options.label_column
        && column != "label"
    {
        return Err(bad_label_column(path, column, "`label`"));
    }
    let classes = class_names(&folder.join("batches.meta.txt"), options)?;
    // Training on four of five batches would go unnoticed, so a gap in the numbers is an error.
    let number = |name: &str| -> Option<u32> {
        name.strip_prefix("data_batch_")?.strip_suffix(".bin")?.parse().ok()
    };
    let last = list(folder)?.iter().filter_map(|entry| number(&entry.name)).max().unwrap_or(1);
    let mut train = Records::new(1, 0, classes.len());
    for batch in 1..=last.max(1) {
        train.read(&folder.join(format!("data_batch_{batch}.bin")))?;
    }
    finish(path, classes, train, &folder.join("test_batch.bin"))
}

fn read_cifar100(path: &Path, folder: &Path, options: &ReadOptions) -> Result<Dataset, DataError> {
    let (names, label_at) = match options.label_column.as_deref() {
        None | Some("fine_label" | "fine") => ("fine_label_names.txt", 1),
        Some("coarse_label" | "coarse") => ("coarse_label_names.txt", 0),
        Some(column) => {
            return Err(bad_label_column(path, column, "`fine_label` and `coarse_label`"));
        }
    };
    let classes = class_names(&folder.join(names), options)?;
    let mut train = Records::new(2, label_at, classes.len());
    train.read(&folder.join("train.bin"))?;
    finish(path, classes, train, &folder.join("test.bin"))
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
fn class_names(file: &Path, options: &ReadOptions) -> Result<Vec<String>, DataError> {
    let Some(given) = &options.classes else {
        return read_class_names(file);
    };
    if file.exists() {
        let expected = read_class_names(file)?.len();
        if given.len() != expected {
            let path = PathBuf::from("classes");
            return Err(DataError::WrongClassCount { path, expected, found: given.len() });
        }
    }
    Ok(given.clone())
}

fn finish(
    path: &Path,
    classes: Vec<String>,
    train: Records,
    test_file: &Path,
) -> Result<Dataset, DataError> {
    let test = if test_file.exists() {
        let mut test = Records { pixels: Vec::new(), labels: Vec::new(), ..train };
        test.read(test_file)?;
        Some(test.into_set()?)
    } else {
        None
    };
    Dataset::new(&dataset_name(path), Format::CifarBinary, classes, train.into_set()?, test)
}

/// Records read so far.
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

    fn read(&mut self, path: &Path) -> Result<(), DataError> {
        let bytes = read_file(path)?;
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
