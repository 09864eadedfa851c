//! Which formats there are.

use std::fmt;
use std::str::FromStr;
use std::sync::{PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use crate::DataError;

/// A dataset format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
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
    /// Arrays of NumPy, as MedMNIST has them: [`crate::npz`].
    Npz,
    /// A folder of class folders: [`crate::folder`].
    Folder,
    /// A list of image files and labels: [`crate::list`].
    List,
    /// Tables of texts as CSV or TSV: [`crate::text_files::csv`].
    TextCsv,
    /// Tables of texts as JSON lines: [`crate::text_files::json_lines`].
    TextJson,
    /// Tables of texts as Parquet: [`crate::text_files::parquet`].
    TextParquet,
    /// A folder of class folders with text files: [`crate::text_files::folder`].
    TextFolder,
    /// One that a library's user reads: [`crate::register`].
    Own(OwnFormat),
}

/// A registered format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OwnFormat {
    /// Name, recognition and summary.
    about: [&'static str; 3],
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
        format: Format::Npz,
        name: "npz",
        recognises: "a `.npz` file with `train_images` or `x_train`; `data.path` may be the file",
        summary: "arrays of NumPy: MedMNIST, and Keras' `mnist.npz`",
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
    FormatInfo {
        format: Format::TextCsv,
        name: "text-csv",
        recognises: "`train*.csv` or `train*.tsv`, or the only such file, with a column of texts",
        summary: "texts and labels as CSV or TSV, with a header such as `text,label`",
    },
    FormatInfo {
        format: Format::TextJson,
        name: "text-json",
        recognises: "`train*.jsonl` (or `.ndjson`, `.json`), or the only such file, with a key of texts",
        summary: "texts and labels as JSON, one object a line",
    },
    FormatInfo {
        format: Format::TextParquet,
        name: "text-parquet",
        recognises: "`train*.parquet`, or the only such file, with a column of texts and none of images",
        summary: "texts and labels in Parquet files as on the Hugging Face hub",
    },
    FormatInfo {
        format: Format::TextFolder,
        name: "text-folder",
        recognises: "class folders with `.txt` files and no images, in `train/` or in the folder",
        summary: "a folder of class folders with one text a file",
    },
];

/// Those that [`add`] added.
static REGISTERED: RwLock<Vec<OwnFormat>> = RwLock::new(Vec::new());

/// All formats, in the order in which they are tried: the built-in ones, then those that were
/// registered.
#[must_use]
pub fn formats() -> Vec<FormatInfo> {
    let registered = REGISTERED.read().unwrap_or_else(PoisonError::into_inner);
    FORMATS.iter().copied().chain(registered.iter().map(|own| Format::Own(*own).info())).collect()
}

/// Adds a format of this name, recognition and summary.
///
/// # Errors
/// [`DataError::FormatName`] when the name is empty or taken.
pub(crate) fn add(about: [&'static str; 3]) -> Result<Format, DataError> {
    let refuse = |why| Err(DataError::FormatName { name: about[0].to_owned(), why });
    if about[0].is_empty() {
        return refuse("it must not be empty");
    }
    let mut registered = REGISTERED.write().unwrap_or_else(PoisonError::into_inner);
    let built_in = FORMATS.iter().map(|info| info.name);
    if built_in.chain(registered.iter().map(|own| own.about[0])).any(|name| name == about[0]) {
        return refuse("there is a format of this name");
    }
    registered.push(OwnFormat { about });
    Ok(Format::Own(OwnFormat { about }))
}

impl Format {
    /// Name, recognition and summary.
    #[must_use]
    pub const fn info(self) -> FormatInfo {
        match self {
            Self::Parquet => FORMATS[0],
            Self::CifarBinary => FORMATS[1],
            Self::CifarPython => FORMATS[2],
            Self::Idx => FORMATS[3],
            Self::Npz => FORMATS[4],
            Self::Folder => FORMATS[5],
            Self::List => FORMATS[6],
            Self::TextCsv => FORMATS[7],
            Self::TextJson => FORMATS[8],
            Self::TextParquet => FORMATS[9],
            Self::TextFolder => FORMATS[10],
            Self::Own(own) => {
                let [name, recognises, summary] = own.about;
                FormatInfo { format: self, name, recognises, summary }
            }
        }
    }

    /// The name in recipes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.info().name
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl From<Format> for String {
    fn from(format: Format) -> Self {
        format.name().to_owned()
    }
}

impl TryFrom<String> for Format {
    type Error = DataError;

    fn try_from(name: String) -> Result<Self, DataError> {
        name.parse()
    }
}

impl FromStr for Format {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        let all = formats();
        all.iter().find(|info| info.name == name).map(|info| info.format).ok_or_else(|| {
            let known: Vec<String> = all.iter().map(|info| format!("`{}`", info.name)).collect();
            DataError::UnknownFormat { name: name.to_owned(), known: known.join(", ") }
        })
    }
}

#[cfg(test)]
mod tests {
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
}
