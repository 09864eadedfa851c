//! A teacher as the rest of the program sees it: who is asked, with what, and what comes back.
//!
//! Outputs depend on the sample and its view only, never on the batch around it.

use faculty_contract::TeacherTraits;
use faculty_data::{Batch, Input, SampleId, View};
use faculty_nets::{FrozenClassifier, MapShape, Tap, TeacherOutputs};

use crate::error::Result;

/// A teacher with its name.
pub struct Teacher {
    /// Name in the recipe.
    pub name: String,
    /// Where its outputs come from.
    pub source: Box<dyn TeacherSource>,
}

/// A batch as a teacher sees it arrive.
#[derive(Clone, Copy, Debug)]
pub struct TeacherBatch<'a> {
    /// Identity of each sample.
    pub ids: &'a [SampleId],
    /// Which view of the samples this is.
    pub view: View,
    /// What the student gets of them; a teacher makes its own of it.
    pub inputs: Input<'a>,
}

impl<'a> From<&'a Batch> for TeacherBatch<'a> {
    fn from(batch: &'a Batch) -> Self {
        Self { ids: &batch.ids, view: batch.view, inputs: batch.inputs.view() }
    }
}

/// A frozen teacher. Outputs depend on the sample and its view only, never on the batch around it.
pub trait TeacherSource: Send {
    /// Number of classes.
    fn classes(&self) -> usize;

    /// Shape of its values at `tap`, if it can give them.
    fn tap_shape(&self, tap: Tap) -> Option<MapShape>;

    /// Its classifier, if it ends in global average pooling and a linear layer.
    fn classifier(&self) -> Option<FrozenClassifier>;

    /// Whether it looks its outputs up by sample id, as a cache or a table does, whatever the pixels.
    fn is_lookup(&self) -> bool {
        false
    }

    /// Logits, and the values at `taps`, each of which has a [`TeacherSource::tap_shape`].
    ///
    /// # Errors
    /// When a source outside this process fails: a damaged cache, a model that cannot be run.
    fn outputs(&mut self, batch: &TeacherBatch<'_>, taps: &[Tap]) -> Result<TeacherOutputs>;
}

impl<T: TeacherSource + ?Sized> TeacherSource for Box<T> {
    fn classes(&self) -> usize {
        (**self).classes()
    }

    fn tap_shape(&self, tap: Tap) -> Option<MapShape> {
        (**self).tap_shape(tap)
    }

    fn classifier(&self) -> Option<FrozenClassifier> {
        (**self).classifier()
    }

    fn is_lookup(&self) -> bool {
        (**self).is_lookup()
    }

    fn outputs(&mut self, batch: &TeacherBatch<'_>, taps: &[Tap]) -> Result<TeacherOutputs> {
        (**self).outputs(batch, taps)
    }
}

/// What a method may know of a teacher beforehand: its classifier, and its shapes at as many of `taps`
/// as it has.
#[must_use]
pub fn traits_of(teacher: &dyn TeacherSource, taps: &[Tap]) -> TeacherTraits {
    let shapes = taps.iter().filter_map(|&tap| Some((tap, teacher.tap_shape(tap)?)));
    TeacherTraits { taps: shapes.collect(), classifier: teacher.classifier() }
}
