//! A GGUF file, opened.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use faculty_files::{NotReadable, open_regular};

use crate::error::{GgufError, Result};
use crate::header::{Header, TensorInfo};
use crate::source::Source;
use crate::tensor_type::TensorType;
use crate::value::{Array, Value};

/// Bytes of data read at once, before they are dequantised.
const PIECE: u64 = 1 << 20;

/// A GGUF file whose metadata are read and whose tensors are known; values are read when they are
/// asked for.
#[derive(Debug)]
pub struct GgufFile<R = File> {
    source: R,
    path: PathBuf,
    version: u32,
    metadata: BTreeMap<String, Value>,
    tensors: Vec<TensorInfo>,
    data_start: u64,
}

impl GgufFile<File> {
    /// Opens a file.
    ///
    /// # Errors
    /// When it cannot be read, is another kind of file, cut short or damaged.
    pub fn open(path: &Path) -> Result<Self> {
        let (file, len) = open_regular(path).map_err(|error| {
            let source = match error {
                NotReadable::Io(source) => source,
                other => std::io::Error::other(other.to_string()),
            };
            GgufError::Read { path: path.to_owned(), source }
        })?;
        Self::from_reader(file, len, path)
    }
}

impl<R: Read + Seek> GgufFile<R> {
    /// Reads the header of a source of `len` bytes, from its beginning; `path` names it in errors.
    ///
    /// # Errors
    /// As [`GgufFile::open`].
    pub fn from_reader(mut source: R, len: u64, path: &Path) -> Result<Self> {
        let read_error = |source| GgufError::Read { path: path.to_owned(), source };
        source.seek(SeekFrom::Start(0)).map_err(read_error)?;
        let header = Header::read(&mut Source::new(&mut source, path, len), len)?;
        let Header { version, metadata, tensors, data_start } = header;
        Ok(Self { source, path: path.to_owned(), version, metadata, tensors, data_start })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its version, 2 or 3.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// All metadata.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, Value> {
        &self.metadata
    }

    /// All tensors, in the file's order.
    #[must_use]
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// A tensor by name.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    /// An error of this file about a key.
    #[must_use]
    pub fn problem(&self, key: &str, problem: impl Into<String>) -> GgufError {
        let (path, key) = (self.path.clone(), key.to_owned());
        GgufError::Metadata { path, key, problem: problem.into() }
    }

    /// What a key says, if it is there.
    fn optional<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        take: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.metadata.get(key) else { return Ok(None) };
        let problem = || self.problem(key, format!("is {}, {expected} is expected", value.kind()));
        take(value).map(Some).ok_or_else(problem)
    }

    /// A whole number that is not negative; `None` where the key is missing.
    ///
    /// # Errors
    /// [`GgufError::Metadata`] when it is something else.
    pub fn unsigned(&self, key: &str) -> Result<Option<u64>> {
        self.optional(key, "a whole number from 0 on", Value::unsigned)
    }

    /// A float; `None` where the key is missing.
    ///
    /// # Errors
    /// [`GgufError::Metadata`] when it is something else.
    pub fn float(&self, key: &str) -> Result<Option<f64>> {
        self.optional(key, "a number", Value::float)
    }

    /// A truth value; `None` where the key is missing.
    ///
    /// # Errors
    /// [`GgufError::Metadata`] when it is something else.
    pub fn bool(&self, key: &str) -> Result<Option<bool>> {
        self.optional(key, "a truth value", Value::bool)
    }

    /// A string; `None` where the key is missing.
    ///
    /// # Errors
    /// [`GgufError::Metadata`] when it is something else.
    pub fn string(&self, key: &str) -> Result<Option<&str>> {
        self.optional(key, "a string", Value::string)
    }

    /// An array; `None` where the key is missing.
    ///
    /// # Errors
    /// [`GgufError::Metadata`] when it is something else.
    pub fn array(&self, key: &str) -> Result<Option<&Array>> {
        self.optional(key, "an array", Value::array)
    }

    /// What stands under a key that must be there.
    ///
    /// # Errors
    /// [`GgufError::Metadata`] when there is none.
    pub fn required<T>(&self, key: &str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| self.problem(key, "is missing"))
    }

    /// The values of a tensor, dequantised, row-major.
    ///
    /// # Errors
    /// When there is no such tensor, it is of a type that is not read here, the file is cut short, or a
    /// value is NaN or infinite.
    pub fn read(&mut self, name: &str) -> Result<Vec<f32>> {
        let Some(tensor) = self.tensor(name).cloned() else {
            let tensor = name.to_owned();
            return Err(GgufError::NoTensor { path: self.path.clone(), tensor });
        };
        let kind = match &tensor.kind {
            Ok(kind) => *kind,
            Err(found) => {
                let known: Vec<&str> = TensorType::all().map(TensorType::name).collect();
                return Err(GgufError::TensorType {
                    path: self.path.clone(),
                    tensor: tensor.name,
                    found: found.clone(),
                    known: known.join(", "),
                });
            }
        };
        let values = self.values(&tensor, kind).map_err(|source| match source.kind() {
            std::io::ErrorKind::UnexpectedEof => GgufError::CutShort {
                path: self.path.clone(),
                what: format!("tensor `{}`", tensor.name),
            },
            _ => GgufError::Read { path: self.path.clone(), source },
        })?;
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(values),
            Some(index) => Err(GgufError::NotFinite {
                path: self.path.clone(),
                tensor: tensor.name,
                index,
                value: values[index],
            }),
        }
    }

    fn values(&mut self, tensor: &TensorInfo, kind: TensorType) -> std::io::Result<Vec<f32>> {
        self.source.seek(SeekFrom::Start(self.data_start + tensor.offset))?;
        let mut values = vec![0.0; tensor.elements()];
        let blocks = PIECE as usize / kind.block_bytes();
        let mut bytes = vec![0; (tensor.bytes() as usize).min(blocks * kind.block_bytes())];
        for values in values.chunks_mut(blocks * kind.block_values()) {
            let bytes = &mut bytes[..values.len() / kind.block_values() * kind.block_bytes()];
            self.source.read_exact(bytes)?;
            kind.dequantise(bytes, values);
        }
        Ok(values)
    }
}
