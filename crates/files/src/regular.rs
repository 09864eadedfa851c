//! Reading: regular files only, never waiting.
//!
//! What a stranger hands over may hold named pipes and devices: a pipe blocks for ever, `/dev/zero`
//! fills the memory.

use std::fs::{self, File, FileType, Metadata};
use std::io;
use std::path::Path;

/// A path that is not opened for reading.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotReadable {
    /// The system refuses it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is no regular file.
    #[error("it is {0}")]
    NotAFile(Kind),
}

/// What lies where a regular file is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A folder.
    Folder,
    /// A link, where none is followed.
    Link,
    /// A named pipe.
    Pipe,
    /// A socket.
    Socket,
    /// A character or block device.
    Device,
    /// Something else.
    Other,
}

impl Kind {
    /// In words, with an article.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Folder => "a folder",
            Self::Link => "a link",
            Self::Pipe => "a named pipe",
            Self::Socket => "a socket",
            Self::Device => "a device",
            Self::Other => "something else",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Opens `path` if it is a regular file, or a link to one, and gives its length in bytes.
///
/// # Errors
/// [`NotReadable::NotAFile`] for a folder, a named pipe, a socket or a device, which are not opened;
/// [`NotReadable::Io`].
pub fn open_regular(path: &Path) -> Result<(File, u64), NotReadable> {
    check_regular(&fs::metadata(path)?)?;
    let file = File::open(path)?;
    // Once more, of what was really opened.
    let opened = file.metadata()?;
    check_regular(&opened)?;
    Ok((file, opened.len()))
}

/// As [`open_regular`], and `path` itself may be no link: it could lead anywhere.
///
/// # Errors
/// As [`open_regular`]; [`Kind::Link`] for a link.
pub fn open_no_follow(path: &Path) -> Result<(File, u64), NotReadable> {
    let there = fs::symlink_metadata(path)?;
    if there.is_symlink() {
        return Err(NotReadable::NotAFile(Kind::Link));
    }
    let (file, length) = open_regular(path)?;
    // What lies there may have been exchanged since.
    match crate::is_same(&there, &file.metadata()?) {
        true => Ok((file, length)),
        false => Err(NotReadable::NotAFile(Kind::Other)),
    }
}

fn check_regular(metadata: &Metadata) -> Result<(), NotReadable> {
    match metadata.is_file() {
        true => Ok(()),
        false => Err(NotReadable::NotAFile(kind(metadata.file_type()))),
    }
}

#[cfg(unix)]
fn kind(of: FileType) -> Kind {
    use std::os::unix::fs::FileTypeExt as _;
    match of {
        of if of.is_dir() => Kind::Folder,
        of if of.is_fifo() => Kind::Pipe,
        of if of.is_socket() => Kind::Socket,
        of if of.is_char_device() || of.is_block_device() => Kind::Device,
        _ => Kind::Other,
    }
}

#[cfg(not(unix))]
fn kind(of: FileType) -> Kind {
    if of.is_dir() { Kind::Folder } else { Kind::Other }
}
