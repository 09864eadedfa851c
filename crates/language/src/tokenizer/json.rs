//! The tokenizer of a Hugging Face folder.

use std::io::Read as _;
use std::path::Path;

use faculty_files::{NotReadable, open_regular};

use super::TextTokenizer;
use crate::error::{LanguageError, Result};

/// The largest file; the largest real ones have some 30 MB.
const MOST_BYTES: u64 = 256 << 20;

/// The tokenizer in a folder's `tokenizer.json`.
pub(crate) fn from_folder(folder: &Path) -> Result<TextTokenizer> {
    let path = folder.join("tokenizer.json");
    let bytes = read(&path)?;
    let unusable = |problem: String| LanguageError::Tokenizer {
        path: path.clone(),
        problem,
        fix: "save it again with a current `transformers`: `tokenizer.save_pretrained(FOLDER)`",
    };
    let parsed = std::panic::catch_unwind(|| tokenizers::Tokenizer::from_bytes(&bytes));
    let inner = parsed
        .map_err(|_| unusable("its reader broke down".to_owned()))?
        .map_err(|error| unusable(error.to_string()))?;
    TextTokenizer::checked(inner, None, &path)
}

/// A file of no more than so many bytes.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let read_error = |source| LanguageError::Read { path: path.to_owned(), source };
    let (file, _) = open_regular(path).map_err(|error| match error {
        NotReadable::Io(source) => read_error(source),
        other => read_error(std::io::Error::other(other.to_string())),
    })?;
    let mut bytes = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut bytes).map_err(read_error)?;
    Ok(bytes)
}
