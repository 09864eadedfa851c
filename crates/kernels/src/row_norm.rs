//! What layer norm and RMS norm share: rows are normalised one by one, with or without their mean.

#[cfg(test)]
mod tests;

use rayon::prelude::*;

use crate::isa::{Isa, Kernel};
use crate::scratch::Scratch;
use crate::simd::Simd;
use crate::sizes;

/// Independent sums, so that a reduction can use whole vectors.
const LANES: usize = 16;
/// Rows of one task; the gradients of gain and shift are added in `f32` over these, in `f64` over
/// the tasks.
const ROWS: usize = 64;

/// The sizes of a normalisation of rows: `[rows, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowsShape {
    /// Rows (tokens).
    pub rows: usize,
    /// Values of a row, which are normalised together.
    pub width: usize,
}

impl RowsShape {
    #[track_caller]
    pub(crate) fn check(&self, name: &str, got: usize, sizes: [usize; 2]) {
        let want = sizes::elements(sizes);
        assert!(got == want, "`{name}` has {got} elements, {want} expected for {self:?}");
    }
}

/// Sum of `f` of each index over a row: sixteen lanes in `f32`, those in `f64`.
#[inline(always)]
fn sum(width: usize, f: impl Fn(usize) -> f32) -> f64 {
    let mut lanes = [0.0_f32; LANES];
    let whole = width / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        for i in 0..LANES {
            lanes[i] += f(start + i);
        }
    }
    for i in whole..width {
        lanes[i - whole] += f(i);
    }
    lanes.iter().map(|&x| f64::from(x)).sum()
}

/// The rows of one task.
struct Forward<'a, const CENTRED: bool> {
    width: usize,
    input: &'a [f32],
    gain: &'a [f32],
    /// Not empty if centred.
    shift: &'a [f32],
    epsilon: f64,
    output: &'a mut [f32],
    mean: &'a mut [f32],
    scale: &'a mut [f32],
}

impl<const CENTRED: bool> Kernel for Forward<'_, CENTRED> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let width = self.width;
        let rows = self.input.chunks_exact(width).zip(self.output.chunks_exact_mut(width));
        for (row, (x, y)) in rows.enumerate() {
            let gain = &self.gain[..width];
            let mean = if CENTRED { (sum(width, |i| x[i]) / width as f64) as f32 } else { 0.0 };
            let squares = sum(width, |i| {
                let d = x[i] - mean;
                d * d
            });
            let scale = (1.0 / (squares / width as f64 + self.epsilon).sqrt()) as f32;
            if CENTRED {
                self.mean[row] = mean;
                let shift = &self.shift[..width];
                for i in 0..width {
                    y[i] = S::fused((x[i] - mean) * scale, gain[i], shift[i]);
                }
            } else {
                for i in 0..width {
                    y[i] = x[i] * scale * gain[i];
                }
            }
            self.scale[row] = scale;
        }
    }
}

/// The rows of one task, backward.
struct Backward<'a, const CENTRED: bool> {
    width: usize,
    input: &'a [f32],
    gain: &'a [f32],
    mean: &'a [f32],
    scale: &'a [f32],
    output_grad: &'a [f32],
    input_grad: &'a mut [f32],
    /// The task's own sums, by gain and, if centred, behind them by shift.
    sums: &'a mut [f32],
}

impl<const CENTRED: bool> Kernel for Backward<'_, CENTRED> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let width = self.width;
        let rows = self.input.chunks_exact(width).zip(self.output_grad.chunks_exact(width));
        let (by_gain, by_shift) = self.sums.split_at_mut(width);
        by_gain.fill(0.0);
        by_shift.fill(0.0);
        for (row, ((x, grad), by_x)) in
            rows.zip(self.input_grad.chunks_exact_mut(width)).enumerate()
        {
            let gain = &self.gain[..width];
            let (mean, scale) = (if CENTRED { self.mean[row] } else { 0.0 }, self.scale[row]);
            let along = sum(width, |i| grad[i] * gain[i] * ((x[i] - mean) * scale));
            let along = (along / width as f64) as f32;
            let level = if CENTRED {
                (sum(width, |i| grad[i] * gain[i]) / width as f64) as f32
            } else {
                0.0
            };
            for i in 0..width {
                let normal = (x[i] - mean) * scale;
                by_x[i] = scale * (S::fused(-normal, along, grad[i] * gain[i]) - level);
                by_gain[i] = S::fused(grad[i], normal, by_gain[i]);
            }
            if CENTRED {
                for (sum, g) in by_shift.iter_mut().zip(grad) {
                    *sum += g;
                }
            }
        }
    }
}

/// Normalises rows; lengths are checked by the caller, `shift` and `mean` are empty unless centred.
pub(crate) fn forward<const CENTRED: bool>(
    isa: Isa,
    width: usize,
    input: &[f32],
    gain: &[f32],
    shift: &[f32],
    epsilon: f32,
    output: &mut [f32],
    mean: &mut [f32],
    scale: &mut [f32],
) {
    if width == 0 {
        mean.fill(0.0);
        scale.fill(0.0);
        return;
    }
    let epsilon = f64::from(epsilon);
    // Without means every task gets an empty part of none.
    let means = if CENTRED { ROWS } else { 0 };
    let mut rest = mean;
    let mut tasks = Vec::with_capacity(scale.len().div_ceil(ROWS));
    for ((input, output), scale) in (input.chunks(ROWS * width))
        .zip(output.chunks_mut(ROWS * width))
        .zip(scale.chunks_mut(ROWS))
    {
        let mean;
        (mean, rest) = std::mem::take(&mut rest).split_at_mut(means.min(scale.len()));
        tasks.push(Forward::<CENTRED> { width, input, gain, shift, epsilon, output, mean, scale });
    }
    tasks.into_par_iter().for_each(|task| isa.run(task));
}

/// The gradients; lengths are checked by the caller, `mean` and `shift_grad` are empty unless
/// centred. All are overwritten.
pub(crate) fn backward<const CENTRED: bool>(
    isa: Isa,
    width: usize,
    input: &[f32],
    gain: &[f32],
    mean: &[f32],
    scale: &[f32],
    output_grad: &[f32],
    input_grad: &mut [f32],
    gain_grad: &mut [f32],
    shift_grad: &mut [f32],
) {
    if width == 0 {
        return;
    }
    let tasks = scale.len().div_ceil(ROWS);
    let each = width * if CENTRED { 2 } else { 1 };
    let mut sums = Scratch::take(sizes::elements([tasks, each]));
    (input_grad.par_chunks_mut(ROWS * width)).zip(sums.par_chunks_mut(each)).enumerate().for_each(
        |(task, (input_grad, sums))| {
            let (row, rows) = (task * ROWS, input_grad.len() / width);
            isa.run(Backward::<CENTRED> {
                width,
                input: &input[row * width..][..rows * width],
                gain,
                mean: if CENTRED { &mean[row..][..rows] } else { &[] },
                scale: &scale[row..][..rows],
                output_grad: &output_grad[row * width..][..rows * width],
                input_grad,
                sums,
            });
        },
    );
    let add = |column: usize| -> f32 {
        (0..tasks).map(|task| f64::from(sums[task * each + column])).sum::<f64>() as f32
    };
    for (i, to) in gain_grad.iter_mut().enumerate() {
        *to = add(i);
    }
    for (i, to) in shift_grad.iter_mut().enumerate() {
        *to = add(width + i);
    }
}
