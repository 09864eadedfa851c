//! AVX2 and FMA: eight lanes, sixteen registers.

use std::arch::x86_64::*;

use super::Simd;

/// Proves that the CPU has AVX2 and FMA.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// The token, if this CPU has the features.
    pub(crate) fn new() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }
}

impl Simd for Avx2 {
    type V = __m256;
    const LANES: usize = 8;
    const REGISTERS: usize = 16;

    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: `self` proves FMA.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn relu(self, x: __m256) -> __m256 {
        // SAFETY: `self` proves AVX2. `max` gives its second operand when one is NaN.
        unsafe { _mm256_max_ps(_mm256_setzero_ps(), x) }
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m256 {
        // SAFETY: `self` proves AVX2; the caller promises eight readable floats.
        unsafe { _mm256_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: __m256) {
        // SAFETY: `self` proves AVX2; the caller promises eight writable floats.
        unsafe { _mm256_storeu_ps(to, v) }
    }
    #[inline(always)]
    unsafe fn load_columns4(self, from: *const f32, stride: usize) -> [__m256; 4] {
        // SAFETY: `self` proves AVX2; the caller promises four readable floats at each of the
        // eight `from + lane * stride`. Half `h` of row `j` comes from lane `4 * h + j`.
        unsafe {
            let row = |j: usize| {
                let low = _mm_loadu_ps(from.add(j * stride));
                let high = _mm_loadu_ps(from.add((4 + j) * stride));
                _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(low), high)
            };
            transpose4(row(0), row(1), row(2), row(3))
        }
    }
    #[inline(always)]
    unsafe fn store_columns4(self, to: *mut f32, stride: usize, v: [__m256; 4]) {
        // SAFETY: `self` proves AVX2; the caller promises four writable floats at each of the
        // eight `to + lane * stride`.
        unsafe {
            let rows = transpose4(v[0], v[1], v[2], v[3]);
            for j in 0..4 {
                _mm_storeu_ps(to.add(j * stride), _mm256_castps256_ps128(rows[j]));
                _mm_storeu_ps(to.add((4 + j) * stride), _mm256_extractf128_ps::<1>(rows[j]));
            }
        }
    }
}

/// Transposes the 4 × 4 blocks that lie in the halves of four vectors.
///
/// # Safety
/// The CPU has AVX2.
#[inline(always)]
unsafe fn transpose4(a: __m256, b: __m256, c: __m256, d: __m256) -> [__m256; 4] {
    // SAFETY: the caller promises AVX2.
    unsafe {
        let ab_low = _mm256_unpacklo_ps(a, b);
        let ab_high = _mm256_unpackhi_ps(a, b);
        let cd_low = _mm256_unpacklo_ps(c, d);
        let cd_high = _mm256_unpackhi_ps(c, d);
        [
            _mm256_shuffle_ps::<0b01_00_01_00>(ab_low, cd_low),
            _mm256_shuffle_ps::<0b11_10_11_10>(ab_low, cd_low),
            _mm256_shuffle_ps::<0b01_00_01_00>(ab_high, cd_high),
            _mm256_shuffle_ps::<0b11_10_11_10>(ab_high, cd_high),
        ]
    }
}
