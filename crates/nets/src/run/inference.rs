//! A frozen network compiled for speed: batch norm folded into the convolution before it, bias,
//! shortcut and ReLU applied as the convolution stores its result, memory reused as soon as a value
//! has been read for the last time. Nothing is kept for a backward pass.

use faculty_inputs::{Input, Tokens};
use std::sync::Arc;

use faculty_kernels::in_pool;

use self::maps::MapsPlan;
pub(crate) use self::step::Step;
use super::memory::{Memory, MemoryPlan, Span};
use crate::graph::{BatchInput, Graph, Node};
use crate::kv_cache::KvCache;
use crate::network::Network;
use crate::op::{FrozenOp, FrozenScratch, FrozenStep, Values};
use crate::parameter::ValueId;
use crate::precision::Precision;
use crate::shape::{BatchSize, Per};

/// A network's inference plan with its own copy of the folded weights.
#[derive(Debug)]
pub struct Inference {
    pub(crate) graph: Arc<Graph>,
    pub(crate) steps: Vec<Step>,
    kept: Vec<ValueId>,
    /// Normalisations whose value before their activation stays readable too, and where.
    held: Vec<(ValueId, usize)>,
    plan: MemoryPlan,
    memory: Memory,
    scratch: FrozenScratch,
    precision: Precision,
    /// In bfloat16.
    maps: Option<MapsPlan>,
    size: BatchSize,
}

impl Inference {
    /// Compiles `network` as it is now. Values of `kept` stay readable after a run; the output
    /// (logits) always does.
    #[must_use]
    pub fn new(network: &Network, kept: &[ValueId]) -> Self {
        Self::holding(network, kept, &[])
    }

    /// The same; the values of the batch norms `held` stay readable from before their activation
    /// ([`Inference::value_before_activation`]). No other value changes by that, not in its last bit.
    #[must_use]
    pub fn holding(network: &Network, kept: &[ValueId], held: &[ValueId]) -> Self {
        Self::with_precision(network, kept, held, Precision::F32)
    }

    /// The same in a precision. In [`Precision::Bf16`] values between convolutions are stored as
    /// bfloat16 too: what they give is rounded once more, after bias, shortcut and ReLU.
    #[must_use]
    pub fn with_precision(
        network: &Network,
        kept: &[ValueId],
        held: &[ValueId],
        precision: Precision,
    ) -> Self {
        let graph = network.graph().clone();
        let held: Vec<(ValueId, usize)> = held.iter().copied().zip(graph.nodes.len()..).collect();
        let mut kept = kept.to_vec();
        kept.push(graph.output());
        // A tap may always be read, so that what is folded, and with it the last bit of the logits,
        // does not depend on what is kept.
        let outside = [graph.features(), &kept].concat();
        let folds = Folds::of(&graph, &outside);
        let values = Values {
            parameters: &network.parameters,
            buffers: &network.buffers,
            specs: graph.parameters(),
        };
        let mut steps = Vec::new();
        for (index, node) in graph.nodes.iter().enumerate().skip(1) {
            // Deferred to the norm that alone reads it.
            if folds.is_deferred(index) {
                continue;
            }
            let folded = folds.fold(&graph, index, values);
            let mut inputs = node.inputs.clone();
            if folded.is_some() {
                inputs[0] = graph.nodes[inputs[0].0].inputs[0];
            }
            let op = folded.unwrap_or_else(|| node.op.freeze(values));
            let held = held.iter().find(|(id, _)| id.0 == index).map(|(_, place)| *place);
            steps.push(Step { node: index, held, inputs, op });
        }
        let maps = (precision == Precision::Bf16).then(|| MapsPlan::new(&graph, &steps, &kept));
        // Values that no step makes (the input, folded convolutions) need no memory, nor do those that
        // are maps only.
        let mut spans = vec![
            Span { len: 0, per: Per::Sample, first: 0, last: 0 };
            graph.nodes.len() + held.len()
        ];
        for (position, step) in steps.iter().enumerate() {
            let Node { shape, per, .. } = graph.nodes[step.node];
            let is_planes = maps.as_ref().is_none_or(|maps| maps.has_planes(position));
            let len = if is_planes { shape.elements() } else { 0 };
            spans[step.node] = Span { len, per, first: position, last: position };
            if let Some(held) = step.held {
                let len = shape.elements();
                spans[held] = Span { len, per, first: position, last: steps.len() };
            }
            for input in &step.inputs {
                spans[input.0].last = position;
            }
        }
        for value in &kept {
            spans[value.0].last = steps.len();
        }
        let plan = MemoryPlan::new(&spans);
        let (memory, scratch) = (Memory::default(), FrozenScratch::default());
        let size = BatchSize::default();
        Self { graph, steps, kept, held, plan, memory, scratch, precision, maps, size }
    }

