//! A teacher whose outputs are kept in memory: each sample and view is computed once.
//!
//! Worth it when a run uses a limited number of views (`data.views`): then every epoch after the
//! first ones finds all outputs, and the teacher costs nothing more.

use std::collections::HashMap;

use faculty_data::SampleId;
use faculty_nets::MapShape;

use super::{FrozenClassifier, TeacherBatch, TeacherOutputs, TeacherSource};

/// Keeps the outputs of the teacher inside.
pub struct KeptInMemory<T> {
    inner: T,
    kept: HashMap<(SampleId, u64), TeacherOutputs>,
}

/// Memory that keeping `samples × views` outputs takes, in bytes.
#[must_use]
pub fn bytes_needed(teacher: &dyn TeacherSource, with_map: bool, samples: usize) -> usize {
    let map = teacher.map_shape().filter(|_| with_map).map_or(0, |shape| shape.elements());
    samples * (teacher.classes() + map) * size_of::<f32>()
}

impl<T: TeacherSource> KeptInMemory<T> {
    /// Starts empty.
    #[must_use]
    pub fn new(inner: T) -> Self {
        Self { inner, kept: HashMap::new() }
    }

    fn missing(&self, batch: &TeacherBatch<'_>, with_map: bool) -> Vec<usize> {
        let known = |id: &SampleId| {
            self.kept
                .get(&(*id, batch.view))
                .is_some_and(|outputs| !with_map || !outputs.map.is_empty())
        };
        (0..batch.ids.len()).filter(|&i| !known(&batch.ids[i])).collect()
    }

    fn compute(&mut self, batch: &TeacherBatch<'_>, samples: &[usize], with_map: bool) {
        let pixels = batch.images.len() / batch.ids.len();
        let ids: Vec<SampleId> = samples.iter().map(|&i| batch.ids[i]).collect();
        let images: Vec<f32> = samples
            .iter()
            .flat_map(|&i| &batch.images[i * pixels..(i + 1) * pixels])
            .copied()
            .collect();
        let part = TeacherBatch { ids: &ids, images: &images, ..*batch };
        let outputs = self.inner.outputs(&part, with_map);
        let classes = outputs.logits.len() / ids.len();
        let map = outputs.map.len() / ids.len();
        for (i, &id) in ids.iter().enumerate() {
            let own = TeacherOutputs {
                logits: outputs.logits[i * classes..(i + 1) * classes].to_vec(),
                map: outputs.map[i * map..(i + 1) * map].to_vec(),
            };
            self.kept.insert((id, batch.view), own);
        }
    }
}

impl<T: TeacherSource> TeacherSource for KeptInMemory<T> {
    fn classes(&self) -> usize {
        self.inner.classes()
    }

    fn map_shape(&self) -> Option<MapShape> {
        self.inner.map_shape()
    }

    fn classifier(&self) -> Option<FrozenClassifier> {
        self.inner.classifier()
    }

    fn outputs(&mut self, batch: &TeacherBatch<'_>, with_map: bool) -> TeacherOutputs {
        let missing = self.missing(batch, with_map);
        if !missing.is_empty() {
            self.compute(batch, &missing, with_map);
        }
        let mut all = TeacherOutputs::default();
        for &id in batch.ids {
            let own = &self.kept[&(id, batch.view)];
            all.logits.extend_from_slice(&own.logits);
            if with_map {
                all.map.extend_from_slice(&own.map);
            }
        }
        all
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

        fn map_shape(&self) -> Option<MapShape> {
            Some(MapShape::new(1, 1, 2))
        }

        fn classifier(&self) -> Option<FrozenClassifier> {
            None
        }

        fn outputs(&mut self, batch: &TeacherBatch<'_>, with_map: bool) -> TeacherOutputs {
            self.seen += batch.ids.len();
            TeacherOutputs {
                logits: batch.images.iter().step_by(2).copied().collect(),
                map: if with_map { batch.images.to_vec() } else { Vec::new() },
            }
        }
    }

    #[test]
    fn computes_each_sample_once_and_answers_in_the_batchs_order() {
        let mut teacher = KeptInMemory::new(Counting { seen: 0 });
        let ids = [SampleId(7), SampleId(3), SampleId(9)];
        let images = [7.0, 0.7, 3.0, 0.3, 9.0, 0.9];
        let batch = TeacherBatch { ids: &ids, view: 0, images: &images };
        assert_eq!(teacher.outputs(&batch, false).logits, [7.0, 3.0, 9.0]);
        assert_eq!(teacher.inner.seen, 3);
        let ids = [SampleId(9), SampleId(1), SampleId(7)];
        let images = [-1.0, -1.0, 1.0, 0.1, -1.0, -1.0];
        let batch = TeacherBatch { ids: &ids, view: 0, images: &images };
        // Known samples come from memory, so their (wrong) pixels are not looked at.
        assert_eq!(teacher.outputs(&batch, false).logits, [9.0, 1.0, 7.0]);
        assert_eq!(teacher.inner.seen, 4);
        let other_view = TeacherBatch { view: 1, ..batch };
        assert_eq!(teacher.outputs(&other_view, false).logits, [-1.0, 1.0, -1.0]);
    }

    #[test]
    fn a_later_need_for_maps_computes_them() {
        let mut teacher = KeptInMemory::new(Counting { seen: 0 });
        let batch = TeacherBatch { ids: &[SampleId(7)], view: 0, images: &[7.0, 0.7] };
        assert!(teacher.outputs(&batch, false).map.is_empty());
        assert_eq!(teacher.outputs(&batch, true).map, [7.0, 0.7]);
        assert_eq!(teacher.outputs(&batch, true).map, [7.0, 0.7]);
        assert_eq!(teacher.inner.seen, 2);
    }
}
