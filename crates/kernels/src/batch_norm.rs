//! Batch normalisation over batch and space, fused with a residual add and ReLU.
//!
//! ```text
//! mean[c] = sum x / n      variance[c] = sum (x - mean)^2 / n      n = batch * spatial
//! y = [relu]( gamma * (x - mean) / sqrt(variance + epsilon) + beta [+ residual] )
//! ```
//! The variance is the biased one; PyTorch's running variance takes `variance * n / (n - 1)`.
//!
//! # Shapes
//! input, output, residual `[batch, channels, spatial]`; all others `[channels]`.
//!
//! # Error and order of sums
//! Each plane is summed in `f32` by 32 lanes, the planes' sums in `f64` in image order (planes of
//! fewer than 64 values are put behind one another first and count as one); the
//! variance is taken in a second pass around the rounded mean. The same for every instruction set
//! up to the fusing of multiply and add.
//!
//! # Threads
//! One task a channel, whose values stay in the second-level cache between the passes; results do
//! not depend on the number of threads.

mod backward;
pub mod scalar;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use backward::{Moments, backward_on};
pub use backward::{
    ReluGate, batch_norm_backward_sums, batch_norm_backward_with_sums,
    batch_norm_inference_backward, batch_norm_train_backward,
};

use rayon::prelude::*;

use crate::elementwise::lane_sum;
use crate::isa::{Isa, Kernel};
use crate::parallel::SharedMut;
use crate::scratch::Scratch;
use crate::simd::Simd;
use crate::sizes;

/// Planes of fewer values are copied behind one another: the tree of additions after each plane
/// would cost more than the plane.
const SMALL_PLANE: usize = 64;

/// The sizes of a normalisation: `[batch, channels, spatial]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NormShape {
    /// Images.
    pub batch: usize,
    /// Channels; each is normalised on its own.
    pub channels: usize,
    /// Rows times columns of a plane.
    pub spatial: usize,
}

impl NormShape {
    /// Elements of the input.
    ///
    /// # Panics
    /// This and the others: if they are more than memory can hold.
    pub fn len(&self) -> usize {
        sizes::elements([self.batch, self.channels, self.spatial])
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Elements normalised together.
    pub fn count(&self) -> usize {
        sizes::elements([self.batch, self.spatial])
    }

    fn check(&self, name: &str, len: usize) {
        assert!(
            len == self.len(),
            "`{name}` has {len} elements, {} expected for {self:?}",
            self.len()
        );
    }

    fn check_channels(&self, name: &str, len: usize) {
        let channels = self.channels;
        assert!(len == channels, "`{name}` has {len} elements, {channels} expected for {self:?}");
    }

    /// The planes of one channel behind one another, as if they were one image.
    fn flat(&self) -> Self {
        Self { batch: 1, channels: 1, spatial: self.count() }
    }

    /// Copies the planes of a channel behind one another.
    #[inline(always)]
    fn gather(&self, values: &[f32], channel: usize) -> Scratch {
        let mut flat = Scratch::take(self.count());
        for (at, to) in self.planes(channel).zip(flat.chunks_exact_mut(self.spatial)) {
            for (to, &from) in to.iter_mut().zip(&values[at..at + self.spatial]) {
                *to = from;
            }
        }
        flat
    }

    /// Copies planes that lie behind one another to their places.
    ///
    /// # Safety
    /// No other task uses the planes of this channel.
    #[inline(always)]
    unsafe fn scatter(&self, flat: &[f32], channel: usize, values: SharedMut<'_>) {
        for (at, from) in self.planes(channel).zip(flat.chunks_exact(self.spatial)) {
            // SAFETY: the caller's promise; planes do not overlap.
            let to = unsafe { values.part(at, self.spatial) };
            for (to, &from) in to.iter_mut().zip(from) {
                *to = from;
            }
        }
    }

    fn has_small_planes(&self) -> bool {
        self.batch > 1 && (1..SMALL_PLANE).contains(&self.spatial)
    }

    /// Where the planes of a channel start, in image order.
    #[inline(always)]
    fn planes(&self, channel: usize) -> impl Iterator<Item = usize> + use<> {
        let (channels, spatial) = (self.channels, self.spatial);
        // Planes without elements may be more than there is time for.
        let images = if spatial == 0 { 0 } else { self.batch };
        (0..images).map(move |image| (image * channels + channel) * spatial)
    }
}

/// Reciprocal of the standard deviation, rounded once.
fn inverse_deviation(variance: f32, epsilon: f32) -> f32 {
    (1.0 / (f64::from(variance) + f64::from(epsilon)).sqrt()) as f32
}

/// Normalisation by the statistics of the batch, which are returned in `mean` and `variance`
/// (biased); the formula is the [module](self)'s.
///
/// # Panics
/// If a length does not match `shape`.
pub fn batch_norm_train(
    shape: &NormShape,
    input: &[f32],
    gamma: &[f32],
    beta: &[f32],
    epsilon: f32,
    residual: Option<&[f32]>,
    relu: bool,
    output: &mut [f32],
    mean: &mut [f32],
    variance: &mut [f32],
) {
    train_on(
        Isa::active(),
        shape,
        input,
        gamma,
        beta,
        epsilon,
        residual,
        relu,
        output,
        mean,
        variance,
    );
}

pub(crate) fn train_on(
    isa: Isa,
    shape: &NormShape,
    input: &[f32],
    gamma: &[f32],
    beta: &[f32],
    epsilon: f32,
    residual: Option<&[f32]>,
    relu: bool,
    output: &mut [f32],
    mean: &mut [f32],
    variance: &mut [f32],
) {
    check_forward(shape, input, [gamma, beta, mean, variance], residual, output);
    let output = SharedMut::new(output);
    let statistics = mean.par_iter_mut().zip(variance.par_iter_mut()).enumerate();
    statistics.for_each(|(channel, (mean, variance))| {
        let (gamma, beta) = (gamma[channel], beta[channel]);
        let train = Train { shape, input, gamma, beta, epsilon, residual, relu, output, channel };
        (*mean, *variance) = isa.run(train);
    });
}

/// Forward pass of one channel; gives mean and variance.
#[derive(Clone, Copy)]
struct Train<'a> {
    shape: &'a NormShape,
    input: &'a [f32],
    gamma: f32,
    beta: f32,
    epsilon: f32,
    residual: Option<&'a [f32]>,
    relu: bool,
    output: SharedMut<'a>,
    channel: usize,
}

