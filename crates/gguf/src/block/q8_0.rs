//! `Q8_0`: `{ d f16, q [i8; 32] }`, `x = d q`.

use super::half_at;

pub(crate) const VALUES: usize = 32;
pub(crate) const BYTES: usize = 34;

pub(crate) fn values(bytes: &[u8], values: &mut [f32]) {
    for (block, values) in bytes.as_chunks::<BYTES>().0.iter().zip(values.chunks_exact_mut(VALUES))
    {
        let scale = half_at(block, 0);
        for (value, &q) in values.iter_mut().zip(&block[2..]) {
            *value = scale * f32::from(q.cast_signed());
        }
    }
}
