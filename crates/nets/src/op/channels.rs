//! Channels picked out of one value, or of two as if concatenated, in ShuffleNet's order.

use burn::Tensor;
use faculty_kernels::channels::{ChannelsShape, Side, join_channels, join_channels_backward};

use super::{
    BackwardStep, BurnStep, ForwardStep, FrozenOp, FrozenStep, GradRoute, Op, Site, Values,
};
use crate::op::link::{Constants, Link};

/// The channels from `start` on of all inputs, shuffled in `groups` groups.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Channels {
    pub(crate) groups: usize,
    pub(crate) start: usize,
}

impl Channels {
    fn shape(&self, site: &Site) -> ChannelsShape {
        ChannelsShape {
            batch: site.batch,
            first: site.input().channels,
            second: site.inputs().get(1).map_or(0, |second| second.channels),
            groups: self.groups,
            start: self.start,
            count: site.output.channels,
            spatial: site.output.positions(),
        }
    }
}

impl Op for Channels {
    fn kind(&self) -> &'static str {
        "Channels"
    }

    fn grad_route(&self, _which: usize) -> GradRoute {
        GradRoute::Add
    }

    fn forward(&self, site: &Site, step: ForwardStep<'_>) {
        let [first, second] = step.inputs;
        join_channels(&self.shape(site), first, second, step.output);
    }

    fn backward(&self, site: &Site, step: BackwardStep<'_>) {
        let shape = self.shape(site);
        for (side, target) in [Side::First, Side::Second].into_iter().zip(step.by_inputs) {
            if let Some(target) = target {
                join_channels_backward(&shape, side, step.by_output, target.add, target.values);
            }
        }
    }

    fn freeze(&self, _values: Values<'_>) -> Box<dyn FrozenOp> {
        Box::new(*self)
    }

    fn burn(&self, site: &Site, step: BurnStep<'_>) -> Tensor<4> {
        let x = Tensor::cat(step.inputs, 1);
        let [batch, channels, height, width] = x.dims();
        // Groups become the inner index.
        let shuffled = match self.groups {
            1 => x,
            groups => x
                .reshape([batch, groups, channels / groups, height * width])
                .swap_dims(1, 2)
                .reshape([batch, channels, height, width]),
        };
        shuffled.narrow(1, self.start, site.output.channels)
    }
}

impl FrozenOp for Channels {
    fn run(&self, site: &Site, step: FrozenStep<'_>) {
        let FrozenStep { inputs: [first, second], output, .. } = step;
        join_channels(&self.shape(site), first, second, output);
    }

    fn onnx(
        &self,
        site: &Site,
        target: &str,
        second: Option<&str>,
        constants: &mut Constants<'_>,
    ) -> Vec<Link> {
        let shape = self.shape(site);
        let sources: Vec<usize> = (0..shape.count).map(|index| shape.source(index)).collect();
        let concat =
            second.map(|name| Link::new("Concat").reading([name.to_owned()]).with_int("axis", 1));
        let all = sources.iter().copied().eq(0..shape.first + shape.second);
        let gather = (!all).then(|| {
            let indices = constants.indices(&format!("{target}.channels"), &sources);
            Link::new("Gather").reading([indices]).with_int("axis", 1)
        });
        let links: Vec<Link> = concat.into_iter().chain(gather).collect();
        if links.is_empty() { vec![Link::new("Identity")] } else { links }
    }
}
