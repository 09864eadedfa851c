//! Rows of a head, as they lie among the rows of all heads, packed for products.

use crate::matmul::pack::{copy_rows, transpose_columns};
use crate::matmul::tile::{BLOCK, PITCH};
use crate::simd::Simd;

/// Rows as columns of the right factor: panels `[width][rows]`.
#[inline(always)]
pub(super) fn as_columns<S: Simd>(
    simd: S,
    from: &[f32],
    pitch: usize,
    [rows, width]: [usize; 2],
    panels: &mut [f32],
) {
    let panel = BLOCK * S::LANES;
    for first in (0..rows).step_by(panel) {
        let columns = panel.min(rows - first);
        let padded = columns.next_multiple_of(S::LANES);
        let to = &mut panels[first * width..][..padded * width];
        transpose_columns(simd, &from[first * pitch..], pitch, [width, columns], to, padded);
    }
}

/// Rows as rows of the right factor: panels `[rows][width]`.
#[inline(always)]
pub(super) fn as_rows<S: Simd>(
    simd: S,
    from: &[f32],
    pitch: usize,
    [rows, width]: [usize; 2],
    panels: &mut [f32],
) {
    let panel = BLOCK * S::LANES;
    for first in (0..width).step_by(panel) {
        let columns = panel.min(width - first);
        let padded = columns.next_multiple_of(S::LANES);
        let to = &mut panels[first * rows..][..padded * rows];
        copy_rows(simd, &from[first..], pitch, [rows, columns], to, padded);
    }
}

/// Rows as rows of the left factor, times `factor`.
#[inline(always)]
pub(super) fn as_left(
    from: &[f32],
    pitch: usize,
    [rows, width]: [usize; 2],
    factor: f32,
    packed: &mut [f32],
) {
    for row in 0..rows {
        let to = &mut packed[row * PITCH..][..width];
        for (to, x) in to.iter_mut().zip(&from[row * pitch..][..width]) {
            *to = factor * x;
        }
    }
}
