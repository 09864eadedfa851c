//! The weights of a convolution for one direction, and what reads what in it.

use super::geometry::{Geometry, Pair, Taps};
use super::panels::{BOTH, Panels};
use crate::bf16::maps::{CHANNELS, Maps, TILE};
use crate::bf16::products::Step;
use crate::conv2d::{Conv2dShape, check_len};
use crate::sizes;

/// Positions of a task.
const POSITIONS: usize = 64;

/// Whether a convolution has a form in bfloat16: it has no groups and is of a size that offsets in
/// 32 bits reach.
#[must_use]
pub fn fits(shape: &Conv2dShape) -> bool {
    let Conv2dShape { batch, in_channels, in_height, in_width, out_channels, .. } = *shape;
    shape.groups == 1
        && shape.validate().is_ok()
        && Maps::fit_memory([batch, in_channels, in_height, in_width])
        && Maps::fit_memory([batch, out_channels, shape.out_height(), shape.out_width()])
}

/// The weights of a convolution, rounded and laid out for one direction; for any batch.
pub struct PackedWeights {
    pub(super) geometry: Geometry,
    pub(super) panels: Panels,
    /// Of whole tiles of results.
    pub(super) bias: Vec<f32>,
    /// Channels of the source and of the target.
    pub(super) channels: [usize; 2],
}

impl std::fmt::Debug for PackedWeights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PackedWeights").field("channels", &self.channels).finish_non_exhaustive()
    }
}

impl PackedWeights {
    /// For the forward pass.
    ///
    /// # Panics
    /// If a length does not match `shape`, or `shape` [does not fit](fits).
    #[must_use]
    pub fn forward(shape: &Conv2dShape, weight: &[f32], bias: Option<&[f32]>) -> Self {
        check(shape);
        check_len("weight", weight.len(), shape.weight_len(), shape);
        let Conv2dShape { in_channels, out_channels, .. } = *shape;
        let mut padded = vec![0.0; out_channels.next_multiple_of(CHANNELS)];
        if let Some(bias) = bias {
            check_len("bias", bias.len(), out_channels, shape);
            padded[..out_channels].copy_from_slice(bias);
        }
        let taps = shape.kernel[0] * shape.kernel[1];
        let (results, summed) = ([out_channels, in_channels * taps], [in_channels, taps]);
        Self {
            geometry: Geometry::forward(shape),
            panels: Panels::new(weight, results, summed, taps),
            bias: padded,
            channels: [in_channels, out_channels],
        }
    }

    /// For the gradient by the input, from that by the output.
    ///
    /// # Panics
    /// If a length does not match `shape`, or `shape` [does not fit](fits).
    #[must_use]
    pub fn input_grad(shape: &Conv2dShape, weight: &[f32]) -> Self {
        check(shape);
        check_len("weight", weight.len(), shape.weight_len(), shape);
        let Conv2dShape { in_channels, out_channels, .. } = *shape;
        let taps = shape.kernel[0] * shape.kernel[1];
        let (results, summed) = ([in_channels, taps], [out_channels, in_channels * taps]);
        Self {
            geometry: Geometry::input_grad(shape),
            panels: Panels::new(weight, results, summed, taps),
            bias: vec![0.0; in_channels.next_multiple_of(CHANNELS)],
            channels: [out_channels, in_channels],
        }
    }

    /// Tiles of resulting channels.
    pub(super) fn blocks(&self) -> usize {
        self.channels[1].div_ceil(CHANNELS)
    }

    /// Tiles of 16 resulting channels that block `block` has.
    pub(super) fn halves(&self, block: usize) -> usize {
        (self.channels[1] - block * CHANNELS).min(CHANNELS).div_ceil(16)
    }

    /// # Panics
    /// If `source` has other sizes than the weights are for.
    pub(super) fn check_source(&self, source: &Maps) {
        let [_, channels, height, width] = source.sizes();
        let got = ([height, width], channels);
        let want = (self.geometry.source, self.channels[0]);
        assert!(got == want, "the maps are {got:?}, the weights are for {want:?}");
    }

    /// Sizes of the target of `batch` images.
    pub(super) fn target_sizes(&self, batch: usize) -> [usize; 4] {
        let [height, width] = self.geometry.target;
        [batch, self.channels[1], height, width]
    }

    /// Rows of the target that a task has.
    pub(super) fn task_rows(&self) -> usize {
        (POSITIONS / self.geometry.target[1].max(1)).max(1)
    }

    /// Appends the steps of two columns in one row. Offsets on the left count from the block of images.
    #[inline(always)]
    pub(super) fn steps(&self, row: &Taps, pair: &Pair, steps: &mut Vec<Step>) {
        let Geometry { source: [height, width], kernel_columns, .. } = self.geometry;
        let depth = self.panels.depth;
        let zeros = (2 * height * width * depth * TILE) as u32;
        let tile = 2 * TILE as u32;
        for &(i, y) in row {
            for &(j, columns) in &pair.taps {
                let mut left = [zeros; 2];
                let mut stride = [0; 2];
                for (which, column) in columns.into_iter().enumerate() {
                    if let Some(x) = column {
                        left[which] = (2 * (y * width + x) * depth * TILE) as u32;
                        stride[which] = tile;
                    }
                }
                let mut right = (2 * (i * kernel_columns + j) * depth * BOTH) as u32;
                for _ in 0..depth {
                    steps.push(Step { left, right });
                    left = [left[0] + stride[0], left[1] + stride[1]];
                    right += 2 * BOTH as u32;
                }
            }
        }
    }
}

/// # Panics
/// If `shape` does not [fit](fits).
#[track_caller]
pub(super) fn check(shape: &Conv2dShape) {
    shape.check();
    assert!(fits(shape), "{shape:?} has no form in bfloat16");
    // Offsets on the right count from a block of results.
    let [rows, columns] = shape.kernel;
    let most = shape.in_channels.max(shape.out_channels).next_multiple_of(CHANNELS);
    let block = sizes::checked_elements([rows, columns, most, 2 * CHANNELS]);
    assert!(block.is_some_and(|bytes| bytes < u32::MAX as usize), "{shape:?} has too many weights");
}
