//! One gradient step in one place: student and connectors forward, the method's loss, gradients
//! back, update.

use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::Tensor;
use burn::tensor::{Device, Gradients, Int, TensorData};
use faculty_data::SampleId;
use faculty_kernels::elementwise::add_scaled;
use faculty_kernels::in_pool;
use faculty_nets::weights::StateDict;
use faculty_nets::{Graph, MapShape, Network, Run};

use crate::compute::Compute;
use crate::losses::maps::MapValues;
use crate::methods::{
    ClassifierTensors, Loss, MapStep, MapTerm, Method, Needs, Shapes, Step, TapShapes,
};
use crate::optimizer::{OptimizerConfig, OptimizerState};
use crate::tap::Tap;
use crate::teacher::{FrozenClassifier, TeacherOutputs, TeacherSource};

mod between;
mod memory;
mod teachers;
mod weights;

pub use between::{Between, BetweenSteps};
use memory::Memory;
pub use memory::{TrainingSamples, Write};
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

    /// Gradients of the last step, one per parameter.
    #[must_use]
    pub fn gradients(&self) -> &[Vec<f32>] {
        if self.off_tape.is_empty() { self.run.gradients() } else { &self.off_tape }
    }

    fn gradients_mut(&mut self) -> &mut [Vec<f32>] {
        if self.off_tape.is_empty() { self.run.gradients_mut() } else { &mut self.off_tape }
    }
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
    /// Those of `teacher` at as many of `taps` as it has.
    #[must_use]
    pub fn of(teacher: &dyn TeacherSource, taps: &[Tap]) -> Self {
        let taps = taps.iter().filter_map(|&tap| Some((tap, teacher.tap_shape(tap)?))).collect();
        Self { taps, classifier: teacher.classifier() }
    }

    /// Those of a teacher that gives nothing but logits.
    #[must_use]
    pub const fn of_logits() -> Self {
        Self { taps: TapShapes::new(), classifier: None }
    }
}

