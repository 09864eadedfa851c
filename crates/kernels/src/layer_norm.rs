//! Layer normalisation (Ba, Kiros, Hinton, 2016, arXiv:1607.06450), forward and backward.
//!
//! ```text
//! mean[r] = mean_i x[r,i]      rstd[r] = 1 / √(mean_i (x[r,i] - mean[r])² + epsilon)
//! n[r,i]  = (x[r,i] - mean[r]) rstd[r]      y[r,i] = gamma[i] n[r,i] + beta[i]
//! x_grad[r,i]   = rstd[r] (h[r,i] - mean_j h[r,j] - n[r,i] mean_j h[r,j] n[r,j]),  h = gamma[i] g[r,i]
//! gamma_grad[i] = sum_r g[r,i] n[r,i]      beta_grad[i] = sum_r g[r,i]
//! ```
//!
//! # Shapes
//! `x`, `y` and their gradients `[rows, width]`, `gamma` and `beta` `[width]`, `mean` and `rstd`
//! `[rows]`, kept for the backward pass.
//!
//! # Error
//! Sums of a row in sixteen `f32` lanes, those in `f64`; the variance around the mean, not as a
//! difference of squares. An epsilon as small as BERT's 1e-12 is added in `f64`.
//!
//! # Threads
//! Tasks of 64 rows, their sums for `gamma` and `beta` added in order: the same for any number of
//! threads.

use crate::isa::Isa;
use crate::row_norm::{self, RowsShape};

/// The normalised rows, their means and the reciprocals of their standard deviations; all overwritten.
///
/// # Panics
/// If a length does not match `shape`, or `epsilon` is negative or NaN.
pub fn layer_norm(
    shape: &RowsShape,
    input: &[f32],
    gamma: &[f32],
    beta: &[f32],
    epsilon: f32,
    output: &mut [f32],
    mean: &mut [f32],
    rstd: &mut [f32],
) {
    let RowsShape { rows, width } = *shape;
    shape.check("input", input.len(), [rows, width]);
    shape.check("gamma", gamma.len(), [1, width]);
    shape.check("beta", beta.len(), [1, width]);
    shape.check("output", output.len(), [rows, width]);
    shape.check("mean", mean.len(), [rows, 1]);
    shape.check("rstd", rstd.len(), [rows, 1]);
    assert!(epsilon >= 0.0, "`epsilon` is {epsilon}, it must be at least 0");
    let isa = Isa::active();
    row_norm::forward::<true>(isa, width, input, gamma, beta, epsilon, output, mean, rstd);
}

/// The gradients by input, `gamma` and `beta`; all overwritten. `mean` and `rstd` are those that
/// [`layer_norm`] gave.
///
/// # Panics
/// If a length does not match `shape`.
pub fn layer_norm_backward(
    shape: &RowsShape,
    input: &[f32],
    gamma: &[f32],
    mean: &[f32],
    rstd: &[f32],
    output_grad: &[f32],
    input_grad: &mut [f32],
    gamma_grad: &mut [f32],
    beta_grad: &mut [f32],
) {
    let RowsShape { rows, width } = *shape;
    shape.check("input", input.len(), [rows, width]);
    shape.check("gamma", gamma.len(), [1, width]);
    shape.check("mean", mean.len(), [rows, 1]);
    shape.check("rstd", rstd.len(), [rows, 1]);
    shape.check("output_grad", output_grad.len(), [rows, width]);
    shape.check("input_grad", input_grad.len(), [rows, width]);
    shape.check("gamma_grad", gamma_grad.len(), [1, width]);
    shape.check("beta_grad", beta_grad.len(), [1, width]);
    row_norm::backward::<true>(
        Isa::active(),
        width,
        input,
        gamma,
        mean,
        rstd,
        output_grad,
        input_grad,
        gamma_grad,
        beta_grad,
    );
}
