//! One gradient step in one place: student and connectors forward, the method's loss, gradients
//! back, update.

use std::sync::Arc;
use std::time::Duration;

use burn::tensor::Device;
use faculty_kernels::in_pool;
use faculty_nets::weights::StateDict;
use faculty_nets::{Graph, Network, Run};

use faculty_contract::{Method, Needs, Sandbox as _, Shapes, TapShapes};
use faculty_nets::{FrozenClassifier, OptimizerConfig, OptimizerState, Tap, TeacherOutputs};

mod between;
mod compute;
mod error;
mod memory;
mod tape;
mod teachers;
mod weights;

pub use between::Between;
pub use compute::Compute;
pub use error::LearnerError;
pub use faculty_contract::{AfterStep, LearnerBatch, Point, TeacherTraits, TrainingSamples, Write};

use memory::Memory;
pub use teachers::{Exam, LearningTeacher};
pub use weights::WeightProbe;

/// A network in training with its optimiser's memory.
#[derive(Debug)]
pub struct Trained {
    /// Its values.
    pub network: Network,
    /// Its optimiser's memory.
    pub optimizer: OptimizerState,
    /// Its optimiser, if that is not the run's.
    pub own_optimizer: Option<OptimizerConfig>,
    run: Run,
    /// Gradients that came off the tape, for values that no graph computes with.
    off_tape: Vec<Vec<f32>>,
}

impl Trained {
    /// Before its first step, to be computed on `device`.
    #[must_use]
    pub fn new(network: Network, device: &Compute) -> Self {
        let (optimizer, run) = (OptimizerState::default(), device.run());
        Self { network, optimizer, own_optimizer: None, run, off_tape: Vec::new() }
    }

    /// Begins anew with this network, of the same graph.
    fn begin(&mut self, network: Network) {
        (self.network, self.optimizer) = (network, OptimizerState::default());
    }

    /// Gradients of the last step, one per parameter.
    #[must_use]
    pub fn gradients(&self) -> &[Vec<f32>] {
        if self.off_tape.is_empty() { self.run.gradients() } else { &self.off_tape }
    }

    fn gradients_mut(&mut self) -> &mut [Vec<f32>] {
        if self.off_tape.is_empty() { self.run.gradients_mut() } else { &mut self.off_tape }
    }

    /// Whether training moves the parameter at a place.
    fn is_trained(&self) -> impl Fn(usize) -> bool + use<> {
        let graph = Arc::clone(self.network.graph());
        move |index| !graph.frozen().iter().any(|id| id.index() == index)
    }
}

/// The student with whatever is trained beside it.
#[derive(Debug)]
pub struct Learner {
    /// The network that is wanted in the end.
    pub student: Trained,
    /// As it was before its first step, if it will begin anew.
    initial: Option<Network>,
    connectors: Vec<(Tap, Trained)>,
    parameters: Option<Trained>,
    teachers: Vec<LearningTeacher>,
    exam: Option<Exam>,
    method: Box<dyn Method>,
    between: Option<Box<dyn AfterStep>>,
    /// Student and connectors before the last update, if `between` reads them.
    earlier: Option<Point>,
    memory: Memory,
    samples: Arc<TrainingSamples>,
    shapes: Shapes,
    seed: u64,
    classifiers: Vec<FrozenClassifier>,
    device: Device,
    on_losses: Duration,
    /// Gradients of map terms, kept for the next step.
    buffers: Vec<Vec<f32>>,
}

/// A term of the loss at one batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TermValue {
    /// Name of the term.
    pub name: &'static str,
    /// Its constant.
    pub weight: f64,
    /// Its value before weighting.
    pub value: f64,
}

/// What one batch showed.
#[derive(Clone, Debug, PartialEq)]
pub struct StepRecord {
    /// `Σ weight · value`.
    pub loss: f64,
    /// Its parts.
    pub terms: Vec<TermValue>,
    /// Per level: each teacher's weight, mean over the batch.
    pub teacher_weights: Vec<(&'static str, Vec<f64>)>,
    /// Samples that the student got right in training mode.
    pub correct: usize,
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
        method.choose_maps(&shapes);
        method.fit_to(&shapes);
        let connectors = connectors(method.as_ref(), &shapes, seed)
            .map(|(tap, network)| (tap, Trained::new(network, compute)))
            .collect();
        let initial = method.restart_after().map(|_| student.clone());
        let parameters = method.parameters(&shapes);
        let parameters = (!parameters.is_empty()).then(|| {
            let graph = Graph::of_parameters(parameters);
            Trained::new(Network::from_graph("method", graph, seed), compute)
        });
        let classifiers =
            teachers.iter().filter_map(|teacher| teacher.classifier.clone()).collect();
        let student = Trained::new(student, compute);
        let between = method.after_step(&shapes);
        let samples = Arc::<TrainingSamples>::default();
        let memory = Memory::new(method.memory(&shapes, 0), seed);
        let (on_losses, buffers) = (Duration::ZERO, Vec::new());
        Self {
            student,
            initial,
            connectors,
            parameters,
            teachers: Vec::new(),
            exam: None,
            method,
            between,
            earlier: None,
            memory,
            samples,
            shapes,
            seed,
            classifiers,
            device,
            on_losses,
            buffers,
        }
    }