impl Kernel for Train<'_> {
    type Output = (f32, f32);

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> (f32, f32) {
        let Self { shape, input, residual, channel, .. } = self;
        if !shape.has_small_planes() {
            return self.channel(simd);
        }
        let input = shape.gather(input, channel);
        let residual = residual.map(|residual| shape.gather(residual, channel));
        let mut output = Scratch::take(shape.count());
        let statistics = Train {
            shape: &shape.flat(),
            input: &input,
            residual: residual.as_deref(),
            output: SharedMut::new(&mut output),
            channel: 0,
            ..self
        }
        .channel(simd);
        // SAFETY: the planes of a channel are this task's alone.
        unsafe { shape.scatter(&output, channel, self.output) };
        statistics
    }
}

impl Train<'_> {
    #[inline(always)]
    fn channel<S: Simd>(self, simd: S) -> (f32, f32) {
        let Self { shape, input, gamma, beta, epsilon, residual, relu, output, channel } = self;
        let Sums { mean, squares, .. } = Statistics { shape, input, channel }.run(simd);
        let variance = (squares / shape.count() as f64) as f32;
        let scale = gamma * inverse_deviation(variance, epsilon);
        let affine = Affine { mean, scale, beta };
        Normalise { shape, input, residual, relu, output, channel, affine }.run(simd);
        (mean, variance)
    }
}

/// Normalisation by given statistics; `variance` is used as it is.
///
/// # Panics
/// If a length does not match `shape`.
pub fn batch_norm_inference(
    shape: &NormShape,
    input: &[f32],
    gamma: &[f32],
    beta: &[f32],
    mean: &[f32],
    variance: &[f32],
    epsilon: f32,
    residual: Option<&[f32]>,
    relu: bool,
    output: &mut [f32],
) {
    check_forward(shape, input, [gamma, beta, mean, variance], residual, output);
    let isa = Isa::active();
    let output = SharedMut::new(output);
    (0..shape.channels).into_par_iter().for_each(|channel| {
        let scale = gamma[channel] * inverse_deviation(variance[channel], epsilon);
        let affine = Affine { mean: mean[channel], scale, beta: beta[channel] };
        isa.run(Normalise { shape, input, residual, relu, output, channel, affine });
    });
}

fn check_forward(
    shape: &NormShape,
    input: &[f32],
    channels: [&[f32]; 4],
    residual: Option<&[f32]>,
    output: &[f32],
) {
    shape.check("input", input.len());
    shape.check("output", output.len());
    if let Some(residual) = residual {
        shape.check("residual", residual.len());
    }
    for (name, values) in ["gamma", "beta", "mean", "variance"].into_iter().zip(channels) {
        shape.check_channels(name, values.len());
    }
}

