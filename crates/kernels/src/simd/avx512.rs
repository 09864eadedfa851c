//! AVX-512: sixteen lanes, thirty-two registers.

use std::arch::x86_64::*;

use super::Simd;

/// Proves that the CPU has AVX-512 F, BW, DQ and VL (and AVX2, FMA).
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// The token, if this CPU has the features.
    pub(crate) fn new() -> Option<Self> {
        (is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma"))
        .then_some(Self(()))
    }
}

impl Simd for Avx512 {
    type V = __m512;
    const LANES: usize = 16;
    const REGISTERS: usize = 32;

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn relu(self, x: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512. `max` gives its second operand when one is NaN.
        unsafe { _mm512_max_ps(_mm512_setzero_ps(), x) }
    }
    #[inline(always)]
    fn fused(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m512 {
        // SAFETY: `self` proves AVX-512; the caller promises sixteen readable floats.
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: __m512) {
        // SAFETY: `self` proves AVX-512; the caller promises sixteen writable floats.
        unsafe { _mm512_storeu_ps(to, v) }
    }
    #[inline(always)]
    unsafe fn load_pairs(self, from: *const u32) -> (__m512, __m512) {
        // SAFETY: `self` proves AVX-512; the caller promises sixteen readable pairs.
        unsafe {
            let pairs = _mm512_loadu_si512(from.cast());
            let second = _mm512_and_si512(pairs, _mm512_set1_epi32(0xFFFF_0000_u32 as i32));
            (_mm512_castsi512_ps(_mm512_slli_epi32::<16>(pairs)), _mm512_castsi512_ps(second))
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
        // SAFETY: `self` proves AVX-512; the caller promises sixteen floats at every row and
        // sixteen offsets. Quarter `q` of `quads[g][i]` holds rows `4 g..4 g + 4` of column
        // `4 q + i`.
        unsafe {
            let mut quads = [[_mm512_setzero_ps(); 4]; 4];
            for g in 0..4 {
                let from = from.add(4 * g * stride);
                quads[g] = transpose4(
                    _mm512_loadu_ps(from),
                    _mm512_loadu_ps(from.add(stride)),
                    _mm512_loadu_ps(from.add(2 * stride)),
                    _mm512_loadu_ps(from.add(3 * stride)),
                );
            }
            for i in 0..4 {
                let ab_low = _mm512_shuffle_f32x4::<0b10_00_10_00>(quads[0][i], quads[1][i]);
                let ab_high = _mm512_shuffle_f32x4::<0b11_01_11_01>(quads[0][i], quads[1][i]);
                let cd_low = _mm512_shuffle_f32x4::<0b10_00_10_00>(quads[2][i], quads[3][i]);
                let cd_high = _mm512_shuffle_f32x4::<0b11_01_11_01>(quads[2][i], quads[3][i]);
                let columns = [
                    _mm512_shuffle_f32x4::<0b10_00_10_00>(ab_low, cd_low),
                    _mm512_shuffle_f32x4::<0b10_00_10_00>(ab_high, cd_high),
                    _mm512_shuffle_f32x4::<0b11_01_11_01>(ab_low, cd_low),
                    _mm512_shuffle_f32x4::<0b11_01_11_01>(ab_high, cd_high),
                ];
                for q in 0..4 {
                    _mm512_storeu_ps(to.add(*offsets.add(4 * q + i)), columns[q]);
                }
            }
        }
    }
}

/// Transposes the 4 × 4 blocks that lie in the quarters of four vectors.
///
/// # Safety
/// The CPU has AVX-512 F.
#[inline(always)]
unsafe fn transpose4(a: __m512, b: __m512, c: __m512, d: __m512) -> [__m512; 4] {
    // SAFETY: the caller promises AVX-512 F.
    unsafe {
        let ab_low = _mm512_unpacklo_ps(a, b);
        let ab_high = _mm512_unpackhi_ps(a, b);
        let cd_low = _mm512_unpacklo_ps(c, d);
        let cd_high = _mm512_unpackhi_ps(c, d);
        [
            _mm512_shuffle_ps::<0b01_00_01_00>(ab_low, cd_low),
            _mm512_shuffle_ps::<0b11_10_11_10>(ab_low, cd_low),
            _mm512_shuffle_ps::<0b01_00_01_00>(ab_high, cd_high),
            _mm512_shuffle_ps::<0b11_10_11_10>(ab_high, cd_high),
        ]
    }
}
