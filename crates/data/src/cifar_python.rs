//! The Python version of CIFAR-10 and CIFAR-100: what torchvision downloads.
//!
//! ```text
//! cifar-10-batches-py/   data_batch_1 …, test_batch, batches.meta     labels, label_names
//! cifar-100-python/      train, test, meta                            fine_labels, coarse_labels, …_label_names
//! ```
//!
//! Each file is a pickle of a dictionary with `data`, `[images, 3072]` bytes. It is read as data:
//! nothing in it is run. The folder may also be the one above. For CIFAR-100, `label_column` is
//! `fine_label` (default) or `coarse_label`.

use std::path::{Path, PathBuf};

use crate::cifar_binary::{
    FineOrCoarse, check_label_column, class_names, fine_or_coarse, names_with_test,
};
use crate::classes::check_labels;
use crate::files::{FileRoot, MOST_BYTES};
use crate::findings::Findings;
use crate::pickle::Pickle;
use crate::splits::choice::choose;
use crate::{DataError, Dataset, Format, ImageSet, ReadOptions};

const SIDE: usize = 32;
const IMAGE_LEN: usize = 3 * SIDE * SIDE;

/// Where the files of one of the two are, and what their entries are called.
struct Layout {
    meta: PathBuf,
    names_key: &'static str,
    labels_key: &'static str,
    train: Vec<PathBuf>,
    test: PathBuf,
}

/// The folder, and whether it is CIFAR-100.
fn find(path: &Path) -> Option<(PathBuf, bool)> {
    let has = |folder: &Path, name: &str| folder.join(name).is_file();
    let ten = [path.to_owned(), path.join("cifar-10-batches-py")];
    let hundred = [path.to_owned(), path.join("cifar-100-python")];
    let cifar10 = ten.into_iter().find(|folder| has(folder, "batches.meta"));
    let cifar100 = hundred.into_iter().find(|folder| has(folder, "meta") && has(folder, "train"));
    cifar10.map(|folder| (folder, false)).or(cifar100.map(|folder| (folder, true)))
}

pub(crate) fn recognises(path: &Path) -> Result<bool, DataError> {
    Ok(find(path).is_some())
}

fn layout(path: &Path, options: &ReadOptions) -> Result<Layout, DataError> {
    let Some((folder, hundred)) = find(path) else {
        return Err(DataError::MissingFile { path: path.join("batches.meta") });
    };
    if hundred {
        let (names_key, labels_key) = match fine_or_coarse(path, options)? {
            FineOrCoarse::Fine => ("fine_label_names", "fine_labels"),
            FineOrCoarse::Coarse => ("coarse_label_names", "coarse_labels"),
        };
        let (meta, train) = (folder.join("meta"), vec![folder.join("train")]);
        return Ok(Layout { meta, names_key, labels_key, train, test: folder.join("test") });
    }
    check_label_column(path, options)?;
    Ok(Layout {
        meta: folder.join("batches.meta"),
        names_key: "label_names",
        labels_key: "labels",
        // All five: training on four of them would go unnoticed.
        train: (1..=5).map(|batch| folder.join(format!("data_batch_{batch}"))).collect(),
        test: folder.join("test_batch"),
    })
}

/// Reads the dataset in the folder `path`.
///
/// # Errors
/// A missing batch, a file that is no such pickle, a label without a class: [`DataError`].
pub fn read(path: &Path, options: &ReadOptions) -> Result<Dataset, DataError> {
    let layout = layout(path, options)?;
    let files = FileRoot::new(path, options.follow_links)?;
    let bytes = files.read(&layout.meta, MOST_BYTES)?;
    let meta = parse(&layout.meta, &bytes)?;
    let names = meta.get(layout.names_key).and_then(|id| meta.texts(id));
    let classes = class_names(names, &layout.meta, options)?;

    let mut findings = Findings::default();
    let names = names_with_test(layout.test.exists());
    let splits = choose(path, &names, options, &mut findings.notes)?.try_map(|split| {
        let batches = match split.name.as_str() {
            "train" => layout.train.as_slice(),
            "test" => std::slice::from_ref(&layout.test),
            _ => return Err(split.missing(path, &names)),
        };
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for batch in batches {
            let bytes = files.read(batch, MOST_BYTES)?;
            read_batch(batch, &bytes, layout.labels_key, classes.len(), &mut pixels, &mut labels)?;
        }
        ImageSet::new(3, SIDE, SIDE, pixels, labels)
    })?;
    Dataset::assemble(path, Format::CifarPython, classes, splits, findings)
}

fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<Pickle<'a>, DataError> {
    Pickle::read(bytes).map_err(|problem| wrong(path, format!("no pickle of CIFAR: {problem}")))
}

fn wrong(path: &Path, problem: impl Into<String>) -> DataError {
    DataError::Pickle { path: path.to_owned(), problem: problem.into() }
}

fn read_batch(
    path: &Path,
    bytes: &[u8],
    labels_key: &str,
    classes: usize,
    pixels: &mut Vec<u8>,
    labels: &mut Vec<u32>,
) -> Result<(), DataError> {
    let pickle = parse(path, bytes)?;
    let rows = pickle.get("data").and_then(|id| pickle.byte_rows(id, IMAGE_LEN));
    let rows = rows.ok_or_else(|| wrong(path, "it has no array `data` of 3072 bytes an image"))?;
    let found = pickle.get(labels_key).and_then(|id| pickle.ints(id));
    let found = found.ok_or_else(|| wrong(path, format!("it has no list `{labels_key}`")))?;
    if found.is_empty() {
        return Err(DataError::NoImages { path: path.to_owned() });
    }
    if found.len() * IMAGE_LEN != rows.len() {
        let images = rows.len() / IMAGE_LEN;
        return Err(wrong(path, format!("it has {} labels for {images} images", found.len())));
    }
    let found: Vec<u32> =
        found.iter().map(|&label| u32::try_from(label).unwrap_or(u32::MAX)).collect();
    check_labels(&found, classes, path)?;
    pixels.extend_from_slice(rows);
    labels.extend(found);
    Ok(())
}

#[cfg(test)]
mod tests;
