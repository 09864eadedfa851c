//! The transforms of one tile, with channels in the lanes.
//!
//! With `m(x) = x (x² - ½) (x² - 2)` the rows of `B'` are the coefficients of `m(x) / (x - p)` for
//! the points `p` = 0, √½, -√½, √2, -√2, and of `m` itself for infinity; the rows of `G` are the
//! powers of `p` over `m'(p)`; the columns of `A'` are the powers of `p`.

use std::f32::consts::{FRAC_1_SQRT_2, SQRT_2};

use crate::simd::Simd;

/// Products of a tile: 6 × 6.
pub(in crate::conv2d) const POINTS: usize = 36;

// Not closures: those are compiled without the vector features, and inlined or not as the compiler
// likes; a vector operation in one that is not becomes a call.

/// `factor * x + plus`
#[inline(always)]
fn times<S: Simd>(simd: S, factor: f32, x: S::V, plus: S::V) -> S::V {
    simd.mul_add(simd.splat(factor), x, plus)
}

/// `factor * x`
#[inline(always)]
fn scaled<S: Simd>(simd: S, factor: f32, x: S::V) -> S::V {
    simd.mul(simd.splat(factor), x)
}

/// `B' d` of one column.
#[inline(always)]
fn input_column<S: Simd>(simd: S, d: [S::V; 6]) -> [S::V; 6] {
    let small_even = times(simd, -2.0, d[2], d[4]);
    let small_odd = times(simd, -SQRT_2, d[1], scaled(simd, FRAC_1_SQRT_2, d[3]));
    let large_even = times(simd, -0.5, d[2], d[4]);
    let large_odd = times(simd, -FRAC_1_SQRT_2, d[1], scaled(simd, SQRT_2, d[3]));
    [
        times(simd, -2.5, d[2], simd.add(d[0], d[4])),
        simd.add(small_even, small_odd),
        simd.sub(small_even, small_odd),
        simd.add(large_even, large_odd),
        simd.sub(large_even, large_odd),
        times(simd, -2.5, d[3], simd.add(d[1], d[5])),
    ]
}

/// `B' d B` of a 6 × 6 tile; product `i` goes to `to + i * stride`.
///
/// # Safety
/// A vector is readable at `from + i * row_stride + j * pitch` for `i, j < 6` and writable at the
/// 36 targets.
#[inline(always)]
pub(in crate::conv2d) unsafe fn input_tile<S: Simd>(
    simd: S,
    from: *const f32,
    row_stride: usize,
    pitch: usize,
    to: *mut f32,
    stride: usize,
) {
    let mut half = [[simd.splat(0.0); 6]; 6];
    for j in 0..6 {
        let mut d = [simd.splat(0.0); 6];
        for i in 0..6 {
            // SAFETY: the caller's promise.
            d[i] = unsafe { simd.load(from.add(i * row_stride + j * pitch)) };
        }
        let column = input_column(simd, d);
        for i in 0..6 {
            half[i][j] = column[i];
        }
    }
    for i in 0..6 {
        let row = input_column(simd, half[i]);
        for j in 0..6 {
            // SAFETY: the caller's promise.
            unsafe { simd.store(to.add((i * 6 + j) * stride), row[j]) };
        }
    }
}

/// `A' m` of one column.
#[inline(always)]
fn output_column<S: Simd>(simd: S, m: [S::V; 6]) -> [S::V; 4] {
    let (small_sum, small_difference) = (simd.add(m[1], m[2]), simd.sub(m[1], m[2]));
    let (large_sum, large_difference) = (simd.add(m[3], m[4]), simd.sub(m[3], m[4]));
    let third = times(simd, 0.5 * FRAC_1_SQRT_2, small_difference, m[5]);
    [
        simd.add(simd.add(m[0], small_sum), large_sum),
        times(simd, SQRT_2, large_difference, scaled(simd, FRAC_1_SQRT_2, small_difference)),
        times(simd, 2.0, large_sum, scaled(simd, 0.5, small_sum)),
        times(simd, 2.0 * SQRT_2, large_difference, third),
    ]
}

/// `A' m A` of a tile whose product `i` is at `from + i * stride`.
///
/// # Safety
/// A vector is readable at the 36 sources.
#[inline(always)]
pub(in crate::conv2d) unsafe fn output_tile<S: Simd>(
    simd: S,
    from: *const f32,
    stride: usize,
) -> [[S::V; 4]; 4] {
    let mut half = [[simd.splat(0.0); 6]; 4];
    for j in 0..6 {
        let mut m = [simd.splat(0.0); 6];
        for i in 0..6 {
            // SAFETY: the caller's promise.
            m[i] = unsafe { simd.load(from.add((i * 6 + j) * stride)) };
        }
        let column = output_column(simd, m);
        for i in 0..4 {
            half[i][j] = column[i];
        }
    }
    let mut tile = [[simd.splat(0.0); 4]; 4];
    for i in 0..4 {
        tile[i] = output_column(simd, half[i]);
    }
    tile
}

/// `G w` of one column.
#[inline(always)]
fn weight_column<S: Simd>(simd: S, w: [S::V; 3]) -> [S::V; 6] {
    // m'(±√½) = -3/2, m'(±√2) = 6
    let small_even = times(simd, -1.0 / 3.0, w[2], scaled(simd, -2.0 / 3.0, w[0]));
    let small_odd = scaled(simd, -2.0 / 3.0 * FRAC_1_SQRT_2, w[1]);
    let large_even = times(simd, 1.0 / 3.0, w[2], scaled(simd, 1.0 / 6.0, w[0]));
    let large_odd = scaled(simd, SQRT_2 / 6.0, w[1]);
    [
        w[0],
        simd.add(small_even, small_odd),
        simd.sub(small_even, small_odd),
        simd.add(large_even, large_odd),
        simd.sub(large_even, large_odd),
        w[2],
    ]
}

