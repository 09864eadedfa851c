//! What `faculty init` decided.

use std::path::PathBuf;

use faculty_data::Dataset;

use super::teachers::Found;

/// What the recipe is made of.
pub(super) struct Plan {
    pub(super) data: PathBuf,
    pub(super) dataset: Dataset,
    /// `[channels, height, width]` of its images.
    pub(super) shape: [usize; 3],
    pub(super) teachers: Vec<Found>,
    pub(super) student: String,
    /// Why this one.
    pub(super) student_reason: String,
    pub(super) method: String,
    pub(super) method_reason: String,
}
