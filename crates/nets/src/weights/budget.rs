//! How much memory a file may take as it is read.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Bytes that any file may take.
const FREE: u64 = 64 << 20;
/// Beyond that, so many times the file's own bytes.
const MOST_RATIO: u64 = 16;

/// Counts what is made of a file's bytes: decompressed data, pickled objects, names, tensors. A
/// small file can ask for any amount of each.
pub(super) struct Budget {
    path: PathBuf,
    stored: u64,
    spent: u64,
}

impl Budget {
    /// For a file of `stored` bytes; `path` names it in errors.
    pub(super) fn new(path: &Path, stored: u64) -> Self {
        Self { path: path.to_owned(), stored, spent: 0 }
    }

    /// To be asked before the memory is.
    pub(super) fn spend(&mut self, bytes: u64) -> Result<()> {
        self.spent = self.spent.saturating_add(bytes);
        if self.spent <= FREE.max(self.stored.saturating_mul(MOST_RATIO)) {
            return Ok(());
        }
        let (path, stored, decoded) = (self.path.clone(), self.stored, self.spent);
        Err(Error::Bomb { path, stored, decoded })
    }
}
