//! What one operation of a graph knows: one file each, and nothing about it elsewhere.
//!
//! ```text
//! forward, backward     a training step on the kernels     Op
//! freeze, fold          its part of an inference plan      FrozenOp
//! onnx                  the nodes that it becomes          FrozenOp::onnx
//! burn                  the same in plain burn operations  Op::burn
//! ```
//! An operation reads at most [`MOST_INPUTS`] values. It names its parameters and running statistics
//! by their places in the graph; the values that it reads belong to the graph's node.

use std::fmt::Debug;

use burn::Tensor;
use burn::tensor::Int;
use faculty_inputs::Tokens;
use faculty_kernels::bf16::Maps;

use crate::dropout_keys::DropoutKeys;
use crate::kv_cache::KvCache;
use crate::op::link::{Constants, Link};
use crate::parameter::ParameterId;
use crate::pattern::ActivationPattern;
use crate::precision::Precision;
use crate::shape::{MapShape, Per};
use crate::together::Together;

pub(crate) mod activation;
pub(crate) mod attentive_pool;
pub(crate) mod batch_norm;
pub(crate) mod causal_attention;
pub(crate) mod channel_affine;
pub(crate) mod channel_norm;
pub(crate) mod channels;
pub(crate) mod conv2d;
pub(crate) mod dense;
pub(crate) mod dropout;
pub(crate) mod embed;
pub(crate) mod gated_projection;
pub(crate) mod global_avg_pool;
pub(crate) mod input;
pub(crate) mod layer_norm;
pub(crate) mod linear;
pub(crate) mod link;
pub(crate) mod pad;
pub(crate) mod pool;
pub(crate) mod prelu;
pub(crate) mod product;
pub(crate) mod projection;
pub(crate) mod reshape;
pub(crate) mod resize;
pub(crate) mod rms_norm;
pub(crate) mod self_attention;
pub(crate) mod stochastic_depth;
pub(crate) mod sum;
pub(crate) mod token_pool;

/// Most values that one operation reads.
pub(crate) const MOST_INPUTS: usize = 2;

/// Shapes around an operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site {
    /// Rows of the result: samples, or tokens.
    pub(crate) batch: usize,
    /// Per row, of the values that are read.
    inputs: [MapShape; MOST_INPUTS],
    count: usize,
    /// Per row, of the result.
    pub(crate) output: MapShape,
    /// What the result has a row for.
    pub(crate) per: Per,
}

impl Site {
    pub(crate) fn new(
        batch: usize,
        shapes: impl Iterator<Item = MapShape>,
        output: MapShape,
        per: Per,
    ) -> Self {
        let inputs = [MapShape::new(0, 0, 0); MOST_INPUTS];
        let mut site = Self { batch, inputs, count: 0, output, per };
        for shape in shapes {
            site.inputs[site.count] = shape;
            site.count += 1;
        }
        site
    }

    /// Shape of the value that is read first.
    pub(crate) fn input(&self) -> MapShape {
        self.inputs[0]
    }

    /// Shapes of all values that are read.
    pub(crate) fn inputs(&self) -> &[MapShape] {
        &self.inputs[..self.count]
    }

    /// Sizes of the result as a burn tensor.
    pub(crate) fn dims(&self) -> [usize; 4] {
        let shape = self.output;
        [self.batch, shape.channels, shape.height, shape.width]
    }
}

/// What the backward pass of an operation reads beside the gradient by its result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReadBack {
    /// The value of its first input.
    pub(crate) input: bool,
    /// Its own value.
    pub(crate) output: bool,
}

/// How the gradient by one input comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GradRoute {
    /// It is the gradient by the result itself; the run passes it on.
    Same,
    /// The operation writes it; the run adds it where there is one already.
    Write,
    /// The operation writes it or adds to what is there.
    Add,
}

/// What an operation keeps from the forward to the backward pass, beside values.
#[derive(Debug, Default)]
pub(crate) struct OpState {
    /// Batch mean and biased variance of batch norm.
    pub(crate) floats: [Vec<f32>; 2],
    /// Positions of the maxima of max pooling.
    pub(crate) indices: Vec<u32>,
    /// The value behind ReLU in the recorded pass.
    pub(crate) gate: Vec<f32>,
    /// What an operation on tokens computed on its way, to be read again.
    pub(crate) between: [Vec<f32>; 4],
    /// The first input rounded to bfloat16.
    pub(crate) maps: Maps,
}

