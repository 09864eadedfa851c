//! A network as a list of operations in execution order.
//!
//! One description serves every use: the training run with gradients ([`crate::TrainingRun`]), the
//! folded inference plan of frozen networks ([`crate::Inference`]), parameter counts and state-dict
//! names. Operations work on NCHW batches; shapes here are per sample, so the batch size is chosen
//! at run time.

use crate::error::{Error, Result};

/// Batch-norm epsilon of every network here (PyTorch's default).
pub const BATCH_NORM_EPSILON: f32 = 1e-5;
/// Weight of the newest batch in the running statistics (PyTorch's default).
pub const BATCH_NORM_MOMENTUM: f32 = 0.1;

/// Shape of one sample: `channels × height × width`. A vector of length n is `n × 1 × 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapShape {
    /// Number of channels.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl MapShape {
    /// A map of `channels × height × width`.
    #[must_use]
    pub const fn new(channels: usize, height: usize, width: usize) -> Self {
        Self { channels, height, width }
    }

    /// Values per sample. Named so because a shape is never "empty" in the sense of `is_empty`.
    #[must_use]
    pub const fn elements(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Positions per channel, `height × width`.
    #[must_use]
    pub const fn positions(&self) -> usize {
        self.height * self.width
    }
}

impl std::fmt::Display for MapShape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}×{}×{}", self.channels, self.height, self.width)
    }
}

/// Names one intermediate result of a [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub(crate) usize);

/// Names one trainable parameter of a [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParameterId(pub(crate) usize);

/// Names one buffer (running statistic) of a [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferId(pub(crate) usize);

/// How a parameter starts out. All rules are PyTorch's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Initial {
    /// Normal with standard deviation `sqrt(2 / fan_out)`.
    KaimingNormalFanOut {
        /// Output channels × kernel positions.
        fan_out: usize,
    },
    /// Uniform in `±1/sqrt(fan_in)`: the default of `nn.Linear` and `nn.Conv2d`.
    UniformFanIn {
        /// Inputs of one output value.
        fan_in: usize,
    },
    /// All one.
    Ones,
    /// All zero.
    Zeros,
    /// All of this value.
    Constant(f32),
}

/// A trainable parameter: its state-dict name, shape and start.
#[derive(Clone, Debug)]
pub struct ParameterSpec {
    /// PyTorch state-dict name, for example `layer1.0.conv1.weight`.
    pub name: String,
    /// PyTorch's shape.
    pub shape: Vec<usize>,
    /// Rule for the first values.
    pub initial: Initial,
}

/// A running statistic: its state-dict name, length and first value.
#[derive(Clone, Debug)]
pub struct BufferSpec {
    /// PyTorch state-dict name, for example `bn1.running_mean`.
    pub name: String,
    /// Number of values (channels).
    pub len: usize,
    /// First value of every element.
    pub initial: f32,
}

/// One operation. Inputs always come earlier in the list.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    Input,
    Conv2d {
        input: ValueId,
        weight: ParameterId,
        bias: Option<ParameterId>,
        kernel: usize,
        stride: usize,
        padding: usize,
        groups: usize,
    },
    /// `[relu](gamma (x - mean) / sqrt(variance + epsilon) + beta [+ residual])`
    BatchNorm {
        input: ValueId,
        gamma: ParameterId,
        beta: ParameterId,
        running_mean: BufferId,
        running_variance: BufferId,
        residual: Option<ValueId>,
        relu: bool,
    },
    GlobalAvgPool {
        input: ValueId,
    },
    /// To the node's own shape: adaptive average pooling where it shrinks, bilinear (corners not
    /// aligned) where it grows.
    Resize {
        input: ValueId,
    },
    Linear {
        input: ValueId,
        weight: ParameterId,
        bias: ParameterId,
    },
}

impl Operation {
    /// The values that this operation reads.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = ValueId> {
        let [first, second] = match *self {
            Self::Input => [None, None],
            Self::BatchNorm { input, residual, .. } => [Some(input), residual],
            Self::Conv2d { input, .. }
            | Self::GlobalAvgPool { input }
            | Self::Resize { input }
            | Self::Linear { input, .. } => [Some(input), None],
        };
        first.into_iter().chain(second)
    }
}

