//! Names of the values, parameters and running statistics of a graph, and how they start out.

/// Names one intermediate result of a [`Graph`](crate::Graph).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub(crate) usize);

/// Names one trainable parameter of a [`Graph`](crate::Graph).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParameterId(pub(crate) usize);

impl ParameterId {
    /// Its place in [`Graph::parameters`](crate::Graph::parameters).
    #[must_use]
    pub const fn index(self) -> usize {
        self.0
    }
}

/// Names one buffer (running statistic) of a [`Graph`](crate::Graph).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferId(pub(crate) usize);

/// How a parameter starts out.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Init {
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
    pub initial: Init,
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
