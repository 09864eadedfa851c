//! ResNets of four stages: for small images with a 3×3 stem, and for large ones as torchvision has
//! them.
//!
//! He et al., CVPR 2016, <https://arxiv.org/abs/1512.03385>. A bottleneck has its stride on the 3×3
//! convolution (torchvision's "v1.5"). The two forms differ in the stem (3×3, or 7×7 at stride 2 and
//! 3×3 max pooling at stride 2) and in the state-dict names: `shortcut` and `linear` are those of the
//! CIFAR code of the distillation literature, `downsample` and `fc` torchvision's.
//!
//! Taps: f0 stem (before max pooling), f1…f4 stages (all after ReLU), f5 pooled.

use crate::builder::{Conv2dConfig, GraphBuilder};
use crate::error::Result;
use crate::graph::Graph;
use crate::parameter::ValueId;
use crate::shape::{MapShape, Window};

/// What a block is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Block {
    /// Two 3×3 convolutions.
    Basic,
    /// 1×1, 3×3, and 1×1 to four times the width.
    Bottleneck,
}

impl Block {
    const fn expansion(self) -> usize {
        match self {
            Self::Basic => 1,
            Self::Bottleneck => 4,
        }
    }
}

/// For which images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stem {
    /// 3×3 at full resolution.
    Small,
    /// 7×7 at stride 2 and 3×3 max pooling at stride 2.
    ImageNet,
}

impl Stem {
    pub(crate) const fn shortcut(self) -> &'static str {
        match self {
            Self::Small => "shortcut",
            Self::ImageNet => "downsample",
        }
    }

    pub(crate) const fn classifier(self) -> &'static str {
        match self {
            Self::Small => "linear",
            Self::ImageNet => "fc",
        }
    }
}

/// Builds a ResNet with so many blocks in each stage.
///
/// # Errors
/// When the image is too small.
pub(crate) fn build(
    block: Block,
    blocks: [usize; 4],
    stem: Stem,
    input: MapShape,
    classes: usize,
) -> Result<Graph> {
    let (mut g, image) = GraphBuilder::new(input);
    let config = match stem {
        Stem::Small => Conv2dConfig::kaiming(64, 3, 1),
        Stem::ImageNet => Conv2dConfig::kaiming(64, 7, 2),
    };
    let x = g.conv2d("conv1", image, config)?;
    let mut x = g.batch_norm("bn1", x, None, true);
    g.feature(x);
    if stem == Stem::ImageNet {
        x = g.max_pool("maxpool", x, Window { kernel: 3, stride: 2, padding: 1 })?;
    }
    for (stage, &count) in blocks.iter().enumerate() {
        for index in 0..count {
            let stride = if stage > 0 && index == 0 { 2 } else { 1 };
            let name = format!("layer{}.{index}", stage + 1);
            x = residual_block(&mut g, &name, x, block, 64 << stage, stride, stem)?;
        }
        g.feature(x);
    }
    g.pooled_classifier(stem.classifier(), x, classes);
    Ok(g.finish())
}

fn residual_block(
    g: &mut GraphBuilder,
    name: &str,
    x: ValueId,
    block: Block,
    width: usize,
    stride: usize,
    stem: Stem,
) -> Result<ValueId> {
    let channels = width * block.expansion();
    let shortcut = if stride != 1 || g.shape(x).channels != channels {
        let name = format!("{name}.{}", stem.shortcut());
        let y = g.conv2d(&format!("{name}.0"), x, Conv2dConfig::kaiming(channels, 1, stride))?;
        g.batch_norm(&format!("{name}.1"), y, None, false)
    } else {
        x
    };
    let layers: &[Conv2dConfig] = match block {
        Block::Basic => {
            &[Conv2dConfig::kaiming(width, 3, stride), Conv2dConfig::kaiming(width, 3, 1)]
        }
        Block::Bottleneck => &[
            Conv2dConfig::kaiming(width, 1, 1),
            Conv2dConfig::kaiming(width, 3, stride),
            Conv2dConfig::kaiming(channels, 1, 1),
        ],
    };
    let mut y = x;
    for (index, &config) in layers.iter().enumerate() {
        y = g.conv2d(&format!("{name}.conv{}", index + 1), y, config)?;
        let residual = (index + 1 == layers.len()).then_some(shortcut);
        y = g.batch_norm(&format!("{name}.bn{}", index + 1), y, residual, true);
    }
    Ok(y)
}
