//! Building a [`Graph`] operation by operation.

mod parts;
mod tokens;

use std::ops::Range;
use std::sync::Arc;

pub(crate) use self::tokens::{DenseConfig, EmbedConfig};
use crate::error::{Error, Result};
use crate::graph::{ClassifierIds, Graph, Node};
use crate::op::Op;
use crate::op::batch_norm::{BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, BatchNorm};
use crate::op::channels::Channels;
use crate::op::conv2d::Conv2d;
use crate::op::linear::Linear;
use crate::op::pool::{Pool, PoolKind};
use crate::op::resize::Resize;
use crate::parameter::{BufferId, BufferSpec, Init, ParameterId, ParameterSpec, ValueId};
use crate::shape::{MapShape, Per, Window};

/// Shape and wiring of one convolution for [`GraphBuilder::conv2d`].
#[derive(Clone, Copy, Debug)]
pub struct Conv2dConfig {
    /// Output channels.
    pub out_channels: usize,
    /// Side of the square kernel.
    pub kernel: usize,
    /// Step in both directions.
    pub stride: usize,
    /// Zeros added on every side.
    pub padding: usize,
    /// Channel groups; `channels` makes it depthwise.
    pub groups: usize,
    /// With a bias or without.
    pub bias: bool,
    /// First values of weight and bias.
    pub start: ConvInit,
}

/// Constants of a batch norm for [`GraphBuilder::batch_norm_with`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormConfig {
    /// What is added to the variance; PyTorch's own is [`BATCH_NORM_EPSILON`].
    pub epsilon: f32,
    /// Weight of the newest batch in the running statistics, in `0..=1`; PyTorch's own is
    /// [`BATCH_NORM_MOMENTUM`].
    pub momentum: f32,
}

impl Default for BatchNormConfig {
    fn default() -> Self {
        Self { epsilon: BATCH_NORM_EPSILON, momentum: BATCH_NORM_MOMENTUM }
    }
}

/// How a convolution starts out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConvInit {
    /// Weight and bias uniform in `±1/sqrt(fan_in)`: what `nn.Conv2d` does where a release says
    /// nothing else, as in every projector and regressor.
    PyTorchDefault,
    /// Normal weights of variance `2/fan_out`, by the fan-out of the whole layer, and bias 0: what
    /// most networks for CIFAR and ImageNet ask for.
    KaimingFanOut,
}

impl Conv2dConfig {
    /// A convolution that keeps the size at stride 1: padding `kernel / 2`, one group, no bias,
    /// [`ConvInit::PyTorchDefault`].
    #[must_use]
    pub const fn new(out_channels: usize, kernel: usize, stride: usize) -> Self {
        Self {
            out_channels,
            kernel,
            stride,
            padding: kernel / 2,
            groups: 1,
            bias: false,
            start: ConvInit::PyTorchDefault,
        }
    }

    /// The same with [`ConvInit::KaimingFanOut`].
    #[must_use]
    pub const fn kaiming(out_channels: usize, kernel: usize, stride: usize) -> Self {
        Self { start: ConvInit::KaimingFanOut, ..Self::new(out_channels, kernel, stride) }
    }

    /// The same with a bias.
    #[must_use]
    pub const fn with_bias(mut self) -> Self {
        self.bias = true;
        self
    }

    /// The same in `groups` groups of channels.
    #[must_use]
    pub const fn with_groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }
}

/// Adds operations in execution order; checks shapes as it goes.
#[derive(Debug)]
pub struct GraphBuilder {
    pub(crate) graph: Graph,
}

impl GraphBuilder {
    /// Starts a graph for samples of `shape`; gives the input value too.
    #[must_use]
    pub fn new(shape: MapShape) -> (Self, ValueId) {
        let graph = Graph::of_input(shape);
        (Self { graph }, ValueId(0))
    }

