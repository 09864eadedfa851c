//! Dropout: in training, some values are set to 0 and the others scaled up; else nothing.

use burn::Tensor;
use faculty_inputs::Tokens;
use faculty_kernels::dropout::dropout;

use super::{BackwardStep, BurnStep, ForwardStep, FrozenOp, FrozenStep, Op, Site, Values};
use crate::dropout_keys::DropoutKeys;
use crate::op::link::{Constants, Link};

/// Inverted dropout with the `layer`'s own draws.
#[derive(Debug)]
pub(crate) struct Dropout {
    /// Share that is dropped, in `0..1`.
    pub(crate) probability: f32,
    pub(crate) layer: usize,
}

impl Dropout {
    fn apply(&self, site: &Site, tokens: &Tokens, keys: DropoutKeys<'_>, values: &mut [f32]) {
        if let Some(keys) = keys.rows(self.layer, site.per, tokens) {
            dropout(site.output.elements(), &keys, self.probability, values);
        }
    }
}

impl Op for Dropout {
    fn kind(&self) -> &'static str {
        "Dropout"
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
        let by_input = by_input.expect("dropout leaves out no gradient").values;
        by_input.copy_from_slice(step.by_output);
        self.apply(site, step.tokens, step.dropout, by_input);
    }

    fn freeze(&self, _values: Values<'_>) -> Box<dyn FrozenOp> {
        Box::new(FrozenDropout)
    }

    /// As it is without dropout: where networks run in burn operations, none is drawn.
    fn burn(&self, _site: &Site, mut step: BurnStep<'_>) -> Tensor<4> {
        step.inputs.remove(0)
    }
}

/// Nothing is dropped outside training.
#[derive(Debug)]
pub(super) struct FrozenDropout;

impl FrozenOp for FrozenDropout {
    fn run(&self, _site: &Site, step: FrozenStep<'_>) {
        step.output.copy_from_slice(step.inputs[0]);
    }

    fn onnx(
        &self,
        _site: &Site,
        _target: &str,
        _second: Option<&str>,
        _constants: &mut Constants<'_>,
    ) -> Vec<Link> {
        vec![Link::new("Identity")]
    }
}
