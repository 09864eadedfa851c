//! A teacher whose outputs are turned into logits.

use faculty_nets::MapShape;

use faculty_nets::{FrozenClassifier, TeacherOutputs};

use crate::raw_outputs::RawOutputs;

use crate::error::{Result, TeacherError};
use crate::source::{TeacherBatch, TeacherSource};
use faculty_nets::Tap;

/// The teacher inside, its outputs as logits. Its maps stay as they are; a linear classifier does
/// not end in probabilities, so it has none.
pub struct AsLogits<T> {
    name: String,
    inner: T,
    raw: RawOutputs,
}

impl<T: TeacherSource> AsLogits<T> {
    /// Reads `inner` as `raw` says; `name` is for messages.
    #[must_use]
    pub fn new(name: &str, inner: T, raw: RawOutputs) -> Self {
        Self { name: name.to_owned(), inner, raw }
    }
}

impl<T: TeacherSource> TeacherSource for AsLogits<T> {
    fn classes(&self) -> usize {
        self.inner.classes()
    }

    fn tap_shape(&self, tap: Tap) -> Option<MapShape> {
        self.inner.tap_shape(tap)
    }

    fn classifier(&self) -> Option<FrozenClassifier> {
        None
    }

    fn is_lookup(&self) -> bool {
        self.inner.is_lookup()
    }

    fn outputs(&mut self, batch: &TeacherBatch<'_>, taps: &[Tap]) -> Result<TeacherOutputs> {
        let TeacherOutputs { mut logits, maps } = self.inner.outputs(batch, taps)?;
        let classes = self.inner.classes();
        self.raw.to_logits(&mut logits, classes).map_err(|problem| {
            TeacherError::TeacherOutputs {
                teacher: self.name.clone(),
                problem: format!("{problem}, which is not `{}`", self.raw.output_type().name()),
            }
        })?;
        Ok(TeacherOutputs { logits, maps })
    }
}
