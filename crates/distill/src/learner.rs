//! One gradient step in one place: student and connectors forward, the method's loss, gradients
//! back, update.

use burn::Tensor;
use burn::tensor::{Device, Int, TensorData};
use faculty_nets::{Graph, MapShape, Network, TrainingRun};

use crate::methods::{ClassifierTensors, Method, Needs, Shapes, Step, TapShapes};
use crate::optimizer::{OptimizerConfig, OptimizerState};
use crate::tap::Tap;
use crate::teacher::{FrozenClassifier, TeacherOutputs, TeacherSource};

/// A network in training with its optimiser's memory.
#[derive(Debug)]
pub struct Trained {
    /// Its values.
    pub network: Network,
    /// Its optimiser's memory.
    pub optimizer: OptimizerState,
    run: TrainingRun,
    /// Gradients that came off the tape, for values that no graph computes with.
    off_tape: Vec<Vec<f32>>,
}

impl Trained {
    /// Before its first step.
    #[must_use]
    pub fn new(network: Network) -> Self {
        let (optimizer, run) = (OptimizerState::default(), TrainingRun::new());
        Self { network, optimizer, run, off_tape: Vec::new() }
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
}

/// The student with whatever is trained beside it.
#[derive(Debug)]
pub struct Learner {
    /// The network that is wanted in the end.
    pub student: Trained,
    connectors: Vec<(Tap, Trained)>,
    parameters: Option<Trained>,
    method: Box<dyn Method>,
    teacher_shapes: Vec<TapShapes>,
    classifiers: Vec<ClassifierTensors>,
    device: Device,
}

/// One batch as the learner wants it.
#[derive(Clone, Copy, Debug)]
pub struct LearnerBatch<'a> {
    /// Current epoch, from 1.
    pub epoch: usize,
    /// Another number for every batch of a run.
    pub draw: u64,
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

impl Learner {
    /// Builds the parts that `method` trains beside this student for these teachers.
    #[must_use]
    pub fn new(
        student: Network,
        method: Box<dyn Method>,
        teachers: &[TeacherTraits],
        batch_size: usize,
        seed: u64,
    ) -> Self {
        // Losses run on burn's CPU backend whatever else is compiled in.
        let device = Device::flex().autodiff();
        let shapes = Shapes {
            classes: student.classes(),
            batch_size,
            student: all_taps(student.graph()),
            teachers: teachers.iter().map(|teacher| teacher.taps.clone()).collect(),
        };
        let connectors = method
            .connectors(&shapes)
            .into_iter()
            .enumerate()
            .map(|(k, connector)| {
                // Its own seed, so that equal teachers do not start with equal connectors.
                let seed = seed.wrapping_add(1 + k as u64);
                let name = format!("connector {k}");
                let network = Network::from_graph(&name, connector.graph, seed);
                (connector.tap, Trained::new(network))
            })
            .collect();
        let parameters = method.parameters(&shapes);
        let parameters = (!parameters.is_empty()).then(|| {
            let graph = Graph::of_parameters(parameters);
            Trained::new(Network::from_graph("method", graph, seed))
        });
        let classifiers = teachers
            .iter()
            .filter_map(|teacher| teacher.classifier.as_ref())
            .map(|classifier| classifier_tensors(classifier, &device))
            .collect();
        let student = Trained::new(student);
        let teacher_shapes = shapes.teachers;
        Self { student, connectors, parameters, method, teacher_shapes, classifiers, device }
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &dyn Method {
        self.method.as_ref()
    }

    /// Networks trained by this learner with their names in checkpoints.
    pub fn trained(&self) -> impl Iterator<Item = (String, &Trained)> {
        let connectors =
            self.connectors.iter().enumerate().map(|(k, (_, c))| (format!("connector.{k}"), c));
        let parameters = self.parameters.iter().map(|p| ("method".to_owned(), p));
        std::iter::once(("student".to_owned(), &self.student)).chain(connectors).chain(parameters)
    }

    /// The same, for loading a checkpoint.
    pub fn trained_mut(&mut self) -> impl Iterator<Item = (String, &mut Trained)> {
        let connectors =
            self.connectors.iter_mut().enumerate().map(|(k, (_, c))| (format!("connector.{k}"), c));
        let parameters = self.parameters.iter_mut().map(|p| ("method".to_owned(), p));
        std::iter::once(("student".to_owned(), &mut self.student))
            .chain(connectors)
            .chain(parameters)
    }

    /// Forward, loss and gradients of one batch, without an update. Running statistics move.
    ///
    /// # Panics
    /// When the batch does not fit the networks, or teacher outputs that the method needs are
    /// missing.
    pub fn gradients(&mut self, batch: &LearnerBatch<'_>) -> StepRecord {
        let needs = self.method.needs(batch.epoch);
        let leaves = self.forward(batch, &needs);
        let step = self.step(batch, &needs, &leaves);
        let loss = self.method.loss(&step);
        let total = loss
            .terms
            .iter()
            .map(|term| term.value.clone() * term.weight)
            .reduce(|sum, term| sum + term)
            .expect("every method has at least one term");
        let output = self.student.network.graph().output();
        let record = StepRecord {
            loss: scalar(&total),
            terms: loss
                .terms
                .iter()
                .map(|t| TermValue { name: t.name, weight: t.weight, value: scalar(&t.value) })
                .collect(),
            teacher_weights: loss
                .teacher_weights
                .iter()
                .map(|w| (w.level, row_means(&w.weights)))
                .collect(),
            correct: count_correct(self.student.run.value(output), batch.labels),
        };
        self.backward(total, &needs, &leaves);
        record
    }

    /// Student and connectors forward; their results as leaves of a new tape.
    fn forward(&mut self, batch: &LearnerBatch<'_>, needs: &Needs) -> Leaves {
        let size = batch.labels.len();
        let graph = self.student.network.graph().clone();
        let Trained { network, run, .. } = &mut self.student;
        run.forward(network, batch.images, size);
        let logits = tensor2(run.value(graph.output()), [size, network.classes()], &self.device);
        let leaf = |run: &TrainingRun, graph: &Graph, value, device| {
            tensor4(run.value(value), size, graph.shape(value), device).require_grad()
        };
        let maps = needs
            .student_taps
            .iter()
            .map(|tap| leaf(run, &graph, tap.value(&graph).expect(CHECKED), &self.device))
            .collect();
        let mut connected = Vec::new();
        let mut parameters = Vec::new();
        if needs.trained_parts {
            for (tap, connector) in &mut self.connectors {
                let input = tap.value(&graph).expect(CHECKED);
                connector.run.forward(&mut connector.network, run.value(input), size);
                let own = connector.network.graph();
                connected.push(leaf(&connector.run, own, own.output(), &self.device));
            }
            let values = self.parameters.iter().flat_map(|p| p.network.parameters());
            parameters = values
                .map(|v| tensor1(v, &self.device).set_require_grad(!needs.frozen_parameters))
                .collect();
        }
        Leaves { logits: logits.require_grad(), maps, connected, parameters }
    }

    /// What the method sees.
    fn step(&self, batch: &LearnerBatch<'_>, needs: &Needs, leaves: &Leaves) -> Step {
        let size = batch.labels.len();
        let classes = self.student.network.classes();
        let teacher_logits =
            needs.teacher_logits.then(|| stack_logits(batch.teachers, size, classes, &self.device));
        let maps_of = |(teacher, shapes): (&TeacherOutputs, &TapShapes)| {
            let maps = needs.teacher_taps.iter().zip(&teacher.maps);
            maps.map(|(tap, map)| tensor4(map, size, shapes[tap], &self.device)).collect()
        };
        Step {
            epoch: batch.epoch,
            draw: batch.draw,
            labels: labels(batch.labels, &self.device),
            student_logits: leaves.logits.clone(),
            student_maps: leaves.maps.clone(),
            connected_maps: leaves.connected.clone(),
            parameters: leaves.parameters.clone(),
            teacher_logits,
            teacher_maps: batch.teachers.iter().zip(&self.teacher_shapes).map(maps_of).collect(),
            teacher_classifiers: if needs.teacher_classifiers {
                self.classifiers.clone()
            } else {
                Vec::new()
            },
        }
    }

    /// From the loss back through the tape, the connectors and the student.
    fn backward(&mut self, total: Tensor<1>, needs: &Needs, leaves: &Leaves) {
        let gradients = total.backward();
        let graph = self.student.network.graph().clone();
        let mut by_value = Vec::new();
        if let Some(gradient) = leaves.logits.grad(&gradients) {
            by_value.push((graph.output(), values(gradient)));
        }
        for (tap, leaf) in needs.student_taps.iter().zip(&leaves.maps) {
            let value = tap.value(&graph).expect(CHECKED);
            by_value.extend(leaf.grad(&gradients).map(|gradient| (value, values(gradient))));
        }
        for ((tap, connector), leaf) in self.connectors.iter_mut().zip(&leaves.connected) {
            let value = tap.value(&graph).expect(CHECKED);
            let gradient = leaf.grad(&gradients).map(values);
            let output = connector.network.graph().output();
            let by_map =
                connector.run.backward(&connector.network, gradient.map(|g| (output, g)), true);
            by_value.extend(by_map.map(|g| (value, g)));
        }
        if let Some(parameters) = self.parameters.as_mut().filter(|_| needs.trained_parts) {
            // A parameter that this batch's loss does not read has the gradient 0.
            parameters.off_tape = leaves
                .parameters
                .iter()
                .map(|leaf| leaf.grad(&gradients).map_or_else(|| vec![0.0; leaf.dims()[0]], values))
                .collect();
        }
        self.student.run.backward(&self.student.network, by_value, false);
    }

    /// Updates everything that the last [`Learner::gradients`] reached, at learning rate `rate`;
    /// `clip` scales the gradients of all trained parts to that joint norm first.
    pub fn update(&mut self, config: &OptimizerConfig, rate: f32, clip: Option<f64>, epoch: usize) {
        let needs = self.method.needs(epoch);
        let takes_part = |name: &str| match name {
            "student" => true,
            "method" => needs.trained_parts && !needs.frozen_parameters,
            _ => needs.trained_parts,
        };
        let mut all: Vec<&mut Trained> = self
            .trained_mut()
            .filter(|(name, _)| takes_part(name))
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
        for Trained { network, run, optimizer, off_tape } in all {
            let gradients = if off_tape.is_empty() { run.gradients() } else { off_tape };
            optimizer.update(config, rate, network.parameters_mut(), gradients);
        }
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
    let classes = logits.len() / labels.len();
    logits
        .chunks_exact(classes)
        .zip(labels)
        .filter(|(row, label)| {
            let own = row[**label as usize];
            row.iter().all(|&z| z <= own)
        })
        .count()
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

fn row_means(weights: &Tensor<2>) -> Vec<f64> {
    let [rows, columns] = weights.dims();
    let all = values(weights.clone());
    (0..rows)
        .map(|row| {
            let row = &all[row * columns..(row + 1) * columns];
            row.iter().map(|&w| f64::from(w)).sum::<f64>() / columns as f64
        })
        .collect()
}
