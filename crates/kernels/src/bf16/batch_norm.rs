//! The moments of maps, and the gradients of batch normalisation between maps; the formulas are those
//! of [`batch_norm`](crate::batch_norm), whose forward pass is an
//! [affine map](super::elementwise::affine) by [`Normalised::constants`].
//!
//! # Order of sums
//! The values of a channel in 64 positions of 16 images are summed in `f32` around a value of that
//! channel, these sums are added in `f64` in order.

use std::ops::Range;

use rayon::prelude::*;

use super::convert::widen;
use super::engine::Engine;
use super::maps::{CHANNELS, Maps, TILE};
use super::products::{Products, TileKernel};
use crate::simd::Simd;

/// Positions of a task.
const POSITIONS: usize = 64;

/// Whether the forward pass ended with ReLU, and how to tell where that cut.
#[derive(Clone, Copy, Debug)]
pub enum Gate<'a> {
    /// It did not.
    Open,
    /// By the output of the forward pass.
    Output(&'a Maps),
    /// By computing the output again from this beta; knows nothing of a residual.
    Beta(&'a [f32]),
}

/// What a normalisation was computed from.
#[derive(Clone, Copy, Debug)]
pub struct Normalised<'a> {
    /// `[channels]`, as the two below.
    pub gamma: &'a [f32],
    /// Mean of the batch, or the constant taken for it.
    pub mean: &'a [f32],
    /// Biased variance likewise.
    pub variance: &'a [f32],
    /// What was added to the variance.
    pub epsilon: f32,
    /// Whether mean and variance are of the batch, and so depend on the input.
    pub of_the_batch: bool,
}

impl Normalised<'_> {
    /// Scale and shift of the normalisation as an affine map.
    #[must_use]
    pub fn constants(&self, beta: &[f32]) -> [Vec<f32>; 2] {
        let scale: Vec<f32> =
            self.gamma.iter().zip(self.inverse()).map(|(gamma, inverse)| gamma * inverse).collect();
        let shifted = beta.iter().zip(self.mean).zip(&scale);
        let shift = shifted.map(|((beta, mean), scale)| beta - mean * scale).collect();
        [scale, shift]
    }

    /// Reciprocals of the standard deviations.
    fn inverse(&self) -> impl Iterator<Item = f32> {
        let epsilon = f64::from(self.epsilon);
        self.variance.iter().map(move |v| (1.0 / (f64::from(*v) + epsilon).sqrt()) as f32)
    }
}

/// Values of whole tiles of channels, the last ones 0.
fn padded(values: impl Iterator<Item = f32>) -> Vec<f32> {
    let mut padded: Vec<f32> = values.collect();
    padded.resize(padded.len().next_multiple_of(CHANNELS), 0.0);
    padded
}

#[track_caller]
fn check_channels(name: &str, len: usize, maps: &Maps) {
    let channels = maps.sizes()[1];
    assert!(len == channels, "`{name}` has {len} values, {channels} expected");
}

/// Mean and biased variance of every channel over batch and positions; both are overwritten, with
/// zeros where there are no values.
///
/// # Panics
/// If a length is not that of the channels.
pub fn moments(input: &Maps, mean: &mut [f32], variance: &mut [f32]) {
    moments_on(Engine::active(), input, mean, variance);
}

pub(super) fn moments_on(engine: Engine, input: &Maps, mean: &mut [f32], variance: &mut [f32]) {
    check_channels("mean", mean.len(), input);
    check_channels("variance", variance.len(), input);
    let [batch, channels, height, width] = input.sizes();
    let count = (batch * height * width) as f64;
    if count == 0.0 || channels == 0 {
        mean.fill(0.0);
        variance.fill(0.0);
        return;
    }
    // A value of each channel, so that a large mean does not swallow the variance.
    let depth = input.depth();
    let pivot: Vec<f32> = (0..depth * CHANNELS)
        .map(|channel| input.block(0)[channel / CHANNELS * TILE + channel % CHANNELS])
        .map(widen)
        .map(|value| if value.is_finite() { value } else { 0.0 })
        .collect();
    let sums = summed(input, |block, here, sums| {
        let source = &input.block(block)[here];
        let images = input.images(block);
        engine.run(images, Moments { source, depth, images, pivot: &pivot, sums });
    });
    for channel in 0..channels {
        let [first, second] = [0, 1].map(|which| sums[which * depth * CHANNELS + channel] / count);
        mean[channel] = (f64::from(pivot[channel]) + first) as f32;
        variance[channel] = (second - first * first).max(0.0) as f32;
    }
}

