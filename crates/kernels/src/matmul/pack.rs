//! Packing: the left factor into rows at a constant distance, the right one into panels.

use rayon::prelude::*;

use super::tile::{BLOCK, PITCH};
use super::view::Matrix;
use crate::isa::{Isa, Kernel};
use crate::parallel::ELEMENTS_PER_TASK;
use crate::scratch::Scratch;
use crate::simd::Simd;
use crate::sizes;

/// Copies squares of a matrix whose columns are contiguous, so that row `r` goes to
/// `packed[r * pitch..]`: `from` element `(r, k)` at `k * stride + r`.
#[inline(always)]
fn transpose<S: Simd>(
    simd: S,
    from: &[f32],
    stride: usize,
    [rows, depth]: [usize; 2],
    packed: &mut [f32],
    pitch: usize,
) {
    if rows == 0 || depth == 0 {
        return;
    }
    assert!((depth - 1) * stride + rows <= from.len(), "the source ends early");
    assert!(depth <= pitch && (rows - 1) * pitch + depth <= packed.len(), "the target ends early");
    if rows < S::LANES || depth < S::LANES {
        for r in 0..rows {
            for k in 0..depth {
                packed[r * pitch + k] = from[k * stride + r];
            }
        }
        return;
    }
    let mut offsets = [0; 16];
    for lane in 0..S::LANES {
        offsets[lane] = lane * pitch;
    }
    // The last square goes back over what is done: the same values again.
    for r in (0..rows).step_by(S::LANES) {
        let r = r.min(rows - S::LANES);
        for k in (0..depth).step_by(S::LANES) {
            let k = k.min(depth - S::LANES);
            // SAFETY: the square ends inside source and target by the two `min` and the
            // assertions.
            unsafe {
                let from = from.as_ptr().add(k * stride + r);
                let to = packed.as_mut_ptr().add(r * pitch + k);
                simd.transpose(from, stride, to, offsets.as_ptr());
            }
        }
    }
}

/// Rows of the left factor, at most `PITCH` deep, `PITCH` floats apart.
#[inline(always)]
pub(super) fn pack_left<S: Simd>(simd: S, left: Matrix<'_>, packed: &mut [f32]) {
    let [rows, depth] = left.sizes();
    if left.is_transposed() {
        let (data, strides) = left.raw();
        transpose(simd, data, strides[1], [rows, depth], packed, PITCH);
        return;
    }
    for row in 0..rows {
        packed[row * PITCH..][..depth].copy_from_slice(left.row(row));
    }
}

/// Floats of the panels of a factor of these sizes.
pub(crate) fn panels_len([depth, columns]: [usize; 2], lanes: usize) -> usize {
    sizes::elements([columns.next_multiple_of(lanes), depth])
}

/// The right factor in panels `[depth][BLOCK vectors]`, the last one perhaps of one vector; zeros
/// behind the last column.
pub(super) fn pack_right(isa: Isa, right: Matrix<'_>) -> Scratch {
    let mut panels = Scratch::take(panels_len(right.sizes(), isa.lanes()));
    pack_right_into(isa, right, &mut panels);
    panels
}

/// The same into memory of [`panels_len`] floats.
pub(super) fn pack_right_into(isa: Isa, right: Matrix<'_>, panels: &mut [f32]) {
    let [depth, columns] = right.sizes();
    if panels.is_empty() {
        return;
    }
    let width = BLOCK * isa.lanes();
    let len = width * depth;
    (panels.par_chunks_mut(len).with_min_len(ELEMENTS_PER_TASK / len)).enumerate().for_each(
        |(index, panel)| {
            let first = index * width;
            let part = right.part(0..depth, first..columns.min(first + width));
            isa.run(Panel { right: part, panel });
        },
    );
}

/// One panel.
struct Panel<'a> {
    right: Matrix<'a>,
    panel: &'a mut [f32],
}

impl Kernel for Panel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let [depth, columns] = self.right.sizes();
        let width = self.panel.len() / depth;
        if columns < width {
            self.panel.fill(0.0);
        }
        let (data, strides) = self.right.raw();
        if self.right.is_transposed() {
            transpose_columns(simd, data, strides[1], [depth, columns], self.panel, width);
        } else {
            copy_rows(simd, data, strides[0], [depth, columns], self.panel, width);
        }
    }
}

/// Column `c` of a panel from the contiguous floats at `c * stride`.
#[inline(always)]
pub(crate) fn transpose_columns<S: Simd>(
    simd: S,
    from: &[f32],
    stride: usize,
    [depth, columns]: [usize; 2],
    panel: &mut [f32],
    width: usize,
) {
    let whole = columns / S::LANES * S::LANES;
    // By vectors of columns, so that squares stay in the first cache; what is left by floats.
    for column in (0..whole).step_by(S::LANES) {
        let (from, to) = (&from[column * stride..], &mut panel[column..]);
        transpose(simd, from, stride, [depth, S::LANES], to, width);
    }
    for column in whole..columns {
        for (k, &x) in from[column * stride..][..depth].iter().enumerate() {
            panel[k * width + column] = x;
        }
    }
}

/// Row `k` of a panel from the contiguous floats at `k * stride`.
#[inline(always)]
pub(crate) fn copy_rows<S: Simd>(
    simd: S,
    from: &[f32],
    stride: usize,
    [depth, columns]: [usize; 2],
    panel: &mut [f32],
    width: usize,
) {
    let whole = columns / S::LANES * S::LANES;
    assert!(whole <= width && panel.len() >= depth * width, "the panel ends early");
    for k in 0..depth {
        let row = &from[k * stride..][..columns];
        for column in (0..whole).step_by(S::LANES) {
            // SAFETY: inside the row, and inside the panel by the assertion.
            unsafe {
                let x = simd.load(row.as_ptr().add(column));
                simd.store(panel.as_mut_ptr().add(k * width + column), x);
            }
        }
        panel[k * width + whole..][..columns - whole].copy_from_slice(&row[whole..]);
    }
}
