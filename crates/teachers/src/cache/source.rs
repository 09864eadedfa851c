//! A teacher that is read from a cache.

use faculty_data::View;
use faculty_nets::MapShape;

use super::shard::ShardReader;
use crate::error::Result;
use crate::source::{TeacherBatch, TeacherSource};
use faculty_nets::Tap;
use faculty_nets::{FrozenClassifier, TeacherOutputs};

/// Reads its outputs by sample id and view; the images are not looked at.
#[derive(Debug)]
pub struct CachedTeacher {
    pub(super) classes: usize,
    pub(super) classifier: Option<FrozenClassifier>,
    pub(super) plain: ShardReader,
    pub(super) logits: ShardReader,
    pub(super) taps: Vec<(Tap, MapShape, ShardReader)>,
}

impl CachedTeacher {
    fn tap(&self, tap: Tap) -> Option<usize> {
        self.taps.iter().position(|(own, ..)| *own == tap)
    }
}

impl TeacherSource for CachedTeacher {
    fn classes(&self) -> usize {
        self.classes
    }

    fn tap_shape(&self, tap: Tap) -> Option<MapShape> {
        self.tap(tap).map(|index| self.taps[index].1)
    }

    fn classifier(&self) -> Option<FrozenClassifier> {
        self.classifier.clone()
    }

    fn is_lookup(&self) -> bool {
        true
    }

    fn outputs(&mut self, batch: &TeacherBatch<'_>, taps: &[Tap]) -> Result<TeacherOutputs> {
        let mut outputs = TeacherOutputs {
            logits: Vec::with_capacity(batch.ids.len() * self.classes),
            maps: Vec::with_capacity(taps.len()),
        };
        // A probe is no record of any reader: they refuse the view that it stands for.
        let (plain, view) = match batch.view {
            View::Plain => (true, 0),
            View::Train(number) => (false, number as usize),
            View::Probe => (false, usize::MAX),
        };
        let logits = if plain { &mut self.plain } else { &mut self.logits };
        for &id in batch.ids {
            logits.read_into(id, view, &mut outputs.logits)?;
        }
        for &tap in taps {
            let index = self.tap(tap).expect("only taps with a shape are asked for");
            let (_, shape, reader) = &mut self.taps[index];
            let mut values = Vec::with_capacity(batch.ids.len() * shape.elements());
            // Plain images have no maps: a reader of views refuses the view that they stand for.
            let view = if plain { usize::MAX } else { view };
            for &id in batch.ids {
                reader.read_into(id, view, &mut values)?;
            }
            outputs.maps.push(values);
        }
        Ok(outputs)
    }
}