impl OpState {
    /// Numbers of four bytes that it holds.
    pub(crate) fn capacity(&self) -> usize {
        let floats = self.floats.iter().chain([&self.gate]).chain(&self.between).map(Vec::capacity);
        floats.sum::<usize>() + self.indices.capacity() + self.maps.bytes() / size_of::<f32>()
    }
}

/// The memory of one forward step.
pub(crate) struct ForwardStep<'a> {
    /// Values that are read; empty beyond those of the node.
    pub(crate) inputs: [&'a [f32]; MOST_INPUTS],
    /// The result.
    pub(crate) output: &'a mut [f32],
    /// All parameters of the network.
    pub(crate) parameters: &'a [Vec<f32>],
    /// All running statistics of the network.
    pub(crate) buffers: &'a mut [Vec<f32>],
    pub(crate) state: &'a mut OpState,
    /// Whether batch norm takes the running statistics, and leaves them.
    pub(crate) frozen_statistics: bool,
    pub(crate) pattern: ActivationPattern,
    pub(crate) precision: Precision,
    /// Tokens of the batch; of no texts where samples are something else.
    pub(crate) tokens: &'a Tokens,
    pub(crate) dropout: DropoutKeys<'a>,
    pub(crate) together: &'a Together,
}

/// Where the gradient by one input goes.
pub(crate) struct Target<'a> {
    pub(crate) values: &'a mut [f32],
    /// Whether it is added to what is there ([`GradRoute::Add`] only).
    pub(crate) add: bool,
}

/// The memory of one backward step.
pub(crate) struct BackwardStep<'a> {
    /// The first input's value where [`ReadBack::input`] asks for it, else empty.
    pub(crate) input: &'a [f32],
    /// The operation's own value where [`ReadBack::output`] asks for it, else empty.
    pub(crate) output: &'a [f32],
    /// Gradient by the result.
    pub(crate) by_output: &'a [f32],
    /// Gradients by the inputs that are to be written.
    pub(crate) by_inputs: [Option<Target<'a>>; MOST_INPUTS],
    /// All parameters of the network.
    pub(crate) parameters: &'a [Vec<f32>],
    /// Gradients by all of them.
    pub(crate) gradients: &'a mut [Vec<f32>],
    pub(crate) state: &'a mut OpState,
    /// As in the forward pass.
    pub(crate) frozen_statistics: bool,
    /// As in the forward pass.
    pub(crate) pattern: ActivationPattern,
    /// As in the forward pass.
    pub(crate) precision: Precision,
    /// To be written over.
    pub(crate) maps: &'a mut Maps,
    /// As in the forward pass.
    pub(crate) tokens: &'a Tokens,
    /// As in the forward pass.
    pub(crate) dropout: DropoutKeys<'a>,
    /// As in the forward pass.
    pub(crate) together: &'a Together,
}

/// The memory of one forward step between maps of bfloat16; all as in [`ForwardStep`].
pub(crate) struct MapsForward<'a> {
    pub(crate) input: &'a Maps,
    pub(crate) residual: Option<&'a Maps>,
    pub(crate) output: &'a mut Maps,
    pub(crate) parameters: &'a [Vec<f32>],
    pub(crate) buffers: &'a mut [Vec<f32>],
    pub(crate) state: &'a mut OpState,
    pub(crate) frozen_statistics: bool,
    pub(crate) together: &'a Together,
}

/// The memory of one backward step between maps of bfloat16; all as in [`BackwardStep`].
pub(crate) struct MapsBackward<'a> {
    pub(crate) input: &'a Maps,
    pub(crate) output: &'a Maps,
    pub(crate) by_output: &'a Maps,
    pub(crate) by_input: Option<&'a mut Maps>,
    /// What is added to the gradient by the input, for operations that [add it](OnMaps::adds_up).
    pub(crate) there: Option<&'a Maps>,
    /// For operations that write it.
    pub(crate) by_residual: Option<&'a mut Maps>,
    pub(crate) parameters: &'a [Vec<f32>],
    pub(crate) gradients: &'a mut [Vec<f32>],
    pub(crate) state: &'a mut OpState,
    pub(crate) frozen_statistics: bool,
    pub(crate) together: &'a Together,
}

