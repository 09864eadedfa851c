//! A network in training.

use std::sync::Arc;

use faculty_nets::{Network, OptimizerConfig, OptimizerState, Run};

use super::Compute;

/// A network in training with its optimiser's memory.
#[derive(Debug)]
pub struct Trained {
    /// Its values.
    pub network: Network,
    /// Its optimiser's memory.
    pub optimizer: OptimizerState,
    /// Its optimiser, if that is not the run's.
    pub own_optimizer: Option<OptimizerConfig>,
    pub(super) run: Run,
    /// Gradients that came off the tape, for values that no graph computes with.
    pub(super) off_tape: Vec<Vec<f32>>,
}

impl Trained {
    /// Before its first step, to be computed on `device`.
    #[must_use]
    pub fn new(network: Network, device: &Compute) -> Self {
        let (optimizer, run) = (OptimizerState::default(), device.run());
        Self { network, optimizer, own_optimizer: None, run, off_tape: Vec::new() }
    }

    /// Begins anew with this network, of the same graph.
    pub(super) fn begin(&mut self, network: Network) {
        (self.network, self.optimizer) = (network, OptimizerState::default());
    }

    /// Gradients of the last step, one per parameter.
    #[must_use]
    pub fn gradients(&self) -> &[Vec<f32>] {
        if self.off_tape.is_empty() { self.run.gradients() } else { &self.off_tape }
    }

    /// The same, to change them before an update.
    pub(super) fn gradients_mut(&mut self) -> &mut [Vec<f32>] {
        if self.off_tape.is_empty() { self.run.gradients_mut() } else { &mut self.off_tape }
    }

    /// Whether training moves the parameter at a place.
    pub(super) fn is_trained(&self) -> impl Fn(usize) -> bool + use<> {
        let graph = Arc::clone(self.network.graph());
        move |index| !graph.frozen().iter().any(|id| id.index() == index)
    }
}

/// Euclidean norm of all of them together.
pub(super) fn norm<'a>(gradients: impl IntoIterator<Item = &'a Vec<f32>>) -> f64 {
    gradients.into_iter().flatten().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt()
}

/// What gradients of this norm are multiplied by so that it stays within `limit`.
pub(super) fn clip_factor(limit: f64, norm: f64) -> f64 {
    (limit / (norm + 1e-6)).min(1.0)
}
