//! A weight file: opened, with its tensors listed and none of them read.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::budget::Budget;
use super::contents::{Contents, Stored};
use super::opened::{open, start};
use super::state_dict::{StateDict, is_counter};
use super::{legacy, pytorch, safetensors, tar};
use crate::error::{Error, Result};
use crate::file_kind::Kind;

/// A weight file whose tensors are known and not yet read.
#[derive(Debug)]
pub struct WeightFile {
    pub(super) path: PathBuf,
    file: File,
    length: u64,
    pub(super) contents: Contents,
    /// Which of several sets of weights is asked for.
    pub(super) key: Option<String>,
}

impl WeightFile {
    /// Opens a `.pth`, `.pt` or `.safetensors` file; the format is recognised from its content. Of
    /// several sets of weights in it, `key` names the one that is meant.
    ///
    /// # Errors
    /// When it cannot be read, is another kind of file, or holds no tensors.
    pub fn open(path: &Path, key: Option<&str>) -> Result<Self> {
        let (mut file, length) = open(path)?;
        let read_error = |source| Error::Read { path: path.to_owned(), source };
        let start = start(&mut file).map_err(read_error)?;
        let not_weights =
            || Error::NotWeights { path: path.to_owned(), kind: Kind::of(&start, path) };
        let contents = if safetensors::is_safetensors(&start) {
            safetensors::open(path, &mut file, length)?
        } else if start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06") {
            pytorch::open(path, &mut file, length, &mut Budget::new(path, length))?
        } else if start.get(257..262) == Some(b"ustar") {
            tar::open(path, &mut file, length)?.ok_or_else(not_weights)?
        } else if start.first() == Some(&0x80) {
            legacy::open(path, &mut file, length)?
        } else if matches!(start.first(), Some(b'(' | b'L' | b'c' | b']' | b'}')) {
            // As pickles of protocols 0 and 1 start; and many a text.
            legacy::open(path, &mut file, length).map_err(|error| match error {
                Error::Damaged { .. } | Error::CutShort { .. } => not_weights(),
                other => other,
            })?
        } else {
            return Err(not_weights());
        };
        if contents.tensors.keys().all(|name| is_counter(name)) {
            return Err(Error::NoWeights { path: path.to_owned() });
        }
        let key = key.map(|key| key.trim_end_matches('.').to_owned());
        Ok(Self { path: path.to_owned(), file, length, contents, key })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads tensors: each under its first name from the file's tensor of the second one.
    pub(super) fn read<'a>(
        &mut self,
        names: impl Iterator<Item = (&'a String, &'a String)>,
    ) -> Result<StateDict> {
        let mut budget = Budget::new(&self.path, self.length);
        let mut state = StateDict::new();
        for (name, stored) in names {
            let array = self.contents.read(stored, &self.path, &mut self.file, &mut budget)?;
            // No variance is negative: its square root would make every output NaN.
            let is_variance = name.ends_with("running_var");
            let is_wrong = |&value: &f32| !value.is_finite() || is_variance && value < 0.0;
            if let Some(index) = array.values.iter().position(is_wrong) {
                return Err(Error::NotFinite {
                    path: self.path.clone(),
                    tensor: stored.clone(),
                    index,
                    value: array.values[index],
                });
            }
            state.insert(name.clone(), array);
        }
        Ok(state)
    }

    /// Reads every tensor that can be weights, under the names of the file.
    ///
    /// # Errors
    /// When one cannot be read, or holds a NaN, an infinity or a negative variance.
    pub fn read_all(&mut self) -> Result<StateDict> {
        let is_weight =
            |(name, stored): &(&String, &Stored)| stored.is_float() && !is_counter(name);
        let names: Vec<String> =
            self.contents.tensors.iter().filter(is_weight).map(|(name, _)| name.clone()).collect();
        self.read(names.iter().map(|name| (name, name)))
    }
}
