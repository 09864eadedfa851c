//! Products with a right factor that is packed once: weights of frozen layers, above all where few
//! rows meet many weights, as in decoding.

use super::blocks::{Blocks, chunk};
use super::pack::{pack_right_into, panels_len};
use super::view::Matrix;
use crate::isa::Isa;
use crate::scratch::Aligned;

/// A right factor in the order in which products read it, for the instruction set in use.
pub struct PackedMatrix {
    pub(super) isa: Isa,
    /// Depth and columns.
    pub(super) sizes: [usize; 2],
    /// Panels of all columns, for each part of the depth.
    pub(super) slabs: Vec<Aligned>,
}

impl PackedMatrix {
    /// A copy of `right`, `[depth, columns]`.
    #[must_use]
    pub fn new(right: Matrix<'_>) -> Self {
        Self::new_on(Isa::active(), right)
    }

    pub(crate) fn new_on(isa: Isa, right: Matrix<'_>) -> Self {
        let sizes @ [depth, columns] = right.sizes();
        let slabs = Blocks::new([0, columns, depth], isa.lanes()).depth_slabs;
        let pack = |slab| {
            let part = right.part(chunk(depth, slabs, slab), 0..columns);
            let mut panels = Aligned::zeros(panels_len(part.sizes(), isa.lanes()));
            pack_right_into(isa, part, &mut panels);
            panels
        };
        Self { isa, sizes, slabs: (0..slabs).map(pack).collect() }
    }

    /// Depth and columns.
    #[must_use]
    pub fn sizes(&self) -> [usize; 2] {
        self.sizes
    }
}

impl std::fmt::Debug for PackedMatrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PackedMatrix {:?}", self.sizes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matmul::{Finish, MatrixMut, matmul_on, matmul_packed};
    use crate::testing::{Seeded, assert_same_for_any_threads};

    #[test]
    fn equals_the_product_that_packs_anew_to_the_last_bit() {
        // More than one part of the depth, and of the columns.
        let sizes = [[1, 1, 1], [1, 576, 300], [3, 17, 257], [16, 33, 70], [130, 40, 600]];
        for isa in Isa::available() {
            for [rows, columns, depth] in sizes.into_iter().chain([[2, 40, 8200], [1, 20_000, 300]])
            {
                let mut seeded = Seeded(rows as u64);
                let (left, right) = (seeded.values(rows * depth), seeded.values(columns * depth));
                let residual = seeded.values(rows * columns);
                let left = Matrix::new(&left, [rows, depth]);
                let right = Matrix::new(&right, [columns, depth]).transposed();
                let packed = PackedMatrix::new_on(isa, right);
                assert_eq!(packed.sizes(), [depth, columns]);
                let finish = || Finish::Residual { bias: None, residual: &residual };
                let [mut got, mut want] = [(); 2].map(|()| vec![f32::NAN; rows * columns]);
                matmul_packed(left, &packed, finish(), MatrixMut::new(&mut got, [rows, columns]));
                let output = MatrixMut::new(&mut want, [rows, columns]);
                matmul_on(isa, left, right, finish(), output);
                assert_eq!(got, want, "{rows} {columns} {depth}");
                matmul_packed(
                    left,
                    &packed,
                    Finish::Add,
                    MatrixMut::new(&mut got, [rows, columns]),
                );
                let output = MatrixMut::new(&mut want, [rows, columns]);
                matmul_on(isa, left, right, Finish::Add, output);
                assert_eq!(got, want, "added: {rows} {columns} {depth}");
            }
        }
    }

    #[test]
    fn a_row_does_not_depend_on_the_others_or_on_threads() {
        let mut seeded = Seeded(3);
        let (rows, columns, depth) = (29, 530, 577);
        let (left, right) = (seeded.values(rows * depth), seeded.values(columns * depth));
        let packed = PackedMatrix::new(Matrix::new(&right, [columns, depth]).transposed());
        let product = |rows: std::ops::Range<usize>| {
            let mut output = vec![0.0; rows.len() * columns];
            let sizes = [rows.len(), columns];
            let left = &left[rows.start * depth..rows.end * depth];
            let left = Matrix::new(left, [rows.len(), depth]);
            matmul_packed(left, &packed, Finish::Store, MatrixMut::new(&mut output, sizes));
            output
        };
        let all = product(0..rows);
        for row in 0..rows {
            assert_eq!(product(row..row + 1), all[row * columns..][..columns], "{row}");
        }
        assert_same_for_any_threads("matmul_packed", || product(0..rows));
    }
}