    /// The graph that was compiled.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Runs `input`, images `[batch, channels, height, width]` or texts, and returns the logits
    /// `[batch, classes]`.
    ///
    /// # Panics
    /// When `input` is not `batch` samples of what the graph reads.
    pub fn run<'a>(&mut self, input: impl Into<Input<'a>>, batch: usize) -> &[f32] {
        let graph = self.graph.clone();
        let BatchInput { size, pixels, texts } = graph.take(input.into(), batch);
        self.size = size;
        self.memory.fit(self.plan.floats(size));
        let none = Tokens::default();
        in_pool(|| self.run_steps(&graph, pixels, texts.unwrap_or(&none), None));
        self.value(graph.output())
    }

    /// Runs texts, or with a cache the next tokens of its texts, which are added to it; gives the
    /// output.
    ///
    /// # Panics
    /// When the graph reads no texts, one has no token or too many, or the cache has other rows or no
    /// room for them.
    pub(crate) fn run_tokens(
        &mut self,
        tokens: &Tokens,
        mut cache: Option<&mut KvCache>,
    ) -> &[f32] {
        let graph = self.graph.clone();
        self.size = graph.take_tokens(tokens, tokens.len());
        if let Some(cache) = &cache {
            cache.check(tokens);
        }
        self.memory.fit(self.plan.floats(self.size));
        in_pool(|| self.run_steps(&graph, &[], tokens, cache.as_deref_mut()));
        if let Some(cache) = cache {
            cache.advance(tokens);
        }
        self.value(graph.output())
    }

    fn run_steps(
        &mut self,
        graph: &Graph,
        input: &[f32],
        tokens: &Tokens,
        mut cache: Option<&mut KvCache>,
    ) {
        if let Some(maps) = &mut self.maps {
            maps.take_input(graph, input, self.size);
        }
        for position in 0..self.steps.len() {
            if self.maps.as_ref().is_some_and(|maps| maps.runs(position)) {
                self.run_on_maps(position);
            } else {
                self.run_on_planes(graph, position, input, tokens, cache.as_deref_mut());
            }
        }
    }

    /// Runs a step between values of `f32`.
    fn run_on_planes(
        &mut self,
        graph: &Graph,
        position: usize,
        input: &[f32],
        tokens: &Tokens,
        cache: Option<&mut KvCache>,
    ) {
        let (step, size) = (&self.steps[position], self.size);
        let ids = [step.inputs.first(), step.inputs.get(1)];
        let [first, second] = ids.map(|id| id.map_or(0..0, |id| self.plan.range(id.0, size)));
        let made = self.plan.range(step.held.unwrap_or(step.node), size);
        let [output, first, second] = self.memory.parts([made, first, second]);
        let inputs = [(first, ids[0]), (second, ids[1])].map(|(part, id)| match id {
            Some(ValueId(0)) => input,
            _ => part,
        });
        let (site, activate) = (step.site(graph, size), step.held.is_none());
        let (scratch, precision) = (&mut self.scratch, self.precision);
        step.op
            .run(&site, FrozenStep { inputs, activate, output, scratch, precision, tokens, cache });
        self.activate(position);
        let step = &self.steps[position];
        let made = self.plan.range(step.node, size);
        if let Some(maps) = &mut self.maps {
            maps.take_planes(graph, step, self.memory.part(made), size);
        }
    }

    /// Runs a step between maps of bfloat16.
    fn run_on_maps(&mut self, position: usize) {
        let (step, size) = (&self.steps[position], self.size);
        let maps = self.maps.as_mut().expect("the plan has maps");
        maps.run(position, step);
        let place = step.held.unwrap_or(step.node);
        if maps.has_planes(position) || step.held.is_some() {
            let [planes] = self.memory.parts([self.plan.range(place, size)]);
            maps.read(step.node, planes);
        }
        if step.held.is_some() {
            // What reads the value is to see it behind the activation.
            maps.activate(step.node);
            if maps.has_planes(position) {
                let [planes] = self.memory.parts([self.plan.range(step.node, size)]);
                maps.read(step.node, planes);
            }
        }
    }

    /// Applies ReLU behind a value that is held.
    fn activate(&mut self, position: usize) {
        let Step { node, held: Some(held), .. } = self.steps[position] else { return };
        let [node, held] = [node, held].map(|value| self.plan.range(value, self.size));
        let [activated, value] = self.memory.parts([node, held]);
        activated.iter_mut().zip(value).for_each(|(to, from)| *to = from.max(0.0));
    }

    /// Bytes of the values between steps.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let maps = self.maps.as_ref().map_or(0, MapsPlan::bytes);
        self.memory.bytes() + self.scratch.bytes() + maps
    }

    /// A kept value of the last run, `[batch, …shape]`, or `[tokens, …shape]` where it has a row for each
    /// token.
    ///
    /// # Panics
    /// When the value was not among those kept.
    #[must_use]
    pub fn value(&self, id: ValueId) -> &[f32] {
        assert!(self.kept.contains(&id), "value {} was not kept", id.0);
        self.memory.part(self.plan.range(id.0, self.size))
    }

    /// A held value of the last run from before its activation, `[batch, …shape]`.
    ///
    /// # Panics
    /// When it was not among those held.
    #[must_use]
    pub fn value_before_activation(&self, id: ValueId) -> &[f32] {
        let held = self.held.iter().find(|(own, _)| *own == id);
        let (_, place) = held.unwrap_or_else(|| panic!("value {} was not held", id.0));
        self.memory.part(self.plan.range(*place, self.size))
    }
}

