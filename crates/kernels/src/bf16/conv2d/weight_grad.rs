//! The gradient by the weight: products summed over images and positions.
//!
//! Depth is images here, 32 at a time: a task turns the rows that it needs into tiles of
//! `[result][image]` and of pairs of images, each once, and walks over its rows for every tap.

use std::ops::Range;

use rayon::prelude::*;

use super::packed_weights::check;
use super::panels::BOTH;
use crate::bf16::engine::Engine;
use crate::bf16::lines::ScratchValues;
use crate::bf16::maps::{CHANNELS, IMAGES, Maps, TILE};
use crate::bf16::products::{Products, Quad, SUMS, Step, TileKernel};
use crate::conv2d::{Conv2dShape, check_len};
use crate::scratch::Scratch;
use crate::sizes;

/// Sums of 32 results × 32 channels.
const BLOCK: usize = 4 * SUMS;
/// Positions that a tap sums at least before its sums go back to memory, where there are so many.
const POSITIONS: usize = 64;
/// Tasks that there should be at least.
const TASKS: usize = 16;

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
    let block = sizes::elements([taps, channels, BLOCK]);
    let len = sizes::elements([results, block]);
    let rows = batch.div_ceil(2 * IMAGES) * height;
    // Tasks share out the results first: those that share out rows have sums of their own.
    let each = results.div_ceil(TASKS);
    let row_parts = TASKS.div_ceil(results).min(rows);
    let mut sums = Scratch::take(sizes::elements([row_parts, len]));
    sums.par_chunks_exact_mut(len).enumerate().for_each(|(part, sums)| {
        let rows = part * rows / row_parts..(part + 1) * rows / row_parts;
        sums.par_chunks_mut(each * block).enumerate().for_each(|(part, sums)| {
            let results = part * each..(part * each + sums.len() / block);
            let rows = rows.clone();
            engine.run(IMAGES, Task { shape, input, output_grad, rows, results, sums });
        });
    });
    let sums = &sums[..];
    weight_grad.par_chunks_mut(in_channels * taps).enumerate().for_each(|(result, weights)| {
        for (channel, weights) in weights.chunks_exact_mut(taps).enumerate() {
            let first = result / CHANNELS * block + channel / CHANNELS * BLOCK;
            let tiles = (result / 16 % 2 * 2 + channel / 16 % 2) * SUMS;
            let place = first + tiles + result % 16 * 16 + channel % 16;
            for (tap, weight) in weights.iter_mut().enumerate() {
                let at = tap * channels * BLOCK + place;
                *weight = sums.iter().skip(at).step_by(len).sum();
            }
        }
    });
}

struct Task<'a> {
    shape: &'a Conv2dShape,
    input: &'a Maps,
    output_grad: &'a Maps,
    /// Of the output, those of all groups of 32 images behind each other.
    rows: Range<usize>,
    /// Blocks of 32 results.
    results: Range<usize>,
    /// `[block of results][tap][32 channels]`
    sums: &'a mut [f32],
}

impl Task<'_> {
    /// Rows of the input, counted like those of the output, that some rows of it read.
    #[inline(always)]
    fn reads(&self, rows: &Range<usize>) -> Range<usize> {
        let Conv2dShape { in_height, kernel, stride, padding, .. } = *self.shape;
        let height = self.shape.out_height();
        let (first, last) = (rows.start, rows.end - 1);
        let start = (first % height * stride[0]).saturating_sub(padding[0]).min(in_height);
        let end = (last % height * stride[0] + kernel[0]).saturating_sub(padding[0]).min(in_height);
        let range = first / height * in_height + start..last / height * in_height + end;
        range.start..range.end.max(range.start)
    }
}

