//! Distillation methods: one file each, one row each in [`METHODS`].
//!
//! A method says what it needs and computes loss terms by name; the trainer provides the rest and
//! knows no method by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::Tensor;
use burn::tensor::Int;
use faculty_nets::{Graph, MapShape, Network, ParameterSpec};

use crate::class_cost::ClassCost;
use crate::learner::{BetweenSteps, TeacherTraits, TrainingSamples, Write};
use crate::losses::maps::MapValues;
use crate::preflight::TeacherProfile;
use crate::tap::Tap;
use crate::teacher::FrozenClassifier;

mod aekd;
mod aekd_f;
mod amtml_kd;
mod at;
mod aver;
mod best_teacher;
mod bilevel;
mod ca_mkd;
mod calibrated_confidence;
mod ce;
mod ckd;
mod class_reliability;
mod combination;
mod costs;
mod crd;
mod dih;
mod dist;
mod dkd;
mod dml;
mod dpk;
mod ebkd;
mod features;
mod fitnet;
mod fitnet_mkd;
mod hints;
mod ikd;
mod kd;
mod layers;
mod max_probability;
mod mean_of_logits;
mod mean_of_probabilities;
mod mmkd;
mod mt_bert;
pub(crate) mod objective;
mod options;
mod ot;
mod output_layer;
mod pkt;
mod random_teacher;
mod registry;
mod reviewkd;
mod rkd;
mod semckd;
mod simkd;
mod sp;
mod transformer;
mod transport;
mod vid;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod profiled;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod published;
#[cfg(test)]
mod reference;

pub use aekd::Aekd;
pub use aekd_f::{AekdF, AekdFConfig};
pub use amtml_kd::{AmtmlKd, AmtmlKdConfig};
pub use at::{At, AtConfig};
pub use aver::Aver;
pub use best_teacher::BestTeacher;
pub use bilevel::{gradient_by_teacher_logits, gradient_by_weights, probe_step};
pub use ca_mkd::{CaMkd, CaMkdConfig, InterWeight, OutputWeight, StudentMap};
pub use calibrated_confidence::{CalibratedConfidence, CalibratedConfidenceConfig};
pub use ce::Ce;
pub use ckd::{Ckd, CkdConfig, Tuples};
pub use class_reliability::{ClassReliability, ClassReliabilityConfig};
pub use combination::build;
pub(crate) use combination::check as check_combination;
pub use crd::{Crd, CrdConfig};
pub use dih::{Dih, DihConfig, Reduce};
pub use dist::{Dist, DistConfig};
pub use dkd::{Dkd, DkdConfig};
pub use dml::Dml;
pub use dpk::{Dpk, DpkConfig, Ratio, minibatch_cka, prior_ratio};
pub use ebkd::Ebkd;
pub use features::{BesideConfig, Stages};
pub use fitnet::{Fitnet, FitnetConfig};
pub use fitnet_mkd::{FitnetMkd, FitnetMkdConfig};
pub use ikd::{Ikd, IkdConfig};
pub use kd::{Kd, KdConfig};
pub use max_probability::MaxProbability;
pub use mean_of_logits::MeanOfLogits;
pub use mean_of_probabilities::MeanOfProbabilities;
pub use mmkd::{Mmkd, MmkdConfig};
pub use mt_bert::{reliability_weights, weighted_soft_cross_entropy};
pub use ot::{Ot, OtConfig};
pub use output_layer::OutputConfig;
pub use pkt::{Pkt, PktConfig};
pub use random_teacher::RandomTeacher;
pub use registry::{METHODS, MethodInfo, Status, find, specs};
pub use reviewkd::{ReviewKd, ReviewKdConfig};
pub use rkd::{Rkd, RkdConfig};
pub use semckd::{SemCkd, SemCkdConfig};
pub use simkd::{SimKd, SimKdConfig};
pub use sp::{Sp, SpConfig};
pub use transport::{Transport, entropic_transport, label_cost};
pub use vid::{Vid, VidConfig};

/// Why [`Method::prepare`] has been called.
const PREPARED: &str = "a run tells the method about its teachers before the first step";

/// Where a released code multiplies the distillation terms by another constant than "weights sum
/// to 1", this chooses between the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// Weights sum to 1: equal strength at equal α for every method.
    #[default]
    Unit,
    /// The factor of the authors' released code.
    Official,
}

