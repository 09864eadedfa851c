//! Convolutions with one input channel per output channel: nothing is summed over channels, so
//! channels fill the lanes and every tap is one multiply-add per vector.

use rayon::prelude::*;

use super::epilogue::Epilogue;
use super::pack::{Layout, add_residual};
use super::passes::{Pass, Passes};
use super::shape::Conv2dShape;
use super::weight_grad::chunks;
use crate::isa::{Isa, Kernel};
use crate::scratch::Scratch;
use crate::simd::Simd;
use crate::sizes;

/// Positions that share a load of the weights.
const POSITIONS: usize = 4;

/// Whether every group is one channel in and one out.
pub(super) fn fits(shape: &Conv2dShape) -> bool {
    shape.groups > 1 && shape.in_channels == shape.groups && shape.out_channels == shape.groups
}

/// One image, all channels.
struct ImageKernel<'a> {
    source: &'a Layout,
    target: &'a Layout,
    passes: &'a [Pass],
    /// `[tap of the kernel][pitch]`
    weights: &'a [f32],
    bias: &'a [f32],
    residual: Option<&'a [f32]>,
    relu: bool,
    planes: &'a [f32],
    output: &'a mut [f32],
}

impl Kernel for ImageKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let pitch = self.source.border.pitch;
        assert!(self.target.border.pitch == pitch && pitch.is_multiple_of(S::LANES));
        assert_eq!(self.bias.len(), pitch, "bias and shape differ");
        let mut packed = Scratch::take(self.source.len());
        self.source.pack(simd, self.planes, &mut packed);
        let mut result = Scratch::take(self.target.len());
        let relu = self.relu && self.residual.is_none();
        for pass in self.passes {
            let positions = pass.windows.len();
            let (Some(&last), Some(&target)) = (pass.windows.last(), pass.targets.last()) else {
                continue;
            };
            let columns = pass.run / pitch;
            let depth = pass.depth();
            // Windows and targets are in ascending order, so the last ones reach furthest.
            assert!(
                depth == 0 || last + (pass.rows - 1) * pass.row_stride + pass.run <= packed.len()
            );
            assert!((target + 1) * pitch <= result.len() && pass.targets.len() == positions);
            assert!(pass.taps.len() == pass.rows * columns);
            assert!(pass.taps.iter().all(|&tap| (tap + 1) * pitch <= self.weights.len()));
            for position in (0..positions).step_by(POSITIONS) {
                let (mut windows, mut targets) = ([0; POSITIONS], [0; POSITIONS]);
                for r in 0..POSITIONS {
                    let position = (position + r).min(positions - 1);
                    windows[r] = pass.windows[position];
                    targets[r] = pass.targets[position] * pitch;
                }
                for channel in (0..pitch).step_by(S::LANES) {
                    // SAFETY: by the assertions above, windows end inside `packed`, taps inside
                    // the weights, targets inside `result`, and all pitches are whole vectors.
                    unsafe {
                        let bias = simd.load(self.bias.as_ptr().add(channel));
                        let mut sums = [bias; POSITIONS];
                        for i in 0..pass.rows {
                            for j in 0..columns {
                                let tap = *pass.taps.get_unchecked(i * columns + j);
                                let weight = self.weights.as_ptr().add(tap * pitch + channel);
                                let weight = simd.load(weight);
                                let from = i * pass.row_stride + j * pitch + channel;
                                for r in 0..POSITIONS {
                                    let x = simd.load(packed.as_ptr().add(windows[r] + from));
                                    sums[r] = simd.mul_add(x, weight, sums[r]);
                                }
                            }
                        }
                        for r in 0..POSITIONS {
                            let sum = if relu { simd.relu(sums[r]) } else { sums[r] };
                            simd.store(result.as_mut_ptr().add(targets[r] + channel), sum);
                        }
                    }
                }
            }
        }
        self.target.unpack(simd, &result, self.output);
        add_residual(self.residual, self.relu, self.output);
    }
}

