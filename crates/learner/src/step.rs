//! From one batch to the method's view of it, and from its loss back to gradients.

use std::sync::Arc;
use std::time::Instant;

use burn::Tensor;
use burn::tensor::{Device, TensorData};
use faculty_contract::losses::maps::MapValues;
use faculty_contract::{
    ClassifierTensors, LearnerBatch, Loss, MapStep, MapTerm, Needs, Step, TapShapes,
};
use faculty_data::{SampleId, UNLABELLED};
use faculty_kernels::in_pool;
use faculty_nets::{FrozenClassifier, Graph, Run, TeacherOutputs};
use faculty_random::splitmix64;

use super::tape::{LeafGradients, Leaves, labels, scalar, tensor1, tensor2, tensor4, values};
use super::{Learner, StepRecord, TermValue, Trained};

impl Learner {
    /// Forward, loss and gradients of one batch, without an update. Running statistics move.
    ///
    /// # Panics
    /// When the batch does not fit the networks, or teacher outputs that the method needs are
    /// missing.
    pub fn gradients(&mut self, batch: &LearnerBatch<'_>) -> StepRecord {
        self.predict(batch);
        self.gradients_of_prediction(batch)
    }

    /// The first half of [`Learner::gradients`]: student and projectors forward, which the
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
        let mut loss = self.method.loss(&step);
        self.memory.prepare(std::mem::take(&mut loss.writes));
        let mut buffers = std::mem::take(&mut self.buffers);
        let map_terms = self.map_terms(batch, &needs, &mut buffers);
        let total = loss
            .terms
            .iter()
            .map(|term| term.value.clone() * term.weight)
            .reduce(|sum, term| sum + term)
            .expect("every method has at least one term");
        let largest = batch.mixed.map(|mixed| mixed.largest(batch.labels));
        let labels = largest.as_deref().unwrap_or(batch.labels);
        let mut record = self.record(labels, &loss, &map_terms, &total);
        let mut gradients = leaves.gradients(total);
        gradients.add_map_terms(map_terms);
        self.on_losses += started.elapsed();
        if !self.together.is_alone() {
            self.weigh(&mut gradients, &needs, batch.labels.len());
        }
        self.backward(gradients, &needs, &mut buffers);
        self.buffers = buffers;
        if !self.together.is_alone() {
            self.add_up_gradients(batch.epoch);
            self.add_up_record(&mut record, batch.labels.len());
        }
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
        let projected = self.projectors.iter().map(|(_, projector)| {
            let graph = projector.network.graph();
            let output = graph.output();
            MapValues { values: projector.run.value(output), shape: graph.shape(output) }
        });
        let step = self.map_step(batch, projected.collect());
        self.method.map_terms(&step, buffers)
    }

    /// What a term off the tape sees of a batch.
    pub(super) fn map_step<'a>(
        &'a self,
        batch: &LearnerBatch<'a>,
        projected: Vec<MapValues<'a>>,
    ) -> MapStep<'a> {
        let teachers = batch.teachers.iter();
        MapStep {
            epoch: batch.epoch,
            labels: batch.labels,
            mixed: batch.mixed,
            projected,
            teachers: teachers
                .clone()
                .map(|t| t.maps.iter().map(Vec::as_slice).collect())
                .collect(),
            teacher_logits: teachers.map(|t| t.logits.as_slice()).collect(),
            classifiers: &self.classifiers,
        }
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
            unlabelled: count_unlabelled(labels),
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

    /// Student and projectors forward.
    pub(super) fn forward(&mut self, batch: &LearnerBatch<'_>, needs: &Needs) {
        let size = batch.labels.len();
        let Trained { network, run, .. } = &mut self.student;
        if network.graph().drops() {
            run.set_dropout(dropout_keys(batch));
        }
        run.forward(network, batch.inputs, size);
        for (tap, projector) in self.projectors.iter_mut().filter(|_| needs.trained_parts) {
            let input = tap.value(network.graph()).expect(CHECKED);
            projector.run.forward(&mut projector.network, run.value(input), size);
        }
    }

    /// Their results as leaves of a new tape.
    pub(super) fn leaves(&self, size: usize, needs: &Needs) -> Leaves {
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
        let (mut projected, mut parameters) = (Vec::new(), Vec::new());
        if needs.trained_parts {
            for (_, projector) in self.projectors.iter().filter(|_| needs.on_tape()) {
                let of_projector = projector.network.graph();
                projected.push(leaf(&projector.run, of_projector, of_projector.output()));
            }
            let values = self.parameters.iter().flat_map(|p| p.network.parameters());
            parameters = values
                .map(|v| tensor1(v, &self.device).set_require_grad(!needs.frozen_parameters))
                .collect();
        }
        Leaves { logits, maps, projected, parameters }
    }

    /// What the method sees.
    pub(super) fn step(&self, batch: &LearnerBatch<'_>, needs: &Needs, leaves: &Leaves) -> Step {
        let size = batch.labels.len();
        let classes = self.student.network.classes();
        let teacher_logits =
            needs.teacher_logits.then(|| stack_logits(batch.teachers, size, classes, &self.device));
        let native = |teacher: &TeacherOutputs| {
            tensor2(&teacher.logits, [size, teacher.logits.len() / size], &self.device)
        };
        let native_logits =
            batch.teachers.iter().filter(|_| needs.native_logits).map(native).collect();
        let maps_of = |(teacher, shapes): (&TeacherOutputs, &TapShapes)| {
            let maps = needs.teacher_taps.iter().zip(&teacher.maps);
            maps.map(|(tap, map)| tensor4(map, size, shapes[tap], &self.device)).collect()
        };
        Step {
            epoch: batch.epoch,
            step_seed: batch.step_seed,
            labels: labels(batch.labels, &self.device),
            mixed: batch.mixed.cloned().map(Arc::new),
            task: self.task.clone(),
            samples: Arc::clone(&self.samples),
            sample_numbers: if needs.sample_numbers { self.numbers(batch) } else { Vec::new() },
            memory: self.memory.read(),
            student_logits: leaves.logits.clone(),
            student_maps: leaves.maps.clone(),
            projected_maps: leaves.projected.clone(),
            parameters: leaves.parameters.clone(),
            teacher_logits,
            native_logits,
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

    /// From the gradients by the leaves back through projectors and student.
    pub(super) fn backward(
        &mut self,
        gradients: LeafGradients,
        needs: &Needs,
        buffers: &mut Vec<Vec<f32>>,
    ) {
        let graph = self.student.network.graph().clone();
        let mut by_value = Vec::new();
        by_value.extend(gradients.logits.map(|gradient| (graph.output(), gradient)));
        for (tap, gradient) in needs.student_taps.iter().zip(gradients.maps) {
            let value = tap.value(&graph).expect(CHECKED);
            by_value.extend(gradient.map(|gradient| (value, gradient)));
        }
        for ((tap, projector), gradient) in self.projectors.iter_mut().zip(gradients.projected) {
            let value = tap.value(&graph).expect(CHECKED);
            let output = projector.network.graph().output();
            let by_output = gradient.iter().map(|gradient| (output, gradient));
            let by_map = projector.run.backward(&projector.network, by_output, true);
            by_value.extend(by_map.map(|gradient| (value, gradient)));
            buffers.extend(gradient.filter(|_| needs.map_terms));
        }
        if let Some(parameters) = &mut self.parameters {
            // A parameter that this batch's loss does not read has the gradient 0.
            let all = parameters.network.parameters().iter().zip(gradients.parameters);
            parameters.off_tape = all
                .map(|(values, gradient)| gradient.unwrap_or_else(|| vec![0.0; values.len()]))
                .collect();
        }
        self.student.run.backward(&self.student.network, by_value, false);
        self.student.clear_frozen_gradients();
    }
}

pub(super) const CHECKED: &str =
    "the run checks that student and teachers have every tap that is asked for";

/// Samples whose label has the highest logit; NaN is never right.
fn count_correct(logits: &[f32], labels: &[u32]) -> usize {
    labels.len() - count_unlabelled(labels) - misclassified(logits, labels).len()
}

fn count_unlabelled(labels: &[u32]) -> usize {
    labels.iter().filter(|&&label| label == UNLABELLED).count()
}

/// Positions of those whose label has not.
pub(super) fn misclassified(logits: &[f32], labels: &[u32]) -> Vec<usize> {
    let classes = logits.len() / labels.len();
    let rows = logits.chunks_exact(classes).zip(labels).enumerate();
    rows.filter(|(_, (_, label))| **label != UNLABELLED)
        .filter(|(_, (row, label))| {
            let of_label = row[**label as usize];
            !row.iter().all(|&z| z <= of_label)
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

/// Mean of each row of `[rows, columns]`.
fn row_means<T: Copy + Into<f64>>(all: &[T], columns: usize) -> Vec<f64> {
    all.chunks(columns.max(1))
        .map(|row| row.iter().map(|&w| w.into()).sum::<f64>() / columns as f64)
        .collect()
}

/// What decides which values a step drops: for each sample, the step and the sample's id.
fn dropout_keys(batch: &LearnerBatch<'_>) -> Vec<u64> {
    assert_eq!(batch.ids.len(), batch.labels.len(), "dropout is by the ids of the samples");
    batch.ids.iter().map(|id| splitmix64(batch.step_seed, id.0)).collect()
}
