//! Which formats there are.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::DataError;

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
