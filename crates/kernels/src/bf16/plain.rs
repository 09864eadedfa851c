//! Products of bfloat16 tiles in registers, several rows at a time: of factors widened to `f32`, or
//! by an instruction for pairs.

use super::maps::CHANNELS;
use super::products::{Products, Quad, SUMS};
use crate::simd::Simd;

/// Bytes of a row of a tile.
const ROW: usize = 64;
/// Pairs along the depth of a tile.
const PAIRS: usize = 16;

/// The sums of 16 columns, in one or two vectors.
pub(super) trait Columns: Copy {
    /// Sums of 16 columns.
    type Sums: Copy;
    /// 16 pairs of right factors.
    type Pairs: Copy;
    /// Vector registers; sizes the blocks of rows.
    const REGISTERS: usize;

    fn zero(self) -> Self::Sums;
    /// `sums + left[0] · right[..][0] + left[1] · right[..][1]`, the pairs as two halves of 32 bits.
    fn dot(self, sums: Self::Sums, left: u32, right: Self::Pairs) -> Self::Sums;
    /// # Safety
    /// 16 pairs are readable.
    unsafe fn pairs(self, from: *const u32) -> Self::Pairs;
    /// # Safety
    /// 16 floats are readable.
    unsafe fn load(self, from: *const f32) -> Self::Sums;
    /// # Safety
    /// 16 floats are writable.
    unsafe fn store(self, to: *mut f32, sums: Self::Sums);
}

/// As [`Products::quad`].
///
/// # Safety
/// As there.
#[inline(always)]
pub(super) unsafe fn quad<C: Columns>(columns: C, quad: Quad<'_>) {
    let rows = quad.rows;
    for left in 0..2 {
        let mut row = 0;
        // SAFETY: the caller's promise; the rows of a block are below `rows`.
        unsafe {
            if C::REGISTERS >= 32 {
                while rows - row >= 8 {
                    block::<C, 8>(columns, &quad, left, row);
                    row += 8;
                }
            }
            while rows - row >= 2 {
                block::<C, 2>(columns, &quad, left, row);
                row += 2;
            }
            if row < rows {
                block::<C, 1>(columns, &quad, left, row);
            }
        }
    }
}

/// `ROWS` rows of one left tile against all right ones.
///
/// # Safety
/// As for [`quad`].
#[inline(always)]
unsafe fn block<C: Columns, const ROWS: usize>(
    columns: C,
    quad: &Quad<'_>,
    left: usize,
    row: usize,
) {
    // SAFETY: the caller's promise covers all tiles and rows.
    unsafe {
        for half in 0..quad.halves {
            let target = quad.targets[left].add(half * SUMS + row * 16);
            let mut sums = [columns.zero(); ROWS];
            if quad.adds {
                for r in 0..ROWS {
                    sums[r] = columns.load(target.add(r * 16));
                }
            }
            for step in quad.steps {
                let from = quad.left.byte_add(step.left[left] as usize + row * ROW);
                let right = quad.right.byte_add(step.right as usize + half * PAIRS * ROW);
                for pair in 0..PAIRS {
                    let pairs = columns.pairs(right.byte_add(pair * ROW).cast());
                    for r in 0..ROWS {
                        let left = *from.byte_add(r * ROW).cast::<u32>().add(pair);
                        sums[r] = columns.dot(sums[r], left, pairs);
                    }
                }
            }
            for r in 0..ROWS {
                columns.store(target.add(r * 16), sums[r]);
            }
        }
    }
}

/// Factors widened to `f32`.
#[derive(Clone, Copy)]
pub(super) struct Plain<S>(pub(super) S);

impl<S: Simd> Columns for Plain<S> {
    type Sums = [S::V; 2];
    type Pairs = [(S::V, S::V); 2];
    const REGISTERS: usize = S::REGISTERS;

    #[inline(always)]
    fn zero(self) -> Self::Sums {
        [self.0.splat(0.0); 2]
    }
    #[inline(always)]
    fn dot(self, mut sums: Self::Sums, left: u32, right: Self::Pairs) -> Self::Sums {
        let first = self.0.splat(f32::from_bits(left << 16));
        let second = self.0.splat(f32::from_bits(left & 0xFFFF_0000));
        for v in 0..16 / S::LANES {
            let sum = self.0.mul_add(first, right[v].0, sums[v]);
            sums[v] = self.0.mul_add(second, right[v].1, sum);
        }
        sums
    }
    #[inline(always)]
    unsafe fn pairs(self, from: *const u32) -> Self::Pairs {
        let mut pairs = [(self.0.splat(0.0), self.0.splat(0.0)); 2];
        for v in 0..16 / S::LANES {
            // SAFETY: the caller promises 16 pairs.
            pairs[v] = unsafe { self.0.load_pairs(from.add(v * S::LANES)) };
        }
        pairs
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::Sums {
        let mut sums = self.zero();
        for v in 0..16 / S::LANES {
            // SAFETY: the caller promises 16 floats.
            sums[v] = unsafe { self.0.load(from.add(v * S::LANES)) };
        }
        sums
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, sums: Self::Sums) {
        for v in 0..16 / S::LANES {
            // SAFETY: the caller promises 16 floats.
            unsafe { self.0.store(to.add(v * S::LANES), sums[v]) };
        }
    }
}

impl<S: Simd> Products for Plain<S> {
    type Vectors = S;

    #[inline(always)]
    fn vectors(self) -> S {
        self.0
    }
    #[inline(always)]
    unsafe fn quad(self, quad: Quad<'_>) {
        // SAFETY: the caller's promise.
        unsafe { self::quad(self, quad) }
    }
}

const _: () = assert!(ROW == 2 * CHANNELS);
