//! A training run of a graph: forward with batch statistics or with the running ones, backward to
//! every parameter.
//!
//! Losses live elsewhere. They read values ([`TrainingRun::value`]) and hand back their gradients by
//! any of them ([`TrainingRun::backward`]): logits, feature taps, or the output of a connector whose
//! input gradient then goes into another run.

mod backward;
mod plan;

use std::sync::Arc;

use faculty_kernels::batch_norm::{NormShape, batch_norm_inference, batch_norm_train};
use faculty_kernels::channels::{ChannelsShape, join_channels};
use faculty_kernels::conv2d::{Conv2dShape, conv2d_fused};
use faculty_kernels::linear::{LinearShape, linear};
use faculty_kernels::pool::{
    PoolShape, adaptive_avg_pool2d, avg_pool2d, global_avg_pool, max_pool2d,
};
use faculty_kernels::resize::{ResizeShape, resize_bilinear};

use crate::graph::{
    BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, Graph, MapShape, Node, Operation, PoolKind, ValueId,
    Window,
};
use crate::memory::Memory;
use crate::network::Network;
use plan::StepPlan;

/// Memory and results of one network's current training step. Memory is planned for the graph and
/// kept between steps, so that no step after the first touches fresh memory.
#[derive(Debug, Default)]
pub struct TrainingRun {
    batch: usize,
    /// Whether batch norm takes the running statistics, and leaves them.
    frozen_statistics: bool,
    plan: Option<Arc<StepPlan>>,
    memory: Memory,
    /// Batch mean and biased variance, for batch-norm nodes.
    statistics: Vec<(Vec<f32>, Vec<f32>)>,
    /// Where the maxima were, for max-pooling nodes.
    maxima: Vec<Vec<u32>>,
    gradients: Vec<Vec<f32>>,
}

impl TrainingRun {
    /// An empty run; memory comes with the first step.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes that a step of this graph takes at a batch size, before any of them is taken.
    #[must_use]
    pub fn bytes_needed(graph: &Arc<Graph>, batch: usize) -> usize {
        StepPlan::new(graph).floats(batch).saturating_mul(size_of::<f32>())
    }

    /// An empty run in which batch norm takes the running statistics as constants: a sample's results
    /// do not depend on the batch around it, as in inference.
    #[must_use]
    pub fn with_frozen_statistics() -> Self {
        Self { frozen_statistics: true, ..Self::default() }
    }

    /// Runs `input` (`[batch, channels, height, width]`) forward with batch statistics, updates the
    /// network's running statistics (unless they are frozen), and keeps what
    /// [`TrainingRun::backward`] needs.
    ///
    /// # Panics
    /// When `input` does not have `batch` samples of the graph's input shape.
    pub fn forward(&mut self, network: &mut Network, input: &[f32], batch: usize) {
        let plan = self.plan_for(network.graph());
        let graph = &plan.graph;
        assert_eq!(
            input.len(),
            batch * graph.input_shape().elements(),
            "input must be [batch, {}]",
            graph.input_shape()
        );
        self.batch = batch;
        self.memory.fit(plan.floats(batch));
        self.statistics.resize_with(graph.nodes.len(), Default::default);
        self.maxima.resize_with(graph.nodes.len(), Vec::new);
        for (index, node) in graph.nodes.iter().enumerate() {
            self.run_node(&plan, index, node, network, input);
        }
    }

    fn plan_for(&mut self, graph: &Arc<Graph>) -> Arc<StepPlan> {
        match &self.plan {
            Some(plan) if Arc::ptr_eq(&plan.graph, graph) => plan.clone(),
            _ => {
                *self = Self { frozen_statistics: self.frozen_statistics, ..Self::default() };
                self.plan.insert(Arc::new(StepPlan::new(graph))).clone()
            }
        }
    }

