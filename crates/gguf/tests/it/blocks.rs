//! Values of every type, against llama.cpp's own package and against the definitions bit by bit.

use std::path::{Path, PathBuf};

use faculty_gguf::{Array, GgufFile, GgufWriter, NumberKind, TensorType, Value};

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/blocks.gguf")
}

#[test]
fn every_type_has_the_values_of_llama_cpps_package() {
    let mut file = GgufFile::open(&path()).unwrap();
    for kind in TensorType::all() {
        let name = kind.name().to_lowercase();
        let info = file.tensor(&name).unwrap_or_else(|| panic!("no {name}"));
        assert_eq!((info.shape.as_slice(), &info.kind), ([2, 512].as_slice(), &Ok(kind)));
        let (got, want) = (file.read(&name).unwrap(), file.read(&format!("want.{name}")).unwrap());
        for (index, (got, want)) in got.iter().zip(&want).enumerate() {
            // One rounding more or less of a scale times another.
            let near = (got - want).abs() <= 1e-6 * want.abs().max(1e-3);
            assert!(near, "{name}[{index}]: {got}, the package says {want}");
        }
    }
}

#[test]
fn q8_0_has_the_bytes_of_llama_cpps_package() {
    let mut file = GgufFile::open(&path()).unwrap();
    let (floats, want) = (file.read("floats").unwrap(), file.read("bytes.q8_0").unwrap());
    let got = TensorType::Q8_0.quantise(&floats).unwrap();
    let got: Vec<f32> = got.into_iter().map(f32::from).collect();
    assert_eq!(want.len(), floats.len() / 32 * 34);
    assert_eq!(got, want);
    // Read back, a value is off by half a step, and by the rounding of the scale.
    let mut values = vec![0.0; floats.len()];
    TensorType::Q8_0.dequantise(&TensorType::Q8_0.quantise(&floats).unwrap(), &mut values);
    for (own, back) in floats.chunks(32).zip(values.chunks(32)) {
        let most = own.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        // Scales below the half floats' normal ones are coarser.
        for (x, y) in own.iter().zip(back).filter(|_| most > 0.01) {
            assert!((x - y).abs() <= most * (0.5 / 127.0 + 0.5 / 1024.0), "{x} became {y}");
        }
    }
}

#[test]
fn metadata_of_every_kind_are_read() {
    let file = GgufFile::open(&path()).unwrap();
    assert_eq!(file.version(), 3);
    assert_eq!(file.unsigned("test.unsigned").unwrap(), Some(7));
    assert_eq!(file.metadata()["test.signed"], Value::Signed(-7));
    assert_eq!(file.float("test.float").unwrap(), Some(0.5));
    assert_eq!(file.bool("test.bool").unwrap(), Some(true));
    assert_eq!(file.string("test.string").unwrap(), Some("naïve"));
    let strings = file.array("test.strings").unwrap().unwrap().strings().unwrap();
    assert_eq!(strings, ["a", "", "Ġb"]);
    let numbers: Vec<_> = file.array("test.numbers").unwrap().unwrap().numbers().collect();
    assert_eq!(numbers, [1, -2, 3].map(Value::Signed));
    let floats: Vec<_> = file.array("test.floats").unwrap().unwrap().numbers().collect();
    assert_eq!(floats, [0.5, -1.5].map(Value::Float));
    assert_eq!(file.unsigned("test.missing").unwrap(), None);
    for (key, error) in [
        ("test.string", file.unsigned("test.string").unwrap_err()),
        ("test.signed", file.unsigned("test.signed").unwrap_err()),
        ("test.bool", file.string("test.bool").unwrap_err()),
        ("test.none", file.required("test.none", None::<()>).unwrap_err()),
    ] {
        let text = error.to_string();
        assert!(text.contains(key) && text.contains("blocks.gguf"), "{text}");
    }
}

/// Bits `first..first + count` of a byte.
fn bits(byte: u8, first: u32, count: u32) -> f32 {
    f32::from((byte >> first) & ((1 << count) - 1))
}

/// A block of bytes that all differ, with these half floats at these places.
fn block(kind: TensorType, halves: &[(usize, f32)]) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..kind.block_bytes()).map(|i| (i * 37 + 11) as u8).collect();
    for &(at, value) in halves {
        bytes[at..at + 2].copy_from_slice(&half::f16::from_f32(value).to_le_bytes());
    }
    bytes
}

fn check(kind: TensorType, bytes: &[u8], want: impl Fn(usize) -> f32) {
    let mut values = vec![f32::NAN; kind.block_values()];
    kind.dequantise(bytes, &mut values);
    for (index, &value) in values.iter().enumerate() {
        let want = want(index);
        let near = (value - want).abs() <= 1e-6 * want.abs().max(1e-3);
        assert!(near, "{}[{index}]: {value}, by definition {want}", kind.name());
    }
}