/// What a method reads in one epoch. The trainer computes nothing that is not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Teacher logits.
    pub teacher_logits: bool,
    /// Teacher logits over each teacher's own classes, see [`Method::own_classes`].
    pub own_logits: bool,
    /// Each teacher's classifier.
    pub teacher_classifiers: bool,
    /// Each teacher's values at these places.
    pub teacher_taps: Vec<Tap>,
    /// The student's values at these places, beside its logits.
    pub student_taps: Vec<Tap>,
    /// The student's places that its connectors read.
    pub connector_taps: Vec<Tap>,
    /// Whether [`Method::connectors`] and [`Method::parameters`] take part and are trained.
    pub trained_parts: bool,
    /// Whether [`Method::map_terms`] reads the connectors' results and the teachers' maps; then
    /// [`Step`] has neither.
    pub map_terms: bool,
    /// Whether [`Step`] has connectors' results and teachers' maps all the same.
    pub maps_on_tape: bool,
    /// Whether [`Method::parameters`] stay as they are this epoch; [`Method::connectors`] go on.
    pub frozen_parameters: bool,
    /// Whether every batch must be full: trained parts are as wide as the batch.
    pub full_batches: bool,
    /// Whether [`Step::sample_numbers`] are filled in.
    pub sample_numbers: bool,
    /// Whether the teachers are trained too: networks of the learner, not sources that say what they
    /// always say.
    pub learning_teachers: bool,
    /// Fewest samples of a batch; 2 or more where samples are compared with each other.
    pub min_batch: usize,
}

impl Needs {
    /// Whether [`Step`] has the maps.
    pub(crate) fn on_tape(&self) -> bool {
        !self.map_terms || self.maps_on_tape
    }

    /// Both together.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        let both = |mut own: Vec<Tap>, other: Vec<Tap>| {
            own.extend(other);
            own.sort_unstable();
            own.dedup();
            own
        };
        Self {
            teacher_logits: self.teacher_logits || other.teacher_logits,
            own_logits: self.own_logits || other.own_logits,
            teacher_classifiers: self.teacher_classifiers || other.teacher_classifiers,
            teacher_taps: both(self.teacher_taps, other.teacher_taps),
            student_taps: both(self.student_taps, other.student_taps),
            connector_taps: both(self.connector_taps, other.connector_taps),
            trained_parts: self.trained_parts || other.trained_parts,
            map_terms: self.map_terms || other.map_terms,
            maps_on_tape: self.maps_on_tape || other.maps_on_tape,
            frozen_parameters: self.frozen_parameters || other.frozen_parameters,
            full_batches: self.full_batches || other.full_batches,
            sample_numbers: self.sample_numbers || other.sample_numbers,
            learning_teachers: self.learning_teachers || other.learning_teachers,
            min_batch: self.min_batch.max(other.min_batch),
        }
    }

    /// Whether teachers are run at all.
    #[must_use]
    pub fn teachers(&self) -> bool {
        self.teacher_logits || self.own_logits || !self.teacher_taps.is_empty()
    }
}

/// Sizes that a method may build its trained parts for.
#[derive(Clone, Debug)]
pub struct Shapes {
    /// Number of classes.
    pub classes: usize,
    /// Samples of a full batch.
    pub batch_size: usize,
    /// Every tap that the student has.
    pub student: TapShapes,
    /// Of each teacher the taps that the method asks for in any epoch.
    pub teachers: Vec<TapShapes>,
}

/// Shape at each tap that a network has.
pub type TapShapes = BTreeMap<Tap, MapShape>;

/// A small trainable network on one of the student's maps.
#[derive(Clone, Debug)]
pub struct Connector {
    /// Where it reads the student.
    pub tap: Tap,
    /// What it computes from there.
    pub graph: Graph,
}

/// One teacher's frozen classifier: weight `[classes, channels]`, bias `[classes]`.
#[derive(Clone, Debug)]
pub struct ClassifierTensors {
    /// `[classes, channels]`.
    pub weight: Tensor<2>,
    /// `[classes]`.
    pub bias: Tensor<1>,
}

