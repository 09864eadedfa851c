//! A training run of a graph: forward with batch statistics, backward to every parameter.
//!
//! Losses live elsewhere. They read values ([`TrainingRun::value`]) and hand back their gradients by
//! any of them ([`TrainingRun::backward`]): logits, feature taps, or the output of a connector whose
//! input gradient then goes into another run.

use std::collections::HashMap;

use faculty_kernels::batch_norm::{NormShape, batch_norm_train, batch_norm_train_backward};
use faculty_kernels::conv2d::{
    Conv2dShape, conv2d, conv2d_bias_grad, conv2d_input_grad, conv2d_weight_grad,
};
use faculty_kernels::elementwise::add_scaled;
use faculty_kernels::linear::{LinearShape, linear, linear_backward};
use faculty_kernels::pool::{
    adaptive_avg_pool2d, adaptive_avg_pool2d_backward, global_avg_pool, global_avg_pool_backward,
};
use faculty_kernels::resize::{ResizeShape, resize_bilinear, resize_bilinear_backward};

use crate::graph::{
    BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, Graph, MapShape, Node, Operation, ValueId,
};
use crate::network::Network;

/// Memory and results of one network's current training step. Buffers are kept between steps, so
/// that no step after the first touches fresh memory.
#[derive(Debug, Default)]
pub struct TrainingRun {
    batch: usize,
    values: Vec<Vec<f32>>,
    /// Batch mean and biased variance, for batch-norm nodes.
    statistics: Vec<(Vec<f32>, Vec<f32>)>,
    gradients: Vec<Vec<f32>>,
    pool: Pool,
}

impl TrainingRun {
    /// An empty run; buffers grow at the first step.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `input` (`[batch, channels, height, width]`) forward with batch statistics, updates the
    /// network's running statistics, and keeps every value for [`TrainingRun::backward`].
    ///
    /// # Panics
    /// When `input` does not have `batch` samples of the graph's input shape.
    pub fn forward(&mut self, network: &mut Network, input: &[f32], batch: usize) {
        let graph = network.graph().clone();
        assert_eq!(
            input.len(),
            batch * graph.input_shape().elements(),
            "input must be [batch, {}]",
            graph.input_shape()
        );
        self.batch = batch;
        self.values.resize_with(graph.nodes.len(), Vec::new);
        self.statistics.resize_with(graph.nodes.len(), Default::default);
        for (index, node) in graph.nodes.iter().enumerate() {
            let mut output = std::mem::take(&mut self.values[index]);
            output.resize(batch * node.shape.elements(), 0.0);
            self.run_node(&graph, index, node, network, input, &mut output);
            self.values[index] = output;
        }
    }

    fn run_node(
        &mut self,
        graph: &Graph,
        index: usize,
        node: &Node,
        network: &mut Network,
        input: &[f32],
        output: &mut [f32],
    ) {
        let batch = self.batch;
        let value = |id: ValueId| self.values[id.0].as_slice();
        match node.operation {
            Operation::Input => output.copy_from_slice(input),
            Operation::Conv2d { input, weight, bias, .. } => conv2d(
                &conv_shape(batch, graph, node),
                value(input),
                &network.parameters[weight.0],
                bias.map(|b| network.parameters[b.0].as_slice()),
                output,
            ),
            Operation::BatchNorm {
                input,
                gamma,
                beta,
                running_mean,
                running_variance,
                residual,
                relu,
            } => {
                let (mut mean, mut variance) = std::mem::take(&mut self.statistics[index]);
                mean.resize(node.shape.channels, 0.0);
                variance.resize(node.shape.channels, 0.0);
                let shape = norm_shape(batch, node.shape);
                batch_norm_train(
                    &shape,
                    value(input),
                    &network.parameters[gamma.0],
                    &network.parameters[beta.0],
                    BATCH_NORM_EPSILON,
                    residual.map(value),
                    relu,
                    output,
                    &mut mean,
                    &mut variance,
                );
                // PyTorch normalises by the biased variance but records the unbiased one.
                let count = (batch * node.shape.positions()) as f32;
                let unbiased = if count > 1.0 { count / (count - 1.0) } else { 1.0 };
                blend(&mut network.buffers[running_mean.0], &mean, 1.0);
                blend(&mut network.buffers[running_variance.0], &variance, unbiased);
                self.statistics[index] = (mean, variance);
            }
            Operation::GlobalAvgPool { input } => {
                let from = graph.shape(input);
                global_avg_pool(batch * from.channels, from.positions(), value(input), output);
            }
            Operation::Resize { input } => {
                resize(batch, graph.shape(input), node.shape, value(input), output);
            }
            Operation::Linear { input, weight, bias } => linear(
                &linear_shape(batch, graph.shape(input), node.shape),
                value(input),
                &network.parameters[weight.0],
                &network.parameters[bias.0],
                output,
            ),
        }
    }

