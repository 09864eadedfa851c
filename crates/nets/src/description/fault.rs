//! What is wrong with a description, and where.

/// What is wrong with a description, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// From 1.
    pub(super) line: usize,
    pub(super) problem: String,
    pub(super) hint: String,
}
