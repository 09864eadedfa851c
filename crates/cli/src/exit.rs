//! Exit codes.

/// How the program ends. A panic ends with Rust's own 101: that is a bug of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Exit {
    /// Done what was asked.
    Done = 0,
    /// Ran, but the answer is no: a training that broke down, a teacher near chance.
    No = 1,
    /// Usage, recipe, data or files.
    Usage = 2,
    /// Stopped from outside.
    Interrupted = 130,
}
