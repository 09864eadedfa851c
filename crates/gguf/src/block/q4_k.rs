//! `Q4_K`: 256 values, in eight groups of 32 with a scale and a minimum of six bits each.
//!
//! ```text
//! { d f16, e f16, packed [u8; 12], q [u8; 128] }      x = d scale[group] q - e minimum[group]
//! ```
//! Two groups share 32 bytes of `q`, the first in the low nibbles. Of `packed`, groups 0 to 3 have
//! the low six bits of bytes 0 to 3 (scale) and 4 to 7 (minimum); groups 4 to 7 the nibbles of bytes 8
//! to 11 (scale low, minimum high), with the two bits that the first eight bytes leave as their upper.

use super::{half_at, nibbles};

pub(crate) const VALUES: usize = 256;
pub(crate) const BYTES: usize = 144;
/// Values of a group.
const GROUP: usize = 32;

/// Scale and minimum of a group.
fn six_bits(packed: &[u8], group: usize) -> [u8; 2] {
    match group.checked_sub(4) {
        None => [packed[group] & 63, packed[group + 4] & 63],
        Some(other) => {
            let nibbles = packed[other + 8];
            let upper = [packed[other] >> 6, packed[other + 4] >> 6];
            [(nibbles & 15) | (upper[0] << 4), (nibbles >> 4) | (upper[1] << 4)]
        }
    }
}

pub(crate) fn values(bytes: &[u8], values: &mut [f32]) {
    for (block, values) in bytes.as_chunks::<BYTES>().0.iter().zip(values.chunks_exact_mut(VALUES))
    {
        let factors = [half_at(block, 0), half_at(block, 2)];
        let (packed, quants) = block[4..].split_at(12);
        let pairs = quants.chunks_exact(GROUP).zip(values.chunks_exact_mut(2 * GROUP));
        for (pair, (quants, values)) in pairs.enumerate() {
            // As floats first, then each half by its own scale and minimum.
            nibbles(quants, values, f32::from);
            for (half, values) in values.chunks_exact_mut(GROUP).enumerate() {
                let own = six_bits(packed, 2 * pair + half).map(f32::from);
                let [scale, minimum] = [factors[0] * own[0], factors[1] * own[1]];
                values.iter_mut().for_each(|x| *x = scale * *x - minimum);
            }
        }
    }
}
