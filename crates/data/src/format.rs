//! Which formats there are, and which one a folder has.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::findings::OnBadImage;
use crate::listing::{composed, describe, list as entries_of};
use crate::{DataError, Dataset, cifar_binary, cifar_python, folder, idx, list, parquet};

/// A dataset format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Format {
    /// Parquet files as on the Hugging Face hub: [`crate::parquet`].
    Parquet,
    /// The binary version of CIFAR-10 and CIFAR-100: [`crate::cifar_binary`].
    CifarBinary,
    /// Their Python version: [`crate::cifar_python`].
    CifarPython,
    /// The files of the MNIST family: [`crate::idx`].
    Idx,
    /// A folder of class folders: [`crate::folder`].
    Folder,
    /// A list of image files and labels: [`crate::list`].
    List,
}

/// One row of [`formats`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FormatInfo {
    /// Which format.
    pub format: Format,
    /// Its name in recipes.
    pub name: &'static str,
    /// What makes a folder be of this format.
    pub recognises: &'static str,
    /// What it is, in one line.
    pub summary: &'static str,
}

const FORMATS: &[FormatInfo] = &[
    FormatInfo {
        format: Format::Parquet,
        name: "parquet",
        recognises: "`train-*.parquet` or `train/*.parquet` in the folder, in `data/` or in one other \
                     subfolder",
        summary: "Parquet files as on the Hugging Face hub, image files in an image column",
    },
    FormatInfo {
        format: Format::CifarBinary,
        name: "cifar-binary",
        recognises: "`data_batch_*.bin` (CIFAR-10), or `train.bin` (CIFAR-100)",
        summary: "the binary version of CIFAR-10 and CIFAR-100, as from their home page",
    },
    FormatInfo {
        format: Format::CifarPython,
        name: "cifar-python",
        recognises: "`batches.meta` (CIFAR-10), or `meta` and `train` (CIFAR-100)",
        summary: "the Python version of CIFAR-10 and CIFAR-100, as torchvision downloads it",
    },
    FormatInfo {
        format: Format::Idx,
        name: "idx",
        recognises: "`train-images-idx3-ubyte` or `train-images-idx3-ubyte.gz`, perhaps in `raw/`",
        summary: "MNIST, Fashion-MNIST, KMNIST: grey images, plain or gzip, names in `classes.txt`",
    },
    FormatInfo {
        format: Format::Folder,
        name: "folder",
        recognises: "`train/` with class folders, or class folders with image files",
        summary: "a folder of class folders, with `train/`, `val/`, `test/` above them or not",
    },
    FormatInfo {
        format: Format::List,
        name: "list",
        recognises: "`train.csv`, `labels.csv` or `metadata.csv`, and no class folders in `train/`",
        summary: "a CSV file of paths and labels, one for each split or with a column `split`",
    },
];

/// All formats, in the order in which they are tried.
#[must_use]
pub const fn formats() -> &'static [FormatInfo] {
    FORMATS
}

impl Format {
    /// Name, recognition and summary.
    #[must_use]
    pub const fn info(self) -> &'static FormatInfo {
        match self {
            Self::Parquet => &FORMATS[0],
            Self::CifarBinary => &FORMATS[1],
            Self::CifarPython => &FORMATS[2],
            Self::Idx => &FORMATS[3],
            Self::Folder => &FORMATS[4],
            Self::List => &FORMATS[5],
        }
    }

    /// The name in recipes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.info().name
    }

    fn recognises(self, path: &Path) -> Result<bool, DataError> {
        match self {
            Self::Parquet => parquet::recognises(path),
            Self::CifarBinary => cifar_binary::recognises(path),
            Self::CifarPython => cifar_python::recognises(path),
            Self::Idx => idx::recognises(path),
            Self::Folder => folder::recognises(path),
            Self::List => list::recognises(path),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Format {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        FORMATS.iter().find(|info| info.name == name).map(|info| info.format).ok_or_else(|| {
            let known: Vec<String> =
                FORMATS.iter().map(|info| format!("`{}`", info.name)).collect();
            DataError::UnknownFormat { name: name.to_owned(), known: known.join(", ") }
        })
    }
}

/// How to read a dataset; the default recognises everything.
///
/// An option that the format cannot use is an error, never ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// The format; default: the one recognised.
    pub format: Option<Format>,
    /// Class names in label order; default: those of the dataset. For `folder` they choose the
    /// order of the folders.
    pub classes: Option<Vec<String>>,
    /// The number of the first class, for `parquet`, `idx` and `list`; default: 0. Labels that start
    /// higher are refused unless this says so.
    pub first_label: Option<u32>,
    /// The column with the labels, for `parquet`, `list`, and CIFAR; default: the only one, or
    /// `fine_label`.
    pub label_column: Option<String>,
    /// The column with the images, for `parquet`, or with their paths, for `list`; default: the only
    /// one.
    pub image_column: Option<String>,
    /// The split to train on: its name, or, for `parquet`, `folder` and `list`, the path of its folder
    /// or file, from that of the dataset; default: the one called `train` or `training`.
    pub train: Option<String>,
    /// The split to choose by, likewise, or `none`; default: the one called `val`, `valid`,
    /// `validation` or `dev`, if there is one.
    pub validation: Option<String>,
    /// The split to test on, likewise, or `none`; default: the one called `test`, `testing` or `t10k`,
    /// if there is one.
    pub test: Option<String>,
    /// Scale all images to `[height, width]`, for `parquet`, `folder` and `list`; default: they must
    /// have one size.
    pub resize: Option<[usize; 2]>,
    /// What to do with an image that cannot be read.
    pub on_bad_image: OnBadImage,
    /// Read through links that lead out of the dataset's folder.
    pub follow_links: bool,
}

