//! Products with a right factor that is packed once: weights of frozen layers, above all where few
//! rows meet many weights, as in decoding.

use rayon::prelude::*;

use super::Task;
use super::blocks::{Blocks, chunk};
use super::finish::{Finish, Finisher};
use super::pack::pack_right;
use super::view::{Matrix, MatrixMut};
use crate::isa::Isa;
use crate::parallel::SharedMut;
use crate::scratch::Aligned;

/// A right factor in the order in which products read it, for the instruction set in use.
pub struct PackedMatrix {
    isa: Isa,
    /// Depth and columns.
    sizes: [usize; 2],
    /// Panels of all columns, for each part of the depth.
    slabs: Vec<Aligned>,
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
            Aligned::copy_of(&pack_right(isa, right.part(chunk(depth, slabs, slab), 0..columns)))
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

/// The product with a packed right factor: as [`matmul`](super::matmul) to the last bit, for any number
/// of rows.
///
/// # Panics
/// If the sizes of the factors, the output or `finish` do not fit each other.
pub fn matmul_packed(
    left: Matrix<'_>,
    right: &PackedMatrix,
    finish: Finish<'_>,
    output: MatrixMut<'_>,
) {
    let PackedMatrix { isa, sizes: [right_depth, columns], ref slabs } = *right;
    let [rows, depth] = left.sizes();
    assert!(
        depth == right_depth,
        "the left factor has {depth} columns, the right one {right_depth} rows"
    );
    assert!(
        output.sizes() == [rows, columns],
        "the output is {:?}, the product [{rows}, {columns}]",
        output.sizes()
    );
    let adds = matches!(finish, Finish::Add);
    let finisher = Finisher::new(finish, [rows, columns]);
    if rows == 0 || columns == 0 {
        return;
    }
    let blocks = Blocks::new([rows, columns, depth], isa.lanes());
    let tasks = blocks.tasks(columns);
    let pitch = output.pitch();
    let target = SharedMut::new(output.into_slice());
    for (slab, panels) in slabs.iter().enumerate() {
        let depth = chunk(depth, slabs.len(), slab);
        (0..tasks.count()).into_par_iter().for_each(|task| {
            let (task_rows, task_columns) = tasks.at(task);
            isa.run(Task {
                left: left.part(task_rows.clone(), depth.clone()),
                panels: &panels[task_columns.start * depth.len()..],
                columns: task_columns.len(),
                target,
                pitch,
                origin: [task_rows.start, task_columns.start],
                adds: adds || slab > 0,
                finisher: (slab + 1 == slabs.len()).then_some(&finisher),
            });
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matmul::matmul_on;
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
