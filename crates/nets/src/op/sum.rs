//! `x + y`

use burn::Tensor;
use faculty_kernels::bf16::elementwise::affine;
use faculty_kernels::elementwise::add;

use super::{
    BackwardStep, BurnStep, ForwardStep, FrozenOp, FrozenStep, GradRoute, MapsBackward,
    MapsForward, MapsOp, MapsStep, OnMaps, Op, Site, Values,
};
use crate::op::link::{Constants, Link};

/// The sum of two values of one shape: a shortcut with no norm in front of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sum;

impl Op for Sum {
    fn kind(&self) -> &'static str {
        "Sum"
    }

    fn grad_route(&self, _which: usize) -> GradRoute {
        GradRoute::Same
    }

    fn forward(&self, _site: &Site, step: ForwardStep<'_>) {
        let [left, right] = step.inputs;
        add(left, right, step.output);
    }

    fn backward(&self, _site: &Site, _step: BackwardStep<'_>) {
        // Both gradients are that by the sum.
    }

    fn on_maps(&self, _site: &Site) -> Option<&dyn OnMaps> {
        Some(self)
    }

    fn freeze(&self, _values: Values<'_>) -> Box<dyn FrozenOp> {
        Box::new(*self)
    }

    fn burn(&self, _site: &Site, step: BurnStep<'_>) -> Tensor<4> {
        let mut inputs = step.inputs.into_iter();
        let first = inputs.next().expect("a sum reads a value");
        inputs.fold(first, |sum, value| sum + value)
    }
}

impl OnMaps for Sum {
    fn forward(&self, _site: &Site, step: MapsForward<'_>) {
        affine(step.input, None, step.residual, false, step.output);
    }

    fn backward(&self, _site: &Site, _step: MapsBackward<'_>) {
        // Both gradients are that by the sum.
    }
}

impl FrozenOp for Sum {
    fn run(&self, _site: &Site, step: FrozenStep<'_>) {
        let FrozenStep { inputs: [left, right], output, .. } = step;
        add(left, right, output);
    }

    fn on_maps(&self, _site: &Site) -> Option<Box<dyn MapsOp>> {
        Some(Box::new(*self))
    }

    fn onnx(
        &self,
        _site: &Site,
        _target: &str,
        second: Option<&str>,
        _constants: &mut Constants<'_>,
    ) -> Vec<Link> {
        vec![Link::new("Add").reading(second.map(str::to_owned))]
    }
}

impl MapsOp for Sum {
    fn run(&self, step: MapsStep<'_>) {
        affine(step.input, None, step.residual, false, step.output);
    }
}
