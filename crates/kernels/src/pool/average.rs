//! The mean of every window.

use rayon::prelude::*;

use super::{PoolShape, planes_per_task};

/// `output[i] = sum(window i) / (kernel rows * kernel columns)`: padding counts as zeros, which is
/// PyTorch's `count_include_pad = true`.
///
/// # Shapes
/// input `[planes, in_height, in_width]`, output `[planes, out_height, out_width]`
///
/// # Panics
/// If a length does not match `shape`, or `shape` is no pooling.
pub fn avg_pool2d(shape: &PoolShape, input: &[f32], output: &mut [f32]) {
    shape.check(input.len(), output.len());
    if output.is_empty() {
        return;
    }
    let (in_plane, out_plane, width) = (shape.in_plane(), shape.out_plane(), shape.out_width());
    let area = (shape.kernel[0] * shape.kernel[1]) as f32;
    let planes = output.par_chunks_mut(out_plane).zip(input.par_chunks(in_plane));
    planes.with_min_len(planes_per_task(in_plane)).for_each(|(output, input)| {
        for p in 0..shape.out_height() {
            for q in 0..width {
                let columns = shape.window(1, q);
                let rows = shape.window(0, p);
                let sum: f32 = rows
                    .map(|y| input[y * shape.in_width..][columns.clone()].iter().sum::<f32>())
                    .sum();
                output[p * width + q] = sum / area;
            }
        }
    });
}

/// Spreads every output gradient evenly over its window; `input_grad` is overwritten.
///
/// # Panics
/// If a length does not match `shape`, or `shape` is no pooling.
pub fn avg_pool2d_backward(shape: &PoolShape, output_grad: &[f32], input_grad: &mut [f32]) {
    shape.check(input_grad.len(), output_grad.len());
    if input_grad.is_empty() {
        return;
    }
    let (in_plane, out_plane, width) = (shape.in_plane(), shape.out_plane(), shape.out_width());
    let area = (shape.kernel[0] * shape.kernel[1]) as f32;
    let planes = input_grad.par_chunks_mut(in_plane).zip(output_grad.par_chunks(out_plane));
    planes.with_min_len(planes_per_task(in_plane)).for_each(|(input_grad, output_grad)| {
        input_grad.fill(0.0);
        for p in 0..shape.out_height() {
            for q in 0..width {
                let grad = output_grad[p * width + q] / area;
                for y in shape.window(0, p) {
                    for x in &mut input_grad[y * shape.in_width..][shape.window(1, q)] {
                        *x += grad;
                    }
                }
            }
        }
    });
}
