//! The method itself.

use faculty_nets::Network;

use crate::facts::{Facts, Shapes, TeacherTraits};
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

    /// Told before training what becomes known, see [`Facts`].
    fn prepare(&mut self, facts: Facts<'_>) {
        let _ = facts;
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

    /// The loss of one batch, with what the update after it writes to the memory.
    fn loss(&self, step: &Step) -> Loss;

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