impl TileKernel for Task<'_> {
    #[inline(always)]
    fn run<P: Products>(self, products: P) {
        let Self { shape, input, output_grad, ref rows, ref results, .. } = self;
        let (height, width, in_height) = (shape.out_height(), shape.out_width(), shape.in_height);
        let [kernel_rows, kernel_columns] = shape.kernel;
        let ([down, across], [top, left]) = (shape.stride, shape.padding);
        let channels = input.depth();
        let strips = |strip: usize| {
            let (start, end) = (rows.start, rows.end);
            (start..end).step_by(strip).map(move |first| first..end.min(first + strip))
        };
        // Each row of the input stays until its place is needed.
        let ring = |strip: usize| strips(strip).map(|strip| self.reads(&strip).len()).max();
        let input_row = shape.in_width * channels * BOTH;
        let output_row = width * results.len() * BOTH;
        let mut strip = POSITIONS.div_ceil(width).min(rows.len()).max(1);
        // Offsets are bytes in 32 bits; that one row is within their reach, `fits` has seen to.
        let reach = u32::MAX as usize / 2;
        while strip > 1 && ring(strip).unwrap_or(0).max(strip) > reach / input_row.max(output_row) {
            strip /= 2;
        }
        let ring = ring(strip).unwrap_or(0).max(1);
        assert!(2 * ring * input_row <= 2 * reach && 2 * strip * output_row <= 2 * reach);
        let mut turned = ScratchValues::take(sizes::elements([strip, output_row]));
        let mut pairs = ScratchValues::take(sizes::elements([ring, input_row]));
        let mut ready = 0;
        let mut steps = Vec::new();
        self.sums.fill(0.0);
        for strip in strips(strip) {
            let reads = self.reads(&strip);
            for row in reads.start.max(ready)..reads.end {
                let to = &mut pairs.values_mut()[row % ring * input_row..][..input_row];
                pair_row(products, input, [row / in_height, row % in_height], to);
            }
            ready = reads.end;
            for (index, row) in strip.clone().enumerate() {
                let to = &mut turned.values_mut()[index * output_row..][..output_row];
                turn_row(products, output_grad, [row / height, row % height], results, to);
            }
            for i in 0..kernel_rows {
                for j in 0..kernel_columns {
                    steps.clear();
                    for (index, row) in strip.clone().enumerate() {
                        let y = (row % height * down + i).wrapping_sub(top);
                        if y >= in_height {
                            continue;
                        }
                        let place = (row / height * in_height + y) % ring * input_row;
                        for column in 0..width {
                            let x = (column * across + j).wrapping_sub(left);
                            if x >= shape.in_width {
                                continue;
                            }
                            let result = 2 * (index * output_row + column * results.len() * BOTH);
                            let right = 2 * (place + x * channels * BOTH);
                            let left = [result as u32, (result + 2 * TILE) as u32];
                            steps.push(Step { left, right: right as u32 });
                        }
                    }
                    let tap = i * kernel_columns + j;
                    for result in 0..results.len() {
                        for channel in 0..channels {
                            let taps = kernel_rows * kernel_columns;
                            let block = (result * taps + tap) * channels + channel;
                            let sums = &mut self.sums[block * BLOCK..][..BLOCK];
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
fn pair_row<P: Products>(products: P, maps: &Maps, [group, row]: [usize; 2], to: &mut [u16]) {
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

/// A row turned `[column][32 results][result][32 images]`, of some blocks of results.
#[inline(always)]
fn turn_row<P: Products>(
    products: P,
    maps: &Maps,
    [group, row]: [usize; 2],
    results: &Range<usize>,
    to: &mut [u16],
) {
    let [.., width] = maps.sizes();
    for (which, block) in blocks(maps, group).into_iter().enumerate() {
        for (column, to) in to.chunks_exact_mut(results.len() * BOTH).enumerate() {
            let first = ((row * width + column) * maps.depth() + results.start) * TILE;
            for (result, to) in to.chunks_exact_mut(BOTH).enumerate() {
                let Some((tiles, images)) = block else {
                    for row in to.chunks_exact_mut(CHANNELS) {
                        row[which * IMAGES..][..IMAGES].fill(0);
                    }
                    continue;
                };
                let from = &tiles[first + result * TILE..][..TILE];
                // SAFETY: a tile, and two tiles less the first `which * 16` values.
                unsafe { products.turn(from.as_ptr(), images, to[which * IMAGES..].as_mut_ptr()) };
            }
        }
    }
}
