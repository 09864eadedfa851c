//! The block types, one file each: bytes of whole blocks in, values out.

pub(crate) mod float;
pub(crate) mod q4_0;
pub(crate) mod q4_1;
pub(crate) mod q4_k;
pub(crate) mod q6_k;
pub(crate) mod q8_0;

use half::f16;

/// The half float at `at`.
fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// Values 0 to 15 of a block of 32 from the low nibbles of 16 bytes, 16 to 31 from the high ones.
fn nibbles(bytes: &[u8], values: &mut [f32], value: impl Fn(u8) -> f32) {
    let (low, high) = values.split_at_mut(bytes.len());
    for ((&byte, low), high) in bytes.iter().zip(low).zip(high) {
        (*low, *high) = (value(byte & 15), value(byte >> 4));
    }
}
