//! Teachers: where their outputs come from, behind one trait.

use faculty_data::SampleId;
use faculty_nets::{Inference, MapShape, Network, ValueId};

mod memory;

pub use memory::{KeptInMemory, bytes_needed};

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
}

/// What a teacher says about a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TeacherOutputs {
    /// `[batch, classes]`, raw.
    pub logits: Vec<f32>,
    /// `[batch, channels, height, width]` of the last map before pooling; empty unless asked for.
    pub map: Vec<f32>,
}

/// A frozen classifier behind global average pooling, owned.
#[derive(Clone, Debug, PartialEq)]
pub struct FrozenClassifier {
    /// Row-major `[classes, channels]`.
    pub weight: Vec<f32>,
    /// `[classes]`.
    pub bias: Vec<f32>,
}

/// A frozen teacher. Outputs depend on the sample and its view only, never on the batch around it.
pub trait TeacherSource: Send {
    /// Number of classes.
    fn classes(&self) -> usize;

    /// Shape of its last map before pooling, if it can give that map.
    fn map_shape(&self) -> Option<MapShape>;

    /// Its classifier, if it ends in global average pooling and a linear layer.
    fn classifier(&self) -> Option<FrozenClassifier>;

    /// Logits, and the map when `with_map`.
    fn outputs(&mut self, batch: &TeacherBatch<'_>, with_map: bool) -> TeacherOutputs;
}

impl<T: TeacherSource + ?Sized> TeacherSource for Box<T> {
    fn classes(&self) -> usize {
        (**self).classes()
    }

    fn map_shape(&self) -> Option<MapShape> {
        (**self).map_shape()
    }

    fn classifier(&self) -> Option<FrozenClassifier> {
        (**self).classifier()
    }

    fn outputs(&mut self, batch: &TeacherBatch<'_>, with_map: bool) -> TeacherOutputs {
        (**self).outputs(batch, with_map)
    }
}

/// A network of this program, run in inference mode.
#[derive(Debug)]
pub struct NetworkTeacher {
    plan: Inference,
    map: Option<ValueId>,
    classifier: Option<FrozenClassifier>,
    renormalise: Option<Renormalise>,
    scratch: Vec<f32>,
}

/// From the student's normalisation to the teacher's: `scale x + shift` per channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Renormalise {
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl Renormalise {
    /// `None` when both normalisations are the same. All slices have one value a channel.
    #[must_use]
    pub fn between(student: (&[f32], &[f32]), teacher: (&[f32], &[f32])) -> Option<Self> {
        if student == teacher {
            return None;
        }
        let ((mean_s, std_s), (mean_t, std_t)) = (student, teacher);
        let scale = std_s.iter().zip(std_t).map(|(s, t)| s / t).collect();
        let shift = mean_s
            .iter()
            .zip(mean_t)
            .zip(std_t)
            .map(|((mean_s, mean_t), std_t)| (mean_s - mean_t) / std_t)
            .collect();
        Some(Self { scale, shift })
    }

    fn apply(&self, images: &[f32], positions: usize, out: &mut Vec<f32>) {
        let channels = self.scale.len();
        out.clear();
        out.extend(images.chunks_exact(positions).enumerate().flat_map(|(plane, pixels)| {
            let (scale, shift) = (self.scale[plane % channels], self.shift[plane % channels]);
            pixels.iter().map(move |x| x * scale + shift)
        }));
    }
}

impl NetworkTeacher {
    /// Compiles `network` for inference; `renormalise` turns the student's pixels into its own.
    #[must_use]
    pub fn new(network: &Network, renormalise: Option<Renormalise>) -> Self {
        let map = network.graph().map();
        let wanted: Vec<ValueId> = map.into_iter().collect();
        Self {
            plan: Inference::new(network, &wanted),
            map,
            classifier: network
                .classifier()
                .map(|c| FrozenClassifier { weight: c.weight.to_vec(), bias: c.bias.to_vec() }),
            renormalise,
            scratch: Vec::new(),
        }
    }
}

impl TeacherSource for NetworkTeacher {
    fn classes(&self) -> usize {
        let graph = self.plan.graph();
        graph.shape(graph.output()).channels
    }

    fn map_shape(&self) -> Option<MapShape> {
        self.map.map(|map| self.plan.graph().shape(map))
    }

    fn classifier(&self) -> Option<FrozenClassifier> {
        self.classifier.clone()
    }

    fn outputs(&mut self, batch: &TeacherBatch<'_>, with_map: bool) -> TeacherOutputs {
        let images = match &self.renormalise {
            None => batch.images,
            Some(renormalise) => {
                let positions = self.plan.graph().input_shape().positions();
                renormalise.apply(batch.images, positions, &mut self.scratch);
                &self.scratch
            }
        };
        let logits = self.plan.run(images, batch.ids.len()).to_vec();
        let map = match self.map.filter(|_| with_map) {
            Some(map) => self.plan.value(map).to_vec(),
            None => Vec::new(),
        };
        TeacherOutputs { logits, map }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renormalised_pixels_are_those_of_the_other_normalisation() {
        let (mean_s, std_s, mean_t, std_t) = ([0.5, 0.4], [0.25, 0.2], [0.1, 0.3], [0.5, 0.125]);
        let renormalise = Renormalise::between((&mean_s, &std_s), (&mean_t, &std_t)).unwrap();
        let raw = [0.0_f32, 0.3, 1.0, 0.7];
        let normalised = |mean: &[f32; 2], std: &[f32; 2]| -> Vec<f32> {
            raw.iter().enumerate().map(|(i, x)| (x - mean[i / 2]) / std[i / 2]).collect()
        };
        let mut out = Vec::new();
        renormalise.apply(&normalised(&mean_s, &std_s), 2, &mut out);
        for (got, want) in out.iter().zip(normalised(&mean_t, &std_t)) {
            assert!((got - want).abs() < 1e-5, "{got} instead of {want}");
        }
        assert_eq!(Renormalise::between((&mean_s, &std_s), (&mean_s, &std_s)), None);
    }
}
