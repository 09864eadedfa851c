//! The gradient by the weight: products summed over images and positions.
//!
//! Depth is images here, 32 at a time: a task turns the rows that it needs into tiles of
//! `[result][image]` and of pairs of images, each once, and walks over its rows for every tap.

use std::ops::Range;

use rayon::prelude::*;

use super::{BOTH, check};
use crate::bf16::engine::{Engine, Products, Quad, SUMS, Step, TileKernel};
use crate::bf16::lines::Lines;
use crate::bf16::maps::{CHANNELS, IMAGES, Maps, TILE};
use crate::conv2d::{Conv2dShape, check_len};
use crate::scratch::Scratch;
use crate::sizes;

/// Sums of 32 results × 32 channels.
const BLOCK: usize = 4 * SUMS;
/// Positions that a tap sums at least before its sums go back to memory.
const POSITIONS: usize = 32;
/// Tasks that there should be at least, by the size of their sums in values.
const TASKS: [(usize, usize); 2] = [(1 << 17, 16), (usize::MAX, 8)];

/// Gradient by the weight `[out_channels, in_channels, rows, columns]`, summed over the batch, from the
/// input and the gradient by the output; `weight_grad` is overwritten.
///
/// # Panics
/// If sizes do not match, or `shape` [does not fit](super::fits).
pub fn conv2d_weight_grad(
    shape: &Conv2dShape,
    input: &Maps,
    output_grad: &Maps,
    weight_grad: &mut [f32],
) {
    conv2d_weight_grad_on(Engine::active(), shape, input, output_grad, weight_grad);
}

pub(in crate::bf16) fn conv2d_weight_grad_on(
    engine: Engine,
    shape: &Conv2dShape,
    input: &Maps,
    output_grad: &Maps,
    weight_grad: &mut [f32],
) {
    check(shape);
    check_len("weight_grad", weight_grad.len(), shape.weight_len(), shape);
    let Conv2dShape { batch, in_channels, in_height, in_width, out_channels, kernel, .. } = *shape;
    let (height, width) = (shape.out_height(), shape.out_width());
    let want = [[batch, in_channels, in_height, in_width], [batch, out_channels, height, width]];
    for (name, maps, want) in [("input", input, want[0]), ("output_grad", output_grad, want[1])] {
        assert!(maps.sizes() == want, "`{name}` is {:?}, {want:?} expected", maps.sizes());
    }
    if weight_grad.is_empty() {
        return;
    }
    if batch * height * width == 0 {
        weight_grad.fill(0.0);
        return;
    }
    let (results, channels) = (output_grad.depth(), input.depth());
    let taps = kernel[0] * kernel[1];
    let len = sizes::elements([taps, results, channels, BLOCK]);
    let groups = batch.div_ceil(2 * IMAGES);
    let (_, tasks) = TASKS.into_iter().find(|(most, _)| len <= *most).expect("the last has no end");
    let parts = tasks.div_ceil(groups).min(height);
    let mut sums = Scratch::take(sizes::elements([groups * parts, len]));
    sums.par_chunks_exact_mut(len).enumerate().for_each(|(task, sums)| {
        let (group, part) = (task / parts, task % parts);
        let rows = part * height / parts..(part + 1) * height / parts;
        engine.run(IMAGES, Task { shape, input, output_grad, group, rows, sums });
    });
    let sums = &sums[..];
    weight_grad.par_chunks_mut(in_channels * taps).enumerate().for_each(|(result, weights)| {
        for (channel, weights) in weights.chunks_exact_mut(taps).enumerate() {
            let block = result / CHANNELS * channels + channel / CHANNELS;
            let tiles = (result / 16 % 2 * 2 + channel / 16 % 2) * SUMS;
            let place = tiles + result % 16 * 16 + channel % 16;
            for (tap, weight) in weights.iter_mut().enumerate() {
                let at = (tap * results * channels + block) * BLOCK + place;
                *weight = sums.iter().skip(at).step_by(len).sum();
            }
        }
    });
}

struct Task<'a> {
    shape: &'a Conv2dShape,
    input: &'a Maps,
    output_grad: &'a Maps,
    /// The images `32 group..`.
    group: usize,
    /// Of the output.
    rows: Range<usize>,
    sums: &'a mut [f32],
}

