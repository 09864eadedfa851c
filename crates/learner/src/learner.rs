//! The student with whatever is trained beside it: how it is made, and what a checkpoint holds of it.

use faculty_data::Input;
use std::sync::Arc;
use std::time::Duration;

use burn::tensor::Device;
use faculty_comm::Group;
use faculty_contract::losses::TaskLoss;
use faculty_contract::{
    AfterStep, Facts, MeanLogits, Method, Point, Projector, Shapes, TapShapes, TeacherTraits,
    TrainingSamples,
};
use faculty_kernels::in_pool;
use faculty_nets::weights::StateDict;
use faculty_nets::{
    FrozenClassifier, Graph, Network, Precision, RuleConfig, Run, Tap, TeacherOutputs, Together,
};

use super::average::WeightAverage;
use super::memory::Memory;
use super::{Compute, Exam, LearningTeacher, Trained};
use crate::trained_parts::takes_part;

/// The student with whatever is trained beside it.
#[derive(Debug)]
pub struct Learner {
    /// The network that is trained and delivered.
    pub student: Trained,
    /// As it was before its first step, if it will begin anew.
    pub(super) initial: Option<Network>,
    pub(super) projectors: Vec<(Tap, Trained)>,
    pub(super) parameters: Option<Trained>,
    pub(super) teachers: Vec<LearningTeacher>,
    pub(super) exam: Option<Exam>,
    pub(super) method: Box<dyn Method>,
    pub(super) after_step: Option<Box<dyn AfterStep>>,
    /// Student and projectors before the last update, if `after_step` reads them.
    pub(super) earlier: Option<Point>,
    pub(super) memory: Memory,
    mean_logits: Option<MeanLogits>,
    /// Floats of a full batch's loss.
    temporaries: usize,
    /// See [`faculty_contract::Parts::batch_statistics`].
    batch_statistics: bool,
    pub(super) samples: Arc<TrainingSamples>,
    pub(super) shapes: Shapes,
    pub(super) seed: u64,
    pub(super) classifiers: Vec<FrozenClassifier>,
    pub(super) device: Device,
    pub(super) precision: Precision,
    pub(super) task: TaskLoss,
    /// Of the student's weights, if that is what counts.
    pub(super) average: Option<WeightAverage>,
    /// Samples whose gradients wait for their update.
    pub(super) waiting: usize,
    pub(super) on_losses: Duration,
    /// Gradients of map terms, kept for the next step.
    pub(super) buffers: Vec<Vec<f32>>,
    /// The ranks that have a part of each batch.
    pub(super) together: Together,
    /// Samples of the batch of all of them.
    pub(super) whole: usize,
}

impl Learner {
    /// Builds the parts that `method` trains beside this student for these teachers.
    #[must_use]
    pub fn new(
        student: Network,
        mut method: Box<dyn Method>,
        teachers: &[TeacherTraits],
        batch_size: usize,
        seed: u64,
        compute: &Compute,
    ) -> Self {
        // Losses run on burn's CPU backend whatever else is compiled in.
        let device = Device::flex().autodiff();
        let shapes = Shapes::of(&student, teachers, batch_size);
        method.prepare(Facts::Maps(&shapes));
        method.prepare(Facts::Shapes(&shapes));
        let parts = method.parts(&shapes);
        let projectors = projectors(parts.projectors, seed)
            .map(|(tap, network)| (tap, Trained::new(network, compute)))
            .collect();
        let initial = method.setup().restart_after.map(|_| student.clone());
        let parameters = (!parts.parameters.is_empty()).then(|| {
            let graph = Graph::of_parameters(parts.parameters);
            Trained::new(Network::from_graph("method", graph, seed), compute)
        });
        let classifiers =
            teachers.iter().filter_map(|teacher| teacher.classifier.clone()).collect();
        let student = Trained::new(student, compute);
        let samples = Arc::<TrainingSamples>::default();
        let memory = Memory::new(parts.memory, seed);
        let (on_losses, buffers) = (Duration::ZERO, Vec::new());
        Self {
            student,
            initial,
            projectors,
            parameters,
            teachers: Vec::new(),
            exam: None,
            method,
            after_step: parts.after_step,
            earlier: None,
            memory,
            mean_logits: parts.mean_logits,
            temporaries: parts.temporaries,
            batch_statistics: parts.batch_statistics,
            samples,
            shapes,
            seed,
            classifiers,
            device,
            precision: Precision::F32,
            task: TaskLoss::default(),
            average: None,
            waiting: 0,
            on_losses,
            buffers,
            together: Together::default(),
            whole: 0,
        }
    }

    /// With the other ranks of a training, each of which has such a learner and a part of every batch:
    /// gradients and records are then those of the whole batch, on all of them. The method
    /// [averages samples](Learner::averages_samples).
    ///
    /// A failure of a rank shows in [`Group::check`] after the step.
    #[must_use]
    pub fn with_group(mut self, group: Group) -> Self {
        self.together = Together { group, absent: false };
        self.tell_together();
        self
    }

