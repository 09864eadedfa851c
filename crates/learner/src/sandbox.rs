//! What a method does between two steps of the student: it may try things on the student, and
//! afterwards the student is as it was.

use burn::Tensor;
use faculty_contract::losses::mean_cross_entropy;
use faculty_contract::{LearnerBatch, Needs, Point, Sandbox, Step};
use faculty_data::{Input, Inputs};
use faculty_kernels::softmax_kl::cross_entropy_rows;
use faculty_nets::{ActivationPattern, Adjoint, OptimizerConfig, Precision};

use super::Learner;
use super::step::misclassified;
use super::tape::{Leaves, labels, tensor2, values};
use super::trained::{clip_factor, norm};

/// A student that can be moved and measured. Student, projectors, their running statistics and the
/// memory of their optimisers are put back at the end; only [`Sandbox::parameters_mut`] and
/// [`Sandbox::teach`] change anything for good.
///
/// Gradients and directions have one vector for each parameter of the student, then of each projector
/// that takes part.
#[derive(Debug)]
pub struct LearnerSandbox<'a> {
    learner: &'a mut Learner,
    batch: LearnerBatch<'a>,
    optimizer: OptimizerConfig,
    rate: f32,
    clip: Option<f64>,
    misclassified: Vec<usize>,
    /// Where everything was, once anything has been tried.
    saved: Option<Point>,
}

impl Learner {
    /// Lets the method do what it does after [`Learner::update`] with the same batch and settings;
    /// the student stays as it is. Gives numbers that must be finite.
    ///
    /// Student and projectors are tried in `f32` whatever the precision of the steps: what methods look
    /// for here are differences between two close points, which rounding would drown.
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
        let Some(mut method) = self.after_step.take() else { return Vec::new() };
        self.set_student_precision(Precision::F32);
        let mut sandbox = LearnerSandbox::new(self, *batch, config, rate, clip);
        let numbers = method.after_step(&mut sandbox);
        sandbox.restore();
        self.set_student_precision(self.precision);
        self.after_step = Some(method);
        numbers
    }

    fn set_student_precision(&mut self, precision: Precision) {
        self.student.run.set_precision(precision);
        self.projectors
            .iter_mut()
            .for_each(|(_, projector)| projector.run.set_precision(precision));
    }
}

impl<'a> LearnerSandbox<'a> {
    /// After an update with these constants.
    #[must_use]
    pub fn new(
        learner: &'a mut Learner,
        batch: LearnerBatch<'a>,
        optimizer: &OptimizerConfig,
        rate: f32,
        clip: Option<f64>,
    ) -> Self {
        // The values of the step's own forward pass are still there.
        let output = learner.student.network.graph().output();
        let misclassified = misclassified(learner.student.run.value(output), batch.labels);
        Self { learner, batch, optimizer: *optimizer, rate, clip, misclassified, saved: None }
    }

    fn leaves(&mut self, batch: &LearnerBatch<'_>) -> (Needs, Leaves) {
        self.save();
        let needs = Needs { frozen_parameters: false, ..self.learner.method.needs(batch.epoch) };
        self.learner.forward(batch, &needs);
        let leaves = self.learner.leaves(batch.labels.len(), &needs);
        (needs, leaves)
    }

    fn set_pattern(&mut self, pattern: ActivationPattern) {
        let Learner { student, projectors, .. } = &mut *self.learner;
        student.run.set_pattern(pattern);
        projectors.iter_mut().for_each(|(_, projector)| projector.run.set_pattern(pattern));
    }

    fn save(&mut self) {
        if self.saved.is_none() {
            self.saved = Some(self.point());
        }
    }
}

