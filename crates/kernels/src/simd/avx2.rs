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
    fn fused(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
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
    unsafe fn load_pairs(self, from: *const u32) -> (__m256, __m256) {
        // SAFETY: `self` proves AVX2; the caller promises eight readable pairs.
        unsafe {
            let pairs = _mm256_loadu_si256(from.cast());
            let second = _mm256_and_si256(pairs, _mm256_set1_epi32(0xFFFF_0000_u32 as i32));
            (_mm256_castsi256_ps(_mm256_slli_epi32::<16>(pairs)), _mm256_castsi256_ps(second))
        }
    }
    #[inline(always)]
    unsafe fn transpose(
        self,
        from: *const f32,
        stride: usize,
        to: *mut f32,
        offsets: *const usize,
    ) {
        // SAFETY: `self` proves AVX2; the caller promises eight floats at every row and eight
        // offsets. `quads[g][i]` holds rows `4 g..4 g + 4` of columns `i` and `4 + i`.
        unsafe {
            let mut quads = [[_mm256_setzero_ps(); 4]; 2];
            for g in 0..2 {
                let from = from.add(4 * g * stride);
                quads[g] = transpose4(
                    _mm256_loadu_ps(from),
                    _mm256_loadu_ps(from.add(stride)),
                    _mm256_loadu_ps(from.add(2 * stride)),
                    _mm256_loadu_ps(from.add(3 * stride)),
                );
            }
            for i in 0..4 {
                let (a, b) = (quads[0][i], quads[1][i]);
                _mm256_storeu_ps(to.add(*offsets.add(i)), _mm256_permute2f128_ps::<0x20>(a, b));
                _mm256_storeu_ps(to.add(*offsets.add(4 + i)), _mm256_permute2f128_ps::<0x31>(a, b));
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
