//! A frozen network compiled for speed: batch norm folded into the convolution before it, bias,
//! shortcut and ReLU applied as the convolution stores its result, memory reused as soon as a value
//! has been read for the last time. Nothing is kept for a backward pass.

use std::sync::Arc;

use faculty_kernels::batch_norm::batch_norm_inference;
use faculty_kernels::channels::join_channels;
use faculty_kernels::conv2d::conv2d_fused;
use faculty_kernels::in_pool;
use faculty_kernels::linear::linear;
use faculty_kernels::pool::{avg_pool2d, global_avg_pool, max_pool2d};

use crate::graph::{BATCH_NORM_EPSILON, Graph, Operation, PoolKind, ValueId, Window};
use crate::memory::{Memory, MemoryPlan, Span};
use crate::network::Network;
use crate::training::{channels_shape, conv_shape, linear_shape, norm_shape, pool_shape, resize};

/// A network's inference plan with its own copy of the folded weights.
#[derive(Debug)]
pub struct Inference {
    graph: Arc<Graph>,
    steps: Vec<Step>,
    wanted: Vec<ValueId>,
    /// Normalisations whose value before their activation stays readable too, and where.
    held: Vec<(ValueId, usize)>,
    plan: MemoryPlan,
    memory: Memory,
    /// Where maxima were: the pooling kernel finds them, nobody reads them.
    maxima: Vec<u32>,
    batch: usize,
}

/// One fused operation; `node` is the value it makes, `held` where it lies before its activation if
/// that is wanted.
#[derive(Debug)]
struct Step {
    node: usize,
    held: Option<usize>,
    work: Work,
}

#[derive(Debug)]
enum Work {
    /// Convolution described by node `conv`, with folded weight and bias.
    Conv {
        conv: usize,
        weight: Vec<f32>,
        bias: Option<Vec<f32>>,
        residual: Option<ValueId>,
        relu: bool,
    },
    /// Batch norm that does not follow a convolution.
    Norm {
        input: ValueId,
        /// Gamma, beta, running mean and running variance.
        constants: [Vec<f32>; 4],
        residual: Option<ValueId>,
        relu: bool,
    },
    Pool {
        input: ValueId,
        kind: PoolKind,
        window: Window,
    },
    /// Picked channels, described by the node itself.
    Channels {
        first: ValueId,
        second: Option<ValueId>,
    },
    GlobalAvgPool {
        input: ValueId,
    },
    Resize {
        input: ValueId,
    },
    Linear {
        input: ValueId,
        weight: Vec<f32>,
        bias: Vec<f32>,
    },
}

impl Inference {
    /// Compiles `network` as it is now. `wanted` values stay readable after a run; the output
    /// (logits) always does.
    #[must_use]
    pub fn new(network: &Network, wanted: &[ValueId]) -> Self {
        Self::holding(network, wanted, &[])
    }

    /// The same; the values of the batch norms `held` stay readable from before their activation
    /// ([`Inference::value_before_activation`]). No other value changes by that, not in its last bit.
    #[must_use]
    pub fn holding(network: &Network, wanted: &[ValueId], held: &[ValueId]) -> Self {
        let graph = network.graph().clone();
        let held: Vec<(ValueId, usize)> = held.iter().copied().zip(graph.nodes.len()..).collect();
        let mut wanted = wanted.to_vec();
        wanted.push(graph.output());
        // A tap may always be read, so that what is folded, and with it the last bit of the logits,
        // does not depend on what is wanted.
        let outside = [graph.features(), &wanted].concat();
        let readers = reader_counts(&graph, &outside);
        let mut steps = Vec::new();
        for (index, node) in graph.nodes.iter().enumerate() {
            let work = match node.operation {
                Operation::Input => continue,
                // Deferred to the batch norm that alone reads it.
                Operation::Conv2d { .. } if folds_into_next(&graph, index, &readers) => continue,
                Operation::Conv2d { weight, bias, residual, .. } => Work::Conv {
                    conv: index,
                    weight: network.parameters[weight.0].clone(),
                    bias: bias.map(|b| network.parameters[b.0].clone()),
                    residual,
                    relu: false,
                },
                Operation::BatchNorm { input, residual, relu, .. } => {
                    let constants = norm_constants(network, node.operation);
                    if folds_into_next(&graph, input.0, &readers) {
                        folded_conv(network, &graph, input.0, &constants, residual, relu)
                    } else {
                        Work::Norm { input, constants, residual, relu }
                    }
                }
                Operation::Pool { input, kind, window } => Work::Pool { input, kind, window },
                Operation::Channels { first, second, .. } => Work::Channels { first, second },
                Operation::GlobalAvgPool { input } => Work::GlobalAvgPool { input },
                Operation::Resize { input } => Work::Resize { input },
                Operation::Linear { input, weight, bias } => Work::Linear {
                    input,
                    weight: network.parameters[weight.0].clone(),
                    bias: network.parameters[bias.0].clone(),
                },
            };
            let held = held.iter().find(|(id, _)| id.0 == index).map(|(_, place)| *place);
            steps.push(Step { node: index, held, work });
        }
        // Values that no step makes (the input, folded convolutions) need no memory.
        let mut spans = vec![Span { len: 0, first: 0, last: 0 }; graph.nodes.len() + held.len()];
        for (position, step) in steps.iter().enumerate() {
            let len = graph.nodes[step.node].shape.elements();
            spans[step.node] = Span { len, first: position, last: position };
            if let Some(held) = step.held {
                spans[held] = Span { len, first: position, last: steps.len() };
            }
            for input in step.work.inputs(&graph) {
                spans[input.0].last = position;
            }
        }
        for value in &wanted {
            spans[value.0].last = steps.len();
        }
        let plan = MemoryPlan::new(&spans);
        let (memory, maxima) = (Memory::default(), Vec::new());
        Self { graph, steps, wanted, held, plan, memory, maxima, batch: 0 }
    }

