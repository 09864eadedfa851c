//! Batch normalisation as plain loops in `f64`: the reference of the tests.

use super::NormShape;

/// What [`backward`] gives.
pub struct Gradients {
    /// Gradient by the input.
    pub input: Vec<f64>,
    /// Gradient by gamma.
    pub gamma: Vec<f64>,
    /// Gradient by beta.
    pub beta: Vec<f64>,
    /// Gradient by the residual: the gated output gradient.
    pub residual: Vec<f64>,
}

fn channel_of(shape: &NormShape, index: usize) -> usize {
    index / shape.spatial % shape.channels
}

/// Mean and biased variance of every channel.
pub fn statistics(shape: &NormShape, input: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let count = shape.count() as f64;
    let (mut mean, mut variance) = (vec![0.0; shape.channels], vec![0.0; shape.channels]);
    for (i, x) in input.iter().enumerate() {
        mean[channel_of(shape, i)] += x / count;
    }
    for (i, x) in input.iter().enumerate() {
        let channel = channel_of(shape, i);
        variance[channel] += (x - mean[channel]).powi(2) / count;
    }
    (mean, variance)
}

/// The forward pass with the statistics of the batch.
pub fn forward(
    shape: &NormShape,
    input: &[f64],
    gamma: &[f64],
    beta: &[f64],
    epsilon: f64,
    residual: Option<&[f64]>,
    relu: bool,
) -> Vec<f64> {
    let (mean, variance) = statistics(shape, input);
    let normalise = |(i, x): (usize, &f64)| {
        let c = channel_of(shape, i);
        let y = gamma[c] * (x - mean[c]) / (variance[c] + epsilon).sqrt() + beta[c];
        let y = y + residual.map_or(0.0, |residual| residual[i]);
        if relu && y < 0.0 { 0.0 } else { y }
    };
    input.iter().enumerate().map(normalise).collect()
}

/// The gradients; `output` is `Some` if the forward pass ended with ReLU.
pub fn backward(
    shape: &NormShape,
    input: &[f64],
    output: Option<&[f64]>,
    output_grad: &[f64],
    gamma: &[f64],
    epsilon: f64,
) -> Gradients {
    let (mean, variance) = statistics(shape, input);
    let count = shape.count() as f64;
    let gate = |i: usize| match output {
        Some(output) if output[i] <= 0.0 => 0.0,
        _ => output_grad[i],
    };
    let residual: Vec<f64> = (0..input.len()).map(gate).collect();
    let inverse = |c: usize| 1.0 / (variance[c] + epsilon).sqrt();
    let hat = |i: usize| {
        let c = channel_of(shape, i);
        (input[i] - mean[c]) * inverse(c)
    };
    let (mut gamma_grad, mut beta_grad) = (vec![0.0; shape.channels], vec![0.0; shape.channels]);
    for i in 0..input.len() {
        let c = channel_of(shape, i);
        beta_grad[c] += residual[i];
        gamma_grad[c] += residual[i] * hat(i);
    }
    let input = (0..input.len())
        .map(|i| {
            let c = channel_of(shape, i);
            let mean_free = residual[i] - (beta_grad[c] + hat(i) * gamma_grad[c]) / count;
            gamma[c] * inverse(c) * mean_free
        })
        .collect();
    Gradients { input, gamma: gamma_grad, beta: beta_grad, residual }
}
