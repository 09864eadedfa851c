//! Special functions of single floats, without branch, call or table, so that loops over them
//! become vector code.
//!
//! The polynomials are least maximum fits of our own, made in `f64`; the errors below include the
//! rounding of `f32` and are held by the tests, which go through all exponents.

#[cfg(test)]
mod tests;

use crate::simd::Simd;

/// `coefficients[0] + coefficients[1] x + …` by Horner's rule.
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut sum = coefficients[N - 1];
    for i in 1..N {
        sum = S::fused(sum, x, coefficients[N - 1 - i]);
    }
    sum
}

/// `e^x`, relative error below 2e-7; 0 below -87.33, infinite above 88.37; NaN stays NaN.
#[inline(always)]
pub(crate) fn exp<S: Simd>(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts: n * LN_2_HIGH is exact, it has nine bits.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // (e^r - 1 - r) / r^2 for |r| <= ln(2) / 2; error of e^r: 3.1e-9.
    const TAIL: [f32; 5] =
        [0.499_999_94, 0.166_665_2, 0.041_668_393, 0.008_368_781, 0.001_381_446_5];
    let rounded = S::fused(x, std::f32::consts::LOG2_E, ROUND);
    let n = rounded - ROUND;
    let r = S::fused(n, -LN_2_LOW, S::fused(n, -LN_2_HIGH, x));
    let value = S::fused(r * r, polynomial::<S, 5>(r, TAIL), r) + 1.0;
    let power = f32::from_bits(rounded.to_bits().wrapping_add(127) << 23);
    let value = if x < -87.33 { 0.0 } else { value * power };
    if x > 88.37 { f32::INFINITY } else { value }
}

/// Natural logarithm of a normal number above 0, relative error below 2e-7.
#[inline(always)]
pub(crate) fn ln<S: Simd>(x: f32) -> f32 {
    // ln 2 in two parts: n * LN_2_HIGH is exact, it has nine bits.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    /// `√½`: mantissas are taken from there to `√2`, so that the logarithm is small where `n` is 0.
    const LOWEST: u32 = 0x3F35_04F3;
    // (ln(1 + f) - f + f^2 / 2) / f^3 for those; relative error of ln(1 + f): 6.4e-9.
    const TAIL: [f32; 8] = [
        0.333_333_3,
        -0.250_008_2,
        0.200_012_27,
        -0.166_233_57,
        0.142_017_57,
        -0.131_601_83,
        0.127_615_78,
        -0.076_344_99,
    ];
    let bits = x.to_bits();
    let exponent = (bits.wrapping_sub(LOWEST) as i32) >> 23;
    let f = f32::from_bits(bits.wrapping_sub((exponent as u32) << 23)) - 1.0;
    let n = exponent as f32;
    let square = f * f;
    let tail = S::fused(polynomial::<S, 8>(f, TAIL), f, -0.5);
    S::fused(n, LN_2_HIGH, S::fused(square, tail, S::fused(n, LN_2_LOW, f)))
}

/// `1 / (1 + e^-x)`, relative error below 4e-7 (0 below -88.37).
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<S>(-x))
}

/// Hyperbolic tangent, relative error below 3e-7.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(x: f32) -> f32 {
    // (tanh(a) / a - 1) / a^2 over a^2, for a <= 0.625, where the quotient below would cancel;
    // error of tanh: 4.2e-9.
    const SERIES: [f32; 5] =
        [-0.333_332_84, 0.133_314_91, -0.053_743_497, 0.020_650_579, -0.005_717_037];
    let a = x.abs();
    let square = a * a;
    let near = S::fused(a * square, polynomial::<S, 5>(square, SERIES), a);
    let e = exp::<S>(-2.0 * a);
    let far = (1.0 - e) / (1.0 + e);
    let magnitude = if a < 0.625 { near } else { far };
    magnitude.copysign(x)
}

/// Distribution function and density of the standard normal distribution.
///
/// `Φ(x)` is `erfc(-x / √2) / 2`. Its error is below `(4 + x²) 1e-7` of the value below 0 (which is
/// 0 below -13.2) and below 4e-7 above; the density's is below `(2 + x² / 2) 1e-7` of the value.
#[inline(always)]
pub(crate) fn normal<S: Simd>(x: f32) -> (f32, f32) {
    // e^(z^2) erfc(z) / t over t = 1 / (1 + 0.4 z), for 0 <= z <= 9.5; relative error 5.8e-8.
    const SCALED: [f32; 9] = [
        0.225_626_3,
        0.226_575_69,
        0.200_958_8,
        0.196_962_18,
        0.071_510_345,
        0.099_726_595,
        0.073_844_79,
        -0.135_472_39,
        0.040_267_766,
    ];
    /// `0.4 / √2`
    const SCALE: f32 = 0.282_842_7;
    /// `1 / √(2 π)`
    const PEAK: f32 = 0.398_942_3;
    let t = 1.0 / S::fused(x.abs(), SCALE, 1.0);
    let e = exp::<S>(-0.5 * x * x);
    let tail = 0.5 * t * polynomial::<S, 9>(t, SCALED) * e;
    (if x > 0.0 { 1.0 - tail } else { tail }, PEAK * e)
}