/// Of the values of a channel.
struct Sums {
    /// Of the values.
    sum: f64,
    /// Their mean, rounded.
    mean: f32,
    /// Of the squared distances from that.
    squares: f64,
}

/// Makes the [`Sums`] of a channel.
struct Statistics<'a> {
    shape: &'a NormShape,
    input: &'a [f32],
    channel: usize,
}

impl Kernel for Statistics<'_> {
    type Output = Sums;

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> Sums {
        let spatial = self.shape.spatial;
        let count = self.shape.count() as f64;
        let mut sum = 0.0_f64;
        for at in self.shape.planes(self.channel) {
            prefetch(self.input, at + self.shape.channels * spatial, spatial);
            sum += f64::from(lane_sum(&self.input[at..at + spatial], |x| x));
        }
        let mean = (sum / count) as f32;
        let mut squares = 0.0_f64;
        for at in self.shape.planes(self.channel) {
            let plane = &self.input[at..at + spatial];
            squares += f64::from(lane_sum(plane, |x| (x - mean) * (x - mean)));
        }
        Sums { sum, mean, squares }
    }
}

/// Sum and sum of squares of every channel, `[2, channels]` in `sums`: those of several batches added up
/// give the mean and the variance of all their values, by [`moments_of_sums`]. Zeros without values.
///
/// # Panics
/// If a length does not match `shape`.
pub fn batch_norm_sums(shape: &NormShape, input: &[f32], sums: &mut [f64]) {
    shape.check("input", input.len());
    let channels = shape.channels;
    assert!(sums.len() == 2 * channels, "{} sums, twice {channels} expected", sums.len());
    if shape.count() == 0 {
        sums.fill(0.0);
        return;
    }
    let (isa, count) = (Isa::active(), shape.count() as f64);
    let (first, second) = sums.split_at_mut(channels);
    let targets = first.par_iter_mut().zip(second.par_iter_mut()).enumerate();
    targets.for_each(|(channel, (first, second))| {
        let Sums { sum, mean, squares } = if shape.has_small_planes() {
            let flat = shape.gather(input, channel);
            isa.run(Statistics { shape: &shape.flat(), input: &flat, channel: 0 })
        } else {
            isa.run(Statistics { shape, input, channel })
        };
        let mean = f64::from(mean);
        *first = sum;
        *second = squares + mean * (2.0 * sum - count * mean);
    });
}

/// Mean and biased variance from sums as of [`batch_norm_sums`], of `count` values; zeros if there are
/// none.
///
/// # Panics
/// If the lengths do not fit together.
pub fn moments_of_sums(sums: &[f64], count: f64, mean: &mut [f32], variance: &mut [f32]) {
    let channels = mean.len();
    assert!(sums.len() == 2 * channels && variance.len() == channels, "ragged moments");
    let count = count.max(1.0);
    for channel in 0..channels {
        let exact = sums[channel] / count;
        mean[channel] = exact as f32;
        variance[channel] = (sums[channels + channel] / count - exact * exact).max(0.0) as f32;
    }
}

/// `(x - mean) * scale + beta`
#[derive(Clone, Copy)]
struct Affine {
    mean: f32,
    scale: f32,
    beta: f32,
}

/// Writes the output of a channel.
struct Normalise<'a> {
    shape: &'a NormShape,
    input: &'a [f32],
    residual: Option<&'a [f32]>,
    relu: bool,
    output: SharedMut<'a>,
    channel: usize,
    affine: Affine,
}

impl Kernel for Normalise<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let spatial = self.shape.spatial;
        let Affine { mean, scale, beta } = self.affine;
        for at in self.shape.planes(self.channel) {
            let input = &self.input[at..at + spatial];
            // SAFETY: the planes of a channel are this task's alone.
            let output = unsafe { self.output.part(at, spatial) };
            match self.residual.map(|residual| &residual[at..at + spatial]) {
                Some(residual) => {
                    for i in 0..spatial {
                        output[i] = (input[i] - mean) * scale + beta + residual[i];
                    }
                }
                None => {
                    for i in 0..spatial {
                        output[i] = (input[i] - mean) * scale + beta;
                    }
                }
            }
            if self.relu {
                for y in output {
                    *y = if *y < 0.0 { 0.0 } else { *y };
                }
            }
        }
    }
}

/// Asks for the first of `len` floats from `start` on, if they are inside: the next plane of a
/// channel lies far away, where the hardware does not look ahead until it is in the plane.
#[inline(always)]
fn prefetch(values: &[f32], start: usize, len: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(plane) = values.get(start..start + len.min(64)) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        for line in plane.chunks(16) {
            // SAFETY: a prefetch does not access memory, and the pointer is inside the slice.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (values, start, len);
}
