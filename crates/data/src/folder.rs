//! A folder of class folders with PNG and JPEG files.
//!
//! ```text
//! train/cat/1.png, train/dog/2.jpg, test/cat/3.png, …     the test part: the first of `test`, `validation`, `val`, `valid`
//! cat/1.png, dog/2.jpg, …                                 no test part
//! ```
//!
//! Classes are the names of the folders, sorted bytewise, or in the order of the option `classes`.
//! All images must have one size, or be scaled to one with `resize`. Hidden files are skipped; any
//! other file that is no PNG or JPEG is an error, since it would be missed without notice. The ids
//! of JPEG images hold as long as the JPEG decoder gives the same pixels.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::bounds::Budget;
use crate::format::dataset_name;
use crate::listing::{Entry, list, read_file};
use crate::picture::{self, Gather};
use crate::{DataError, Dataset, Format, ReadOptions};

/// Names of a test part, in the order of preference.
pub(crate) const TEST_PARTS: [&str; 4] = ["test", "validation", "val", "valid"];

/// Files decoded at a time: bounds the memory beside the result.
const CHUNK: usize = 512;

pub(crate) fn recognises(path: &Path) -> Result<bool, DataError> {
    let train = path.join("train");
    if train.is_dir() {
        return Ok(list(&train)?.iter().any(|entry| entry.is_dir));
    }
    let is_image = |entry: &Entry| !entry.is_dir && has_image_name(&entry.name);
    let folders = list(path)?.into_iter().filter(|entry| entry.is_dir);
    // A subfolder that cannot be listed is perhaps none of ours.
    let mut entries = folders.map(|folder| list(&folder.path));
    Ok(entries.any(|entries| entries.is_ok_and(|entries| entries.iter().any(is_image))))
}

/// Reads the dataset in the folder `path`.
///
/// # Errors
/// No classes, an empty class folder, a damaged image, a file that is none, images of several
/// sizes, parts with different classes: [`DataError`].
pub fn read(path: &Path, options: &ReadOptions) -> Result<Dataset, DataError> {
    let (train_folder, test_folder) = parts(path, options)?;
    let found = class_folders(&train_folder)?;
    let classes = match &options.classes {
        Some(classes) => {
            same_classes(classes, Path::new("classes"), &found, &train_folder)?;
            classes.clone()
        }
        None => found,
    };
    let train = read_part(&train_folder, &classes, options)?;
    let test = match test_folder {
        None => None,
        Some(folder) => {
            same_classes(&classes, &train_folder, &class_folders(&folder)?, &folder)?;
            Some(read_part(&folder, &classes, options)?)
        }
    };
    let (train, test) = picture::into_sets(train, test)?;
    Dataset::new(&dataset_name(path), Format::Folder, classes, train, test)
}

/// The folders that hold the class folders of each part.
fn parts(path: &Path, options: &ReadOptions) -> Result<(PathBuf, Option<PathBuf>), DataError> {
    let train = path.join("train");
    if !train.is_dir() {
        return match &options.test_part {
            Some(name) => Err(DataError::BadOption {
                path: path.to_owned(),
                key: "test_part",
                value: name.clone(),
                possible: "none, as there is no folder `train`".to_owned(),
            }),
            None => Ok((path.to_owned(), None)),
        };
    }
    let test = match &options.test_part {
        Some(name) => {
            let folder = path.join(name);
            if !folder.is_dir() {
                return Err(DataError::MissingFile { path: folder });
            }
            Some(folder)
        }
        None => TEST_PARTS.iter().map(|name| path.join(name)).find(|folder| folder.is_dir()),
    };
    Ok((train, test))
}

/// The names of the class folders, sorted.
fn class_folders(folder: &Path) -> Result<Vec<String>, DataError> {
    let entries = list(folder)?;
    if let Some(image) = entries.iter().find(|entry| !entry.is_dir && has_image_name(&entry.name)) {
        // An image beside the class folders belongs to no class.
        return Err(DataError::StrayImage { path: image.path.clone() });
    }
    let names: Vec<String> =
        entries.into_iter().filter(|entry| entry.is_dir).map(|entry| entry.name).collect();
    if names.is_empty() {
        return Err(DataError::NoClasses { path: folder.to_owned() });
    }
    Ok(names)
}

fn same_classes(
    first: &[String],
    first_path: &Path,
    other: &[String],
    other_path: &Path,
) -> Result<(), DataError> {
    let differ = |class: &String, present: &Path, absent: &Path| DataError::ClassesDiffer {
        class: class.clone(),
        present: present.to_owned(),
        absent: absent.to_owned(),
    };
    if let Some(class) = first.iter().find(|class| !other.contains(class)) {
        return Err(differ(class, first_path, other_path));
    }
    match other.iter().find(|class| !first.contains(class)) {
        Some(class) => Err(differ(class, other_path, first_path)),
        None => Ok(()),
    }
}

fn has_image_name(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| {
        ["png", "jpg", "jpeg"].iter().any(|known| extension.eq_ignore_ascii_case(known))
    })
}

fn read_part(
    folder: &Path,
    classes: &[String],
    options: &ReadOptions,
) -> Result<Gather, DataError> {
    let mut files: Vec<(Entry, u32)> = Vec::new();
    for (label, class) in (0_u32..).zip(classes) {
        let class_folder = folder.join(class);
        let entries = list(&class_folder)?;
        if entries.is_empty() {
            return Err(DataError::NoImages { path: class_folder });
        }
        files.extend(entries.into_iter().map(|entry| (entry, label)));
    }
    let mut gather = Gather::default();
    let budget = Budget::default();
    for chunk in files.chunks(CHUNK) {
        let decoded: Vec<_> = chunk
            .par_iter()
            .map(|(Entry { name, path, is_dir }, _)| {
                if *is_dir || !has_image_name(name) {
                    return Err(DataError::NotAnImage { path: path.clone() });
                }
                let file = read_file(path)?;
                let picture = picture::decode(&file, path, None, options.resize)?;
                budget.store(file.len() as u64);
                budget.decode(path, picture.bytes()).map(|()| picture)
            })
            .collect();
        for ((entry, label), picture) in chunk.iter().zip(decoded) {
            gather.push(picture?, *label, &entry.path, None)?;
        }
    }
    Ok(gather)
}

#[cfg(test)]
mod tests;
