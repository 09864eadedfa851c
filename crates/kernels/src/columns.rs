//! Sums of the columns of a matrix: the gradient of everything that was added to all rows.

use rayon::prelude::*;

use crate::isa::{Isa, Kernel};
use crate::parallel::ELEMENTS_PER_TASK;
use crate::simd::Simd;
use crate::sizes;

/// Columns of one task: four cache lines of every row.
const COLUMNS: usize = 64;
/// Rows that are added in `f32` before the sums are widened.
const ROWS: usize = 64;

/// One task: all rows of some columns.
struct Sums<'a> {
    rows: usize,
    values: &'a [f32],
    pitch: usize,
    first: usize,
    sums: &'a mut [f32],
}

impl Kernel for Sums<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let columns = self.sums.len();
        let mut wide = [0.0_f64; COLUMNS];
        for start in (0..self.rows).step_by(ROWS) {
            let mut narrow = [0.0_f32; COLUMNS];
            for row in start..self.rows.min(start + ROWS) {
                let values = &self.values[row * self.pitch + self.first..][..columns];
                for (sum, x) in narrow.iter_mut().zip(values) {
                    *sum += x;
                }
            }
            for (wide, &narrow) in wide.iter_mut().zip(&narrow) {
                *wide += f64::from(narrow);
            }
        }
        for (sum, &wide) in self.sums.iter_mut().zip(&wide) {
            *sum = wide as f32;
        }
    }
}

/// `sums[j] = sum_i values[i, j]` of `rows` rows: 64 rows at a time in `f32`, those sums in `f64`,
/// each in order.
///
/// # Panics
/// If `values` is not `rows` times `sums` long.
pub fn column_sums(rows: usize, values: &[f32], sums: &mut [f32]) {
    let columns = sums.len();
    let (got, want) = (values.len(), sizes::elements([rows, columns]));
    assert!(got == want, "{got} values are not {rows} rows of {columns}");
    let isa = Isa::active();
    let min_tasks = ELEMENTS_PER_TASK / (COLUMNS * rows).max(1);
    sums.par_chunks_mut(COLUMNS).with_min_len(min_tasks).enumerate().for_each(|(task, sums)| {
        isa.run(Sums { rows, values, pitch: columns, first: task * COLUMNS, sums });
    });
}

#[cfg(test)]
mod tests {
    use super::column_sums;
    use crate::testing::{Seeded, assert_close};

    #[test]
    fn sums_are_those_of_the_columns() {
        for (rows, columns) in [(0, 3), (1, 1), (5, 63), (64, 64), (200, 130), (1000, 1)] {
            let values = Seeded(1).values(rows * columns);
            let mut sums = vec![f32::NAN; columns];
            column_sums(rows, &values, &mut sums);
            let column = |j: usize| (0..rows).map(|i| f64::from(values[i * columns + j])).sum();
            let want: Vec<f64> = (0..columns).map(column).collect();
            // 64 additions of values below 1.
            assert_close("sums", &sums, &want, 1e-7, 64.0 * 64.0 * 2_f64.powi(-24));
        }
    }
}
