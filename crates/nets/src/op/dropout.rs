//! Dropout: in training, some values are set to 0 and the others scaled up; else nothing.

use burn::Tensor;
use faculty_inputs::Tokens;
use faculty_kernels::dropout::dropout;
use faculty_random::splitmix64;

use super::{BackwardStep, BurnStep, ForwardStep, FrozenOp, FrozenStep, Op, Site, Values};
use crate::op::link::{Constants, Link};
use crate::shape::Per;

/// One key a sample, `[samples]`, which with layer and position decides what is dropped; none where
/// nothing is to be dropped.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DropoutKeys<'a> {
    pub(crate) samples: &'a [u64],
}

impl DropoutKeys<'_> {
    /// A key for each row of a value: a function of the sample's key, the layer, and the token's
    /// position in its sample. `None` where nothing is to be dropped.
    pub(crate) fn rows(self, layer: usize, per: Per, tokens: &Tokens) -> Option<Vec<u64>> {
        if self.samples.is_empty() {
            return None;
        }
        let of_layer = self.samples.iter().map(|&key| splitmix64(key, layer as u64));
        Some(match per {
            Per::Sample => of_layer.collect(),
            Per::Token => {
                let position = |text: usize| 0..tokens.range(text).len() as u64;
                let rows = of_layer.enumerate();
                rows.flat_map(|(text, key)| position(text).map(move |at| splitmix64(key, at)))
                    .collect()
            }
        })
    }
}

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
struct FrozenDropout;

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
