//! Wide residual networks: three stages of pre-activation blocks on small images.
//!
//! Zagoruyko and Komodakis, BMVC 2016, <https://arxiv.org/abs/1605.07146>. Batch norm and ReLU come
//! before each convolution; a block adds its input as it is, or, where the width changes, a 1×1
//! convolution of the activated input.
//!
//! Taps: f0 stem and f1…f3 stages, all as they come out of a convolution or sum (before batch norm
//! and ReLU), f4 pooled. [`Graph::map`] is the map after the last batch norm and ReLU.

use crate::builder::{Conv2dConfig, GraphBuilder};
use crate::error::Result;
use crate::graph::Graph;
use crate::parameter::{Init, ValueId};
use crate::shape::MapShape;

/// Builds a wide residual network of `depth = 6 n + 4` layers, `width` times as wide as the narrow one.
///
/// # Errors
/// When the image is too small.
pub(crate) fn build(depth: usize, width: usize, input: MapShape, classes: usize) -> Result<Graph> {
    let blocks = (depth - 4) / 6;
    let (mut g, image) = GraphBuilder::new(input);
    let mut x = g.conv2d("conv1", image, Conv2dConfig::kaiming(16, 3, 1))?;
    g.feature(x);
    for stage in 1..=3 {
        for block in 0..blocks {
            let stride = if stage > 1 && block == 0 { 2 } else { 1 };
            let channels = (8 << stage) * width;
            x = pre_activation_block(
                &mut g,
                &format!("block{stage}.layer.{block}"),
                x,
                channels,
                stride,
            )?;
        }
        g.feature(x);
    }
    let map = g.batch_norm("bn1", x, None, true);
    g.pooled_classifier("fc", map, classes);
    g.start_classifier(Init::UniformFanIn { fan_in: g.shape(map).channels }, Init::Zeros);
    Ok(g.finish())
}

fn pre_activation_block(
    g: &mut GraphBuilder,
    name: &str,
    x: ValueId,
    channels: usize,
    stride: usize,
) -> Result<ValueId> {
    let same = g.shape(x).channels == channels;
    let active = g.batch_norm(&format!("{name}.bn1"), x, None, true);
    let y =
        g.conv2d(&format!("{name}.conv1"), active, Conv2dConfig::kaiming(channels, 3, stride))?;
    let y = g.batch_norm(&format!("{name}.bn2"), y, None, true);
    let shortcut = if same {
        x
    } else {
        let config = Conv2dConfig::kaiming(channels, 1, stride);
        g.conv2d(&format!("{name}.convShortcut"), active, config)?
    };
    let config = Conv2dConfig::kaiming(channels, 3, 1);
    g.conv2d_plus(&format!("{name}.conv2"), y, Some(shortcut), config)
}
