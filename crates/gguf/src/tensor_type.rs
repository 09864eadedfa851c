//! In which forms a GGUF file may have a tensor's values.

use crate::block;

/// The form of a tensor's values: plain numbers, or blocks that share scales.
///
/// ```text
///        values  bytes   x[i]
/// F32         1      4   as it is
/// F16         1      2   IEEE half
/// BF16        1      2   the upper half of an f32
/// Q8_0       32     34   d q               d f16, q i8
/// Q4_0       32     18   d (q - 8)         d f16, q u4: values 0 to 15 in the low nibbles
/// Q4_1       32     20   d q + m           d, m f16, q u4 likewise
/// Q4_K      256    144   d s q - e m       d, e f16; for every 32 values s, m u6; q u4
/// Q6_K      256    210   d s (q - 32)      d f16; for every 16 values s i8; q u6
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TensorType {
    /// 32-bit floats.
    F32,
    /// Half floats.
    F16,
    /// bfloat16.
    Bf16,
    /// Eight bits, a scale for every 32 values.
    Q8_0,
    /// Four bits, a scale for every 32 values.
    Q4_0,
    /// Four bits, scale and minimum for every 32 values.
    Q4_1,
    /// Four bits, scales and minima of six bits for every 32 of 256 values.
    Q4K,
    /// Six bits, scales of eight bits for every 16 of 256 values.
    Q6K,
}

/// Writes the values of whole blocks.
type Dequantise = fn(&[u8], &mut [f32]);

/// Number in the file, name, values and bytes of a block.
const TYPES: [(TensorType, u32, &str, [usize; 2], Dequantise); 8] = [
    (TensorType::F32, 0, "F32", [1, 4], block::float::f32s),
    (TensorType::F16, 1, "F16", [1, 2], block::float::f16s),
    (TensorType::Bf16, 30, "BF16", [1, 2], block::float::bf16s),
    (TensorType::Q8_0, 8, "Q8_0", [block::q8_0::VALUES, block::q8_0::BYTES], block::q8_0::values),
    (TensorType::Q4_0, 2, "Q4_0", [block::q4_0::VALUES, block::q4_0::BYTES], block::q4_0::values),
    (TensorType::Q4_1, 3, "Q4_1", [block::q4_1::VALUES, block::q4_1::BYTES], block::q4_1::values),
    (TensorType::Q4K, 12, "Q4_K", [block::q4_k::VALUES, block::q4_k::BYTES], block::q4_k::values),
    (TensorType::Q6K, 14, "Q6_K", [block::q6_k::VALUES, block::q6_k::BYTES], block::q6_k::values),
];

/// Names of the types that are not dequantised here, for messages.
const OTHERS: [(u32, &str); 20] = [
    (6, "Q5_0"),
    (7, "Q5_1"),
    (9, "Q8_1"),
    (10, "Q2_K"),
    (11, "Q3_K"),
    (13, "Q5_K"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
];

impl TensorType {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        TYPES.iter().map(|row| row.0)
    }

    fn row(self) -> &'static (Self, u32, &'static str, [usize; 2], Dequantise) {
        TYPES.iter().find(|row| row.0 == self).expect("every type has a row")
    }

    pub(crate) fn of(number: u32) -> Option<Self> {
        TYPES.iter().find(|row| row.1 == number).map(|row| row.0)
    }

    pub(crate) fn number(self) -> u32 {
        self.row().1
    }

    /// Its name in llama.cpp.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().2
    }

    /// Values of a block, which is whole within a row.
    #[must_use]
    pub fn block_values(self) -> usize {
        self.row().3[0]
    }

    /// Bytes of a block.
    #[must_use]
    pub fn block_bytes(self) -> usize {
        self.row().3[1]
    }

    /// Bytes of so many values, if they are whole blocks and can be counted.
    #[must_use]
    pub fn bytes_of(self, values: u64) -> Option<u64> {
        let block = self.block_values() as u64;
        if !values.is_multiple_of(block) {
            return None;
        }
        (values / block).checked_mul(self.block_bytes() as u64)
    }

    /// The bytes of whole blocks with these values, as near as the type has them; `None` of a type that
    /// is read only: F32, F16 and Q8_0 are written. Values beyond those of half floats become infinite in
    /// F16, and so do scales in Q8_0.
    ///
    /// # Panics
    /// If the values are not whole blocks.
    #[must_use]
    pub fn quantise(self, values: &[f32]) -> Option<Vec<u8>> {
        let (name, block, count) = (self.name(), self.block_values(), values.len());
        assert!(count.is_multiple_of(block), "{count} values in {name}'s blocks of {block}");
        match self {
            Self::F32 => Some(block::float::f32_bytes(values)),
            Self::F16 => Some(block::float::f16_bytes(values)),
            Self::Q8_0 => Some(block::q8_0::bytes(values)),
            Self::Bf16 | Self::Q4_0 | Self::Q4_1 | Self::Q4K | Self::Q6K => None,
        }
    }

    /// The values of whole blocks.
    ///
    /// # Panics
    /// If `bytes` are not the blocks of as many values as `values` has room for.
    pub fn dequantise(self, bytes: &[u8], values: &mut [f32]) {
        let want = self.bytes_of(values.len() as u64);
        let (name, room) = (self.name(), values.len());
        assert!(
            want == Some(bytes.len() as u64),
            "{} bytes of {name} for {room} values",
            bytes.len()
        );
        (self.row().4)(bytes, values);
    }
}

/// What a number in a file stands for, known or not.
pub(crate) fn name_of(number: u32) -> String {
    let other = OTHERS.iter().find(|(own, _)| *own == number).map(|(_, name)| *name);
    match TensorType::of(number).map(TensorType::name).or(other) {
        Some(name) => name.to_owned(),
        None => format!("number {number}"),
    }
}
