//! Product of two matrices whose elements are rounded to bfloat16; factors, layouts and what becomes of
//! the product are those of [`matmul`](crate::matmul).
//!
//! # Algorithm
//! Both factors are rounded into tiles first, the right one as a whole, the left one by the task that
//! takes some of its rows; 32 rows × 32 columns stay in registers over the whole depth.
//!
//! # Threads
//! A task has some rows, so that results do not depend on the number of threads.

use std::ops::Range;

use rayon::prelude::*;

use super::engine::Engine;
use super::lines::ScratchValues;
use super::maps::{IMAGES, TILE};
use super::products::{Products, Quad, SUMS, Step, TileKernel};
use crate::matmul::finish::Finisher;
use crate::matmul::{Finish, Matrix, MatrixMut, product_sizes};
use crate::parallel::SharedMut;
use crate::sizes;

/// Rows and columns that are summed at once, and the depth of a tile.
const SIDE: usize = 32;
/// Values of two tiles.
const BOTH: usize = 2 * TILE;
/// Values of the left factor that a task lays out, so that they stay in a second cache.
const TASK: usize = 1 << 17;
/// Most rows of a task.
const TASK_ROWS: usize = 128;

/// The product of two matrices; see the [module](self).
///
/// # Panics
/// If the sizes of the factors, the output or `finish` do not fit each other.
pub fn matmul(left: Matrix<'_>, right: Matrix<'_>, finish: Finish<'_>, output: MatrixMut<'_>) {
    matmul_on(Engine::active(), left, right, finish, output);
}

pub(super) fn matmul_on(
    engine: Engine,
    left: Matrix<'_>,
    right: Matrix<'_>,
    finish: Finish<'_>,
    output: MatrixMut<'_>,
) {
    let [rows, columns, depth] = product_sizes(left.sizes(), right.sizes(), output.sizes());
    let adds = matches!(finish, Finish::Add);
    let finisher = Finisher::new(finish, [rows, columns]);
    if rows == 0 || columns == 0 {
        return;
    }
    let slabs = depth.div_ceil(SIDE);
    let panel = sizes::elements([slabs, BOTH]);
    assert!(2 * panel < u32::MAX as usize, "a depth of {depth} is more than offsets reach");
    let mut panels = ScratchValues::take(sizes::elements([columns.div_ceil(SIDE), panel]));
    if panel > 0 {
        panels.values_mut().par_chunks_exact_mut(panel).enumerate().for_each(|(index, panel)| {
            let columns = index * SIDE..columns.min((index + 1) * SIDE);
            engine.run(IMAGES, PackRight { factor: right.part(0..depth, columns), panel });
        });
    }
    let pitch = output.pitch();
    let target = SharedMut::new(output.into_slice());
    let tall = (TASK / (slabs.max(1) * SIDE) / SIDE * SIDE).clamp(SIDE, TASK_ROWS);
    (0..rows.div_ceil(tall)).into_par_iter().for_each(|task| {
        let rows = task * tall..rows.min((task + 1) * tall);
        let left = left.part(rows.clone(), 0..depth);
        let (panels, finisher) = (panels.values(), &finisher);
        let rows = Rows { left, rows, panels, panel, columns, target, pitch, adds, finisher };
        engine.run(IMAGES, rows);
    });
}

/// Rounds up to 32 values, the others become zero.
///
/// # Safety
/// 32 values are writable at `to`.
#[inline(always)]
unsafe fn round<P: Products>(products: P, from: &[f32], to: *mut u16) {
    // SAFETY: 32 floats are there, by the length or by the copy.
    unsafe {
        if from.len() == SIDE {
            products.round(from.as_ptr(), to);
        } else {
            let mut row = [0.0; SIDE];
            row[..from.len()].copy_from_slice(from);
            products.round(row.as_ptr(), to);
        }
    }
}

/// A run of up to 32 contiguous elements: along a row, or along a column of a transposed matrix.
#[inline(always)]
fn run<'a>(matrix: &Matrix<'a>, index: usize, elements: Range<usize>) -> &'a [f32] {
    let (data, [row, column]) = matrix.raw();
    let stride = if matrix.is_transposed() { column } else { row };
    &data[index * stride + elements.start..index * stride + elements.end]
}

/// 32 columns of the right factor as `[32 of the depth][half][16 pairs][16 columns][2]`.
struct PackRight<'a> {
    factor: Matrix<'a>,
    panel: &'a mut [u16],
}