    /// How many samples the batch of all ranks has of which the next steps get this rank's part; `absent`
    /// where that is empty: the rank then computes on some other sample, which does not count.
    pub fn set_whole_batch(&mut self, samples: usize, absent: bool) {
        self.whole = samples;
        if self.together.absent != absent {
            self.together.absent = absent;
            self.tell_together();
        }
    }

    fn tell_together(&mut self) {
        let together = self.together.clone();
        self.trained_mut().for_each(|(_, trained)| trained.run.set_together(together.clone()));
    }

    /// Whether several ranks may share a batch, see [`faculty_contract::Setup::averages_samples`]: nothing is remembered
    /// from step to step either, and nothing happens between steps.
    #[must_use]
    pub fn averages_samples(&self) -> bool {
        self.method.setup().averages_samples
            && !self.batch_statistics
            && self.after_step.is_none()
            && self.teachers.is_empty()
            && self.memory().is_empty()
    }

    /// Whether the steps are computed by the kernels of this CPU.
    #[must_use]
    pub fn is_on_kernels(&self) -> bool {
        matches!(self.student.run, Run::Kernels(_))
    }

    /// For training on `samples`; needed by methods that number them
    /// ([`faculty_contract::Needs::sample_numbers`]).
    #[must_use]
    pub fn with_samples(mut self, samples: TrainingSamples) -> Self {
        self.shapes.samples = samples.len();
        self.memory = Memory::new(self.method.parts(&self.shapes).memory, self.seed);
        self.samples = Arc::new(samples);
        self
    }

    /// With this cross-entropy against the labels in the place of the plain one.
    #[must_use]
    pub fn with_task_loss(mut self, task: TaskLoss) -> Self {
        self.task = task;
        self
    }

    /// With a moving average of the student's weights beside it, of this decay, above 0 and below 1:
    /// from then on it is [`Learner::evaluated`].
    #[must_use]
    pub fn with_average(mut self, decay: f64) -> Self {
        self.average = Some(WeightAverage::new(decay, &self.student.network));
        self
    }

    /// The network that is measured and delivered: the average of the student's weights if there is
    /// one, else the student.
    #[must_use]
    pub fn evaluated(&self) -> &Network {
        self.average.as_ref().map_or(&self.student.network, |average| &average.network)
    }

    /// The same, to set what its training leaves open.
    pub fn evaluated_mut(&mut self) -> &mut Network {
        self.average.as_mut().map_or(&mut self.student.network, |average| &mut average.network)
    }

    /// The average of the student's weights, for checkpoints.
    #[must_use]
    pub fn average(&self) -> Option<&Network> {
        self.average.as_ref().map(|average| &average.network)
    }

    /// The same, for loading a checkpoint.
    pub fn average_mut(&mut self) -> Option<&mut Network> {
        self.average.as_mut().map(|average| &mut average.network)
    }

    /// With these rules for what an update does with each parameter; the factor of the classifier's
    /// learning rate is the student's alone.
    #[must_use]
    pub fn with_rules(mut self, config: &RuleConfig) -> Self {
        for (name, trained) in self.trained_mut() {
            let classifier_rate_factor =
                if name == "student" { config.classifier_rate_factor } else { 1.0 };
            trained.set_rules(&RuleConfig { classifier_rate_factor, ..*config });
        }
        self
    }

