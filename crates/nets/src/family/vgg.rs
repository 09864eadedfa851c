//! VGG with batch norm, for small images.
//!
//! Simonyan and Zisserman, ICLR 2015, <https://arxiv.org/abs/1409.1556>, as the distillation
//! literature uses it: five blocks of 3×3 convolutions (with bias), 2×2 max pooling behind the first
//! four, global average pooling and one linear layer. Images of less than 64 pixels keep their size
//! behind the fourth block, so that 32×32 ends at 4×4.
//!
//! Taps: f0…f4 blocks (after ReLU, before pooling), f5 pooled.

use crate::builder::{Conv2dConfig, GraphBuilder};
use crate::error::Result;
use crate::graph::Graph;
use crate::parameter::Init;
use crate::shape::{MapShape, Window};

/// Channels of each block.
pub(crate) const WIDTHS: [usize; 5] = [64, 128, 256, 512, 512];

/// Image side from which the fourth block is followed by pooling.
pub(crate) const FOUR_POOLINGS: usize = 64;

/// Builds a VGG with so many convolutions in each block.
///
/// # Errors
/// When the image is too small.
pub(crate) fn build(layers: [usize; 5], input: MapShape, classes: usize) -> Result<Graph> {
    let (mut g, mut x) = GraphBuilder::new(input);
    let small = input.height.min(input.width) < FOUR_POOLINGS;
    for (block, (&width, &layers)) in WIDTHS.iter().zip(&layers).enumerate() {
        for layer in 0..layers {
            // The list counts convolution, batch norm and ReLU.
            let place = |index: usize| format!("block{block}.{}", 3 * layer + index);
            let config = Conv2dConfig::kaiming(width, 3, 1).with_bias();
            let y = g.conv2d(&place(0), x, config)?;
            x = g.batch_norm(&place(1), y, None, true);
        }
        g.feature(x);
        if block < 3 || block == 3 && !small {
            let window = Window { kernel: 2, stride: 2, padding: 0 };
            x = g.max_pool(&format!("pool{block}"), x, window)?;
        }
    }
    g.pooled_classifier("classifier", x, classes);
    g.start_classifier(Init::Normal { deviation: 0.01 }, Init::Zeros);
    Ok(g.finish())
}