/// The student with whatever is trained beside it.
#[derive(Debug)]
pub struct Learner {
    /// The network that is wanted in the end.
    pub student: Trained,
    connectors: Vec<(Tap, Trained)>,
    parameters: Option<Trained>,
    teachers: Vec<LearningTeacher>,
    exam: Option<Exam>,
    method: Box<dyn Method>,
    between: Option<Box<dyn BetweenSteps>>,
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

/// One batch as the learner wants it.
#[derive(Clone, Copy, Debug)]
pub struct LearnerBatch<'a> {
    /// Current epoch, from 1.
    pub epoch: usize,
    /// Another number for every batch of a run.
    pub draw: u64,
    /// `[batch]`; read by methods that number the samples.
    pub ids: &'a [SampleId],
    /// `[batch, channels, height, width]`.
    pub images: &'a [f32],
    /// `[batch]`.
    pub labels: &'a [u32],
    /// One a teacher; what [`Method::needs`] asks for is filled in.
    pub teachers: &'a [TeacherOutputs],
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

/// The leaves of one batch's tape.
struct Leaves {
    logits: Tensor<2>,
    maps: Vec<Tensor<4>>,
    connected: Vec<Tensor<4>>,
    parameters: Vec<Tensor<1>>,
}

/// Gradients by [`Leaves`]; `None` where the loss does not depend on one.
struct LeafGradients {
    logits: Option<Vec<f32>>,
    maps: Vec<Option<Vec<f32>>>,
    connected: Vec<Option<Vec<f32>>>,
    parameters: Vec<Option<Vec<f32>>>,
}

impl LeafGradients {
    /// Adds the gradients that terms off the tape bring for the connectors' results.
    fn add_map_terms(&mut self, terms: Vec<MapTerm>) {
        for gradient in terms.into_iter().map(|term| term.gradients) {
            // Connectors of terms on the tape come after those off it.
            let count = self.connected.len().max(gradient.len());
            self.connected.resize_with(count, || None);
            for (sum, gradient) in self.connected.iter_mut().zip(gradient) {
                match sum {
                    None => *sum = Some(gradient),
                    Some(sum) => add_scaled(sum, 1.0, &gradient),
                }
            }
        }
    }
}

impl Leaves {
    fn gradients(&self, total: Tensor<1>) -> LeafGradients {
        fn of<const D: usize>(leaves: &[Tensor<D>], all: &Gradients) -> Vec<Option<Vec<f32>>> {
            leaves.iter().map(|leaf| leaf.grad(all).map(values)).collect()
        }
        let all = total.backward();
        LeafGradients {
            logits: self.logits.grad(&all).map(values),
            maps: of(&self.maps, &all),
            connected: of(&self.connected, &all),
            parameters: of(&self.parameters, &all),
        }
    }
}

/// What a method may build its trained parts for.
pub(crate) fn shapes(student: &Network, teachers: &[TeacherTraits], batch_size: usize) -> Shapes {
    Shapes {
        classes: student.classes(),
        batch_size,
        student: all_taps(student.graph()),
        teachers: teachers.iter().map(|teacher| teacher.taps.clone()).collect(),
    }
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
        let shapes = shapes(&student, teachers, batch_size);
        method.fit_to(&shapes);
        let connectors = method
            .connectors(&shapes)
            .into_iter()
            .enumerate()
            .map(|(k, connector)| {
                // Its own seed, so that equal teachers do not start with equal connectors.
                let seed = seed.wrapping_add(1 + k as u64);
                let name = format!("connector {k}");
                let network = Network::from_graph(&name, connector.graph, seed);
                (connector.tap, Trained::new(network, compute))
            })
            .collect();
        let parameters = method.parameters(&shapes);
        let parameters = (!parameters.is_empty()).then(|| {
            let graph = Graph::of_parameters(parameters);
            Trained::new(Network::from_graph("method", graph, seed), compute)
        });
        let classifiers =
            teachers.iter().filter_map(|teacher| teacher.classifier.clone()).collect();
        let student = Trained::new(student, compute);
        let between = method.between_steps(&shapes);
        let samples = Arc::<TrainingSamples>::default();
        let memory = Memory::new(method.memory(&shapes, 0), seed);
        let (on_losses, buffers) = (Duration::ZERO, Vec::new());
        Self {
            student,
            connectors,
            parameters,
            teachers: Vec::new(),
            exam: None,
            method,
            between,
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
    pub fn between(&self) -> Option<&dyn BetweenSteps> {
        self.between.as_deref()
    }

    /// The same, for loading a checkpoint.
    pub fn between_mut(&mut self) -> Option<&mut (dyn BetweenSteps + 'static)> {
        self.between.as_deref_mut()
    }

    /// What the method remembers from step to step, for checkpoints.
    #[must_use]
    pub fn memory(&self) -> StateDict {
        self.memory.state()
    }

    /// Takes [`Learner::memory`] back.
    ///
    /// # Errors
    /// When an array is missing or of another shape, in words.
    pub fn set_memory(&mut self, state: StateDict) -> std::result::Result<(), String> {
        self.memory.set_state(state)
    }

    /// Lets the method do what it does after the update with the same batch, rate and clip; the
    /// student stays as it is. Gives numbers that must be finite.
    ///
    /// # Panics
    /// When the batch is not that of the last [`Learner::gradients`].
    pub fn after_step(
        &mut self,
        batch: &LearnerBatch<'_>,
        rate: f32,
        clip: Option<f64>,
    ) -> Vec<(&'static str, f64)> {
        let Some(mut own) = self.between.take() else { return Vec::new() };
        let mut between = Between::new(self, *batch, rate, clip);
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

    fn gradients_in_pool(&mut self, batch: &LearnerBatch<'_>) -> StepRecord {
        let needs = self.method.needs(batch.epoch);
        let started = Instant::now();
        let leaves = self.leaves(batch.labels.len(), &needs);
        let step = self.step(batch, &needs, &leaves);
        let (loss, writes) = self.method.loss_and_writes(&step);
        self.memory.prepare(writes);
        let mut buffers = std::mem::take(&mut self.buffers);
        let map_terms = self.map_terms(batch, &needs, &mut buffers);
        let total = loss
            .terms
            .iter()
            .map(|term| term.value.clone() * term.weight)
            .reduce(|sum, term| sum + term)
            .expect("every method has at least one term");
        let record = self.record(batch.labels, &loss, &map_terms, &total);
        let mut gradients = leaves.gradients(total);
        gradients.add_map_terms(map_terms);
        self.on_losses += started.elapsed();
        self.backward(gradients, &needs, &mut buffers);
        self.buffers = buffers;
        record
    }

    /// Terms that bring their own gradient.
    fn map_terms(
        &self,
        batch: &LearnerBatch<'_>,
        needs: &Needs,
        buffers: &mut Vec<Vec<f32>>,
    ) -> Vec<MapTerm> {
        if !needs.map_terms {
            return Vec::new();
        }
        let connected = self.connectors.iter().map(|(_, connector)| {
            let graph = connector.network.graph();
            let output = graph.output();
            MapValues { values: connector.run.value(output), shape: graph.shape(output) }
        });
        let step = MapStep {
            epoch: batch.epoch,
            labels: batch.labels,
            connected: connected.collect(),
            teachers: batch
                .teachers
                .iter()
                .map(|teacher| teacher.maps.iter().map(Vec::as_slice).collect())
                .collect(),
            teacher_logits: batch.teachers.iter().map(|t| t.logits.as_slice()).collect(),
            classifiers: &self.classifiers,
        };
        self.method.map_terms(&step, buffers)
    }

    /// What the batch showed.
    fn record(
        &self,
        labels: &[u32],
        loss: &Loss,
        map_terms: &[MapTerm],
        on_tape: &Tensor<1>,
    ) -> StepRecord {
        let off_tape: f64 = map_terms.iter().map(|term| term.weight * term.value).sum();
        let output = self.student.network.graph().output();
        let mut record = StepRecord {
            loss: scalar(on_tape) + off_tape,
            terms: loss
                .terms
                .iter()
                .map(|t| TermValue { name: t.name, weight: t.weight, value: scalar(&t.value) })
                .collect(),
            teacher_weights: loss
                .teacher_weights
                .iter()
                .map(|w| (w.level, row_means(&values(w.weights.clone()), labels.len())))
                .collect(),
            correct: count_correct(self.student.run.value(output), labels),
        };
        for term in map_terms {
            let MapTerm { name, weight, value, teacher_weights, .. } = term;
            record.terms.push(TermValue { name, weight: *weight, value: *value });
            if !teacher_weights.is_empty() {
                record.teacher_weights.push((name, row_means(teacher_weights, labels.len())));
            }
        }
        record
    }

    /// Student and connectors forward.
    fn forward(&mut self, batch: &LearnerBatch<'_>, needs: &Needs) {
        let size = batch.labels.len();
        let Trained { network, run, .. } = &mut self.student;
        run.forward(network, batch.images, size);
        for (tap, connector) in self.connectors.iter_mut().filter(|_| needs.trained_parts) {
            let input = tap.value(network.graph()).expect(CHECKED);
            connector.run.forward(&mut connector.network, run.value(input), size);
        }
    }

    /// Their results as leaves of a new tape.
    fn leaves(&self, size: usize, needs: &Needs) -> Leaves {
        let graph = self.student.network.graph();
        let run = &self.student.run;
        let leaf = |run: &Run, graph: &Graph, value| {
            tensor4(run.value(value), size, graph.shape(value), &self.device).require_grad()
        };
        let shape = [size, self.student.network.classes()];
        let logits = tensor2(run.value(graph.output()), shape, &self.device).require_grad();
        let maps = needs
            .student_taps
            .iter()
            .map(|tap| leaf(run, graph, tap.value(graph).expect(CHECKED)))
            .collect();
        let (mut connected, mut parameters) = (Vec::new(), Vec::new());
        if needs.trained_parts {
            for (_, connector) in self.connectors.iter().filter(|_| needs.on_tape()) {
                let own = connector.network.graph();
                connected.push(leaf(&connector.run, own, own.output()));
            }
            let values = self.parameters.iter().flat_map(|p| p.network.parameters());
            parameters = values
                .map(|v| tensor1(v, &self.device).set_require_grad(!needs.frozen_parameters))
                .collect();
        }
        Leaves { logits, maps, connected, parameters }
    }

    /// What the method sees.
    fn step(&self, batch: &LearnerBatch<'_>, needs: &Needs, leaves: &Leaves) -> Step {
        let size = batch.labels.len();
        let classes = self.student.network.classes();
        let teacher_logits =
            needs.teacher_logits.then(|| stack_logits(batch.teachers, size, classes, &self.device));
        let own = |teacher: &TeacherOutputs| {
            tensor2(&teacher.logits, [size, teacher.logits.len() / size], &self.device)
        };
        let own_logits = batch.teachers.iter().filter(|_| needs.own_logits).map(own).collect();
        let maps_of = |(teacher, shapes): (&TeacherOutputs, &TapShapes)| {
            let maps = needs.teacher_taps.iter().zip(&teacher.maps);
            maps.map(|(tap, map)| tensor4(map, size, shapes[tap], &self.device)).collect()
        };
        Step {
            epoch: batch.epoch,
            draw: batch.draw,
            labels: labels(batch.labels, &self.device),
            samples: Arc::clone(&self.samples),
            sample_numbers: if needs.sample_numbers { self.numbers(batch) } else { Vec::new() },
            memory: self.memory.read(),
            student_logits: leaves.logits.clone(),
            student_maps: leaves.maps.clone(),
            connected_maps: leaves.connected.clone(),
            parameters: leaves.parameters.clone(),
            teacher_logits,
            own_logits,
            term_weights: None,
            teacher_maps: if needs.on_tape() {
                batch.teachers.iter().zip(&self.shapes.teachers).map(maps_of).collect()
            } else {
                Vec::new()
            },
            teacher_classifiers: if needs.teacher_classifiers && !needs.map_terms {
                self.classifiers.iter().map(|c| classifier_tensors(c, &self.device)).collect()
            } else {
                Vec::new()
            },
        }
    }

    /// Numbers of the batch's samples.
    fn numbers(&self, batch: &LearnerBatch<'_>) -> Vec<usize> {
        let number = |&id: &SampleId| {
            self.samples.number(id).expect("batches hold samples that the learner was told of")
        };
        batch.ids.iter().map(number).collect()
    }

    /// From the gradients by the leaves back through connectors and student.
    fn backward(&mut self, gradients: LeafGradients, needs: &Needs, buffers: &mut Vec<Vec<f32>>) {
        let graph = self.student.network.graph().clone();
        let mut by_value = Vec::new();
        by_value.extend(gradients.logits.map(|gradient| (graph.output(), gradient)));
        for (tap, gradient) in needs.student_taps.iter().zip(gradients.maps) {
            let value = tap.value(&graph).expect(CHECKED);
            by_value.extend(gradient.map(|gradient| (value, gradient)));
        }
        for ((tap, connector), gradient) in self.connectors.iter_mut().zip(gradients.connected) {
            let value = tap.value(&graph).expect(CHECKED);
            let output = connector.network.graph().output();
            let by_output = gradient.iter().map(|gradient| (output, gradient));
            let by_map = connector.run.backward(&connector.network, by_output, true);
            by_value.extend(by_map.map(|gradient| (value, gradient)));
            buffers.extend(gradient.filter(|_| needs.map_terms));
        }
        if let Some(parameters) = &mut self.parameters {
            // A parameter that this batch's loss does not read has the gradient 0.
            let all = parameters.network.parameters().iter().zip(gradients.parameters);
            parameters.off_tape =
                all.map(|(values, own)| own.unwrap_or_else(|| vec![0.0; values.len()])).collect();
        }
        self.student.run.backward(&self.student.network, by_value, false);
        for id in graph.frozen() {
            // So that they count in no norm.
            self.student.run.gradients_mut()[id.index()].fill(0.0);
        }
    }

    /// Running statistics of student and connectors, which every forward pass moves.
    pub(crate) fn running_statistics(&self) -> Vec<Vec<Vec<f32>>> {
        self.trained().map(|(_, trained)| trained.network.buffers().to_vec()).collect()
    }

    /// Puts them back.
    pub(crate) fn set_running_statistics(&mut self, statistics: Vec<Vec<Vec<f32>>>) {
        for ((_, trained), own) in self.trained_mut().zip(statistics) {
            trained.network.buffers_mut().clone_from_slice(&own);
        }
    }

    /// The first gradient of the last [`Learner::gradients`] that is not a number.
    pub(crate) fn broken_gradient(&self, epoch: usize) -> Option<(String, f64)> {
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
        in_pool(|| self.update_in_pool(config, rate, clip, epoch));
    }

    fn update_in_pool(
        &mut self,
        config: &OptimizerConfig,
        rate: f32,
        clip: Option<f64>,
        epoch: usize,
    ) {
        let needs = self.method.needs(epoch);
        let mut all: Vec<&mut Trained> = self
            .trained_mut()
            .filter(|(name, _)| takes_part(&needs, name))
            .map(|(_, trained)| trained)
            .collect();
        if let Some(limit) = clip {
            let squares: f64 = all
                .iter()
                .flat_map(|trained| trained.gradients())
                .flat_map(|gradient| gradient.iter().map(|&g| f64::from(g).powi(2)))
                .sum();
            let factor = limit / (squares.sqrt() + 1e-6);
            if factor < 1.0 {
                let gradients = all.iter_mut().flat_map(|trained| trained.gradients_mut());
                gradients.flatten().for_each(|g| *g *= factor as f32);
            }
        }
        for Trained { network, run, optimizer, off_tape, .. } in all {
            let gradients = if off_tape.is_empty() { run.gradients() } else { off_tape };
            let graph = Arc::clone(network.graph());
            let trained = |index| !graph.frozen().iter().any(|id| id.index() == index);
            let parameters = network.parameters_mut();
            optimizer.update_where(trained, config, rate, parameters, gradients);
        }
        self.memory.commit();
    }
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

const CHECKED: &str = "the run checks that student and teachers have every tap that is asked for";

/// Every tap that the network has, with its shape.
fn all_taps(graph: &Graph) -> TapShapes {
    (0..graph.features().len())
        .map(Tap::Feature)
        .chain([Tap::Map, Tap::Pooled])
        .filter_map(|tap| Some((tap, graph.shape(tap.value(graph)?))))
        .collect()
}

/// Samples whose label has the highest logit; NaN is never right.
fn count_correct(logits: &[f32], labels: &[u32]) -> usize {
    labels.len() - missed(logits, labels).len()
}

/// Positions of the others.
fn missed(logits: &[f32], labels: &[u32]) -> Vec<usize> {
    let classes = logits.len() / labels.len();
    let rows = logits.chunks_exact(classes).zip(labels).enumerate();
    rows.filter(|(_, (row, label))| {
        let own = row[**label as usize];
        !row.iter().all(|&z| z <= own)
    })
    .map(|(position, _)| position)
    .collect()
}

fn classifier_tensors(classifier: &FrozenClassifier, device: &Device) -> ClassifierTensors {
    let classes = classifier.bias.len();
    let channels = classifier.weight.len() / classes.max(1);
    ClassifierTensors {
        weight: tensor2(&classifier.weight, [classes, channels], device),
        bias: tensor1(&classifier.bias, device),
    }
}

fn stack_logits(
    teachers: &[TeacherOutputs],
    batch: usize,
    classes: usize,
    device: &Device,
) -> Tensor<3> {
    let all: Vec<f32> = teachers.iter().flat_map(|t| &t.logits).copied().collect();
    Tensor::from_data(TensorData::new(all, [teachers.len(), batch, classes]), device)
}

fn tensor1(values: &[f32], device: &Device) -> Tensor<1> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}

fn tensor2(values: &[f32], shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

fn tensor4(values: &[f32], batch: usize, shape: MapShape, device: &Device) -> Tensor<4> {
    let dims = [batch, shape.channels, shape.height, shape.width];
    Tensor::from_data(TensorData::new(values.to_vec(), dims), device)
}

fn labels(labels: &[u32], device: &Device) -> Tensor<1, Int> {
    let labels: Vec<i32> = labels
        .iter()
        .map(|&label| i32::try_from(label).expect("class numbers are checked on reading"))
        .collect();
    Tensor::from_data(TensorData::new(labels.clone(), [labels.len()]), device)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec::<f32>().expect("every tensor here holds f32")
}

fn scalar(value: &Tensor<1>) -> f64 {
    f64::from(values(value.clone())[0])
}

/// Mean of each row of `[rows, columns]`.
fn row_means<T: Copy + Into<f64>>(all: &[T], columns: usize) -> Vec<f64> {
    all.chunks(columns.max(1))
        .map(|row| row.iter().map(|&w| w.into()).sum::<f64>() / columns as f64)
        .collect()
}
