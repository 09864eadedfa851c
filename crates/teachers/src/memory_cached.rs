//! A teacher whose outputs are kept in memory: each sample and view is computed once.
//!
//! Worth it when a run uses a limited number of views (`data.views`): then every epoch after the
//! first ones finds all outputs, and the teacher costs nothing more.

use std::collections::HashMap;

use faculty_data::{SampleId, View};
use faculty_nets::MapShape;

use faculty_nets::{FrozenClassifier, TeacherOutputs};

use crate::error::Result;
use crate::source::{TeacherBatch, TeacherSource};
use faculty_nets::Tap;

/// Keeps the outputs of the teacher inside.
pub struct MemoryCachedTeacher<T> {
    inner: T,
    /// What is kept beside the logits; asking for another tap starts again.
    taps: Vec<Tap>,
    kept: HashMap<(SampleId, View), TeacherOutputs>,
}

/// Memory that keeping `samples × views` outputs takes, in bytes.
#[must_use]
pub fn bytes_needed(teacher: &dyn TeacherSource, taps: &[Tap], samples: usize) -> usize {
    let shapes = taps.iter().filter_map(|&tap| teacher.tap_shape(tap));
    let maps: usize = shapes.map(|shape| shape.elements()).sum();
    samples.saturating_mul((teacher.classes() + maps) * size_of::<f32>())
}

impl<T: TeacherSource> MemoryCachedTeacher<T> {
    /// Starts empty.
    #[must_use]
    pub fn new(inner: T) -> Self {
        Self { inner, taps: Vec::new(), kept: HashMap::new() }
    }

    /// Keeps these taps from the start, as far as the teacher has them, so that asking for fewer of
    /// them at times loses nothing.
    #[must_use]
    pub fn with_taps(self, mut taps: Vec<Tap>) -> Self {
        taps.retain(|&tap| self.inner.tap_shape(tap).is_some());
        Self { taps, ..self }
    }

    fn compute(&mut self, batch: &TeacherBatch<'_>, samples: &[usize]) -> Result<()> {
        let ids: Vec<SampleId> = samples.iter().map(|&i| batch.ids[i]).collect();
        let inputs = batch.inputs.select(samples, batch.ids.len());
        let part = TeacherBatch { ids: &ids, inputs: inputs.view(), ..*batch };
        let outputs = self.inner.outputs(&part, &self.taps)?;
        let own = |all: &Vec<f32>, i: usize| {
            let each = all.len() / ids.len();
            all[i * each..(i + 1) * each].to_vec()
        };
        for (i, &id) in ids.iter().enumerate() {
            let outputs = TeacherOutputs {
                logits: own(&outputs.logits, i),
                maps: outputs.maps.iter().map(|map| own(map, i)).collect(),
            };
            self.kept.insert((id, batch.view), outputs);
        }
        Ok(())
    }
}

impl<T: TeacherSource> TeacherSource for MemoryCachedTeacher<T> {
    fn classes(&self) -> usize {
        self.inner.classes()
    }

    fn tap_shape(&self, tap: Tap) -> Option<MapShape> {
        self.inner.tap_shape(tap)
    }

    fn classifier(&self) -> Option<FrozenClassifier> {
        self.inner.classifier()
    }

    fn is_lookup(&self) -> bool {
        self.inner.is_lookup()
    }

