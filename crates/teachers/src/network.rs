//! A network of this program as a teacher: logits, every tap, its classifier.

use faculty_nets::{
    FrozenClassifier, Graph, Inference, MapShape, Network, Precision, Renormalise, Tap,
    TeacherInput, TeacherOutputs, ValueId,
};

use crate::error::Result;
use crate::source::{TeacherBatch, TeacherSource};

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
        Self::with_input(network, input, taps, Precision::F32)
    }

    /// Compiles `network` for inference in a precision; `input` turns the student's images into its
    /// own. Values at `taps` can be asked for, as far as the network has them.
    ///
    /// # Panics
    /// If the network is for images of another shape than `input` gives.
    #[must_use]
    pub fn with_input(
        network: &Network,
        input: TeacherInput,
        taps: &[Tap],
        precision: Precision,
    ) -> Self {
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
            plan: Inference::with_precision(network, &values, &held, precision),
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
        let input = self.input.prepare(batch.inputs);
        let logits = self.plan.run(input, batch.ids.len()).to_vec();
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
