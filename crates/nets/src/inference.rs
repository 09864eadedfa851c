//! A frozen network compiled for speed: batch norm folded into the convolution before it, bias,
//! shortcut and ReLU applied as the convolution stores its result, memory reused as soon as a value
//! has been read for the last time. Nothing is kept for a backward pass.

use std::sync::Arc;

use faculty_kernels::batch_norm::batch_norm_inference;
use faculty_kernels::conv2d::conv2d_fused;
use faculty_kernels::linear::linear;
use faculty_kernels::pool::global_avg_pool;

use crate::graph::{BATCH_NORM_EPSILON, Graph, Operation, ValueId};
use crate::network::Network;
use crate::training::{conv_shape, linear_shape, norm_shape, resize};

/// A network's inference plan with its own copy of the folded weights.
#[derive(Debug)]
pub struct Inference {
    graph: Arc<Graph>,
    steps: Vec<Step>,
    wanted: Vec<ValueId>,
    /// Node index → steps after which its value is no longer needed.
    last_use: Vec<usize>,
    values: Vec<Vec<f32>>,
    spare: Vec<Vec<f32>>,
}

/// One fused operation; `node` is the value it makes.
#[derive(Debug)]
struct Step {
    node: usize,
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
        let graph = network.graph().clone();
        let mut wanted = wanted.to_vec();
        wanted.push(graph.output());
        let readers = reader_counts(&graph, &wanted);
        let mut steps = Vec::new();
        for (index, node) in graph.nodes.iter().enumerate() {
            let work = match node.operation {
                Operation::Input => continue,
                // Deferred to the batch norm that alone reads it.
                Operation::Conv2d { .. } if folds_into_next(&graph, index, &readers) => continue,
                Operation::Conv2d { weight, bias, .. } => Work::Conv {
                    conv: index,
                    weight: network.parameters[weight.0].clone(),
                    bias: bias.map(|b| network.parameters[b.0].clone()),
                    residual: None,
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
                Operation::GlobalAvgPool { input } => Work::GlobalAvgPool { input },
                Operation::Resize { input } => Work::Resize { input },
                Operation::Linear { input, weight, bias } => Work::Linear {
                    input,
                    weight: network.parameters[weight.0].clone(),
                    bias: network.parameters[bias.0].clone(),
                },
            };
            steps.push(Step { node: index, work });
        }
        let mut last_use = vec![0; graph.nodes.len()];
        for (position, step) in steps.iter().enumerate() {
            for input in step.work.inputs(&graph) {
                last_use[input.0] = position;
            }
        }
        for value in &wanted {
            last_use[value.0] = usize::MAX;
        }
        let values = vec![Vec::new(); graph.nodes.len()];
        Self { graph, steps, wanted, last_use, values, spare: Vec::new() }
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
        for position in 0..self.steps.len() {
            let step = &self.steps[position];
            let node = step.node;
            let len = batch * graph.nodes[node].shape.elements();
            let mut output = self.spare.pop().unwrap_or_default();
            // Every kernel overwrites its whole output, so old content needs no clearing.
            output.resize(len, 0.0);
            step.work.run(&graph, node, batch, input, &self.values, &mut output);
            let finished: Vec<ValueId> = step
                .work
                .inputs(&graph)
                .filter(|id| self.last_use[id.0] == position && id.0 != 0)
                .collect();
            for id in finished {
                self.spare.push(std::mem::take(&mut self.values[id.0]));
            }
            let old = std::mem::replace(&mut self.values[node], output);
            if old.capacity() > 0 {
                self.spare.push(old);
            }
        }
        self.value(graph.output())
    }

    /// A wanted value of the last run, `[batch, …shape]`.
    ///
    /// # Panics
    /// When the value was not among those wanted.
    #[must_use]
    pub fn value(&self, id: ValueId) -> &[f32] {
        assert!(self.wanted.contains(&id), "value {} was not kept", id.0);
        &self.values[id.0]
    }
}

impl Work {
    fn inputs(&self, graph: &Graph) -> impl Iterator<Item = ValueId> {
        let [first, second] = match *self {
            Self::Conv { conv, residual, .. } => {
                [graph.nodes[conv].operation.inputs().next(), residual]
            }
            Self::Norm { input, residual, .. } => [Some(input), residual],
            Self::GlobalAvgPool { input } | Self::Resize { input } | Self::Linear { input, .. } => {
                [Some(input), None]
            }
        };
        first.into_iter().chain(second)
    }

    fn run(
        &self,
        graph: &Graph,
        node: usize,
        batch: usize,
        network_input: &[f32],
        values: &[Vec<f32>],
        output: &mut [f32],
    ) {
        let value = |id: ValueId| if id.0 == 0 { network_input } else { values[id.0].as_slice() };
        let shape = graph.nodes[node].shape;
        match self {
            Self::Conv { conv, weight, bias, residual, relu } => {
                let input = graph.nodes[*conv]
                    .operation
                    .inputs()
                    .next()
                    .expect("a convolution has an input");
                conv2d_fused(
                    &conv_shape(batch, graph, &graph.nodes[*conv]),
                    value(input),
                    weight,
                    bias.as_deref(),
                    residual.map(value),
                    *relu,
                    output,
                );
            }
            Self::Norm { input, constants: [gamma, beta, mean, variance], residual, relu } => {
                batch_norm_inference(
                    &norm_shape(batch, shape),
                    value(*input),
                    gamma,
                    beta,
                    mean,
                    variance,
                    BATCH_NORM_EPSILON,
                    residual.map(value),
                    *relu,
                    output,
                );
            }
            Self::GlobalAvgPool { input } => {
                let from = graph.shape(*input);
                global_avg_pool(batch * from.channels, from.positions(), value(*input), output);
            }
            Self::Resize { input } => {
                resize(batch, graph.shape(*input), shape, value(*input), output);
            }
            Self::Linear { input, weight, bias } => linear(
                &linear_shape(batch, graph.shape(*input), shape),
                value(*input),
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

/// Whether node `index` is a convolution that only the batch norm right behind it reads.
fn folds_into_next(graph: &Graph, index: usize, readers: &[usize]) -> bool {
    let is_conv = matches!(graph.nodes[index].operation, Operation::Conv2d { .. });
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
