//! An activation by itself: smooth, or of straight pieces.

use burn::Tensor;
use burn::tensor::activation::{gelu, relu, sigmoid, silu, tanh};
use faculty_kernels::activation::{Activation, activate, activate_backward};
use faculty_kernels::piecewise::{Piecewise, piecewise, piecewise_backward};

use super::{
    BackwardStep, BurnStep, ForwardStep, FrozenOp, FrozenStep, Op, ReadBack, Site, Values,
};
use crate::op::link::{Constants, Link};
use crate::pattern::ActivationPattern;

/// An elementwise function of one value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Activate {
    /// Without a kink, or with one that no pattern holds.
    Smooth(Activation),
    /// With kinks, which activation patterns hold.
    Pieces(Piecewise),
}

impl Activate {
    fn compute(self, input: &[f32], output: &mut [f32]) {
        match self {
            Self::Smooth(function) => activate(function, input, output),
            Self::Pieces(function) => piecewise(function, None, input, output),
        }
    }
}

impl Op for Activate {
    fn kind(&self) -> &'static str {
        "Activation"
    }

    fn reads_back(&self) -> ReadBack {
        ReadBack { input: true, output: false }
    }

    fn forward(&self, _site: &Site, step: ForwardStep<'_>) {
        let ForwardStep { inputs: [input, _], output, state, pattern, .. } = step;
        match (*self, pattern) {
            (Self::Pieces(function), ActivationPattern::Held) => {
                assert_eq!(
                    state.gate.len(),
                    output.len(),
                    "a pattern is held on a batch of its size"
                );
                piecewise(function, Some(&state.gate), input, output);
            }
            (Self::Pieces(_), ActivationPattern::Recorded) => {
                state.gate.clear();
                state.gate.extend_from_slice(input);
                self.compute(input, output);
            }
            _ => self.compute(input, output),
        }
    }

    fn backward(&self, _site: &Site, step: BackwardStep<'_>) {
        let BackwardStep { input, by_output, by_inputs: [by_input, _], state, pattern, .. } = step;
        let by_input = by_input.expect("activations leave out no gradient").values;
        match *self {
            Self::Smooth(function) => activate_backward(function, input, by_output, by_input),
            Self::Pieces(function) => {
                let decided = (pattern == ActivationPattern::Held).then_some(&state.gate[..]);
                piecewise_backward(function, decided, input, by_output, by_input);
            }
        }
    }

    fn freeze(&self, _values: Values<'_>) -> Box<dyn FrozenOp> {
        Box::new(*self)
    }

    fn burn(&self, _site: &Site, mut step: BurnStep<'_>) -> Tensor<4> {
        let x = step.inputs.remove(0);
        match *self {
            Self::Smooth(Activation::Gelu) => gelu(x),
            Self::Smooth(Activation::GeluTanh) => {
                // `√(2/π)` and the factor of the paper.
                let inner = (x.clone() + x.clone().powf_scalar(3.0) * 0.044_715) * 0.797_884_6;
                x * (tanh(inner) + 1.0) * 0.5
            }
            Self::Smooth(Activation::Silu) => silu(x),
            Self::Smooth(Activation::Tanh) => tanh(x),
            Self::Smooth(Activation::Sigmoid) => sigmoid(x),
            Self::Smooth(Activation::Relu) => relu(x),
            Self::Pieces(function) => burn_pieces(function, x, step),
        }
    }
}

/// The two kinks of a function, and slope and offset of the lines below and above them.
fn outside(function: Piecewise) -> ([f32; 2], [[f32; 2]; 2]) {
    const NONE: f32 = f32::MAX;
    match function {
        Piecewise::Relu => ([0.0, NONE], [[0.0; 2]; 2]),
        Piecewise::Clip { low, high } => ([low, high], [[0.0, low], [0.0, high]]),
        Piecewise::LeakyRelu { slope } => ([0.0, NONE], [[slope, 0.0], [0.0; 2]]),
        Piecewise::HardSigmoid { slope, offset } => {
            ([-offset / slope, (1.0 - offset) / slope], [[0.0; 2], [0.0, 1.0]])
        }
        Piecewise::HardSwish => ([-3.0, 3.0], [[0.0; 2], [1.0, 0.0]]),
        Piecewise::Affine { .. } => ([-NONE, NONE], [[0.0; 2]; 2]),
    }
}

