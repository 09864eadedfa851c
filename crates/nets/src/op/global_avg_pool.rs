//! The mean of every channel over all positions.

use burn::Tensor;
use faculty_kernels::pool::{global_avg_pool, global_avg_pool_backward};

use super::{BackwardStep, BurnStep, ForwardStep, FrozenOp, FrozenStep, Op, Site, Values};
use crate::op::link::{Constants, Link};

/// Global average pooling.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GlobalAvgPool;

/// Planes, and positions in each.
fn sizes(site: &Site) -> (usize, usize) {
    let from = site.input();
    (site.batch * from.channels, from.positions())
}

impl Op for GlobalAvgPool {
    fn kind(&self) -> &'static str {
        "GlobalAvgPool"
    }

    fn forward(&self, site: &Site, step: ForwardStep<'_>) {
        let (planes, positions) = sizes(site);
        global_avg_pool(planes, positions, step.inputs[0], step.output);
    }

    fn backward(&self, site: &Site, step: BackwardStep<'_>) {
        let (planes, positions) = sizes(site);
        let [by_input, _] = step.by_inputs;
        let by_input = by_input.expect("pooling leaves out no gradient").values;
        global_avg_pool_backward(planes, positions, step.by_output, by_input);
    }

    fn freeze(&self, _values: Values<'_>) -> Box<dyn FrozenOp> {
        Box::new(*self)
    }

    fn burn(&self, _site: &Site, mut step: BurnStep<'_>) -> Tensor<4> {
        step.inputs.remove(0).mean_dim(2).mean_dim(3)
    }
}

impl FrozenOp for GlobalAvgPool {
    fn run(&self, site: &Site, step: FrozenStep<'_>) {
        let FrozenStep { inputs: [input, _], output, .. } = step;
        let (planes, positions) = sizes(site);
        global_avg_pool(planes, positions, input, output);
    }

    fn onnx(
        &self,
        _site: &Site,
        _target: &str,
        _second: Option<&str>,
        _constants: &mut Constants<'_>,
    ) -> Vec<Link> {
        vec![Link::new("GlobalAveragePool")]
    }
}
