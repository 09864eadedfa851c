//! Class names, and labels as their numbers.

use std::path::Path;

use crate::DataError;
use crate::files::FileRoot;
use crate::listing::{MOST_NAMES_BYTES, composed};

/// Reads class names, one a line; blank lines at the end are no names.
pub(crate) fn read_class_names(files: &FileRoot, path: &Path) -> Result<Vec<String>, DataError> {
    let Ok(text) = String::from_utf8(files.read(path, MOST_NAMES_BYTES)?) else {
        return Err(DataError::NotUtf8 { path: path.to_owned() });
    };
    let names: Vec<String> = text.trim_end().lines().map(|line| composed(line.trim())).collect();
    check_class_names(&names, path)?;
    Ok(names)
}

/// Refuses no names, empty names and names that stand there twice.
pub(crate) fn check_class_names(classes: &[String], path: &Path) -> Result<(), DataError> {
    if classes.is_empty() {
        return Err(DataError::NoClasses { path: path.to_owned() });
    }
    let mut sorted: Vec<&String> = classes.iter().collect();
    sorted.sort_unstable();
    let twice = sorted.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
    let empty = sorted.first().copied().filter(|name| name.trim().is_empty());
    match empty.or(twice) {
        Some(name) => Err(DataError::BadClassName { path: path.to_owned(), name: name.clone() }),
        None => Ok(()),
    }
}

/// Refuses the first label that is not below `classes`.
pub(crate) fn check_labels(labels: &[u32], classes: usize, path: &Path) -> Result<(), DataError> {
    match labels.iter().position(|&label| label as usize >= classes) {
        None => Ok(()),
        Some(row) => Err(DataError::LabelOutOfRange {
            path: path.to_owned(),
            row: row as u64,
            label: i64::from(labels[row]),
            classes,
        }),
    }
}
