//! A GGUF file, written: plain floats and Q8_0.

use std::collections::BTreeMap;
use std::io::{self, Write};

use crate::header::{ALIGNMENT, MAGIC};
use crate::tensor_type::TensorType;
use crate::value::{ARRAY, Array, NumberKind, STRING, Value};

/// The version that is written.
const VERSION: u32 = 3;

/// Metadata and tensors of a file to be.
#[derive(Debug, Default)]
pub struct GgufWriter {
    metadata: BTreeMap<String, Value>,
    tensors: Vec<(String, Vec<usize>, TensorType, Vec<u8>)>,
}

impl GgufWriter {
    /// A file of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With a value under a key, in place of an earlier one. Whole numbers are written as `u32` where
    /// they fit, floats as `f32`: what llama.cpp expects.
    #[must_use]
    pub fn with(mut self, key: &str, value: Value) -> Self {
        self.metadata.insert(key.to_owned(), value);
        self
    }

    /// With a tensor in a form that is written ([`TensorType::quantise`]); sizes outermost first.
    ///
    /// # Panics
    /// If the values are not as many as the sizes say, there are more than four sizes or none, or rows
    /// are not whole blocks of a type that is written.
    #[must_use]
    pub fn with_tensor(
        mut self,
        name: &str,
        shape: &[usize],
        values: &[f32],
        kind: TensorType,
    ) -> Self {
        assert_eq!(values.len(), shape.iter().product::<usize>(), "values of {name} {shape:?}");
        assert!((1..=4).contains(&shape.len()), "sizes of {name}: {shape:?}");
        let (row, block, of) = (shape[shape.len() - 1], kind.block_values(), kind.name());
        assert!(row.is_multiple_of(block), "rows of {row} values of {name} in {of}");
        let bytes = kind.quantise(values).unwrap_or_else(|| panic!("{of} is not written"));
        self.tensors.push((name.to_owned(), shape.to_vec(), kind, bytes));
        self
    }

    /// The whole file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let written = self.write(&mut out);
        debug_assert!(written.is_ok(), "memory takes all bytes");
        out
    }

    /// Writes the whole file.
    ///
    /// # Errors
    /// Whatever `to` says.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let mut head = MAGIC.to_vec();
        head.extend(VERSION.to_le_bytes());
        head.extend((self.tensors.len() as u64).to_le_bytes());
        head.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            string(&mut head, key);
            write_value(&mut head, value);
        }
        let mut offset = 0_u64;
        for (name, shape, kind, bytes) in &self.tensors {
            string(&mut head, name);
            head.extend((shape.len() as u32).to_le_bytes());
            shape.iter().rev().for_each(|&size| head.extend((size as u64).to_le_bytes()));
            head.extend(kind.number().to_le_bytes());
            head.extend(offset.to_le_bytes());
            offset = (offset + bytes.len() as u64).next_multiple_of(ALIGNMENT);
        }
        if !self.tensors.is_empty() {
            fill(&mut head);
        }
        to.write_all(&head)?;
        for (index, (_, _, _, bytes)) in self.tensors.iter().enumerate() {
            to.write_all(bytes)?;
            // llama.cpp's own writer fills up behind the last tensor too; nothing asks for it.
            if index + 1 < self.tensors.len() {
                let rest = bytes.len().next_multiple_of(ALIGNMENT as usize) - bytes.len();
                to.write_all(&vec![0; rest])?;
            }
        }
        Ok(())
    }
}

/// Zeros up to where data may begin.
fn fill(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(ALIGNMENT as usize), 0);
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn number(out: &mut Vec<u8>, kind: NumberKind, bytes: &[u8]) {
    out.extend(kind.number().to_le_bytes());
    out.extend_from_slice(bytes);
}

fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Unsigned(own) => match u32::try_from(*own) {
            Ok(own) => number(out, NumberKind::U32, &own.to_le_bytes()),
            Err(_) => number(out, NumberKind::U64, &own.to_le_bytes()),
        },
        Value::Signed(own) => match i32::try_from(*own) {
            Ok(own) => number(out, NumberKind::I32, &own.to_le_bytes()),
            Err(_) => number(out, NumberKind::I64, &own.to_le_bytes()),
        },
        Value::Float(own) => number(out, NumberKind::F32, &(*own as f32).to_le_bytes()),
        Value::Bool(own) => number(out, NumberKind::Bool, &[u8::from(*own)]),
        Value::String(text) => {
            out.extend(STRING.to_le_bytes());
            string(out, text);
        }
        Value::Array(array) => {
            out.extend(ARRAY.to_le_bytes());
            write_array(out, array);
        }
    }
}

fn write_array(out: &mut Vec<u8>, array: &Array) {
    let kind = match array {
        Array::Numbers { kind, .. } => kind.number(),
        Array::Strings(_) => STRING,
        Array::Arrays(_) => ARRAY,
    };
    out.extend(kind.to_le_bytes());
    out.extend((array.len() as u64).to_le_bytes());
    match array {
        Array::Numbers { bytes, .. } => out.extend_from_slice(bytes),
        Array::Strings(strings) => strings.iter().for_each(|text| string(out, text)),
        Array::Arrays(arrays) => arrays.iter().for_each(|array| write_array(out, array)),
    }
}
