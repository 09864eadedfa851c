//! State dicts in files: PyTorch's `.pth`/`.pt` in, `.safetensors` in and out.
//!
//! Names are PyTorch's. A [`WeightFile`] lists the tensors of a file; which of them are a network's,
//! the network's own names and shapes say ([`WeightFile::fit`]), so that they may lie beside anything
//! else, below any keys, with or without `num_batches_tracked`.

mod budget;
mod choose;
mod contents;
mod file;
mod legacy;
mod opened;
mod pickle;
mod pickled;
mod pytorch;
mod safetensors;
mod state_dict;
mod tar;
mod unpickle;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use sha2::{Digest as _, Sha256};

pub use self::choose::Fit;
pub use self::file::WeightFile;
pub use self::safetensors::{metadata, parse_safetensors, read_safetensors};
pub use self::state_dict::{Array, StateDict};
use crate::error::{Error, Result};
pub use crate::file_kind::Kind;
use faculty_files::write_atomically;

/// Reads every tensor of a weight file that can be weights, under its name in the file; the format
/// is recognised from its content. For those of a network see [`WeightFile::fit`].
///
/// # Errors
/// When it cannot be read, holds no weights, or holds a NaN or an infinity.
pub fn read(path: &Path) -> Result<StateDict> {
    WeightFile::open(path, None)?.read_all()
}

/// Writes a state dict as safetensors: to a temporary file beside it first, then renamed, so that a
/// half-written file never bears the final name.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, state: &StateDict, metadata: &BTreeMap<String, String>) -> Result<()> {
    let write_error = |source| Error::Write { path: path.to_owned(), source };
    let bytes = safetensors::to_bytes(path, state, metadata)?;
    write_atomically(path, &bytes).map_err(write_error)
}

/// SHA-256 of a file in hexadecimal: names the weights in run records.
///
/// # Errors
/// When the file cannot be read.
pub fn file_hash(path: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    // Piece by piece: a large teacher that is only hashed takes no memory.
    fs::File::open(path)
        .and_then(|mut file| std::io::copy(&mut file, &mut hash))
        .map_err(|source| Error::Read { path: path.to_owned(), source })?;
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests;
