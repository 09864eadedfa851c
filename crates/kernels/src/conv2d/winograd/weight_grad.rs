//! Gradient by the weight through F(3 × 3, 4 × 4): the output gradient's tiles are the kernels.
//!
//! ```text
//! dw = Q' [ sum over tiles (P g P') * (B' d B) ] Q       g: 4 × 4 tile, d: 6 × 6 tile
//! ```
//! The sums are 36 matrix products, channels × tiles times tiles × output channels. The batch goes
//! in pieces whose transformed tiles fit the last-level cache: images are transformed in parallel,
//! then the 36 products are added to their sums in parallel. Each sum is made by one task in the
//! order of the tiles, so the result does not depend on the number of threads.

use rayon::prelude::*;

use super::super::pack::{Border, Layout};
use super::super::shape::Conv2dShape;
use super::super::weight_grad::{BLOCK, band, kernel_row};
use super::transform::{POINTS, grad_tile, input_tile, kernel_tile};
use super::{Plan, TILE, point_stride};
use crate::isa::{Isa, Kernel};
use crate::parallel::SharedMut;
use crate::scratch::Scratch;
use crate::simd::Simd;
use crate::sizes;

/// Floats of the transformed tiles of a piece, at least: 2 MiB, which two cores keep in their
/// second-level caches. Where the sums are larger than that, a piece is as large as they are, so
/// that reading and writing them once a piece does not dominate.
const PIECE_FLOATS: usize = 512 * 1024;

/// The 36 matrices of one operand: `rows` tiles × `pitch` channels each.
#[derive(Clone, Copy)]
struct Matrices<'a> {
    values: SharedMut<'a>,
    pitch: usize,
    stride: usize,
}

/// Transforms the tiles of one image, both operands.
struct ImageKernel<'a> {
    plan: &'a Plan,
    grad_layout: &'a Layout,
    input: &'a [f32],
    output_grad: &'a [f32],
    /// Row of the image's first tile.
    row: usize,
    inputs: Matrices<'a>,
    grads: Matrices<'a>,
}

impl Kernel for ImageKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let plan = self.plan;
        let mut packed = Scratch::take(plan.source.len());
        plan.source.pack(simd, self.input, &mut packed);
        self.transform::<S, true>(simd, &plan.source.border, &packed, &self.inputs);
        let mut packed = Scratch::take(self.grad_layout.len());
        self.grad_layout.pack(simd, self.output_grad, &mut packed);
        self.transform::<S, false>(simd, &self.grad_layout.border, &packed, &self.grads);
    }
}

impl ImageKernel<'_> {
    #[inline(always)]
    fn transform<S: Simd, const INPUT: bool>(
        &self,
        simd: S,
        border: &Border,
        packed: &[f32],
        to: &Matrices<'_>,
    ) {
        let [down, across] = self.plan.tiles;
        let size = if INPUT { TILE + 2 } else { TILE };
        assert!(border.rows == TILE * (down - 1) + size);
        assert!(border.columns == TILE * (across - 1) + size);
        assert!(packed.len() == border.rows * border.columns * border.pitch);
        assert!(border.pitch == to.pitch);
        assert!(border.pitch.is_multiple_of(S::LANES));
        let row_stride = border.columns * border.pitch;
        for tile in 0..down * across {
            let corner = (tile / across * border.columns + tile % across) * TILE * border.pitch;
            let row = (self.row + tile) * to.pitch;
            let target = to.values.start_of(row, (POINTS - 1) * to.stride + to.pitch);
            for channel in (0..border.pitch).step_by(S::LANES) {
                // SAFETY: the tile lies inside `packed` by the assertions above, the targets inside
                // the matrices by the check of `start_of`; their row is this task's alone.
                unsafe {
                    let from = packed.as_ptr().add(corner + channel);
                    let target = target.add(channel);
                    if INPUT {
                        input_tile(simd, from, row_stride, border.pitch, target, to.stride);
                    } else {
                        grad_tile(simd, from, row_stride, border.pitch, target, to.stride);
                    }
                }
            }
        }
    }
}

/// Adds one of the 36 matrix products of a piece to its sums.
struct PointKernel<'a> {
    /// `[tiles][pitch]`
    inputs: &'a [f32],
    /// `[tiles][padded output channels]`
    grads: &'a [f32],
    /// Rows of both.
    tiles: usize,
    /// Channels of the input that count.
    channels: usize,
    /// `[channels][padded output channels]`
    sums: &'a mut [f32],
}

impl Kernel for PointKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (pitch, padded) = (self.inputs.len() / self.tiles, self.grads.len() / self.tiles);
        assert!(self.channels <= pitch && self.sums.len() == self.channels * padded);
        let block = BLOCK * S::LANES;
        let band = band(pitch + block.min(padded)).min(self.tiles);
        let rows: Vec<usize> = (0..band).map(|row| row * pitch).collect();
        for start in (0..self.tiles).step_by(band) {
            let rows = &rows[..band.min(self.tiles - start)];
            for channel in (0..padded).step_by(block) {
                // SAFETY: `start` plus the rows is at most `tiles`, `channels` at most the pitch,
                // and a block of two vectors is taken only where two are left.
                unsafe {
                    let inputs = self.inputs.as_ptr().add(start * pitch);
                    let grads = self.grads.as_ptr().add(start * padded + channel);
                    let sums = self.sums.as_mut_ptr().add(channel);
                    let run = self.channels;
                    if channel + S::LANES < padded {
                        kernel_row::<S, 2>(simd, inputs, grads, rows, run, padded, sums);
                    } else {
                        kernel_row::<S, 1>(simd, inputs, grads, rows, run, padded, sums);
                    }
                }
            }
        }
    }
}

