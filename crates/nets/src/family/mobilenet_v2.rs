//! MobileNetV2 at half width for small images.
//!
//! Sandler et al., CVPR 2018, <https://arxiv.org/abs/1801.04381>, as the distillation literature uses
//! it: expansion 6, width 0.5 but 1280 channels at the end, plain ReLU instead of ReLU6, stem of
//! stride 2. A block expands by a 1×1 convolution, convolves each channel by a 3×3 one, and projects
//! without activation.
//!
//! Taps: f0 stem, f1 stage 2 of 7, f2 stage 3, f3 stage 5, f4 stage 7, f5 pooled.

use crate::builder::{Conv2dConfig, GraphBuilder};
use crate::error::Result;
use crate::graph::Graph;
use crate::parameter::{Init, ValueId};
use crate::shape::MapShape;

/// A row of the paper's table 2.
pub(crate) struct Stage {
    pub(crate) expansion: usize,
    /// At full width.
    pub(crate) channels: usize,
    pub(crate) blocks: usize,
    pub(crate) stride: usize,
}

const fn stage(expansion: usize, channels: usize, blocks: usize, stride: usize) -> Stage {
    Stage { expansion, channels, blocks, stride }
}

/// Stage 2 has stride 1 here: images are small.
pub(crate) const STAGES: [Stage; 7] = [
    stage(1, 16, 1, 1),
    stage(6, 24, 2, 1),
    stage(6, 32, 3, 2),
    stage(6, 64, 4, 2),
    stage(6, 96, 3, 1),
    stage(6, 160, 3, 2),
    stage(6, 320, 1, 1),
];

/// Stages behind which there is a tap.
pub(crate) const TAPPED: [usize; 4] = [1, 2, 4, 6];

/// Builds the network at half width.
///
/// # Errors
/// When the image is too small.
pub(crate) fn build(input: MapShape, classes: usize) -> Result<Graph> {
    let (mut g, image) = GraphBuilder::new(input);
    let stem = g.conv2d("conv1.0", image, Conv2dConfig::kaiming(16, 3, 2))?;
    let mut x = g.batch_norm("conv1.1", stem, None, true);
    g.feature(x);
    for (index, stage) in STAGES.iter().enumerate() {
        for block in 0..stage.blocks {
            let stride = if block == 0 { stage.stride } else { 1 };
            let name = format!("blocks.{index}.{block}.conv");
            x = inverted_residual(&mut g, &name, x, stage.expansion, stage.channels / 2, stride)?;
        }
        if TAPPED.contains(&index) {
            g.feature(x);
        }
    }
    let last = g.conv2d("conv2.0", x, Conv2dConfig::kaiming(1280, 1, 1))?;
    let map = g.batch_norm("conv2.1", last, None, true);
    g.pooled_classifier("classifier.0", map, classes);
    g.start_classifier(Init::Normal { deviation: 0.01 }, Init::Zeros);
    Ok(g.finish())
}

fn inverted_residual(
    g: &mut GraphBuilder,
    name: &str,
    x: ValueId,
    expansion: usize,
    channels: usize,
    stride: usize,
) -> Result<ValueId> {
    let before = g.shape(x).channels;
    let hidden = before * expansion;
    let y = g.conv2d(&format!("{name}.0"), x, Conv2dConfig::kaiming(hidden, 1, 1))?;
    let y = g.batch_norm(&format!("{name}.1"), y, None, true);
    let depthwise = Conv2dConfig::kaiming(hidden, 3, stride).with_groups(hidden);
    let y = g.conv2d(&format!("{name}.3"), y, depthwise)?;
    let y = g.batch_norm(&format!("{name}.4"), y, None, true);
    let y = g.conv2d(&format!("{name}.6"), y, Conv2dConfig::kaiming(channels, 1, 1))?;
    let residual = (stride == 1 && before == channels).then_some(x);
    Ok(g.batch_norm(&format!("{name}.7"), y, residual, false))
}
