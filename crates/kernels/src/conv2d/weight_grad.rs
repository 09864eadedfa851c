//! Gradient by the weight: a matrix product whose long side is batch × output positions.
//!
//! Input and output gradient of an image are copied to channels-last memory. A register tile
//! holds `ROWS` neighbouring floats of the window (tap and input channel) × two vectors of output
//! channels and walks over the output positions: each step broadcasts the floats of the window
//! and loads two vectors of the output gradient. Positions go in bands that stay in the first
//! cache while all tiles pass over them.

use rayon::prelude::*;

use super::pack::Layout;
use super::passes::Passes;
use super::shape::Conv2dShape;
use crate::isa::{Isa, Kernel};
use crate::parallel::ELEMENTS_PER_TASK;
use crate::scratch::Scratch;
use crate::simd::Simd;
use crate::sizes;

/// Floats of a band: three quarters of a first-level data cache of 32 KiB.
const BAND_FLOATS: usize = 6 * 1024;

/// Positions of a band when each needs `floats`.
pub(super) fn band(floats: usize) -> usize {
    (BAND_FLOATS / floats).max(32)
}

/// Chunks the batch is cut into: the unit of parallel work, and each has its own sums, so fewer
/// for large weights. Depends on the shape only.
pub(super) fn chunks(shape: &Conv2dShape) -> usize {
    let most = if shape.weight_len() <= 64 * 1024 { 16 } else { 8 };
    shape.batch.min(most)
}

/// One chunk of images, one group.
struct ChunkKernel<'a> {
    shape: &'a Conv2dShape,
    input: &'a [f32],
    output_grad: &'a [f32],
    group: usize,
    source: &'a Layout,
    grads: &'a Layout,
    windows: &'a [usize],
    /// `[kernel rows][kernel columns × channels][padded output channels]`, added to
    sums: &'a mut [f32],
}

