//! Matrices side by side, each transposed: maps `[channels, positions]` as rows of positions and back.
//!
//! ```text
//! y[b, j, i] = x[b, i, j]
//! ```
//!
//! # Threads
//! Matrices are spread over rayon's current pool; nothing is summed.

use rayon::prelude::*;

use crate::parallel::ELEMENTS_PER_TASK;

/// Rows of a block that is copied at a time, so that both sides stay in the cache.
const BLOCK: usize = 16;

/// Transposes each matrix of `input`, `rows × columns`, into `output`, `columns × rows`.
///
/// # Panics
/// If the lengths differ, or are no multiple of a matrix.
pub fn transpose(rows: usize, columns: usize, input: &[f32], output: &mut [f32]) {
    assert_eq!(input.len(), output.len(), "source and target have different lengths");
    let size = crate::sizes::elements([rows, columns]);
    if input.is_empty() {
        return;
    }
    assert!(size > 0 && input.len().is_multiple_of(size), "whole matrices {rows} × {columns}");
    let matrices = output.par_chunks_mut(size).zip(input.par_chunks(size));
    matrices.with_min_len((ELEMENTS_PER_TASK / size).max(1)).for_each(|(output, input)| {
        for top in (0..rows).step_by(BLOCK) {
            let bottom = (top + BLOCK).min(rows);
            for column in 0..columns {
                for row in top..bottom {
                    output[column * rows + row] = input[row * columns + column];
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Seeded;

    #[test]
    fn rows_become_columns_and_twice_is_nothing() {
        for (matrices, rows, columns) in [(2, 3, 5), (1, 1, 4), (3, 40, 33), (0, 2, 2)] {
            let x = Seeded(1).values(matrices * rows * columns);
            let (mut y, mut back) = (vec![0.0; x.len()], vec![0.0; x.len()]);
            transpose(rows, columns, &x, &mut y);
            for (at, &value) in x.iter().enumerate() {
                let (matrix, row, column) =
                    (at / (rows * columns), at / columns % rows, at % columns);
                assert_eq!(y[(matrix * columns + column) * rows + row], value);
            }
            transpose(columns, rows, &y, &mut back);
            assert_eq!(back, x);
        }
    }
}