    /// Goes on from `value` of a finished graph: what comes after it is left out, but for its
    /// parameters, so that the rest keep their places.
    pub(crate) fn from_part(graph: &Graph, value: ValueId) -> Self {
        let mut graph = graph.clone();
        graph.nodes.truncate(value.0 + 1);
        graph.features.retain(|feature| *feature <= value);
        (graph.map, graph.classifier) = (None, None);
        Self { graph }
    }

    /// Goes on from the last map of a network that ends in global average pooling and linear layers,
    /// which are taken off; gives that map too. `None` for other networks.
    #[must_use]
    pub fn body(mut graph: Graph) -> Option<(Self, ValueId)> {
        let map = graph.map.take()?;
        graph.classifier = None;
        let body = map.0 + 1;
        let (before, head) = graph.nodes.split_at(body);
        // Nothing but vectors of the pooled map behind it, and no statistics.
        let is_head = head
            .first()
            .is_some_and(|node| node.op.kind() == "GlobalAvgPool" && node.inputs == [map])
            && head.iter().skip(1).all(|node| {
                node.inputs.iter().all(|input| input.0 >= body) && node.op.kind() != "BatchNorm"
            });
        let ids = |nodes: &[Node]| -> Vec<usize> {
            nodes.iter().flat_map(|node| node.op.parameters()).map(|id| id.0).collect()
        };
        let first = ids(head).into_iter().min()?;
        if !is_head
            || head.last()?.op.kind() != "Linear"
            || ids(before).iter().any(|&id| id >= first)
        {
            return None;
        }
        graph.nodes.truncate(body);
        graph.parameters.truncate(first);
        graph.features.retain(|value| value.0 < body);
        graph.frozen.retain(|id| id.0 < first);
        Some((Self { graph }, map))
    }

    /// Shape of a value made so far.
    #[must_use]
    pub fn shape(&self, value: ValueId) -> MapShape {
        self.graph.shape(value)
    }

    /// Convolution `name.weight` (and `name.bias`).
    ///
    /// # Errors
    /// When the kernel does not fit into the padded input.
    pub fn conv2d(&mut self, name: &str, input: ValueId, config: Conv2dConfig) -> Result<ValueId> {
        self.conv2d_plus(name, input, None, config)
    }

    /// The same, and then adds `residual`, if given: another value than `input`.
    ///
    /// # Errors
    /// When the kernel does not fit into the padded input.
    pub fn conv2d_plus(
        &mut self,
        name: &str,
        input: ValueId,
        residual: Option<ValueId>,
        config: Conv2dConfig,
    ) -> Result<ValueId> {
        let Conv2dConfig { out_channels, kernel, stride, padding, groups, bias, start } = config;
        let shape = self.shape(input);
        if shape.channels == 0 {
            return Err(Error::InputTooSmall { layer: name.to_owned(), shape });
        }
        let to = self.windowed(name, shape, Window { kernel, stride, padding })?;
        let shape = MapShape { channels: out_channels, ..to };
        debug_assert!(residual.is_none_or(|r| self.shape(r) == shape), "{name}: residual shape");
        debug_assert!(residual != Some(input), "{name}: a residual that is the input");
        let channels = self.shape(input).channels / groups;
        let fan_in = channels * kernel * kernel;
        let initial = match start {
            // PyTorch counts the outputs of all groups.
            ConvInit::KaimingFanOut => {
                Init::KaimingNormalFanOut { fan_out: out_channels * kernel * kernel }
            }
            ConvInit::PyTorchDefault => Init::UniformFanIn { fan_in },
        };
        let weight_shape = vec![out_channels, channels, kernel, kernel];
        let weight = self.parameter(name, "weight", weight_shape, initial);
        let initial = match start {
            ConvInit::KaimingFanOut => Init::Zeros,
            ConvInit::PyTorchDefault => initial,
        };
        let bias = bias.then(|| self.parameter(name, "bias", vec![out_channels], initial));
        let window = Window { kernel, stride, padding };
        let op =
            Conv2d { weight, bias, window: window.into(), groups, residual: residual.is_some() };
        Ok(self.push(op, std::iter::once(input).chain(residual), shape))
    }

