//! A description as it was read, before it is built for images of a size.

use std::collections::BTreeMap;

use super::expression::Expression;
use crate::activation_kind::ActivationKind;
use crate::builder::{BatchNormConfig, ConvInit};
use crate::parameter::Init;

/// A whole description.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// First values of convolutions.
    pub(super) start: ConvInit,
    pub(super) network: Vec<Entry>,
    pub(super) blocks: BTreeMap<String, Vec<Layer>>,
}

/// A part of the network.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    Layer(Layer),
    Blocks(Blocks),
}

/// A block, several times after one another.
#[derive(Clone, Debug)]
pub(super) struct Blocks {
    pub(super) line: usize,
    pub(super) block: String,
    /// What stands before the names of its layers.
    pub(super) name: Name,
    pub(super) repeat: i64,
    /// The first value of `i`.
    pub(super) first: i64,
    /// Of all repetitions but for `stride`, which the first one has alone.
    pub(super) parameters: BTreeMap<String, i64>,
    pub(super) tap: bool,
}

/// A name in which numbers are computed: `layer1.{i}`.
#[derive(Clone, Debug)]
pub(super) struct Name(pub(super) Vec<Piece>);

#[derive(Clone, Debug)]
pub(super) enum Piece {
    Text(String),
    Number(Expression),
}

/// One layer.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub(super) line: usize,
    pub(super) kind: Kind,
    /// The value that it reads; the one before if none is named.
    pub(super) from: Option<String>,
    /// The name that its result gets.
    pub(super) to: Option<String>,
    /// Where it is; everywhere if nothing is said.
    pub(super) when: Option<Expression>,
    /// Whether its result is the next feature tap.
    pub(super) tap: bool,
}

/// What a layer does.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Conv {
        name: Name,
        channels: Expression,
        kernel: Expression,
        stride: Option<Expression>,
        padding: Option<Expression>,
        groups: Option<Expression>,
        bias: bool,
        add: Option<String>,
    },
    BatchNorm {
        name: Name,
        relu: bool,
        add: Option<String>,
        config: BatchNormConfig,
    },
    Activation(ActivationKind),
    /// The means of all channels.
    GlobalPool,
    /// A named value times the one that is read, a gate.
    Product(String),
    /// A named value plus the one that is read.
    Sum(String),
    Dropout(f64),
    /// The share of samples, times `part` over `of`.
    StochasticDepth {
        share: f64,
        part: Option<Expression>,
        of: Option<Expression>,
    },
    Linear {
        name: Name,
        outputs: Expression,
        start: LinearStart,
    },
    Pool {
        max: bool,
        kernel: Expression,
        stride: Option<Expression>,
        padding: Option<Expression>,
    },
    Shuffle {
        groups: Expression,
    },
    Concat {
        values: [String; 2],
        groups: Option<Expression>,
        first: Option<Expression>,
        last: Option<Expression>,
    },
    /// Another name for a value.
    Value(String),
    Classifier {
        name: Name,
        start: LinearStart,
        /// Whether it reads a vector made of the pooled map, not the map.
        pooled: bool,
    },
}

/// How a linear layer starts out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinearStart {
    /// Weight and bias uniform in `±1/sqrt(inputs)`.
    PyTorch,
    /// The same weight, no bias.
    ZeroBias,
    /// Normal weights of deviation 0.01, no bias.
    Normal,
    /// Weight uniform in `±1/sqrt(outputs)`, no bias.
    FanOut,
}

impl LinearStart {
    pub(super) const NAMES: [(&'static str, Self); 4] = [
        ("pytorch", Self::PyTorch),
        ("zero-bias", Self::ZeroBias),
        ("normal", Self::Normal),
        ("fan-out", Self::FanOut),
    ];

    /// Start of weight and bias, where it is not PyTorch's.
    pub(super) fn values(self, inputs: usize, outputs: usize) -> Option<[Init; 2]> {
        match self {
            Self::PyTorch => None,
            Self::ZeroBias => Some([Init::UniformFanIn { fan_in: inputs }, Init::Zeros]),
            Self::Normal => Some([Init::Normal { deviation: 0.01 }, Init::Zeros]),
            Self::FanOut => {
                Some([Init::Uniform { bound: 1.0 / (outputs as f64).sqrt() }, Init::Zeros])
            }
        }
    }
}
