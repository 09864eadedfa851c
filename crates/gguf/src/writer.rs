//! A GGUF file of plain floats, written.

use std::collections::BTreeMap;

use half::f16;

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

    /// With a tensor as `f32`, or as half floats; sizes outermost first.
    ///
    /// # Panics
    /// If the values are not as many as the sizes say, or there are more than four sizes or none.
    #[must_use]
    pub fn with_tensor(mut self, name: &str, shape: &[usize], values: &[f32], half: bool) -> Self {
        assert_eq!(values.len(), shape.iter().product::<usize>(), "values of {name} {shape:?}");
        assert!((1..=4).contains(&shape.len()), "sizes of {name}: {shape:?}");
        let (kind, bytes): (_, Vec<u8>) = match half {
            true => {
                let halves = values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes());
                (TensorType::F16, halves.collect())
            }
            false => (TensorType::F32, values.iter().flat_map(|x| x.to_le_bytes()).collect()),
        };
        self.tensors.push((name.to_owned(), shape.to_vec(), kind, bytes));
        self
    }

    /// The whole file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(VERSION.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            string(&mut out, key);
            write_value(&mut out, value);
        }
        let mut offset = 0_u64;
        for (name, shape, kind, bytes) in &self.tensors {
            string(&mut out, name);
            out.extend((shape.len() as u32).to_le_bytes());
            shape.iter().rev().for_each(|&size| out.extend((size as u64).to_le_bytes()));
            out.extend(kind.number().to_le_bytes());
            out.extend(offset.to_le_bytes());
            offset = (offset + bytes.len() as u64).next_multiple_of(ALIGNMENT);
        }
        for (_, _, _, bytes) in &self.tensors {
            out.resize(out.len().next_multiple_of(ALIGNMENT as usize), 0);
            out.extend_from_slice(bytes);
        }
        out
    }
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