/// Transforms the sums of one vector of output channels back to kernels.
struct BackKernel<'a> {
    /// `[point][channel][padded output channels]`, from the vector's first channel on
    sums: &'a [f32],
    /// Floats from one point to the next.
    stride: usize,
    padded: usize,
    channels: usize,
    /// `[output channels of this vector][channels][9]`
    weight_grad: &'a mut [f32],
}

impl Kernel for BackKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let depth = self.channels * 9;
        let outputs = self.weight_grad.len() / depth;
        assert!(outputs <= S::LANES && self.channels > 0);
        let last = (POINTS - 1) * self.stride + (self.channels - 1) * self.padded;
        assert!(self.sums.len() >= last + S::LANES);
        for channel in 0..self.channels {
            // SAFETY: the last vector read ends at `last + LANES`, asserted above.
            let taps = unsafe {
                kernel_tile(simd, self.sums.as_ptr().add(channel * self.padded), self.stride)
            };
            let mut lanes = [[0.0; 16]; 9];
            for tap in 0..9 {
                // SAFETY: a vector has at most 16 lanes.
                unsafe { simd.store(lanes[tap].as_mut_ptr(), taps[tap]) };
            }
            for output in 0..outputs {
                let kernel = &mut self.weight_grad[output * depth + channel * 9..][..9];
                for tap in 0..9 {
                    kernel[tap] = lanes[tap][output];
                }
            }
        }
    }
}

/// The gradient by the weight on `isa`, for shapes that [fit](super::is_cheaper).
pub(in crate::conv2d) fn weight_grad(
    isa: Isa,
    shape: &Conv2dShape,
    input: &[f32],
    output_grad: &[f32],
    weight_grad: &mut [f32],
) {
    let channels = shape.in_channels;
    let plan = Plan::new(
        isa,
        [channels, shape.in_height, shape.in_width],
        [shape.out_channels, shape.out_height(), shape.out_width()],
        shape.padding,
    );
    let (pitch, padded) = (plan.source.border.pitch, plan.target.border.pitch);
    let grad_border = Border {
        top: 0,
        left: 0,
        rows: TILE * plan.tiles[0],
        columns: TILE * plan.tiles[1],
        pitch: padded,
    };
    let grad_layout = Layout::new(plan.target.dims, grad_border);
    let image_tiles = plan.image_tiles();
    let sums_stride = channels * padded;
    let all_sums = sizes::elements([POINTS, sums_stride]);
    let piece = PIECE_FLOATS.max(all_sums);
    let image_floats = sizes::elements([POINTS, image_tiles, pitch + padded]);
    let images = (piece / image_floats).clamp(1, shape.batch);
    let rows = images * image_tiles;
    let (input_stride, grad_stride) = (point_stride(rows, pitch), point_stride(rows, padded));
    let mut inputs = Scratch::take(sizes::elements([POINTS, input_stride]));
    let mut grads = Scratch::take(sizes::elements([POINTS, grad_stride]));
    let mut sums = Scratch::take(all_sums);
    sums.fill(0.0);
    let pieces = input.chunks(images * shape.input_image_len());
    for (input, output_grad) in pieces.zip(output_grad.chunks(images * shape.output_image_len())) {
        let input_matrices =
            Matrices { values: SharedMut::new(&mut inputs), pitch, stride: input_stride };
        let grad_matrices =
            Matrices { values: SharedMut::new(&mut grads), pitch: padded, stride: grad_stride };
        let images = input.par_chunks(shape.input_image_len());
        let images = images.zip(output_grad.par_chunks(shape.output_image_len()));
        let tiles = images.len() * image_tiles;
        images.enumerate().for_each(|(image, (input, output_grad))| {
            isa.run(ImageKernel {
                plan: &plan,
                grad_layout: &grad_layout,
                input,
                output_grad,
                row: image * image_tiles,
                inputs: input_matrices,
                grads: grad_matrices,
            });
        });
        let (inputs, grads) = (&inputs[..], &grads[..]);
        sums.par_chunks_mut(sums_stride).enumerate().for_each(|(point, sums)| {
            isa.run(PointKernel {
                inputs: &inputs[point * input_stride..][..tiles * pitch],
                grads: &grads[point * grad_stride..][..tiles * padded],
                tiles,
                channels,
                sums,
            });
        });
    }
    let sums = &sums[..];
    let vectors = weight_grad.par_chunks_mut(isa.lanes() * channels * 9);
    vectors.enumerate().for_each(|(vector, weight_grad)| {
        let sums = &sums[vector * isa.lanes()..];
        isa.run(BackKernel { sums, stride: sums_stride, padded, channels, weight_grad });
    });
}
