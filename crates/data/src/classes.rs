//! Class names, and labels as their numbers.

use std::collections::{BTreeMap, BTreeSet};
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

/// So many samples with a label each of its own are measurements, or names.
const MANY: usize = 20;

/// Classes whose labels are texts in a file: the names of classes, or, if all are whole numbers, the
/// numbers of classes.
#[derive(Debug)]
pub(crate) struct Classes {
    pub(crate) names: Vec<String>,
    numbers: BTreeMap<String, u32>,
}

impl Classes {
    /// Of the training labels in `path`; with names that somebody gives, or without.
    pub(crate) fn of<'a>(
        path: &Path,
        training: impl Iterator<Item = &'a str>,
        given: Option<&[String]>,
        first_label: Option<u32>,
    ) -> Result<Self, DataError> {
        let mut samples = 0;
        let labels: BTreeSet<&str> = training.inspect(|_| samples += 1).collect();
        let wrong = |problem| DataError::List { path: path.to_owned(), line: None, problem };
        if labels.len() == samples && samples > MANY {
            return Err(wrong("every sample has another label: these are no classes".to_owned()));
        }
        let first = first_label.unwrap_or(0);
        let number = |label: &&str| label.parse::<u32>().ok();
        let numbers: Option<Vec<u32>> = labels.iter().map(number).collect();
        // Where numbers are the names, they are names.
        let are_names = |names: &[String]| labels.iter().any(|&l| names.iter().any(|n| n == l));
        let numbers =
            numbers.filter(|numbers| !numbers.is_empty() && !given.is_some_and(are_names));
        let Some(numbers) = numbers else {
            let names = given.map_or_else(
                || labels.iter().map(|&label| label.to_owned()).collect(),
                <[String]>::to_vec,
            );
            check_class_names(&names, path)?;
            let numbers = names.iter().cloned().zip(0..).collect();
            return Ok(Self { names, numbers });
        };
        let (least, most) = numbers
            .iter()
            .fold((u32::MAX, 0), |(least, most), &label| (least.min(label), most.max(label)));
        if least > first && first_label.is_none() && given.is_none() {
            return Err(DataError::LabelsStartAt { path: path.to_owned(), first: least.into() });
        }
        // Keeps the list of classes in bounds.
        let most_classes = given.map_or(samples, <[String]>::len);
        if least < first || (most - first) as usize >= most_classes {
            return Err(wrong(match given {
                Some(names) => {
                    let classes = names.len();
                    format!("the labels are numbers from {least} to {most}, of {classes} classes")
                }
                None => {
                    format!("the labels are numbers from {least} to {most}, too many for classes")
                }
            }));
        }
        let names: Vec<String> = match given {
            Some(names) => names.to_vec(),
            None => (first..=most).map(|number| number.to_string()).collect(),
        };
        check_class_names(&names, path)?;
        let written = (0..).take(names.len()).map(|at| ((at + first).to_string(), at));
        // `07` is 7.
        let spelled = labels
            .iter()
            .filter_map(|&label| Some((label.to_owned(), label.parse::<u32>().ok()? - first)));
        let numbers = written.chain(spelled).collect();
        Ok(Self { names, numbers })
    }

    /// The number of the class that a label names.
    pub(crate) fn number(&self, label: &str) -> Option<u32> {
        self.numbers.get(label).copied()
    }
}
