//! Teachers: where their outputs come from, behind one trait.

use faculty_data::SampleId;
use faculty_nets::{Inference, MapShape, Network, ValueId};

use crate::error::Result;
use crate::tap::Tap;

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

    /// Changed pixels that are no view of the sample at all, to try how a teacher would do on them.
    /// A source that keeps outputs must compute these anew and not keep them.
    pub const PROBE_VIEW: u64 = u64::MAX - 1;
}

/// What a teacher says about a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TeacherOutputs {
    /// `[batch, classes]`, raw.
    pub logits: Vec<f32>,
    /// One `[batch, channels, height, width]` for each tap that was asked for, in that order.
    pub maps: Vec<Vec<f32>>,
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

    /// Shape of its values at `tap`, if it can give them.
    fn tap_shape(&self, tap: Tap) -> Option<MapShape>;

    /// Its classifier, if it ends in global average pooling and a linear layer.
    fn classifier(&self) -> Option<FrozenClassifier>;

    /// Whether it answers for the pixels that it is given; a cache or a table answers by sample id.
    fn reads_pixels(&self) -> bool {
        true
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

    fn reads_pixels(&self) -> bool {
        (**self).reads_pixels()
    }

    fn outputs(&mut self, batch: &TeacherBatch<'_>, taps: &[Tap]) -> Result<TeacherOutputs> {
        (**self).outputs(batch, taps)
    }
}

/// A network of this program, run in inference mode.
#[derive(Debug)]
pub struct NetworkTeacher {
    plan: Inference,
    taps: Vec<(Tap, ValueId)>,
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

    pub(crate) fn apply(&self, images: &[f32], positions: usize, out: &mut Vec<f32>) {
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
    /// Values at `taps` can be asked for, as far as the network has them.
    #[must_use]
    pub fn new(network: &Network, renormalise: Option<Renormalise>, taps: &[Tap]) -> Self {
        let taps: Vec<(Tap, ValueId)> =
            taps.iter().filter_map(|&tap| Some((tap, tap.value(network.graph())?))).collect();
        let wanted: Vec<ValueId> = taps.iter().map(|(_, value)| *value).collect();
        Self {
            plan: Inference::new(network, &wanted),
            taps,
            classifier: network
                .classifier()
                .map(|c| FrozenClassifier { weight: c.weight.to_vec(), bias: c.bias.to_vec() }),
            renormalise,
            scratch: Vec::new(),
        }
    }

    fn tap_value(&self, tap: Tap) -> Option<ValueId> {
        self.taps.iter().find(|(own, _)| *own == tap).map(|(_, value)| *value)
    }
}

impl TeacherSource for NetworkTeacher {
    fn classes(&self) -> usize {
        let graph = self.plan.graph();
        graph.shape(graph.output()).channels
    }

    fn tap_shape(&self, tap: Tap) -> Option<MapShape> {
        self.tap_value(tap).map(|value| self.plan.graph().shape(value))
    }

    fn classifier(&self) -> Option<FrozenClassifier> {
        self.classifier.clone()
    }

    fn outputs(&mut self, batch: &TeacherBatch<'_>, taps: &[Tap]) -> Result<TeacherOutputs> {
        let images = match &self.renormalise {
            None => batch.images,
            Some(renormalise) => {
                let positions = self.plan.graph().input_shape().positions();
                renormalise.apply(batch.images, positions, &mut self.scratch);
                &self.scratch
            }
        };
        let logits = self.plan.run(images, batch.ids.len()).to_vec();
        let maps = taps
            .iter()
            .map(|&tap| {
                let value = self.tap_value(tap).expect("only taps with a shape are asked for");
                self.plan.value(value).to_vec()
            })
            .collect();
        Ok(TeacherOutputs { logits, maps })
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
