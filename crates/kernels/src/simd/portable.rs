//! Plain Rust: the path of machines without AVX2, and the one Miri can run.

use super::Simd;

/// The token of the portable path; always available.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

const LANES: usize = 8;

/// Fused only where that is one instruction: elsewhere `f32::mul_add` is a library call.
#[inline(always)]
fn fused(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
        a.mul_add(b, c)
    } else {
        a * b + c
    }
}

impl Simd for Portable {
    type V = [f32; LANES];
    const LANES: usize = LANES;
    const REGISTERS: usize = 16;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [x; LANES]
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        std::array::from_fn(|i| fused(a[i], b[i], c[i]))
    }
    #[inline(always)]
    fn relu(self, x: Self::V) -> Self::V {
        x.map(|x| if x < 0.0 { 0.0 } else { x })
    }
    #[inline(always)]
    fn fused(a: f32, b: f32, c: f32) -> f32 {
        fused(a, b, c)
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::V {
        // SAFETY: the caller promises `LANES` readable floats; an array has no padding.
        unsafe { from.cast::<[f32; LANES]>().read() }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: Self::V) {
        // SAFETY: the caller promises `LANES` writable floats.
        unsafe { to.cast::<[f32; LANES]>().write(v) }
    }
    #[inline(always)]
    unsafe fn load_pairs(self, from: *const u32) -> (Self::V, Self::V) {
        // SAFETY: the caller promises `LANES` readable pairs; an array has no padding.
        let pairs = unsafe { from.cast::<[u32; LANES]>().read() };
        let first = pairs.map(|pair| f32::from_bits(pair << 16));
        (first, pairs.map(|pair| f32::from_bits(pair & 0xFFFF_0000)))
    }
    #[inline(always)]
    unsafe fn transpose(
        self,
        from: *const f32,
        stride: usize,
        to: *mut f32,
        offsets: *const usize,
    ) {
        for lane in 0..LANES {
            for i in 0..LANES {
                // SAFETY: the caller promises `LANES` floats at every row and `LANES` offsets.
                unsafe { *to.add(*offsets.add(lane) + i) = *from.add(i * stride + lane) };
            }
        }
    }
}
