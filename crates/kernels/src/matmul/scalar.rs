//! The product straight from its formula, in `f64`: the reference of the tests.

use super::view::Matrix;

/// `left · right`, `[rows, columns]`.
///
/// # Panics
/// If the sizes do not fit.
#[must_use]
pub fn matmul(left: Matrix<'_>, right: Matrix<'_>) -> Vec<f64> {
    let ([rows, depth], [right_depth, columns]) = (left.sizes(), right.sizes());
    assert!(depth == right_depth, "factors of {depth} and {right_depth}");
    let product = |row: usize, column: usize| -> f64 {
        (0..depth).map(|k| f64::from(left.at(row, k)) * f64::from(right.at(k, column))).sum()
    };
    (0..rows).flat_map(|row| (0..columns).map(move |column| product(row, column))).collect()
}