    /// For training on `samples`; needed by methods that number them
    /// ([`Needs::sample_numbers`]).
    #[must_use]
    pub fn with_samples(mut self, samples: TrainingSamples) -> Self {
        self.memory = Memory::new(self.method.memory(&self.shapes, samples.len()), self.seed);
        self.samples = Arc::new(samples);
        self
    }

    /// With teachers that learn from the student ([`Needs::learning_teachers`]), and the samples that
    /// show how well it learnt.
    #[must_use]
    pub fn with_teachers(mut self, teachers: Vec<LearningTeacher>, exam: Exam) -> Self {
        (self.teachers, self.exam) = (teachers, Some(exam));
        self
    }

    /// What the learning teachers say of images of the student, as they are now.
    ///
    /// # Panics
    /// When the images do not fit the networks.
    pub fn teacher_outputs(&mut self, images: &[f32], batch: usize) -> Vec<TeacherOutputs> {
        let teachers = &mut self.teachers;
        in_pool(|| teachers.iter_mut().map(|teacher| teacher.outputs(images, batch)).collect())
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
        let connectors =
            self.connectors.iter().enumerate().map(|(k, (_, c))| (format!("connector.{k}"), c));
        let parameters = self.parameters.iter().map(|p| ("method".to_owned(), p));
        let teachers =
            self.teachers.iter().enumerate().map(|(k, t)| (format!("teacher.{k}"), &t.trained));
        std::iter::once(("student".to_owned(), &self.student))
            .chain(connectors)
            .chain(parameters)
            .chain(teachers)
    }

    /// The same, for loading a checkpoint.
    pub fn trained_mut(&mut self) -> impl Iterator<Item = (String, &mut Trained)> {
        let connectors =
            self.connectors.iter_mut().enumerate().map(|(k, (_, c))| (format!("connector.{k}"), c));
        let parameters = self.parameters.iter_mut().map(|p| ("method".to_owned(), p));
        let teachers = self
            .teachers
            .iter_mut()
            .enumerate()
            .map(|(k, t)| (format!("teacher.{k}"), &mut t.trained));
        std::iter::once(("student".to_owned(), &mut self.student))
            .chain(connectors)
            .chain(parameters)
            .chain(teachers)
    }

    /// What the method does between steps, for checkpoints.
    #[must_use]
    pub fn between(&self) -> Option<&dyn AfterStep> {
        self.between.as_deref()
    }

    /// The same, for loading a checkpoint.
    pub fn between_mut(&mut self) -> Option<&mut (dyn AfterStep + 'static)> {
        self.between.as_deref_mut()
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
        said.saturating_add(self.method.temporaries(&self.shapes))
    }

    /// Takes [`Learner::memory`] back.
    ///
    /// # Errors
    /// When an array is missing or of another shape, in words.
    pub fn set_memory(&mut self, state: StateDict) -> std::result::Result<(), String> {
        self.memory.set_state(state)
    }

    /// What the method says of the student's mean logits, see [`Method::mean_logits`].
    pub fn mean_logits(&self) -> Option<Vec<f32>> {
        self.method.mean_logits(&self.memory.read())
    }

    /// Puts student and connectors back to where they began, for [`Method::restart_after`].
    pub fn restart(&mut self) {
        if let Some(initial) = &self.initial {
            self.student.begin(initial.clone());
        }
        let connectors = connectors(self.method.as_ref(), &self.shapes, self.seed);
        for ((_, own), (_, network)) in self.connectors.iter_mut().zip(connectors) {
            own.begin(network);
        }
    }

    /// Lets the method do what it does after [`Learner::update`] with the same batch and settings;
    /// the student stays as it is. Gives numbers that must be finite.
    ///
    /// # Panics
    /// When the batch is not that of the last [`Learner::gradients`].
    pub fn after_step(
        &mut self,
        batch: &LearnerBatch<'_>,
        config: &OptimizerConfig,
        rate: f32,
        clip: Option<f64>,
    ) -> Vec<(&'static str, f64)> {
        let Some(mut own) = self.between.take() else { return Vec::new() };
        let mut between = Between::new(self, *batch, config, rate, clip);
        let numbers = own.after_step(&mut between);
        between.restore();
        self.between = Some(own);
        numbers
    }

