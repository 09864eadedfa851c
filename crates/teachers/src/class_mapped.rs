//! A teacher whose classes are put in the data's order.

use faculty_nets::MapShape;

use crate::class_map::ClassMap;

use faculty_nets::{FrozenClassifier, TeacherOutputs};

use crate::error::Result;
use crate::source::{TeacherBatch, TeacherSource};
use faculty_nets::Tap;

/// The teacher inside, seen through a class map. Its maps stay as they are.
pub struct ClassMappedTeacher<T> {
    inner: T,
    map: ClassMap,
}

impl<T: TeacherSource> ClassMappedTeacher<T> {
    /// Sees `inner` through `map`.
    ///
    /// # Panics
    /// If the map is for another number of classes.
    #[must_use]
    pub fn new(inner: T, map: ClassMap) -> Self {
        assert_eq!(inner.classes(), map.teacher_classes(), "classes of the teacher");
        Self { inner, map }
    }
}

impl<T: TeacherSource> TeacherSource for ClassMappedTeacher<T> {
    fn classes(&self) -> usize {
        self.map.classes()
    }

    fn tap_shape(&self, tap: Tap) -> Option<MapShape> {
        self.inner.tap_shape(tap)
    }

    fn classifier(&self) -> Option<FrozenClassifier> {
        self.map.classifier(&self.inner.classifier()?)
    }

    fn is_lookup(&self) -> bool {
        self.inner.is_lookup()
    }

    fn outputs(&mut self, batch: &TeacherBatch<'_>, taps: &[Tap]) -> Result<TeacherOutputs> {
        let TeacherOutputs { logits, maps } = self.inner.outputs(batch, taps)?;
        Ok(TeacherOutputs { logits: self.map.logits(&logits), maps })
    }
}
