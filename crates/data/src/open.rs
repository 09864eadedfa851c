//! Which format a folder has, and its reader.

use std::path::Path;
use std::sync::{PoisonError, RwLock};

use crate::classes::check_class_names;
use crate::format::add;
use crate::listing::{composed, describe, list as entries_of};
use crate::text_files::{csv, json_lines};
use crate::{
    DataError, Dataset, Format, ReadOptions, cifar_binary, cifar_python, folder, formats, idx,
    list, npz, parquet, text_files,
};

/// A format of one's own.
pub trait FormatReader: Send + Sync {
    /// Its name in recipes.
    fn name(&self) -> &str;

    /// What makes a folder be of this format, in words.
    fn looks_for(&self) -> &str;

    /// What it is, in one line.
    fn summary(&self) -> &str;

    /// Whether a folder is of this format; reads names only.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    fn recognises(&self, path: &Path) -> Result<bool, DataError>;

    /// Reads the dataset in a folder, with whatever of the options applies to it.
    ///
    /// # Errors
    /// Whatever is wrong with the files.
    fn read(&self, path: &Path, options: &ReadOptions) -> Result<Dataset, DataError>;
}

/// Readers of registered formats.
static READERS: RwLock<Vec<(Format, &'static dyn FormatReader)>> = RwLock::new(Vec::new());

/// Adds a format of one's own, for the whole process: from then on folders of it are recognised and
/// read like any other. Gives what [`Dataset::new`] wants to know of it.
///
/// # Errors
/// [`DataError::FormatName`] when its name is empty or taken.
pub fn register(reader: impl FormatReader + 'static) -> Result<Format, DataError> {
    // Formats live as long as the process: there are few, and everything refers to them.
    let reader: &'static dyn FormatReader = Box::leak(Box::new(reader));
    let format = add([reader.name(), reader.looks_for(), reader.summary()])?;
    READERS.write().unwrap_or_else(PoisonError::into_inner).push((format, reader));
    Ok(format)
}

/// The reader of a registered format.
fn reader(format: Format) -> &'static dyn FormatReader {
    let readers = READERS.read().unwrap_or_else(PoisonError::into_inner);
    let known = readers.iter().find(|(own, _)| *own == format);
    known.expect("a format of one's own comes from `register` alone").1
}

impl Dataset {
    /// Reads the dataset in the folder `path`, in the format of the options or in the one
    /// recognised.
    ///
    /// # Errors
    /// Whatever is wrong with the files: see [`DataError`].
    pub fn open(path: &Path, options: &ReadOptions) -> Result<Self, DataError> {
        let format = match options.format {
            Some(format) => {
                check_folder(path)?;
                format
            }
            None => recognise_with(path, options)?,
        };
        options.check(format, path)?;
        if let Some(classes) = &options.classes {
            check_class_names(classes, Path::new("classes"))?;
        }
        let composed =
            options.classes.as_ref().map(|names| names.iter().map(|name| composed(name)));
        let options = &ReadOptions { classes: composed.map(Iterator::collect), ..options.clone() };
        match format {
            Format::Parquet => parquet::read(path, options),
            Format::CifarBinary => cifar_binary::read(path, options),
            Format::CifarPython => cifar_python::read(path, options),
            Format::Idx => idx::read(path, options),
            Format::Npz => npz::read(path, options),
            Format::Folder => folder::read(path, options),
            Format::List => list::read(path, options),
            Format::TextCsv => csv::read(path, options),
            Format::TextJson => json_lines::read(path, options),
            Format::TextParquet => text_files::parquet::read(path, options),
            Format::TextFolder => text_files::folder::read(path, options),
            Format::Own(_) => reader(format).read(path, options),
        }
    }
}

/// The format of the dataset in the folder `path`; reads names of files, and of the columns in one of
/// them.
///
/// # Errors
/// [`DataError::NotFound`], [`DataError::NotAFolder`], [`DataError::NotRecognised`] (says what is
/// there and what each format looks for), [`DataError::Ambiguous`] or [`DataError::Io`].
pub fn recognise(path: &Path) -> Result<Format, DataError> {
    recognise_with(path, &ReadOptions::default())
}

