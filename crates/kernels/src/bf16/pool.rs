//! Pooling of maps.

use rayon::prelude::*;

use super::convert::widen;
use super::engine::Engine;
use super::maps::{CHANNELS, IMAGES, Maps, TILE};
use super::products::{Products, TileKernel};
use crate::pool::PoolShape;

/// What becomes of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The largest value; NaN where there is one.
    Max,
    /// The mean in `f32`, padding counted as zeros, rounded.
    Average,
}

/// Pools every map. Of `shape`, kernel, stride, padding and the sizes of a plane are read.
///
/// # Panics
/// If `source` has planes of other sizes, or `shape` is no valid pooling.
pub fn pool2d(shape: &PoolShape, pooling: Pooling, source: &Maps, target: &mut Maps) {
    pool2d_on(Engine::active(), shape, pooling, source, target);
}

pub(super) fn pool2d_on(
    engine: Engine,
    shape: &PoolShape,
    pooling: Pooling,
    source: &Maps,
    target: &mut Maps,
) {
    let [batch, channels, height, width] = source.sizes();
    let got = [height, width];
    let want = [shape.in_height, shape.in_width];
    assert!(got == want, "the maps are {got:?}, the pooling is of {want:?}");
    let [height, width] = [shape.out_height(), shape.out_width()];
    target.resize([batch, channels, height, width]);
    if batch * channels * height * width == 0 {
        return;
    }
    let row = width * source.depth() * TILE;
    let block_len = target.block_len();
    target.values_mut().par_chunks_exact_mut(block_len).enumerate().for_each(|(block, tiles)| {
        let images = (batch - block * IMAGES).min(IMAGES);
        tiles[..height * row].par_chunks_mut(row).enumerate().for_each(|(row, target)| {
            let source_block = source.block(block);
            let depth = source.depth();
            engine.run(
                images,
                Row { shape, pooling, source: source_block, depth, images, row, target },
            );
        });
    });
}

/// One row of the result.
struct Row<'a> {
    shape: &'a PoolShape,
    pooling: Pooling,
    /// The block.
    source: &'a [u16],
    depth: usize,
    images: usize,
    row: usize,
    target: &'a mut [u16],
}

impl TileKernel for Row<'_> {
    #[inline(always)]
    fn run<P: Products>(self, products: P) {
        let Self { shape, pooling, source, depth, images, row, target } = self;
        let [rows, columns] = shape.kernel;
        let mean = 1.0 / (rows * columns) as f32;
        let mut window = Vec::with_capacity(rows * columns);
        for (tile, target) in target.chunks_exact_mut(TILE).enumerate() {
            let (column, slab) = (tile / depth, tile % depth);
            window.clear();
            for i in 0..rows {
                let y = (row * shape.stride[0] + i).wrapping_sub(shape.padding[0]);
                for j in 0..columns {
                    let x = (column * shape.stride[1] + j).wrapping_sub(shape.padding[1]);
                    if y < shape.in_height && x < shape.in_width {
                        window.push(((y * shape.in_width + x) * depth + slab) * TILE);
                    }
                }
            }
            for image in 0..images {
                let mut values = match pooling {
                    Pooling::Max => [f32::NEG_INFINITY; CHANNELS],
                    Pooling::Average => [0.0; CHANNELS],
                };
                for start in &window {
                    let from = &source[start + image * CHANNELS..][..CHANNELS];
                    for i in 0..CHANNELS {
                        let value = widen(from[i]);
                        values[i] = match pooling {
                            // A NaN that is there stays, one that comes is taken.
                            Pooling::Max if values[i] >= value || values[i].is_nan() => values[i],
                            Pooling::Max => value,
                            Pooling::Average => values[i] + value,
                        };
                    }
                }
                if pooling == Pooling::Average {
                    for value in &mut values {
                        *value *= mean;
                    }
                }
                let target = &mut target[image * CHANNELS..][..CHANNELS];
                // SAFETY: 32 floats and 32 values.
                unsafe { products.round(values.as_ptr(), target.as_mut_ptr()) };
            }
        }
    }
}
