//! Means over bins that cover the plane, for any output size.

use std::ops::Range;

use rayon::prelude::*;

use super::{check_len, planes_per_task};
use crate::sizes;

/// The sizes of an adaptive pooling; the output may be larger than the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdaptiveShape {
    /// Batch times channels.
    pub planes: usize,
    /// Rows and columns of the input.
    pub input: [usize; 2],
    /// Rows and columns of the output.
    pub output: [usize; 2],
}

impl AdaptiveShape {
    fn check(&self, input: usize, output: usize) {
        assert!(!self.input.contains(&0), "planes without elements in {self:?}");
        for ((name, got), [rows, columns]) in
            [("input", input), ("output", output)].into_iter().zip([self.input, self.output])
        {
            check_len(name, got, sizes::elements([self.planes, rows, columns]));
        }
        for axis in 0..2 {
            // What `bin` multiplies.
            sizes::elements([self.input[axis], self.output[axis], 2]);
        }
    }

    /// PyTorch's bins: from `floor(i * in / out)` to `ceil((i + 1) * in / out)`.
    fn bin(&self, axis: usize, index: usize) -> Range<usize> {
        let (input, output) = (self.input[axis], self.output[axis]);
        index * input / output..((index + 1) * input).div_ceil(output)
    }
}

/// `output[p, q] = mean(bin(p) × bin(q))`; bin `i` of an axis goes from `floor(i * in / out)` to
/// `ceil((i + 1) * in / out)`, as in PyTorch.
///
/// # Shapes
/// input `[planes, rows, columns]`, output `[planes, rows, columns]`
///
/// # Panics
/// If a length does not match `shape`, or the input planes are empty.
pub fn adaptive_avg_pool2d(shape: &AdaptiveShape, input: &[f32], output: &mut [f32]) {
    shape.check(input.len(), output.len());
    if output.is_empty() {
        return;
    }
    let in_plane = shape.input[0] * shape.input[1];
    let [height, width] = shape.output;
    let planes = output.par_chunks_mut(height * width).zip(input.par_chunks(in_plane));
    planes.with_min_len(planes_per_task(in_plane)).for_each(|(output, input)| {
        for p in 0..height {
            for q in 0..width {
                let (rows, columns) = (shape.bin(0, p), shape.bin(1, q));
                let area = (rows.len() * columns.len()) as f32;
                let sum: f32 = rows
                    .map(|y| input[y * shape.input[1]..][columns.clone()].iter().sum::<f32>())
                    .sum();
                output[p * width + q] = sum / area;
            }
        }
    });
}

/// Spreads every output gradient evenly over its bin; `input_grad` is overwritten.
///
/// # Panics
/// If a length does not match `shape`, or the input planes are empty.
pub fn adaptive_avg_pool2d_backward(
    shape: &AdaptiveShape,
    output_grad: &[f32],
    input_grad: &mut [f32],
) {
    shape.check(input_grad.len(), output_grad.len());
    input_grad.fill(0.0);
    if output_grad.is_empty() {
        return;
    }
    let in_plane = shape.input[0] * shape.input[1];
    let [height, width] = shape.output;
    let planes = input_grad.par_chunks_mut(in_plane).zip(output_grad.par_chunks(height * width));
    planes.with_min_len(planes_per_task(in_plane)).for_each(|(input_grad, output_grad)| {
        for p in 0..height {
            for q in 0..width {
                let (rows, columns) = (shape.bin(0, p), shape.bin(1, q));
                let grad = output_grad[p * width + q] / (rows.len() * columns.len()) as f32;
                for y in rows {
                    for x in &mut input_grad[y * shape.input[1]..][columns.clone()] {
                        *x += grad;
                    }
                }
            }
        }
    });
}
