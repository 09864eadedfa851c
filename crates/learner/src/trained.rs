//! A network in training.

use std::sync::Arc;

use faculty_nets::{Network, OptimizerConfig, OptimizerState, ParameterRule, RuleConfig, Run};

use super::Compute;
use super::accumulated::Accumulated;

/// A network in training with its optimiser's memory.
#[derive(Debug)]
pub struct Trained {
    /// Its values.
    pub network: Network,
    /// Its optimiser's memory.
    pub optimizer: OptimizerState,
    /// Its optimiser, if that is not the run's.
    pub own_optimizer: Option<OptimizerConfig>,
    pub(super) rules: Arc<[ParameterRule]>,
    pub(super) run: Run,
    /// Gradients of batches whose update is still to come.
    pub(super) accumulated: Accumulated,
    /// Gradients that came off the tape, for values that no graph computes with.
    pub(super) off_tape: Vec<Vec<f32>>,
}

impl Trained {
    /// Before its first step, to be computed on `device`.
    #[must_use]
    pub fn new(network: Network, device: &Compute) -> Self {
        let (optimizer, run) = (OptimizerState::default(), device.run());
        let rules = RuleConfig::default().rules(network.graph()).into();
        Self {
            network,
            optimizer,
            own_optimizer: None,
            rules,
            run,
            accumulated: Accumulated::default(),
            off_tape: Vec::new(),
        }
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

    /// Sums of gradients that wait for their update, each times its batch's samples, one a parameter;
    /// for checkpoints.
    #[must_use]
    pub fn accumulated(&self) -> &[Vec<f32>] {
        &self.accumulated.sums
    }

    /// Takes [`Trained::accumulated`] back.
    pub fn set_accumulated(&mut self, sums: Vec<Vec<f32>>) {
        self.accumulated.sums = sums;
    }

    /// The last gradients, to change them before an update.
    pub(super) fn gradients_mut(&mut self) -> &mut [Vec<f32>] {
        if self.off_tape.is_empty() { self.run.gradients_mut() } else { &mut self.off_tape }
    }

    /// Clears the gradients of frozen parameters, so that they count in no norm.
    pub(super) fn clear_frozen_gradients(&mut self) {
        for id in self.network.graph().frozen() {
            self.run.gradients_mut()[id.index()].fill(0.0);
        }
    }

    /// Sets what an update does with each parameter.
    pub(super) fn set_rules(&mut self, config: &RuleConfig) {
        self.rules = config.rules(self.network.graph()).into();
    }

    /// What an update does with the parameter at a place.
    pub(super) fn rule(&self) -> impl Fn(usize) -> ParameterRule + use<> {
        let rules = Arc::clone(&self.rules);
        move |index| rules[index]
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