impl TileKernel for Task<'_> {
    #[inline(always)]
    fn run<P: Products>(self, products: P) {
        let Self { shape, input, output_grad, group, rows, sums } = self;
        sums.fill(0.0);
        let (height, width) = (rows.end - rows.start, shape.out_width());
        let [kernel_rows, kernel_columns] = shape.kernel;
        let ([down, across], [top, left]) = (shape.stride, shape.padding);
        let (results, channels) = (output_grad.depth(), input.depth());
        let strip = POSITIONS.div_ceil(width).min(height);
        // Rows of the input that a strip reads; each stays until its place is needed.
        let ring = ((strip - 1) * down + kernel_rows).min(shape.in_height.max(1));
        let mut turned = Lines::default();
        turned.fit(sizes::elements([strip, width, results, BOTH]));
        let mut pairs = Lines::default();
        pairs.fit(sizes::elements([ring, shape.in_width, channels, BOTH]));
        let mut ready = 0;
        let mut steps = Vec::new();
        for first in rows.clone().step_by(strip) {
            let strip = strip.min(rows.end - first);
            let last = (first + strip - 1) * down + kernel_rows - 1;
            let end = (last + 1).saturating_sub(top).min(shape.in_height);
            let start = (first * down).saturating_sub(top).max(ready);
            for row in start..end {
                let row_len = shape.in_width * channels * BOTH;
                let to = &mut pairs.values_mut()[row % ring * row_len..][..row_len];
                pair_row(products, input, group, row, to);
            }
            ready = ready.max(end);
            for row in 0..strip {
                let row_len = width * results * BOTH;
                let to = &mut turned.values_mut()[row * row_len..][..row_len];
                turn_row(products, output_grad, group, first + row, to);
            }
            for i in 0..kernel_rows {
                for j in 0..kernel_columns {
                    steps.clear();
                    for row in 0..strip {
                        let y = ((first + row) * down + i).wrapping_sub(top);
                        if y >= shape.in_height {
                            continue;
                        }
                        for column in 0..width {
                            let x = (column * across + j).wrapping_sub(left);
                            if x >= shape.in_width {
                                continue;
                            }
                            let result = (2 * (row * width + column) * results * BOTH) as u32;
                            let place = (y % ring * shape.in_width + x) * channels * BOTH;
                            let left = [result, result + 2 * TILE as u32];
                            steps.push(Step { left, right: 2 * place as u32 });
                        }
                    }
                    let tap = i * kernel_columns + j;
                    for result in 0..results {
                        for channel in 0..channels {
                            let block = (tap * results + result) * channels + channel;
                            let sums = &mut sums[block * BLOCK..][..BLOCK];
                            let here = shape.in_channels - channel * CHANNELS;
                            let start = sums.as_mut_ptr();
                            let quad = Quad {
                                steps: &steps,
                                left: turned.values()[result * BOTH..].as_ptr(),
                                right: pairs.values()[channel * BOTH..].as_ptr(),
                                // SAFETY: four tiles of sums.
                                targets: [start, unsafe { start.add(2 * SUMS) }],
                                rows: IMAGES,
                                halves: here.min(CHANNELS).div_ceil(16),
                                adds: true,
                            };
                            // SAFETY: the steps' positions are those of the strip and of rows in the
                            // ring; each has its tiles of all results and channels.
                            unsafe { products.quad(quad) };
                        }
                    }
                }
            }
        }
    }
}

/// The tiles of a row of 32 images: those of both blocks, with their images.
#[inline(always)]
fn blocks(maps: &Maps, group: usize) -> [Option<(&[u16], usize)>; 2] {
    let mut blocks = [None; 2];
    for (which, found) in blocks.iter_mut().enumerate() {
        let block = 2 * group + which;
        if block < maps.blocks() {
            *found = Some((maps.block(block), maps.images(block)));
        }
    }
    blocks
}

/// A row as pairs of images `[column][32 channels][half][16 pairs][16 channels][2]`.
#[inline(always)]
fn pair_row<P: Products>(products: P, maps: &Maps, group: usize, row: usize, to: &mut [u16]) {
    let row_len = maps.sizes()[3] * maps.depth() * TILE;
    for (which, block) in blocks(maps, group).into_iter().enumerate() {
        for (tile, to) in to.chunks_exact_mut(BOTH).enumerate() {
            for half in 0..2 {
                let to = &mut to[half * TILE + which * TILE / 2..][..TILE / 2];
                let Some((tiles, images)) = block else {
                    to.fill(0);
                    continue;
                };
                let from = &tiles[row * row_len + tile * TILE..][..TILE];
                // SAFETY: a tile, and half a tile.
                unsafe { products.pair(from.as_ptr(), images, half, to.as_mut_ptr()) };
            }
        }
    }
}

/// A row turned `[column][32 results][result][32 images]`.
#[inline(always)]
fn turn_row<P: Products>(products: P, maps: &Maps, group: usize, row: usize, to: &mut [u16]) {
    let row_len = maps.sizes()[3] * maps.depth() * TILE;
    for (which, block) in blocks(maps, group).into_iter().enumerate() {
        for (tile, to) in to.chunks_exact_mut(BOTH).enumerate() {
            let Some((tiles, images)) = block else {
                for row in to.chunks_exact_mut(CHANNELS) {
                    row[which * IMAGES..][..IMAGES].fill(0);
                }
                continue;
            };
            let from = &tiles[row * row_len + tile * TILE..][..TILE];
            // SAFETY: a tile, and two tiles less the first `which * 16` values.
            unsafe { products.turn(from.as_ptr(), images, to[which * IMAGES..].as_mut_ptr()) };
        }
    }
}
