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

/// No class has a longer name: what is longer is a text.
const MOST_NAME_BYTES: usize = 1000;

/// Refuses no names, empty names, names that stand there twice, and texts in their place.
pub(crate) fn check_class_names(classes: &[String], path: &Path) -> Result<(), DataError> {
    if classes.is_empty() {
        return Err(DataError::NoClasses { path: path.to_owned() });
    }
    if let Some(long) = classes.iter().find(|name| name.len() > MOST_NAME_BYTES) {
        return Err(DataError::Labels {
            path: path.to_owned(),
            problem: format!("a label has {} bytes: no name of a class", long.len()),
            fix:
                "texts and labels are perhaps swapped: name the columns with `text_column = …` and \
                  `label_column = …`"
                    .to_owned(),
        });
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

/// A label that somebody's program wrote for none at all.
fn is_for_none(label: &str) -> bool {
    ["nan", "null", "none", "na", "n/a", "#n/a", "<na>"]
        .iter()
        .any(|name| label.eq_ignore_ascii_case(name))
}

/// Whether a label is written as a number, whole or not.
fn is_number(label: &str) -> bool {
    label.bytes().any(|byte| byte.is_ascii_digit()) && label.parse::<f64>().is_ok()
}

/// Refuses labels that are neither names nor whole numbers, unless somebody lists them as names.
fn check_kind(path: &Path, labels: &BTreeSet<&str>) -> Result<(), DataError> {
    let (numbers, others): (Vec<&str>, Vec<&str>) =
        labels.iter().partition(|label| is_number(label));
    let listed = listed(labels.iter().copied());
    let as_names = format!("if these are names of classes, list them all: `classes = {listed}`");
    if let Some((several, one)) = several_at_once(labels) {
        return Err(DataError::Labels {
            path: path.to_owned(),
            problem: format!("the label `{several}` looks like several, of which one is `{one}`"),
            fix: format!("faculty learns one class a sample: choose one; {as_names}"),
        });
    }
    let Some(first) = numbers.first() else {
        return Ok(());
    };
    let none = others.iter().find(|other| is_for_none(other));
    let odd = numbers.iter().find(|number| number.parse::<u32>().is_err());
    let (problem, fix) = match (none, odd) {
        (Some(none), _) => (
            format!("the label `{none}` stands beside numbers such as `{first}`"),
            format!("leave the field empty where there is no label; {as_names}"),
        ),
        (None, Some(odd)) if others.is_empty() => (
            format!("the label `{odd}` is no whole number from 0: this looks like a measurement"),
            format!("faculty learns classes: make some of it; {as_names}"),
        ),
        _ => return Ok(()),
    };
    Err(DataError::Labels { path: path.to_owned(), problem, fix })
}

/// A label that is made of others: `cat,dog` where there is `cat`, or `16 0`.
fn several_at_once<'a>(labels: &BTreeSet<&'a str>) -> Option<(&'a str, &'a str)> {
    labels.iter().find_map(|&label| {
        let parts = |separators: &[char]| {
            let parts = label.split(separators).map(str::trim).filter(|part| !part.is_empty());
            parts.collect::<Vec<&'a str>>()
        };
        let lists = parts(&[',', ';', '|']);
        let known = lists.iter().find(|&&part| part != label && labels.contains(part));
        // Blanks are in many names, and in none that is all numbers.
        let words = parts(&[' ', ',', ';', '|']);
        let numbers = words.len() > 1 && words.iter().all(|word| word.parse::<u32>().is_ok());
        known.or(words.first().filter(|_| numbers)).map(|&part| (label, part))
    })
}

/// Names as a recipe lists them, the first ones.
pub(crate) fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 12;
    let more = if names.len() > SHOWN { ", …" } else { "" };
    let shown: Vec<String> = names.take(SHOWN).map(|name| format!("{name:?}")).collect();
    format!("[{}{more}]", shown.join(", "))
}

/// What a user should know of the names of classes: some that may be one class, or none.
pub(crate) fn doubts(classes: &[String]) -> Vec<String> {
    let mut notes = Vec::new();
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for class in classes {
        let plain = class.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some(other) = seen.insert(plain, class) {
            notes.push(format!(
                "the classes `{other}` and `{class}` differ in case or blanks alone: if they are one, \
                 give them one name"
            ));
        }
    }
    let number = classes.iter().find(|class| is_number(class));
    let name = classes.iter().find(|class| !is_number(class));
    if let (Some(number), Some(name)) = (number, name) {
        notes.push(format!(
            "some classes are numbers (`{number}`), others names (`{name}`): are they all labels of \
             one kind?"
        ));
    }
    // `none` is what some data sets call a class of its own.
    let is_for_none = |class: &&String| !class.eq_ignore_ascii_case("none") && is_for_none(class);
    notes.extend(classes.iter().filter(is_for_none).map(|class| {
        format!("the class `{class}` is perhaps a missing label: leave such fields empty")
    }));
    notes
}

/// Writes labels that are whole numbers without the `.0` that tables with missing numbers often
/// have, if all of them are.
pub(crate) fn whole_numbers<'a>(labels: impl Iterator<Item = &'a mut String>) {
    let labels: Vec<&mut String> = labels.collect();
    if labels.iter().all(|label| label.is_empty() || without_fraction(label).is_some()) {
        for label in labels {
            if let Some(number) = without_fraction(label) {
                *label = number.to_owned();
            }
        }
    }
}

/// A whole number, written perhaps with `.0` behind it.
fn without_fraction(label: &str) -> Option<&str> {
    let number = match label.split_once('.') {
        Some((number, fraction)) if fraction.bytes().all(|digit| digit == b'0') => number,
        Some(_) => return None,
        None => label,
    };
    number.parse::<i64>().is_ok().then_some(number)
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
        let named = given.is_some_and(are_names);
        if numbers.is_none() && !named {
            check_kind(path, &labels)?;
        }
        let numbers = numbers.filter(|numbers| !numbers.is_empty() && !named);
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
