//! Root mean square normalisation (Zhang, Sennrich, 2019, arXiv:1910.07467), forward and backward.
//!
//! ```text
//! scale[r] = 1 / √(mean_i x[r,i]² + epsilon)      n[r,i] = x[r,i] scale[r]      y[r,i] = gamma[i] n[r,i]
//! x_grad[r,i]   = scale[r] (h[r,i] - n[r,i] mean_j h[r,j] n[r,j]),  h = gamma[i] g[r,i]
//! gamma_grad[i] = sum_r g[r,i] n[r,i]
//! ```
//! Shapes, error and threads as for [`layer_norm`](crate::layer_norm), without mean and shift.

use crate::isa::Isa;
use crate::row_norm::{self, RowsShape};

/// The normalised rows, and the reciprocals of their root mean squares; all overwritten.
///
/// # Panics
/// If a length does not match `shape`, or `epsilon` is negative or NaN.
pub fn rms_norm(
    shape: &RowsShape,
    input: &[f32],
    gamma: &[f32],
    epsilon: f32,
    output: &mut [f32],
    scale: &mut [f32],
) {
    let RowsShape { rows, width } = *shape;
    shape.check("input", input.len(), [rows, width]);
    shape.check("gamma", gamma.len(), [1, width]);
    shape.check("output", output.len(), [rows, width]);
    shape.check("scale", scale.len(), [rows, 1]);
    assert!(epsilon >= 0.0, "`epsilon` is {epsilon}, it must be at least 0");
    let isa = Isa::active();
    row_norm::forward::<false>(isa, width, input, gamma, &[], epsilon, output, &mut [], scale);
}

/// The gradients by input and `gamma`; all overwritten. `scale` is what [`rms_norm`] gave.
///
/// # Panics
/// If a length does not match `shape`.
pub fn rms_norm_backward(
    shape: &RowsShape,
    input: &[f32],
    gamma: &[f32],
    scale: &[f32],
    output_grad: &[f32],
    input_grad: &mut [f32],
    gamma_grad: &mut [f32],
) {
    let RowsShape { rows, width } = *shape;
    shape.check("input", input.len(), [rows, width]);
    shape.check("gamma", gamma.len(), [1, width]);
    shape.check("scale", scale.len(), [rows, 1]);
    shape.check("output_grad", output_grad.len(), [rows, width]);
    shape.check("input_grad", input_grad.len(), [rows, width]);
    shape.check("gamma_grad", gamma_grad.len(), [1, width]);
    row_norm::backward::<false>(
        Isa::active(),
        width,
        input,
        gamma,
        &[],
        scale,
        output_grad,
        input_grad,
        gamma_grad,
        &mut [],
    );
}
