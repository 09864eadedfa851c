//! MobileNetV3 for images of ImageNet's size, under torchvision's names.
//!
//! Howard et al., ICCV 2019, <https://arxiv.org/abs/1905.02244>, tables 1 and 2. A block widens by a
//! 1×1 convolution, convolves each channel, in some blocks weighs the channels
//! (squeeze-and-excitation), and narrows without activation. As in torchvision, batch norm has the
//! epsilon 0.001 and the momentum 0.01, and training drops 20 % of the hidden vector in front of the
//! output.
//!
//! Taps: f0 to f4 the last block at each size of map, the last of all the widened map that is pooled;
//! f5 the hidden vector behind it.

use crate::activation_kind::ActivationKind;
use crate::builder::{BatchNormConfig, Conv2dConfig, GraphBuilder};
use crate::error::Result;
use crate::family::squeeze_excitation::{SqueezeExcitation, squeeze_excitation};
use crate::graph::Graph;
use crate::parameter::{Init, ValueId};
use crate::shape::MapShape;

/// A row of the paper's tables.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) kernel: usize,
    /// Channels inside the block.
    pub(crate) hidden: usize,
    pub(crate) channels: usize,
    pub(crate) squeezes: bool,
    /// Hard swish; else ReLU.
    pub(crate) hard_swish: bool,
    pub(crate) stride: usize,
}

const fn row(
    kernel: usize,
    hidden: usize,
    channels: usize,
    kinds: [bool; 2],
    stride: usize,
) -> Row {
    let [squeezes, hard_swish] = kinds;
    Row { kernel, hidden, channels, squeezes, hard_swish, stride }
}

/// One of the two networks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Variant {
    pub(crate) rows: &'static [Row],
    /// Channels of the last map, and of the hidden vector.
    pub(crate) last: [usize; 2],
}

/// Neither gate nor hard swish, a gate, hard swish, both.
const RE: [bool; 2] = [false, false];
const SE_RE: [bool; 2] = [true, false];
const HS: [bool; 2] = [false, true];
const SE_HS: [bool; 2] = [true, true];

pub(crate) const SMALL: Variant = Variant {
    rows: &[
        row(3, 16, 16, SE_RE, 2),
        row(3, 72, 24, RE, 2),
        row(3, 88, 24, RE, 1),
        row(5, 96, 40, SE_HS, 2),
        row(5, 240, 40, SE_HS, 1),
        row(5, 240, 40, SE_HS, 1),
        row(5, 120, 48, SE_HS, 1),
        row(5, 144, 48, SE_HS, 1),
        row(5, 288, 96, SE_HS, 2),
        row(5, 576, 96, SE_HS, 1),
        row(5, 576, 96, SE_HS, 1),
    ],
    last: [576, 1024],
};

pub(crate) const LARGE: Variant = Variant {
    rows: &[
        row(3, 16, 16, RE, 1),
        row(3, 64, 24, RE, 2),
        row(3, 72, 24, RE, 1),
        row(5, 72, 40, SE_RE, 2),
        row(5, 120, 40, SE_RE, 1),
        row(5, 120, 40, SE_RE, 1),
        row(3, 240, 80, HS, 2),
        row(3, 200, 80, HS, 1),
        row(3, 184, 80, HS, 1),
        row(3, 184, 80, HS, 1),
        row(3, 480, 112, SE_HS, 1),
        row(3, 672, 112, SE_HS, 1),
        row(5, 672, 160, SE_HS, 2),
        row(5, 960, 160, SE_HS, 1),
        row(5, 960, 160, SE_HS, 1),
    ],
    last: [960, 1280],
};

/// Channels of the stem.
pub(crate) const STEM: usize = 16;
/// Of the hidden vector, in training.
pub(crate) const DROPOUT: f32 = 0.2;
/// torchvision's constants for these networks.
pub(crate) const NORM: BatchNormConfig = BatchNormConfig { epsilon: 0.001, momentum: 0.01 };

/// Channels of a gate's narrow layer: a quarter, rounded to a multiple of 8, but not down by more
/// than a tenth.
pub(crate) const fn squeezed(hidden: usize) -> usize {
    let quarter = hidden / 4;
    let near = (quarter + 4) / 8 * 8;
    let near = if near < 8 { 8 } else { near };
    if 10 * near < 9 * quarter { near + 8 } else { near }
}

