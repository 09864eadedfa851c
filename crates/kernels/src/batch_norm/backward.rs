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
            moments,
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
    moments: Moments,
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
        // What goes back through mean and variance.
        let (shift, slope) = match self.moments {
            Moments::OfTheBatch => {
                let slope = gamma_grad * f64::from(self.inverse) / count;
                ((beta_sum / count) as f32, slope as f32)
            }
            Moments::Given => (0.0, 0.0),
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
