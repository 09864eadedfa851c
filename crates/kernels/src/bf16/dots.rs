//! AVX-512's dot product of bfloat16 pairs, and its conversions.
#![cfg(target_arch = "x86_64")]

use std::arch::x86_64::*;

use super::maps::CHANNELS;
use super::plain::{Columns, quad};
use super::products::{Products, Quad, SUMS, Store, TileKernel};
use crate::simd::{Simd, avx512::Avx512};

/// Where the rows of a turned square of 16 × 16 begin.
const ROWS: [usize; 16] = {
    let mut rows = [0; 16];
    let mut row = 0;
    while row < 16 {
        rows[row] = row * 16;
        row += 1;
    }
    rows
};
/// A square of 16 × 16.
#[repr(align(64))]
struct Turned([f32; 256]);

/// Value `i` of one vector of 32, then value `i` of another, for `i < 16`.
const INTERLEAVED: [i16; 32] = {
    let mut indices = [0; 32];
    let mut i = 0;
    while i < 32 {
        indices[i] = (i / 2 + i % 2 * 32) as i16;
        i += 1;
    }
    indices
};

/// Proves that the CPU has AVX-512 with its bfloat16 instructions.
#[derive(Clone, Copy)]
pub(crate) struct Dots(Avx512);

impl Dots {
    /// The token, if this CPU has the features.
    pub(super) fn new() -> Option<Self> {
        Avx512::new().filter(|_| is_x86_feature_detected!("avx512bf16")).map(Self)
    }

    pub(super) fn run<K: TileKernel>(self, kernel: K) {
        // SAFETY: the token exists only if `new` found these features on this CPU.
        unsafe { run(self, kernel) }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
fn run<K: TileKernel>(dots: Dots, kernel: K) {
    kernel.run(dots);
}

impl Columns for Dots {
    type Sums = __m512;
    type Pairs = __m512bh;
    const REGISTERS: usize = 32;

    #[inline(always)]
    fn zero(self) -> __m512 {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_setzero_ps() }
    }
    #[inline(always)]
    fn dot(self, sums: __m512, left: u32, right: __m512bh) -> __m512 {
        // SAFETY: `self` proves AVX-512 and its bfloat16 instructions; both types are 64 bytes of
        // which every pattern is a value.
        unsafe {
            let left = std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32(left as i32));
            _mm512_dpbf16_ps(sums, left, right)
        }
    }
    #[inline(always)]
    unsafe fn pairs(self, from: *const u32) -> __m512bh {
        // SAFETY: `self` proves AVX-512; the caller promises 16 pairs; as in `dot`.
        unsafe { std::mem::transmute::<__m512i, __m512bh>(_mm512_loadu_si512(from.cast())) }
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m512 {
        // SAFETY: `self` proves AVX-512; the caller promises 16 floats.
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, sums: __m512) {
        // SAFETY: `self` proves AVX-512; the caller promises 16 floats.
        unsafe { _mm512_storeu_ps(to, sums) }
    }
}

impl Dots {
    /// Two vectors rounded, the first in front.
    #[inline(always)]
    fn rounded(self, first: __m512, second: __m512) -> __m512i {
        // SAFETY: `self` proves the instruction; both types are 64 bytes of which every pattern is a
        // value.
        unsafe { std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(second, first)) }
    }

    /// Turns 16 rows of 16 pairs, two values of 16 bits as one number of 32, whatever its value; rows
    /// that are not there are zero.
    ///
    /// # Safety
    /// A tile is readable at `from`, 256 numbers are writable at `to`.
    #[inline(always)]
    unsafe fn turn_rows(self, from: *const u16, rows: usize, to: *mut f32) {
        let mut there = Turned([0.0; 256]);
        // SAFETY: `self` proves AVX-512; the caller's promise; 16 rows of 64 bytes.
        unsafe {
            let mut start = from.cast::<f32>();
            if rows < 16 {
                for row in 0..rows {
                    let values = _mm512_loadu_ps(start.add(row * 16));
                    _mm512_storeu_ps(there.0.as_mut_ptr().add(row * 16), values);
                }
                start = there.0.as_ptr();
            }
            self.0.transpose(start, 16, to, ROWS.as_ptr());
        }
    }

