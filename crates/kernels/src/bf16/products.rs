//! What every way to compute products of bfloat16 tiles offers.

use super::convert::{round, widen};
use super::maps::{CHANNELS, IMAGES};
use crate::simd::Simd;

/// Floats of a tile of sums: 16 rows × 16 columns.
pub(super) const SUMS: usize = 256;

/// Two tiles of left factors and one or two of right ones, side by side, as offsets in bytes.
///
/// A tile of left factors is `[row][32]`. A tile of right factors is `[16][column][2]`: pairs of
/// neighbours along the depth of 32 lie together.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Step {
    pub(super) left: [u32; 2],
    pub(super) right: u32,
}

/// Sums of products of tiles: `targets[l][half] [+]= sum over steps of left[l] · right[half]`.
#[derive(Clone, Copy)]
pub(super) struct Quad<'a> {
    pub(super) steps: &'a [Step],
    pub(super) left: *const u16,
    pub(super) right: *const u16,
    /// For each left tile one or two tiles of sums `[row][16]` behind each other.
    pub(super) targets: [*mut f32; 2],
    /// Rows of the left tiles and of the sums, those that were configured.
    pub(super) rows: usize,
    /// Tiles on the right, 1 or 2.
    pub(super) halves: usize,
    /// To what stands in the targets.
    pub(super) adds: bool,
}

/// What becomes of the sums of a position: 32 channels of up to 16 images, rounded to bfloat16.
#[derive(Clone, Copy)]
pub(super) struct Store {
    /// One or two tiles of sums.
    pub(super) sums: *const f32,
    pub(super) halves: usize,
    pub(super) rows: usize,
    /// Of 32 channels.
    pub(super) bias: *const f32,
    /// A tile that is added.
    pub(super) residual: Option<*const u16>,
    pub(super) relu: bool,
    /// The tile that is written.
    pub(super) target: *mut u16,
}

/// One way to compute. A value of the implementing type proves that this machine has it.
pub(super) trait Products: Copy {
    /// Its vectors of `f32`.
    type Vectors: Simd;

    fn vectors(self) -> Self::Vectors;

    /// # Safety
    /// The tiles of all steps are readable, `rows` rows of all targets writable (and readable where
    /// `adds` is set); the engine runs with these rows.
    unsafe fn quad(self, quad: Quad<'_>);

    /// Rounds 32 floats.
    ///
    /// # Safety
    /// 32 floats are readable at `from`, 32 values writable at `to`.
    #[inline(always)]
    unsafe fn round(self, from: *const f32, to: *mut u16) {
        for i in 0..CHANNELS {
            // SAFETY: the caller's promise.
            unsafe { *to.add(i) = round(*from.add(i)) };
        }
    }

    /// Pairs of images of 16 of a tile's 32 channels, `[8 pairs][16 channels][2]`; images that are
    /// not there are zero.
    ///
    /// # Safety
    /// A tile is readable at `from`, half a one writable at `to`.
    #[inline(always)]
    unsafe fn pair(self, from: *const u16, images: usize, half: usize, to: *mut u16) {
        for image in 0..IMAGES {
            for channel in 0..16 {
                let at = image / 2 * 32 + channel * 2 + image % 2;
                // SAFETY: the caller's promise.
                unsafe {
                    let value = *from.add(image * CHANNELS + half * 16 + channel);
                    *to.add(at) = if image < images { value } else { 0 };
                }
            }
        }
    }

    /// A tile turned: 32 rows of 16 images, the rows 32 values apart; images that are not there are
    /// zero.
    ///
    /// # Safety
    /// A tile is readable at `from`, 32 rows writable at `to`.
    #[inline(always)]
    unsafe fn turn(self, from: *const u16, images: usize, to: *mut u16) {
        for channel in 0..CHANNELS {
            for image in 0..IMAGES {
                // SAFETY: the caller's promise.
                unsafe {
                    let value = *from.add(image * CHANNELS + channel);
                    *to.add(channel * 32 + image) = if image < images { value } else { 0 };
                }
            }
        }
    }

    /// A tile turned by pairs: row `i` of the result has pair `i` of each of 16 rows; rows that are not
    /// there are zero.
    ///
    /// # Safety
    /// A tile is readable at `from`, and writable at `to`.
    #[inline(always)]
    unsafe fn turn_pairs(self, from: *const u16, rows: usize, to: *mut u16) {
        let (from, to) = (from.cast::<u32>(), to.cast::<u32>());
        for row in 0..16 {
            for pair in 0..16 {
                // SAFETY: the caller's promise; both are 16 rows of 16 pairs.
                unsafe {
                    let value = from.add(row * 16 + pair).read_unaligned();
                    let value = if row < rows { value } else { 0 };
                    to.add(pair * 16 + row).write_unaligned(value);
                }
            }
        }
    }

    /// # Safety
    /// What `store` points to is readable or writable: tiles of sums, 32 floats, whole tiles.
    #[inline(always)]
    unsafe fn store(self, store: Store) {
        let mut row = [0.0; CHANNELS];
        for image in 0..store.rows {
            for (i, value) in row.iter_mut().enumerate().take(16 * store.halves) {
                // SAFETY: the caller's promise.
                unsafe {
                    let sum = *store.sums.add(i / 16 * SUMS + image * 16 + i % 16);
                    *value = sum + *store.bias.add(i);
                    if let Some(residual) = store.residual {
                        *value += widen(*residual.add(image * CHANNELS + i));
                    }
                }
                if store.relu && *value < 0.0 {
                    *value = 0.0;
                }
            }
            // SAFETY: the caller's promise.
            unsafe { self.round(row.as_ptr(), store.target.add(image * CHANNELS)) };
        }
    }
}

/// A body that is compiled once for every way to compute.
///
/// `run` and everything it calls must be `#[inline(always)]`, as for
/// [`Kernel`](crate::isa::Kernel); it must not leave its thread.
pub(super) trait TileKernel {
    fn run<P: Products>(self, products: P);
}
