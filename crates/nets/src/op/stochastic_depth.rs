//! Stochastic depth (Huang et al., ECCV 2016, <https://arxiv.org/abs/1603.09382>): in training, a
//! branch is left out for some samples and scaled up for the others; else nothing.

use burn::Tensor;
use faculty_inputs::Tokens;
use faculty_kernels::dropout::drop_rows;

use super::dropout::FrozenDropout;
use super::{BackwardStep, BurnStep, ForwardStep, FrozenOp, Op, Site, Values};
use crate::dropout_keys::DropoutKeys;

/// Each sample's branch as a whole, with the `layer`'s own draws.
#[derive(Debug)]
pub(crate) struct StochasticDepth {
    /// Share of samples whose branch is left out, in `0..1`.
    pub(crate) probability: f32,
    pub(crate) layer: usize,
}

impl StochasticDepth {
    fn apply(&self, site: &Site, tokens: &Tokens, keys: DropoutKeys<'_>, values: &mut [f32]) {
        if let Some(keys) = keys.rows(self.layer, site.per, tokens) {
            drop_rows(site.output.elements(), &keys, self.probability, values);
        }
    }
}

impl Op for StochasticDepth {
    fn kind(&self) -> &'static str {
        "StochasticDepth"
    }

    fn drops(&self) -> bool {
        true
    }

    fn forward(&self, site: &Site, step: ForwardStep<'_>) {
        step.output.copy_from_slice(step.inputs[0]);
        self.apply(site, step.tokens, step.dropout, step.output);
    }

    fn backward(&self, site: &Site, step: BackwardStep<'_>) {
        let [by_input, _] = step.by_inputs;
        let by_input = by_input.expect("stochastic depth leaves out no gradient").values;
        by_input.copy_from_slice(step.by_output);
        self.apply(site, step.tokens, step.dropout, by_input);
    }

    fn freeze(&self, _values: Values<'_>) -> Box<dyn FrozenOp> {
        Box::new(FrozenDropout)
    }

    /// As it is without: where networks run in burn operations, nothing is drawn.
    fn burn(&self, _site: &Site, mut step: BurnStep<'_>) -> Tensor<4> {
        step.inputs.remove(0)
    }
}