impl TileKernel for PackRight<'_> {
    #[inline(always)]
    fn run<P: Products>(self, products: P) {
        let [depth, columns] = self.factor.sizes();
        // 16 rows of 32 values.
        let mut tile = [0; TILE];
        for (slab, to) in self.panel.chunks_exact_mut(BOTH).enumerate() {
            let here = slab * SIDE..depth.min((slab + 1) * SIDE);
            for half in 0..2 {
                if self.factor.is_transposed() {
                    // A row of the tile is a column of the factor.
                    let first = (half * IMAGES).min(columns);
                    let count = (columns - first).min(IMAGES);
                    for column in 0..count {
                        let from = run(&self.factor, first + column, here.clone());
                        // SAFETY: a row of the tile.
                        unsafe { round(products, from, tile.as_mut_ptr().add(column * SIDE)) };
                    }
                    let to = &mut to[half * TILE..][..TILE];
                    // SAFETY: a tile each.
                    unsafe { products.turn_pairs(tile.as_ptr(), count, to.as_mut_ptr()) };
                } else {
                    // A row of the tile is a row of the factor; its two halves become pairs.
                    let first = (here.start + half * IMAGES).min(here.end);
                    let count = (here.end - first).min(IMAGES);
                    for row in 0..count {
                        let from = run(&self.factor, first + row, 0..columns);
                        // SAFETY: a row of the tile.
                        unsafe { round(products, from, tile.as_mut_ptr().add(row * SIDE)) };
                    }
                    for side in 0..2 {
                        let to = &mut to[side * TILE + half * TILE / 2..][..TILE / 2];
                        // SAFETY: a tile and half a tile.
                        unsafe { products.pair(tile.as_ptr(), count, side, to.as_mut_ptr()) };
                    }
                }
            }
        }
    }
}

/// Some rows of the product.
struct Rows<'a> {
    left: Matrix<'a>,
    rows: Range<usize>,
    panels: &'a [u16],
    /// Values for 32 columns.
    panel: usize,
    columns: usize,
    target: SharedMut<'a>,
    pitch: usize,
    /// To what stands in the output already.
    adds: bool,
    finisher: &'a Finisher<'a>,
}

/// Sums of 32 rows × 32 columns.
#[repr(align(64))]
struct Sums([f32; 4 * SUMS]);

impl TileKernel for Rows<'_> {
    #[inline(always)]
    fn run<P: Products>(self, products: P) {
        let [rows, depth] = self.left.sizes();
        let slabs = depth.div_ceil(SIDE);
        let sides = rows.div_ceil(SIDE);
        let mut packed = ScratchValues::take(sides * slabs * BOTH);
        for side in 0..sides {
            for slab in 0..slabs {
                let rows = side * SIDE..rows.min((side + 1) * SIDE);
                let here = slab * SIDE..depth.min((slab + 1) * SIDE);
                let to = &mut packed.values_mut()[(side * slabs + slab) * BOTH..][..BOTH];
                pack_left(products, &self.left, rows, here, to);
            }
        }
        let step = |slab: usize| {
            let left = (2 * slab * BOTH) as u32;
            Step { left: [left, left + 2 * TILE as u32], right: left }
        };
        let steps: Vec<Step> = (0..slabs).map(step).collect();
        let mut sums = Sums([0.0; 4 * SUMS]);
        let targets = [sums.0.as_mut_ptr(), sums.0[2 * SUMS..].as_mut_ptr()];
        for block in 0..self.columns.div_ceil(SIDE) {
            let first = block * SIDE;
            let here = (self.columns - first).min(SIDE);
            for side in 0..sides {
                let quad = Quad {
                    steps: &steps,
                    left: packed.values()[side * slabs * BOTH..].as_ptr(),
                    right: self.panels[block * self.panel..].as_ptr(),
                    targets,
                    rows: IMAGES,
                    halves: here.div_ceil(16),
                    adds: false,
                };
                // SAFETY: two tiles on each side for every step, four tiles of sums.
                unsafe { products.quad(quad) };
                for row in side * SIDE..rows.min((side + 1) * SIDE) {
                    let (from, at) = (row % SIDE / 16 * 2 * SUMS, row % 16 * 16);
                    let row = self.rows.start + row;
                    // SAFETY: a row of this task; no other part is alive.
                    let to = unsafe { self.target.part(row * self.pitch + first, here) };
                    for (half, to) in to.chunks_mut(16).enumerate() {
                        let sums = &sums.0[from + half * SUMS + at..][..to.len()];
                        match self.adds {
                            true => to.iter_mut().zip(sums).for_each(|(to, sum)| *to += sum),
                            false => to.copy_from_slice(sums),
                        }
                    }
                    self.finisher.row::<P::Vectors>([row, first], to);
                }
            }
        }
    }
}

/// 32 rows and 32 of the depth as two tiles `[row][32]`; rows that are not there are arbitrary, of the
/// depth zero.
#[inline(always)]
fn pack_left<P: Products>(
    products: P,
    left: &Matrix<'_>,
    rows: Range<usize>,
    here: Range<usize>,
    to: &mut [u16],
) {
    assert!(to.len() == BOTH && rows.len() <= SIDE && here.len() <= SIDE);
    if !left.is_transposed() {
        for (index, row) in rows.enumerate() {
            // SAFETY: one of 32 rows.
            unsafe {
                round(products, run(left, row, here.clone()), to.as_mut_ptr().add(index * SIDE))
            };
        }
        return;
    }
    let mut tile = [0; TILE];
    for half in 0..2 {
        let first = (here.start + half * IMAGES).min(here.end);
        let count = (here.end - first).min(IMAGES);
        for place in 0..count {
            let from = run(left, first + place, rows.clone());
            // SAFETY: a row of the tile.
            unsafe { round(products, from, tile.as_mut_ptr().add(place * SIDE)) };
        }
        // SAFETY: a tile, and two tiles less the first `half * 16` values.
        unsafe { products.turn(tile.as_ptr(), count, to[half * IMAGES..].as_mut_ptr()) };
    }
}
