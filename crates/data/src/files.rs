//! The one way to open files: regular ones, inside the data set's folder, never waiting.
//!
//! A data set from a stranger may hold links, named pipes and devices. Read without a look, a link
//! discloses a file of this machine in reports and class names, a pipe blocks for ever, and
//! `/dev/zero` fills the memory.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use faculty_files::NotReadable;

use crate::DataError;
use crate::listing::{Entry, list};

/// The most bytes of one image file, list of names or pickle; far above any real one.
pub(crate) const MOST_BYTES: u64 = 2 << 30;

/// Opens `path` if it is a regular file, or a link to one, and gives its length in bytes.
///
/// # Errors
/// [`DataError::MissingFile`], [`DataError::BrokenLink`], [`DataError::NotAFile`] for a folder, a
/// named pipe, a socket or a device, which are not opened; [`DataError::Io`].
pub fn open_regular(path: &Path) -> Result<(File, u64), DataError> {
    faculty_files::open_regular(path).map_err(|error| match error {
        NotReadable::NotAFile(kind) => {
            DataError::NotAFile { path: path.to_owned(), kind: kind.name() }
        }
        // A link to a file that may not be read is not broken.
        NotReadable::Io(source) if fs::metadata(path).is_err() => missing(path, source),
        NotReadable::Io(source) => DataError::Io { path: path.to_owned(), source },
        other => DataError::Io { path: path.to_owned(), source: io::Error::other(other) },
    })
}

/// A folder whose files are read; what lies outside is not, unless links are followed.
#[derive(Clone, Debug)]
pub struct FileRoot {
    /// Without links.
    root: PathBuf,
    follow_links: bool,
}

impl FileRoot {
    /// `path` may itself be a link: whoever names it means what it points to.
    ///
    /// # Errors
    /// [`DataError::MissingFile`], [`DataError::BrokenLink`] or [`DataError::Io`].
    pub fn new(path: &Path, follow_links: bool) -> Result<Self, DataError> {
        Ok(Self { root: resolve(path)?, follow_links })
    }

    /// Opens a regular file inside the folder; gives its length in bytes too.
    ///
    /// # Errors
    /// Those of [`open_regular`], and [`DataError::LinkOutside`].
    pub fn open(&self, path: &Path) -> Result<(File, u64), DataError> {
        self.check_inside(path)?;
        open_regular(path)
    }

    /// Reads a whole file of at most `most` bytes.
    ///
    /// # Errors
    /// Those of [`FileRoot::open`], and [`DataError::TooLarge`].
    pub fn read(&self, path: &Path, most: u64) -> Result<Vec<u8>, DataError> {
        let (file, length) = self.open(path)?;
        read_at_most(file, length, path, most)
    }

    /// What is in a folder inside this one.
    pub(crate) fn list(&self, folder: &Path) -> Result<Vec<Entry>, DataError> {
        self.check_inside(folder)?;
        list(folder)
    }

    fn check_inside(&self, path: &Path) -> Result<(), DataError> {
        if self.follow_links {
            return Ok(());
        }
        let target = resolve(path)?;
        if target.starts_with(&self.root) {
            return Ok(());
        }
        Err(DataError::LinkOutside { path: path.to_owned(), target, root: self.root.clone() })
    }
}

/// Reads a whole regular file of at most `most` bytes, wherever it lies.
pub(crate) fn read_regular(path: &Path, most: u64) -> Result<Vec<u8>, DataError> {
    let (file, length) = open_regular(path)?;
    read_at_most(file, length, path, most)
}

/// Reads a whole file that is open, of at most `most` bytes.
pub(crate) fn read_at_most(
    file: File,
    length: u64,
    path: &Path,
    most: u64,
) -> Result<Vec<u8>, DataError> {
    let too_large = |bytes| DataError::TooLarge { path: path.to_owned(), bytes, most };
    if length > most {
        return Err(too_large(length));
    }
    let io = |source| DataError::Io { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    // `length` is that of a moment ago.
    bytes.try_reserve_exact(length as usize).map_err(|_| too_large(length))?;
    file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(io)?;
    match bytes.len() as u64 > most {
        true => Err(too_large(bytes.len() as u64)),
        false => Ok(bytes),
    }
}

fn resolve(path: &Path) -> Result<PathBuf, DataError> {
    path.canonicalize().map_err(|source| missing(path, source))
}

/// Why a path leads nowhere.
fn missing(path: &Path, source: io::Error) -> DataError {
    let path = path.to_owned();
    match fs::read_link(&path) {
        Ok(target) => DataError::BrokenLink { path, target, source },
        Err(_) if source.kind() == io::ErrorKind::NotFound => DataError::MissingFile { path },
        Err(_) => DataError::Io { path, source },
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use super::*;

    #[test]
    fn files_inside_are_read_also_through_links_and_links_outside_only_if_allowed() {
        let outside = tempfile::tempdir().unwrap();
        let secret = outside.path().join("secret");
        fs::write(&secret, "secret").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("plain"), "plain").unwrap();
        symlink("plain", at("inside")).unwrap();
        symlink(&secret, at("outside")).unwrap();
        symlink(outside.path(), at("folder")).unwrap();
        symlink(folder.path(), outside.path().join("way in")).unwrap();
        for root in [folder.path().to_owned(), outside.path().join("way in")] {
            let strict = FileRoot::new(&root, false).unwrap();
            assert_eq!(strict.read(&root.join("plain"), 9).unwrap(), b"plain");
            assert_eq!(strict.read(&root.join("inside"), 9).unwrap(), b"plain");
            for name in ["outside", "folder/secret", "../secret"] {
                let error = strict.read(&outside.path().join("way in").join(name), 9).unwrap_err();
                let refused =
                    matches!(error, DataError::LinkOutside { .. } | DataError::MissingFile { .. });
                assert!(refused, "{name}: {error}");
            }
            assert!(matches!(strict.list(&at("folder")), Err(DataError::LinkOutside { .. })));
            let lax = FileRoot::new(&root, true).unwrap();
            assert_eq!(lax.read(&at("outside"), 9).unwrap(), b"secret");
            assert_eq!(lax.list(&at("folder")).unwrap().len(), 2);
        }
    }

    #[test]
    fn pipes_devices_folders_and_broken_links_are_refused_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        assert!(Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        symlink("/dev/zero", at("zero")).unwrap();
        symlink("nowhere", at("broken")).unwrap();
        symlink("round", at("round")).unwrap();
        let lax = FileRoot::new(folder.path(), true).unwrap();
        let refuse = |path: &Path| lax.read(path, u64::MAX).unwrap_err();
        for (name, expected) in [("pipe", "a named pipe"), ("zero", "a device"), (".", "a folder")]
        {
            let error = refuse(&at(name));
            assert!(
                matches!(error, DataError::NotAFile { kind, .. } if kind == expected),
                "{error}"
            );
        }
        for name in ["broken", "round"] {
            assert!(matches!(refuse(&at(name)), DataError::BrokenLink { .. }), "{name}");
        }
        assert!(matches!(refuse(&at("absent")), DataError::MissingFile { .. }));
    }

    #[test]
    fn a_file_larger_than_any_real_one_is_refused_before_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sparse");
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        let error = read_regular(&path, MOST_BYTES).unwrap_err();
        assert!(matches!(error, DataError::TooLarge { bytes, .. } if bytes == 1 << 40));
    }
}