    /// 32 values widened.
    ///
    /// # Safety
    /// 32 values are readable.
    #[inline(always)]
    unsafe fn widened(self, from: *const u16) -> [__m512; 2] {
        // SAFETY: `self` proves AVX-512; the caller's promise.
        unsafe {
            let values = _mm512_loadu_si512(from.cast());
            let first = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(values));
            let second = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64::<1>(values));
            [
                _mm512_castsi512_ps(_mm512_slli_epi32::<16>(first)),
                _mm512_castsi512_ps(_mm512_slli_epi32::<16>(second)),
            ]
        }
    }
}

impl Products for Dots {
    type Vectors = Avx512;

    #[inline(always)]
    fn vectors(self) -> Avx512 {
        self.0
    }
    #[inline(always)]
    unsafe fn quad(self, quad: Quad<'_>) {
        // SAFETY: the caller's promise.
        unsafe { self::quad(self, quad) }
    }
    #[inline(always)]
    unsafe fn round(self, from: *const f32, to: *mut u16) {
        // SAFETY: `self` proves AVX-512; the caller's promise.
        unsafe {
            let rounded = self.rounded(_mm512_loadu_ps(from), _mm512_loadu_ps(from.add(16)));
            _mm512_storeu_si512(to.cast(), rounded);
        }
    }
    #[inline(always)]
    unsafe fn pair(self, from: *const u16, images: usize, half: usize, to: *mut u16) {
        // SAFETY: `self` proves AVX-512; the caller's promise. The indices take turns between the
        // sixteen channels of one image and of the other.
        unsafe {
            let first = _mm512_add_epi16(
                _mm512_loadu_si512(INTERLEAVED.as_ptr().cast()),
                _mm512_set1_epi16(16 * half as i16),
            );
            for pair in 0..8 {
                let mut rows = [_mm512_setzero_si512(); 2];
                for which in 0..2 {
                    let image = 2 * pair + which;
                    if image < images {
                        rows[which] = _mm512_loadu_si512(from.add(image * CHANNELS).cast());
                    }
                }
                let pairs = _mm512_permutex2var_epi16(rows[0], first, rows[1]);
                _mm512_storeu_si512(to.add(pair * 32).cast(), pairs);
            }
        }
    }
    #[inline(always)]
    unsafe fn turn(self, from: *const u16, images: usize, to: *mut u16) {
        let mut turned = Turned([0.0; 256]);
        // SAFETY: `self` proves AVX-512; the caller's promise; what is turned are 16 rows of 64 bytes.
        unsafe {
            self.turn_rows(from, images, turned.0.as_mut_ptr());
            for pair in 0..16 {
                let both = _mm512_loadu_si512(turned.0.as_ptr().add(pair * 16).cast());
                let first = _mm512_cvtepi32_epi16(both);
                let second = _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(both));
                let to = to.add(pair * 64);
                _mm256_storeu_si256(to.cast(), first);
                _mm256_storeu_si256(to.add(32).cast(), second);
            }
        }
    }
    #[inline(always)]
    unsafe fn turn_pairs(self, from: *const u16, rows: usize, to: *mut u16) {
        // SAFETY: the caller's promise.
        unsafe { self.turn_rows(from, rows, to.cast()) }
    }
    #[inline(always)]
    unsafe fn store(self, store: Store) {
        // SAFETY: `self` proves AVX-512; the caller's promise. `max` gives its second operand when one
        // is NaN.
        unsafe {
            let bias = [_mm512_loadu_ps(store.bias), _mm512_loadu_ps(store.bias.add(16))];
            for image in 0..store.rows {
                let mut values = [_mm512_setzero_ps(); 2];
                for half in 0..store.halves {
                    let sums = _mm512_loadu_ps(store.sums.add(half * SUMS + image * 16));
                    values[half] = _mm512_add_ps(sums, bias[half]);
                }
                if let Some(residual) = store.residual {
                    let residual = self.widened(residual.add(image * CHANNELS));
                    for half in 0..store.halves {
                        values[half] = _mm512_add_ps(values[half], residual[half]);
                    }
                }
                if store.relu {
                    for half in 0..2 {
                        values[half] = _mm512_max_ps(_mm512_setzero_ps(), values[half]);
                    }
                }
                let target = store.target.add(image * CHANNELS);
                _mm512_storeu_si512(target.cast(), self.rounded(values[0], values[1]));
            }
        }
    }
}
