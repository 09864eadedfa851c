//! Lists of image files and their labels, as on Kaggle.
//!
//! ```text
//! train.csv, perhaps val.csv and test.csv; or labels.csv, metadata.csv or annotations.csv
//!     path,label            or with any other order and further columns
//!     path,label,split      one list for all splits
//! ```
//!
//! The column of paths is called `path`, `file_name`, `image`, `id` and the like, or the one of the
//! option `image_column`; that of labels `label`, `class`, `target` and the like, or the one of
//! `label_column`. A path is taken from the folder of the list, its `images/` or the folder called
//! like the list (`train/`, `train_images/`), and may lack its extension. Labels are the names of
//! classes, or, if all are whole numbers, the numbers of classes. Fields are separated by commas,
//! semicolons or tabs, and quoted as RFC 4180 says. A list without a column of labels is one of
//! images without labels.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::classes::{Classes, whole_numbers};
use crate::files::FileRoot;
use crate::findings::Findings;
use crate::image::file::read_images;
use crate::image::picture::{self, Gather};
use crate::listing::{Entry, MOST_NAMES_BYTES, composed, list};
use crate::separated::{self, Table};
use crate::splits::choice::choose;
use crate::splits::{Chosen, Role};
use crate::utf8::text_of;
use crate::{DataError, Dataset, Format, ReadOptions};

/// Names of a list that is for all splits, where there is no `train.csv`.
const LISTS: [&str; 4] = ["labels", "metadata", "annotations", "images"];
const PATHS: [&str; 12] = [
    "path",
    "file",
    "filename",
    "file_name",
    "filepath",
    "file_path",
    "image",
    "image_path",
    "image_name",
    "image_id",
    "id",
    "img",
];
const LABELS: [&str; 7] = ["label", "labels", "class", "class_name", "category", "target", "y"];
const SPLITS: [&str; 4] = ["split", "set", "subset", "partition"];
const EXTENSIONS: [&str; 6] = ["jpg", "png", "jpeg", "JPEG", "JPG", "webp"];

pub(crate) fn recognises(path: &Path) -> Result<bool, DataError> {
    // Lists beside class folders say the same once more, or something else.
    let folders = list(path)?.into_iter().filter(|entry| entry.is_dir);
    let mut trains = folders.filter(|entry| Role::of(&entry.name) == Some(Role::Train));
    let has_classes = trains.any(|train| {
        list(&train.path).is_ok_and(|entries| entries.iter().any(|entry| entry.is_dir))
    });
    Ok(!has_classes && has_list(path)?)
}

/// Whether a list names paths of files; an id alone may be of anything.
pub(crate) fn names_paths(path: &Path) -> Result<bool, DataError> {
    let is_path = |name: &String| {
        !name.eq_ignore_ascii_case("id") && PATHS.iter().any(|own| name.eq_ignore_ascii_case(own))
    };
    let mut headers = find(path)?.into_iter().filter_map(|(_, file)| separated::header(&file));
    Ok(headers.any(|header| header.iter().any(is_path)))
}

/// Whether there is a list to be read.
pub(crate) fn has_list(path: &Path) -> Result<bool, DataError> {
    Ok(!find(path)?.is_empty())
}

/// The lists of a folder: those called like splits if one is for training, else the first that is
/// for all.
fn find(path: &Path) -> Result<Vec<(String, PathBuf)>, DataError> {
    let stem = |entry: Entry| {
        let stem = entry.name.strip_suffix(".csv").filter(|_| !entry.is_dir)?;
        Some((stem.to_owned(), entry.path))
    };
    let all: Vec<(String, PathBuf)> = list(path)?.into_iter().filter_map(stem).collect();
    let splits: Vec<_> = all.iter().filter(|(stem, _)| Role::of(stem).is_some()).cloned().collect();
    if splits.iter().any(|(stem, _)| Role::of(stem) == Some(Role::Train)) {
        return Ok(splits);
    }
    let named = LISTS.iter().find_map(|name| all.iter().find(|(stem, _)| stem == name));
    Ok(named.cloned().into_iter().collect())
}