/// The forward pass on `isa`, for shapes that [fit](fits).
pub(super) fn forward(
    isa: Isa,
    shape: &Conv2dShape,
    input: &[f32],
    weight: &[f32],
    epilogue: Epilogue<'_>,
    output: &mut [f32],
) {
    let pitch = shape.groups.next_multiple_of(isa.lanes());
    let passes = Passes::forward(shape, pitch);
    let source = Layout::new([shape.groups, shape.in_height, shape.in_width], passes.border);
    let out = [shape.groups, shape.out_height(), shape.out_width()];
    run(isa, &source, &Layout::plain(out, pitch), &passes, weight, input, epilogue, output);
}

/// The gradient by the input on `isa`, for shapes that [fit](fits).
pub(super) fn input_grad(
    isa: Isa,
    shape: &Conv2dShape,
    weight: &[f32],
    output_grad: &[f32],
    input_grad: &mut [f32],
) {
    let pitch = shape.groups.next_multiple_of(isa.lanes());
    let passes = Passes::input_grad(shape, pitch);
    let dims = [shape.groups, shape.out_height(), shape.out_width()];
    let source = Layout::new(dims, passes.border);
    let target = Layout::plain([shape.groups, shape.in_height, shape.in_width], pitch);
    let epilogue = Epilogue { bias: None, residual: None, relu: false };
    run(isa, &source, &target, &passes, weight, output_grad, epilogue, input_grad);
}

fn run(
    isa: Isa,
    source: &Layout,
    target: &Layout,
    passes: &Passes,
    weight: &[f32],
    planes: &[f32],
    epilogue: Epilogue<'_>,
    output: &mut [f32],
) {
    let pitch = source.border.pitch;
    let channels = source.dims[0];
    let taps = weight.len() / channels;
    let mut weights = Scratch::take(sizes::elements([taps, pitch]));
    weights.fill(0.0);
    for (channel, kernel) in weight.chunks(taps).enumerate() {
        for (tap, &value) in kernel.iter().enumerate() {
            weights[tap * pitch + channel] = value;
        }
    }
    let mut bias = Scratch::take(pitch);
    bias.fill(0.0);
    if let Some(values) = epilogue.bias {
        bias[..channels].copy_from_slice(values);
    }
    let (weights, bias) = (&weights[..], &bias[..]);
    let image_in = source.dims.iter().product::<usize>();
    let image_out = target.dims.iter().product::<usize>();
    output.par_chunks_mut(image_out).enumerate().for_each(|(image, output)| {
        isa.run(ImageKernel {
            source,
            target,
            passes: &passes.passes,
            weights,
            bias,
            residual: epilogue.residual.map(|r| &r[image * image_out..][..image_out]),
            relu: epilogue.relu,
            planes: &planes[image * image_in..][..image_in],
            output,
        });
    });
}

/// Weight gradient of a chunk of images.
struct ChunkKernel<'a> {
    source: &'a Layout,
    grads: &'a Layout,
    pass: &'a Pass,
    input: &'a [f32],
    output_grad: &'a [f32],
    /// `[tap][pitch]`, overwritten
    sums: &'a mut [f32],
}

