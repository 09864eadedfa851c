//! Two-dimensional convolution (cross-correlation, as every deep learning library means it) and
//! its gradients.
//!
//! ```text
//! y[b,o,p,q] = bias[o] + sum_{c,i,j} x[b, c, p*s0 + i - p0, q*s1 + j - p1] * w[o,c,i,j]
//! ```
//! with zeros outside `x`; with `groups` g, output channel `o` sees the input channels of its own
//! g-th part only.
//!
//! # Shapes
//! input `[batch, in_channels, height, width]`, weight `[out_channels, in_channels / groups,
//! kernel, kernel]`, output `[batch, out_channels, out_height, out_width]`, all contiguous.
//!
//! # Paths
//! 3 × 3 kernels at stride 1 go through Winograd's algorithm where it takes less work, one channel
//! per group through a kernel of its own, all else through a direct convolution. The shape alone
//! decides. Each path works on a channels-last copy of an image.
//!
//! # Error
//! `f32` sums with fused multiply-adds. The error stays below 4e-6 of the sum of absolute products
//! (the tests hold every path to that), and below 5e-6 of the largest output at 256 channels;
//! Winograd makes about twice the rounding error of the direct sum.
//!
//! A NaN or infinity in an input makes every output that depends on it NaN or infinite; on the
//! Winograd path also the other outputs of its 4 × 4 tile, and infinities become NaN.
//!
//! # Threads
//! Images are spread over rayon's current pool. Weight gradients are summed over a number of
//! image chunks that depends on the shape only and then added in order, so results do not depend
//! on the number of threads.

mod depthwise;
mod direct;
mod epilogue;
mod pack;
mod passes;
pub mod scalar;
mod shape;
#[cfg(test)]
mod tests;
mod weight_grad;
mod winograd;

use rayon::prelude::*;

pub use self::shape::{Conv2dShape, Conv2dShapeError};

use self::epilogue::Epilogue;
pub(crate) use self::shape::check_len;
use crate::isa::Isa;

/// Convolution; the formula and layout are the [module](self)'s.
///
/// # Panics
/// If a length does not match `shape`, or `shape` is not [valid](Conv2dShape::validate).
pub fn conv2d(
    shape: &Conv2dShape,
    input: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    output: &mut [f32],
) {
    conv2d_fused(shape, input, weight, bias, None, false, output);
}

/// Convolution for inference: `output = [relu](conv(input) + bias [+ residual])` in one pass;
/// `residual` has the shape of the output.
///
/// # Panics
/// If a length does not match `shape`, or `shape` is not [valid](Conv2dShape::validate).
pub fn conv2d_fused(
    shape: &Conv2dShape,
    input: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    residual: Option<&[f32]>,
    relu: bool,
    output: &mut [f32],
) {
    forward_on(Isa::active(), shape, input, weight, Epilogue { bias, residual, relu }, output);
}

/// Gradient by the input: `input_grad` is overwritten with the adjoint of the convolution applied
/// to `output_grad`.
///
/// # Panics
/// If a length does not match `shape`, or `shape` is not [valid](Conv2dShape::validate).
pub fn conv2d_input_grad(
    shape: &Conv2dShape,
    weight: &[f32],
    output_grad: &[f32],
    input_grad: &mut [f32],
) {
    input_grad_on(Isa::active(), shape, weight, output_grad, input_grad);
}

/// Gradient by the weight, summed over the batch; `weight_grad` is overwritten.
///
/// # Panics
/// If a length does not match `shape`, or `shape` is not [valid](Conv2dShape::validate).
pub fn conv2d_weight_grad(
    shape: &Conv2dShape,
    input: &[f32],
    output_grad: &[f32],
    weight_grad: &mut [f32],
) {
    weight_grad_on(Isa::active(), shape, input, output_grad, weight_grad);
}

/// Gradient by the bias: `output_grad` summed over batch, rows and columns. Planes are summed in
/// `f32` by lanes, the planes' sums in `f64`.
///
/// # Panics
/// If a length does not match `shape`, or `shape` is not [valid](Conv2dShape::validate).
pub fn conv2d_bias_grad(shape: &Conv2dShape, output_grad: &[f32], bias_grad: &mut [f32]) {
    shape.check();
    check_len("output_grad", output_grad.len(), shape.output_len(), shape);
    check_len("bias_grad", bias_grad.len(), shape.out_channels, shape);
    let plane = shape.out_height() * shape.out_width();
    bias_grad.par_iter_mut().enumerate().for_each(|(channel, sum)| {
        let planes = (0..shape.batch).map(|image| {
            let start = (image * shape.out_channels + channel) * plane;
            f64::from(crate::elementwise::sum(&output_grad[start..start + plane]))
        });
        *sum = planes.sum::<f64>() as f32;
    });
}

pub(crate) fn forward_on(
    isa: Isa,
    shape: &Conv2dShape,
    input: &[f32],
    weight: &[f32],
    epilogue: Epilogue<'_>,
    output: &mut [f32],
) {
    shape.check();
    check_len("input", input.len(), shape.input_len(), shape);
    check_len("weight", weight.len(), shape.weight_len(), shape);
    check_len("output", output.len(), shape.output_len(), shape);
    if let Some(bias) = epilogue.bias {
        check_len("bias", bias.len(), shape.out_channels, shape);
    }
    if let Some(residual) = epilogue.residual {
        check_len("residual", residual.len(), shape.output_len(), shape);
    }
    if output.is_empty() {
        return;
    }
    if depthwise::fits(shape) {
        depthwise::forward(isa, shape, input, weight, epilogue, output);
    } else if winograd::is_cheaper(shape) {
        winograd::forward(isa, shape, input, weight, epilogue, output);
    } else {
        direct::forward(isa, shape, input, weight, epilogue, output);
    }
}

pub(crate) fn input_grad_on(
    isa: Isa,
    shape: &Conv2dShape,
    weight: &[f32],
    output_grad: &[f32],
    input_grad: &mut [f32],
) {
    shape.check();
    check_len("weight", weight.len(), shape.weight_len(), shape);
    check_len("output_grad", output_grad.len(), shape.output_len(), shape);
    check_len("input_grad", input_grad.len(), shape.input_len(), shape);
    if input_grad.is_empty() {
        return;
    }
    if depthwise::fits(shape) {
        depthwise::input_grad(isa, shape, weight, output_grad, input_grad);
    } else if winograd::is_cheaper(shape) {
        winograd::input_grad(isa, shape, weight, output_grad, input_grad);
    } else {
        direct::input_grad(isa, shape, weight, output_grad, input_grad);
    }
}

pub(crate) fn weight_grad_on(
    isa: Isa,
    shape: &Conv2dShape,
    input: &[f32],
    output_grad: &[f32],
    weight_grad: &mut [f32],
) {
    shape.check();
    check_len("input", input.len(), shape.input_len(), shape);
    check_len("output_grad", output_grad.len(), shape.output_len(), shape);
    check_len("weight_grad", weight_grad.len(), shape.weight_len(), shape);
    if weight_grad.is_empty() {
        return;
    }
    if depthwise::fits(shape) {
        depthwise::weight_grad(isa, shape, input, output_grad, weight_grad);
    } else if shape.batch > 0 && winograd::is_cheaper(shape) {
        winograd::weight_grad::weight_grad(isa, shape, input, output_grad, weight_grad);
    } else {
        weight_grad::weight_grad(isa, shape, input, output_grad, weight_grad);
    }
}