/// Which operations are computed as one with the norm behind them.
struct Folds {
    deferred: Vec<bool>,
}

impl Folds {
    /// `outside` are values that are read from outside.
    fn of(graph: &Graph, outside: &[ValueId]) -> Self {
        let mut readers = vec![0; graph.nodes.len()];
        let inputs = graph.nodes.iter().flat_map(|node| node.inputs.iter().copied());
        for id in inputs.chain(outside.iter().copied()) {
            readers[id.0] += 1;
        }
        let mut deferred = vec![false; graph.nodes.len()];
        for node in graph.nodes.iter().skip(1).filter(|node| node.op.is_norm()) {
            let before = node.inputs[0].0;
            deferred[before] = readers[before] == 1 && graph.nodes[before].op.folds();
        }
        Self { deferred }
    }

    /// A norm as one with what is deferred to it.
    fn fold(&self, graph: &Graph, node: usize, values: Values<'_>) -> Option<Box<dyn FrozenOp>> {
        let before = graph.nodes[node].inputs[0].0;
        if before == 0 || !self.is_deferred(before) {
            return None;
        }
        let norm = graph.nodes[node].op.as_norm(values).expect("only norms are folded into");
        let folded = graph.nodes[before].op.fold(&norm, values);
        Some(folded.expect("only what folds is deferred"))
    }

    fn is_deferred(&self, node: usize) -> bool {
        self.deferred[node]
    }
}

mod maps;
mod step;
#[cfg(test)]
mod tests;