impl ReadOptions {
    fn check(&self, format: Format, path: &Path) -> Result<(), DataError> {
        use Format::{CifarBinary, CifarPython, Folder, Idx, List, Parquet};
        let columns = &[Parquet, List, CifarBinary, CifarPython][..];
        let skips = self.on_bad_image == OnBadImage::Skip;
        let given = [
            ("label_column", self.label_column.is_some(), columns),
            ("image_column", self.image_column.is_some(), &[Parquet, List]),
            ("first_label", self.first_label.is_some(), &[Parquet, List, Idx]),
            ("resize", self.resize.is_some(), &[Parquet, Folder, List]),
            ("on_bad_image", skips, &[Parquet, Folder, List]),
        ];
        for (key, given, formats) in given {
            if given && !formats.contains(&format) {
                let (path, format) = (path.to_owned(), format.name());
                return Err(DataError::UnusedOption { path, key, format });
            }
        }
        if let Some([height, width]) = self.resize
            && !((1..=4096).contains(&height) && (1..=4096).contains(&width))
        {
            return Err(DataError::OutOfRange {
                name: "`resize`",
                found: format!("[{height}, {width}]"),
                range: "between 1 and 4096 in both places".to_owned(),
            });
        }
        if let Some(classes) = &self.classes {
            crate::dataset::check_class_names(classes, Path::new("classes"))?;
        }
        Ok(())
    }
}

/// The format of the dataset in the folder `path`; reads names only.
///
/// # Errors
/// [`DataError::NotFound`], [`DataError::NotAFolder`], [`DataError::NotRecognised`] (says what is
/// there and what each format looks for), [`DataError::Ambiguous`] or [`DataError::Io`].
pub fn recognise(path: &Path) -> Result<Format, DataError> {
    check_folder(path)?;
    let mut recognised = Vec::new();
    for info in FORMATS {
        if info.format.recognises(path)? {
            recognised.push(info.format);
        }
    }
    let named = |name: &str| format!("`{name}`");
    match recognised.as_slice() {
        [format] => Ok(*format),
        [] => {
            let looked_for: Vec<String> =
                FORMATS.iter().map(|info| format!("{} ({})", info.recognises, info.name)).collect();
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

fn check_folder(path: &Path) -> Result<(), DataError> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(DataError::NotAFolder { path: path.to_owned() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(DataError::NotFound { path: path.to_owned() })
        }
        Err(source) => Err(DataError::Io { path: path.to_owned(), source }),
    }
}

/// See [`Dataset::open`].
pub(crate) fn open(path: &Path, options: &ReadOptions) -> Result<Dataset, DataError> {
    let format = match options.format {
        Some(format) => {
            check_folder(path)?;
            format
        }
        None => recognise(path)?,
    };
    options.check(format, path)?;
    let composed = options.classes.as_ref().map(|names| names.iter().map(|name| composed(name)));
    let options = &ReadOptions { classes: composed.map(Iterator::collect), ..options.clone() };
    match format {
        Format::Parquet => parquet::read(path, options),
        Format::CifarBinary => cifar_binary::read(path, options),
        Format::CifarPython => cifar_python::read(path, options),
        Format::Idx => idx::read(path, options),
        Format::Folder => folder::read(path, options),
        Format::List => list::read(path, options),
    }
}

/// The name of a dataset: the last part of its path.
pub(crate) fn dataset_name(path: &Path) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    whole
        .file_name()
        .map_or_else(|| "dataset".to_owned(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn names_are_read_back_and_an_unknown_one_lists_all() {
        for info in formats() {
            assert_eq!(info.name.parse::<Format>().unwrap(), info.format);
            assert_eq!(info.format.info(), info);
            let json = serde_json::to_string(&info.format).unwrap();
            assert_eq!(json, format!("\"{}\"", info.name));
        }
        let error = "tfrecord".parse::<Format>().unwrap_err().to_string();
        assert!(error.contains("`tfrecord`") && error.contains("`cifar-binary`"), "{error}");
    }

    #[test]
    fn an_unknown_folder_says_what_is_there_and_what_was_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("data.csv"), "").unwrap();
        fs::create_dir(folder.path().join("notes")).unwrap();
        let error = recognise(folder.path()).unwrap_err();
        assert!(matches!(error, DataError::NotRecognised { .. }));
        let text = error.to_string();
        for part in ["`data.csv`, `notes/`", "train-*.parquet", "(idx)", "class folders"] {
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
