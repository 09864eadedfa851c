//! The training step of a graph in plain burn operations, on any device that burn has.
//!
//! The same interface and the same numbers (to rounding) as [`crate::TrainingRun`], without a line
//! of our kernels: slower on a CPU, but it runs where they do not, on a GPU for example. Parameters
//! and running statistics stay in the [`Network`]; each step carries parameters to the device and
//! gradients back.

use burn::Tensor;
use burn::tensor::activation::relu;
use burn::tensor::module::{adaptive_avg_pool2d, avg_pool2d, conv2d, interpolate, max_pool2d};
use burn::tensor::ops::{
    AvgPoolOptions, ConvOptions, InterpolateMode, InterpolateOptions, MaxPoolOptions,
};
use burn::tensor::{Device, TensorData};

use crate::graph::{BATCH_NORM_EPSILON, Graph, MapShape, Node, Operation, PoolKind, ValueId};
use crate::network::Network;
use crate::training::{blend, shrinks};

/// One network's current training step on a burn device.
#[derive(Debug)]
pub struct BurnRun {
    device: Device,
    batch: usize,
    parameters: Vec<Tensor<1>>,
    /// `[batch, channels, height, width]` of every node, on the tape.
    values: Vec<Tensor<4>>,
    /// The values that may be read, on the host.
    kept: Vec<(ValueId, Vec<f32>)>,
    gradients: Vec<Vec<f32>>,
}

impl BurnRun {
    /// An empty run on `device`.
    #[must_use]
    pub fn new(device: &Device) -> Self {
        Self {
            device: device.clone().autodiff(),
            batch: 0,
            parameters: Vec::new(),
            values: Vec::new(),
            kept: Vec::new(),
            gradients: Vec::new(),
        }
    }

    /// As [`crate::TrainingRun::forward`].
    ///
    /// # Panics
    /// When `input` does not have `batch` samples of the graph's input shape.
    pub fn forward(&mut self, network: &mut Network, input: &[f32], batch: usize) {
        let graph = network.graph().clone();
        self.batch = batch;
        self.parameters = network
            .parameters
            .iter()
            .map(|values| vector(values, &self.device).require_grad())
            .collect();
        self.values.clear();
        for node in &graph.nodes {
            let value = self.node(&graph, node, network, input);
            self.values.push(value);
        }
        let mut kept = graph.features().to_vec();
        kept.extend(graph.map());
        kept.push(graph.output());
        kept.sort_unstable();
        kept.dedup();
        self.kept = kept.into_iter().map(|id| (id, numbers(self.values[id.0].clone()))).collect();
    }

    fn node(
        &self,
        graph: &Graph,
        node: &Node,
        network: &mut Network,
        network_input: &[f32],
    ) -> Tensor<4> {
        let value = |id: ValueId| self.values[id.0].clone();
        match node.operation {
            // A leaf of its own, for the gradient by the input.
            Operation::Input => {
                let data = TensorData::new(network_input.to_vec(), self.dims(node.shape));
                Tensor::from_data(data, &self.device).require_grad()
            }
            Operation::Conv2d {
                input,
                weight,
                bias,
                kernel,
                stride,
                padding,
                groups,
                residual,
                ..
            } => {
                let channels = graph.shape(input).channels;
                let shape = [node.shape.channels, channels / groups, kernel, kernel];
                let weight = self.parameters[weight.0].clone().reshape(shape);
                let bias = bias.map(|bias| self.parameters[bias.0].clone());
                let options = ConvOptions::new([stride; 2], [padding; 2], [1; 2], groups);
                let result = conv2d(value(input), weight, bias, options);
                residual.map_or(result.clone(), |residual| result + value(residual))
            }
            Operation::BatchNorm { input, residual, relu: with_relu, .. } => {
                let result = self.batch_norm(node, value(input), network);
                let result = residual.map_or(result.clone(), |r| result + value(r));
                if with_relu { relu(result) } else { result }
            }
            Operation::Pool { input, kind: PoolKind::Max, window } => {
                let options = MaxPoolOptions::new([window.kernel; 2])
                    .with_stride([window.stride; 2])
                    .with_padding([window.padding; 2]);
                max_pool2d(value(input), options)
            }
            Operation::Pool { input, kind: PoolKind::Average, window } => {
                let options = AvgPoolOptions::new([window.kernel; 2])
                    .with_stride([window.stride; 2])
                    .with_padding([window.padding; 2])
                    .with_count_include_pad(true);
                avg_pool2d(value(input), options)
            }
            Operation::Channels { first, second, groups, start } => {
                let all = match second {
                    Some(second) => Tensor::cat(vec![value(first), value(second)], 1),
                    None => value(first),
                };
                shuffled(all, groups).narrow(1, start, node.shape.channels)
            }
            Operation::GlobalAvgPool { input } => value(input).mean_dim(2).mean_dim(3),
            Operation::Resize { input } => {
                let MapShape { height, width, .. } = node.shape;
                if shrinks(graph.shape(input), node.shape) {
                    adaptive_avg_pool2d(value(input), [height, width])
                } else {
                    let options = InterpolateOptions::new(InterpolateMode::Bilinear)
                        .with_align_corners(false)
                        .with_output_size([height, width]);
                    interpolate(value(input), options)
                }
            }
            Operation::Linear { input, weight, bias } => {
                let inputs = graph.shape(input).elements();
                let outputs = node.shape.channels;
                let rows = value(input).reshape([self.batch, inputs]);
                let weight = self.parameters[weight.0].clone().reshape([outputs, inputs]);
                let bias = self.parameters[bias.0].clone().reshape([1, outputs]);
                (rows.matmul(weight.transpose()) + bias).reshape(self.dims(node.shape))
            }
        }
    }

