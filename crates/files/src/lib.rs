//! How files come into being: beside their final name first, synced, then renamed, so that a file
//! under its final name is always whole. Everything that a run or a cache writes goes through here.
//!
//! A run folder may come from a stranger: nothing is written through a link, a device or a pipe that
//! lies in it. What is written beside a name is created anew under a name that nobody can know.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

mod error;
pub mod faults;
mod lock;
mod regular;

pub use error::{FileError, failed};
pub use lock::{FolderLock, LockError, check_place};
pub use regular::{Kind, NotReadable, open_no_follow, open_regular};

use faults::{Operation, check};

/// Writes `bytes` beside `path`, syncs, and renames over it.
///
/// # Errors
/// Whatever the file system says; what was at `path` is still there then.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = NewFile::create(path)?;
    file.write_all(bytes)?;
    file.finish()
}

/// A file that gets its name when it is complete. Dropped before, it leaves nothing.
#[derive(Debug)]
pub struct NewFile {
    path: PathBuf,
    partial: PathBuf,
    /// None once it has its name.
    file: Option<File>,
}

impl NewFile {
    /// Begins the file that will be at `path`.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn create(path: &Path) -> io::Result<Self> {
        check(Operation::Create, path)?;
        loop {
            let partial = path.with_file_name(format!(".{:016x}.partial", unpredictable()));
            match File::options().write(true).create_new(true).open(&partial) {
                Ok(file) => return Ok(Self { path: path.to_owned(), partial, file: Some(file) }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Syncs the file and gives it its name, in place of what may be there.
    ///
    /// # Errors
    /// Whatever the file system says; nothing is left of the new file then.
    pub fn finish(mut self) -> io::Result<()> {
        check(Operation::Sync, &self.path)?;
        self.file().sync_all()?;
        check(Operation::Rename, &self.path)?;
        fs::rename(&self.partial, &self.path)?;
        self.file = None;
        sync_folder(&self.path);
        Ok(())
    }

    fn file(&mut self) -> &mut File {
        self.file.as_mut().expect("only `finish` takes it, and that is the end")
    }
}

/// Differs from call to call and from process to process.
fn unpredictable() -> u64 {
    // Each state has keys of its own, from the system's source of randomness.
    RandomState::new().build_hasher().finish()
}

/// Opens the file at `path` for writing, or creates it; what is in it stays.
///
/// # Errors
/// Whatever the file system says, and when something else than a file lies there: a link is not
/// followed.
pub fn open_or_create(path: &Path, options: &OpenOptions) -> io::Result<File> {
    let mut create = options.clone();
    match create.create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        created => return created,
    }
    let refused = || io::Error::new(io::ErrorKind::InvalidInput, "it is a link, or no file");
    let there = fs::symlink_metadata(path)?;
    if !there.is_file() {
        return Err(refused());
    }
    let file = options.open(path)?;
    // What lies there may have been exchanged since.
    if is_same(&there, &file.metadata()?) { Ok(file) } else { Err(refused()) }
}

#[cfg(unix)]
fn is_same(a: &Metadata, b: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

#[cfg(not(unix))]
fn is_same(a: &Metadata, b: &Metadata) -> bool {
    a.is_file() && b.is_file()
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(error) = check(Operation::Write, &self.path) {
            // As a full disk does it: a part of the bytes is there.
            self.file().write_all(&bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        self.file().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file().flush()
    }
}

impl Seek for NewFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file().seek(to)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if self.file.is_some() {
            // What stopped the writer is reported; a leftover would only be untidy.
            let _ = fs::remove_file(&self.partial);
        }
    }
}

/// Appends `bytes` to the file at `path`, all or nothing, and syncs it.
///
/// # Errors
/// Whatever the file system says; the file then ends where it ended.
pub fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    check(Operation::Create, path)?;
    let mut file = open_or_create(path, OpenOptions::new().append(true))?;
    let before = file.metadata()?.len();
    let written = match check(Operation::Write, path) {
        Ok(()) => file.write_all(bytes),
        Err(error) => file.write_all(&bytes[..bytes.len() / 2]).and(Err(error)),
    };
    let result =
        written.and_then(|()| check(Operation::Sync, path)).and_then(|()| file.sync_data());
    if result.is_err() {
        // The first error is the one to tell; a part of a line is cut off by whoever goes on.
        let _ = file.set_len(before);
    }
    result
}

/// Gives the file `from` the name `to`, in place of what may be there.
///
/// # Errors
/// Whatever the file system says.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    check(Operation::Rename, to)?;
    fs::rename(from, to)
}

/// Removes a file; one that is not there is no error.
///
/// # Errors
/// Whatever the file system says.
pub fn remove(path: &Path) -> io::Result<()> {
    match check(Operation::Remove, path).and_then(|()| fs::remove_file(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Creates a folder and those above it, where they are missing.
///
/// # Errors
/// Whatever the file system says.
pub fn create_folder(path: &Path) -> io::Result<()> {
    check(Operation::Folder, path)?;
    fs::create_dir_all(path)
}

/// Creates a folder inside of `root`, and those between, where they are missing.
///
/// # Errors
/// Whatever the file system says, and when one of them is a link, which may lead anywhere.
pub fn create_inside(root: &Path, path: &Path) -> io::Result<()> {
    create_folder(path)?;
    let inside = path.ancestors().take_while(|own| *own != root);
    match inside.into_iter().find(|own| own.is_symlink()) {
        Some(link) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("`{}` is a link and may lead anywhere", link.display()),
        )),
        None => Ok(()),
    }
}

/// Makes a rename outlast a power cut. Not every file system can; the file itself is safe anyway.
fn sync_folder(path: &Path) {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let folder = folder.unwrap_or_else(|| Path::new("."));
    if cfg!(unix) {
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
}

/// Removes from a folder what a process that was killed had begun to write; only whoever writes there
/// alone may do so.
pub fn remove_partial(folder: &Path) {
    if folder.is_symlink() {
        return;
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()).filter(|path| is_partial(path)) {
        // Only untidy if it stays.
        let _ = remove(&path);
    }
}

/// Whether `path` is that of a file that was not finished, by its name.
#[must_use]
pub fn is_partial(path: &Path) -> bool {
    path.extension() == Some(OsStr::new("partial"))
}

#[cfg(test)]
mod tests;
