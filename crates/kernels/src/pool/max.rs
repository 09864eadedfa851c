//! The largest value of every window, and where it was.

use rayon::prelude::*;

use super::{PoolShape, check_len, planes_per_task};
use crate::isa::{Isa, Kernel};
use crate::simd::Simd;

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
    let isa = Isa::active();
    let (in_plane, out_plane) = (shape.in_plane(), shape.out_plane());
    let outputs = output.par_chunks_mut(out_plane).zip(indices.par_chunks_mut(out_plane));
    let planes = outputs.zip(input.par_chunks(in_plane)).with_min_len(planes_per_task(in_plane));
    planes.for_each(|((output, indices), input)| {
        isa.run(PlaneKernel { shape, input, output, indices });
    });
}

/// The maxima of one plane.
struct PlaneKernel<'a> {
    shape: &'a PoolShape,
    input: &'a [f32],
    output: &'a mut [f32],
    indices: &'a mut [u32],
}

impl Kernel for PlaneKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let width = self.shape.out_width();
        let rows = self.output.chunks_exact_mut(width).zip(self.indices.chunks_exact_mut(width));
        for (p, (output, indices)) in rows.enumerate() {
            row_maxima(self.shape, self.input, p, output, indices);
        }
    }
}

/// One row of the output: all its windows together, one row and column of the window at a time, so
/// that the inner loop has no branches.
#[inline(always)]
fn row_maxima(shape: &PoolShape, input: &[f32], p: usize, output: &mut [f32], indices: &mut [u32]) {
    let rows = shape.window(0, p);
    output.fill(f32::NEG_INFINITY);
    for (q, index) in indices.iter_mut().enumerate() {
        *index = (rows.start * shape.in_width + shape.window(1, q).start) as u32;
    }
    for y in rows {
        let row = &input[y * shape.in_width..][..shape.in_width];
        for j in shape.window_columns() {
            let inside = shape.columns_inside(j);
            let Some(first) = shape.column(inside.start, j) else { continue };
            let maxima = &mut output[inside.clone()];
            let indices = &mut indices[inside];
            let at = (y * shape.in_width + first) as u32;
            match shape.stride[1] {
                1 => update::<1>(&row[first..], at, maxima, indices),
                2 => update::<2>(&row[first..], at, maxima, indices),
                _ => {
                    let values = row[first..].iter().step_by(shape.stride[1]);
                    let maxima = maxima.iter_mut().zip(indices);
                    for (i, ((max, index), &value)) in maxima.zip(values).enumerate() {
                        take_larger(max, index, value, at + (i * shape.stride[1]) as u32);
                    }
                }
            }
        }
    }
}

/// Every `STRIDE`-th value against its maximum; a constant stride is made into vector code.
#[inline(always)]
fn update<const STRIDE: usize>(row: &[f32], at: u32, maxima: &mut [f32], indices: &mut [u32]) {
    let (values, rest) = row.as_chunks::<STRIDE>();
    let whole = maxima.len().min(values.len());
    let (maxima, last_max) = maxima.split_at_mut(whole);
    let (indices, last_index) = indices.split_at_mut(whole);
    for i in 0..whole {
        take_larger(&mut maxima[i], &mut indices[i], values[i][0], at + (STRIDE * i) as u32);
    }
    // The last value may stand alone at the end of the row.
    if let (Some(max), Some(index), Some(&value)) =
        (last_max.first_mut(), last_index.first_mut(), rest.first())
    {
        take_larger(max, index, value, at + (STRIDE * whole) as u32);
    }
}

/// Without a branch, which would be taken at random.
#[inline(always)]
fn take_larger(max: &mut f32, index: &mut u32, value: f32, at: u32) {
    let larger = (value > *max) | value.is_nan();
    let mask = 0_u32.wrapping_sub(u32::from(larger));
    *max = f32::from_bits((max.to_bits() & !mask) | (value.to_bits() & mask));
    *index = (*index & !mask) | (at & mask);
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