    /// With steps in this precision: of everything that is trained, learning teachers included.
    #[must_use]
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self.trained_mut().for_each(|(_, trained)| trained.run.set_precision(precision));
        self
    }

    /// With teachers that learn from the student ([`faculty_contract::Needs::learning_teachers`]), and the samples that
    /// show how well it learnt.
    #[must_use]
    pub fn with_teachers(mut self, teachers: Vec<LearningTeacher>, exam: Exam) -> Self {
        (self.teachers, self.exam) = (teachers, Some(exam));
        let precision = self.precision;
        self.with_precision(precision)
    }

    /// What the learning teachers say of inputs of the student, as they are now.
    ///
    /// # Panics
    /// When the inputs do not fit the networks.
    pub fn teacher_outputs(&mut self, inputs: Input<'_>, batch: usize) -> Vec<TeacherOutputs> {
        let teachers = &mut self.teachers;
        in_pool(|| teachers.iter_mut().map(|teacher| teacher.outputs(inputs, batch)).collect())
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &dyn Method {
        self.method.as_ref()
    }

    /// Time since the last call that went into losses: the method's terms and their gradients by
    /// logits, maps and parameters, without the networks themselves.
    pub fn take_loss_time(&mut self) -> Duration {
        std::mem::take(&mut self.on_losses)
    }

    /// Networks trained by this learner with their names in checkpoints.
    pub fn trained(&self) -> impl Iterator<Item = (String, &Trained)> {
        let projectors =
            self.projectors.iter().enumerate().map(|(k, (_, c))| (format!("connector.{k}"), c));
        let parameters = self.parameters.iter().map(|p| ("method".to_owned(), p));
        let teachers =
            self.teachers.iter().enumerate().map(|(k, t)| (format!("teacher.{k}"), &t.trained));
        std::iter::once(("student".to_owned(), &self.student))
            .chain(projectors)
            .chain(parameters)
            .chain(teachers)
    }

    /// The same, for loading a checkpoint.
    pub fn trained_mut(&mut self) -> impl Iterator<Item = (String, &mut Trained)> {
        let projectors =
            self.projectors.iter_mut().enumerate().map(|(k, (_, c))| (format!("connector.{k}"), c));
        let parameters = self.parameters.iter_mut().map(|p| ("method".to_owned(), p));
        let teachers = self
            .teachers
            .iter_mut()
            .enumerate()
            .map(|(k, t)| (format!("teacher.{k}"), &mut t.trained));
        std::iter::once(("student".to_owned(), &mut self.student))
            .chain(projectors)
            .chain(parameters)
            .chain(teachers)
    }

    /// What the method does between steps, for checkpoints.
    #[must_use]
    pub fn method_after_step(&self) -> Option<&dyn AfterStep> {
        self.after_step.as_deref()
    }

    /// The same, for loading a checkpoint.
    pub fn method_after_step_mut(&mut self) -> Option<&mut (dyn AfterStep + 'static)> {
        self.after_step.as_deref_mut()
    }

    /// What the method remembers from step to step, for checkpoints.
    #[must_use]
    pub fn memory(&self) -> StateDict {
        self.memory.state()
    }

    /// Floats that a step needs beside the networks: what the teachers say of a batch, copies of it,
    /// and what the loss makes of all.
    pub fn loss_floats(&self, copies: usize) -> usize {
        let Shapes { classes, batch_size, teachers, .. } = &self.shapes;
        let of_teacher = |taps: &TapShapes| -> usize {
            classes + taps.values().map(|shape| shape.elements()).sum::<usize>()
        };
        let said: usize = teachers.iter().map(of_teacher).sum();
        let said = said.saturating_mul(*batch_size).saturating_mul(copies);
        said.saturating_add(self.temporaries)
    }

    /// Takes [`Learner::memory`] back.
    ///
    /// # Errors
    /// When an array is missing or of another shape, in words.
    pub fn set_memory(&mut self, state: StateDict) -> std::result::Result<(), String> {
        self.memory.set_state(state)
    }

    /// What the method says of the student's mean logits, see [`MeanLogits`].
    pub fn mean_logits(&self) -> Option<Vec<f32>> {
        self.mean_logits.and_then(|from| from(&self.memory.read()))
    }

    /// Puts student and projectors back to where they began, for [`faculty_contract::Setup::restart_after`].
    pub fn restart(&mut self) {
        if let Some(initial) = &self.initial {
            self.student.begin(initial.clone());
            if let Some(average) = &mut self.average {
                average.network.clone_from(initial);
            }
        }
        let projectors = projectors(self.method.parts(&self.shapes).projectors, self.seed);
        for ((_, projector), (_, network)) in self.projectors.iter_mut().zip(projectors) {
            projector.begin(network);
        }
    }

    /// Running statistics of student and projectors, which every forward pass moves.
    pub fn running_statistics(&self) -> Vec<Vec<Vec<f32>>> {
        self.trained().map(|(_, trained)| trained.network.buffers().to_vec()).collect()
    }

    /// Puts them back.
    pub fn set_running_statistics(&mut self, statistics: Vec<Vec<Vec<f32>>>) {
        for ((_, trained), buffers) in self.trained_mut().zip(statistics) {
            trained.network.buffers_mut().clone_from_slice(&buffers);
        }
    }

    /// The first gradient of the last [`Learner::gradients`] that is not a number.
    pub fn broken_gradient(&self, epoch: usize) -> Option<(String, f64)> {
        let needs = self.method.needs(epoch);
        let mut trained = self.trained().filter(|(name, _)| takes_part(&needs, name));
        trained.find_map(|(part, trained)| {
            let specs = trained.network.graph().parameters();
            let mut all = specs.iter().zip(trained.gradients());
            all.find_map(|(spec, values)| {
                let bad = values.iter().find(|value| !value.is_finite())?;
                Some((format!("the gradient of `{}` of the {part}", spec.name), f64::from(*bad)))
            })
        })
    }
}

/// What a method trains on the student's maps, before its first step.
fn projectors(all: Vec<Projector>, seed: u64) -> impl Iterator<Item = (Tap, Network)> {
    all.into_iter().enumerate().map(move |(k, projector)| {
        // Its own seed, so that equal teachers do not start with equal projectors.
        let seed = seed.wrapping_add(1 + k as u64);
        (projector.tap, Network::from_graph(&format!("connector {k}"), projector.graph, seed))
    })
}
