//! What is in a folder.

use std::fs;
use std::path::{Path, PathBuf};

use unicode_normalization::UnicodeNormalization as _;

use crate::DataError;

/// The most bytes of a list of class names or labels: a million of 64 letters.
pub(crate) const MOST_NAMES_BYTES: u64 = 64 << 20;

/// A file or folder in a folder.
#[derive(Debug)]
pub(crate) struct Entry {
    /// In Unicode's composed form (NFC): macOS and Linux write `é` differently, and mean one name.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) is_dir: bool,
}

/// The entries of a folder, sorted by name (bytewise), without hidden files and the litter of file
/// managers.
pub(crate) fn list(folder: &Path) -> Result<Vec<Entry>, DataError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| DataError::Io { path, source }
    };
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(io(folder))? {
        let entry = entry.map_err(io(folder))?;
        let path = entry.path();
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            return Err(DataError::NotUtf8 { path });
        };
        if name.starts_with('.') || matches!(name, "Thumbs.db" | "desktop.ini" | "__MACOSX") {
            continue;
        }
        let name = composed(name);
        // The folder knows the kind of most entries; asking for each would be slow for a million
        // images.
        let kind = entry.file_type().map_err(io(&path))?;
        let is_dir = match kind.is_symlink() {
            // Reading says what is wrong with a link that leads nowhere.
            true => fs::metadata(&path).is_ok_and(|target| target.is_dir()),
            false => kind.is_dir(),
        };
        entries.push(Entry { name, path, is_dir });
    }
    entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// The first names of a folder, for messages.
pub(crate) fn describe(entries: &[Entry]) -> String {
    const SHOWN: usize = 6;
    if entries.is_empty() {
        return "nothing".to_owned();
    }
    let slash = |entry: &Entry| if entry.is_dir { "/" } else { "" };
    let names: Vec<String> = entries
        .iter()
        .take(SHOWN)
        .map(|entry| format!("`{}{}`", entry.name, slash(entry)))
        .collect();
    let more = match entries.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    names.join(", ") + &more
}

/// A name in Unicode's composed form (NFC).
pub(crate) fn composed(name: &str) -> String {
    name.nfc().collect()
}
