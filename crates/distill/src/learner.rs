//! One gradient step in one place: student and connectors forward, the method's loss, gradients
//! back, update.

use burn::Tensor;
use burn::tensor::{Device, Int, TensorData};
use faculty_nets::{MapShape, Network, TrainingRun};

use crate::methods::{ClassifierTensors, Method, Needs, Step};
use crate::optimizer::{OptimizerConfig, OptimizerState};
use crate::teacher::{FrozenClassifier, TeacherOutputs};

/// A network in training with its optimiser's memory.
#[derive(Debug)]
pub struct Trained {
    /// Its values.
    pub network: Network,
    /// Its optimiser's memory.
    pub optimizer: OptimizerState,
    run: TrainingRun,
}

impl Trained {
    /// Before its first step.
    #[must_use]
    pub fn new(network: Network) -> Self {
        Self { network, optimizer: OptimizerState::default(), run: TrainingRun::new() }
    }

    /// Gradients of the last step, one per parameter.
    #[must_use]
    pub fn gradients(&self) -> &[Vec<f32>] {
        self.run.gradients()
    }
}

/// What a method may know of the teachers beforehand.
#[derive(Clone, Debug)]
pub struct TeacherTraits {
    /// Shape of the last map.
    pub map: Option<MapShape>,
    /// Frozen classifier.
    pub classifier: Option<FrozenClassifier>,
}

/// The student with whatever is trained beside it.
#[derive(Debug)]
pub struct Learner {
    /// The network that is wanted in the end.
    pub student: Trained,
    /// The method's connectors, one a teacher, or none.
    pub connectors: Vec<Trained>,
    method: Box<dyn Method>,
    teacher_maps: Vec<MapShape>,
    classifiers: Vec<ClassifierTensors>,
    device: Device,
}

/// One batch as the learner wants it.
#[derive(Clone, Copy, Debug)]
pub struct LearnerBatch<'a> {
    /// Current epoch, from 1.
    pub epoch: usize,
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

