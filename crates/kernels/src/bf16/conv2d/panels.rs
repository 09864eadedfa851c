//! Weights of a convolution as tiles.

use rayon::prelude::*;

use crate::bf16::convert::round;
use crate::bf16::lines::ScratchValues;
use crate::bf16::maps::{CHANNELS, TILE};
use crate::sizes;

/// Values of the two tiles that 32 summed channels and 32 resulting ones make.
pub(super) const BOTH: usize = 2 * TILE;

/// Weights `[32 results][tap][32 summed channels][half][16 pairs][16 results][2]`.
pub(super) struct Panels {
    lines: ScratchValues,
    /// Blocks of 32 summed channels.
    pub(super) depth: usize,
    /// Values for 32 results.
    pub(super) block: usize,
}

impl Panels {
    /// `[count, stride]` of the results and of the summed channels in `weight`, whose taps lie together.
    pub(super) fn new(
        weight: &[f32],
        [results, result_stride]: [usize; 2],
        [channels, channel_stride]: [usize; 2],
        taps: usize,
    ) -> Self {
        let depth = channels.div_ceil(CHANNELS);
        let block = sizes::elements([taps, depth, BOTH]);
        let mut lines = ScratchValues::take(sizes::elements([results.div_ceil(CHANNELS), block]));
        let values = lines.values_mut();
        values.par_chunks_exact_mut(depth.max(1) * BOTH).enumerate().for_each(|(index, tiles)| {
            let (first, tap) = (index / taps * CHANNELS, index % taps);
            for (slab, both) in tiles.chunks_exact_mut(BOTH).enumerate() {
                both.fill(0);
                let channels = slab * CHANNELS..channels.min((slab + 1) * CHANNELS);
                for result in first..results.min(first + CHANNELS) {
                    let weights = &weight[result * result_stride..];
                    let (half, column) = ((result - first) / 16, (result - first) % 16);
                    for channel in channels.clone() {
                        let (pair, which) = ((channel % CHANNELS) / 2, channel % 2);
                        both[half * TILE + pair * 32 + column * 2 + which] =
                            round(weights[channel * channel_stride + tap]);
                    }
                }
            }
        });
        Self { lines, depth, block }
    }

    pub(super) fn values(&self) -> &[u16] {
        self.lines.values()
    }
}