    /// The graph that was compiled.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Runs `input` (`[batch, channels, height, width]`) and returns the logits `[batch, classes]`.
    ///
    /// # Panics
    /// When `input` does not have `batch` samples of the graph's input shape.
    pub fn run(&mut self, input: &[f32], batch: usize) -> &[f32] {
        let graph = self.graph.clone();
        let shape = graph.input_shape();
        assert_eq!(input.len(), batch * shape.elements(), "input must be [batch, {shape}]");
        self.batch = batch;
        self.memory.fit(self.plan.total() * batch);
        in_pool(|| self.run_steps(&graph, input));
        self.value(graph.output())
    }

    fn run_steps(&mut self, graph: &Graph, input: &[f32]) {
        let batch = self.batch;
        for step in &self.steps {
            let mut inputs = step.work.inputs(graph);
            let ids = [inputs.next(), inputs.next()];
            let [first, second] = ids.map(|id| id.map_or(0..0, |id| self.plan.range(id.0, batch)));
            let made = self.plan.range(step.held.unwrap_or(step.node), batch);
            let [output, first, second] = self.memory.parts([made.clone(), first, second]);
            let [first, second] = [(first, ids[0]), (second, ids[1])].map(|(part, id)| match id {
                Some(ValueId(0)) => input,
                _ => part,
            });
            let activate = step.held.is_none();
            let inputs = [first, second];
            step.work.run(graph, step.node, batch, inputs, activate, output, &mut self.maxima);
            if !activate {
                let activated = self.plan.range(step.node, batch);
                let [activated, value] = self.memory.parts([activated, made]);
                activated.iter_mut().zip(value).for_each(|(to, from)| *to = from.max(0.0));
            }
        }
    }

    /// Bytes of the values between steps.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.memory.bytes() + 4 * self.maxima.capacity()
    }

    /// A wanted value of the last run, `[batch, …shape]`.
    ///
    /// # Panics
    /// When the value was not among those wanted.
    #[must_use]
    pub fn value(&self, id: ValueId) -> &[f32] {
        assert!(self.wanted.contains(&id), "value {} was not kept", id.0);
        self.memory.part(self.plan.range(id.0, self.batch))
    }

    /// A held value of the last run from before its activation, `[batch, …shape]`.
    ///
    /// # Panics
    /// When it was not among those held.
    #[must_use]
    pub fn value_before_activation(&self, id: ValueId) -> &[f32] {
        let held = self.held.iter().find(|(own, _)| *own == id);
        let (_, place) = held.unwrap_or_else(|| panic!("value {} was not held", id.0));
        self.memory.part(self.plan.range(*place, self.batch))
    }
}

impl Work {
    fn inputs(&self, graph: &Graph) -> impl Iterator<Item = ValueId> {
        let [first, second] = match *self {
            Self::Conv { conv, residual, .. } => {
                [graph.nodes[conv].operation.inputs().next(), residual]
            }
            Self::Norm { input, residual, .. } => [Some(input), residual],
            Self::Channels { first, second } => [Some(first), second],
            Self::Pool { input, .. }
            | Self::GlobalAvgPool { input }
            | Self::Resize { input }
            | Self::Linear { input, .. } => [Some(input), None],
        };
        first.into_iter().chain(second)
    }

