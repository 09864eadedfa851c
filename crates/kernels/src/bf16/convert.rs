//! Single numbers between `f32` and bfloat16.

/// The nearest bfloat16, ties to even; NaN becomes the quiet NaN.
#[inline(always)]
pub(super) fn round(x: f32) -> u16 {
    let bits = x.to_bits();
    // Half of the last place, less one unless that place is odd.
    let rounded = bits.wrapping_add(0x7FFF + (bits >> 16 & 1));
    if x.is_nan() { 0x7FC0 | (bits >> 16 & 0x8000) as u16 } else { (rounded >> 16) as u16 }
}

/// The number that a bfloat16 is.
#[inline(always)]
pub(super) fn widen(x: u16) -> f32 {
    f32::from_bits(u32::from(x) << 16)
}
