//! The fully connected layer and its gradients.
//!
//! ```text
//! y[b,o] = bias[o] + sum_i x[b,i] w[o,i]
//! x_grad[b,i] = sum_o g[b,o] w[o,i]      w_grad[o,i] = sum_b g[b,o] x[b,i]      bias_grad[o] = sum_b g[b,o]
//! ```
//! Rows are spread over rayon's current pool, each sum is made by one task in a fixed order, so
//! results do not depend on the number of threads. `O(batch * inputs * outputs)`.

#[cfg(test)]
mod tests;

use rayon::prelude::*;

use crate::elementwise::tree;
use crate::isa::{Isa, Kernel};
use crate::simd::Simd;
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

    /// Rows of `len` operations that one task handles: enough work to pay for the task.
    fn rows_per_task(len: usize) -> usize {
        (crate::parallel::ELEMENTS_PER_TASK / len.max(1)).max(1)
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
    if outputs == 0 {
        return;
    }
    let isa = Isa::active();
    output
        .par_chunks_mut(outputs)
        .with_min_len(LinearShape::rows_per_task(inputs * outputs))
        .enumerate()
        .for_each(|(row, output)| {
            let input = &input[row * inputs..(row + 1) * inputs];
            isa.run(Row { input, weight, bias, output });
        });
}

/// One row of the output.
struct Row<'a> {
    input: &'a [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    output: &'a mut [f32],
}

impl Kernel for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let inputs = self.input.len();
        for (o, (y, bias)) in self.output.iter_mut().zip(self.bias).enumerate() {
            let weight = &self.weight[o * inputs..(o + 1) * inputs];
            *y = bias + dot(self.input, weight);
        }
    }
}

/// Inner product by 32 lanes; the last `len % 32` go to the first lanes.
#[inline(always)]
fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 32];
    let (left_chunks, left_rest) = left.as_chunks::<32>();
    let (right_chunks, right_rest) = right.as_chunks::<32>();
    for (left, right) in left_chunks.iter().zip(right_chunks) {
        for i in 0..32 {
            lanes[i] += left[i] * right[i];
        }
    }
    for ((lane, left), right) in lanes.iter_mut().zip(left_rest).zip(right_rest) {
        *lane += left * right;
    }
    tree(lanes)
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
    for (o, sum) in bias_grad.iter_mut().enumerate() {
        *sum = (0..batch).map(|b| output_grad[b * outputs + o]).sum();
    }
    if inputs == 0 {
        return;
    }
    let isa = Isa::active();
    input_grad
        .par_chunks_mut(inputs)
        .with_min_len(LinearShape::rows_per_task(inputs * outputs))
        .enumerate()
        .for_each(|(b, target)| {
            let factor = |o: usize| output_grad[b * outputs + o];
            isa.run(Combine { target, rows: weight, count: outputs, factor });
        });
    weight_grad
        .par_chunks_mut(inputs)
        .with_min_len(LinearShape::rows_per_task(inputs * batch))
        .enumerate()
        .for_each(|(o, target)| {
            let factor = |b: usize| output_grad[b * outputs + o];
            isa.run(Combine { target, rows: input, count: batch, factor });
        });
}

/// `target = sum_k factor(k) rows[k]`, rows as long as the target.
struct Combine<'a, F> {
    target: &'a mut [f32],
    rows: &'a [f32],
    count: usize,
    factor: F,
}

impl<F: Fn(usize) -> f32> Kernel for Combine<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        self.target.fill(0.0);
        let len = self.target.len();
        for k in 0..self.count {
            let factor = (self.factor)(k);
            for (t, x) in self.target.iter_mut().zip(&self.rows[k * len..(k + 1) * len]) {
                *t += factor * x;
            }
        }
    }
}