    /// The value of the last forward pass, `[batch, …shape]`.
    #[must_use]
    pub fn value(&self, id: ValueId) -> &[f32] {
        &self.values[id.0]
    }

    /// Samples of the last forward pass.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.batch
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

    /// Carries the loss gradients by the given values back to all parameters
    /// ([`TrainingRun::gradients`]). Returns the gradient by the input when `input_gradient` is set.
    ///
    /// Several gradients by one value add up. Parameters that no loss reaches get zeros.
    ///
    /// # Panics
    /// When a gradient has another length than its value.
    pub fn backward(
        &mut self,
        network: &Network,
        loss_gradients: impl IntoIterator<Item = (ValueId, Vec<f32>)>,
        input_gradient: bool,
    ) -> Option<Vec<f32>> {
        let graph = network.graph().clone();
        self.gradients.resize_with(graph.parameters.len(), Vec::new);
        for (gradient, values) in self.gradients.iter_mut().zip(&network.parameters) {
            gradient.clear();
            gradient.resize(values.len(), 0.0);
        }
        let mut pending: Vec<Option<Vec<f32>>> = vec![None; graph.nodes.len()];
        for (id, gradient) in loss_gradients {
            assert_eq!(gradient.len(), self.values[id.0].len(), "gradient of value {}", id.0);
            self.add(&mut pending, id, gradient);
        }
        for (index, node) in graph.nodes.iter().enumerate().skip(1).rev() {
            if let Some(gradient) = pending[index].take() {
                self.node_backward(
                    &graph,
                    index,
                    node,
                    network,
                    gradient,
                    &mut pending,
                    input_gradient,
                );
            }
        }
        input_gradient.then(|| pending[0].take().unwrap_or_else(|| vec![0.0; self.values[0].len()]))
    }

    fn node_backward(
        &mut self,
        graph: &Graph,
        index: usize,
        node: &Node,
        network: &Network,
        gradient: Vec<f32>,
        pending: &mut [Option<Vec<f32>>],
        input_gradient: bool,
    ) {
        let batch = self.batch;
        match node.operation {
            Operation::Input => unreachable!("the input has no operation to go back through"),
            Operation::Conv2d { input, weight, bias, .. } => {
                let shape = conv_shape(batch, graph, node);
                conv2d_weight_grad(
                    &shape,
                    &self.values[input.0],
                    &gradient,
                    &mut self.gradients[weight.0],
                );
                if let Some(bias) = bias {
                    conv2d_bias_grad(&shape, &gradient, &mut self.gradients[bias.0]);
                }
                if input.0 != 0 || input_gradient {
                    let mut by_input = self.pool.take(self.values[input.0].len());
                    let weight = &network.parameters[weight.0];
                    conv2d_input_grad(&shape, weight, &gradient, &mut by_input);
                    self.add(pending, input, by_input);
                }
                self.pool.give(gradient);
            }
            Operation::BatchNorm { input, gamma, beta, residual, relu, .. } => {
                let mut by_input = self.pool.take(gradient.len());
                let mut by_residual = residual.is_some().then(|| self.pool.take(gradient.len()));
                let (mean, variance) = &self.statistics[index];
                let [by_gamma, by_beta] = self
                    .gradients
                    .get_disjoint_mut([gamma.0, beta.0])
                    .expect("gamma and beta are two parameters of the graph");
                batch_norm_train_backward(
                    &norm_shape(batch, node.shape),
                    &self.values[input.0],
                    relu.then_some(self.values[index].as_slice()),
                    &gradient,
                    &network.parameters[gamma.0],
                    mean,
                    variance,
                    BATCH_NORM_EPSILON,
                    &mut by_input,
                    by_gamma,
                    by_beta,
                    by_residual.as_deref_mut(),
                );
                self.add(pending, input, by_input);
                if let (Some(residual), Some(by_residual)) = (residual, by_residual) {
                    self.add(pending, residual, by_residual);
                }
                self.pool.give(gradient);
            }
            Operation::GlobalAvgPool { input } => {
                let mut by_input = self.pool.take(self.values[input.0].len());
                let from = graph.shape(input);
                let planes = batch * from.channels;
                global_avg_pool_backward(planes, from.positions(), &gradient, &mut by_input);
                self.add(pending, input, by_input);
                self.pool.give(gradient);
            }
            Operation::Resize { input } => {
                let mut by_input = self.pool.take(self.values[input.0].len());
                let from = graph.shape(input);
                resize_backward(batch, from, node.shape, &gradient, &mut by_input);
                self.add(pending, input, by_input);
                self.pool.give(gradient);
            }
            Operation::Linear { input, weight, bias } => {
                let mut by_input = self.pool.take(self.values[input.0].len());
                let [by_weight, by_bias] = self
                    .gradients
                    .get_disjoint_mut([weight.0, bias.0])
                    .expect("weight and bias are two parameters of the graph");
                linear_backward(
                    &linear_shape(batch, graph.shape(input), node.shape),
                    &self.values[input.0],
                    &network.parameters[weight.0],
                    &gradient,
                    &mut by_input,
                    by_weight,
                    by_bias,
                );
                self.add(pending, input, by_input);
                self.pool.give(gradient);
            }
        }
    }

