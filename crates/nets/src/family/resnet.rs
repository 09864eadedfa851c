//! CIFAR ResNets: three stages of basic blocks on small images.
//!
//! He et al., CVPR 2016, <https://arxiv.org/abs/1512.03385>, section 4.2, with a projection shortcut
//! (1×1 convolution and batch norm) where stride or width changes. The `x4` members are the wide
//! ones of the distillation literature (stem 32; 64, 128, 256); the `x0.5` members are ours, at half
//! width, for small demonstrations.
//!
//! Taps: f0 stem, f1…f3 stages (all after ReLU), f4 pooled.

use crate::builder::{Conv2dConfig, GraphBuilder};
use crate::error::Result;
use crate::graph::Graph;
use crate::parameter::ValueId;
use crate::shape::MapShape;

/// Builds a CIFAR ResNet of `depth = 6 n + 2` layers.
///
/// `widths` are the channels of the stem and of the three stages.
///
/// # Errors
/// When the image is too small.
pub(crate) fn build(
    depth: usize,
    widths: [usize; 4],
    input: MapShape,
    classes: usize,
) -> Result<Graph> {
    let blocks = (depth - 2) / 6;
    let (mut g, image) = GraphBuilder::new(input);
    let stem = g.conv2d("conv1", image, Conv2dConfig::kaiming(widths[0], 3, 1))?;
    let mut x = g.batch_norm("bn1", stem, None, true);
    g.feature(x);
    for stage in 1..=3 {
        for block in 0..blocks {
            let stride = if stage > 1 && block == 0 { 2 } else { 1 };
            x = basic_block(&mut g, &format!("layer{stage}.{block}"), x, widths[stage], stride)?;
        }
        g.feature(x);
    }
    g.pooled_classifier("fc", x, classes);
    Ok(g.finish())
}

fn basic_block(
    g: &mut GraphBuilder,
    name: &str,
    x: ValueId,
    width: usize,
    stride: usize,
) -> Result<ValueId> {
    let shortcut = if stride != 1 || g.shape(x).channels != width {
        let config = Conv2dConfig::kaiming(width, 1, stride);
        let projected = g.conv2d(&format!("{name}.downsample.0"), x, config)?;
        g.batch_norm(&format!("{name}.downsample.1"), projected, None, false)
    } else {
        x
    };
    let y = g.conv2d(&format!("{name}.conv1"), x, Conv2dConfig::kaiming(width, 3, stride))?;
    let y = g.batch_norm(&format!("{name}.bn1"), y, None, true);
    let y = g.conv2d(&format!("{name}.conv2"), y, Conv2dConfig::kaiming(width, 3, 1))?;
    Ok(g.batch_norm(&format!("{name}.bn2"), y, Some(shortcut), true))
}