    fn run_node(
        &mut self,
        plan: &StepPlan,
        index: usize,
        node: &Node,
        network: &mut Network,
        network_input: &[f32],
    ) {
        let (batch, graph) = (self.batch, &*plan.graph);
        let mut inputs = node.operation.inputs().map(|id| plan.value(id, batch));
        let [first, second] = [inputs.next(), inputs.next()].map(Option::unwrap_or_default);
        let output = plan.value(ValueId(index), batch);
        let [output, first, second] = self.memory.parts([output, first, second]);
        let (first, second) = (&*first, &*second);
        match node.operation {
            Operation::Input => output.copy_from_slice(network_input),
            Operation::Conv2d { weight, bias, residual, .. } => conv2d_fused(
                &conv_shape(batch, graph, node),
                first,
                &network.parameters[weight.0],
                bias.map(|b| network.parameters[b.0].as_slice()),
                residual.map(|_| second),
                false,
                output,
            ),
            Operation::BatchNorm {
                gamma,
                beta,
                running_mean,
                running_variance,
                residual,
                relu,
                ..
            } => {
                let (mean, variance) = &mut self.statistics[index];
                let shape = norm_shape(batch, node.shape);
                if self.frozen_statistics {
                    mean.clone_from(&network.buffers[running_mean.0]);
                    variance.clone_from(&network.buffers[running_variance.0]);
                    batch_norm_inference(
                        &shape,
                        first,
                        &network.parameters[gamma.0],
                        &network.parameters[beta.0],
                        mean,
                        variance,
                        BATCH_NORM_EPSILON,
                        residual.map(|_| second),
                        relu,
                        output,
                    );
                    return;
                }
                mean.resize(node.shape.channels, 0.0);
                variance.resize(node.shape.channels, 0.0);
                batch_norm_train(
                    &shape,
                    first,
                    &network.parameters[gamma.0],
                    &network.parameters[beta.0],
                    BATCH_NORM_EPSILON,
                    residual.map(|_| second),
                    relu,
                    output,
                    mean,
                    variance,
                );
                // PyTorch normalises by the biased variance but records the unbiased one.
                let count = (batch * node.shape.positions()) as f32;
                let unbiased = if count > 1.0 { count / (count - 1.0) } else { 1.0 };
                blend(&mut network.buffers[running_mean.0], mean, 1.0);
                blend(&mut network.buffers[running_variance.0], variance, unbiased);
            }
            Operation::Pool { input, kind, window } => {
                let shape = pool_shape(batch, graph.shape(input), window);
                let maxima = &mut self.maxima[index];
                match kind {
                    PoolKind::Max => {
                        maxima.resize(output.len(), 0);
                        max_pool2d(&shape, first, output, maxima);
                    }
                    PoolKind::Average => avg_pool2d(&shape, first, output),
                }
            }
            Operation::Channels { .. } => {
                join_channels(&channels_shape(batch, graph, node), first, second, output);
            }
            Operation::GlobalAvgPool { input } => {
                let from = graph.shape(input);
                global_avg_pool(batch * from.channels, from.positions(), first, output);
            }
            Operation::Resize { input } => {
                resize(batch, graph.shape(input), node.shape, first, output);
            }
            Operation::Linear { input, weight, bias } => linear(
                &linear_shape(batch, graph.shape(input), node.shape),
                first,
                &network.parameters[weight.0],
                &network.parameters[bias.0],
                output,
            ),
        }
    }

    /// A value of the last forward pass, `[batch, …shape]`: a feature tap, the map or the output.
    /// The memory of other values may have been used again.
    ///
    /// # Panics
    /// For other values, and before the first forward pass.
    #[must_use]
    pub fn value(&self, id: ValueId) -> &[f32] {
        let plan = self.plan.as_ref().expect("values are read after a forward pass");
        assert!(plan.keeps(id), "value {} is not kept", id.0);
        self.memory.part(plan.value(id, self.batch))
    }

    /// Samples of the last forward pass.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Bytes this run holds: values, gradients by values and by parameters.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let maxima = self.maxima.iter().map(Vec::capacity);
        let gradients = self.gradients.iter().map(Vec::capacity);
        let statistics = self.statistics.iter().map(|(m, v)| m.capacity() + v.capacity());
        self.memory.bytes() + 4 * maxima.chain(gradients).chain(statistics).sum::<usize>()
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

/// `running = (1 - momentum) running + momentum · scale · batch`
pub(crate) fn blend(running: &mut [f32], batch: &[f32], scale: f32) {
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

pub(crate) fn pool_shape(batch: usize, from: MapShape, window: Window) -> PoolShape {
    PoolShape {
        planes: batch * from.channels,
        in_height: from.height,
        in_width: from.width,
        kernel: [window.kernel; 2],
        stride: [window.stride; 2],
        padding: [window.padding; 2],
    }
}

pub(crate) fn channels_shape(batch: usize, graph: &Graph, node: &Node) -> ChannelsShape {
    let Operation::Channels { first, second, groups, start } = node.operation else {
        unreachable!("only called for picked channels");
    };
    ChannelsShape {
        batch,
        first: graph.shape(first).channels,
        second: second.map_or(0, |second| graph.shape(second).channels),
        groups,
        start,
        count: node.shape.channels,
        spatial: node.shape.positions(),
    }
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
pub(crate) fn shrinks(from: MapShape, to: MapShape) -> bool {
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
