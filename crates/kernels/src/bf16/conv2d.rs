//! Convolution of factors rounded to bfloat16, and its gradients; shapes and formula as in
//! [`conv2d`](crate::conv2d).
//!
//! # Algorithm
//! No window is copied: a position of 16 images is the rows of a tile, so a tap of the kernel is a tile
//! somewhere in [`Maps`], or the tile of zeros where it lies outside. Two neighbouring positions × 32
//! resulting channels stay in registers while all taps and channels are summed. The gradient by the
//! input is the same with the taps turned; at stride `s` two positions that are `s` apart share theirs.
//!
//! # Threads
//! A task has some rows of 16 images (of the gradient by the weight: some rows of 32 images, whose
//! sums are added in order).

mod geometry;
mod panels;
mod to_maps;
mod to_planes;
mod weight_grad;

use self::geometry::{Geometry, Pair, Taps};
use self::panels::{BOTH, Panels};
use super::engine::{Engine, Step};
use super::maps::{CHANNELS, Maps, TILE};
use crate::conv2d::{Conv2dShape, check_len};
use crate::sizes;

pub use self::weight_grad::conv2d_weight_grad;
#[cfg(test)]
pub(super) use self::{
    to_maps::conv2d_on as to_maps_on, to_planes::conv2d_on as to_planes_on,
    weight_grad::conv2d_weight_grad_on as weight_grad_on,
};

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
    geometry: Geometry,
    panels: Panels,
    /// Of whole tiles of results.
    bias: Vec<f32>,
    /// Channels of the source and of the target.
    channels: [usize; 2],
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
    fn blocks(&self) -> usize {
        self.channels[1].div_ceil(CHANNELS)
    }

    /// Tiles of 16 resulting channels that block `block` has.
    fn halves(&self, block: usize) -> usize {
        (self.channels[1] - block * CHANNELS).min(CHANNELS).div_ceil(16)
    }

    /// # Panics
    /// If `source` has other sizes than the weights are for.
    fn check_source(&self, source: &Maps) {
        let [_, channels, height, width] = source.sizes();
        let got = ([height, width], channels);
        let want = (self.geometry.source, self.channels[0]);
        assert!(got == want, "the maps are {got:?}, the weights are for {want:?}");
    }

    /// Sizes of the target of `batch` images.
    fn target_sizes(&self, batch: usize) -> [usize; 4] {
        let [height, width] = self.geometry.target;
        [batch, self.channels[1], height, width]
    }

    /// Rows of the target that a task has.
    fn task_rows(&self) -> usize {
        (POSITIONS / self.geometry.target[1].max(1)).max(1)
    }

    /// Appends the steps of two columns in one row. Offsets on the left count from the block of images.
    #[inline(always)]
    fn steps(&self, row: &Taps, pair: &Pair, steps: &mut Vec<Step>) {
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
fn check(shape: &Conv2dShape) {
    shape.check();
    assert!(fits(shape), "{shape:?} has no form in bfloat16");
    // Offsets on the right count from a block of results.
    let [rows, columns] = shape.kernel;
    let most = shape.in_channels.max(shape.out_channels).next_multiple_of(CHANNELS);
    let block = sizes::checked_elements([rows, columns, most, 2 * CHANNELS]);
    assert!(block.is_some_and(|bytes| bytes < u32::MAX as usize), "{shape:?} has too many weights");
}

/// What is done to a sum before it is stored in maps.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// Maps of the output's shape that are added.
    pub residual: Option<&'a Maps>,
    /// Whether ReLU comes last.
    pub relu: bool,
}

/// `target = [relu](conv(source) + bias [+ residual])`, rounded.
///
/// # Panics
/// If sizes do not match.
pub fn conv2d(weights: &PackedWeights, source: &Maps, epilogue: Epilogue<'_>, target: &mut Maps) {
    to_maps::conv2d_on(Engine::active(), weights, source, epilogue, target);
}

/// The same with planes of `f32` `[batch, channels, height, width]` as residual and as target, which is
/// not rounded.
///
/// # Panics
/// If sizes do not match.
pub fn conv2d_to_planes(
    weights: &PackedWeights,
    source: &Maps,
    residual: Option<&[f32]>,
    relu: bool,
    target: &mut [f32],
) {
    to_planes::conv2d_on(Engine::active(), weights, source, residual, relu, target);
}
