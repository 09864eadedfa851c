//! An input as files: several in one, and a folder for them.

use std::path::{Path, PathBuf};

/// Between the files of an input that is several files.
pub(crate) const SEPARATOR: &[u8] = b"\n-----\n";

/// The files of an input; missing ones are empty.
pub(crate) fn files<const N: usize>(mut bytes: &[u8]) -> [&[u8]; N] {
    let mut next = || {
        let at = bytes.windows(SEPARATOR.len()).position(|own| own == SEPARATOR);
        let (file, rest) = at.map_or((bytes, &[][..]), |at| {
            let (file, rest) = bytes.split_at(at);
            (file, &rest[SEPARATOR.len()..])
        });
        bytes = rest;
        file
    };
    std::array::from_fn(|_| next())
}

/// A folder that goes away with its input. In memory where the system has such a place: fuzzing
/// writes it thousands of times a second.
pub(crate) struct Scratch(tempfile::TempDir);

impl Scratch {
    pub(crate) fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let folder =
            if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        Self(folder.expect("the system has a place for temporary files"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, bytes).expect("a temporary file can be written");
        path
    }
}
