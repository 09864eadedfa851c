//! What a method is told before training: sizes, teachers, samples.

use std::collections::BTreeMap;

use faculty_data::{SampleId, Split};
use faculty_nets::{FrozenClassifier, Graph, MapShape, Network, Tap};

use crate::class_cost::ClassCost;

/// What a method is told before training, each when it becomes known, in this order; a method takes
/// what it has a use for.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Facts<'a> {
    /// Which maps there are. A method that takes all of them decides here, and
    /// [`Method::needs`](crate::Method::needs) names those that it takes from then on; before, all that
    /// it might take. Teachers' shapes are those at the taps that it asks for, as far as they have
    /// them. The learner says it again, with the shapes of the maps that were chosen: a method that has
    /// decided stays with it.
    Maps(&'a Shapes),
    /// What the teachers did on the validation split, in their order; not told without such a split.
    Profiles(&'a [TeacherProfile]),
    /// How far each teacher's classes are from the data's, in the teachers' order; told under
    /// [`ClassSpace::Teacher`](crate::ClassSpace::Teacher).
    ClassCosts(&'a [ClassCost]),
    /// The sizes that it has to do with, once the student is made; the objective is shown after it.
    Shapes(&'a Shapes),
}

/// Sizes that a method may build its trained parts for.
#[derive(Clone, Debug)]
pub struct Shapes {
    /// Number of classes.
    pub classes: usize,
    /// Samples of a full batch.
    pub batch_size: usize,
    /// Training samples; 0 as long as nobody has counted them.
    pub samples: usize,
    /// Every tap that the student has.
    pub student: TapShapes,
    /// Of each teacher the taps that the method asks for in any epoch.
    pub teachers: Vec<TapShapes>,
}

/// Shape at each tap that a network has.
pub type TapShapes = BTreeMap<Tap, MapShape>;

impl Shapes {
    /// Of a student, its teachers, and batches of this size.
    #[must_use]
    pub fn of(student: &Network, teachers: &[TeacherTraits], batch_size: usize) -> Self {
        Self {
            classes: student.classes(),
            batch_size,
            samples: 0,
            student: all_taps(student.graph()),
            teachers: teachers.iter().map(|teacher| teacher.taps.clone()).collect(),
        }
    }
}

/// Every tap that the network has, with its shape.
fn all_taps(graph: &Graph) -> TapShapes {
    Tap::features(graph)
        .chain([Tap::LastFeature, Tap::Map, Tap::Pooled])
        .filter_map(|tap| Some((tap, graph.shape(tap.value(graph)?))))
        .collect()
}

/// What a method may know of a teacher beforehand.
#[derive(Clone, Debug)]
pub struct TeacherTraits {
    /// Shape at each tap that the method asks for.
    pub taps: TapShapes,
    /// Frozen classifier.
    pub classifier: Option<FrozenClassifier>,
}

impl TeacherTraits {
    /// Those of a network at as many of `taps` as it has.
    #[must_use]
    pub fn of_network(network: &Network, taps: &[Tap]) -> Self {
        let graph = network.graph();
        let shape = |tap: Tap| Some((tap, graph.shape(tap.value(graph)?)));
        let classifier = network.classifier();
        Self {
            taps: taps.iter().filter_map(|&tap| shape(tap)).collect(),
            classifier: classifier.map(|classifier| FrozenClassifier {
                weight: classifier.weight.to_vec(),
                bias: classifier.bias.to_vec(),
            }),
        }
    }

    /// Those of a teacher that gives nothing but logits.
    #[must_use]
    pub const fn of_logits() -> Self {
        Self { taps: TapShapes::new(), classifier: None }
    }
}

/// A method may weigh teachers by this; measured on the validation split before training.
#[derive(Clone, Debug, PartialEq)]
pub struct TeacherProfile {
    /// Name in the recipe.
    pub name: String,
    /// Accuracy, percent.
    pub top1: f64,
    /// Mean cross-entropy against the labels, in nats.
    pub nll: f64,
    /// The temperature at which its probabilities fit best.
    pub temperature: f64,
    /// Mean cross-entropy at that temperature, in nats.
    pub calibrated_nll: f64,
    /// Accuracy on the samples of each class, percent, `[classes]`; where the part has no sample of
    /// a class, the accuracy on all.
    pub class_accuracy: Vec<f64>,
    /// Samples of each class, `[classes]`.
    pub class_samples: Vec<usize>,
}

/// The training samples in the order of their ids, which gives each one a number that depends on
/// nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrainingSamples {
    ids: Vec<SampleId>,
    labels: Vec<u32>,
}

impl TrainingSamples {
    /// Those of a training split, with the labels they have there.
    #[must_use]
    pub fn of(part: &Split) -> Self {
        Self::new(part.ids().into_iter().zip(part.labels().iter().copied()))
    }

    /// In any order; ids are unique.
    #[must_use]
    pub fn new(samples: impl IntoIterator<Item = (SampleId, u32)>) -> Self {
        let mut all: Vec<(SampleId, u32)> = samples.into_iter().collect();
        all.sort_unstable();
        let (ids, labels) = all.into_iter().unzip();
        Self { ids, labels }
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Label of each sample, by number.
    #[must_use]
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Number of a sample, if it is one of them.
    #[must_use]
    pub fn number(&self, id: SampleId) -> Option<usize> {
        self.ids.binary_search(&id).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_numbered_by_id_whatever_their_order() {
        let ids = [7_u64, 3, 9].map(SampleId);
        let samples = TrainingSamples::new(ids.into_iter().zip([0, 1, 2]));
        let other = TrainingSamples::new(ids.into_iter().zip([0, 1, 2]).rev());
        assert_eq!(samples, other);
        assert_eq!(ids.map(|id| samples.number(id)), [Some(1), Some(0), Some(2)]);
        assert_eq!((samples.labels(), samples.number(SampleId(4))), (&[1, 0, 2][..], None));
    }
}
