//! A training run of a graph: forward with batch statistics or with the running ones, backward to
//! every parameter.
//!
//! Losses live elsewhere. They read values ([`TrainingRun::value`]) and hand back their gradients by
//! any of them ([`TrainingRun::backward`]): logits, feature taps, or the output of a projector whose
//! input gradient then goes into another run.

mod backward;
mod maps_memory;
mod maps_nodes;
mod plan;

use faculty_inputs::{Input, Tokens};
use faculty_kernels::bf16::Maps;
use std::sync::Arc;

use super::memory::Memory;
use crate::dropout_keys::DropoutKeys;
use crate::graph::{BatchInput, Graph};
use crate::network::Network;
use crate::op::{ForwardStep, OpState};
use crate::parameter::ValueId;
use crate::pattern::ActivationPattern;
use crate::precision::Precision;
use crate::shape::BatchSize;
use crate::together::Together;
use maps_memory::MapsMemory;
use plan::StepPlan;

/// Memory and results of one network's current training step. Memory is planned for the graph and
/// kept between steps, so that no step after the first touches fresh memory.
#[derive(Debug, Default)]
pub struct TrainingRun {
    size: BatchSize,
    /// Of the last forward pass, if it was of texts.
    tokens: Tokens,
    /// A key a sample, for the next forward passes; none if nothing is to be dropped.
    dropout: Vec<u64>,
    /// Whether batch norm takes the running statistics, and leaves them.
    frozen_statistics: bool,
    pattern: ActivationPattern,
    precision: Precision,
    together: Together,
    plan: Option<Arc<StepPlan>>,
    planned_on_maps: bool,
    memory: Memory,
    /// What each node keeps for the backward pass beside values.
    states: Vec<OpState>,
    /// To be written over.
    maps: Maps,
    /// Of a step in bfloat16.
    on_maps: MapsMemory,
    gradients: Vec<Vec<f32>>,
}

impl TrainingRun {
    /// An empty run; memory comes with the first step.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes that a step of this graph takes at a batch size, before any of them is taken.
    ///
    /// For texts, of a batch of the longest ones, without what attention and activations keep.
    #[must_use]
    pub fn bytes_needed(graph: &Arc<Graph>, batch: usize) -> usize {
        let longest = graph.token_limits().map_or(0, |limits| limits.longest);
        let size = BatchSize { samples: batch, tokens: batch.saturating_mul(longest) };
        StepPlan::new(graph, false).floats(size).saturating_mul(size_of::<f32>())
    }

    /// An empty run in which batch norm takes the running statistics as constants: a sample's results
    /// do not depend on the batch around it, as in inference.
    #[must_use]
    pub fn with_frozen_statistics() -> Self {
        Self { frozen_statistics: true, ..Self::default() }
    }

