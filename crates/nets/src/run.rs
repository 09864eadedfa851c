//! A training step wherever it is computed.

use crate::network::Network;
use crate::parameter::ValueId;
use crate::pattern::ActivationPattern;
use crate::precision::Precision;
use crate::together::Together;
use faculty_inputs::Input;

mod burn;
pub(crate) mod inference;
mod memory;
mod training;

pub use burn::BurnRun;
pub use inference::Inference;
pub use training::TrainingRun;

/// One network's training step: on our kernels, or in plain burn operations on another device.
#[derive(Debug)]
pub enum Run {
    /// On this machine's CPU.
    Kernels(TrainingRun),
    /// On a burn device.
    Burn(BurnRun),
}

impl Run {
    /// As [`TrainingRun::forward`].
    ///
    /// # Panics
    /// When `input` does not have `batch` samples of the graph's input shape.
    pub fn forward<'a>(
        &mut self,
        network: &mut Network,
        input: impl Into<Input<'a>>,
        batch: usize,
    ) {
        match self {
            Self::Kernels(run) => run.forward(network, input, batch),
            Self::Burn(run) => run.forward(network, input, batch),
        }
    }

    /// As [`TrainingRun::set_dropout`]; in burn operations nothing is dropped.
    pub fn set_dropout(&mut self, keys: Vec<u64>) {
        if let Self::Kernels(run) = self {
            run.set_dropout(keys);
        }
    }

    /// As [`TrainingRun::set_pattern`].
    pub fn set_pattern(&mut self, pattern: ActivationPattern) {
        match self {
            Self::Kernels(run) => run.set_pattern(pattern),
            Self::Burn(run) => run.set_pattern(pattern),
        }
    }

    /// As [`TrainingRun::set_precision`]; burn operations compute in their device's `f32`.
    pub fn set_precision(&mut self, precision: Precision) {
        if let Self::Kernels(run) = self {
            run.set_precision(precision);
        }
    }

    /// As [`TrainingRun::set_together`]; burn operations know no other rank.
    pub fn set_together(&mut self, together: Together) {
        if let Self::Kernels(run) = self {
            run.set_together(together);
        }
    }

    /// As [`TrainingRun::value`].
    ///
    /// # Panics
    /// For values that are neither tap nor map nor output, and before the first forward pass.
    #[must_use]
    pub fn value(&self, id: ValueId) -> &[f32] {
        match self {
            Self::Kernels(run) => run.value(id),
            Self::Burn(run) => run.value(id),
        }
    }

    /// As [`TrainingRun::backward`].
    ///
    /// # Panics
    /// When a gradient has another length than its value, or there was no forward pass of this
    /// network.
    pub fn backward<G: AsRef<[f32]>>(
        &mut self,
        network: &Network,
        loss_gradients: impl IntoIterator<Item = (ValueId, G)>,
        input_gradient: bool,
    ) -> Option<Vec<f32>> {
        match self {
            Self::Kernels(run) => run.backward(network, loss_gradients, input_gradient),
            Self::Burn(run) => run.backward(network, loss_gradients, input_gradient),
        }
    }

    /// As [`TrainingRun::gradients`].
    #[must_use]
    pub fn gradients(&self) -> &[Vec<f32>] {
        match self {
            Self::Kernels(run) => run.gradients(),
            Self::Burn(run) => run.gradients(),
        }
    }

    /// The same for clipping and the like.
    #[must_use]
    pub fn gradients_mut(&mut self) -> &mut [Vec<f32>] {
        match self {
            Self::Kernels(run) => run.gradients_mut(),
            Self::Burn(run) => run.gradients_mut(),
        }
    }
}
