//! `Q4_0`: `{ d f16, q [u4; 32] }`, `x = d (q - 8)`.

use super::{half_at, nibbles};

pub(crate) const VALUES: usize = 32;
pub(crate) const BYTES: usize = 18;

pub(crate) fn values(bytes: &[u8], values: &mut [f32]) {
    for (block, values) in bytes.as_chunks::<BYTES>().0.iter().zip(values.chunks_exact_mut(VALUES))
    {
        let scale = half_at(block, 0);
        nibbles(&block[2..], values, |q| scale * (f32::from(q) - 8.0));
    }
}
