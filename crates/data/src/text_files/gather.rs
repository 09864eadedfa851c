//! From the rows of files to a data set: classes, empty texts, texts without a label, duplicates.
//!
//! - White space around a text is no part of it, in any format.
//! - An empty text is left out, with a note.
//! - A row without a label (empty, or -1) is no sample. A split without any label is left out, as with
//!   images; single rows are left out with a note, those of the training split kept apart as
//!   [`crate::Dataset::unlabelled`].
//! - Duplicates are told, and left out of training where `on_duplicate_text` says so: see `duplicates`.

mod duplicates;
mod sample;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use faculty_inputs::Text;

use crate::bounds::Budget;
use crate::classes::Classes;
use crate::findings::Findings;
use crate::listing::composed;
use crate::splits::{Chosen, Splits};
use crate::text::set::{TextSet, no_texts};
use crate::{DataError, Dataset, Format, ReadOptions};

use self::duplicates::{leave_out, tell};
use self::sample::Sample;

/// The label of a sample without one, where labels are numbers.
const UNLABELLED: &str = "-1";

/// A row as a file gives it.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) text: Text,
    /// Empty if it is missing.
    pub(super) label: String,
    /// Line or row.
    pub(super) place: u64,
}

/// The rows of one file.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    pub(super) path: PathBuf,
    /// What a place is: `line` or `row`.
    pub(super) kind: &'static str,
    pub(super) rows: Vec<Row>,
    /// Names that the file gives the classes of its numbers.
    pub(super) names: Option<Vec<String>>,
}

impl Rows {
    fn at(&self, row: &Row) -> String {
        format!("`{}`, {} {}", self.path.display(), self.kind, row.place)
    }
}

/// The text of a row, or the pair: without white space around it.
pub(super) fn trimmed(first: &str, second: Option<&str>) -> Text {
    Text { first: first.trim().into(), second: second.map(|second| second.trim().into()) }
}

/// A chosen split and the rows of its files.
pub(super) type SplitRows = (Chosen, Vec<Rows>);

/// Puts a data set together.
///
/// # Errors
/// No texts, no labels, labels that are no classes, or one class alone: [`DataError`].
pub(super) fn assemble(
    path: &Path,
    format: Format,
    splits: Splits<SplitRows>,
    options: &ReadOptions,
    mut findings: Findings,
) -> Result<Dataset, DataError> {
    let (mut classes, mut unlabelled) = (None, Vec::new());
    let mut training = true;
    let Splits { train, validation, test } = splits.try_map(|(split, mut files)| {
        let is_training = std::mem::take(&mut training);
        leave_out_empty(&split, &mut files, &mut findings);
        if files.iter().all(|file| file.rows.is_empty()) {
            return Err(no_texts(files.first().map_or(path, |file| &file.path)));
        }
        clean_labels(&mut files);
        let missing = |row: &&Row| row.label.is_empty();
        if files.iter().flat_map(|file| &file.rows).all(|row| row.label.is_empty()) {
            return split.unlabelled::<Vec<Sample>>(path, &mut findings.notes);
        }
        let rows = || files.iter().flat_map(|file| file.rows.iter().map(move |row| (file, row)));
        let without = rows().filter(|(_, row)| missing(row)).count();
        if let Some((file, first)) = rows().find(|(_, row)| missing(row)) {
            let kept = if is_training { "kept apart" } else { "left out" };
            findings.notes.push(format!(
                "{without} texts of `{}` have no label and are {kept}: the first in {}",
                split.name,
                file.at(first)
            ));
        }
        if is_training {
            let texts = rows().filter(|(_, row)| missing(row)).map(|(_, row)| row.text.clone());
            unlabelled = texts.collect();
        }
        let classes = match &classes {
            Some(classes) => classes,
            None => classes.insert(classes_of(path, &files, options)?),
        };
        let mut samples = Vec::new();
        for file in &files {
            add_samples(classes, file, &mut samples)?;
        }
        Ok(Some(samples))
    })?;
    let train = train.ok_or_else(|| no_texts(path))?;
    let mut splits = Splits { train, validation: validation.flatten(), test: test.flatten() };
    tell(&splits, options, &mut findings.notes);
    leave_out(&mut splits, options);
    let sets = splits.try_map(|samples| {
        let (texts, labels) = samples.into_iter().map(|sample| (sample.text, sample.label)).unzip();
        TextSet::new(texts, labels)
    })?;
    let names = classes.map(|classes| classes.names).unwrap_or_default();
    let dataset = Dataset::assemble(path, format, names, sets, findings)?;
    Ok(dataset.with_unlabelled(unlabelled))
}

