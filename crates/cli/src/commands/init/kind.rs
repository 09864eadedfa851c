//! What the samples of a data set are.

/// What the samples are.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// Of `[channels, height, width]`.
    Images([usize; 3]),
    Texts,
}