/// `G w G'` of a 3 × 3 kernel whose tap `i` is at `from + i * stride`; product `i` goes to
/// `targets[i] + at`.
///
/// # Safety
/// A vector is readable at the nine sources and writable at the 36 targets.
#[inline(always)]
pub(in crate::conv2d) unsafe fn weight_tile<S: Simd>(
    simd: S,
    from: *const f32,
    stride: usize,
    targets: [*mut f32; POINTS],
    at: usize,
) {
    let mut half = [[simd.splat(0.0); 3]; 6];
    for j in 0..3 {
        let mut w = [simd.splat(0.0); 3];
        for i in 0..3 {
            // SAFETY: the caller's promise.
            w[i] = unsafe { simd.load(from.add((i * 3 + j) * stride)) };
        }
        let column = weight_column(simd, w);
        for i in 0..6 {
            half[i][j] = column[i];
        }
    }
    for i in 0..6 {
        let row = weight_column(simd, half[i]);
        for j in 0..6 {
            // SAFETY: the caller's promise.
            unsafe { simd.store(targets[i * 6 + j].add(at), row[j]) };
        }
    }
}

/// `P g` of one column of four.
#[inline(always)]
fn grad_column<S: Simd>(simd: S, g: [S::V; 4]) -> [S::V; 6] {
    let small_even = times(simd, -1.0 / 3.0, g[2], scaled(simd, -2.0 / 3.0, g[0]));
    let small_odd = scaled(simd, -2.0 / 3.0 * FRAC_1_SQRT_2, g[1]);
    let small_odd = times(simd, -1.0 / 3.0 * FRAC_1_SQRT_2, g[3], small_odd);
    let large_even = times(simd, 1.0 / 3.0, g[2], scaled(simd, 1.0 / 6.0, g[0]));
    let large_odd = times(simd, SQRT_2 / 3.0, g[3], scaled(simd, SQRT_2 / 6.0, g[1]));
    [
        g[0],
        simd.add(small_even, small_odd),
        simd.sub(small_even, small_odd),
        simd.add(large_even, large_odd),
        simd.sub(large_even, large_odd),
        g[3],
    ]
}

/// `P g P'` of a 4 × 4 tile, which plays the kernel; product `i` goes to `to + i * stride`. `P` is
/// `G` with one column more.
///
/// # Safety
/// A vector is readable at `from + i * row_stride + j * pitch` for `i, j < 4` and writable at the
/// 36 targets.
#[inline(always)]
pub(in crate::conv2d) unsafe fn grad_tile<S: Simd>(
    simd: S,
    from: *const f32,
    row_stride: usize,
    pitch: usize,
    to: *mut f32,
    stride: usize,
) {
    let mut half = [[simd.splat(0.0); 4]; 6];
    for j in 0..4 {
        let mut g = [simd.splat(0.0); 4];
        for i in 0..4 {
            // SAFETY: the caller's promise.
            g[i] = unsafe { simd.load(from.add(i * row_stride + j * pitch)) };
        }
        let column = grad_column(simd, g);
        for i in 0..6 {
            half[i][j] = column[i];
        }
    }
    for i in 0..6 {
        let row = grad_column(simd, half[i]);
        for j in 0..6 {
            // SAFETY: the caller's promise.
            unsafe { simd.store(to.add((i * 6 + j) * stride), row[j]) };
        }
    }
}

/// `Q' s` of one column.
#[inline(always)]
fn kernel_column<S: Simd>(simd: S, s: [S::V; 6]) -> [S::V; 3] {
    let (small_sum, small_difference) = (simd.add(s[1], s[2]), simd.sub(s[1], s[2]));
    let (large_sum, large_difference) = (simd.add(s[3], s[4]), simd.sub(s[3], s[4]));
    let odd = scaled(simd, FRAC_1_SQRT_2, small_difference);
    [
        simd.add(simd.add(s[0], small_sum), large_sum),
        times(simd, SQRT_2, large_difference, odd),
        times(simd, 2.0, large_sum, times(simd, 0.5, small_sum, s[5])),
    ]
}

/// `Q' s Q`, the nine taps of a kernel whose product `i` is at `from + i * stride`. `Q` is `A`
/// without its last column, with infinity in the new last one.
///
/// # Safety
/// A vector is readable at the 36 sources.
#[inline(always)]
pub(in crate::conv2d) unsafe fn kernel_tile<S: Simd>(
    simd: S,
    from: *const f32,
    stride: usize,
) -> [S::V; 9] {
    let mut half = [[simd.splat(0.0); 6]; 3];
    for j in 0..6 {
        let mut s = [simd.splat(0.0); 6];
        for i in 0..6 {
            // SAFETY: the caller's promise.
            s[i] = unsafe { simd.load(from.add((i * 6 + j) * stride)) };
        }
        let column = kernel_column(simd, s);
        for i in 0..3 {
            half[i][j] = column[i];
        }
    }
    let mut taps = [simd.splat(0.0); 9];
    for i in 0..3 {
        let row = kernel_column(simd, half[i]);
        for j in 0..3 {
            taps[i * 3 + j] = row[j];
        }
    }
    taps
}
