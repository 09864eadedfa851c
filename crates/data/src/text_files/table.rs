//! What tables of texts have in common, whatever their files are: which files, which splits.

use std::path::Path;

use super::gather::{Row, Rows, SplitRows, TextBudget, assemble};
use crate::files::{FileRoot, open_regular};
use crate::findings::Findings;
use crate::shards::{SplitFiles, files_ending, locate, locate_one, locate_split};
use crate::splits::choice::choose;
use crate::splits::{Chosen, Role};
use crate::{DataError, Dataset, Format, ReadOptions};

/// A kind of files.
pub(super) struct Kind {
    pub(super) format: Format,
    pub(super) endings: &'static [&'static str],
    /// The columns of a file, if it can be read.
    pub(super) header: fn(&Path) -> Option<Header>,
    /// Reads a file that is open, with its length.
    pub(super) read: fn(&Source<'_>) -> Result<Table, DataError>,
}

/// The columns of a file.
pub(super) struct Header {
    /// Those that may be of texts or labels.
    pub(super) columns: Vec<String>,
    /// Whether there are others, of images.
    pub(super) has_images: bool,
}

/// A file to be read.
pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    pub(super) options: &'a ReadOptions,
    pub(super) budget: &'a TextBudget,
    /// Where it may lie.
    root: &'a FileRoot,
    /// Whether the caller named it.
    asked: bool,
}

impl Source<'_> {
    /// The file and its length in bytes.
    pub(super) fn open(&self) -> Result<(std::fs::File, u64), DataError> {
        // What the caller names may lie anywhere.
        if self.asked { open_regular(self.path) } else { self.root.open(self.path) }
    }
}

/// The rows of a file, each with the split that it says to be of, if it says so.
pub(super) struct Table {
    pub(super) rows: Rows,
    /// One a row, or none at all.
    pub(super) splits: Vec<String>,
}

impl Kind {
    /// Whether a folder holds tables of texts of this kind; reads the columns of one file.
    pub(super) fn recognises(&self, path: &Path, options: &ReadOptions) -> Result<bool, DataError> {
        let found = locate(path, options, self.endings)?;
        let files = match found.first() {
            Some(splits) => {
                let is_train = |name: &&String| Role::of(name) == Some(Role::Train);
                let train = options.train.as_ref().or_else(|| splits.keys().find(is_train));
                train.and_then(|name| splits.get(name)).cloned().unwrap_or_default()
            }
            None => self.alone(path, options)?,
        };
        // With `text_column` whoever asks has said that they are texts.
        let Some(header) = files.first().and_then(|file| (self.header)(file)) else {
            return Ok(false);
        };
        Ok(match (&options.text_column, &options.image_column) {
            (Some(_), _) => true,
            (None, Some(_)) => false,
            (None, None) => !header.has_images && super::columns::are_texts(&header.columns),
        })
    }

    /// Whether there are files that are called as those of this kind, whatever stands in them.
    pub(super) fn has_files(&self, path: &Path, options: &ReadOptions) -> Result<bool, DataError> {
        let located = !locate(path, options, self.endings)?.is_empty();
        // `config.json` alone is no data set.
        let is_table = |file: &std::path::PathBuf| file.extension().is_some_and(|it| it != "json");
        Ok(located || self.alone(path, options)?.iter().any(is_table))
    }

    /// The only file of a folder, or the one that the caller names: all of it is for training.
    fn alone(
        &self,
        path: &Path,
        options: &ReadOptions,
    ) -> Result<Vec<std::path::PathBuf>, DataError> {
        let named = options.train.as_ref().map(|train| path.join(train));
        if let Some(named) = named {
            let fits = named
                .file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| self.endings.iter().any(|ending| name.ends_with(ending)));
            return Ok(if fits && named.is_file() { vec![named] } else { Vec::new() });
        }
        let files = files_ending(path, self.endings)?;
        Ok(if files.len() == 1 { files } else { Vec::new() })
    }

    /// Reads the data set in the folder `path`.
    pub(super) fn read_dataset(
        &self,
        path: &Path,
        options: &ReadOptions,
    ) -> Result<Dataset, DataError> {
        let root = FileRoot::new(path, options.follow_links)?;
        let mut findings = Findings::default();
        let files = match (locate(path, options, self.endings)?.as_slice(), options.train.as_ref())
        {
            ([], None) => {
                let alone = self.alone(path, options)?;
                match alone.is_empty() {
                    true => locate_one(path, options, self.endings)?,
                    false => [("train".to_owned(), alone)].into(),
                }
            }
            ([], Some(_)) => SplitFiles::new(),
            _ => locate_one(path, options, self.endings)?,
        };
        let budget = TextBudget::default();
        let read = |path: &Path, asked| {
            (self.read)(&Source { path, options, budget: &budget, root: &root, asked })
        };
        // One file with a column that says which split each row is of.
        if let [only] = files.values().flatten().collect::<Vec<_>>().as_slice() {
            let table = read(only, false)?;
            if !table.splits.is_empty() {
                return by_column(path, self.format, table, options, findings);
            }
        }
        let names: Vec<String> = files.keys().cloned().collect();
        let chosen = choose(path, &names, options, &mut findings.notes)?;
        let splits = chosen.try_map(|split| -> Result<SplitRows, DataError> {
            let files = locate_split(path, &split, &files, self.endings)?;
            let rows = files.iter().map(|file| Ok(read(file, split.asked)?.rows));
            let rows = rows.collect::<Result<_, DataError>>()?;
            Ok((split, rows))
        })?;
        assemble(path, self.format, splits, options, findings)
    }
}

/// A data set whose splits stand in a column.
fn by_column(
    path: &Path,
    format: Format,
    Table { rows, splits }: Table,
    options: &ReadOptions,
    mut findings: Findings,
) -> Result<Dataset, DataError> {
    let mut names: Vec<String> = Vec::new();
    for name in &splits {
        if !names.contains(name) {
            names.push(name.clone());
        }
        // A column of that name may be something else.
        if names.len() > 2 * Role::ALL.len() {
            let problem = "the column of splits has more than six values".to_owned();
            return Err(DataError::Texts {
                path: rows.path.clone(),
                place: None,
                problem,
                fix: "call it something else than `split`, `set`, `subset` or `partition`"
                    .to_owned(),
            });
        }
    }
    let chosen = choose(path, &names, options, &mut findings.notes)?;
    let chosen = chosen.try_map(|split: Chosen| -> Result<SplitRows, DataError> {
        let of_it = rows.rows.iter().zip(&splits).filter(|(_, name)| **name == split.name);
        let own: Vec<Row> = of_it.map(|(row, _)| row.clone()).collect();
        if own.is_empty() {
            return Err(split.missing(path, &names));
        }
        Ok((split, vec![Rows { rows: own, ..rows.clone() }]))
    })?;
    assemble(path, format, chosen, options, findings)
}
