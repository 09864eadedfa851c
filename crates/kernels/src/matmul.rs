//! Matrix products, blocked and packed, with what follows them fused at the store.
//!
//! ```text
//! product[i,j] = sum_k left[i,k] right[k,j]
//! ```
//! Either factor may be read [transposed](Matrix::transposed), which gives NN, NT, TN and TT, and
//! rows may lie further apart than they are long. What becomes of the product says [`Finish`].
//!
//! # Algorithm
//! Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", 2008: the right
//! factor is packed into panels of two vectors, slab by slab; a task takes a block of rows and
//! columns, packs its part of the left factor and walks over register tiles, whose sums stay in
//! registers for one block of the depth. Memory: a slab of at most 16 MiB, half a MiB a thread.
//!
//! # Error
//! A block of the depth (at most 256 products) is summed by fused multiply-adds in order, the blocks
//! are added in order: below `(256 + depth / 256 + 3) 2^-24` of the sum of absolute products.
//!
//! # Threads
//! The shape alone cuts the work into tasks, and each output is one task's: results do not depend on
//! the number of threads.

mod blocks;
pub(crate) mod finish;
pub(crate) mod pack;
mod packed;
pub mod scalar;
#[cfg(test)]
mod tests;
pub(crate) mod tile;
mod view;

use std::ops::Range;

use rayon::prelude::*;

pub use self::finish::Finish;
pub use self::packed::PackedMatrix;
pub use self::view::{Matrix, MatrixMut};

use self::blocks::{Blocks, chunk};
use self::finish::Finisher;
use self::pack::{pack_left, pack_right};
use self::tile::{BLOCK, PITCH, strip};
use crate::isa::{Isa, Kernel};
use crate::parallel::SharedMut;
use crate::scratch::Scratch;
use crate::simd::Simd;

/// The product of two matrices; see the [module](self).
///
/// # Panics
/// If the sizes of the factors, the output or `finish` do not fit each other.
///
/// ```
/// use faculty_kernels::matmul::{Finish, Matrix, MatrixMut, matmul};
/// let (tokens, weight) = ([1.0, 2.0, 3.0, 4.0], [1.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
/// let mut output = [0.0; 6];
/// // Two tokens of two values through a layer of three outputs, weight `[outputs, inputs]`.
/// matmul(
///     Matrix::new(&tokens, [2, 2]),
///     Matrix::new(&weight, [3, 2]).transposed(),
///     Finish::Bias { bias: &[10.0, 20.0, 30.0] },
///     MatrixMut::new(&mut output, [2, 3]),
/// );
/// assert_eq!(output, [11.0, 22.0, 33.0, 13.0, 24.0, 37.0]);
/// ```
pub fn matmul(left: Matrix<'_>, right: Matrix<'_>, finish: Finish<'_>, output: MatrixMut<'_>) {
    matmul_on(Isa::active(), left, right, finish, output);
}

pub(crate) fn matmul_on(
    isa: Isa,
    left: Matrix<'_>,
    right: Matrix<'_>,
    finish: Finish<'_>,
    output: MatrixMut<'_>,
) {
    let Some(product) = Product::new(isa, left, right.sizes(), finish, output) else { return };
    for slab in 0..product.blocks.depth_slabs {
        for columns in product.blocks.column_slabs() {
            let panels = pack_right(isa, right.part(product.depth(slab), columns.clone()));
            product.run(slab, columns, &panels);
        }
    }
}

/// The product with a packed right factor: as [`matmul`] to the last bit, for any number
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
    let PackedMatrix { isa, sizes, ref slabs } = *right;
    let Some(product) = Product::new(isa, left, sizes, finish, output) else { return };
    for (slab, panels) in slabs.iter().enumerate() {
        product.run(slab, 0..sizes[1], panels);
    }
}

/// Rows, columns and depth of a product.
///
/// # Panics
/// If the sizes of the factors and the output do not fit each other.
#[track_caller]
pub(crate) fn product_sizes(left: [usize; 2], right: [usize; 2], output: [usize; 2]) -> [usize; 3] {
    let ([rows, depth], [right_depth, columns]) = (left, right);
    assert!(
        depth == right_depth,
        "the left factor has {depth} columns, the right one {right_depth} rows"
    );
    assert!(output == [rows, columns], "the output is {output:?}, the product [{rows}, {columns}]");
    [rows, columns, depth]
}

