//! EfficientNet-B0, under torchvision's names.
//!
//! Tan, Le, ICML 2019, <https://arxiv.org/abs/1905.11946>, table 1. A block widens by a 1×1 convolution,
//! convolves each channel, weighs the channels (squeeze-and-excitation) by a quarter of the block's
//! input channels, and narrows without activation; SiLU everywhere else. As in torchvision, training
//! drops 20 % of the pooled vector, and the branch of block `b` of 16 for a share `0.2 b / 16` of the
//! samples (stochastic depth).
//!
//! Taps: f0 to f3 the last block at each size of map, f4 the widened map that is pooled, f5 pooled.

use crate::activation_kind::ActivationKind;
use crate::builder::{Conv2dConfig, GraphBuilder};
use crate::error::Result;
use crate::family::squeeze_excitation::{SqueezeExcitation, squeeze_excitation};
use crate::graph::Graph;
use crate::parameter::{Init, ValueId};
use crate::shape::MapShape;

/// A row of the paper's table 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stage {
    pub(crate) expansion: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) channels: usize,
    pub(crate) blocks: usize,
}

const fn stage([expansion, kernel, stride]: [usize; 3], channels: usize, blocks: usize) -> Stage {
    Stage { expansion, kernel, stride, channels, blocks }
}

pub(crate) const STAGES: [Stage; 7] = [
    stage([1, 3, 1], 16, 1),
    stage([6, 3, 2], 24, 2),
    stage([6, 5, 2], 40, 2),
    stage([6, 3, 2], 80, 3),
    stage([6, 5, 1], 112, 3),
    stage([6, 5, 2], 192, 4),
    stage([6, 3, 1], 320, 1),
];

/// Stages behind which there is a tap.
pub(crate) const TAPPED: [usize; 4] = [0, 1, 2, 4];
pub(crate) const STEM: usize = 32;
pub(crate) const LAST: usize = 1280;
/// Of the pooled vector, in training.
pub(crate) const DROPOUT: f32 = 0.2;
/// Share of samples that the branch of a block behind the last one would be dropped for.
pub(crate) const STOCHASTIC_DEPTH: f64 = 0.2;

/// Blocks in front of a stage, and in all.
pub(crate) fn blocks_before(stage: usize) -> usize {
    STAGES[..stage].iter().map(|stage| stage.blocks).sum()
}

/// Builds the network.
///
/// # Errors
/// When the image is too small.
pub(crate) fn build(input: MapShape, classes: usize) -> Result<Graph> {
    let (mut g, image) = GraphBuilder::new(input);
    let mut x = conv_norm(&mut g, "features.0", image, Conv2dConfig::kaiming(STEM, 3, 2))?;
    let all = blocks_before(STAGES.len());
    for (index, stage) in STAGES.iter().enumerate() {
        for block in 0..stage.blocks {
            let name = format!("features.{}.{block}.block", index + 1);
            let stride = if block == 0 { stage.stride } else { 1 };
            let number = blocks_before(index) + block;
            let dropped = STOCHASTIC_DEPTH * number as f64 / all as f64;
            x = mb_conv(&mut g, &name, x, &Stage { stride, ..*stage }, dropped as f32)?;
        }
        if TAPPED.contains(&index) {
            g.feature(x);
        }
    }
    let map = conv_norm(&mut g, "features.8", x, Conv2dConfig::kaiming(LAST, 1, 1))?;
    g.feature(map);
    let pooled = g.global_avg_pool(map);
    let pooled = g.dropout(pooled, DROPOUT);
    g.vector_classifier("classifier.1", map, pooled, classes);
    g.start_classifier(Init::Uniform { bound: 1.0 / (classes as f64).sqrt() }, Init::Zeros);
    Ok(g.finish())
}

fn conv_norm(g: &mut GraphBuilder, name: &str, x: ValueId, conv: Conv2dConfig) -> Result<ValueId> {
    let y = g.conv2d(&format!("{name}.0"), x, conv)?;
    let y = g.batch_norm(&format!("{name}.1"), y, None, false);
    Ok(g.activation(y, ActivationKind::Silu))
}

fn mb_conv(
    g: &mut GraphBuilder,
    name: &str,
    x: ValueId,
    stage: &Stage,
    dropped: f32,
) -> Result<ValueId> {
    let before = g.shape(x).channels;
    let hidden = before * stage.expansion;
    let (mut y, mut part) = (x, 0);
    if stage.expansion != 1 {
        y = conv_norm(g, &format!("{name}.0"), y, Conv2dConfig::kaiming(hidden, 1, 1))?;
        part = 1;
    }
    let each = Conv2dConfig::kaiming(hidden, stage.kernel, stage.stride).with_groups(hidden);
    y = conv_norm(g, &format!("{name}.{part}"), y, each)?;
    let gate = SqueezeExcitation {
        channels: (before / 4).max(1),
        activation: ActivationKind::Silu,
        gate: ActivationKind::Sigmoid,
    };
    y = squeeze_excitation(g, &format!("{name}.{}", part + 1), y, gate)?;
    let narrow = Conv2dConfig::kaiming(stage.channels, 1, 1);
    y = g.conv2d(&format!("{name}.{}.0", part + 2), y, narrow)?;
    y = g.batch_norm(&format!("{name}.{}.1", part + 2), y, None, false);
    if stage.stride != 1 || before != stage.channels {
        return Ok(y);
    }
    let y = g.stochastic_depth(y, dropped);
    Ok(g.sum(y, x))
}