/// The same for whoever reads it with these options: they may say what the samples are.
fn recognise_with(path: &Path, options: &ReadOptions) -> Result<Format, DataError> {
    check_folder(path)?;
    if npz::is_called_so(path) && path.is_file() {
        return Ok(Format::Npz);
    }
    let mut recognised = Vec::new();
    for info in formats() {
        if recognises(info.format, path, options)? {
            recognised.push(info.format);
        }
    }
    let named = |name: &str| format!("`{name}`");
    match recognised.as_slice() {
        [format] => Ok(*format),
        // What is wrong with a file that is called so is more to the point.
        [] if json_lines::has_files(path, options)? => Ok(Format::TextJson),
        [] if csv::has_files(path, options)? => Ok(Format::TextCsv),
        [] => {
            let looked_for: Vec<String> = formats()
                .iter()
                .map(|info| format!("{} ({})", info.recognises, info.name))
                .collect();
            Err(DataError::NotRecognised {
                path: path.to_owned(),
                found: describe(&entries_of(path)?),
                looked_for: looked_for.join("; "),
            })
        }
        several => Err(DataError::Ambiguous {
            path: path.to_owned(),
            formats: several.iter().map(|format| named(format.name())).collect(),
        }),
    }
}

/// Refuses what is no folder; of one format the path may be that of its file.
fn check_folder(path: &Path) -> Result<(), DataError> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() || npz::is_called_so(path) => Ok(()),
        Ok(_) => Err(DataError::NotAFolder { path: path.to_owned() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(DataError::NotFound { path: path.to_owned() })
        }
        Err(source) => Err(DataError::Io { path: path.to_owned(), source }),
    }
}

fn recognises(format: Format, path: &Path, options: &ReadOptions) -> Result<bool, DataError> {
    match format {
        Format::TextCsv => csv::recognises(path, options),
        Format::TextJson => json_lines::recognises(path, options),
        Format::TextParquet => text_files::parquet::recognises(path, options),
        // Whoever names a column of texts wants a table of them.
        _ if options.text_column.is_some() && !matches!(format, Format::Own(_)) => Ok(false),
        Format::TextFolder => text_files::folder::recognises(path),
        // What is named alike is of texts if its columns or files are.
        Format::Parquet => {
            Ok(parquet::recognises(path)? && !text_files::parquet::recognises(path, options)?)
        }
        Format::CifarBinary => cifar_binary::recognises(path),
        Format::CifarPython => cifar_python::recognises(path),
        Format::Idx => idx::recognises(path),
        Format::Npz => npz::recognises(path),
        Format::Folder => Ok(folder::recognises(path)? && !text_files::folder::recognises(path)?),
        Format::List => Ok(list::recognises(path)?
            && (list::names_paths(path)? || !csv::recognises(path, options)?)),
        Format::Own(_) => reader(format).recognises(path),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn an_unknown_folder_says_what_is_there_and_what_was_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("data.txt"), "").unwrap();
        fs::create_dir(folder.path().join("notes")).unwrap();
        let error = recognise(folder.path()).unwrap_err();
        assert!(matches!(error, DataError::NotRecognised { .. }));
        let text = error.to_string();
        for part in ["`data.txt`, `notes/`", "train-*.parquet", "(idx)", "class folders"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn an_empty_missing_or_plain_path_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let error = recognise(folder.path()).unwrap_err().to_string();
        assert!(error.contains("found nothing"), "{error}");
        let missing = recognise(&folder.path().join("no")).unwrap_err();
        assert!(matches!(missing, DataError::NotFound { .. }));
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let plain = recognise(&file).unwrap_err();
        assert!(matches!(plain, DataError::NotAFolder { .. }));
        assert!(plain.hint().unwrap().contains(folder.path().to_str().unwrap()));
    }

    #[test]
    fn two_formats_in_one_folder_are_refused_with_both_names() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("train-0.parquet"), "").unwrap();
        fs::write(folder.path().join("train-images-idx3-ubyte.gz"), "").unwrap();
        let error = recognise(folder.path()).unwrap_err();
        assert!(error.to_string().contains("could be `parquet` or `idx`"), "{error}");
        assert!(error.hint().unwrap().contains("format"));
    }

    #[test]
    fn an_option_of_no_use_is_refused_not_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let options = ReadOptions {
            format: Some(Format::Idx),
            resize: Some([8, 8]),
            ..ReadOptions::default()
        };
        assert!(matches!(
            Dataset::open(folder.path(), &options),
            Err(DataError::UnusedOption { key: "resize", format: "idx", .. })
        ));
        let options = ReadOptions {
            format: Some(Format::Folder),
            resize: Some([0, 8]),
            ..ReadOptions::default()
        };
        assert!(matches!(
            Dataset::open(folder.path(), &options),
            Err(DataError::OutOfRange { name: "`resize`", .. })
        ));
    }
}
