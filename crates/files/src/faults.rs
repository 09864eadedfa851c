//! Errors on purpose, for tests: a full disk, a folder without permission. Nothing outside the
//! program can switch them on.

use std::cell::RefCell;
use std::io;
use std::path::Path;

/// What is about to be done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Create or open it for writing.
    Create,
    /// Write to it.
    Write,
    /// Sync it.
    Sync,
    /// Give it this name.
    Rename,
    /// Remove it.
    Remove,
    /// Create this folder.
    Folder,
}

type Hook = Box<dyn FnMut(Operation, &Path) -> io::Result<()>>;

thread_local! {
    static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
}

/// Takes the faults away again when it is dropped.
#[derive(Debug)]
#[must_use = "the faults end when this is dropped"]
pub struct Faults(());

/// From now on `hook` is asked before every operation of this thread, with the final name of the
/// file; its errors are returned as if the file system had given them.
pub fn inject(hook: impl FnMut(Operation, &Path) -> io::Result<()> + 'static) -> Faults {
    HOOK.set(Some(Box::new(hook)));
    Faults(())
}

impl Drop for Faults {
    fn drop(&mut self) {
        HOOK.set(None);
    }
}

pub(super) fn check(operation: Operation, path: &Path) -> io::Result<()> {
    HOOK.with_borrow_mut(|hook| hook.as_mut().map_or(Ok(()), |hook| hook(operation, path)))
}
