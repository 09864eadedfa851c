//! What is wrong with a recipe: what, where, and how to fix it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;

use faculty_escape as escape;

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Location {
    /// In a recipe file.
    File {
        /// The file as it was named.
        file: String,
        /// Counted from 1; none if the whole file is meant.
        line: Option<usize>,
        /// In characters, counted from 1; only known for syntax errors.
        column: Option<usize>,
    },
    /// In a `--set` argument.
    Set {
        /// The argument, `key.path=value`.
        argument: String,
    },
    /// In the program: the recipe was not read from a file.
    Code,
}

impl fmt::Display for Location {
    /// `FILE:LINE:COLUMN` as far as known, `--set ARGUMENT`, or nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line, column } => {
                f.write_str(file)?;
                [line, column].into_iter().flatten().try_for_each(|number| write!(f, ":{number}"))
            }
            Self::Set { argument } => write!(f, "--set {}", shown(argument)),
            Self::Code => Ok(()),
        }
    }
}

/// One problem, or one warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, in one line.
    pub what: String,
    /// Where the value at fault was given.
    pub location: Location,
    /// The key at fault, `teachers[1].weights`; empty if it is no single key.
    pub key: String,
    /// How to fix it.
    pub hint: String,
}

impl Problem {
    /// The place in one line: `runs/cifar.toml:18, teachers[1].weights`.
    #[must_use]
    pub fn place(&self) -> String {
        let parts = [self.location.to_string(), self.key.clone()];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  where: {}\n  hint: {}", self.what, self.place(), self.hint)
    }
}

/// A recipe that cannot be used: all its problems, in the order of the file.
#[derive(Debug, thiserror::Error)]
#[error("{}", .problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
#[non_exhaustive]
pub struct RecipeError {
    /// At least one.
    pub problems: Vec<Problem>,
    /// The system's reason, if the file could not be read.
    pub source: Option<io::Error>,
}

/// Problems in the making: knows where each key was given.
#[derive(Debug)]
pub(super) struct Problems {
    /// Where each table and each key was given, by key path.
    pub(super) places: BTreeMap<String, Location>,
    /// Where the whole recipe is from.
    pub(super) origin: Location,
    pub(super) list: Vec<Problem>,
    /// The keys that no more needs to be said of: those in `list`, and settled ones.
    keys: BTreeSet<String>,
}

impl Problems {
    pub(super) fn new(origin: Location) -> Self {
        Self { places: BTreeMap::new(), origin, list: Vec::new(), keys: BTreeSet::new() }
    }

    /// Adds a problem of `key`, unless one of it or of the table around it is known: what follows
    /// from a problem is noise.
    pub(super) fn add(&mut self, key: &str, what: String, hint: String) {
        if !self.knows(key) {
            let location = self.locate(key);
            self.keys.insert(key.to_owned());
            self.list.push(Problem { what, location, key: key.to_owned(), hint });
        }
    }

    /// Leaves out further problems of `key`: one is reported already, under another key.
    pub(super) fn settle(&mut self, key: &str) {
        self.keys.insert(key.to_owned());
    }

    /// Whether a problem of `key` or of the table around it is known.
    pub(super) fn knows(&self, key: &str) -> bool {
        std::iter::once(key).chain(around(key)).any(|key| self.keys.contains(key))
    }

    /// Where `key` was given, or else the table around it.
    pub(super) fn locate(&self, key: &str) -> Location {
        std::iter::once(key)
            .chain(around(key))
            .find_map(|key| self.places.get(key))
            .unwrap_or(&self.origin)
            .clone()
    }

    /// All of them, in the order of the file, those of the command line after it.
    pub(super) fn take(&mut self) -> Vec<Problem> {
        let mut list = std::mem::take(&mut self.list);
        list.sort_by_key(|problem| match problem.location {
            Location::File { line, .. } => line.unwrap_or(0),
            Location::Set { .. } | Location::Code => usize::MAX,
        });
        list
    }

    /// `Err` if there are any.
    pub(super) fn refuse(&mut self) -> Result<(), RecipeError> {
        let problems = self.take();
        if problems.is_empty() { Ok(()) } else { Err(RecipeError { problems, source: None }) }
    }
}

/// The tables around `teachers[1].weights`: `teachers[1]`, `teachers`, and the whole, ``.
fn around(key: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(key), |key| {
        (!key.is_empty()).then(|| key.rfind(['.', '[']).map_or("", |end| &key[..end]))
    })
    .skip(1)
}

/// Text from outside, made fit for one line of a message.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    let start: String = text.chars().take(LONGEST).collect();
    let mut shown = escape::name(&start).into_owned();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

/// The one of `known` that was probably meant by `word`, whatever its case.
///
/// Near means: at most a third of the letters differ, or `word` is made of the initials of its
/// words (`lr`, `wd`).
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    let word = plain(word);
    known
        .into_iter()
        .map(|candidate| {
            let name = plain(candidate);
            let initials: String = name.split('_').filter_map(|part| part.chars().next()).collect();
            let by_initials = initials.len() > 1 && initials == word;
            let distance = strsim::damerau_levenshtein(&word, &name);
            (if by_initials { 0 } else { distance }, name.chars().count().max(3), candidate)
        })
        .filter(|(distance, length, _)| *distance <= length / 3)
        .min_by_key(|(distance, ..)| *distance)
        .map(|(.., candidate)| candidate)
}
