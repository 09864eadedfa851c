//! What can be wrong with a GGUF file.

use std::io;
use std::path::PathBuf;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, GgufError>;

/// A GGUF file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GgufError {
    /// The system does not let it be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file of another kind.
    #[error("`{}` is no GGUF file: it begins with {found}", path.display())]
    NotGguf {
        /// The file.
        path: PathBuf,
        /// Its first bytes, or what they are.
        found: String,
    },
    /// A version that is not read.
    #[error("`{}` is a GGUF file of version {version}; 2 and 3 are read", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The version in it.
        version: u32,
    },
    /// A file that ends before its contents do.
    #[error("`{}` is cut short: it ends inside {what}", path.display())]
    CutShort {
        /// The file.
        path: PathBuf,
        /// Where it ends.
        what: String,
    },
    /// A file that contradicts itself.
    #[error("`{}` is damaged: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What and where.
        problem: String,
    },
    /// A tensor of a type that is not dequantised here.
    #[error("tensor `{tensor}` in `{}` has type {found}; read are {known}", path.display())]
    TensorType {
        /// The file.
        path: PathBuf,
        /// Its tensor.
        tensor: String,
        /// The type's name, or number.
        found: String,
        /// The names of those that are read.
        known: String,
    },
    /// A tensor that is not there.
    #[error("`{}` has no tensor `{tensor}`", path.display())]
    NoTensor {
        /// The file.
        path: PathBuf,
        /// The tensor that was asked for.
        tensor: String,
    },
    /// A weight that is not a number.
    #[error("tensor `{tensor}` in `{}` holds {value} at index {index}", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// Its tensor.
        tensor: String,
        /// Position in the flattened tensor.
        index: usize,
        /// NaN or an infinity.
        value: f32,
    },
    /// Metadata that is missing or of another kind.
    #[error("`{}`: `{key}` {problem}", path.display())]
    Metadata {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What is wrong with it: `is missing`.
        problem: String,
    },
}

impl GgufError {
    /// How to fix it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Read { .. } => "check the path and its permissions",
            Self::NotGguf { .. } => {
                "give a `.gguf` file as llama.cpp reads it, or a folder with `config.json` and \
                 `model.safetensors`"
            }
            Self::Version { .. } => "convert the model again with a current llama.cpp",
            Self::CutShort { .. } => "copy or download the file again",
            Self::Damaged { .. } => {
                "copy or download the file again; if it was made so, convert the model again"
            }
            Self::TensorType { .. } => {
                "requantise it with llama.cpp: `llama-quantize MODEL.gguf OUT.gguf Q8_0`"
            }
            Self::NoTensor { .. } | Self::Metadata { .. } => {
                "the model is of a kind that is not read, or was converted by halves: \
                 `docs/language-models.md` says what is read"
            }
            Self::NotFinite { .. } => "the weights are damaged: get the file again",
        }
    }
}
