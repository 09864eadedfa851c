//! The largest value of every window, and where it was.

use rayon::prelude::*;

use super::{PoolShape, check_len, planes_per_task};

/// `output[i] = max(window i)`, and `indices[i]` is where in its plane that value stands.
///
/// Padding counts as minus infinity. Of equal values the first wins; a NaN in the window wins, as
/// in PyTorch.
///
/// # Shapes
/// input `[planes, in_height, in_width]`, output and indices `[planes, out_height, out_width]`
///
/// # Panics
/// If a length does not match `shape`, or `shape` is no pooling.
pub fn max_pool2d(shape: &PoolShape, input: &[f32], output: &mut [f32], indices: &mut [u32]) {
    shape.check(input.len(), output.len());
    check_len("indices", indices.len(), shape.output_len());
    assert!(u32::try_from(shape.in_plane()).is_ok(), "planes too large for `u32` indices");
    if output.is_empty() {
        return;
    }
    let (in_plane, out_plane, width) = (shape.in_plane(), shape.out_plane(), shape.out_width());
    let outputs = output.par_chunks_mut(out_plane).zip(indices.par_chunks_mut(out_plane));
    let planes = outputs.zip(input.par_chunks(in_plane)).with_min_len(planes_per_task(in_plane));
    planes.for_each(|((output, indices), input)| {
        for p in 0..shape.out_height() {
            let rows = shape.window(0, p);
            for q in 0..width {
                let columns = shape.window(1, q);
                let mut at = rows.start * shape.in_width + columns.start;
                let mut max = f32::NEG_INFINITY;
                for y in rows.clone() {
                    for x in columns.clone() {
                        let here = y * shape.in_width + x;
                        if input[here] > max || input[here].is_nan() {
                            (at, max) = (here, input[here]);
                        }
                    }
                }
                output[p * width + q] = max;
                indices[p * width + q] = at as u32;
            }
        }
    });
}

/// Adds every output gradient to the input it came from; `input_grad` is overwritten.
///
/// # Panics
/// If a length does not match `shape`, or an index lies outside its plane.
pub fn max_pool2d_backward(
    shape: &PoolShape,
    output_grad: &[f32],
    indices: &[u32],
    input_grad: &mut [f32],
) {
    shape.check(input_grad.len(), output_grad.len());
    check_len("indices", indices.len(), shape.output_len());
    if input_grad.is_empty() {
        return;
    }
    let (in_plane, out_plane) = (shape.in_plane(), shape.out_plane());
    let sources = output_grad.par_chunks(out_plane).zip(indices.par_chunks(out_plane));
    let planes =
        input_grad.par_chunks_mut(in_plane).zip(sources).with_min_len(planes_per_task(in_plane));
    planes.for_each(|(input_grad, (output_grad, indices))| {
        input_grad.fill(0.0);
        for (&grad, &index) in output_grad.iter().zip(indices) {
            input_grad[index as usize] += grad;
        }
    });
}
