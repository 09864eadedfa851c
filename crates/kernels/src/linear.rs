//! The fully connected layer and its gradients.
//!
//! ```text
//! y[b,o] = bias[o] + sum_i x[b,i] w[o,i]
//! x_grad[b,i] = sum_o g[b,o] w[o,i]      w_grad[o,i] = sum_b g[b,o] x[b,i]      bias_grad[o] = sum_b g[b,o]
//! ```
//! Three products of [`matmul`](crate::matmul), whose error bound and independence of the number of
//! threads hold here. `O(batch * inputs * outputs)`.

#[cfg(test)]
mod tests;

use crate::columns::column_sums;
use crate::matmul::{Finish, Matrix, MatrixMut, matmul};
use crate::sizes;

/// The sizes of a layer: `x [batch, inputs]`, `w [outputs, inputs]`, `y [batch, outputs]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearShape {
    /// Rows.
    pub batch: usize,
    /// Values of an input row.
    pub inputs: usize,
    /// Values of an output row.
    pub outputs: usize,
}

impl LinearShape {
    fn check(&self, name: &str, got: usize, sizes: [usize; 2]) {
        let want = sizes::elements(sizes);
        assert!(got == want, "`{name}` has {got} elements, {want} expected for {self:?}");
    }
}

/// The layer's output; overwritten.
///
/// # Panics
/// If a length does not match `shape`.
pub fn linear(
    shape: &LinearShape,
    input: &[f32],
    weight: &[f32],
    bias: &[f32],
    output: &mut [f32],
) {
    let LinearShape { batch, inputs, outputs } = *shape;
    shape.check("input", input.len(), [batch, inputs]);
    shape.check("weight", weight.len(), [outputs, inputs]);
    shape.check("bias", bias.len(), [outputs, 1]);
    shape.check("output", output.len(), [batch, outputs]);
    matmul(
        Matrix::new(input, [batch, inputs]),
        Matrix::new(weight, [outputs, inputs]).transposed(),
        Finish::Bias { bias },
        MatrixMut::new(output, [batch, outputs]),
    );
}

/// The gradients by input, weight and bias; all overwritten.
///
/// # Panics
/// If a length does not match `shape`.
pub fn linear_backward(
    shape: &LinearShape,
    input: &[f32],
    weight: &[f32],
    output_grad: &[f32],
    input_grad: &mut [f32],
    weight_grad: &mut [f32],
    bias_grad: &mut [f32],
) {
    let LinearShape { batch, inputs, outputs } = *shape;
    shape.check("input", input.len(), [batch, inputs]);
    shape.check("weight", weight.len(), [outputs, inputs]);
    shape.check("output_grad", output_grad.len(), [batch, outputs]);
    shape.check("input_grad", input_grad.len(), [batch, inputs]);
    shape.check("weight_grad", weight_grad.len(), [outputs, inputs]);
    shape.check("bias_grad", bias_grad.len(), [outputs, 1]);
    let grad = Matrix::new(output_grad, [batch, outputs]);
    matmul(
        grad,
        Matrix::new(weight, [outputs, inputs]),
        Finish::Store,
        MatrixMut::new(input_grad, [batch, inputs]),
    );
    matmul(
        grad.transposed(),
        Matrix::new(input, [batch, inputs]),
        Finish::Store,
        MatrixMut::new(weight_grad, [outputs, inputs]),
    );
    column_sums(batch, output_grad, bias_grad);
}