/// A product whose right factor comes in packed slabs.
struct Product<'a> {
    isa: Isa,
    left: Matrix<'a>,
    blocks: Blocks,
    target: SharedMut<'a>,
    pitch: usize,
    /// To what stands in the output already.
    adds: bool,
    finisher: Finisher<'a>,
}

impl<'a> Product<'a> {
    /// Nothing where the output is empty.
    ///
    /// # Panics
    /// If the sizes of the factors, the output or `finish` do not fit each other.
    #[track_caller]
    fn new(
        isa: Isa,
        left: Matrix<'a>,
        right: [usize; 2],
        finish: Finish<'a>,
        output: MatrixMut<'a>,
    ) -> Option<Self> {
        let sizes @ [rows, columns, _] = product_sizes(left.sizes(), right, output.sizes());
        let adds = matches!(finish, Finish::Add);
        let finisher = Finisher::new(finish, [rows, columns]);
        let (blocks, pitch) = (Blocks::new(sizes, isa.lanes()), output.pitch());
        (rows > 0 && columns > 0).then(|| {
            let target = SharedMut::new(output.into_slice());
            Self { isa, left, blocks, target, pitch, adds, finisher }
        })
    }

    /// The depth of a slab.
    fn depth(&self, slab: usize) -> Range<usize> {
        chunk(self.left.sizes()[1], self.blocks.depth_slabs, slab)
    }

    /// Multiplies a slab of the right factor, of these columns.
    fn run(&self, slab: usize, columns: Range<usize>, panels: &[f32]) {
        let depth = self.depth(slab);
        let tasks = self.blocks.tasks(columns.len());
        (0..tasks.count()).into_par_iter().for_each(|task| {
            let (task_rows, task_columns) = tasks.at(task);
            self.isa.run(Task {
                left: self.left.part(task_rows.clone(), depth.clone()),
                panels: &panels[task_columns.start * depth.len()..],
                columns: task_columns.len(),
                target: self.target,
                pitch: self.pitch,
                origin: [task_rows.start, columns.start + task_columns.start],
                adds: self.adds || slab > 0,
                finisher: (slab + 1 == self.blocks.depth_slabs).then_some(&self.finisher),
            });
        });
    }
}

/// One block of rows and columns of the output, over the depth of a slab.
struct Task<'a> {
    left: Matrix<'a>,
    /// From the task's first column on.
    panels: &'a [f32],
    columns: usize,
    target: SharedMut<'a>,
    pitch: usize,
    /// First row and column in the output.
    origin: [usize; 2],
    /// To what stands in the output already.
    adds: bool,
    /// With the last slab.
    finisher: Option<&'a Finisher<'a>>,
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let [rows, depth] = self.left.sizes();
        let mut packed = Scratch::take(rows * PITCH);
        let passes = depth.div_ceil(PITCH).max(1);
        let [first_row, first_column] = self.origin;
        for pass in 0..passes {
            let part = chunk(depth, passes, pass);
            pack_left(simd, self.left.part(0..rows, part.clone()), &mut packed);
            let mut row = 0;
            while row < rows {
                let tall = strip::<S>(rows - row);
                let from = (first_row + row) * self.pitch + first_column;
                let target = self.target.start_of(from, (tall - 1) * self.pitch + self.columns);
                // SAFETY: `packed` has `PITCH` floats a row, `panels` the slab's depth times the
                // columns rounded up to vectors, and the target `tall` rows by the check of
                // `start_of`; no other task has these rows and columns.
                unsafe {
                    tile::strip_of_tiles(
                        simd,
                        tall,
                        packed.as_ptr().add(row * PITCH),
                        part.len(),
                        tile::Panels {
                            start: self.panels.as_ptr(),
                            depth,
                            first: part.start,
                            columns: self.columns,
                        },
                        tile::Target {
                            start: target,
                            pitch: self.pitch,
                            adds: self.adds || pass > 0,
                        },
                    );
                }
                if let (Some(finisher), true) = (self.finisher, pass + 1 == passes) {
                    for row in row..row + tall {
                        let from = (first_row + row) * self.pitch + first_column;
                        // SAFETY: the rows and columns of this task, and no other part is alive.
                        let values = unsafe { self.target.part(from, self.columns) };
                        finisher.row::<S>([first_row + row, first_column], values);
                    }
                }
                row += tall;
            }
        }
    }
}

const _: () = assert!(BLOCK == 2, "the module's documentation says two vectors");
