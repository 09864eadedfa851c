//! What a method does between two steps of the student: it may try things on the student, and
//! afterwards the student is as it was.

use burn::Tensor;
use faculty_data::{Input, Inputs};
use faculty_nets::weights::StateDict;
use faculty_nets::{Adjoint, Network, OptimizerState};

use crate::step::{LearnerBatch, Step};

/// What a method does after each update, beside its loss; its memory is part of checkpoints.
pub trait AfterStep: Send + std::fmt::Debug {
    /// Called after every update. Numbers that it names must be finite, or the run stops.
    fn after_step(&mut self, sandbox: &mut dyn Sandbox<'_>) -> Vec<(&'static str, f64)>;

    /// Whether it goes to [`Sandbox::go_to_earlier`].
    fn reads_earlier(&self) -> bool {
        false
    }

    /// Everything that later calls depend on.
    fn state(&self) -> StateDict;

    /// Takes [`AfterStep::state`] back.
    ///
    /// # Errors
    /// When tensors are missing or of another shape, in words.
    fn set_state(&mut self, state: StateDict) -> std::result::Result<(), String>;
}

/// Student and projectors with their optimisers' memory at one moment.
#[derive(Debug)]
pub struct Point(pub Vec<(Network, OptimizerState)>);

/// A student that can be moved and measured. Student, projectors, their running statistics and the
/// memory of their optimisers are put back at the end; only [`Sandbox::parameters_mut`] and
/// [`Sandbox::teach`] change anything for good.
///
/// Gradients and directions have one vector for each parameter of the student, then of each projector
/// that takes part.
pub trait Sandbox<'a> {
    /// The batch of the step.
    #[must_use]
    fn batch(&self) -> LearnerBatch<'a>;

    /// Positions of the samples that the student got wrong in the step, before its update.
    #[must_use]
    fn misclassified(&self) -> &[usize];

    /// Samples as the method's loss would see them with the student as it is now. Parameters of
    /// the method carry gradients even if they are frozen.
    fn step(&mut self, batch: &LearnerBatch<'_>) -> Step;

    /// The gradient of a loss on these samples.
    fn gradient(
        &mut self,
        batch: &LearnerBatch<'_>,
        loss: &mut dyn FnMut(&Step) -> Tensor<1>,
    ) -> Vec<Vec<f32>>;

    /// Mean cross-entropy on samples with these labels, `[batch]`, and its gradient by the student
    /// alone.
    fn cross_entropy(&mut self, inputs: Input<'_>, labels: &[u32]) -> (f64, Vec<Vec<f32>>);

    /// Moves student and projectors by `factor · direction`; those that it does not reach stay.
    fn shift(&mut self, direction: &[Vec<f32>], factor: f32);

    /// Holds the activation pattern that student and projectors have on these samples where they are now
    /// ([`faculty_nets::ActivationPattern`]): until [`Sandbox::release_pattern`] they decide as here
    /// wherever they are moved, so that differences of [`Sandbox::gradient`] on these samples converge
    /// to Hessian-vector products.
    fn hold_pattern(&mut self, batch: &LearnerBatch<'_>);

    /// Lets them decide for themselves again, as [`Sandbox::restore`] does.
    fn release_pattern(&mut self);

    /// A step of the run's optimiser along the last [`Sandbox::gradient`], at the run's learning rate
    /// and clipped as its steps are.
    fn descend(&mut self);

    /// The gradient of a later loss by the student as it is now, for [`Sandbox::pull_back`].
    #[must_use]
    fn adjoint(&mut self, by_parameters: Vec<Vec<f32>>) -> Vec<Adjoint>;

    /// Back through the [`Sandbox::descend`] that began at `before` with `gradient`: the result is the
    /// later loss's gradient by that gradient, and `adjoint` becomes that by the student before, at a
    /// constant gradient.
    fn pull_back(
        &mut self,
        adjoint: &mut [Adjoint],
        before: &Point,
        gradient: &[Vec<f32>],
    ) -> Vec<Vec<f32>>;

    /// Where everything is now.
    #[must_use]
    fn point(&mut self) -> Point;

    /// Puts student and projectors to where they were.
    fn go_to(&mut self, point: &Point);

    /// Puts them to where they were before the update.
    ///
    /// # Panics
    /// When [`AfterStep::reads_earlier`] does not say so, or there was no update.
    fn go_to_earlier(&mut self);

    /// Puts them back to where they were at first.
    fn restore(&mut self);

    /// The method's own parameters, which stay changed.
    fn parameters_mut(&mut self) -> &mut [Vec<f32>];

    /// Held-out training samples, as many as the batch has if there are so many; another draw at every
    /// batch. `None` without teachers that learn.
    #[must_use]
    fn exam(&self) -> Option<(Inputs, Vec<u32>)>;

    /// Gradient by the parameters of learning teacher `k` from that by its logits on the batch,
    /// `[batch, classes]`.
    ///
    /// # Panics
    /// When the batch is not the one that the teacher saw last.
    fn teacher_gradient(&mut self, k: usize, by_logits: &[f32]) -> &[Vec<f32>];

    /// A step of AdamW of teacher `k` along its last gradient, for good.
    fn teach(&mut self, k: usize, rate: f32);
}
