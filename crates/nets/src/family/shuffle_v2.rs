//! ShuffleNetV2 of size 1, for small images.
//!
//! Ma et al., ECCV 2018, <https://arxiv.org/abs/1807.11164>, as the distillation literature uses it:
//! a 1×1 stem at full resolution. A block leaves one half of the channels alone, convolves the other,
//! and shuffles both together. Here the halves of a shuffled map are made directly, one copy each,
//! and the whole map only at the end of a stage.
//!
//! Taps: f0 stem, f1…f3 stages (all after ReLU), f4 pooled.

use crate::builder::{Conv2dConfig, GraphBuilder};
use crate::error::Result;
use crate::graph::Graph;
use crate::parameter::ValueId;
use crate::shape::MapShape;

/// Channels and further blocks of each stage.
pub(crate) const STAGES: [(usize, usize); 3] = [(116, 3), (232, 7), (464, 3)];

/// Builds the network.
///
/// # Errors
/// When the image is too small.
pub(crate) fn build(input: MapShape, classes: usize) -> Result<Graph> {
    let (mut g, image) = GraphBuilder::new(input);
    let mut layers = Layers { g: &mut g, prefix: String::new() };
    let mut x = layers.pointwise(1, image, 24)?;
    layers.g.feature(x);
    for (index, (channels, blocks)) in STAGES.into_iter().enumerate() {
        let half = channels / 2;
        layers.prefix = format!("layer{}.0.", index + 1);
        let left = layers.depthwise(1, x, 2)?;
        let mut left = layers.pointwise(2, left, half)?;
        let right = layers.pointwise(3, x, half)?;
        let right = layers.depthwise(4, right, 2)?;
        let mut right = layers.pointwise(5, right, half)?;
        for block in 1..=blocks {
            let kept = layers.g.concat_channels(left, right, 2, 0..half);
            let input = layers.g.concat_channels(left, right, 2, half..channels);
            layers.prefix = format!("layer{}.{block}.", index + 1);
            let y = layers.pointwise(1, input, half)?;
            let y = layers.depthwise(2, y, 1)?;
            (left, right) = (kept, layers.pointwise(3, y, half)?);
        }
        x = layers.g.concat_channels(left, right, 2, 0..channels);
        layers.g.feature(x);
    }
    layers.prefix.clear();
    let map = layers.pointwise(2, x, 1024)?;
    g.pooled_classifier("linear", map, classes);
    Ok(g.finish())
}

/// Adds convolutions with their batch norms under a prefix.
struct Layers<'a> {
    g: &'a mut GraphBuilder,
    prefix: String,
}

impl Layers<'_> {
    fn pointwise(&mut self, number: usize, x: ValueId, channels: usize) -> Result<ValueId> {
        self.layer(number, x, Conv2dConfig::new(channels, 1, 1), true)
    }

    fn depthwise(&mut self, number: usize, x: ValueId, stride: usize) -> Result<ValueId> {
        let channels = self.g.shape(x).channels;
        let config = Conv2dConfig::new(channels, 3, stride).with_groups(channels);
        self.layer(number, x, config, false)
    }

    fn layer(
        &mut self,
        number: usize,
        x: ValueId,
        config: Conv2dConfig,
        relu: bool,
    ) -> Result<ValueId> {
        let Self { g, prefix } = self;
        let y = g.conv2d(&format!("{prefix}conv{number}"), x, config)?;
        Ok(g.batch_norm(&format!("{prefix}bn{number}"), y, None, relu))
    }
}
