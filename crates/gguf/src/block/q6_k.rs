//! `Q6_K`: 256 values, in sixteen groups of 16 with a scale of eight bits each.
//!
//! ```text
//! { low [u8; 128], high [u8; 64], scale [i8; 16], d f16 }      x = d scale[group] (q - 32)
//! ```
//! Each half of 128 values has 64 bytes of `low` and 32 of `high`; value `32 k + l` of it has its low
//! four bits in the nibble `k / 2` of `low[32 (k % 2) + l]` and its upper two in bits `2 k` of `high[l]`.

use super::half_at;

pub(crate) const VALUES: usize = 256;
pub(crate) const BYTES: usize = 210;

pub(crate) fn values(bytes: &[u8], values: &mut [f32]) {
    for (block, values) in bytes.as_chunks::<BYTES>().0.iter().zip(values.chunks_exact_mut(VALUES))
    {
        let (low, rest) = block.split_at(128);
        let (high, rest) = rest.split_at(64);
        let (scales, _) = rest.split_at(16);
        let factor = half_at(block, 208);
        let scales: [f32; 16] =
            std::array::from_fn(|group| factor * f32::from(scales[group].cast_signed()));
        for (half, values) in values.chunks_exact_mut(128).enumerate() {
            let (low, high) = (&low[64 * half..][..64], &high[32 * half..][..32]);
            for (k, values) in values.chunks_exact_mut(32).enumerate() {
                for (l, value) in values.iter_mut().enumerate() {
                    let nibble = (low[32 * (k % 2) + l] >> (4 * (k / 2))) & 15;
                    let q = nibble | (((high[l] >> (2 * k)) & 3) << 4);
                    *value = scales[8 * half + 2 * k + l / 16] * (f32::from(q) - 32.0);
                }
            }
        }
    }
}
