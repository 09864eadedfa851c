//! A teacher as the rest of the program sees it: who is asked, with what, and what comes back.
//!
//! Outputs depend on the sample and its view only, never on the batch around it.

use faculty_contract::TeacherTraits;
use faculty_data::SampleId;
use faculty_nets::{FrozenClassifier, MapShape, Tap, TeacherOutputs};

use crate::error::Result;

/// A teacher with its name.
pub struct Teacher {
    /// Name in the recipe.
    pub name: String,
    /// Where its outputs come from.
    pub source: Box<dyn TeacherSource>,
}

/// Pixels of a batch as a teacher sees them arrive.
#[derive(Clone, Copy, Debug)]
pub struct TeacherBatch<'a> {
    /// Identity of each sample.
    pub ids: &'a [SampleId],
    /// Which augmented view of the samples this is.
    pub view: u64,
    /// `[batch, channels, height, width]`, normalised for the student.
    pub images: &'a [f32],
}

impl TeacherBatch<'_> {
    /// The view without augmentation, used to measure quality; no training view has this number.
    pub const PLAIN_VIEW: u64 = u64::MAX;

    /// Changed pixels that are no view of the sample at all, to try how a teacher would do on them.
    /// A source that keeps outputs must compute these anew and not keep them.
    pub const PROBE_VIEW: u64 = u64::MAX - 1;
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
