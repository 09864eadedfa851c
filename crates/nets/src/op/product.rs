//! `x · y`, elementwise, or with one factor for each channel of a sample (squeeze-and-excitation).

use burn::Tensor;
use faculty_kernels::elementwise::multiply;
use faculty_kernels::gate::{gate_planes, gate_planes_backward};

use super::{
    BackwardStep, BurnStep, ForwardStep, FrozenOp, FrozenStep, MOST_INPUTS, Op, ReadBack, Site,
    Values,
};
use crate::op::link::{Constants, Link};

/// The product of two values; the second has the shape of the first, or one number for each of its
/// channels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product;

/// Positions that one number of the second value stands for, unless both have one shape.
fn gated(site: &Site) -> Option<usize> {
    let second = site.inputs()[1];
    (site.output != second).then(|| site.output.positions())
}

fn compute(site: &Site, [left, right]: [&[f32]; MOST_INPUTS], output: &mut [f32]) {
    match gated(site) {
        None => multiply(left, right, output),
        Some(positions) => gate_planes(positions, left, right, output),
    }
}

impl Op for Product {
    fn kind(&self) -> &'static str {
        "Product"
    }

    fn reads_back(&self) -> ReadBack {
        ReadBack { input: true, output: false }
    }

    fn forward(&self, site: &Site, step: ForwardStep<'_>) {
        // Of its inputs only the first is there in the backward pass. The second is small: a gate.
        let [kept, _] = &mut step.state.floats;
        kept.clear();
        kept.extend_from_slice(step.inputs[1]);
        compute(site, step.inputs, step.output);
    }

    fn backward(&self, site: &Site, step: BackwardStep<'_>) {
        let [by_first, by_second] = step.by_inputs;
        let second = &step.state.floats[0];
        if let Some(target) = by_first {
            compute(site, [step.by_output, second], target.values);
        }
        if let Some(target) = by_second {
            match gated(site) {
                None => multiply(step.by_output, step.input, target.values),
                Some(positions) => {
                    gate_planes_backward(positions, step.input, step.by_output, target.values);
                }
            }
        }
    }

    fn freeze(&self, _values: Values<'_>) -> Box<dyn FrozenOp> {
        Box::new(*self)
    }

    fn burn(&self, _site: &Site, step: BurnStep<'_>) -> Tensor<4> {
        let mut inputs = step.inputs.into_iter();
        let first = inputs.next().expect("a product reads a value");
        inputs.fold(first, |product, value| product * value)
    }
}

impl FrozenOp for Product {
    fn run(&self, site: &Site, step: FrozenStep<'_>) {
        let FrozenStep { inputs, output, .. } = step;
        compute(site, inputs, output);
    }

    fn onnx(
        &self,
        _site: &Site,
        _target: &str,
        second: Option<&str>,
        _constants: &mut Constants<'_>,
    ) -> Vec<Link> {
        vec![Link::new("Mul").reading(second.map(str::to_owned))]
    }
}