/// Adds up, in order, what `part` writes for 64 positions of every block: two numbers for each channel.
fn summed(maps: &Maps, part: impl Fn(usize, Range<usize>, &mut [f32]) + Sync) -> Vec<f64> {
    let [_, _, height, width] = maps.sizes();
    let parts = (height * width).div_ceil(POSITIONS);
    let len = 2 * maps.depth() * CHANNELS;
    let mut sums = vec![0.0; maps.blocks() * parts * len];
    sums.par_chunks_mut(len).enumerate().for_each(|(task, sums)| {
        let first = task % parts * POSITIONS;
        let end = (height * width).min(first + POSITIONS);
        part(task / parts, first * maps.depth() * TILE..end * maps.depth() * TILE, sums);
    });
    let mut total = vec![0.0; len];
    for sums in sums.chunks(len) {
        total.iter_mut().zip(sums).for_each(|(total, sum)| *total += f64::from(*sum));
    }
    total
}

/// Sums of `x - pivot` and of its square.
struct Moments<'a> {
    source: &'a [u16],
    /// Tiles of a position.
    depth: usize,
    images: usize,
    pivot: &'a [f32],
    sums: &'a mut [f32],
}

impl TileKernel for Moments<'_> {
    #[inline(always)]
    fn run<P: Products>(self, _: P) {
        let Self { source, depth, images, pivot, sums } = self;
        for slab in 0..depth {
            let pivot = &pivot[slab * CHANNELS..][..CHANNELS];
            let (mut first, mut second) = ([0.0; CHANNELS], [0.0; CHANNELS]);
            for tile in source.chunks_exact(TILE).skip(slab).step_by(depth) {
                for row in tile.chunks_exact(CHANNELS).take(images) {
                    for i in 0..CHANNELS {
                        let x = widen(row[i]) - pivot[i];
                        first[i] += x;
                        second[i] = <P::Vectors as Simd>::fused(x, x, second[i]);
                    }
                }
            }
            sums[slab * CHANNELS..][..CHANNELS].copy_from_slice(&first);
            sums[(depth + slab) * CHANNELS..][..CHANNELS].copy_from_slice(&second);
        }
    }
}

/// Gradients by input, gamma, beta and residual from that by the output; all are overwritten. The
/// formulas are those of
/// [`batch_norm_train_backward`](crate::batch_norm::batch_norm_train_backward), or of
/// [`batch_norm_inference_backward`](crate::batch_norm::batch_norm_inference_backward) where the
/// moments are not of the batch.
///
/// `whole` may put sums and the count of values over more than this batch in the place of its own:
/// `[2 channels + 1]`, the sums of `g`, those of `g (x - mean)`, and the values of a channel, for a batch
/// that was normalised together with others. The gradients by gamma and beta are of this batch alone.
///
/// # Panics
/// If sizes do not match.
pub fn backward(
    normalised: &Normalised<'_>,
    input: &Maps,
    gate: Gate<'_>,
    output_grad: &Maps,
    input_grad: &mut Maps,
    gamma_grad: &mut [f32],
    beta_grad: &mut [f32],
    residual_grad: Option<&mut Maps>,
    whole: &dyn Fn(&mut [f64]),
) {
    backward_on(
        Engine::active(),
        normalised,
        input,
        gate,
        output_grad,
        input_grad,
        gamma_grad,
        beta_grad,
        residual_grad,
        whole,
    );
}

