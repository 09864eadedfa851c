//! What `faculty init` decided.

use super::kind::Kind;
use std::path::PathBuf;

use faculty_data::Dataset;

use super::teachers::Found;

/// What the recipe is made of.
pub(super) struct Plan {
    pub(super) data: PathBuf,
    pub(super) dataset: Dataset,
    pub(super) kind: Kind,
    pub(super) teachers: Vec<Found>,
    pub(super) student: Student,
    pub(super) method: String,
    pub(super) method_reason: String,
}

pub(super) struct Student {
    pub(super) network: String,
    /// Why this one.
    pub(super) reason: String,
    /// What only a student of texts has.
    pub(super) of_texts: Option<OfTexts>,
}

/// What a student of texts starts from and how it reads.
pub(super) struct OfTexts {
    /// The folder of a trained encoder.
    pub(super) weights: Option<PathBuf>,
    /// Layers of it, where not all are taken.
    pub(super) layers: Option<usize>,
    /// Where not that of `weights`.
    pub(super) tokenizer: Option<PathBuf>,
    /// Most tokens of a text.
    pub(super) max_tokens: usize,
    /// Share of the training texts that have more.
    pub(super) cut: f64,
}
