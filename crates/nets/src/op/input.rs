//! The batch that goes in.

use burn::Tensor;

use super::{BackwardStep, BurnStep, ForwardStep, FrozenOp, Op, Site, Values};

/// Gives the network's input, which the run hands it.
#[derive(Debug)]
pub(crate) struct Input;

impl Op for Input {
    fn kind(&self) -> &'static str {
        "Input"
    }

    fn forward(&self, _site: &Site, step: ForwardStep<'_>) {
        step.output.copy_from_slice(step.inputs[0]);
    }

    fn backward(&self, _site: &Site, _step: BackwardStep<'_>) {
        unreachable!("a backward pass ends at the input");
    }

    fn freeze(&self, _values: Values<'_>) -> Box<dyn FrozenOp> {
        unreachable!("an inference plan reads its input where it lies");
    }

    fn burn(&self, _site: &Site, mut step: BurnStep<'_>) -> Tensor<4> {
        step.inputs.remove(0)
    }
}
