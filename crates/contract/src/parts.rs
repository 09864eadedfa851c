//! What a method trains and remembers beside the student.

use faculty_nets::{Graph, Tap};

/// A small trainable network on one of the student's maps.
#[derive(Clone, Debug)]
pub struct Connector {
    /// Where it reads the student.
    pub tap: Tap,
    /// What it computes from there.
    pub graph: Graph,
}

/// Rows of one array of [`crate::Step::memory`] that an update overwrites.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// Which array.
    pub array: usize,
    /// Its rows, along the first dimension.
    pub rows: Vec<usize>,
    /// What they become, one after another.
    pub values: Vec<f32>,
}
