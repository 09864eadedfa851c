//! The operators that are read, by name.

use super::model::OnnxNode;
use super::symbol::Read;
use super::translator::Translator;
use super::{convolution, elementwise, linear, norm, pooling, shaping, sizes};

/// Reads one node: its outputs are then known to the translator.
pub(super) type Operator = fn(&mut Translator<'_>, &OnnxNode) -> Read<()>;

/// Every operator of ONNX that is read.
const OPERATORS: &[(&str, Operator)] = &[
    ("Add", elementwise::add),
    ("AveragePool", pooling::average),
    ("BatchNormalization", norm::batch),
    ("Cast", sizes::same),
    ("Clip", elementwise::clip),
    ("Concat", shaping::concat),
    ("Constant", sizes::constant),
    ("ConstantOfShape", sizes::constant_of_shape),
    ("Conv", convolution::conv),
    ("Div", elementwise::div),
    ("Dropout", shaping::dropout),
    ("Flatten", shaping::flatten),
    ("Gather", shaping::gather),
    ("Gelu", elementwise::gelu),
    ("Gemm", linear::gemm),
    ("GlobalAveragePool", pooling::global_average),
    ("HardSigmoid", elementwise::hard_sigmoid),
    ("HardSwish", elementwise::hard_swish),
    ("Identity", sizes::same),
    ("LayerNormalization", norm::layer),
    ("LeakyRelu", elementwise::leaky_relu),
    ("MatMul", linear::mat_mul),
    ("MaxPool", pooling::max),
    ("Mul", elementwise::mul),
    ("PRelu", elementwise::prelu),
    ("Pad", convolution::pad),
    ("ReduceMean", pooling::reduce_mean),
    ("Relu", elementwise::relu),
    ("Reshape", shaping::reshape),
    ("Shape", sizes::shape),
    ("Sigmoid", elementwise::sigmoid),
    ("Slice", shaping::slice),
    ("Split", shaping::split),
    ("Squeeze", shaping::squeeze),
    ("Sub", elementwise::sub),
    ("Tanh", elementwise::tanh),
    ("Transpose", shaping::transpose),
    ("Unsqueeze", shaping::unsqueeze),
];

pub(super) fn operator(kind: &str) -> Option<Operator> {
    OPERATORS.iter().find(|(name, _)| *name == kind).map(|(_, read)| *read)
}