/// An operation and the shape of its result.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    pub(crate) operation: Operation,
    pub(crate) shape: MapShape,
}

/// The linear classifier on top of the last map: what CA-MKD borrows from a teacher.
#[derive(Clone, Copy, Debug)]
pub struct ClassifierIds {
    /// Weight `[classes, channels]`.
    pub weight: ParameterId,
    /// Bias `[classes]`.
    pub bias: ParameterId,
}

/// A network's structure, without values. Made by [`GraphBuilder`].
#[derive(Clone, Debug)]
pub struct Graph {
    pub(crate) nodes: Vec<Node>,
    pub(crate) parameters: Vec<ParameterSpec>,
    pub(crate) buffers: Vec<BufferSpec>,
    pub(crate) features: Vec<ValueId>,
    pub(crate) map: Option<ValueId>,
    pub(crate) classifier: Option<ClassifierIds>,
}

impl Graph {
    /// Trainable values that no operation reads: their names, shapes and start for whoever
    /// computes with them elsewhere.
    #[must_use]
    pub fn of_parameters(parameters: Vec<ParameterSpec>) -> Self {
        let (mut builder, _) = GraphBuilder::new(MapShape::new(0, 0, 0));
        builder.graph.parameters = parameters;
        builder.finish()
    }

    /// Shape of one input sample.
    #[must_use]
    pub fn input_shape(&self) -> MapShape {
        self.nodes[0].shape
    }

    /// The last operation's value: the logits of a classifier.
    #[must_use]
    pub fn output(&self) -> ValueId {
        ValueId(self.nodes.len() - 1)
    }

    /// Shape of a value, per sample.
    #[must_use]
    pub fn shape(&self, value: ValueId) -> MapShape {
        self.nodes[value.0].shape
    }

    /// Feature taps f0, f1, …; the last one is the pooled vector.
    #[must_use]
    pub fn features(&self) -> &[ValueId] {
        &self.features
    }

    /// The last feature map before global pooling (after its activation), if the network has one.
    #[must_use]
    pub fn map(&self) -> Option<ValueId> {
        self.map
    }

    /// The linear classifier behind global average pooling of [`Graph::map`], if that is the head.
    #[must_use]
    pub fn classifier(&self) -> Option<ClassifierIds> {
        self.classifier
    }

    /// Trainable parameters in state-dict order.
    #[must_use]
    pub fn parameters(&self) -> &[ParameterSpec] {
        &self.parameters
    }

    /// One parameter's name, shape and start.
    #[must_use]
    pub fn parameter(&self, id: ParameterId) -> &ParameterSpec {
        &self.parameters[id.0]
    }

    /// Running statistics in state-dict order.
    #[must_use]
    pub fn buffers(&self) -> &[BufferSpec] {
        &self.buffers
    }

    /// Number of trainable values.
    #[must_use]
    pub fn parameter_count(&self) -> usize {
        self.parameters.iter().map(|p| p.shape.iter().product::<usize>()).sum()
    }

    /// Multiply-adds of the convolutions and linear layers for one sample.
    #[must_use]
    pub fn multiply_adds(&self) -> usize {
        let weights = |id: ParameterId| self.parameters[id.0].shape.iter().product::<usize>();
        self.nodes
            .iter()
            .map(|node| match node.operation {
                // Every weight is used once at every output position.
                Operation::Conv2d { weight, .. } => weights(weight) * node.shape.positions(),
                Operation::Linear { weight, .. } => weights(weight),
                _ => 0,
            })
            .sum()
    }
}

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
    /// With a bias (then PyTorch's default start), or without (then Kaiming fan-out).
    pub bias: bool,
}

impl Conv2dConfig {
    /// A convolution that keeps the size at stride 1: padding `kernel / 2`, one group, no bias.
    #[must_use]
    pub const fn new(out_channels: usize, kernel: usize, stride: usize) -> Self {
        Self { out_channels, kernel, stride, padding: kernel / 2, groups: 1, bias: false }
    }

    /// The same with a bias.
    #[must_use]
    pub const fn with_bias(mut self) -> Self {
        self.bias = true;
        self
    }
}

/// Adds operations in execution order; checks shapes as it goes.
#[derive(Debug)]
pub struct GraphBuilder {
    graph: Graph,
}

