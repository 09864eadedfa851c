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

pub mod scalar;
#[cfg(test)]
mod tests;

use rayon::prelude::*;

use crate::elementwise::{lane_sum, tree};
use crate::isa::{Isa, Kernel};
use crate::parallel::SharedMut;
use crate::scratch::Scratch;
use crate::simd::Simd;

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
    pub fn len(&self) -> usize {
        self.batch * self.channels * self.spatial
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Elements normalised together.
    pub fn count(&self) -> usize {
        self.batch * self.spatial
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
        (0..self.batch).map(move |image| (image * channels + channel) * spatial)
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
        let (mean, variance) = Statistics { shape, input, channel }.run(simd);
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

/// Mean and biased variance of a channel.
struct Statistics<'a> {
    shape: &'a NormShape,
    input: &'a [f32],
    channel: usize,
}

impl Kernel for Statistics<'_> {
    type Output = (f32, f32);

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> (f32, f32) {
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
        (mean, (squares / count) as f32)
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

/// Whether the forward pass ended with ReLU, and how to tell where that cut.
#[derive(Clone, Copy, Debug)]
pub enum ReluGate<'a> {
    /// It did not.
    Open,
    /// By the output of the forward pass.
    Output(&'a [f32]),
    /// By computing the output again, to the same bits, from this beta: saves reading the output,
    /// but knows nothing of a residual.
    Beta(&'a [f32]),
}

/// Gradients of [`batch_norm_train`]; all outputs are overwritten. With `g` the output gradient, zero where ReLU cut, and `h` the normalised input:
///
/// ```text
/// beta_grad = sum g      gamma_grad = sum g * h      residual_grad = g
/// input_grad = gamma / sqrt(variance + epsilon) * (g - beta_grad / n - h * gamma_grad / n)
/// ```
///
/// # Panics
/// If a length does not match `shape`.
pub fn batch_norm_train_backward(
    shape: &NormShape,
    input: &[f32],
    gate: ReluGate<'_>,
    output_grad: &[f32],
    gamma: &[f32],
    mean: &[f32],
    variance: &[f32],
    epsilon: f32,
    input_grad: &mut [f32],
    gamma_grad: &mut [f32],
    beta_grad: &mut [f32],
    residual_grad: Option<&mut [f32]>,
) {
    backward_on(
        Isa::active(),
        shape,
        input,
        gate,
        output_grad,
        gamma,
        mean,
        variance,
        epsilon,
        input_grad,
        gamma_grad,
        beta_grad,
        residual_grad,
    );
}

pub(crate) fn backward_on(
    isa: Isa,
    shape: &NormShape,
    input: &[f32],
    gate: ReluGate<'_>,
    output_grad: &[f32],
    gamma: &[f32],
    mean: &[f32],
    variance: &[f32],
    epsilon: f32,
    input_grad: &mut [f32],
    gamma_grad: &mut [f32],
    beta_grad: &mut [f32],
    residual_grad: Option<&mut [f32]>,
) {
    shape.check("input", input.len());
    shape.check("output_grad", output_grad.len());
    shape.check("input_grad", input_grad.len());
    match gate {
        ReluGate::Open => {}
        ReluGate::Output(output) => shape.check("output", output.len()),
        ReluGate::Beta(beta) => {
            shape.check_channels("beta", beta.len());
            assert!(residual_grad.is_none(), "a residual was added: the gate needs the output");
        }
    }
    if let Some(grad) = &residual_grad {
        shape.check("residual_grad", grad.len());
    }
    for (name, len) in [
        ("gamma", gamma.len()),
        ("mean", mean.len()),
        ("variance", variance.len()),
        ("gamma_grad", gamma_grad.len()),
        ("beta_grad", beta_grad.len()),
    ] {
        shape.check_channels(name, len);
    }
    let input_grad = SharedMut::new(input_grad);
    let residual_grad = residual_grad.map(SharedMut::new);
    let grads = gamma_grad.par_iter_mut().zip(beta_grad.par_iter_mut()).enumerate();
    grads.for_each(|(channel, (gamma_grad, beta_grad))| {
        (*gamma_grad, *beta_grad) = isa.run(Backward {
            shape,
            input,
            gate: match gate {
                ReluGate::Open => Gate::Open,
                ReluGate::Output(output) => Gate::Output(output),
                ReluGate::Beta(beta) => Gate::Beta(beta[channel]),
            },
            output_grad,
            input_grad,
            residual_grad,
            channel,
            gamma: gamma[channel],
            mean: mean[channel],
            inverse: inverse_deviation(variance[channel], epsilon),
        });
    });
}

/// [`ReluGate`] of one channel.
#[derive(Clone, Copy)]
enum Gate<'a> {
    Open,
    Output(&'a [f32]),
    Beta(f32),
}

/// The gradients of one channel; gives those of gamma and beta.
#[derive(Clone, Copy)]
struct Backward<'a> {
    shape: &'a NormShape,
    input: &'a [f32],
    gate: Gate<'a>,
    output_grad: &'a [f32],
    input_grad: SharedMut<'a>,
    residual_grad: Option<SharedMut<'a>>,
    channel: usize,
    gamma: f32,
    mean: f32,
    inverse: f32,
}

impl Kernel for Backward<'_> {
    type Output = (f32, f32);

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> (f32, f32) {
        let Self { shape, channel, .. } = self;
        if !shape.has_small_planes() {
            return self.gated();
        }
        let input = shape.gather(self.input, channel);
        let grad = shape.gather(self.output_grad, channel);
        let output = match self.gate {
            Gate::Output(output) => Some(shape.gather(output, channel)),
            _ => None,
        };
        let mut input_grad = Scratch::take(shape.count());
        let mut residual_grad = self.residual_grad.map(|_| Scratch::take(shape.count()));
        let sums = Backward {
            shape: &shape.flat(),
            input: &input,
            gate: output.as_deref().map_or(self.gate, Gate::Output),
            output_grad: &grad,
            input_grad: SharedMut::new(&mut input_grad),
            residual_grad: residual_grad.as_deref_mut().map(SharedMut::new),
            channel: 0,
            ..self
        }
        .gated();
        // SAFETY: the planes of a channel are this task's alone.
        unsafe {
            shape.scatter(&input_grad, channel, self.input_grad);
            if let (Some(flat), Some(to)) = (residual_grad, self.residual_grad) {
                shape.scatter(&flat, channel, to);
            }
        }
        sums
    }
}

/// How a value's gradient is gated.
const OPEN: u8 = 0;
const BY_OUTPUT: u8 = 1;
const BY_BETA: u8 = 2;

impl Backward<'_> {
    #[inline(always)]
    fn gated(&self) -> (f32, f32) {
        match self.gate {
            // The output is not read, but a slice of the right length keeps the loops alike.
            Gate::Open => self.channel::<OPEN>(self.output_grad, 0.0),
            Gate::Output(output) => self.channel::<BY_OUTPUT>(output, 0.0),
            Gate::Beta(beta) => self.channel::<BY_BETA>(self.output_grad, beta),
        }
    }

    #[inline(always)]
    fn channel<const GATE: u8>(&self, output: &[f32], beta: f32) -> (f32, f32) {
        let spatial = self.shape.spatial;
        let count = self.shape.count() as f64;
        let factor = self.gamma * self.inverse;
        // The output as `Normalise` makes it, operation by operation.
        let gate = |centred: f32, output: f32, grad: f32| match GATE {
            BY_OUTPUT if output <= 0.0 => 0.0,
            BY_BETA if centred * factor + beta <= 0.0 => 0.0,
            _ => grad,
        };
        let (mut gamma_sum, mut beta_sum) = (0.0_f64, 0.0_f64);
        for at in self.shape.planes(self.channel) {
            let next = at + self.shape.channels * spatial;
            prefetch(self.input, next, spatial);
            prefetch(self.output_grad, next, spatial);
            if GATE == BY_OUTPUT {
                prefetch(output, next, spatial);
            }
            let input = &self.input[at..at + spatial];
            let (output, grad) = (&output[at..at + spatial], &self.output_grad[at..at + spatial]);
            let (gamma, beta) = sums([input, output, grad], self.mean, gate);
            gamma_sum += f64::from(gamma);
            beta_sum += f64::from(beta);
        }
        let gamma_grad = gamma_sum * f64::from(self.inverse);
        let shift = (beta_sum / count) as f32;
        let slope = (gamma_grad * f64::from(self.inverse) / count) as f32;
        for at in self.shape.planes(self.channel) {
            let input = &self.input[at..at + spatial];
            let (output, grad) = (&output[at..at + spatial], &self.output_grad[at..at + spatial]);
            // SAFETY: the planes of a channel are this task's alone.
            let input_grad = unsafe { self.input_grad.part(at, spatial) };
            for i in 0..spatial {
                let centred = input[i] - self.mean;
                let grad = gate(centred, output[i], grad[i]);
                input_grad[i] = factor * (grad - shift - centred * slope);
            }
            if let Some(residual_grad) = &self.residual_grad {
                // SAFETY: as above.
                let residual_grad = unsafe { residual_grad.part(at, spatial) };
                for i in 0..spatial {
                    residual_grad[i] = gate(input[i] - self.mean, output[i], grad[i]);
                }
            }
        }
        (gamma_grad as f32, beta_sum as f32)
    }
}

/// Sums of `g * (x - mean)` and of `g` over a plane, by 32 lanes.
#[inline(always)]
fn sums(
    [input, output, grad]: [&[f32]; 3],
    mean: f32,
    gate: impl Fn(f32, f32, f32) -> f32,
) -> (f32, f32) {
    let (mut gamma, mut beta) = ([0.0_f32; 32], [0.0_f32; 32]);
    let (inputs, input_rest) = input.as_chunks::<32>();
    let (outputs, output_rest) = output.as_chunks::<32>();
    let (grads, grad_rest) = grad.as_chunks::<32>();
    for ((input, output), grad) in inputs.iter().zip(outputs).zip(grads) {
        for i in 0..32 {
            let centred = input[i] - mean;
            let grad = gate(centred, output[i], grad[i]);
            beta[i] += grad;
            gamma[i] += grad * centred;
        }
    }
    for i in 0..input_rest.len() {
        let centred = input_rest[i] - mean;
        let grad = gate(centred, output_rest[i], grad_rest[i]);
        beta[i] += grad;
        gamma[i] += grad * centred;
    }
    (tree(gamma), tree(beta))
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