/// Everything a method sees of one batch. `student_logits`, `student_maps`, `connected_maps` and
/// `parameters` carry gradients.
#[derive(Clone, Debug)]
pub struct Step {
    /// Current epoch, from 1.
    pub epoch: usize,
    /// Another number for every batch of a run; the start of whatever a method draws at random.
    pub draw: u64,
    /// `[batch]`, in `0..classes`.
    pub labels: Tensor<1, Int>,
    /// All training samples by number.
    pub samples: Arc<TrainingSamples>,
    /// The batch's among them, `[batch]`; empty unless [`Needs::sample_numbers`].
    pub sample_numbers: Vec<usize>,
    /// The arrays of [`Method::memory`], flat.
    pub memory: Vec<Arc<Vec<f32>>>,
    /// `[batch, classes]`.
    pub student_logits: Tensor<2>,
    /// The student's values at each of [`Needs::student_taps`], `[batch, channels, height, width]`.
    pub student_maps: Vec<Tensor<4>>,
    /// The results of [`Method::connectors`], `[batch, channels, height, width]`; empty unless
    /// [`Needs::trained_parts`].
    pub connected_maps: Vec<Tensor<4>>,
    /// [`Method::parameters`], flat; empty unless [`Needs::trained_parts`].
    pub parameters: Vec<Tensor<1>>,
    /// `[teachers, batch, classes]`; absent unless asked for.
    pub teacher_logits: Option<Tensor<3>>,
    /// `[teachers, batch]`: how the terms of a combination weigh the teachers; `None` for 1/K.
    pub term_weights: Option<Tensor<2>>,
    /// For each teacher `[batch, its own classes]`; empty unless asked for.
    pub own_logits: Vec<Tensor<2>>,
    /// For each teacher its values at each of [`Needs::teacher_taps`],
    /// `[batch, channels, height, width]`.
    pub teacher_maps: Vec<Vec<Tensor<4>>>,
    /// One a teacher; empty unless asked for.
    pub teacher_classifiers: Vec<ClassifierTensors>,
}

impl Step {
    /// A step of logits alone; teacher logits are `[teachers, batch, classes]`.
    #[must_use]
    pub fn of_logits(labels: Tensor<1, Int>, student: Tensor<2>, teachers: Tensor<3>) -> Self {
        Self {
            epoch: 1,
            draw: 0,
            labels,
            samples: Arc::default(),
            sample_numbers: Vec::new(),
            memory: Vec::new(),
            student_logits: student,
            student_maps: Vec::new(),
            connected_maps: Vec::new(),
            parameters: Vec::new(),
            teacher_logits: Some(teachers),
            term_weights: None,
            own_logits: Vec::new(),
            teacher_maps: Vec::new(),
            teacher_classifiers: Vec::new(),
        }
    }

    /// Teacher logits of a method that asked for them.
    pub(crate) fn teacher_logits(&self) -> &Tensor<3> {
        self.teacher_logits.as_ref().expect("the trainer provides what `needs` asks for")
    }
}

/// One named part of a loss; the loss is `Σ weight · value`.
#[derive(Clone, Debug)]
pub struct Term {
    /// Name in logs: `task`, `kd`, `intermediate`.
    pub name: &'static str,
    /// Its constant.
    pub weight: f64,
    /// Its value before weighting, `[1]`.
    pub value: Tensor<1>,
}

/// Weights that a method gave to its teachers, for the log.
#[derive(Clone, Debug)]
pub struct TeacherWeights {
    /// Where they act: `kd` or `intermediate`.
    pub level: &'static str,
    /// `[teachers, batch]`.
    pub weights: Tensor<2>,
}

/// A method's result for one batch.
#[derive(Clone, Debug)]
pub struct Loss {
    /// Parts of the loss.
    pub terms: Vec<Term>,
    /// Teacher weights at each level that has them.
    pub teacher_weights: Vec<TeacherWeights>,
}

/// The maps of one batch where they lie, for [`Method::map_terms`].
#[derive(Clone, Debug)]
pub struct MapStep<'a> {
    /// Current epoch, from 1.
    pub epoch: usize,
    /// `[batch]`.
    pub labels: &'a [u32],
    /// The results of [`Method::connectors`].
    pub connected: Vec<MapValues<'a>>,
    /// For each teacher its values at each of [`Needs::teacher_taps`].
    pub teachers: Vec<Vec<&'a [f32]>>,
    /// Each teacher's logits, `[batch, classes]`.
    pub teacher_logits: Vec<&'a [f32]>,
    /// One a teacher, of those that have one.
    pub classifiers: &'a [FrozenClassifier],
}

/// A term of the loss that brings its own gradient.
#[derive(Clone, Debug)]
pub struct MapTerm {
    /// Name in logs.
    pub name: &'static str,
    /// Its constant.
    pub weight: f64,
    /// Its value before weighting.
    pub value: f64,
    /// For each connector the gradient of `weight · value` by its result.
    pub gradients: Vec<Vec<f32>>,
    /// Teacher weights `[teachers, batch]` for the log.
    pub teacher_weights: Vec<f64>,
}

/// A distillation method with its constants.
pub trait Method: Send + std::fmt::Debug {
    /// What the method reads in `epoch` (from 1).
    fn needs(&self, epoch: usize) -> Needs;

    /// Told first of all which maps there are: a method that takes all of them decides here, and
    /// [`Method::needs`] names those that it takes from then on; before, all that it might take.
    /// Teachers' shapes are those at the taps of [`Method::needs`], as far as they have them.
    fn choose_maps(&mut self, shapes: &Shapes) {
        let _ = shapes;
    }