    /// Runs `input`, images `[batch, channels, height, width]` or texts, forward with batch statistics, updates the
    /// network's running statistics (unless they are frozen), and keeps what
    /// [`TrainingRun::backward`] needs.
    ///
    /// # Panics
    /// When `input` is not `batch` samples of what the graph reads, or the dropout keys are of another
    /// number of samples.
    pub fn forward<'a>(
        &mut self,
        network: &mut Network,
        input: impl Into<Input<'a>>,
        batch: usize,
    ) {
        let plan = self.plan_for(network.graph());
        let graph = &plan.graph;
        let BatchInput { size, pixels, texts } = graph.take(input.into(), batch);
        let keys = self.dropout.len();
        assert!(keys == 0 || keys == batch, "{keys} dropout keys for {batch} samples");
        self.tokens.clear();
        if let Some(texts) = texts {
            self.tokens.append(texts);
        }
        self.size = size;
        self.memory.fit(plan.floats(size));
        self.states.resize_with(graph.nodes.len(), OpState::default);
        if !plan.forms.any() {
            self.on_maps = MapsMemory::default();
        } else {
            self.on_maps.begin(graph.nodes.len());
        }
        for index in 0..graph.nodes.len() {
            if plan.forms.runs[index] {
                self.run_node_on_maps(&plan, index, network);
                continue;
            }
            self.run_node(&plan, index, network, pixels);
            if plan.forms.maps[index] {
                self.write_maps(&plan, ValueId(index), None);
            }
        }
    }

    /// Sets what the next forward passes drop: a key for each sample of their batches, of which a mask
    /// is a function, or none for no dropout. Nothing is dropped before the first call.
    pub fn set_dropout(&mut self, keys: Vec<u64>) {
        self.dropout = keys;
    }

    /// Sets what the next forward passes do with the activation pattern.
    ///
    /// # Panics
    /// Forward passes panic when they hold a pattern that no pass of a batch of their size has recorded.
    pub fn set_pattern(&mut self, pattern: ActivationPattern) {
        self.pattern = pattern;
    }

    /// Sets the precision of the next steps.
    pub fn set_precision(&mut self, precision: Precision) {
        self.precision = precision;
    }

    /// Sets whose batches are one batch with that of the next steps: batch norm takes the statistics of
    /// all of them. The ranks then run the same graph, forward and backward, with gradients by the
    /// same values.
    pub fn set_together(&mut self, together: Together) {
        self.together = together;
    }

    fn plan_for(&mut self, graph: &Arc<Graph>) -> Arc<StepPlan> {
        // Between maps no pattern is held, nor recorded.
        let on_maps = self.precision == Precision::Bf16 && self.pattern == ActivationPattern::Free;
        match &self.plan {
            Some(plan) if Arc::ptr_eq(&plan.graph, graph) && self.planned_on_maps == on_maps => {
                plan.clone()
            }
            _ => {
                *self = Self {
                    frozen_statistics: self.frozen_statistics,
                    pattern: self.pattern,
                    precision: self.precision,
                    together: std::mem::take(&mut self.together),
                    dropout: std::mem::take(&mut self.dropout),
                    ..Self::default()
                };
                self.planned_on_maps = on_maps;
                self.plan.insert(Arc::new(StepPlan::new(graph, on_maps))).clone()
            }
        }
    }

    fn run_node(
        &mut self,
        plan: &StepPlan,
        index: usize,
        network: &mut Network,
        network_input: &[f32],
    ) {
        let (size, graph) = (self.size, &*plan.graph);
        let node = &graph.nodes[index];
        let mut inputs = node.inputs.iter().map(|&id| plan.value(id, size));
        let [first, second] = [inputs.next(), inputs.next()].map(Option::unwrap_or_default);
        let output = plan.value(ValueId(index), size);
        let [output, first, second] = self.memory.parts([output, first, second]);
        let first = if node.inputs.is_empty() { network_input } else { first };
        let step = ForwardStep {
            inputs: [first, second],
            output,
            parameters: &network.parameters,
            buffers: &mut network.buffers,
            state: &mut self.states[index],
            frozen_statistics: self.frozen_statistics || graph.keeps_statistics(index),
            pattern: self.pattern,
            precision: self.precision,
            tokens: &self.tokens,
            dropout: DropoutKeys { samples: &self.dropout },
            together: &self.together,
        };
        node.op.forward(&graph.site(index, size), step);
    }

    /// A value of the last forward pass, `[batch, …shape]`, or `[tokens, …shape]` where it has a row for
    /// each token: a feature tap, the map or the output.
    /// The memory of other values may have been used again.
    ///
    /// # Panics
    /// For other values, and before the first forward pass.
    #[must_use]
    pub fn value(&self, id: ValueId) -> &[f32] {
        let plan = self.plan.as_ref().expect("values are read after a forward pass");
        assert!(plan.keeps(id), "value {} is not kept", id.0);
        if plan.forms.planes[id.0] {
            self.memory.part(plan.value(id, self.size))
        } else {
            self.on_maps.planes(id)
        }
    }

    /// Samples of the last forward pass.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.size.samples
    }

    /// Bytes this run holds: values, gradients by values and by parameters.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let gradients = self.gradients.iter().map(Vec::capacity);
        let states = self.states.iter().map(OpState::capacity);
        self.memory.bytes()
            + self.maps.bytes()
            + self.on_maps.bytes()
            + 4 * gradients.chain(states).sum::<usize>()
    }

    /// Gradient of the last backward pass by each parameter of the graph.
    #[must_use]
    pub fn gradients(&self) -> &[Vec<f32>] {
        &self.gradients
    }

    /// The same for clipping and the like.
    #[must_use]
    pub fn gradients_mut(&mut self) -> &mut [Vec<f32>] {
        &mut self.gradients
    }
}

#[cfg(test)]
mod tests;