impl Variant {
    /// Whether a tap stands behind row `index` (the stem, at 0, not counted), the last one at its size
    /// of map; the smallest maps are tapped where they are widest.
    pub(crate) fn is_tapped(&self, index: usize) -> bool {
        self.rows.get(index + 1).is_some_and(|next| next.stride != 1)
    }

    /// Whether one stands behind the stem: as many maps have its size.
    pub(crate) fn stem_is_tapped(&self) -> bool {
        self.rows[0].stride != 1
    }
}

/// Builds the network.
///
/// # Errors
/// When the image is too small.
pub(crate) fn build(variant: &Variant, input: MapShape, classes: usize) -> Result<Graph> {
    let (mut g, image) = GraphBuilder::new(input);
    let mut x = image;
    let conv = Conv2dConfig::kaiming(STEM, 3, 2);
    x = conv_norm(&mut g, "features.0", x, conv, Some(ActivationKind::HardSwish), None)?;
    if variant.stem_is_tapped() {
        g.feature(x);
    }
    for (index, row) in variant.rows.iter().enumerate() {
        x = block(&mut g, &format!("features.{}.block", index + 1), x, row)?;
        if variant.is_tapped(index) {
            g.feature(x);
        }
    }
    let name = format!("features.{}", variant.rows.len() + 1);
    let [channels, hidden] = variant.last;
    let conv = Conv2dConfig::kaiming(channels, 1, 1);
    let map = conv_norm(&mut g, &name, x, conv, Some(ActivationKind::HardSwish), None)?;
    g.feature(map);
    let pooled = g.global_avg_pool(map);
    let start = Init::Normal { deviation: 0.01 };
    let vector = g.linear("classifier.0", pooled, hidden);
    g.start_linear(start, Init::Zeros);
    let vector = g.activation(vector, ActivationKind::HardSwish);
    let vector = g.dropout(vector, DROPOUT);
    g.vector_classifier("classifier.3", map, vector, classes);
    g.start_linear(start, Init::Zeros);
    Ok(g.finish())
}

/// Convolution, batch norm with a shortcut if there is one, and the activation.
fn conv_norm(
    g: &mut GraphBuilder,
    name: &str,
    x: ValueId,
    conv: Conv2dConfig,
    activation: Option<ActivationKind>,
    residual: Option<ValueId>,
) -> Result<ValueId> {
    let y = g.conv2d(&format!("{name}.0"), x, conv)?;
    let relu = activation == Some(ActivationKind::Relu);
    let y = g.batch_norm_with(&format!("{name}.1"), y, residual, relu, NORM);
    Ok(match activation {
        Some(kind) if !relu => g.activation(y, kind),
        _ => y,
    })
}

fn block(g: &mut GraphBuilder, name: &str, x: ValueId, row: &Row) -> Result<ValueId> {
    let before = g.shape(x).channels;
    let kind = if row.hard_swish { ActivationKind::HardSwish } else { ActivationKind::Relu };
    let mut part = 0;
    let mut next = || {
        part += 1;
        format!("{name}.{}", part - 1)
    };
    let mut y = x;
    if row.hidden != before {
        let widen = Conv2dConfig::kaiming(row.hidden, 1, 1);
        y = conv_norm(g, &next(), y, widen, Some(kind), None)?;
    }
    let each = Conv2dConfig::kaiming(row.hidden, row.kernel, row.stride).with_groups(row.hidden);
    y = conv_norm(g, &next(), y, each, Some(kind), None)?;
    if row.squeezes {
        let gate = SqueezeExcitation {
            channels: squeezed(row.hidden),
            activation: ActivationKind::Relu,
            gate: ActivationKind::HardSigmoid,
        };
        y = squeeze_excitation(g, &next(), y, gate)?;
    }
    let residual = (row.stride == 1 && before == row.channels).then_some(x);
    conv_norm(g, &next(), y, Conv2dConfig::kaiming(row.channels, 1, 1), None, residual)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_have_torchvisions_widths() {
        let pairs = [(16, 8), (72, 24), (96, 24), (120, 32), (144, 40), (240, 64), (288, 72)];
        for (hidden, channels) in pairs.into_iter().chain([(480, 120), (672, 168), (960, 240)]) {
            assert_eq!(squeezed(hidden), channels, "{hidden}");
        }
    }
}
