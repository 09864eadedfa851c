//! A labelled text and its place in the files.

use std::path::Path;
use std::sync::Arc;

use faculty_inputs::Text;

/// A sample and where it is from.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) text: Text,
    pub(super) label: u32,
    /// The file, and what a place in it is: `line` or `row`.
    pub(super) file: Arc<Path>,
    pub(super) kind: &'static str,
    pub(super) place: u64,
}

impl Sample {
    pub(super) fn at(&self) -> String {
        format!("`{}`, {} {}", self.file.display(), self.kind, self.place)
    }
}