pub(super) fn backward_on(
    engine: Engine,
    normalised: &Normalised<'_>,
    input: &Maps,
    gate: Gate<'_>,
    output_grad: &Maps,
    input_grad: &mut Maps,
    gamma_grad: &mut [f32],
    beta_grad: &mut [f32],
    residual_grad: Option<&mut Maps>,
    whole: &dyn Fn(&mut [f64]),
) {
    let sizes = input.sizes();
    assert!(
        output_grad.sizes() == sizes,
        "the gradient is {:?}, not {sizes:?}",
        output_grad.sizes()
    );
    let Normalised { gamma, mean, variance, .. } = *normalised;
    let lengths = [gamma.len(), mean.len(), variance.len(), gamma_grad.len(), beta_grad.len()];
    lengths.into_iter().for_each(|len| check_channels("a value for each channel", len, input));
    let constants = match gate {
        Gate::Beta(beta) => {
            check_channels("beta", beta.len(), input);
            normalised.constants(beta).map(|values| padded(values.into_iter()))
        }
        _ => Default::default(),
    };
    let output = match gate {
        Gate::Output(output) => {
            assert!(output.sizes() == sizes, "the output is {:?}, not {sizes:?}", output.sizes());
            Some(output)
        }
        _ => None,
    };
    let depth = input.depth();
    let mean = &padded(mean.iter().copied());
    let part = |block: usize, here: &Range<usize>| Part {
        input: &input.block(block)[here.clone()],
        output_grad: &output_grad.block(block)[here.clone()],
        output: output.map(|maps| &maps.block(block)[here.clone()]),
        constants: matches!(gate, Gate::Beta(_)).then_some(&constants),
        mean,
        depth,
        images: input.images(block),
    };
    let sums = summed(input, |block, here, sums| {
        engine.run(input.images(block), Sums { part: part(block, &here), sums });
    });
    let [_, channels, height, width] = sizes;
    let own = |which: usize, channel: usize| sums[which * depth * CHANNELS + channel];
    let mut all: Vec<f64> =
        (0..2).flat_map(|which| (0..channels).map(move |channel| own(which, channel))).collect();
    all.push((sizes[0] * height * width) as f64);
    whole(&mut all);
    let count = all[2 * channels].max(1.0);
    // input_grad = a g + b (x - mean) + c
    let mut factors = [0, 1, 2].map(|_| vec![0.0; depth * CHANNELS]);
    for (channel, inverse) in normalised.inverse().enumerate() {
        beta_grad[channel] = own(0, channel) as f32;
        gamma_grad[channel] = (own(1, channel) * f64::from(inverse)) as f32;
        let (by_beta, by_gamma) = (all[channel], all[channels + channel] * f64::from(inverse));
        let scale = f64::from(gamma[channel]) * f64::from(inverse);
        factors[0][channel] = scale as f32;
        if normalised.of_the_batch {
            factors[1][channel] = (-scale * by_gamma / count * f64::from(inverse)) as f32;
            factors[2][channel] = (-scale * by_beta / count) as f32;
        }
    }
    input_grad.resize(sizes);
    if channels * height * width * sizes[0] == 0 {
        residual_grad.into_iter().for_each(|maps| maps.resize(sizes));
        return;
    }
    let factors = &factors;
    let len = POSITIONS * depth * TILE;
    let (block_len, body) = (input.block_len(), input.block_len() - TILE);
    let run = |block: usize, index: usize, target: &mut [u16], residual: Option<&mut [u16]>| {
        let here = index * len..index * len + target.len();
        let part = part(block, &here);
        engine.run(part.images, Gradients { part, factors, target, residual });
    };
    let targets = input_grad.values_mut().par_chunks_exact_mut(block_len);
    match residual_grad {
        None => targets.enumerate().for_each(|(block, target)| {
            let parts = target[..body].par_chunks_mut(len).enumerate();
            parts.for_each(|(index, target)| run(block, index, target, None));
        }),
        Some(residual) => {
            residual.resize(sizes);
            let residuals = residual.values_mut().par_chunks_exact_mut(block_len);
            targets.zip(residuals).enumerate().for_each(|(block, (target, residual))| {
                let parts = target[..body].par_chunks_mut(len);
                let both = parts.zip(residual[..body].par_chunks_mut(len)).enumerate();
                both.for_each(|(index, (target, residual))| {
                    run(block, index, target, Some(residual));
                });
            });
        }
    }
}

/// What both passes over some positions of a block read.
struct Part<'a> {
    input: &'a [u16],
    output_grad: &'a [u16],
    /// Where it tells what ReLU cut.
    output: Option<&'a [u16]>,
    /// Scale and shift, where the output is computed again for that.
    constants: Option<&'a [Vec<f32>; 2]>,
    mean: &'a [f32],
    /// Tiles of a position.
    depth: usize,
    images: usize,
}