    fn outputs(&mut self, batch: &TeacherBatch<'_>, taps: &[Tap]) -> Result<TeacherOutputs> {
        if batch.view == View::Probe {
            return self.inner.outputs(batch, taps);
        }
        if taps.iter().any(|tap| !self.taps.contains(tap)) {
            self.taps = taps.to_vec();
            self.kept.clear();
        }
        let missing: Vec<usize> = (0..batch.ids.len())
            .filter(|&i| !self.kept.contains_key(&(batch.ids[i], batch.view)))
            .collect();
        if !missing.is_empty() {
            self.compute(batch, &missing)?;
        }
        let places: Vec<usize> = taps
            .iter()
            .map(|tap| self.taps.iter().position(|own| own == tap).expect("added above"))
            .collect();
        let mut all = TeacherOutputs { logits: Vec::new(), maps: vec![Vec::new(); taps.len()] };
        for &id in batch.ids {
            let own = &self.kept[&(id, batch.view)];
            all.logits.extend_from_slice(&own.logits);
            for (map, &place) in all.maps.iter_mut().zip(&places) {
                map.extend_from_slice(&own.maps[place]);
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    /// Answers with the image's first pixel and counts the samples it saw.
    struct Counting {
        seen: usize,
    }

    impl TeacherSource for Counting {
        fn classes(&self) -> usize {
            1
        }

        fn tap_shape(&self, _tap: Tap) -> Option<MapShape> {
            Some(MapShape::new(1, 1, 2))
        }

        fn classifier(&self) -> Option<FrozenClassifier> {
            None
        }

        fn outputs(&mut self, batch: &TeacherBatch<'_>, taps: &[Tap]) -> Result<TeacherOutputs> {
            self.seen += batch.ids.len();
            let images = batch.inputs.images().unwrap();
            Ok(TeacherOutputs {
                logits: images.iter().step_by(2).copied().collect(),
                maps: taps.iter().map(|_| images.to_vec()).collect(),
            })
        }
    }

    #[test]
    fn computes_each_sample_once_and_answers_in_the_batchs_order() {
        let mut teacher = MemoryCachedTeacher::new(Counting { seen: 0 });
        let ids = [SampleId(7), SampleId(3), SampleId(9)];
        let images = [7.0, 0.7, 3.0, 0.3, 9.0, 0.9];
        let batch = TeacherBatch { ids: &ids, view: View::Train(0), inputs: (&images).into() };
        assert_eq!(teacher.outputs(&batch, &[]).unwrap().logits, [7.0, 3.0, 9.0]);
        assert_eq!(teacher.inner.seen, 3);
        let ids = [SampleId(9), SampleId(1), SampleId(7)];
        let images = [-1.0, -1.0, 1.0, 0.1, -1.0, -1.0];
        let batch = TeacherBatch { ids: &ids, view: View::Train(0), inputs: (&images).into() };
        // Known samples come from memory, so their (wrong) pixels are not looked at.
        assert_eq!(teacher.outputs(&batch, &[]).unwrap().logits, [9.0, 1.0, 7.0]);
        assert_eq!(teacher.inner.seen, 4);
        // Changed pixels are looked at every time.
        let probe = TeacherBatch { view: View::Probe, ..batch };
        assert_eq!(teacher.outputs(&probe, &[]).unwrap().logits, [-1.0, 1.0, -1.0]);
        assert_eq!(teacher.inner.seen, 7);
        let other_view = TeacherBatch { view: View::Train(1), ..batch };
        assert_eq!(teacher.outputs(&other_view, &[]).unwrap().logits, [-1.0, 1.0, -1.0]);
    }

    #[test]
    fn a_later_need_for_maps_computes_them() {
        let mut teacher = MemoryCachedTeacher::new(Counting { seen: 0 });
        let batch = TeacherBatch {
            ids: &[SampleId(7)],
            view: View::Train(0),
            inputs: (&[7.0, 0.7]).into(),
        };
        assert!(teacher.outputs(&batch, &[]).unwrap().maps.is_empty());
        assert_eq!(teacher.outputs(&batch, &[Tap::Map]).unwrap().maps, [[7.0, 0.7]]);
        assert_eq!(teacher.outputs(&batch, &[Tap::Map]).unwrap().maps, [[7.0, 0.7]]);
        assert!(teacher.outputs(&batch, &[]).unwrap().maps.is_empty());
        assert_eq!(teacher.inner.seen, 2);
    }
}
