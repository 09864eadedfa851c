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
mod packed_weights;
mod panels;
mod to_maps;
mod to_planes;
mod weight_grad;

use super::engine::Engine;
use super::maps::Maps;

pub use self::packed_weights::{PackedWeights, fits};
pub use self::to_maps::Epilogue;
pub use self::weight_grad::conv2d_weight_grad;
#[cfg(test)]
pub(super) use self::{
    to_maps::conv2d_on as to_maps_on, to_planes::conv2d_on as to_planes_on,
    weight_grad::conv2d_weight_grad_on as weight_grad_on,
};

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
