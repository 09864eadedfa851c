//! Planes with a border of one value, of its own width on each side, forward and backward.
//!
//! ```text
//! y[p, top + i, left + j] = x[p, i, j], the value elsewhere      x_grad[p, i, j] = g[p, top + i, left + j]
//! ```
//!
//! # Threads
//! Planes are spread over rayon's current pool; nothing is summed.

use rayon::prelude::*;

use crate::pool::planes_per_task;
use crate::sizes::elements;

/// The sizes of a border.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PadShape {
    /// Batch times channels.
    pub planes: usize,
    /// Rows and columns of the input.
    pub size: [usize; 2],
    /// Rows above and columns to the left of it.
    pub before: [usize; 2],
    /// Rows below and columns to the right of it.
    pub after: [usize; 2],
}

impl PadShape {
    /// Rows and columns of the output.
    #[must_use]
    pub fn padded(&self) -> [usize; 2] {
        [0, 1].map(|axis| self.before[axis] + self.size[axis] + self.after[axis])
    }

    #[track_caller]
    fn check(&self, inner: usize, outer: usize) {
        let ([rows, columns], [height, width]) = (self.size, self.padded());
        let want = [elements([self.planes, rows, columns]), elements([self.planes, height, width])];
        assert!([inner, outer] == want, "{inner} and {outer} elements, {want:?} expected");
    }

    /// Where row `row` of an input plane lies in the output plane.
    fn row(&self, row: usize) -> std::ops::Range<usize> {
        let start = (self.before[0] + row) * self.padded()[1] + self.before[1];
        start..start + self.size[1]
    }
}

/// The forward pass: copies the planes, with `value` around each.
///
/// # Panics
/// If a length does not match `shape`.
pub fn pad(shape: &PadShape, value: f32, input: &[f32], output: &mut [f32]) {
    shape.check(input.len(), output.len());
    let ([rows, columns], [height, width]) = (shape.size, shape.padded());
    if input.is_empty() {
        output.fill(value);
        return;
    }
    let planes = output.par_chunks_mut(height * width).zip(input.par_chunks(rows * columns));
    planes.with_min_len(planes_per_task(height * width)).for_each(|(output, input)| {
        output.fill(value);
        for (row, input) in input.chunks_exact(columns).enumerate() {
            output[shape.row(row)].copy_from_slice(input);
        }
    });
}

/// The gradient by the input; overwritten.
///
/// # Panics
/// If a length does not match `shape`.
pub fn pad_backward(shape: &PadShape, output_grad: &[f32], input_grad: &mut [f32]) {
    shape.check(input_grad.len(), output_grad.len());
    let ([rows, columns], [height, width]) = (shape.size, shape.padded());
    if input_grad.is_empty() {
        return;
    }
    let planes =
        input_grad.par_chunks_mut(rows * columns).zip(output_grad.par_chunks(height * width));
    planes.with_min_len(planes_per_task(height * width)).for_each(|(to, from)| {
        for (row, to) in to.chunks_exact_mut(columns).enumerate() {
            to.copy_from_slice(&from[shape.row(row)]);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Seeded;

    #[test]
    fn the_inside_is_the_input_and_its_gradient_comes_back() {
        for (planes, size, before, after) in
            [(2, [3, 4], [1, 0], [2, 5]), (1, [1, 1], [0, 0], [0, 0]), (0, [2, 2], [1, 1], [1, 1])]
        {
            let shape = PadShape { planes, size, before, after };
            let x = Seeded(3).values(planes * size[0] * size[1]);
            let [height, width] = shape.padded();
            let mut y = vec![f32::NAN; planes * height * width];
            pad(&shape, 7.0, &x, &mut y);
            let mut back = vec![f32::NAN; x.len()];
            pad_backward(&shape, &y, &mut back);
            assert_eq!(back, x);
            let border = y.iter().filter(|&&y| y == 7.0).count();
            assert_eq!(border, y.len() - x.len());
        }
    }
}