/// A training step of an operation whose values are maps of bfloat16; its routes are those of [`Op`].
pub(crate) trait OnMaps {
    /// Computes its value.
    fn forward(&self, site: &Site, step: MapsForward<'_>);

    /// Computes gradients by its inputs and parameters from that by its value.
    fn backward(&self, site: &Site, step: MapsBackward<'_>);

    /// Whether its backward pass adds to the gradient that the first input has.
    fn adds_up(&self) -> bool {
        false
    }
}

/// The tensors of one step in burn operations.
pub(crate) struct BurnStep<'a> {
    /// `[batch, channels, height, width]` of the values that are read.
    pub(crate) inputs: Vec<Tensor<4>>,
    /// All parameters of the network, flat.
    pub(crate) parameters: &'a [Tensor<1>],
    /// All running statistics of the network.
    pub(crate) buffers: &'a mut [Vec<f32>],
    /// Whether batch norm takes the running statistics, and leaves them.
    pub(crate) frozen_statistics: bool,
    pub(crate) pattern: ActivationPattern,
    /// What the recorded pass decided: 1 where ReLU passed, or positions of maxima in their planes.
    pub(crate) decided: &'a mut Option<Tensor<4, Int>>,
}

/// The values of a network that is frozen.
#[derive(Clone, Copy)]
pub(crate) struct Values<'a> {
    pub(crate) parameters: &'a [Vec<f32>],
    pub(crate) buffers: &'a [Vec<f32>],
    /// State-dict names and shapes of the parameters.
    pub(crate) specs: &'a [crate::parameter::ParameterSpec],
}

impl Values<'_> {
    /// Rows and columns of a weight.
    pub(crate) fn matrix_sizes(&self, id: ParameterId) -> [usize; 2] {
        let shape = &self.specs[id.0].shape;
        [shape[0], shape[1..].iter().product()]
    }
}

/// A batch norm whose statistics are constants: `[relu](scale · x + shift [+ residual])`.
pub(crate) struct FrozenNorm {
    /// Gamma, beta, running mean and running variance, `[channels]` each.
    pub(crate) constants: [Vec<f32>; 4],
    /// What is added to the variance.
    pub(crate) epsilon: f32,
    /// Whether a second value is added.
    pub(crate) residual: bool,
    pub(crate) relu: bool,
}

/// One operation, wherever it runs.
pub(crate) trait Op: Debug + Send + Sync {
    /// Its name among operations.
    fn kind(&self) -> &'static str;

    /// Parameters that it reads, its weight first.
    fn parameters(&self) -> Vec<ParameterId> {
        Vec::new()
    }

    /// Those to whose gradient its backward pass adds, because other operations read them too.
    fn shared_parameters(&self) -> Vec<ParameterId> {
        Vec::new()
    }

    /// What its backward pass reads.
    fn reads_back(&self) -> ReadBack {
        ReadBack::default()
    }

    /// How the gradient by input number `which` comes about.
    fn grad_route(&self, which: usize) -> GradRoute {
        let _ = which;
        GradRoute::Write
    }

    /// Whether it can leave out the gradient by its first input.
    fn skips_input_grad(&self) -> bool {
        false
    }

    /// Multiply-adds for one sample, of convolutions and linear layers; `weights` is the number of
    /// values of its first parameter.
    fn multiply_adds(&self, site: &Site, weights: usize) -> usize {
        let _ = (site, weights);
        0
    }