/// The samples of one split as a list gives them.
struct Rows {
    list: PathBuf,
    /// Line, file, label; an empty one is missing.
    rows: Vec<(usize, PathBuf, String)>,
}

impl Rows {
    fn wrong(&self, line: usize, problem: String) -> DataError {
        DataError::List { path: self.list.clone(), line: Some(line), problem }
    }

    /// Refuses a missing label, and a file with two of them.
    fn check(&self) -> Result<(), DataError> {
        let mut seen: BTreeMap<&Path, &str> = BTreeMap::new();
        for (line, file, label) in &self.rows {
            if label.is_empty() {
                return Err(self.wrong(*line, "the label is missing".to_owned()));
            }
            if let Some(other) = seen.insert(file, label).filter(|other| other != label) {
                let file = file.file_name().unwrap_or_default().to_string_lossy();
                let problem =
                    format!("`{file}` is both `{other}` and `{label}`: one label an image");
                return Err(self.wrong(*line, problem));
            }
        }
        Ok(())
    }

    fn classes(&self, options: &ReadOptions) -> Result<Classes, DataError> {
        let labels = self.rows.iter().map(|(_, _, label)| label.as_str());
        Classes::of(&self.list, labels, options.classes.as_deref(), options.first_label)
    }

    /// The files with their labels.
    fn label(&self, classes: &Classes) -> Result<Vec<(PathBuf, u32)>, DataError> {
        let image = |(line, file, label): &(usize, PathBuf, String)| {
            let problem = || format!("class `{label}` is not one of the classes");
            let number = classes.number(label).ok_or_else(|| self.wrong(*line, problem()))?;
            Ok((file.clone(), number))
        };
        self.rows.iter().map(image).collect()
    }
}

/// Reads the dataset in the folder `path`.
///
/// # Errors
/// No list, no column of paths or labels, a file that is missing or no image, a file with two
/// labels, images of several sizes: [`DataError`].
pub fn read(path: &Path, options: &ReadOptions) -> Result<Dataset, DataError> {
    let files = FileRoot::new(path, options.follow_links)?;
    let mut lists = BTreeMap::new();
    for (name, file) in find(path)? {
        read_list(&files, &name, &file, options, &mut lists)?;
    }
    let names: Vec<String> = lists.keys().cloned().collect();
    let mut findings = Findings::default();
    let chosen = choose(path, &names, options, &mut findings.notes)?;
    let mut classes = None;
    let splits = chosen.try_map(|split| -> Result<Option<Gather>, DataError> {
        let mut rows = match lists.remove(&split.name) {
            Some(rows) => rows,
            None => read_given(path, &split, options, &names)?,
        };
        if rows.rows.iter().all(|(_, _, label)| label.is_empty()) {
            return split.unlabelled(path, &mut findings.notes);
        }
        whole_numbers(rows.rows.iter_mut().map(|(_, _, label)| label));
        rows.check()?;
        let classes = match &classes {
            Some(classes) => classes,
            None => classes.insert(rows.classes(options)?),
        };
        let images = rows.label(classes)?;
        read_images(&files, &images, options, &mut findings).map(Some)
    })?;
    let train = splits.train.ok_or_else(|| DataError::NoImages { path: path.to_owned() })?;
    let classes = classes.map(|classes| classes.names).unwrap_or_default();
    let sets = crate::splits::Splits {
        train,
        validation: splits.validation.flatten(),
        test: splits.test.flatten(),
    };
    if sets.iter().any(Gather::is_empty) {
        return Err(DataError::NoImages { path: path.to_owned() });
    }
    let sets = picture::into_sets(sets, &mut findings)?;
    Dataset::assemble(path, Format::List, classes, sets, findings)
}

/// A list that the caller names.
fn read_given(
    path: &Path,
    split: &Chosen,
    options: &ReadOptions,
    names: &[String],
) -> Result<Rows, DataError> {
    let file = path.join(&split.name);
    if !file.is_file() {
        return Err(split.missing(path, names));
    }
    let files = FileRoot::new(path, options.follow_links)?;
    let mut lists = BTreeMap::new();
    read_list(&files, &split.name, &file, options, &mut lists)?;
    let rows = lists.into_values().next();
    rows.ok_or(DataError::NoImages { path: file })
}