    fn add(&mut self, pending: &mut [Option<Vec<f32>>], id: ValueId, gradient: Vec<f32>) {
        match &mut pending[id.0] {
            Some(sum) => {
                add_scaled(sum, 1.0, &gradient);
                self.pool.give(gradient);
            }
            empty => *empty = Some(gradient),
        }
    }
}

/// Gradient buffers by length, reused within a step and across steps.
#[derive(Debug, Default)]
struct Pool {
    free: HashMap<usize, Vec<Vec<f32>>>,
}

impl Pool {
    /// Two buffers of one length are enough for any backward pass through a chain with shortcuts;
    /// a few more cost little, and a bound keeps buffers that came from outside from piling up.
    const KEPT: usize = 4;

    /// A buffer with arbitrary content.
    fn take(&mut self, len: usize) -> Vec<f32> {
        self.free.get_mut(&len).and_then(Vec::pop).unwrap_or_else(|| vec![0.0; len])
    }

    fn give(&mut self, buffer: Vec<f32>) {
        let free = self.free.entry(buffer.len()).or_default();
        if free.len() < Self::KEPT {
            free.push(buffer);
        }
    }
}

/// `running = (1 - momentum) running + momentum · scale · batch`
fn blend(running: &mut [f32], batch: &[f32], scale: f32) {
    for (running, &batch) in running.iter_mut().zip(batch) {
        *running += BATCH_NORM_MOMENTUM * (scale * batch - *running);
    }
}

pub(crate) fn conv_shape(batch: usize, graph: &Graph, node: &Node) -> Conv2dShape {
    let Operation::Conv2d { input, kernel, stride, padding, groups, .. } = node.operation else {
        unreachable!("only called for convolutions");
    };
    let from = graph.shape(input);
    Conv2dShape {
        batch,
        in_channels: from.channels,
        in_height: from.height,
        in_width: from.width,
        out_channels: node.shape.channels,
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [padding; 2],
        groups,
    }
}

pub(crate) fn norm_shape(batch: usize, shape: MapShape) -> NormShape {
    NormShape { batch, channels: shape.channels, spatial: shape.positions() }
}

pub(crate) fn linear_shape(batch: usize, from: MapShape, to: MapShape) -> LinearShape {
    LinearShape { batch, inputs: from.elements(), outputs: to.channels }
}

/// Sizes of one resize along both axes.
fn resize_shape(batch: usize, from: MapShape, to: MapShape) -> ResizeShape {
    ResizeShape {
        planes: batch * from.channels,
        input: [from.height, from.width],
        output: [to.height, to.width],
    }
}

/// Average pooling where the map shrinks, bilinear where it grows (CA-MKD's rule; a map that
/// shrinks along one axis and grows along the other counts as growing).
fn shrinks(from: MapShape, to: MapShape) -> bool {
    to.height <= from.height && to.width <= from.width
}

pub(crate) fn resize(
    batch: usize,
    from: MapShape,
    to: MapShape,
    input: &[f32],
    output: &mut [f32],
) {
    let shape = resize_shape(batch, from, to);
    if shrinks(from, to) {
        adaptive_avg_pool2d(&shape, input, output);
    } else {
        resize_bilinear(&shape, input, output);
    }
}

fn resize_backward(
    batch: usize,
    from: MapShape,
    to: MapShape,
    gradient: &[f32],
    by_input: &mut [f32],
) {
    let shape = resize_shape(batch, from, to);
    if shrinks(from, to) {
        adaptive_avg_pool2d_backward(&shape, gradient, by_input);
    } else {
        resize_bilinear_backward(&shape, gradient, by_input);
    }
}