fn leave_out_empty(split: &Chosen, files: &mut [Rows], findings: &mut Findings) {
    let is_empty = |row: &Row| {
        row.text.first.is_empty() && row.text.second.as_ref().is_none_or(|text| text.is_empty())
    };
    let mut empty = files
        .iter()
        .flat_map(|file| file.rows.iter().filter(|row| is_empty(row)).map(|row| file.at(row)));
    if let Some(first) = empty.next() {
        let count = empty.count() + 1;
        findings.notes.push(format!(
            "{count} empty texts of `{}` are left out: the first is {first}",
            split.name
        ));
    }
    files.iter_mut().for_each(|file| file.rows.retain(|row| !is_empty(row)));
}

/// Brings labels to one form: in Unicode's composed form, whole numbers as such, and nothing where
/// there is none.
fn clean_labels(files: &mut [Rows]) {
    let labels = || files.iter().flat_map(|file| &file.rows).map(|row| row.label.trim());
    // Tables with missing numbers are often written with `1.0` for 1.
    let whole = |label: &str| label.is_empty() || without_fraction(label).is_some();
    let all_whole = labels().all(whole);
    for row in files.iter_mut().flat_map(|file| &mut file.rows) {
        let label = composed(row.label.trim());
        let label = match without_fraction(&label).filter(|_| all_whole) {
            Some(number) => number.to_owned(),
            None => label,
        };
        row.label = if label == UNLABELLED { String::new() } else { label };
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

/// The classes of the training split.
fn classes_of(path: &Path, files: &[Rows], options: &ReadOptions) -> Result<Classes, DataError> {
    let mut named = files.iter().filter_map(|file| Some((file, file.names.as_ref()?)));
    let names = named.next();
    if let Some((first, names)) = names
        && let Some((other, _)) = named.find(|(_, others)| *others != names)
    {
        let (first, other) = (first.path.clone(), other.path.clone());
        return Err(DataError::ClassNamesDiffer { first, other });
    }
    let names = names.map(|(_, names)| names.as_slice());
    let given = match (options.classes.as_deref(), names) {
        (Some(given), Some(names)) if given.len() != names.len() => {
            let (expected, found) = (names.len(), given.len());
            let path = PathBuf::from("classes");
            return Err(DataError::WrongClassCount { path, expected, found });
        }
        (given, names) => given.or(names),
    };
    let labels = files.iter().flat_map(|file| &file.rows).map(|row| row.label.as_str());
    let path = match files {
        [only] => &only.path,
        _ => path,
    };
    let labels = labels.filter(|label| !label.is_empty());
    Classes::of(path, labels, given, options.first_label)
}

fn add_samples(classes: &Classes, file: &Rows, samples: &mut Vec<Sample>) -> Result<(), DataError> {
    let name: Arc<str> = format!("`{}`, {}", file.path.display(), file.kind).into();
    for row in file.rows.iter().filter(|row| !row.label.is_empty()) {
        let label = classes.number(&row.label).ok_or_else(|| DataError::Texts {
            path: file.path.clone(),
            place: Some((file.kind, row.place)),
            problem: format!("class `{}` is not one of the training split", row.label),
            fix: "give all classes with `classes = [..]`, or leave this split out".to_owned(),
        })?;
        let (text, file) = (row.text.clone(), Arc::clone(&name));
        samples.push(Sample { text, label, file, place: row.place });
    }
    Ok(())
}

/// Refuses more text than the files can hold: a dictionary may give one text to many rows.
#[derive(Debug, Default)]
pub(super) struct TextBudget(Budget);

impl TextBudget {
    /// Counts the bytes of a file before its texts.
    pub(super) fn store(&self, bytes: u64) {
        self.0.store(bytes);
    }

    /// Counts a text of `path`.
    pub(super) fn take(&self, path: &Path, text: &Text) -> Result<(), DataError> {
        let bytes = text.first.len() + text.second.as_ref().map_or(0, |second| second.len());
        self.0.decode(path, bytes as u64)
    }
}