impl Kernel for ChunkKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let pitch = self.source.border.pitch;
        let pass = self.pass;
        let columns = pass.run / pitch;
        assert!(self.grads.border.pitch == pitch && pitch.is_multiple_of(S::LANES));
        assert!(self.grads.len() == pass.windows.len() * pitch);
        assert!(self.sums.len() == pass.rows * columns * pitch);
        let mut image = Scratch::take(self.source.len());
        let mut grad = Scratch::take(self.grads.len());
        let last = pass.windows.last().copied().unwrap_or(0);
        assert!(last + (pass.rows - 1) * pass.row_stride + pass.run <= image.len());
        self.sums.fill(0.0);
        let image_in = self.source.dims.iter().product::<usize>();
        let image_out = self.grads.dims.iter().product::<usize>();
        let images = self.input.chunks(image_in).zip(self.output_grad.chunks(image_out));
        for (input, output_grad) in images {
            self.source.pack(simd, input, &mut image);
            self.grads.pack(simd, output_grad, &mut grad);
            for channel in (0..pitch).step_by(S::LANES) {
                for row in 0..pass.rows {
                    let mut column = 0;
                    while column < columns {
                        let from = row * pass.row_stride + column * pitch + channel;
                        let at = (row * columns + column) * pitch + channel;
                        // SAFETY: by the assertions above windows end inside `image`, `grad` has
                        // a row of `pitch` floats for each, and `sums` one for each tap.
                        unsafe {
                            let image = image.as_ptr().add(from);
                            let grad = grad.as_ptr().add(channel);
                            let sums = self.sums.as_mut_ptr().add(at);
                            if columns - column >= 3 {
                                taps::<S, 3>(simd, image, grad, &pass.windows, pitch, sums);
                                column += 3;
                            } else {
                                taps::<S, 1>(simd, image, grad, &pass.windows, pitch, sums);
                                column += 1;
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Adds the products of `TAPS` neighbouring taps to their sums. Even and odd positions go to sums
/// of their own, which hides the latency of the multiply-add.
///
/// # Safety
/// `image` plus every window has `TAPS` vectors `pitch` apart; `grad` has a vector every `pitch`
/// floats for every window, and `sums` one for every tap.
#[inline(always)]
unsafe fn taps<S: Simd, const TAPS: usize>(
    simd: S,
    image: *const f32,
    grad: *const f32,
    windows: &[usize],
    pitch: usize,
    sums: *mut f32,
) {
    let mut halves = [[simd.splat(0.0); TAPS]; 2];
    let (pairs, rest) = windows.as_chunks::<2>();
    // SAFETY: the caller's promise.
    unsafe {
        for (pair, windows) in pairs.iter().enumerate() {
            for half in 0..2 {
                let g = simd.load(grad.add((2 * pair + half) * pitch));
                for t in 0..TAPS {
                    let x = simd.load(image.add(windows[half] + t * pitch));
                    halves[half][t] = simd.mul_add(x, g, halves[half][t]);
                }
            }
        }
        for &window in rest {
            let g = simd.load(grad.add((windows.len() - 1) * pitch));
            for t in 0..TAPS {
                let x = simd.load(image.add(window + t * pitch));
                halves[0][t] = simd.mul_add(x, g, halves[0][t]);
            }
        }
        for t in 0..TAPS {
            let to = sums.add(t * pitch);
            let sum = simd.add(halves[0][t], halves[1][t]);
            simd.store(to, simd.add(simd.load(to), sum));
        }
    }
}

/// The gradient by the weight on `isa`, for shapes that [fit](fits).
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
    let pitch = shape.groups.next_multiple_of(isa.lanes());
    let passes = Passes::forward(shape, pitch);
    let source = Layout::new([shape.groups, shape.in_height, shape.in_width], passes.border);
    let grads = Layout::plain([shape.groups, shape.out_height(), shape.out_width()], pitch);
    let taps = shape.kernel[0] * shape.kernel[1];
    let mut partial = Scratch::take(sizes::elements([chunks, taps, pitch]));
    partial.par_chunks_mut(taps * pitch).enumerate().for_each(|(chunk, sums)| {
        let images = shape.chunk(chunk, chunks);
        let (image_in, image_out) = (shape.input_image_len(), shape.output_image_len());
        isa.run(ChunkKernel {
            source: &source,
            grads: &grads,
            pass: &passes.passes[0],
            input: &input[images.start * image_in..images.end * image_in],
            output_grad: &output_grad[images.start * image_out..images.end * image_out],
            sums,
        });
    });
    for (channel, kernel) in weight_grad.chunks_mut(taps).enumerate() {
        for (tap, grad) in kernel.iter_mut().enumerate() {
            *grad = (0..chunks).map(|c| partial[(c * taps + tap) * pitch + channel]).sum();
        }
    }
}
