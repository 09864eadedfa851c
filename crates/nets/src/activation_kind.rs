//! The activations that networks name.

use faculty_kernels::activation::Activation;
use faculty_kernels::piecewise::Piecewise;

use crate::op::activation::Activate;

/// An activation by itself, for [`GraphBuilder::activation`](crate::GraphBuilder::activation).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivationKind {
    /// `max(x, 0)`
    Relu,
    /// `min(max(x, 0), 6)`
    Relu6,
    /// `x σ(x)`, also called swish
    Silu,
    /// `x Φ(x)`, with the error function
    Gelu,
    /// `x hs(x)`, with `hs` the hard sigmoid (Howard et al., ICCV 2019)
    HardSwish,
    /// `min(max(x / 6 + 1/2, 0), 1)`
    HardSigmoid,
    /// `σ(x) = 1 / (1 + exp(-x))`
    Sigmoid,
    /// `tanh(x)`
    Tanh,
}

impl ActivationKind {
    /// Each with its name in descriptions of networks.
    pub(crate) const NAMES: [(&'static str, Self); 8] = [
        ("relu", Self::Relu),
        ("relu6", Self::Relu6),
        ("silu", Self::Silu),
        ("gelu", Self::Gelu),
        ("hard-swish", Self::HardSwish),
        ("hard-sigmoid", Self::HardSigmoid),
        ("sigmoid", Self::Sigmoid),
        ("tanh", Self::Tanh),
    ];

    pub(crate) fn op(self) -> Activate {
        match self {
            Self::Relu => Activate::Pieces(Piecewise::Relu),
            Self::Relu6 => Activate::Pieces(Piecewise::Clip { low: 0.0, high: 6.0 }),
            Self::Silu => Activate::Smooth(Activation::Silu),
            Self::Gelu => Activate::Smooth(Activation::Gelu),
            Self::HardSwish => Activate::Pieces(Piecewise::HardSwish),
            Self::HardSigmoid => {
                Activate::Pieces(Piecewise::HardSigmoid { slope: 1.0 / 6.0, offset: 0.5 })
            }
            Self::Sigmoid => Activate::Smooth(Activation::Sigmoid),
            Self::Tanh => Activate::Smooth(Activation::Tanh),
        }
    }
}
