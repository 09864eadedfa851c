//! `Q8_0`: `{ d f16, q [i8; 32] }`, `x = d q`.
//!
//! ```text
//! written   d = max |x| / 127      q = round(x / d), halves away from 0, d not yet rounded to f16; 0 where d is 0
//! ```

use half::f16;

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

/// The bytes of whole blocks, as llama.cpp's authors' package writes them.
pub(crate) fn bytes(values: &[f32]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(values.len() / VALUES * BYTES);
    for block in values.as_chunks::<VALUES>().0 {
        let scale = block.iter().fold(0.0_f32, |most, x| most.max(x.abs())) / 127.0;
        let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
        bytes.extend(f16::from_f32(scale).to_le_bytes());
        // `round` takes halves away from 0; the product is at most 127 but for rounding.
        bytes.extend(block.iter().map(|x| ((x * inverse).round() as i8).cast_unsigned()));
    }
    bytes
}
