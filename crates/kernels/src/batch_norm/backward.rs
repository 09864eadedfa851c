//! Gradients of the training pass.

use rayon::prelude::*;

use super::{NormShape, inverse_deviation, prefetch};
use crate::elementwise::tree;
use crate::isa::{Isa, Kernel};
use crate::parallel::SharedMut;
use crate::scratch::Scratch;
use crate::simd::Simd;

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

/// Gradients of [`batch_norm_train`](super::batch_norm_train); all outputs are overwritten. With `g`
/// the output gradient, zero where ReLU cut, and `h` the normalised input:
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
        Moments::OfTheBatch,
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

/// Gradients of [`batch_norm_inference`](super::batch_norm_inference), whose mean and variance are
/// constants; otherwise as [`batch_norm_train_backward`]:
///
/// ```text
/// input_grad = gamma / sqrt(variance + epsilon) * g
/// ```
///
/// # Panics
/// If a length does not match `shape`.
pub fn batch_norm_inference_backward(
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
        Moments::Given,
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

/// The first half of [`batch_norm_train_backward`] for a batch that is normalised together with others:
/// its own part of the gradients by gamma and beta, and its part of the sums that
/// [`batch_norm_backward_with_sums`] needs of all of them, `[2, channels]`: of `g (x - mean)` and of
/// `g`. `mean` and `variance` are those of all.
///
/// # Panics
/// If a length does not match `shape`.
pub fn batch_norm_backward_sums(
    shape: &NormShape,
    input: &[f32],
    gate: ReluGate<'_>,
    output_grad: &[f32],
    gamma: &[f32],
    mean: &[f32],
    variance: &[f32],
    epsilon: f32,
    gamma_grad: &mut [f32],
    beta_grad: &mut [f32],
    sums: &mut [f64],
) {
    let check = Check { shape, input, gate, output_grad, channels: [gamma, mean, variance] };
    check.run(None, false);
    shape.check_channels("gamma_grad", gamma_grad.len());
    shape.check_channels("beta_grad", beta_grad.len());
    let channels = shape.channels;
    assert!(sums.len() == 2 * channels, "{} sums, twice {channels} expected", sums.len());
    let isa = Isa::active();
    let (first, second) = sums.split_at_mut(channels);
    let sums = first.par_iter_mut().zip(second.par_iter_mut());
    let targets = sums.zip(gamma_grad.par_iter_mut().zip(beta_grad.par_iter_mut())).enumerate();
    targets.for_each(|(channel, ((first, second), (gamma_grad, beta_grad)))| {
        let inverse = inverse_deviation(variance[channel], epsilon);
        [*first, *second] = isa.run(Backward {
            pass: Pass::Sums,
            shape,
            input,
            gate: Gate::of(gate, channel),
            output_grad,
            input_grad: SharedMut::new(&mut []),
            residual_grad: None,
            channel,
            gamma: gamma[channel],
            mean: mean[channel],
            inverse,
        });
        *gamma_grad = (*first * f64::from(inverse)) as f32;
        *beta_grad = *second as f32;
    });
}

/// The second half: the gradients by input and residual, from the sums over all that was normalised
/// together, `count` values a channel.
///
/// # Panics
/// If a length does not match `shape`.
pub fn batch_norm_backward_with_sums(
    shape: &NormShape,
    input: &[f32],
    gate: ReluGate<'_>,
    output_grad: &[f32],
    gamma: &[f32],
    mean: &[f32],
    variance: &[f32],
    epsilon: f32,
    sums: &[f64],
    count: f64,
    input_grad: &mut [f32],
    residual_grad: Option<&mut [f32]>,
) {
    let check = Check { shape, input, gate, output_grad, channels: [gamma, mean, variance] };
    check.run(Some(input_grad.len()), residual_grad.is_some());
    if let Some(grad) = &residual_grad {
        shape.check("residual_grad", grad.len());
    }
    let channels = shape.channels;
    assert!(sums.len() == 2 * channels, "{} sums, twice {channels} expected", sums.len());
    let isa = Isa::active();
    let input_grad = SharedMut::new(input_grad);
    let residual_grad = residual_grad.map(SharedMut::new);
    (0..channels).into_par_iter().for_each(|channel| {
        isa.run(Backward {
            pass: Pass::Gradients { sums: [sums[channel], sums[channels + channel]], count },
            shape,
            input,
            gate: Gate::of(gate, channel),
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

/// Lengths that must fit together.
struct Check<'a> {
    shape: &'a NormShape,
    input: &'a [f32],
    gate: ReluGate<'a>,
    output_grad: &'a [f32],
    channels: [&'a [f32]; 3],
}

impl Check<'_> {
    fn run(&self, input_grad: Option<usize>, has_residual: bool) {
        let shape = self.shape;
        shape.check("input", self.input.len());
        shape.check("output_grad", self.output_grad.len());
        if let Some(len) = input_grad {
            shape.check("input_grad", len);
        }
        match self.gate {
            ReluGate::Open => {}
            ReluGate::Output(output) => shape.check("output", output.len()),
            ReluGate::Beta(beta) => {
                shape.check_channels("beta", beta.len());
                assert!(!has_residual, "a residual was added: the gate needs the output");
            }
        }
        for (name, values) in ["gamma", "mean", "variance"].into_iter().zip(self.channels) {
            shape.check_channels(name, values.len());
        }
    }
}

/// Where mean and variance came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moments {
    /// From the batch: they move with the input.
    OfTheBatch,
    /// From elsewhere: constants.
    Given,
}

pub(crate) fn backward_on(
    isa: Isa,
    moments: Moments,
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
    let check = Check { shape, input, gate, output_grad, channels: [gamma, mean, variance] };
    check.run(Some(input_grad.len()), residual_grad.is_some());
    if let Some(grad) = &residual_grad {
        shape.check("residual_grad", grad.len());
    }
    shape.check_channels("gamma_grad", gamma_grad.len());
    shape.check_channels("beta_grad", beta_grad.len());
    let input_grad = SharedMut::new(input_grad);
    let residual_grad = residual_grad.map(SharedMut::new);
    let grads = gamma_grad.par_iter_mut().zip(beta_grad.par_iter_mut()).enumerate();
    grads.for_each(|(channel, (gamma_grad, beta_grad))| {
        let inverse = inverse_deviation(variance[channel], epsilon);
        let [by_gamma, by_beta] = isa.run(Backward {
            pass: Pass::Both(moments),
            shape,
            input,
            gate: Gate::of(gate, channel),
            output_grad,
            input_grad,
            residual_grad,
            channel,
            gamma: gamma[channel],
            mean: mean[channel],
            inverse,
        });
        *gamma_grad = (by_gamma * f64::from(inverse)) as f32;
        *beta_grad = by_beta as f32;
    });
}

/// [`ReluGate`] of one channel.
#[derive(Clone, Copy)]
enum Gate<'a> {
    Open,
    Output(&'a [f32]),
    Beta(f32),
}

impl<'a> Gate<'a> {
    fn of(gate: ReluGate<'a>, channel: usize) -> Self {
        match gate {
            ReluGate::Open => Self::Open,
            ReluGate::Output(output) => Self::Output(output),
            ReluGate::Beta(beta) => Self::Beta(beta[channel]),
        }
    }
}

/// What is done of one channel.
#[derive(Clone, Copy)]
enum Pass {
    /// Sums, then gradients.
    Both(Moments),
    /// Sums alone.
    Sums,
    /// Gradients from sums over more than this batch.
    Gradients { sums: [f64; 2], count: f64 },
}

/// The gradients of one channel; gives the sums of `g (x - mean)` and of `g` in this batch.
#[derive(Clone, Copy)]
struct Backward<'a> {
    pass: Pass,
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
    type Output = [f64; 2];

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> [f64; 2] {
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
        if let Pass::Sums = self.pass {
            return sums;
        }
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
    fn gated(&self) -> [f64; 2] {
        match self.gate {
            // The output is not read, but a slice of the right length keeps the loops alike.
            Gate::Open => self.channel::<OPEN>(self.output_grad, 0.0),
            Gate::Output(output) => self.channel::<BY_OUTPUT>(output, 0.0),
            Gate::Beta(beta) => self.channel::<BY_BETA>(self.output_grad, beta),
        }
    }

    #[inline(always)]
    fn channel<const GATE: u8>(&self, output: &[f32], beta: f32) -> [f64; 2] {
        let spatial = self.shape.spatial;
        let factor = self.gamma * self.inverse;
        // The output as `Normalise` makes it, operation by operation.
        let gate = |centred: f32, output: f32, grad: f32| match GATE {
            BY_OUTPUT if output <= 0.0 => 0.0,
            BY_BETA if centred * factor + beta <= 0.0 => 0.0,
            _ => grad,
        };
        let (mut gamma_sum, mut beta_sum) = (0.0_f64, 0.0_f64);
        let planes = match self.pass {
            Pass::Both(_) | Pass::Sums => self.shape.batch,
            Pass::Gradients { .. } => 0,
        };
        for at in self.shape.planes(self.channel).take(planes) {
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
        // What goes back through mean and variance.
        let through = |[gamma_sum, beta_sum]: [f64; 2], count: f64| {
            let gamma_grad = gamma_sum * f64::from(self.inverse);
            let slope = gamma_grad * f64::from(self.inverse) / count;
            ((beta_sum / count) as f32, slope as f32)
        };
        let own = [gamma_sum, beta_sum];
        let (shift, slope) = match self.pass {
            Pass::Sums => return own,
            Pass::Both(Moments::OfTheBatch) => through(own, self.shape.count() as f64),
            Pass::Both(Moments::Given) => (0.0, 0.0),
            Pass::Gradients { sums, count } => through(sums, count),
        };
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
        own
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
