//! Bilinear resizing of planes and its gradient: PyTorch's `interpolate` with
//! `mode = "bilinear", align_corners = false` and a given size.
//!
//! ```text
//! position = max(0, (i + 1/2) * in / out - 1/2)     low = floor(position)     share = position - low
//! y = (1 - share) * x[low] + share * x[min(low + 1, in - 1)]           in rows, then in columns
//! ```
//! Each plane is computed by one task, so results do not depend on the number of threads.

#[cfg(test)]
mod tests;

use rayon::prelude::*;

use crate::pool::{AdaptiveShape, planes_per_task};
use crate::sizes;

/// The sizes of a resize: planes, and rows and columns before and after.
pub type ResizeShape = AdaptiveShape;

/// The two inputs one output index mixes, and the share of the second.
#[derive(Clone, Copy)]
struct Mix {
    low: usize,
    high: usize,
    share: f32,
}

fn mixes(input: usize, output: usize) -> Vec<Mix> {
    let scale = input as f32 / output as f32;
    let mix = |i: usize| {
        let position = (scale * (i as f32 + 0.5) - 0.5).max(0.0);
        let low = (position as usize).min(input - 1);
        Mix { low, high: (low + 1).min(input - 1), share: position - low as f32 }
    };
    (0..output).map(mix).collect()
}

fn check(shape: &ResizeShape, input: usize, output: usize) {
    assert!(!shape.input.contains(&0), "planes without elements in {shape:?}");
    for (name, got, [rows, columns]) in
        [("input", input, shape.input), ("output", output, shape.output)]
    {
        let want = sizes::elements([shape.planes, rows, columns]);
        assert!(got == want, "`{name}` has {got} elements, {want} expected for {shape:?}");
    }
}

/// Resizes every plane; the formula is the [module](self)'s.
///
/// # Panics
/// If a length does not match `shape`, or the input planes are empty.
pub fn resize_bilinear(shape: &ResizeShape, input: &[f32], output: &mut [f32]) {
    check(shape, input.len(), output.len());
    if output.is_empty() {
        return;
    }
    let (rows, columns) =
        (mixes(shape.input[0], shape.output[0]), mixes(shape.input[1], shape.output[1]));
    let in_width = shape.input[1];
    let in_plane = shape.input[0] * in_width;
    let planes = output.par_chunks_mut(rows.len() * columns.len()).zip(input.par_chunks(in_plane));
    planes.with_min_len(planes_per_task(in_plane)).for_each(|(output, input)| {
        for (output, row) in output.chunks_mut(columns.len()).zip(&rows) {
            let low = &input[row.low * in_width..][..in_width];
            let high = &input[row.high * in_width..][..in_width];
            for (y, column) in output.iter_mut().zip(&columns) {
                let mix = |x: &[f32]| {
                    (1.0 - column.share) * x[column.low] + column.share * x[column.high]
                };
                *y = (1.0 - row.share) * mix(low) + row.share * mix(high);
            }
        }
    });
}

/// The adjoint of [`resize_bilinear`]; `input_grad` is overwritten.
///
/// # Panics
/// If a length does not match `shape`, or the input planes are empty.
pub fn resize_bilinear_backward(shape: &ResizeShape, output_grad: &[f32], input_grad: &mut [f32]) {
    check(shape, input_grad.len(), output_grad.len());
    input_grad.fill(0.0);
    if output_grad.is_empty() {
        return;
    }
    let (rows, columns) =
        (mixes(shape.input[0], shape.output[0]), mixes(shape.input[1], shape.output[1]));
    let in_width = shape.input[1];
    let in_plane = shape.input[0] * in_width;
    let out_plane = rows.len() * columns.len();
    let planes = input_grad.par_chunks_mut(in_plane).zip(output_grad.par_chunks(out_plane));
    planes.with_min_len(planes_per_task(in_plane)).for_each(|(input_grad, output_grad)| {
        for (grads, row) in output_grad.chunks(columns.len()).zip(&rows) {
            for (&grad, column) in grads.iter().zip(&columns) {
                for (y, grad) in [(row.low, (1.0 - row.share) * grad), (row.high, row.share * grad)]
                {
                    input_grad[y * in_width + column.low] += (1.0 - column.share) * grad;
                    input_grad[y * in_width + column.high] += column.share * grad;
                }
            }
        }
    });
}
