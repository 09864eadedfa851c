//! `Q4_1`: `{ d f16, m f16, q [u4; 32] }`, `x = d q + m`.

use super::{half_at, nibbles};

pub(crate) const VALUES: usize = 32;
pub(crate) const BYTES: usize = 20;

pub(crate) fn values(bytes: &[u8], values: &mut [f32]) {
    for (block, values) in bytes.as_chunks::<BYTES>().0.iter().zip(values.chunks_exact_mut(VALUES))
    {
        let (scale, minimum) = (half_at(block, 0), half_at(block, 2));
        nibbles(&block[4..], values, |q| scale * f32::from(q) + minimum);
    }
}