    /// With batch statistics; moves the network's running ones.
    fn batch_norm(&self, node: &Node, x: Tensor<4>, network: &mut Network) -> Tensor<4> {
        let Operation::BatchNorm { gamma, beta, running_mean, running_variance, .. } =
            node.operation
        else {
            unreachable!("only called for batch norm");
        };
        let per_channel = |t: Tensor<4>| t.mean_dim(0).mean_dim(2).mean_dim(3);
        let mean = per_channel(x.clone());
        let centred = x - mean.clone();
        let variance = per_channel(centred.clone() * centred.clone());
        let count = (self.batch * node.shape.positions()) as f32;
        let unbiased = if count > 1.0 { count / (count - 1.0) } else { 1.0 };
        let buffers = &mut network.buffers;
        blend(&mut buffers[running_mean.0], &numbers(mean.detach()), 1.0);
        blend(&mut buffers[running_variance.0], &numbers(variance.clone().detach()), unbiased);
        let shape = [1, node.shape.channels, 1, 1];
        let gamma = self.parameters[gamma.0].clone().reshape(shape);
        let beta = self.parameters[beta.0].clone().reshape(shape);
        centred / (variance + BATCH_NORM_EPSILON).sqrt() * gamma + beta
    }

    fn dims(&self, shape: MapShape) -> [usize; 4] {
        [self.batch, shape.channels, shape.height, shape.width]
    }

    /// As [`crate::TrainingRun::value`].
    ///
    /// # Panics
    /// For values that are neither tap nor map nor output, and before the first forward pass.
    #[must_use]
    pub fn value(&self, id: ValueId) -> &[f32] {
        let kept = self.kept.iter().find(|(own, _)| *own == id);
        &kept.expect("only taps, the map and the output are read").1
    }

    /// As [`crate::TrainingRun::backward`]; the tape is used up.
    ///
    /// # Panics
    /// When a gradient has another length than its value.
    pub fn backward<G: AsRef<[f32]>>(
        &mut self,
        network: &Network,
        loss_gradients: impl IntoIterator<Item = (ValueId, G)>,
        input_gradient: bool,
    ) -> Option<Vec<f32>> {
        let total = loss_gradients
            .into_iter()
            .map(|(id, gradient)| {
                let dims = self.dims(network.graph().shape(id));
                let gradient = TensorData::new(gradient.as_ref().to_vec(), dims);
                (self.values[id.0].clone() * Tensor::from_data(gradient, &self.device)).sum()
            })
            .reduce(|sum, term| sum + term);
        let gradients = total.map(|total| total.backward());
        let of = |leaf: Option<Tensor<1>>, len: usize| leaf.map_or_else(|| vec![0.0; len], numbers);
        self.gradients = self
            .parameters
            .iter()
            .map(|leaf| of(gradients.as_ref().and_then(|g| leaf.grad(g)), leaf.dims()[0]))
            .collect();
        let by_input = input_gradient.then(|| {
            let input = &self.values[0];
            let gradient = gradients.as_ref().and_then(|g| input.grad(g));
            gradient.map_or_else(|| vec![0.0; input.shape().num_elements()], numbers)
        });
        self.values.clear();
        by_input
    }

    /// As [`crate::TrainingRun::gradients`].
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

/// PyTorch's channel shuffle: groups become the inner index.
fn shuffled(x: Tensor<4>, groups: usize) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    if groups == 1 {
        return x;
    }
    x.reshape([batch, groups, channels / groups, height * width])
        .swap_dims(1, 2)
        .reshape([batch, channels, height, width])
}

fn vector(values: &[f32], device: &Device) -> Tensor<1> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec::<f32>().expect("every tensor here holds f32")
}