    /// Max pooling; `name` only stands in the error.
    ///
    /// # Errors
    /// When the window does not fit into the padded input.
    pub fn max_pool(&mut self, name: &str, input: ValueId, window: Window) -> Result<ValueId> {
        let shape = self.windowed(name, self.shape(input), window)?;
        Ok(self.push(Pool { kind: PoolKind::Max, window }, [input], shape))
    }

    /// Average pooling, where padding counts as zeros; `name` only stands in the error.
    ///
    /// # Errors
    /// When the window does not fit into the padded input.
    pub fn avg_pool(&mut self, name: &str, input: ValueId, window: Window) -> Result<ValueId> {
        let shape = self.windowed(name, self.shape(input), window)?;
        Ok(self.push(Pool { kind: PoolKind::Average, window }, [input], shape))
    }

    /// The shape of a map after a window has moved over it.
    fn windowed(&self, name: &str, shape: MapShape, window: Window) -> Result<MapShape> {
        let Window { kernel, stride, padding } = window;
        let smallest = shape.height.min(shape.width);
        if smallest == 0 || smallest + 2 * padding < kernel || stride == 0 {
            return Err(Error::InputTooSmall { layer: name.to_owned(), shape });
        }
        let side = |size: usize| (size + 2 * padding - kernel) / stride + 1;
        Ok(MapShape { height: side(shape.height), width: side(shape.width), ..shape })
    }

    /// The channels of a map in ShuffleNet's order: channel `i` of group `k` goes to `i * groups + k`.
    pub fn channel_shuffle(&mut self, input: ValueId, groups: usize) -> ValueId {
        if groups == 1 {
            return input;
        }
        let shape = self.shape(input);
        self.push(Channels { groups, start: 0 }, [input], shape)
    }

    /// The channels `range` of `first` and `second` (two values) put behind one another and then
    /// [shuffled](GraphBuilder::channel_shuffle), in one copy.
    pub fn concat_channels(
        &mut self,
        first: ValueId,
        second: ValueId,
        groups: usize,
        range: Range<usize>,
    ) -> ValueId {
        let (left, right) = (self.shape(first), self.shape(second));
        debug_assert!(first != second, "a map joined with itself");
        debug_assert_eq!((left.height, left.width), (right.height, right.width), "maps to join");
        debug_assert!(range.end <= left.channels + right.channels, "{range:?} of joined maps");
        let shape = MapShape { channels: range.len(), ..left };
        self.push(Channels { groups, start: range.start }, [first, second], shape)
    }

    /// Batch norm `name.*`, then adds `residual` if given (another value than `input`), then ReLU
    /// if asked.
    pub fn batch_norm(
        &mut self,
        name: &str,
        input: ValueId,
        residual: Option<ValueId>,
        relu: bool,
    ) -> ValueId {
        self.batch_norm_with(name, input, residual, relu, BatchNormConfig::default())
    }

    /// The same with other constants than PyTorch's own.
    pub fn batch_norm_with(
        &mut self,
        name: &str,
        input: ValueId,
        residual: Option<ValueId>,
        relu: bool,
        BatchNormConfig { epsilon, momentum }: BatchNormConfig,
    ) -> ValueId {
        let shape = self.shape(input);
        debug_assert!(residual.is_none_or(|r| self.shape(r) == shape), "{name}: residual shape");
        debug_assert!(residual != Some(input), "{name}: a residual that is the input");
        let channels = shape.channels;
        let gamma = self.parameter(name, "weight", vec![channels], Init::Ones);
        let beta = self.parameter(name, "bias", vec![channels], Init::Zeros);
        let running_mean = self.buffer(name, "running_mean", channels, 0.0);
        let running_variance = self.buffer(name, "running_var", channels, 1.0);
        let op = BatchNorm {
            gamma,
            beta,
            running_mean,
            running_variance,
            epsilon,
            momentum,
            residual: residual.is_some(),
            relu,
        };
        self.push(op, std::iter::once(input).chain(residual), shape)
    }

