//! The same numbers as a value of another shape.

use burn::Tensor;

use super::{
    BackwardStep, BurnStep, ForwardStep, FrozenOp, FrozenStep, GradRoute, Op, Site, Values,
};
use crate::op::link::{Constants, Link};

/// A copy in another shape of as many elements: a flattened map as channels, say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reshape;

impl Op for Reshape {
    fn kind(&self) -> &'static str {
        "Reshape"
    }

    fn grad_route(&self, _which: usize) -> GradRoute {
        GradRoute::Same
    }

    fn forward(&self, _site: &Site, step: ForwardStep<'_>) {
        step.output.copy_from_slice(step.inputs[0]);
    }

    fn backward(&self, _site: &Site, _step: BackwardStep<'_>) {
        // The gradient is that by the copy.
    }

    fn freeze(&self, _values: Values<'_>) -> Box<dyn FrozenOp> {
        Box::new(*self)
    }

    fn burn(&self, site: &Site, mut step: BurnStep<'_>) -> Tensor<4> {
        step.inputs.remove(0).reshape(site.dims())
    }
}

impl FrozenOp for Reshape {
    fn run(&self, _site: &Site, step: FrozenStep<'_>) {
        let FrozenStep { inputs: [input, _], output, .. } = step;
        output.copy_from_slice(input);
    }

    fn onnx(
        &self,
        site: &Site,
        target: &str,
        _second: Option<&str>,
        constants: &mut Constants<'_>,
    ) -> Vec<Link> {
        // 0 stands for the batch as it comes.
        let [_, channels, height, width] = site.dims();
        let shape = constants.indices(&format!("{target}.shape"), &[0, channels, height, width]);
        vec![Link::new("Reshape").reading([shape])]
    }
}