impl GraphBuilder {
    /// Starts a graph for samples of `shape`; gives the input value too.
    #[must_use]
    pub fn new(shape: MapShape) -> (Self, ValueId) {
        let graph = Graph {
            nodes: vec![Node { operation: Operation::Input, shape }],
            parameters: Vec::new(),
            buffers: Vec::new(),
            features: Vec::new(),
            map: None,
            classifier: None,
        };
        (Self { graph }, ValueId(0))
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
        let Conv2dConfig { out_channels, kernel, stride, padding, groups, bias } = config;
        let shape = self.shape(input);
        let fits = shape.height + 2 * padding >= kernel && shape.width + 2 * padding >= kernel;
        if !fits || stride == 0 {
            return Err(Error::InputTooSmall { layer: name.to_owned(), shape });
        }
        let fan_in = shape.channels / groups * kernel * kernel;
        let initial = if bias {
            Initial::UniformFanIn { fan_in }
        } else {
            Initial::KaimingNormalFanOut { fan_out: out_channels / groups * kernel * kernel }
        };
        let weight_shape = vec![out_channels, shape.channels / groups, kernel, kernel];
        let weight = self.parameter(name, "weight", weight_shape, initial);
        let bias = bias.then(|| {
            self.parameter(name, "bias", vec![out_channels], Initial::UniformFanIn { fan_in })
        });
        let side = |size: usize| (size + 2 * padding - kernel) / stride + 1;
        let shape = MapShape::new(out_channels, side(shape.height), side(shape.width));
        let operation = Operation::Conv2d { input, weight, bias, kernel, stride, padding, groups };
        Ok(self.push(operation, shape))
    }

    /// Batch norm `name.*`, then adds `residual` if given, then ReLU if asked.
    pub fn batch_norm(
        &mut self,
        name: &str,
        input: ValueId,
        residual: Option<ValueId>,
        relu: bool,
    ) -> ValueId {
        let shape = self.shape(input);
        debug_assert!(residual.is_none_or(|r| self.shape(r) == shape), "{name}: residual shape");
        let channels = shape.channels;
        let gamma = self.parameter(name, "weight", vec![channels], Initial::Ones);
        let beta = self.parameter(name, "bias", vec![channels], Initial::Zeros);
        let running_mean = self.buffer(name, "running_mean", channels, 0.0);
        let running_variance = self.buffer(name, "running_var", channels, 1.0);
        let operation = Operation::BatchNorm {
            input,
            gamma,
            beta,
            running_mean,
            running_variance,
            residual,
            relu,
        };
        self.push(operation, shape)
    }

    /// Resizes a map: average pooling down, bilinear up, nothing if it already fits.
    pub fn resize(&mut self, input: ValueId, height: usize, width: usize) -> ValueId {
        let from = self.shape(input);
        if (from.height, from.width) == (height, width) {
            return input;
        }
        self.push(Operation::Resize { input }, MapShape { height, width, ..from })
    }

    /// Global average pooling and the linear classifier `name`; sets [`Graph::map`],
    /// [`Graph::classifier`] and the last feature tap.
    pub fn pooled_classifier(&mut self, name: &str, map: ValueId, classes: usize) -> ValueId {
        let channels = self.shape(map).channels;
        let pooled =
            self.push(Operation::GlobalAvgPool { input: map }, MapShape::new(channels, 1, 1));
        let initial = Initial::UniformFanIn { fan_in: channels };
        let weight = self.parameter(name, "weight", vec![classes, channels], initial);
        let bias = self.parameter(name, "bias", vec![classes], initial);
        self.graph.map = Some(map);
        self.graph.classifier = Some(ClassifierIds { weight, bias });
        self.feature(pooled);
        self.push(Operation::Linear { input: pooled, weight, bias }, MapShape::new(classes, 1, 1))
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

    fn push(&mut self, operation: Operation, shape: MapShape) -> ValueId {
        self.graph.nodes.push(Node { operation, shape });
        ValueId(self.graph.nodes.len() - 1)
    }

    fn parameter(
        &mut self,
        layer: &str,
        kind: &str,
        shape: Vec<usize>,
        initial: Initial,
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