    /// Told before training, and before its objective is shown, which sizes it has to do with.
    fn fit_to(&mut self, shapes: &Shapes) {
        let _ = shapes;
    }

    /// The network that is trained and delivered, made of the recipe's student at the start of a
    /// run; a function of its arguments.
    ///
    /// # Errors
    /// When it cannot be made of this student.
    fn student(
        &self,
        student: Network,
        teachers: &[TeacherTraits],
        seed: u64,
    ) -> faculty_nets::Result<Network> {
        let _ = (teachers, seed);
        Ok(student)
    }

    /// Epochs of a first training, after which student and connectors begin anew, with a learning
    /// rate that does so too; [`Method::parameters`] and [`Method::memory`] stay. The result is the
    /// student of the second training.
    fn restart_after(&self) -> Option<usize> {
        None
    }

    /// Small trainable networks on the student's maps, trained with the student.
    ///
    /// They read [`Needs::connector_taps`], which the run has checked to be there.
    fn connectors(&self, shapes: &Shapes) -> Vec<Connector> {
        let _ = shapes;
        Vec::new()
    }

    /// Trained values that are no network of their own, as [`Step::parameters`]; trained with the
    /// student by the same optimiser.
    fn parameters(&self, shapes: &Shapes) -> Vec<ParameterSpec> {
        let _ = shapes;
        Vec::new()
    }

    /// Arrays that the method remembers from step to step, as [`Step::memory`]; no gradient reaches
    /// them. `samples` is the number of training samples.
    fn memory(&self, shapes: &Shapes, samples: usize) -> Vec<ParameterSpec> {
        let _ = (shapes, samples);
        Vec::new()
    }

    /// Floats that the loss of a full batch and its gradient hold at a time beside what they read;
    /// for the estimate of a run's memory, by methods in which they grow faster than the batch.
    fn temporaries(&self, shapes: &Shapes) -> usize {
        let _ = shapes;
        0
    }

    /// What the method does after each update, if anything: the only thing that changes
    /// [`Method::parameters`] that are frozen.
    fn between_steps(&self, shapes: &Shapes) -> Option<Box<dyn BetweenSteps>> {
        let _ = shapes;
        None
    }

    /// Whether heads are mounted on all stages of all networks where a recipe names none.
    fn mounts_heads(&self) -> bool {
        false
    }

    /// Share of the training part that is held out for [`crate::learner::Between::exam`].
    fn exam_share(&self) -> f64 {
        0.0
    }

    /// Whether the method needs [`Method::prepare`], and so a validation part.
    fn needs_profiles(&self) -> bool {
        false
    }

    /// Told once before training what the teachers did on the validation part, in their order; not
    /// called without such a part.
    fn prepare(&mut self, teachers: &[TeacherProfile]) {
        let _ = teachers;
    }

    /// Whether teachers keep classes of their own: then nothing is matched to the data's classes,
    /// logits come as [`Step::own_logits`], and [`Method::prepare_classes`] is called.
    fn own_classes(&self) -> bool {
        false
    }

    /// Told once before training how far each teacher's classes are from the data's.
    fn prepare_classes(&mut self, costs: Vec<ClassCost>) {
        let _ = costs;
    }

    /// The loss of one batch.
    fn loss(&self, step: &Step) -> Loss;

    /// The same with what the update after it writes to [`Method::memory`].
    fn loss_and_writes(&self, step: &Step) -> (Loss, Vec<Write>) {
        (self.loss(step), Vec::new())
    }

    /// What the student's logits should be on average over the training samples, `[classes]`, where
    /// the loss leaves that open; made from the arrays of [`Method::memory`]. The student's last bias
    /// is set by it before every measurement, and so before the student is delivered. The loss must
    /// not change when a number is added to all logits of a class.
    fn mean_logits(&self, memory: &[Arc<Vec<f32>>]) -> Option<Vec<f32>> {
        let _ = memory;
        None
    }

    /// A term on maps that is computed with its gradient, off the tape; called when
    /// [`Needs::map_terms`].
    /// `buffers` hold gradients of earlier steps, to be written over.
    fn map_terms(&self, step: &MapStep<'_>, buffers: &mut Vec<Vec<f32>>) -> Vec<MapTerm> {
        let _ = (step, buffers);
        Vec::new()
    }

    /// Whether teacher weights depend on the teachers' maps. If not, they can be looked at on images
    /// of which only the logits are known.
    fn weights_read_maps(&self) -> bool {
        true
    }

    /// The objective in one line with all constants, for the run log; `teachers` is K.
    fn objective(&self, teachers: usize) -> String;
}
