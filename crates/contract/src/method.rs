//! The method itself.

use faculty_nets::Network;

use crate::class_cost::ClassCost;
use crate::facts::{Shapes, TeacherProfile, TeacherTraits};
use crate::loss::{Loss, MapStep, MapTerm};
use crate::needs::Needs;
use crate::parts::Parts;
use crate::setup::Setup;
use crate::step::Step;

/// A distillation method with its constants.
pub trait Method: Send + std::fmt::Debug {
    /// What the method asks of the run as a whole.
    fn setup(&self) -> Setup {
        Setup::default()
    }

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

    /// What it trains, remembers and does beside a student and teachers of these sizes; a function of
    /// them and of what the method was told before.
    fn parts(&self, shapes: &Shapes) -> Parts {
        let _ = shapes;
        Parts::default()
    }

    /// Told once before training what the teachers did on the validation split, in their order; not
    /// called without such a part.
    fn prepare(&mut self, teachers: &[TeacherProfile]) {
        let _ = teachers;
    }

    /// Told once before training how far each teacher's classes are from the data's.
    fn prepare_classes(&mut self, costs: Vec<ClassCost>) {
        let _ = costs;
    }

    /// The loss of one batch, with what the update after it writes to the memory.
    fn loss(&self, step: &Step) -> Loss;

    /// Whether the loss of a batch is the mean of the losses of its samples, each of which depends on
    /// that sample alone, beside batch norm in networks and connectors. Only then may several processes
    /// compute the loss of a part of a batch each. Not so where samples are compared with each other, or
    /// something is drawn by a sample's place in the batch; methods that do not say so are taken for one
    /// of those.
    fn averages_samples(&self, shapes: &Shapes) -> bool {
        let _ = shapes;
        false
    }

    /// A term on maps that is computed with its gradient, off the tape; called when
    /// [`Needs::map_terms`].
    /// `buffers` hold gradients of earlier steps, to be written over.
    fn map_terms(&self, step: &MapStep<'_>, buffers: &mut Vec<Vec<f32>>) -> Vec<MapTerm> {
        let _ = (step, buffers);
        Vec::new()
    }

    /// The objective in one line with all constants, for the run log; `teachers` is K.
    fn objective(&self, teachers: usize) -> String;
}

/// Everything that a method asks for in any of its first `epochs`.
#[must_use]
pub fn needs_of_run(method: &dyn Method, epochs: usize) -> Needs {
    (1..=epochs).map(|epoch| method.needs(epoch)).fold(Needs::default(), Needs::union)
}
