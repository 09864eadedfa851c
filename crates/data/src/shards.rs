//! Files of splits as on the Hugging Face hub: one or several a split, its name first.
//!
//! ```text
//! train-00000-of-00002.parquet, train-00001-of-00002.parquet, test-00000-of-00001.parquet
//! train.csv, test.csv                                             one file a split
//! train/0000.parquet, train/0001.parquet, test/0000.parquet       the hub's own conversion
//!     in the folder, in its `data/`, or in its only subfolder with such files
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::listing::{Entry, list};
use crate::splits::{Chosen, Role};
use crate::{DataError, ReadOptions};

/// The files of each split.
pub(crate) type SplitFiles = BTreeMap<String, Vec<PathBuf>>;

/// The folders that hold a training split: the first of `path`, `path/data`, else all such
/// subfolders, also those of the hub's cache (`snapshots/REVISION`).
pub(crate) fn locate(
    path: &Path,
    options: &ReadOptions,
    endings: &[&str],
) -> Result<Vec<SplitFiles>, DataError> {
    let is_train = |name: &str| match &options.train {
        Some(train) => train == name,
        None => Role::of(name) == Some(Role::Train),
    };
    let trains = |folder: &Path| -> Result<Option<SplitFiles>, DataError> {
        let may_be = |entry: &Entry| match entry.is_dir {
            true => is_train(&entry.name),
            false => split_of(&entry.name, endings).is_some_and(is_train),
        };
        // Folders of a million images are not looked through for nothing.
        if !list(folder)?.iter().any(may_be) {
            return Ok(None);
        }
        let files = split_files(folder, endings)?;
        Ok(files.keys().any(|name| is_train(name)).then_some(files))
    };
    for folder in [path.to_owned(), path.join("data")] {
        if folder.is_dir()
            && let Some(files) = trains(&folder)?
        {
            return Ok(vec![files]);
        }
    }
    let mut found = Vec::new();
    let folders = |path: &Path| {
        // What cannot be listed is perhaps none of ours.
        let entries = list(path).unwrap_or_default().into_iter();
        entries.filter(|entry| entry.is_dir).map(|entry| entry.path)
    };
    for folder in folders(path).chain(folders(&path.join("snapshots"))) {
        let data = folder.join("data");
        for folder in [Some(folder), data.is_dir().then_some(data)].into_iter().flatten() {
            match trains(&folder) {
                Ok(files) => found.extend(files),
                Err(DataError::Io { .. } | DataError::NotUtf8 { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(found)
}

/// The same, of a path that must hold exactly one data set.
pub(crate) fn locate_one(
    path: &Path,
    options: &ReadOptions,
    endings: &[&str],
) -> Result<SplitFiles, DataError> {
    let mut found = locate(path, options, endings)?;
    match (found.pop(), found.is_empty()) {
        (Some(splits), true) => Ok(splits),
        (None, _) => {
            let ending = endings.first().copied().unwrap_or_default();
            Err(DataError::MissingFile { path: path.join(format!("train-*{ending}")) })
        }
        (Some(last), false) => {
            let folder = |splits: &SplitFiles| {
                let parent = splits.values().flatten().next().and_then(|file| file.parent());
                format!("`{}`", parent.unwrap_or(path).display())
            };
            found.push(last);
            let folders = found.iter().map(folder).collect();
            Err(DataError::SeveralDatasets { path: path.to_owned(), folders })
        }
    }
}

/// The files of the splits in a folder, in order of their numbers: `train-00000-of-00002.parquet`,
/// `train.parquet`, or `train/0000.parquet`.
fn split_files(folder: &Path, endings: &[&str]) -> Result<SplitFiles, DataError> {
    let mut splits = SplitFiles::new();
    for entry in list(folder)? {
        if entry.is_dir {
            let files = files_ending(&entry.path, endings).unwrap_or_default();
            if !files.is_empty() {
                check_complete(&entry.path, "", &files)?;
                splits.insert(entry.name, files);
            }
        } else if let Some(split) = split_of(&entry.name, endings) {
            splits.entry(split.to_owned()).or_default().push(entry.path);
        }
    }
    for (split, files) in &splits {
        check_complete(folder, split, files)?;
    }
    Ok(splits)
}

/// A name without its ending, if that is one of these.
fn stem<'a>(name: &'a str, endings: &[&str]) -> Option<&'a str> {
    endings.iter().find_map(|ending| name.strip_suffix(ending))
}

/// The split in the name of a file with one of these endings: what stands before the first hyphen.
fn split_of<'a>(name: &'a str, endings: &[&str]) -> Option<&'a str> {
    let stem = stem(name, endings)?;
    Some(stem.split_once('-').map_or(stem, |(split, _)| split))
}

/// The files in a folder with one of these endings.
pub(crate) fn files_ending(folder: &Path, endings: &[&str]) -> Result<Vec<PathBuf>, DataError> {
    let fits = |entry: &Entry| !entry.is_dir && stem(&entry.name, endings).is_some();
    Ok(list(folder)?.into_iter().filter(fits).map(|entry| entry.path).collect())
}

/// Refuses a split with a file missing: training on half of the data would go unnoticed.
fn check_complete(folder: &Path, split: &str, files: &[PathBuf]) -> Result<(), DataError> {
    let stems = || files.iter().filter_map(|file| file.file_stem()?.to_str());
    let ending = files.first().and_then(|file| file.extension()).unwrap_or_default();
    let missing = |name: String| {
        let path = folder.join(format!("{name}.{}", ending.display()));
        Err(DataError::MissingFile { path })
    };
    let numbered: Vec<(usize, usize)> =
        stems().filter_map(|stem| shard_numbers(stem.strip_prefix(split)?)).collect();
    if let Some(&(_, count)) = numbered.first() {
        if let Some(index) = (0..count).find(|&index| !numbered.contains(&(index, count))) {
            let separator = if split.is_empty() { "" } else { "-" };
            return missing(format!("{split}{separator}{index:05}-of-{count:05}"));
        }
        if files.len() != count {
            return Err(DataError::WrongShape {
                what: "files of one split",
                expected: count,
                found: files.len(),
            });
        }
    }
    // `0000.parquet`, `0001.parquet`, …
    let numbers: Vec<usize> = stems().filter_map(|stem| stem.parse().ok()).collect();
    if numbers.len() == files.len()
        && let Some(index) = (0..files.len()).find(|index| !numbers.contains(index))
    {
        return missing(format!("{index:04}"));
    }
    Ok(())
}

/// Index and count from `-00000-of-00002` or `-00000-of-00002-0123abcd`.
fn shard_numbers(rest: &str) -> Option<(usize, usize)> {
    let mut words = rest.strip_prefix('-').unwrap_or(rest).split('-');
    let index = words.next()?.parse().ok()?;
    if words.next()? != "of" {
        return None;
    }
    Some((index, words.next()?.parse().ok()?))
}

/// The files of a split that was chosen: those found, or a file or folder of the caller's.
pub(crate) fn locate_split(
    path: &Path,
    split: &Chosen,
    splits: &SplitFiles,
    endings: &[&str],
) -> Result<Vec<PathBuf>, DataError> {
    if let Some(files) = splits.get(&split.name) {
        return Ok(files.clone());
    }
    let given = path.join(&split.name);
    let files = match (given.is_dir(), given.is_file()) {
        (true, _) => files_ending(&given, endings)?,
        (_, true) => vec![given],
        _ => Vec::new(),
    };
    match files.is_empty() {
        true => Err(split.missing(path, &splits.keys().cloned().collect::<Vec<_>>())),
        false => Ok(files),
    }
}