    /// Computes its value.
    fn forward(&self, site: &Site, step: ForwardStep<'_>);

    /// Computes gradients by its inputs and parameters from that by its value.
    fn backward(&self, site: &Site, step: BackwardStep<'_>);

    /// Its training step between maps of bfloat16, where it has that form at this site.
    fn on_maps(&self, site: &Site) -> Option<&dyn OnMaps> {
        let _ = site;
        None
    }

    /// As part of an inference plan, with its own copy of the values.
    fn freeze(&self, values: Values<'_>) -> Box<dyn FrozenOp>;

    /// Whether [`Op::fold`] may give something.
    fn folds(&self) -> bool {
        false
    }

    /// As one with the batch norm that alone reads it; the result adds and cuts as that does.
    fn fold(&self, norm: &FrozenNorm, values: Values<'_>) -> Option<Box<dyn FrozenOp>> {
        let _ = (norm, values);
        None
    }

    /// Whether it drops values in training.
    fn drops(&self) -> bool {
        false
    }

    /// Whether ReLU comes last.
    fn activates(&self) -> bool {
        false
    }

    /// Whether it is linear in its inputs and may add a shortcut.
    fn adds(&self) -> bool {
        false
    }

    /// Whether [`Op::as_norm`] gives something.
    fn is_norm(&self) -> bool {
        false
    }

    /// Itself as a norm, if it is one.
    fn as_norm(&self, values: Values<'_>) -> Option<FrozenNorm> {
        let _ = values;
        None
    }

    /// Computes its value in burn operations, on the tape. Operations on tokens have no such form:
    /// networks that read texts run on the kernels.
    fn burn(&self, site: &Site, step: BurnStep<'_>) -> Tensor<4> {
        let _ = (site, step);
        unreachable!("{} runs on the kernels alone", self.kind())
    }
}

/// Memory to be written over.
#[derive(Debug, Default)]
pub(crate) struct FrozenScratch {
    pub(crate) indices: Vec<u32>,
    pub(crate) floats: [Vec<f32>; 4],
}

impl FrozenScratch {
    /// Bytes that it holds.
    pub(crate) fn bytes(&self) -> usize {
        let floats = self.floats.iter().map(Vec::capacity).sum::<usize>();
        size_of::<f32>() * (floats + self.indices.capacity())
    }
}

/// The memory of one step of an inference plan.
pub(crate) struct FrozenStep<'a> {
    /// Values that are read; empty beyond those of the node.
    pub(crate) inputs: [&'a [f32]; MOST_INPUTS],
    /// Without it, the value from before the activation is asked for.
    pub(crate) activate: bool,
    /// The result.
    pub(crate) output: &'a mut [f32],
    pub(crate) scratch: &'a mut FrozenScratch,
    pub(crate) precision: Precision,
    /// As in [`ForwardStep`].
    pub(crate) tokens: &'a Tokens,
    /// Of a decoder that goes on: what it has read already. Tokens are the next ones then.
    pub(crate) cache: Option<&'a mut KvCache>,
}

/// The memory of one step on maps of bfloat16.
pub(crate) struct MapsStep<'a> {
    /// The value that is read first.
    pub(crate) input: &'a Maps,
    /// The one that is added.
    pub(crate) residual: Option<&'a Maps>,
    /// As in [`FrozenStep`].
    pub(crate) activate: bool,
    /// The result.
    pub(crate) output: &'a mut Maps,
}

/// One operation of an inference plan whose values are maps of bfloat16.
pub(crate) trait MapsOp: Debug + Send {
    /// Computes its value.
    fn run(&self, step: MapsStep<'_>);
}

/// One operation of an inference plan.
pub(crate) trait FrozenOp: Debug + Send {
    /// Computes its value.
    fn run(&self, site: &Site, step: FrozenStep<'_>);

    /// The same between maps of bfloat16, where it has that form at this site (whose batch does not
    /// matter).
    fn on_maps(&self, site: &Site) -> Option<Box<dyn MapsOp>> {
        let _ = site;
        None
    }

    /// The ONNX nodes that it becomes, in a row from its first input to `target`; `second` is the
    /// name of its second input. Operations on tokens have none: `Inference::to_onnx` refuses them.
    fn onnx(
        &self,
        site: &Site,
        target: &str,
        second: Option<&str>,
        constants: &mut Constants<'_>,
    ) -> Vec<Link> {
        let _ = (site, target, second, constants);
        unreachable!("`Inference::to_onnx` refuses networks that read texts")
    }

    /// Whether its result is `[batch, outputs]` rather than a map.
    fn gives_rows(&self) -> bool {
        false
    }
}
