//! What a method does between two steps of the student: it may try things on the student, and
//! afterwards the student is as it was.

use burn::Tensor;
use faculty_kernels::softmax_kl::cross_entropy_rows;
use faculty_nets::Network;
use faculty_nets::weights::StateDict;

use super::tape::{Leaves, labels, missed, tensor2, values};
use super::{Learner, LearnerBatch};
use crate::losses::mean_cross_entropy;
use crate::methods::{Needs, Step};

/// What a method does after each update, beside its loss; its memory is part of checkpoints.
pub trait BetweenSteps: Send + std::fmt::Debug {
    /// Called after every update. Numbers that it names must be finite, or the run stops.
    fn after_step(&mut self, between: &mut Between<'_>) -> Vec<(&'static str, f64)>;

    /// Everything that later calls depend on.
    fn state(&self) -> StateDict;

    /// Takes [`BetweenSteps::state`] back.
    ///
    /// # Errors
    /// When tensors are missing or of another shape, in words.
    fn set_state(&mut self, state: StateDict) -> std::result::Result<(), String>;
}

/// A student that can be moved and measured. Student, connectors and their running statistics are
/// put back at the end; only [`Between::parameters_mut`] and
/// [`Between::teach`] change anything for good.
#[derive(Debug)]
pub struct Between<'a> {
    learner: &'a mut Learner,
    batch: LearnerBatch<'a>,
    rate: f32,
    clip: Option<f64>,
    missed: Vec<usize>,
    /// Student and connectors as they were, once anything has been tried.
    saved: Option<(Network, Vec<Network>)>,
}

impl<'a> Between<'a> {
    pub(crate) fn new(
        learner: &'a mut Learner,
        batch: LearnerBatch<'a>,
        rate: f32,
        clip: Option<f64>,
    ) -> Self {
        // The values of the step's own forward pass are still there.
        let output = learner.student.network.graph().output();
        let missed = missed(learner.student.run.value(output), batch.labels);
        Self { learner, batch, rate, clip, missed, saved: None }
    }

    /// The batch of the step.
    #[must_use]
    pub fn batch(&self) -> &LearnerBatch<'a> {
        &self.batch
    }

    /// Learning rate of the step.
    #[must_use]
    pub fn rate(&self) -> f32 {
        self.rate
    }

    /// Positions of the samples that the student got wrong in the step, before its update.
    #[must_use]
    pub fn missed(&self) -> &[usize] {
        &self.missed
    }

    /// The batch as the method's loss would see it with the student as it is now. Parameters of
    /// the method carry gradients even if they are frozen.
    pub fn step(&mut self) -> Step {
        let (needs, leaves) = self.leaves();
        self.learner.step(&self.batch, &needs, &leaves)
    }

    fn leaves(&mut self) -> (Needs, Leaves) {
        self.save();
        let epoch = self.batch.epoch;
        let needs = Needs { frozen_parameters: false, ..self.learner.method.needs(epoch) };
        self.learner.forward(&self.batch, &needs);
        let leaves = self.learner.leaves(self.batch.labels.len(), &needs);
        (needs, leaves)
    }

    /// The gradient by the student's parameters of a loss on the batch.
    pub fn gradient(&mut self, loss: impl FnOnce(&Step) -> Tensor<1>) -> Vec<Vec<f32>> {
        let (needs, leaves) = self.leaves();
        let step = self.learner.step(&self.batch, &needs, &leaves);
        let gradients = leaves.gradients(loss(&step));
        self.learner.backward(gradients, &needs, &mut Vec::new());
        self.learner.student.run.gradients().to_vec()
    }

    /// Mean cross-entropy on samples `[batch, channels, height, width]`, and its gradient by the
    /// student's parameters.
    pub fn cross_entropy(&mut self, images: &[f32], own: &[u32]) -> (f64, Vec<Vec<f32>>) {
        self.save();
        let device = self.learner.device.clone();
        let student = &mut self.learner.student;
        let output = student.network.graph().output();
        student.run.forward(&mut student.network, images, own.len());
        let shape = [own.len(), student.network.classes()];
        let logits = tensor2(student.run.value(output), shape, &device).require_grad();
        let loss = mean_cross_entropy(&logits, &labels(own, &device));
        let costs = cross_entropy_rows(shape[1], student.run.value(output), own);
        let value = costs.iter().sum::<f64>() / own.len() as f64;
        let gradient = logits.grad(&loss.backward()).map(values);
        let by_value = gradient.map(|gradient| (output, gradient));
        student.run.backward(&student.network, by_value, false);
        (value, student.run.gradients().to_vec())
    }

    /// Moves the student by `factor · direction`.
    pub fn shift(&mut self, direction: &[Vec<f32>], factor: f32) {
        self.save();
        let parameters = self.learner.student.network.parameters_mut().iter_mut().flatten();
        parameters.zip(direction.iter().flatten()).for_each(|(w, d)| *w += factor * d);
    }

    /// A plain gradient step at the run's learning rate, clipped as the run's steps are; returns
    /// the rate that was used.
    pub fn descend(&mut self, gradient: &[Vec<f32>]) -> f64 {
        let squares: f64 = gradient.iter().flatten().map(|&g| f64::from(g).powi(2)).sum();
        let factor = self.clip.map_or(1.0, |limit| (limit / (squares.sqrt() + 1e-6)).min(1.0));
        let rate = f64::from(self.rate) * factor;
        self.shift(gradient, -rate as f32);
        rate
    }

    /// Puts student and connectors back.
    pub fn restore(&mut self) {
        if let Some((student, connectors)) = &self.saved {
            self.learner.student.network.clone_from(student);
            for ((_, own), saved) in self.learner.connectors.iter_mut().zip(connectors) {
                own.network.clone_from(saved);
            }
        }
    }

    /// The method's own parameters, which stay changed.
    pub fn parameters_mut(&mut self) -> &mut [Vec<f32>] {
        match &mut self.learner.parameters {
            Some(parameters) => parameters.network.parameters_mut(),
            None => &mut [],
        }
    }

    /// Held-out training samples, as many as the batch has if there are so many; another draw at every
    /// batch. `None` without teachers that learn.
    #[must_use]
    pub fn exam(&self) -> Option<(Vec<f32>, Vec<u32>)> {
        let exam = self.learner.exam.as_ref()?;
        Some(exam.drawn(self.batch.draw, self.batch.labels.len()))
    }

    /// Gradient by the parameters of learning teacher `k` from that by its logits on the batch,
    /// `[batch, classes]`.
    ///
    /// # Panics
    /// When the batch is not the one that the teacher saw last.
    pub fn teacher_gradient(&mut self, k: usize, by_logits: &[f32]) -> &[Vec<f32>] {
        self.learner.teachers[k].gradient(by_logits)
    }

    /// A step of AdamW of teacher `k` along its last gradient, for good.
    pub fn teach(&mut self, k: usize, rate: f32) {
        self.learner.teachers[k].update(rate);
    }

    fn save(&mut self) {
        if self.saved.is_none() {
            let connectors = self.learner.connectors.iter().map(|(_, c)| c.network.clone());
            let saved = (self.learner.student.network.clone(), connectors.collect());
            self.saved = Some(saved);
        }
    }
}
