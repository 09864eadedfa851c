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
    let area = shape.kernel[0] as f32 * shape.kernel[1] as f32;
    let planes = output.par_chunks_mut(out_plane).zip(input.par_chunks(in_plane));
    planes.with_min_len(planes_per_task(in_plane)).for_each(|(output, input)| {
        for (p, output) in output.chunks_exact_mut(width).enumerate() {
            output.fill(0.0);
            for y in shape.window(0, p) {
                let row = &input[y * shape.in_width..][..shape.in_width];
                for j in shape.window_columns() {
                    let inside = shape.columns_inside(j);
                    let Some(first) = shape.column(inside.start, j) else { continue };
                    add_every(shape.stride[1], &row[first..], &mut output[inside]);
                }
            }
            for sum in output {
                *sum /= area;
            }
        }
    });
}

/// Adds every `stride`-th value of a row; the usual strides as constants, for vector code.
#[inline(always)]
fn add_every(stride: usize, row: &[f32], sums: &mut [f32]) {
    let strided = |sums: &mut [f32], row: &[f32]| {
        for (sum, value) in sums.iter_mut().zip(row.iter().step_by(stride)) {
            *sum += value;
        }
    };
    match stride {
        1 => sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value),
        2 => {
            let (pairs, _) = row.as_chunks::<2>();
            let whole = pairs.len().min(sums.len());
            let (sums, last) = sums.split_at_mut(whole);
            for i in 0..whole {
                sums[i] += pairs[i][0];
            }
            strided(last, &row[2 * whole..]);
        }
        _ => strided(sums, row),
    }
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
    let area = shape.kernel[0] as f32 * shape.kernel[1] as f32;
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