/// Each piece times 1 where it is the one.
fn burn_pieces(function: Piecewise, x: Tensor<4>, step: BurnStep<'_>) -> Tensor<4> {
    let ([first, second], lines) = outside(function);
    let piece = match (&step.decided, step.pattern) {
        (Some(decided), ActivationPattern::Held) => decided.clone(),
        _ => {
            let at = x.clone().detach();
            at.clone().greater_elem(first).int() + at.greater_equal_elem(second).int()
        }
    };
    if step.pattern == ActivationPattern::Recorded {
        *step.decided = Some(piece.clone());
    }
    let middle = match function {
        Piecewise::HardSigmoid { slope, offset } => x.clone() * slope + offset,
        Piecewise::Affine { scale, offset } => x.clone() * scale + offset,
        Piecewise::HardSwish => x.clone() * (x.clone() + 3.0) / 6.0,
        _ => x.clone(),
    };
    let [below, above] = lines.map(|[slope, offset]| x.clone() * slope + offset);
    let share = |number: i64| piece.clone().equal_elem(number).float();
    below * share(0) + middle * share(1) + above * share(2)
}

impl FrozenOp for Activate {
    fn run(&self, _site: &Site, step: FrozenStep<'_>) {
        let FrozenStep { inputs: [input, _], output, .. } = step;
        self.compute(input, output);
    }

    fn onnx(
        &self,
        _site: &Site,
        target: &str,
        _second: Option<&str>,
        constants: &mut Constants<'_>,
    ) -> Vec<Link> {
        let mut number =
            |name: &str, value: f32| constants.floats(&format!("{target}.{name}"), &[], &[value]);
        let with = |kind: &'static str, constant: String| Link::new(kind).reading([constant]);
        let times_input = || Link::new("Mul").with_first_input();
        let hard_sigmoid = |slope: f32, offset: f32| {
            Link::new("HardSigmoid").with_float("alpha", slope).with_float("beta", offset)
        };
        match *self {
            Self::Smooth(Activation::Tanh) => vec![Link::new("Tanh")],
            Self::Smooth(Activation::Sigmoid) => vec![Link::new("Sigmoid")],
            Self::Smooth(Activation::Silu) => vec![Link::new("Sigmoid"), times_input()],
            Self::Smooth(Activation::Gelu) => vec![
                with("Div", number("width", std::f32::consts::SQRT_2)),
                Link::new("Erf"),
                with("Add", number("one", 1.0)),
                times_input(),
                with("Mul", number("half", 0.5)),
            ],
            // `x σ(2u)`, u the argument of the tanh: `2 √(2/π) (x + 0.044715 x³)`.
            Self::Smooth(Activation::GeluTanh) => vec![
                times_input(),
                with("Mul", number("cube", 2.0 * 0.797_884_6 * 0.044_715)),
                with("Add", number("slope", 2.0 * 0.797_884_6)),
                times_input(),
                Link::new("Sigmoid"),
                times_input(),
            ],
            Self::Smooth(Activation::Relu) | Self::Pieces(Piecewise::Relu) => {
                vec![Link::new("Relu")]
            }
            Self::Pieces(Piecewise::Clip { low, high }) => {
                vec![Link::new("Clip").reading([number("low", low), number("high", high)])]
            }
            Self::Pieces(Piecewise::LeakyRelu { slope }) => {
                vec![Link::new("LeakyRelu").with_float("alpha", slope)]
            }
            Self::Pieces(Piecewise::HardSigmoid { slope, offset }) => {
                vec![hard_sigmoid(slope, offset)]
            }
            Self::Pieces(Piecewise::HardSwish) => {
                vec![hard_sigmoid(1.0 / 6.0, 0.5), times_input()]
            }
            Self::Pieces(Piecewise::Affine { scale, offset }) => {
                vec![with("Mul", number("scale", scale)), with("Add", number("offset", offset))]
            }
        }
    }
}
