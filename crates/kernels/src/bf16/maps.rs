//! Activations of a batch in bfloat16.

use super::lines::Lines;
use crate::sizes;

/// Images of a tile.
pub(super) const IMAGES: usize = 16;
/// Channels of a tile.
pub(super) const CHANNELS: usize = 32;
/// Values of a tile: 1 KiB.
pub(super) const TILE: usize = IMAGES * CHANNELS;

/// Maps `[batch, channels, height, width]` in bfloat16, in tiles of 16 images × 32 channels.
///
/// ```text
/// [block of 16 images][row][column][32 channels][image][channel]
/// ```
/// and a tile of zeros behind each block, for what lies outside an image. Channels beyond the last are
/// zero; images beyond the last are arbitrary.
#[derive(Clone, Default)]
pub struct Maps {
    sizes: [usize; 4],
    lines: Lines,
}

impl std::fmt::Debug for Maps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Maps").field("sizes", &self.sizes).finish_non_exhaustive()
    }
}

impl Maps {
    /// No maps; memory comes with what is written.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Batch, channels, height and width.
    #[must_use]
    pub fn sizes(&self) -> [usize; 4] {
        self.sizes
    }

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        2 * self.lines.capacity()
    }

    /// Values of maps of these sizes.
    fn len([batch, channels, height, width]: [usize; 4]) -> usize {
        let blocks = batch.div_ceil(IMAGES);
        let tiles = sizes::elements([height, width, channels.div_ceil(CHANNELS), TILE]);
        sizes::elements([blocks, tiles + TILE])
    }

    /// Whether maps of these sizes are within the reach of offsets.
    pub(super) fn fit_memory([batch, channels, height, width]: [usize; 4]) -> bool {
        let channels = channels.checked_next_multiple_of(CHANNELS);
        let block = channels.and_then(|c| sizes::checked_elements([c, height, width, IMAGES]));
        // Offsets within a block are bytes in 32 bits; the gradient by the weight has four a value.
        block.is_some_and(|block| block < (u32::MAX as usize) / 8 - TILE)
            && sizes::checked_elements([batch.next_multiple_of(IMAGES), block.unwrap_or(0) + TILE])
                .is_some()
    }

    /// Takes other sizes. The content is arbitrary but for the tiles of zeros.
    pub(super) fn resize(&mut self, sizes: [usize; 4]) {
        self.sizes = sizes;
        self.lines.fit(Self::len(sizes));
        let len = self.block_len();
        for block in self.lines.values_mut().chunks_exact_mut(len) {
            block[len - TILE..].fill(0);
        }
    }

    /// Blocks of images.
    pub(super) fn blocks(&self) -> usize {
        self.sizes[0].div_ceil(IMAGES)
    }

    /// Tiles of a position.
    pub(super) fn depth(&self) -> usize {
        self.sizes[1].div_ceil(CHANNELS)
    }

    /// Values of a block, its tile of zeros included.
    pub(super) fn block_len(&self) -> usize {
        let [_, _, height, width] = self.sizes;
        (height * width * self.depth() + 1) * TILE
    }

    /// Images of block `block`.
    pub(super) fn images(&self, block: usize) -> usize {
        (self.sizes[0] - block * IMAGES).min(IMAGES)
    }

    /// The values of a block.
    pub(super) fn block(&self, block: usize) -> &[u16] {
        &self.lines.values()[block * self.block_len()..][..self.block_len()]
    }

    /// All values.
    pub(super) fn values_mut(&mut self) -> &mut [u16] {
        self.lines.values_mut()
    }
}