impl Kernel for ChunkKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let shape = self.shape;
        let (in_group, out_group) = shape.group_channels();
        let in_plane = shape.in_height * shape.in_width;
        let positions = self.windows.len();
        let padded = self.grads.border.pitch;
        assert!(padded.is_multiple_of(S::LANES) && self.grads.len() == positions * padded);
        let row_stride = self.source.border.columns * in_group;
        let run = shape.kernel[1] * in_group;
        let last = self.windows.last().copied().unwrap_or(0);
        assert!(last + (shape.kernel[0] - 1) * row_stride + run <= self.source.len());
        assert_eq!(self.sums.len(), shape.kernel[0] * run * padded, "sums and shape differ");
        let mut image = Scratch::take(self.source.len());
        let mut grad = Scratch::take(self.grads.len());
        let block = BLOCK * S::LANES;
        let band = band(in_group * shape.stride[1] + block.min(padded));
        let images = self.input.chunks(shape.input_image_len());
        for (input, output_grad) in images.zip(self.output_grad.chunks(shape.output_image_len())) {
            let planes = &input[self.group * in_group * in_plane..][..in_group * in_plane];
            self.source.pack(simd, planes, &mut image);
            let planes =
                &output_grad[self.group * out_group * positions..][..out_group * positions];
            self.grads.pack(simd, planes, &mut grad);
            for start in (0..positions).step_by(band) {
                let windows = &self.windows[start..positions.min(start + band)];
                for channel in (0..padded).step_by(block) {
                    for row in 0..shape.kernel[0] {
                        // SAFETY: `image` reaches as far as the last window by the assertion
                        // above, `grad` has `positions` rows of `padded` floats, and `sums` has
                        // `run` rows of `padded` floats for every kernel row.
                        unsafe {
                            let image = image.as_ptr().add(row * row_stride);
                            let grad = grad.as_ptr().add(start * padded + channel);
                            let sums = self.sums.as_mut_ptr().add(row * run * padded + channel);
                            if channel + S::LANES < padded {
                                kernel_row::<S, 2>(simd, image, grad, windows, run, padded, sums);
                            } else {
                                kernel_row::<S, 1>(simd, image, grad, windows, run, padded, sums);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Vectors of output channels in a register tile.
pub(super) const BLOCK: usize = 2;

/// All tiles of one row of the window.
///
/// # Safety
/// As for [`tile`], for all `run` rows of `sums`.
#[inline(always)]
pub(super) unsafe fn kernel_row<S: Simd, const WIDTH: usize>(
    simd: S,
    image: *const f32,
    grad: *const f32,
    windows: &[usize],
    run: usize,
    pitch: usize,
    sums: *mut f32,
) {
    let mut at = 0;
    while at < run {
        // SAFETY: `at` plus the rows of the tile stays within `run`.
        unsafe {
            let (image, sums) = (image.add(at), sums.add(at * pitch));
            if S::REGISTERS >= 32 && run - at >= 8 {
                tile::<S, 8, WIDTH>(simd, image, grad, windows, pitch, sums);
                at += 8;
            } else if run - at >= 4 {
                tile::<S, 4, WIDTH>(simd, image, grad, windows, pitch, sums);
                at += 4;
            } else if run - at == 3 {
                tile::<S, 3, WIDTH>(simd, image, grad, windows, pitch, sums);
                at += 3;
            } else if run - at == 2 {
                tile::<S, 2, WIDTH>(simd, image, grad, windows, pitch, sums);
                at += 2;
            } else {
                tile::<S, 1, WIDTH>(simd, image, grad, windows, pitch, sums);
                at += 1;
            }
        }
    }
}

/// The micro-kernel: `ROWS` floats of the window × `WIDTH` vectors of output channels.
///
/// # Safety
/// `image` plus every window has `ROWS` readable floats; `grad` has a row of `pitch` floats for
/// every window and `sums` one for each of the `ROWS`, of which `WIDTH` vectors are used.
#[inline(always)]
unsafe fn tile<S: Simd, const ROWS: usize, const WIDTH: usize>(
    simd: S,
    image: *const f32,
    grad: *const f32,
    windows: &[usize],
    pitch: usize,
    sums: *mut f32,
) {
    let mut tile = [[simd.splat(0.0); WIDTH]; ROWS];
    let mut grad = grad;
    for &window in windows {
        // SAFETY: the caller promises the floats of every window and the rows of `grad`.
        unsafe {
            let from = image.add(window);
            let mut g = [simd.splat(0.0); WIDTH];
            for v in 0..WIDTH {
                g[v] = simd.load(grad.add(v * S::LANES));
            }
            for r in 0..ROWS {
                let x = simd.splat(*from.add(r));
                for v in 0..WIDTH {
                    tile[r][v] = simd.mul_add(x, g[v], tile[r][v]);
                }
            }
            grad = grad.add(pitch);
        }
    }
    for r in 0..ROWS {
        for v in 0..WIDTH {
            // SAFETY: the caller promises `ROWS` rows of `pitch` floats in `sums`.
            unsafe {
                let to = sums.add(r * pitch + v * S::LANES);
                simd.store(to, simd.add(simd.load(to), tile[r][v]));
            }
        }
    }
}

/// The gradient by the weight on `isa`; lengths are checked by the caller.
pub(super) fn weight_grad(
    isa: Isa,
    shape: &Conv2dShape,
    input: &[f32],
    output_grad: &[f32],
    weight_grad: &mut [f32],
) {
    let chunks = chunks(shape);
    if chunks == 0 || shape.input_image_len() == 0 {
        weight_grad.fill(0.0);
        return;
    }
    let (in_group, out_group) = shape.group_channels();
    let passes = Passes::forward(shape, in_group);
    let windows = &passes.passes[0].windows[..];
    let taps = shape.kernel[0] * shape.kernel[1];
    let depth = taps * in_group;
    let padded = out_group.next_multiple_of(isa.lanes());
    let chunk_len = sizes::elements([depth, padded]);
    let source = Layout::new([in_group, shape.in_height, shape.in_width], passes.border);
    let grads = Layout::plain([out_group, shape.out_height(), shape.out_width()], padded);
    let mut partial = Scratch::take(sizes::elements([chunks, chunk_len]));
    for group in 0..shape.groups {
        partial.par_chunks_mut(chunk_len).enumerate().for_each(|(chunk, sums)| {
            let images = shape.chunk(chunk, chunks);
            let (image_in, image_out) = (shape.input_image_len(), shape.output_image_len());
            sums.fill(0.0);
            isa.run(ChunkKernel {
                shape,
                input: &input[images.start * image_in..images.end * image_in],
                output_grad: &output_grad[images.start * image_out..images.end * image_out],
                group,
                source: &source,
                grads: &grads,
                windows,
                sums,
            });
        });
        let (sums, others) = partial.split_at_mut(chunk_len);
        add_chunks(sums, others);
        let sums = &sums[..];
        let weight_grad = &mut weight_grad[group * out_group * depth..][..out_group * depth];
        // A vector of output channels a task: its lines of the sums are read once.
        let vectors = weight_grad.par_chunks_mut(isa.lanes() * depth).enumerate();
        vectors.for_each(|(vector, weight_grad)| {
            for channel in 0..in_group {
                for tap in 0..taps {
                    let at = (tap * in_group + channel) * padded + vector * isa.lanes();
                    let targets = weight_grad[channel * taps + tap..].iter_mut().step_by(depth);
                    for (grad, &sum) in targets.zip(&sums[at..]) {
                        *grad = sum;
                    }
                }
            }
        });
    }
}

/// Adds the sums of all other chunks to those of the first, in order.
pub(super) fn add_chunks(sums: &mut [f32], others: &[f32]) {
    let len = sums.len();
    sums.par_chunks_mut(ELEMENTS_PER_TASK).enumerate().for_each(|(task, sums)| {
        for other in others.chunks(len) {
            let other = &other[task * ELEMENTS_PER_TASK..];
            for (sum, add) in sums.iter_mut().zip(other) {
                *sum += add;
            }
        }
    });
}