/// Adds the splits of a list to `lists`.
fn read_list(
    files: &FileRoot,
    name: &str,
    path: &Path,
    options: &ReadOptions,
    lists: &mut BTreeMap<String, Rows>,
) -> Result<(), DataError> {
    let text = text_of(path, files.read(path, MOST_NAMES_BYTES)?)?;
    let wrong = |line, problem: String| DataError::List { path: path.to_owned(), line, problem };
    let table = Table::parse(&text).map_err(|(line, problem)| wrong(Some(line), problem))?;
    let column = |given: &Option<String>, known: &[&str], key| match given {
        Some(given) => match table.column(given) {
            Some(column) => Ok(Some(column)),
            None => Err(DataError::Column {
                path: path.to_owned(),
                problem: format!("no column `{given}`"),
                candidates: format!("the columns {}", table.header.join(", ")),
                key,
            }),
        },
        None => Ok(known.iter().find_map(|name| table.column(name))),
    };
    let paths = column(&options.image_column, &PATHS, "image_column")?;
    let paths = paths.ok_or_else(|| DataError::Column {
        path: path.to_owned(),
        problem:
            "no column is called like one of paths or texts (the first line is the header, its \
                  separator a comma, semicolon or tab)"
                .to_owned(),
        candidates: format!("the columns {}", table.header.join(", ")),
        key: "image_column",
    })?;
    let labels = match Role::of(name) {
        // A list of test images often has no labels.
        Some(Role::Test | Role::Validation) => table
            .column(options.label_column.as_deref().unwrap_or_default())
            .or_else(|| LABELS.iter().find_map(|name| table.column(name))),
        _ => Some(column(&options.label_column, &LABELS, "label_column")?.ok_or_else(|| {
            DataError::Column {
                path: path.to_owned(),
                problem: "no column is called like one of labels".to_owned(),
                candidates: format!("the columns {}", table.header.join(", ")),
                key: "label_column",
            }
        })?),
    };
    let split = SPLITS.iter().find_map(|name| table.column(name));
    for column in [Some(paths), labels, split].into_iter().flatten() {
        if table.is_twice(column) {
            let name = &table.header[column];
            return Err(wrong(Some(1), format!("several columns are called `{name}`")));
        }
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut place = None;
    for (line, fields) in &table.rows {
        let file = fields[paths].as_str();
        let (base, extension) =
            place.get_or_insert_with(|| locate(folder, name, file)).as_ref().ok_or_else(|| {
                wrong(Some(*line), format!("`{file}` is not there, nor in `images/` or `{name}/`"))
            })?;
        let split = split.map_or(name, |split| fields[split].as_str());
        // One list for all is for training where it does not say more.
        let split = if Role::of(name).is_none() && split == name { "train" } else { split };
        let rows = lists
            .entry(split.to_owned())
            .or_insert_with(|| Rows { list: path.to_owned(), rows: Vec::new() });
        let label = labels.map_or(String::new(), |labels| composed(fields[labels].trim()));
        rows.rows.push((*line, base.join(format!("{file}{extension}")), label));
    }
    Ok(())
}

/// The folder that a list's paths start from, and what their names lack.
fn locate(folder: &Path, list: &str, file: &str) -> Option<(PathBuf, String)> {
    let folders = ["", "images", list, &format!("{list}_images"), "train", "train_images"]
        .map(|name| folder.join(name));
    let endings = || EXTENSIONS.iter().map(|extension| format!(".{extension}"));
    folders.into_iter().find_map(|base| {
        let mut endings = std::iter::once(String::new()).chain(endings());
        let ending = endings.find(|ending| {
            // A link that leads nowhere is reported where it is read.
            base.join(format!("{file}{ending}")).symlink_metadata().is_ok_and(|it| !it.is_dir())
        })?;
        Some((base, ending))
    })
}

#[cfg(test)]
mod tests;