impl Learner {
    /// Builds the connectors that `method` wants for this student and these teachers.
    #[must_use]
    pub fn new(
        student: Network,
        method: Box<dyn Method>,
        teachers: &[TeacherTraits],
        seed: u64,
    ) -> Self {
        // Losses run on burn's CPU backend whatever else is compiled in.
        let device = Device::flex().autodiff();
        let teacher_maps: Vec<MapShape> = teachers.iter().filter_map(|t| t.map).collect();
        let graphs = match student.graph().map() {
            Some(map) => method.connectors(student.graph().shape(map), &teacher_maps),
            None => Vec::new(),
        };
        let connectors = graphs
            .into_iter()
            .enumerate()
            .map(|(k, graph)| {
                // Its own seed, so that equal teachers do not start with equal connectors.
                let seed = seed.wrapping_add(1 + k as u64);
                Trained::new(Network::from_graph(&format!("connector {k}"), graph, seed))
            })
            .collect();
        let classifiers = teachers
            .iter()
            .filter_map(|teacher| teacher.classifier.as_ref())
            .map(|classifier| classifier_tensors(classifier, &device))
            .collect();
        let student = Trained::new(student);
        Self { student, connectors, method, teacher_maps, classifiers, device }
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &dyn Method {
        self.method.as_ref()
    }

    /// Networks trained by this learner with their names in checkpoints.
    pub fn trained(&self) -> impl Iterator<Item = (String, &Trained)> {
        let connectors =
            self.connectors.iter().enumerate().map(|(k, c)| (format!("connector.{k}"), c));
        std::iter::once(("student".to_owned(), &self.student)).chain(connectors)
    }

    /// The same, for loading a checkpoint.
    pub fn trained_mut(&mut self) -> impl Iterator<Item = (String, &mut Trained)> {
        let connectors =
            self.connectors.iter_mut().enumerate().map(|(k, c)| (format!("connector.{k}"), c));
        std::iter::once(("student".to_owned(), &mut self.student)).chain(connectors)
    }

    /// Forward, loss and gradients of one batch, without an update. Running statistics move.
    ///
    /// # Panics
    /// When the batch does not fit the networks, or teacher outputs that the method needs are
    /// missing.
    pub fn gradients(&mut self, batch: &LearnerBatch<'_>) -> StepRecord {
        let needs = self.method.needs(batch.epoch);
        let size = batch.labels.len();
        let graph = self.student.network.graph().clone();
        let Trained { network, run, .. } = &mut self.student;
        run.forward(network, batch.images, size);

        let classes = network.classes();
        let leaf_logits = tensor2(run.value(graph.output()), [size, classes], &self.device);
        let leaf_logits = leaf_logits.require_grad();
        let active = if needs.teacher_maps { self.connectors.as_mut_slice() } else { &mut [] };
        let mut leaf_maps = Vec::new();
        for connector in active.iter_mut() {
            let map = graph.map().expect("connectors exist only for students with a map");
            connector.run.forward(&mut connector.network, self.student.run.value(map), size);
            let own = connector.network.graph();
            let value = connector.run.value(own.output());
            let leaf = tensor4(value, size, own.shape(own.output()), &self.device);
            leaf_maps.push(leaf.require_grad());
        }

        let step = Step {
            epoch: batch.epoch,
            labels: labels(batch.labels, &self.device),
            student_logits: leaf_logits.clone(),
            connected_maps: leaf_maps.clone(),
            teacher_logits: needs
                .teacher_logits
                .then(|| stack_logits(batch.teachers, size, classes, &self.device)),
            teacher_maps: self.teacher_map_tensors(batch, needs),
            teacher_classifiers: if needs.teacher_classifiers {
                self.classifiers.clone()
            } else {
                Vec::new()
            },
        };
        let loss = self.method.loss(&step);
        let total = loss
            .terms
            .iter()
            .map(|term| term.value.clone() * term.weight)
            .reduce(|sum, term| sum + term)
            .expect("every method has at least one term");
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
            correct: count_correct(self.student.run.value(graph.output()), batch.labels),
        };

        let gradients = total.backward();
        let mut by_value = Vec::new();
        if let Some(gradient) = leaf_logits.grad(&gradients) {
            by_value.push((graph.output(), values(gradient)));
        }
        let active = if needs.teacher_maps { self.connectors.as_mut_slice() } else { &mut [] };
        for (connector, leaf) in active.iter_mut().zip(&leaf_maps) {
            let map = graph.map().expect("checked before the forward pass");
            let gradient = leaf.grad(&gradients).map(values);
            let output = connector.network.graph().output();
            let by_map =
                connector.run.backward(&connector.network, gradient.map(|g| (output, g)), true);
            by_value.extend(by_map.map(|g| (map, g)));
        }
        self.student.run.backward(&self.student.network, by_value, false);
        record
    }

    fn teacher_map_tensors(&self, batch: &LearnerBatch<'_>, needs: Needs) -> Vec<Tensor<4>> {
        if !needs.teacher_maps {
            return Vec::new();
        }
        let size = batch.labels.len();
        batch
            .teachers
            .iter()
            .zip(&self.teacher_maps)
            .map(|(teacher, &shape)| tensor4(&teacher.map, size, shape, &self.device))
            .collect()
    }

    /// Updates everything that the last [`Learner::gradients`] reached, at learning rate `rate`;
    /// `clip` scales the student's and connectors' gradients to that joint norm first.
    pub fn update(&mut self, config: &OptimizerConfig, rate: f32, clip: Option<f64>, epoch: usize) {
        let with_connectors = self.method.needs(epoch).teacher_maps;
        let active = if with_connectors { self.connectors.as_mut_slice() } else { &mut [] };
        let mut all: Vec<&mut Trained> = std::iter::once(&mut self.student).chain(active).collect();
        if let Some(limit) = clip {
            let squares: f64 = all
                .iter()
                .flat_map(|trained| trained.run.gradients())
                .flat_map(|gradient| gradient.iter().map(|&g| f64::from(g).powi(2)))
                .sum();
            let factor = limit / (squares.sqrt() + 1e-6);
            if factor < 1.0 {
                let gradients = all.iter_mut().flat_map(|t| t.run.gradients_mut());
                gradients.flatten().for_each(|g| *g *= factor as f32);
            }
        }
        for Trained { network, run, optimizer } in all {
            optimizer.update(config, rate, network.parameters_mut(), run.gradients());
        }
    }
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
        bias: Tensor::from_data(TensorData::new(classifier.bias.clone(), [classes]), device),
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