impl<'a> Sandbox<'a> for LearnerSandbox<'a> {
    fn batch(&self) -> LearnerBatch<'a> {
        self.batch
    }

    fn misclassified(&self) -> &[usize] {
        &self.misclassified
    }

    fn step(&mut self, batch: &LearnerBatch<'_>) -> Step {
        let (needs, leaves) = self.leaves(batch);
        self.learner.step(batch, &needs, &leaves)
    }

    fn gradient(
        &mut self,
        batch: &LearnerBatch<'_>,
        loss: &mut dyn FnMut(&Step) -> Tensor<1>,
    ) -> Vec<Vec<f32>> {
        let (needs, leaves) = self.leaves(batch);
        let step = self.learner.step(batch, &needs, &leaves);
        let gradients = leaves.gradients(loss(&step));
        self.learner.backward(gradients, &needs, &mut Vec::new());
        let epoch = self.batch.epoch;
        self.learner.stepped_mut(epoch).flat_map(|trained| trained.gradients().to_vec()).collect()
    }

    fn cross_entropy(&mut self, inputs: Input<'_>, classes: &[u32]) -> (f64, Vec<Vec<f32>>) {
        self.save();
        let device = self.learner.device.clone();
        let student = &mut self.learner.student;
        let output = student.network.graph().output();
        // An exam is taken whole.
        student.run.set_dropout(Vec::new());
        student.run.forward(&mut student.network, inputs, classes.len());
        let shape = [classes.len(), student.network.classes()];
        let logits = tensor2(student.run.value(output), shape, &device).require_grad();
        let loss = mean_cross_entropy(&logits, &labels(classes, &device));
        let costs = cross_entropy_rows(shape[1], student.run.value(output), classes);
        let value = costs.iter().sum::<f64>() / classes.len() as f64;
        let gradient = logits.grad(&loss.backward()).map(values);
        let by_value = gradient.map(|gradient| (output, gradient));
        student.run.backward(&student.network, by_value, false);
        student.clear_frozen_gradients();
        (value, student.run.gradients().to_vec())
    }

    fn shift(&mut self, direction: &[Vec<f32>], factor: f32) {
        self.save();
        let all = self.learner.stepped_mut(self.batch.epoch);
        let parameters = all.flat_map(|trained| trained.network.parameters_mut()).flatten();
        parameters.zip(direction.iter().flatten()).for_each(|(w, d)| *w += factor * d);
    }

    fn hold_pattern(&mut self, batch: &LearnerBatch<'_>) {
        self.save();
        self.set_pattern(ActivationPattern::Recorded);
        self.learner.forward(batch, &self.learner.method.needs(batch.epoch));
        self.set_pattern(ActivationPattern::Held);
    }

    fn release_pattern(&mut self) {
        self.set_pattern(ActivationPattern::Free);
    }

    fn descend(&mut self) {
        self.save();
        let (optimizer, rate, clip) = (self.optimizer, self.rate, self.clip);
        self.learner.take_step(&optimizer, rate, clip, self.batch.epoch);
    }

    fn adjoint(&mut self, by_parameters: Vec<Vec<f32>>) -> Vec<Adjoint> {
        let mut rest = by_parameters.into_iter();
        let all = self.learner.stepped_mut(self.batch.epoch);
        all.map(|trained| {
            let count = trained.network.parameters().len();
            Adjoint::new(&self.optimizer, rest.by_ref().take(count).collect())
        })
        .collect()
    }

    fn pull_back(
        &mut self,
        adjoint: &mut [Adjoint],
        before: &Point,
        gradient: &[Vec<f32>],
    ) -> Vec<Vec<f32>> {
        let length = norm(gradient);
        let factor = self.clip.map_or(1.0, |limit| clip_factor(limit, length));
        // What the optimiser got.
        let used = |g: &Vec<f32>| g.iter().map(|&g| g * factor as f32).collect();
        let mut used: Vec<Vec<f32>> =
            if factor < 1.0 { gradient.iter().map(used).collect() } else { gradient.to_vec() };
        let mut result = Vec::new();
        let all = self.learner.stepped_mut(self.batch.epoch).zip(&before.0).zip(adjoint);
        for ((trained, (_, state)), adjoint) in all {
            let rest = used.split_off(trained.network.parameters().len());
            let used = std::mem::replace(&mut used, rest);
            let rule = trained.rule();
            result.extend(adjoint.pull_back(rule, &self.optimizer, self.rate, state, &used));
        }
        if factor < 1.0 {
            // The factor shrinks as the gradient grows.
            let along = inner_product(&result, gradient) / (length * (length + 1e-6));
            for (by_g, g) in result.iter_mut().flatten().zip(gradient.iter().flatten()) {
                *by_g = (factor * (f64::from(*by_g) - along * f64::from(*g))) as f32;
            }
        }
        result
    }

    fn point(&mut self) -> Point {
        self.learner.point(self.batch.epoch)
    }

    fn go_to(&mut self, point: &Point) {
        let all = self.learner.stepped_mut(self.batch.epoch).zip(&point.0);
        for (trained, (network, optimizer)) in all {
            trained.network.clone_from(network);
            trained.optimizer.clone_from(optimizer);
        }
    }

    fn go_to_earlier(&mut self) {
        self.save();
        let earlier = self.learner.earlier.take().expect("the update before kept the student");
        self.go_to(&earlier);
        self.learner.earlier = Some(earlier);
    }

    fn restore(&mut self) {
        self.release_pattern();
        if let Some(saved) = self.saved.take() {
            self.go_to(&saved);
            self.saved = Some(saved);
        }
    }

    fn parameters_mut(&mut self) -> &mut [Vec<f32>] {
        match &mut self.learner.parameters {
            Some(parameters) => parameters.network.parameters_mut(),
            None => &mut [],
        }
    }

    fn exam(&self) -> Option<(Inputs, Vec<u32>)> {
        let exam = self.learner.exam.as_ref()?;
        exam.drawn(self.batch.step_seed, self.batch.labels.len())
    }

    fn teacher_gradient(&mut self, k: usize, by_logits: &[f32]) -> &[Vec<f32>] {
        self.learner.teachers[k].gradient(by_logits)
    }

    fn teach(&mut self, k: usize, rate: f32) {
        self.learner.teachers[k].update(rate);
    }
}

fn inner_product(a: &[Vec<f32>], b: &[Vec<f32>]) -> f64 {
    let pairs = a.iter().flatten().zip(b.iter().flatten());
    pairs.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}
