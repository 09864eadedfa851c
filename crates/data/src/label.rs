//! The label of a sample that has none.

/// Only training splits hold such samples, see [`Split::labelled`](crate::Split::labelled).
pub const UNLABELLED: u32 = u32::MAX;
