//! A network as a list of operations in execution order.
//!
//! One description serves every use: the training run with gradients ([`crate::TrainingRun`]), the
//! folded inference plan of frozen networks ([`crate::Inference`]), parameter counts and state-dict
//! names. Operations work on NCHW batches; shapes here are per sample, so the batch size is chosen
//! at run time.

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

impl ParameterId {
    /// Its place in [`Graph::parameters`].
    #[must_use]
    pub const fn index(self) -> usize {
        self.0
    }
}

/// Names one buffer (running statistic) of a [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferId(pub(crate) usize);

/// How a parameter starts out.
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
    /// Uniform in `±bound`.
    Uniform {
        /// The largest value.
        bound: f64,
    },
    /// Normal with a given standard deviation.
    Normal {
        /// The standard deviation.
        deviation: f32,
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

/// What pooling makes of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PoolKind {
    Max,
    Average,
}

/// A square window that moves over a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Rows and columns.
    pub kernel: usize,
    /// Step in both directions.
    pub stride: usize,
    /// Rows and columns added on every side; at most half the kernel.
    pub padding: usize,
}

/// One operation. Inputs always come earlier in the list.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    Input,
    /// `convolution(x) [+ residual]`
    Conv2d {
        input: ValueId,
        weight: ParameterId,
        bias: Option<ParameterId>,
        kernel: usize,
        stride: usize,
        padding: usize,
        groups: usize,
        residual: Option<ValueId>,
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
    /// The largest value, or the mean with padding counted as zeros, of every window.
    Pool {
        input: ValueId,
        kind: PoolKind,
        window: Window,
    },
    /// Channels picked out of `first` followed by `second`, as if concatenated and shuffled.
    Channels {
        first: ValueId,
        second: Option<ValueId>,
        groups: usize,
        start: usize,
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
            Self::Conv2d { input, residual, .. } | Self::BatchNorm { input, residual, .. } => {
                [Some(input), residual]
            }
            Self::Channels { first, second, .. } => [Some(first), second],
            Self::Pool { input, .. }
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

/// A network's structure, without values. Made by [`crate::GraphBuilder`].
#[derive(Clone, Debug)]
pub struct Graph {
    pub(crate) nodes: Vec<Node>,
    pub(crate) parameters: Vec<ParameterSpec>,
    pub(crate) buffers: Vec<BufferSpec>,
    pub(crate) features: Vec<ValueId>,
    pub(crate) map: Option<ValueId>,
    pub(crate) classifier: Option<ClassifierIds>,
    pub(crate) frozen: Vec<ParameterId>,
}

impl Graph {
    /// Trainable values that no operation reads: their names, shapes and start for whoever
    /// computes with them elsewhere.
    #[must_use]
    pub fn of_parameters(parameters: Vec<ParameterSpec>) -> Self {
        Self {
            nodes: vec![Node { operation: Operation::Input, shape: MapShape::new(0, 0, 0) }],
            parameters,
            buffers: Vec::new(),
            features: Vec::new(),
            map: None,
            classifier: None,
            frozen: Vec::new(),
        }
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

    /// Parameters in state-dict order; all are trained but [`Graph::frozen`].
    #[must_use]
    pub fn parameters(&self) -> &[ParameterSpec] {
        &self.parameters
    }

    /// Parameters that training leaves as they are.
    #[must_use]
    pub fn frozen(&self) -> &[ParameterId] {
        &self.frozen
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

    /// Number of parameters' values, frozen ones included.
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