    /// Forward, loss and gradients of one batch, without an update. Running statistics move.
    ///
    /// # Panics
    /// When the batch does not fit the networks, or teacher outputs that the method needs are
    /// missing.
    pub fn gradients(&mut self, batch: &LearnerBatch<'_>) -> StepRecord {
        self.predict(batch);
        self.gradients_of_prediction(batch)
    }

    /// The first half of [`Learner::gradients`]: student and connectors forward, which the
    /// teachers have no part in. Gives the student's logits, `[batch, classes]`.
    ///
    /// # Panics
    /// When the batch does not fit the networks.
    pub fn predict(&mut self, batch: &LearnerBatch<'_>) -> &[f32] {
        let needs = self.method.needs(batch.epoch);
        in_pool(|| self.forward(batch, &needs));
        self.student.run.value(self.student.network.graph().output())
    }

    /// The second half: loss and gradients, from what [`Learner::predict`] left of this batch.
    ///
    /// # Panics
    /// When teacher outputs that the method needs are missing.
    pub fn gradients_of_prediction(&mut self, batch: &LearnerBatch<'_>) -> StepRecord {
        in_pool(|| self.gradients_in_pool(batch))
    }

    /// Running statistics of student and connectors, which every forward pass moves.
    pub fn running_statistics(&self) -> Vec<Vec<Vec<f32>>> {
        self.trained().map(|(_, trained)| trained.network.buffers().to_vec()).collect()
    }

    /// Puts them back.
    pub fn set_running_statistics(&mut self, statistics: Vec<Vec<Vec<f32>>>) {
        for ((_, trained), own) in self.trained_mut().zip(statistics) {
            trained.network.buffers_mut().clone_from_slice(&own);
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

    /// Updates everything that the last [`Learner::gradients`] reached, at learning rate `rate`;
    /// `clip` scales the gradients of all trained parts to that joint norm first.
    pub fn update(&mut self, config: &OptimizerConfig, rate: f32, clip: Option<f64>, epoch: usize) {
        let kept = self.between.as_ref().is_some_and(|between| between.reads_earlier());
        self.earlier = kept.then(|| between::point_of(self, epoch));
        in_pool(|| self.take_step(config, rate, clip, epoch));
        self.memory.commit();
    }

    fn take_step(&mut self, config: &OptimizerConfig, rate: f32, clip: Option<f64>, epoch: usize) {
        let mut all: Vec<&mut Trained> = self.stepped_mut(epoch).collect();
        let gradients = all.iter().flat_map(|trained| trained.gradients());
        let factor = clip.map_or(1.0, |limit| clip_factor(limit, norm(gradients)));
        if factor < 1.0 {
            let gradients = all.iter_mut().flat_map(|trained| trained.gradients_mut());
            gradients.flatten().for_each(|g| *g *= factor as f32);
        }
        for trained in all {
            let is_trained = trained.is_trained();
            let Trained { network, run, optimizer, off_tape, .. } = trained;
            let gradients = if off_tape.is_empty() { run.gradients() } else { off_tape };
            optimizer.update_where(is_trained, config, rate, network.parameters_mut(), gradients);
        }
    }

    /// What a step of this epoch moves.
    fn stepped_mut(&mut self, epoch: usize) -> impl Iterator<Item = &mut Trained> {
        let needs = self.method.needs(epoch);
        let all = self.trained_mut().filter(move |(name, _)| takes_part(&needs, name));
        all.map(|(_, trained)| trained)
    }
}

/// Euclidean norm of all of them together.
fn norm<'a>(gradients: impl IntoIterator<Item = &'a Vec<f32>>) -> f64 {
    gradients.into_iter().flatten().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt()
}

/// What gradients of this norm are multiplied by so that it stays within `limit`.
fn clip_factor(limit: f64, norm: f64) -> f64 {
    (limit / (norm + 1e-6)).min(1.0)
}

/// What `method` trains on the student's maps, before its first step.
fn connectors(
    method: &dyn Method,
    shapes: &Shapes,
    seed: u64,
) -> impl Iterator<Item = (Tap, Network)> {
    let all = method.connectors(shapes).into_iter().enumerate();
    all.map(move |(k, connector)| {
        // Its own seed, so that equal teachers do not start with equal connectors.
        let seed = seed.wrapping_add(1 + k as u64);
        (connector.tap, Network::from_graph(&format!("connector {k}"), connector.graph, seed))
    })
}

/// Whether this part of the learner is trained in an epoch with these needs.
fn takes_part(needs: &Needs, name: &str) -> bool {
    match name {
        "student" => true,
        "method" => needs.trained_parts && !needs.frozen_parameters,
        // Between steps, by an optimiser of their own.
        teacher if teacher.starts_with("teacher.") => false,
        _ => needs.trained_parts,
    }
}
