//! `[relu](scale · x + shift [+ y])` by channel, on maps.

use rayon::prelude::*;

use super::convert::widen;
use super::engine::Engine;
use super::maps::{CHANNELS, IMAGES, Maps, TILE};
use super::products::{Products, TileKernel};
use crate::simd::Simd;

/// Positions of a task.
const POSITIONS: usize = 64;

/// `target = [relu](scale · source + shift [+ residual])` in `f32`, rounded; `scale` and `shift` have a
/// value for each channel, without them the source is taken as it is.
///
/// # Panics
/// If sizes do not match.
pub fn affine(
    source: &Maps,
    constants: Option<[&[f32]; 2]>,
    residual: Option<&Maps>,
    relu: bool,
    target: &mut Maps,
) {
    affine_on(Engine::active(), source, constants, residual, relu, target);
}

pub(super) fn affine_on(
    engine: Engine,
    source: &Maps,
    constants: Option<[&[f32]; 2]>,
    residual: Option<&Maps>,
    relu: bool,
    target: &mut Maps,
) {
    let sizes = source.sizes();
    if let Some(residual) = residual {
        let got = residual.sizes();
        assert!(got == sizes, "the residual is {got:?}, the source {sizes:?}");
    }
    let padded = |values: &[f32]| {
        assert!(values.len() == sizes[1], "{} constants for {} channels", values.len(), sizes[1]);
        let mut padded = values.to_vec();
        padded.resize(sizes[1].next_multiple_of(CHANNELS), 0.0);
        padded
    };
    let constants = constants.map(|constants| constants.map(padded));
    target.resize(sizes);
    if sizes.contains(&0) {
        return;
    }
    let part = POSITIONS * source.depth() * TILE;
    let (depth, block_len) = (source.depth(), source.block_len());
    target.values_mut().par_chunks_exact_mut(block_len).enumerate().for_each(|(block, tiles)| {
        let images = (sizes[0] - block * IMAGES).min(IMAGES);
        // The tile of zeros stays what it is.
        tiles[..block_len - TILE].par_chunks_mut(part).enumerate().for_each(|(index, target)| {
            let here = index * part..index * part + target.len();
            let task = Task {
                source: &source.block(block)[here.clone()],
                residual: residual.map(|maps| &maps.block(block)[here]),
                constants: constants.as_ref(),
                depth,
                images,
                relu,
                target,
            };
            engine.run(images, task);
        });
    });
}

struct Task<'a> {
    source: &'a [u16],
    residual: Option<&'a [u16]>,
    /// Scale and shift of whole tiles of channels.
    constants: Option<&'a [Vec<f32>; 2]>,
    /// Tiles of a position.
    depth: usize,
    images: usize,
    relu: bool,
    target: &'a mut [u16],
}

impl TileKernel for Task<'_> {
    #[inline(always)]
    fn run<P: Products>(self, products: P) {
        let Self { source, residual, constants, depth, images, relu, target } = self;
        let mut row = [0.0; CHANNELS];
        for (tile, target) in target.chunks_exact_mut(TILE).enumerate() {
            let first = tile % depth * CHANNELS;
            for image in 0..images {
                let at = tile * TILE + image * CHANNELS;
                let from = &source[at..at + CHANNELS];
                for i in 0..CHANNELS {
                    row[i] = widen(from[i]);
                }
                if let Some([scale, shift]) = constants {
                    let (scale, shift) = (&scale[first..][..CHANNELS], &shift[first..][..CHANNELS]);
                    for i in 0..CHANNELS {
                        row[i] = <P::Vectors as Simd>::fused(row[i], scale[i], shift[i]);
                    }
                }
                if let Some(residual) = residual {
                    let residual = &residual[at..at + CHANNELS];
                    for i in 0..CHANNELS {
                        row[i] += widen(residual[i]);
                    }
                }
                if relu {
                    for value in &mut row {
                        *value = if *value < 0.0 { 0.0 } else { *value };
                    }
                }
                let target = &mut target[image * CHANNELS..][..CHANNELS];
                // SAFETY: 32 floats and 32 values.
                unsafe { products.round(row.as_ptr(), target.as_mut_ptr()) };
            }
        }
    }
}
