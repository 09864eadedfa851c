//! The hard samples that MMKD's meta steps run on, with what the teachers say of them.

use faculty_data::rng::{Purpose, below, draw};
use faculty_nets::weights::{Array, StateDict};

use faculty_contract::LearnerBatch;
use faculty_nets::TeacherOutputs;

/// One array with a row for each sample.
#[derive(Clone, Debug, Default, PartialEq)]
struct Rows {
    width: usize,
    values: Vec<f32>,
}

impl Rows {
    fn row(&self, place: usize) -> &[f32] {
        &self.values[place * self.width..][..self.width]
    }

    fn of(&self, places: &[usize]) -> Vec<f32> {
        places.iter().flat_map(|&place| self.row(place)).copied().collect()
    }
}

/// Samples of earlier batches: at first whole batches, then those that the student misclassified, each
/// in the place of another.
#[derive(Clone, Debug)]
pub(super) struct Buffer {
    capacity: usize,
    labels: Vec<u32>,
    /// Images, then logits and map of each teacher.
    rows: Vec<Rows>,
}

/// Some of them.
#[derive(Debug, PartialEq)]
pub(super) struct Samples {
    pub(super) images: Vec<f32>,
    pub(super) labels: Vec<u32>,
    pub(super) teachers: Vec<TeacherOutputs>,
}

impl Samples {
    /// As a batch beside `other`.
    pub(super) fn batch<'a>(&'a self, other: &LearnerBatch<'_>) -> LearnerBatch<'a> {
        LearnerBatch {
            epoch: other.epoch,
            step_seed: other.step_seed,
            ids: &[],
            inputs: (&self.images).into(),
            labels: &self.labels,
            mixed: None,
            teachers: &self.teachers,
        }
    }
}

/// Sets these draws apart from other uses of a batch's number.
const PLACES: u64 = 0x6d65_6d6f;
/// Those of samples that are taken from them.
const TAKEN: u64 = 1;
/// And of samples that make room.
const REPLACED: u64 = 2;

impl Buffer {
    /// For so many samples of so many teachers.
    pub(super) fn new(capacity: usize, teachers: usize) -> Self {
        Self { capacity, labels: Vec::new(), rows: vec![Rows::default(); 1 + 2 * teachers] }
    }

    /// Takes samples of a batch: while there is room the first ones, then the misclassified ones.
    pub(super) fn keep(&mut self, batch: &LearnerBatch<'_>, misclassified: &[usize]) {
        let images = batch.inputs.images().expect("a buffer of images");
        let outputs = batch.teachers.iter().flat_map(|t| [t.logits.as_slice(), &t.maps[0]]);
        let arrays: Vec<&[f32]> = std::iter::once(images).chain(outputs).collect();
        let size = batch.labels.len();
        let room = self.capacity - self.labels.len();
        if room > 0 {
            let taken = room.min(size);
            self.labels.extend_from_slice(&batch.labels[..taken]);
            for (rows, array) in self.rows.iter_mut().zip(arrays) {
                rows.width = array.len() / size;
                rows.values.extend_from_slice(&array[..taken * rows.width]);
            }
            return;
        }
        let places = self.places(batch.step_seed, REPLACED, misclassified.len());
        for (&sample, place) in misclassified.iter().zip(places) {
            self.labels[place] = batch.labels[sample];
            for (rows, array) in self.rows.iter_mut().zip(&arrays) {
                let width = rows.width;
                let row = &array[sample * width..][..width];
                rows.values[place * width..][..width].copy_from_slice(row);
            }
        }
    }

    /// So many different samples, drawn from `number`; all if there are fewer.
    pub(super) fn drawn(&self, number: u64, count: usize) -> Samples {
        let places = self.places(number, TAKEN, count);
        let mut rows = self.rows.iter().map(|rows| rows.of(&places));
        let images = rows.next().expect("images come first");
        let rest: Vec<Vec<f32>> = rows.collect();
        let teachers = rest
            .chunks_exact(2)
            .map(|pair| TeacherOutputs { logits: pair[0].clone(), maps: vec![pair[1].clone()] });
        let teachers = teachers.collect();
        Samples { images, labels: places.iter().map(|&p| self.labels[p]).collect(), teachers }
    }

    /// Different places.
    fn places(&self, number: u64, purpose: u64, count: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..self.labels.len()).collect();
        let count = count.min(all.len());
        for i in 0..count {
            let rest = (all.len() - i) as u64;
            let chosen = draw(Purpose::Method, number, PLACES, i as u64, purpose);
            all.swap(i, i + below(chosen, rest) as usize);
        }
        all.truncate(count);
        all
    }

    /// Samples in it.
    #[cfg(test)]
    pub(super) fn labels(&self) -> &[u32] {
        &self.labels
    }

    fn names(&self) -> Vec<String> {
        let teachers = (self.rows.len() - 1) / 2;
        let of_teacher = |k: usize| ["logits", "map"].map(|kind| format!("buffer.{k}.{kind}"));
        let images = std::iter::once("buffer.images".to_owned());
        images.chain((0..teachers).flat_map(of_teacher)).collect()
    }

    /// Everything in it.
    pub(super) fn state(&self) -> StateDict {
        let labels: Vec<f32> = self.labels.iter().map(|&label| label as f32).collect();
        let count = labels.len();
        let mut state = StateDict::from([(LABELS.to_owned(), array(vec![count], labels))]);
        for (name, rows) in self.names().into_iter().zip(&self.rows) {
            state.insert(name, array(vec![count, rows.width], rows.values.clone()));
        }
        state
    }

    /// Takes [`Buffer::state`] back.
    pub(super) fn set_state(
        &mut self,
        mut take: impl FnMut(&str) -> Result<Array, String>,
    ) -> Result<(), String> {
        let labels = take(LABELS)?.values;
        if labels.len() > self.capacity {
            return Err(format!("{} samples in a buffer for {}", labels.len(), self.capacity));
        }
        let mut all = Vec::new();
        for name in self.names() {
            let Array { shape, values } = take(&name)?;
            match shape.as_slice() {
                &[count, width] if count == labels.len() => all.push(Rows { width, values }),
                _ => {
                    return Err(format!(
                        "`{name}` has shape {shape:?} for {} labels",
                        labels.len()
                    ));
                }
            }
        }
        self.labels = labels.into_iter().map(|label| label as u32).collect();
        self.rows = all;
        Ok(())
    }
}

const LABELS: &str = "buffer.labels";

fn array(shape: Vec<usize>, values: Vec<f32>) -> Array {
    Array { shape, values }
}