    /// Computes the value of `node` from the inputs in the order of [`Work::inputs`]; without
    /// `activate` as it is before its activation.
    #[expect(clippy::too_many_arguments, reason = "a step's whole surroundings, in one place")]
    fn run(
        &self,
        graph: &Graph,
        node: usize,
        batch: usize,
        [first, second]: [&[f32]; 2],
        activate: bool,
        output: &mut [f32],
        maxima: &mut Vec<u32>,
    ) {
        let shape = graph.nodes[node].shape;
        match self {
            Self::Conv { conv, weight, bias, residual, relu } => conv2d_fused(
                &conv_shape(batch, graph, &graph.nodes[*conv]),
                first,
                weight,
                bias.as_deref(),
                residual.map(|_| second),
                *relu && activate,
                output,
            ),
            Self::Norm { constants: [gamma, beta, mean, variance], residual, relu, .. } => {
                batch_norm_inference(
                    &norm_shape(batch, shape),
                    first,
                    gamma,
                    beta,
                    mean,
                    variance,
                    BATCH_NORM_EPSILON,
                    residual.map(|_| second),
                    *relu && activate,
                    output,
                );
            }
            Self::Pool { input, kind, window } => {
                let shape = pool_shape(batch, graph.shape(*input), *window);
                match kind {
                    PoolKind::Max => {
                        maxima.resize(output.len(), 0);
                        max_pool2d(&shape, first, output, maxima);
                    }
                    PoolKind::Average => avg_pool2d(&shape, first, output),
                }
            }
            Self::Channels { .. } => {
                let shape = channels_shape(batch, graph, &graph.nodes[node]);
                join_channels(&shape, first, second, output);
            }
            Self::GlobalAvgPool { input } => {
                let from = graph.shape(*input);
                global_avg_pool(batch * from.channels, from.positions(), first, output);
            }
            Self::Resize { input } => {
                resize(batch, graph.shape(*input), shape, first, output);
            }
            Self::Linear { input, weight, bias } => linear(
                &linear_shape(batch, graph.shape(*input), shape),
                first,
                weight,
                bias,
                output,
            ),
        }
    }
}

/// How many operations (or outside readers) read each value.
fn reader_counts(graph: &Graph, wanted: &[ValueId]) -> Vec<usize> {
    let mut readers = vec![0; graph.nodes.len()];
    let inputs = graph.nodes.iter().flat_map(|node| node.operation.inputs());
    for id in inputs.chain(wanted.iter().copied()) {
        readers[id.0] += 1;
    }
    readers
}

/// Whether node `index` is a convolution, without a shortcut added, that only a batch norm reads.
fn folds_into_next(graph: &Graph, index: usize, readers: &[usize]) -> bool {
    let is_conv = matches!(graph.nodes[index].operation, Operation::Conv2d { residual: None, .. });
    let read_by_norm = graph.nodes.iter().any(
        |node| matches!(node.operation, Operation::BatchNorm { input, .. } if input.0 == index),
    );
    is_conv && read_by_norm && readers[index] == 1
}

/// Gamma, beta, running mean and running variance of a batch norm.
fn norm_constants(network: &Network, operation: Operation) -> [Vec<f32>; 4] {
    let Operation::BatchNorm { gamma, beta, running_mean, running_variance, .. } = operation else {
        unreachable!("only called for batch norm");
    };
    [
        network.parameters[gamma.0].clone(),
        network.parameters[beta.0].clone(),
        network.buffers[running_mean.0].clone(),
        network.buffers[running_variance.0].clone(),
    ]
}

/// Convolution and batch norm as one convolution with bias.
fn folded_conv(
    network: &Network,
    graph: &Graph,
    conv: usize,
    [gamma, beta, mean, variance]: &[Vec<f32>; 4],
    residual: Option<ValueId>,
    relu: bool,
) -> Work {
    let Operation::Conv2d { weight, bias, .. } = graph.nodes[conv].operation else {
        unreachable!("only called for convolutions");
    };
    let weight = &network.parameters[weight.0];
    let channels = gamma.len();
    let per_channel = weight.len() / channels.max(1);
    let mut folded = Vec::with_capacity(weight.len());
    let mut folded_bias = Vec::with_capacity(channels);
    for channel in 0..channels {
        let scale = gamma[channel] / (variance[channel] + BATCH_NORM_EPSILON).sqrt();
        let own = bias.map_or(0.0, |bias| network.parameters[bias.0][channel]);
        let row = &weight[channel * per_channel..(channel + 1) * per_channel];
        folded.extend(row.iter().map(|w| w * scale));
        folded_bias.push(beta[channel] + (own - mean[channel]) * scale);
    }
    Work::Conv { conv, weight: folded, bias: Some(folded_bias), residual, relu }
}

pub(crate) mod onnx;
#[cfg(test)]
mod tests;
