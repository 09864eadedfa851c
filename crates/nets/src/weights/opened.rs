//! A weight file, opened: its length, and its first bytes.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use faculty_files::NotReadable;

use crate::error::{Error, Result};
use crate::file_kind::Kind;

/// A file and its length; a pipe is not waited for.
pub(super) fn open(path: &Path) -> Result<(File, u64)> {
    let not_weights = |kind| Error::NotWeights { path: path.to_owned(), kind };
    faculty_files::open_regular(path).map_err(|error| match error {
        NotReadable::Io(source) => Error::Read { path: path.to_owned(), source },
        NotReadable::NotAFile(faculty_files::Kind::Folder) => not_weights(Kind::Folder),
        _ => not_weights(Kind::Device),
    })
}

/// Its first bytes, which tell what it is.
pub(super) fn start(file: &mut File) -> std::io::Result<Vec<u8>> {
    const ENOUGH: u64 = 512;
    let mut start = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(ENOUGH).read_to_end(&mut start)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(start)
}