#[test]
fn blocks_of_32_are_read_by_their_definition() {
    let bytes = block(TensorType::Q8_0, &[(0, 0.5)]);
    check(TensorType::Q8_0, &bytes, |i| 0.5 * f32::from(bytes[2 + i].cast_signed()));
    let nibble = |byte: u8, i: usize| bits(byte, if i < 16 { 0 } else { 4 }, 4);
    let bytes = block(TensorType::Q4_0, &[(0, -0.25)]);
    check(TensorType::Q4_0, &bytes, |i| -0.25 * (nibble(bytes[2 + i % 16], i) - 8.0));
    let bytes = block(TensorType::Q4_1, &[(0, 0.25), (2, -3.0)]);
    check(TensorType::Q4_1, &bytes, |i| 0.25 * nibble(bytes[4 + i % 16], i) - 3.0);
}

#[test]
fn blocks_of_256_are_read_by_their_definition() {
    let bytes = block(TensorType::Q4K, &[(0, 0.5), (2, 0.25)]);
    let packed = |i: usize| bytes[4 + i];
    let scale = |group: usize| match group {
        0..4 => bits(packed(group), 0, 6),
        _ => bits(packed(group + 4), 0, 4) + 16.0 * bits(packed(group - 4), 6, 2),
    };
    let minimum = |group: usize| match group {
        0..4 => bits(packed(group + 4), 0, 6),
        _ => bits(packed(group + 4), 4, 4) + 16.0 * bits(packed(group), 6, 2),
    };
    check(TensorType::Q4K, &bytes, |i| {
        let group = i / 32;
        let q = bits(bytes[16 + 32 * (group / 2) + i % 32], 4 * (group as u32 % 2), 4);
        0.5 * scale(group) * q - 0.25 * minimum(group)
    });
    let bytes = block(TensorType::Q6K, &[(208, 0.125)]);
    check(TensorType::Q6K, &bytes, |i| {
        let (half, within) = (i / 128, i % 128);
        let (quarter, l) = (within / 32, within % 32);
        let low = bytes[64 * half + within % 64];
        let high = bytes[128 + 32 * half + l];
        let q = bits(low, if quarter < 2 { 0 } else { 4 }, 4)
            + 16.0 * bits(high, 2 * quarter as u32, 2);
        0.125 * f32::from(bytes[192 + i / 16].cast_signed()) * (q - 32.0)
    });
}

#[test]
fn what_is_written_is_read_back() {
    let values: Vec<f32> = (0..6).map(|i| i as f32 - 2.5).collect();
    let numbers = [1_i32, -1].iter().flat_map(|n| n.to_le_bytes()).collect();
    let pairs = [
        ("a.count", Value::Unsigned(3)),
        ("a.large", Value::Unsigned(1 << 40)),
        ("a.below", Value::Signed(-3)),
        ("a.float", Value::Float(0.25)),
        ("a.flag", Value::Bool(false)),
        ("a.text", Value::String("x\0é".to_owned())),
        ("a.words", Value::Array(Array::Strings(vec!["p".to_owned(), String::new()]))),
        ("a.kinds", Value::Array(Array::Numbers { kind: NumberKind::I32, bytes: numbers })),
        ("a.nested", Value::Array(Array::Arrays(vec![Array::Strings(Vec::new())]))),
    ];
    let mut writer = GgufWriter::new();
    for (key, value) in pairs.clone() {
        writer = writer.with(key, value);
    }
    let writer = writer.with_tensor("one", &[2, 3], &values, TensorType::F32);
    let writer = writer.with_tensor("two", &[3, 2], &values, TensorType::F16);
    let blocks: Vec<f32> = (0..64).map(|i| (i % 32) as f32 - 12.0).collect();
    let bytes = writer.with_tensor("three", &[2, 32], &blocks, TensorType::Q8_0).to_bytes();
    let len = bytes.len() as u64;
    let source = std::io::Cursor::new(bytes);
    let mut file = GgufFile::from_reader(source, len, Path::new("own.gguf")).unwrap();
    for (key, value) in &pairs {
        assert_eq!(&file.metadata()[*key], value, "{key}");
    }
    assert_eq!(file.tensor("one").unwrap().shape, [2, 3]);
    assert_eq!(file.tensor("two").unwrap().kind, Ok(TensorType::F16));
    assert_eq!(file.read("one").unwrap(), values);
    assert_eq!(file.read("two").unwrap(), values);
    assert_eq!(file.tensor("three").unwrap().kind, Ok(TensorType::Q8_0));
    for (got, want) in file.read("three").unwrap().iter().zip(&blocks) {
        assert!((got - want).abs() <= 19.0 / 254.0 + 0.01, "{got}, {want} expected");
    }
    assert_eq!(TensorType::Q6K.quantise(&[0.0; 256]), None);
}