    /// Resizes a map: average pooling down, bilinear up, nothing if it already fits.
    pub fn resize(&mut self, input: ValueId, height: usize, width: usize) -> ValueId {
        let from = self.shape(input);
        if (from.height, from.width) == (height, width) {
            return input;
        }
        self.push(Resize, [input], MapShape { height, width, ..from })
    }

    /// Global average pooling and the linear classifier `name`; sets [`Graph::map`],
    /// [`Graph::classifier`] and the last feature tap.
    pub fn pooled_classifier(&mut self, name: &str, map: ValueId, classes: usize) -> ValueId {
        let pooled = self.global_avg_pool(map);
        self.vector_classifier(name, map, pooled, classes)
    }

    /// The linear layer `name` on a map, flattened as `[channels, height, width]`.
    pub fn linear(&mut self, name: &str, input: ValueId, outputs: usize) -> ValueId {
        let ids = self.linear_ids(name, self.shape(input).elements(), outputs);
        self.linear_of(input, ids, outputs)
    }

    fn linear_ids(&mut self, name: &str, inputs: usize, outputs: usize) -> ClassifierIds {
        let initial = Init::UniformFanIn { fan_in: inputs };
        let weight = self.parameter(name, "weight", vec![outputs, inputs], initial);
        let bias = self.parameter(name, "bias", vec![outputs], initial);
        ClassifierIds { weight, bias }
    }

    fn linear_of(&mut self, input: ValueId, ids: ClassifierIds, outputs: usize) -> ValueId {
        let ClassifierIds { weight, bias } = ids;
        self.push(Linear { weight, bias }, [input], MapShape::new(outputs, 1, 1))
    }

    /// Other first values for the linear classifier added by [`GraphBuilder::pooled_classifier`].
    pub fn start_classifier(&mut self, weight: Init, bias: Init) {
        if self.graph.classifier.is_some() {
            self.start_linear(weight, bias);
        }
    }

    /// Other first values for the linear layer that was added last.
    pub fn start_linear(&mut self, weight: Init, bias: Init) {
        if let [id, other] = self.graph.output_layer()[..] {
            self.graph.parameters[id.0].initial = weight;
            self.graph.parameters[other.0].initial = bias;
        }
    }

    /// Keeps training from changing the classifier added by [`GraphBuilder::pooled_classifier`].
    pub fn freeze_classifier(&mut self) {
        if let Some(ids) = self.graph.classifier {
            self.graph.frozen.extend([ids.weight, ids.bias]);
        }
    }

    /// Marks a value as the next feature tap.
    pub fn feature(&mut self, value: ValueId) {
        self.graph.features.push(value);
    }

    /// The finished graph; its output is the value added last.
    #[must_use]
    pub fn finish(self) -> Graph {
        self.graph
    }

    /// Adds an operation whose result has `shape`.
    pub(crate) fn push(
        &mut self,
        op: impl Op + 'static,
        inputs: impl IntoIterator<Item = ValueId>,
        shape: MapShape,
    ) -> ValueId {
        let inputs: Vec<ValueId> = inputs.into_iter().collect();
        let per = self.graph.per(inputs[0]);
        self.push_per(per, op, inputs, shape)
    }

    fn push_per(
        &mut self,
        per: Per,
        op: impl Op + 'static,
        inputs: Vec<ValueId>,
        shape: MapShape,
    ) -> ValueId {
        self.graph.nodes.push(Node { op: Arc::new(op), inputs, shape, per });
        ValueId(self.graph.nodes.len() - 1)
    }

    fn parameter(
        &mut self,
        layer: &str,
        kind: &str,
        shape: Vec<usize>,
        initial: Init,
    ) -> ParameterId {
        let name = format!("{layer}.{kind}");
        self.graph.parameters.push(ParameterSpec { name, shape, initial });
        ParameterId(self.graph.parameters.len() - 1)
    }

    fn buffer(&mut self, layer: &str, kind: &str, len: usize, initial: f32) -> BufferId {
        let name = format!("{layer}.{kind}");
        self.graph.buffers.push(BufferSpec { name, len, initial });
        BufferId(self.graph.buffers.len() - 1)
    }
}
