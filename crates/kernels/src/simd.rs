//! The few vector operations the micro-kernels need, as a trait the instruction sets implement.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
pub(crate) mod portable;

/// One instruction set. A value of the implementing type proves that the CPU has it.
pub(crate) trait Simd: Copy + Send + Sync {
    /// A vector of `LANES` floats.
    type V: Copy;
    /// Lanes of a vector; at most 16 and a multiple of 4.
    const LANES: usize;
    /// Vector registers; sizes the register tiles.
    const REGISTERS: usize;

    /// `x` in every lane.
    fn splat(self, x: f32) -> Self::V;
    /// `a + b`
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a - b`
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b`
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once where the CPU can.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `max(x, 0)`; NaN stays NaN.
    fn relu(self, x: Self::V) -> Self::V;
    /// `a * b + c` of single floats, rounded as [`mul_add`](Self::mul_add) does; loops over it
    /// become vector code.
    fn fused(a: f32, b: f32, c: f32) -> f32;

    /// Loads `LANES` floats.
    ///
    /// # Safety
    /// `LANES` floats at `from` are readable.
    unsafe fn load(self, from: *const f32) -> Self::V;
    /// Stores `LANES` floats.
    ///
    /// # Safety
    /// `LANES` floats at `to` are writable.
    unsafe fn store(self, to: *mut f32, v: Self::V);
    /// Widens `LANES` pairs of bfloat16 values, the first of each in the lower half of 32 bits: all
    /// first ones, all second ones.
    ///
    /// # Safety
    /// `LANES` pairs at `from` are readable.
    unsafe fn load_pairs(self, from: *const u32) -> (Self::V, Self::V);
    /// Transposes a square: element `lane` of source row `i` at `from + i * stride` goes to element
    /// `i` of the target row at `to + offsets[lane]`, for `i, lane < LANES`.
    ///
    /// # Safety
    /// `LANES` offsets are readable, and `LANES` floats at every source and target row.
    unsafe fn transpose(self, from: *const f32, stride: usize, to: *mut f32, offsets: *const usize);
}
