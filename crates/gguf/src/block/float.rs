//! Plain floats.

use half::{bf16, f16};

pub(crate) fn f32s(bytes: &[u8], values: &mut [f32]) {
    let (floats, _) = bytes.as_chunks();
    floats.iter().zip(values).for_each(|(from, to)| *to = f32::from_le_bytes(*from));
}

pub(crate) fn f16s(bytes: &[u8], values: &mut [f32]) {
    let (floats, _) = bytes.as_chunks();
    floats.iter().zip(values).for_each(|(from, to)| *to = f16::from_le_bytes(*from).to_f32());
}

pub(crate) fn bf16s(bytes: &[u8], values: &mut [f32]) {
    let (floats, _) = bytes.as_chunks();
    floats.iter().zip(values).for_each(|(from, to)| *to = bf16::from_le_bytes(*from).to_f32());
}

pub(crate) fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

pub(crate) fn f16_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect()
}
