//! A folder of class folders with one text a file.
//!
//! ```text
//! train/pos/0_9.txt, train/neg/1_1.txt, test/pos/…, test/neg/…     splits, as in `splits.rs`
//! business/001.txt, sport/001.txt, …                               training texts alone
//! train/alt.atheism/49960, …                                       names of digits alone, too
//! train/unsup/0_0.txt                                              training texts without a label
//! ```
//!
//! Classes are the names of the folders, sorted bytewise, or in the order of the option `classes`.
//! Files beside the class folders and files of other kinds in them are left out with a note. Hidden
//! files are skipped.

use std::path::{Path, PathBuf};

use super::gather::{Row, Rows, SplitRows, TextBudget, assemble, trimmed};
use crate::files::{FileRoot, MOST_BYTES};
use crate::findings::Findings;
use crate::folder::{check_look_like_classes, class_folders, find_splits, names_of, root_of};
use crate::image::file::has_image_name;
use crate::listing::{Entry, list};
use crate::splits::choice::choose;
use crate::splits::{Chosen, Role, is_unlabelled};
use crate::text::set::no_texts;
use crate::utf8::text_of;
use crate::{DataError, Dataset, Format, ReadOptions};

/// Whether there are class folders, mostly of texts, and none holds an image.
pub(crate) fn recognises(path: &Path) -> Result<bool, DataError> {
    let entries = list(path)?;
    let is_train = |entry: &&Entry| entry.is_dir && Role::of(&entry.name) == Some(Role::Train);
    let train = entries.iter().find(is_train).map(|train| list(&train.path));
    // A folder that cannot be listed is perhaps none of ours.
    let inside = train.map(Result::unwrap_or_default).filter(|all| all.iter().any(|e| e.is_dir));
    let folders = inside.unwrap_or(entries).into_iter().filter(|entry| entry.is_dir);
    let mut classes = 0;
    for folder in folders {
        let inside = list(&folder.path).unwrap_or_default();
        // Images may also lie one folder deeper, in `images/`.
        if inside.iter().any(|entry| entry.is_dir || has_image_name(&entry.name)) {
            return Ok(false);
        }
        let texts = inside.iter().filter(|entry| has_text_name(&entry.name)).count();
        // Not the folder of another data set with a list of names in it.
        classes += usize::from(texts > 0 && 2 * texts >= inside.len());
    }
    Ok(classes > 1)
}

/// `.txt`, or digits alone as those of the 20 Newsgroups.
fn has_text_name(name: &str) -> bool {
    let ends = name.len() > 4 && name.is_char_boundary(name.len() - 4);
    ends && name[name.len() - 4..].eq_ignore_ascii_case(".txt")
        || name.bytes().all(|digit| digit.is_ascii_digit())
}

/// Reads the dataset in the folder `path`.
///
/// # Errors
/// No classes or only one, no texts, a file that is not UTF-8, folders that are no classes:
/// [`DataError`].
pub fn read(path: &Path, options: &ReadOptions) -> Result<Dataset, DataError> {
    let files = FileRoot::new(path, options.follow_links)?;
    let mut findings = Findings::default();
    let folders = find_splits(path, &files, options)?;
    let names: Vec<String> = folders.iter().map(|entry| entry.name.clone()).collect();
    let chosen = match folders.is_empty() {
        false => choose(path, &names, options, &mut findings.notes)?,
        true => choose(path, &["train".to_owned()], options, &mut findings.notes)?,
    };
    let budget = TextBudget::default();
    let (mut strangers, mut classes) = (Vec::new(), options.classes.clone());
    let splits = chosen.try_map(|split| -> Result<SplitRows, DataError> {
        let folder = match folders.iter().find(|entry| entry.name == split.name) {
            Some(entry) => entry.path.clone(),
            None if !split.asked => path.to_owned(),
            None => path.join(&split.name),
        };
        if !folder.is_dir() {
            return Err(split.missing(path, &names));
        }
        let root = root_of(&files, &folder, &split, options)?;
        let own = class_folders(&root, &folder)?;
        if folders.is_empty() && options.classes.is_none() {
            check_look_like_classes(path, &own)?;
        }
        let classes = classes.get_or_insert_with(|| {
            let mut names = names_of(&own);
            names.retain(|name| !is_unlabelled(name));
            names
        });
        let beside = root.list(&folder)?.into_iter().filter(|entry| !entry.is_dir);
        strangers.extend(beside.map(|entry| entry.path));
        let rows = read_classes(&root, &own, &split, classes, &budget, &mut strangers)?;
        Ok((split, rows))
    })?;
    if let Some(first) = strangers.first() {
        findings.notes.push(format!(
            "{} files are left out, which are no texts in class folders: the first is `{}`",
            strangers.len(),
            first.display()
        ));
    }
    let options = &ReadOptions { classes, ..options.clone() };
    assemble(path, Format::TextFolder, splits, options, findings)
}

/// The texts of the class folders, each as the only row of its file.
fn read_classes(
    root: &FileRoot,
    folders: &[Entry],
    split: &Chosen,
    classes: &[String],
    budget: &TextBudget,
    strangers: &mut Vec<PathBuf>,
) -> Result<Vec<Rows>, DataError> {
    let mut files = Vec::new();
    for folder in folders {
        let unlabelled = is_unlabelled(&folder.name) && !classes.contains(&folder.name);
        if !unlabelled && !classes.contains(&folder.name) {
            return Err(DataError::Texts {
                path: folder.path.clone(),
                place: None,
                problem: format!("`{}` is not a class of the training split", folder.name),
                fix: format!(
                    "remove the folder from `{}`, or name all classes with `classes = [..]`",
                    split.name
                ),
            });
        }
        let before = files.len();
        for entry in root.list(&folder.path)? {
            if entry.is_dir || !has_text_name(&entry.name) {
                strangers.push(entry.path);
                continue;
            }
            let bytes = root.read(&entry.path, MOST_BYTES)?;
            budget.store(bytes.len() as u64);
            let text = trimmed(&text_of(&entry.path, bytes)?, None);
            let label = if unlabelled { String::new() } else { folder.name.clone() };
            let rows = vec![Row { text, label, place: 1 }];
            files.push(Rows { path: entry.path, kind: "line", rows, names: None });
        }
        if files.len() == before && split.role == Role::Train {
            return Err(no_texts(&folder.path));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests;
