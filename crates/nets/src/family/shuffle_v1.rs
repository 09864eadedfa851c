//! ShuffleNet with three groups, for small images.
//!
//! Zhang et al., CVPR 2018, <https://arxiv.org/abs/1707.01083>, as the distillation literature uses
//! it: a 1×1 stem at full resolution, and ReLU behind the depthwise convolution too.
//!
//! Taps: f0 stem, f1…f3 stages (all after ReLU), f4 pooled.

use crate::builder::{Conv2dConfig, GraphBuilder};
use crate::error::Result;
use crate::graph::Graph;
use crate::parameter::ValueId;
use crate::shape::{MapShape, Window};

pub(crate) const GROUPS: usize = 3;
pub(crate) const STEM: usize = 24;
/// Channels and blocks of each stage.
pub(crate) const STAGES: [(usize, usize); 3] = [(240, 4), (480, 8), (960, 4)];

/// Builds the network.
///
/// # Errors
/// When the image is too small.
pub(crate) fn build(input: MapShape, classes: usize) -> Result<Graph> {
    let (mut g, image) = GraphBuilder::new(input);
    let stem = g.conv2d("conv1", image, Conv2dConfig::new(STEM, 1, 1))?;
    let mut x = g.batch_norm("bn1", stem, None, true);
    g.feature(x);
    for (index, (channels, blocks)) in STAGES.into_iter().enumerate() {
        for block in 0..blocks {
            let name = format!("layer{}.{block}", index + 1);
            x = bottleneck(&mut g, &name, x, channels, block == 0)?;
        }
        g.feature(x);
    }
    g.pooled_classifier("linear", x, classes);
    Ok(g.finish())
}

fn bottleneck(
    g: &mut GraphBuilder,
    name: &str,
    x: ValueId,
    channels: usize,
    halve: bool,
) -> Result<ValueId> {
    let before = g.shape(x).channels;
    // A block that halves the size joins its result with its pooled input.
    let (made, stride) = if halve { (channels - before, 2) } else { (channels, 1) };
    let middle = made / 4;
    // The stem is too narrow to be cut into groups.
    let groups = if before == STEM { 1 } else { GROUPS };
    let y =
        g.conv2d(&format!("{name}.conv1"), x, Conv2dConfig::new(middle, 1, 1).with_groups(groups))?;
    let y = g.batch_norm(&format!("{name}.bn1"), y, None, true);
    let y = g.channel_shuffle(y, groups);
    let depthwise = Conv2dConfig::new(middle, 3, stride).with_groups(middle);
    let y = g.conv2d(&format!("{name}.conv2"), y, depthwise)?;
    let y = g.batch_norm(&format!("{name}.bn2"), y, None, true);
    let y =
        g.conv2d(&format!("{name}.conv3"), y, Conv2dConfig::new(made, 1, 1).with_groups(GROUPS))?;
    if !halve {
        return Ok(g.batch_norm(&format!("{name}.bn3"), y, Some(x), true));
    }
    // The input has gone through ReLU, so its means need none.
    let y = g.batch_norm(&format!("{name}.bn3"), y, None, true);
    let window = Window { kernel: 3, stride: 2, padding: 1 };
    let pooled = g.avg_pool(&format!("{name}.shortcut"), x, window)?;
    Ok(g.concat_channels(y, pooled, 1, 0..channels))
}
