//! Teachers: where their outputs come from, behind one trait.
//!
//! ```text
//! NetworkTeacher   a network of this program       logits, every tap, classifier
//! OnnxTeacher      an ONNX file                    logits, perhaps the last map and classifier
//! TableTeacher     logits by sample id             logits; the same in every view
//! AsLogits         any of them, its probabilities turned into logits
//! Mapped           any of them, with its classes put in the data's order
//! KeptInMemory     any of them, each view of each sample computed once
//! ```

use faculty_data::SampleId;
use faculty_nets::{Graph, Inference, MapShape, Network, ValueId};

use faculty_contract::TeacherTraits;

use crate::error::Result;
use crate::tap::Tap;

pub use faculty_nets::{FrozenClassifier, Renormalise, TeacherInput, TeacherOutputs};

mod as_logits;
mod classes;
mod mapped;
mod memory;
mod onnx;
mod raw_outputs;
mod table;

pub use as_logits::AsLogits;
pub use classes::{ClassMap, ClassProblem, Declared, MISSING_BELOW};
pub use mapped::Mapped;
pub use memory::{KeptInMemory, bytes_needed};
pub(crate) use onnx::Activation;
pub use onnx::{OnnxChoice, OnnxTeacher};
pub use raw_outputs::{OutputMeter, RawOutputs, SMALLEST};
pub use table::TableTeacher;

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

/// What a method may know of a teacher beforehand: its classifier, and its shapes at as many of `taps`
/// as it has.
#[must_use]
pub fn traits_of(teacher: &dyn TeacherSource, taps: &[Tap]) -> TeacherTraits {
    let shapes = taps.iter().filter_map(|&tap| Some((tap, teacher.tap_shape(tap)?)));
    TeacherTraits { taps: shapes.collect(), classifier: teacher.classifier() }
}

/// A network of this program, run in inference mode.
#[derive(Debug)]
pub struct NetworkTeacher {
    plan: Inference,
    places: Vec<(Tap, Place)>,
    classifier: Option<FrozenClassifier>,
    input: TeacherInput,
}

impl NetworkTeacher {
    /// Compiles `network` for inference; `renormalise` turns the student's pixels into its own.
    /// Values at `taps` can be asked for, as far as the network has them.
    #[must_use]
    pub fn new(network: &Network, renormalise: Option<Renormalise>, taps: &[Tap]) -> Self {
        let input = TeacherInput::new(network.graph().input_shape(), renormalise, None);
        Self::with_input(network, input, taps)
    }

    /// Compiles `network` for inference; `input` turns the student's images into its own. Values at
    /// `taps` can be asked for, as far as the network has them.
    ///
    /// # Panics
    /// If the network is for images of another shape than `input` gives.
    #[must_use]
    pub fn with_input(network: &Network, input: TeacherInput, taps: &[Tap]) -> Self {
        assert_eq!(network.graph().input_shape(), input.shape(), "images of the network");
        let graph = network.graph();
        let places = taps.iter().filter_map(|&tap| Some((tap, Place::of(tap, graph)?)));
        let places: Vec<(Tap, Place)> = places.collect();
        let (mut values, mut held) = (Vec::new(), Vec::new());
        for (_, place) in &places {
            match *place {
                Place::Value(value) => values.push(value),
                // Two taps may be activated by the same normalisation.
                Place::Before(norm) if !held.contains(&norm) => held.push(norm),
                Place::Before(_) => {}
            }
        }
        Self {
            plan: Inference::holding(network, &values, &held),
            places,
            classifier: network
                .classifier()
                .map(|c| FrozenClassifier { weight: c.weight.to_vec(), bias: c.bias.to_vec() }),
            input,
        }
    }

    fn place(&self, tap: Tap) -> Option<Place> {
        self.places.iter().find(|(own, _)| *own == tap).map(|(_, place)| *place)
    }
}

/// Where a plan has a tap.
#[derive(Clone, Copy, Debug)]
enum Place {
    Value(ValueId),
    /// Before the activation behind this normalisation.
    Before(ValueId),
}

impl Place {
    fn of(tap: Tap, graph: &Graph) -> Option<Self> {
        let value = tap.value(graph)?;
        let norm = match tap {
            Tap::BeforeActivation(_) => graph.activated_by(value),
            _ => None,
        };
        Some(norm.map_or(Self::Value(value), Self::Before))
    }
}

impl TeacherSource for NetworkTeacher {
    fn classes(&self) -> usize {
        let graph = self.plan.graph();
        graph.shape(graph.output()).channels
    }

    fn tap_shape(&self, tap: Tap) -> Option<MapShape> {
        self.place(tap).map(|(Place::Value(id) | Place::Before(id))| self.plan.graph().shape(id))
    }

    fn classifier(&self) -> Option<FrozenClassifier> {
        self.classifier.clone()
    }

    fn outputs(&mut self, batch: &TeacherBatch<'_>, taps: &[Tap]) -> Result<TeacherOutputs> {
        let images = self.input.prepare(batch.images);
        let logits = self.plan.run(images, batch.ids.len()).to_vec();
        let maps = taps
            .iter()
            .map(|&tap| match self.place(tap).expect("only taps with a shape are asked for") {
                Place::Value(value) => self.plan.value(value).to_vec(),
                Place::Before(norm) => self.plan.value_before_activation(norm).to_vec(),
            })
            .collect();
        Ok(TeacherOutputs { logits, maps })
    }
}