impl Part<'_> {
    /// The gradient behind ReLU and the centred input of one image at one position.
    #[inline(always)]
    fn row<P: Products>(&self, slab: usize, at: usize) -> ([f32; CHANNELS], [f32; CHANNELS]) {
        let (mut gradient, mut centred) = ([0.0; CHANNELS], [0.0; CHANNELS]);
        let (from, by_output) =
            (&self.input[at..at + CHANNELS], &self.output_grad[at..at + CHANNELS]);
        let mean = &self.mean[slab * CHANNELS..][..CHANNELS];
        for i in 0..CHANNELS {
            gradient[i] = widen(by_output[i]);
            centred[i] = widen(from[i]) - mean[i];
        }
        if let Some(output) = self.output {
            let output = &output[at..at + CHANNELS];
            for i in 0..CHANNELS {
                gradient[i] = if widen(output[i]) > 0.0 { gradient[i] } else { 0.0 };
            }
        }
        if let Some([scale, shift]) = self.constants {
            let (scale, shift) =
                (&scale[slab * CHANNELS..][..CHANNELS], &shift[slab * CHANNELS..][..CHANNELS]);
            for i in 0..CHANNELS {
                let output = <P::Vectors as Simd>::fused(widen(from[i]), scale[i], shift[i]);
                gradient[i] = if output > 0.0 { gradient[i] } else { 0.0 };
            }
        }
        (gradient, centred)
    }
}

/// Sums of the gradient and of its product with the centred input.
struct Sums<'a> {
    part: Part<'a>,
    sums: &'a mut [f32],
}

impl TileKernel for Sums<'_> {
    #[inline(always)]
    fn run<P: Products>(self, _: P) {
        let Self { part, sums } = self;
        let depth = part.depth;
        for slab in 0..depth {
            let (mut first, mut second) = ([0.0; CHANNELS], [0.0; CHANNELS]);
            for tile in (slab..part.input.len() / TILE).step_by(depth) {
                for image in 0..part.images {
                    let (gradient, centred) = part.row::<P>(slab, tile * TILE + image * CHANNELS);
                    for i in 0..CHANNELS {
                        first[i] += gradient[i];
                        second[i] = <P::Vectors as Simd>::fused(gradient[i], centred[i], second[i]);
                    }
                }
            }
            sums[slab * CHANNELS..][..CHANNELS].copy_from_slice(&first);
            sums[(depth + slab) * CHANNELS..][..CHANNELS].copy_from_slice(&second);
        }
    }
}

struct Gradients<'a> {
    part: Part<'a>,
    factors: &'a [Vec<f32>; 3],
    target: &'a mut [u16],
    residual: Option<&'a mut [u16]>,
}

impl TileKernel for Gradients<'_> {
    #[inline(always)]
    fn run<P: Products>(self, products: P) {
        let Self { part, factors, target, mut residual } = self;
        for tile in 0..target.len() / TILE {
            let slab = tile % part.depth;
            let first = slab * CHANNELS;
            let (a, b, c) = (
                &factors[0][first..][..CHANNELS],
                &factors[1][first..][..CHANNELS],
                &factors[2][first..][..CHANNELS],
            );
            for image in 0..part.images {
                let at = tile * TILE + image * CHANNELS;
                let (gradient, centred) = part.row::<P>(slab, at);
                let mut row = [0.0; CHANNELS];
                for i in 0..CHANNELS {
                    let sum = <P::Vectors as Simd>::fused(centred[i], b[i], c[i]);
                    row[i] = <P::Vectors as Simd>::fused(gradient[i], a[i], sum);
                }
                let to = &mut target[at..at + CHANNELS];
                // SAFETY: 32 floats and 32 values.
                unsafe { products.round(row.as_ptr(), to.as_mut_ptr()) };
                if let Some(residual) = &mut residual {
                    let to = &mut residual[at..at + CHANNELS];
                    // SAFETY: 32 floats and 32 values.
                    unsafe { products.round(gradient.as_ptr(), to.as_mut_ptr()) };
                }
            }
        }
    }
}

/// The sum of every channel over batch and positions; overwritten.
///
/// # Panics
/// If `sums` has another length than there are channels.
pub fn channel_sums(maps: &Maps, sums: &mut [f32]) {
    check_channels("sums", sums.len(), maps);
    let [batch, channels, height, width] = maps.sizes();
    let count = (batch * height * width) as f64;
    let mut variance = vec![0.0; channels];
    moments(maps, sums, &mut variance);
    sums.iter_mut().for_each(|sum| *sum = (f64::from(*sum) * count) as f32);
}
