//! From the rows of files to a data set: classes, empty texts, texts without a label, duplicates.
//!
//! - White space around a text is no part of it, in any format.
//! - An empty text is left out, with a note.
//! - A row without a label (empty, or -1 where no other labels stand beside it) is no sample. A split without any label is left out, as with
//!   images; single rows are left out with a note, those of the training split kept apart as
//!   [`crate::Dataset::unlabelled`].
//! - Duplicates are told, and left out of training where `on_duplicate_text` says so: see `duplicates`.

mod duplicates;
mod sample;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use faculty_inputs::Text;

use crate::bounds::Budget;
use crate::classes::{Classes, listed, whole_numbers};
use crate::findings::Findings;
use crate::listing::composed;
use crate::origin::Origins;
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
        clean_labels(&mut files, options)?;
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
        let mut origins = Origins::default();
        for sample in &samples {
            // A text file is one text.
            let place = (format != Format::TextFolder).then_some((sample.kind, sample.place));
            origins.push(&sample.file, place);
        }
        let (texts, labels) = samples.into_iter().map(|sample| (sample.text, sample.label)).unzip();
        Ok(TextSet::new(texts, labels)?.with_origins(origins))
    })?;
    let names = classes.map(|classes| classes.names).unwrap_or_default();
    let dataset = Dataset::assemble(path, format, names, sets, findings)?;
    let labels = vec![crate::UNLABELLED; unlabelled.len()];
    dataset.with_unlabelled(TextSet::new(unlabelled, labels)?)
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
///
/// # Errors
/// [`DataError::Labels`] where -1 may be a class or none.
fn clean_labels(files: &mut [Rows], options: &ReadOptions) -> Result<(), DataError> {
    let mut rows: Vec<&mut Row> = files.iter_mut().flat_map(|file| &mut file.rows).collect();
    for row in &mut rows {
        row.label = composed(row.label.trim());
    }
    whole_numbers(rows.into_iter().map(|row| &mut row.label));
    if options.classes.iter().flatten().any(|class| class == UNLABELLED) {
        return Ok(());
    }
    // The hub's class labels say so themselves: -1 is none.
    if options.first_label.is_none() && files.iter().all(|file| file.names.is_none()) {
        ask_what_minus_one_is(files)?;
    }
    for row in files.iter_mut().flat_map(|file| &mut file.rows) {
        if row.label == UNLABELLED {
            row.label.clear();
        }
    }
    Ok(())
}

/// Refuses a split in which -1 stands beside other labels: many data sets mean none by it, and those
/// of opinions a class.
fn ask_what_minus_one_is(files: &[Rows]) -> Result<(), DataError> {
    let rows = || files.iter().flat_map(|file| file.rows.iter().map(move |row| (file, row)));
    let others: BTreeSet<&str> = rows().map(|(_, row)| row.label.as_str()).collect();
    let names = others.iter().copied().filter(|label| !label.is_empty());
    let labels: Vec<&str> = names.clone().filter(|&label| label != UNLABELLED).collect();
    let minus_one = rows().find(|(_, row)| row.label == UNLABELLED);
    let (Some((file, row)), Some(label)) = (minus_one, labels.first()) else {
        return Ok(());
    };
    let all: Vec<&str> = names.collect();
    Err(DataError::Labels {
        path: file.path.clone(),
        problem: format!(
            "the label -1 ({} {}) stands beside others, such as `{label}`: a class, or no label?",
            file.kind, row.place
        ),
        fix: format!(
            "if these rows have no label, set `first_label = 0`; if it is a class, list them all: \
             `classes = {}`",
            listed(all.into_iter())
        ),
    })
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
    let path: Arc<Path> = file.path.as_path().into();
    for row in file.rows.iter().filter(|row| !row.label.is_empty()) {
        let label = classes.number(&row.label).ok_or_else(|| DataError::Texts {
            path: file.path.clone(),
            place: Some((file.kind, row.place)),
            problem: format!("class `{}` is not one of the training split", row.label),
            fix: "give all classes with `classes = [..]`, or leave this split out".to_owned(),
        })?;
        let (text, kind) = (row.text.clone(), file.kind);
        samples.push(Sample { text, label, file: Arc::clone(&path), kind, place: row.place });
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
