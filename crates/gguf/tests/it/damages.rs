//! Files that are cut, damaged or made to deceive: an error, never a panic, never much memory.

use std::io::Cursor;
use std::path::Path;

use faculty_gguf::{Array, GgufError, GgufFile, GgufWriter, Result, TensorType, Value};

fn open(bytes: &[u8]) -> Result<GgufFile<Cursor<Vec<u8>>>> {
    let source = Cursor::new(bytes.to_vec());
    GgufFile::from_reader(source, bytes.len() as u64, Path::new("test.gguf"))
}

/// Header and all tensors.
fn read_all(bytes: &[u8]) -> Result<()> {
    let mut file = open(bytes)?;
    let names: Vec<String> = file.tensors().iter().map(|tensor| tensor.name.clone()).collect();
    names.iter().try_for_each(|name| file.read(name).map(|_| ()))
}

fn small() -> GgufWriter {
    let words = vec!["a".to_owned(), "bc".to_owned()];
    GgufWriter::new()
        .with("general.architecture", Value::String("llama".to_owned()))
        .with("general.count", Value::Unsigned(2))
        .with("tokens", Value::Array(Array::Strings(words)))
        .with_tensor("one", &[2, 4], &[1.0; 8], TensorType::F32)
        .with_tensor("two", &[32], &[0.5; 32], TensorType::F16)
}

/// Where these bytes are.
fn find(bytes: &[u8], part: &[u8]) -> usize {
    bytes.windows(part.len()).position(|window| window == part).expect("it is there")
}

#[test]
fn a_file_cut_at_any_byte_is_refused() {
    let bytes = small().to_bytes();
    read_all(&bytes).unwrap();
    for end in 0..bytes.len() {
        let error = read_all(&bytes[..end]).expect_err("a part of the file");
        assert!(error.to_string().contains("test.gguf"), "{error}");
        assert!(!error.hint().is_empty());
    }
}

#[test]
fn no_byte_can_do_harm() {
    let bytes = small().to_bytes();
    for at in 0..bytes.len() {
        for byte in [0, 1, 0x7f, 0x80, 0xff, bytes[at] ^ 1, bytes[at] ^ 0x40] {
            let mut other = bytes.clone();
            other[at] = byte;
            // Accepted or refused, but in bounded memory and without a panic.
            if let Ok(mut file) = open(&other) {
                for tensor in file.tensors().to_vec() {
                    assert!(tensor.elements() <= 8 * other.len(), "{tensor:?}");
                    let _ = file.read(&tensor.name);
                }
            }
        }
    }
}

#[test]
fn counts_beyond_the_file_are_refused_before_memory_is_taken() {
    let bytes = small().to_bytes();
    let huge = [u64::MAX, 1 << 62, 1 << 40, bytes.len() as u64];
    // Tensors, keys, the length of a key, of a string, of an array, of a name.
    let key = find(&bytes, b"general.architecture") - 8;
    let string = find(&bytes, b"llama") - 8;
    let array = find(&bytes, b"tokens") + 6 + 4 + 4;
    let name = find(&bytes, b"one") - 8;
    for place in [8, 16, key, string, array, name] {
        for count in huge {
            let mut other = bytes.clone();
            other[place..place + 8].copy_from_slice(&count.to_le_bytes());
            let error = read_all(&other).expect_err("an absurd count");
            let kind = matches!(error, GgufError::Damaged { .. } | GgufError::CutShort { .. });
            assert!(kind, "{place} {count}: {error}");
        }
    }
    // Sizes of a tensor, and its place.
    for place in [find(&bytes, b"one") + 3 + 4, find(&bytes, b"one") + 3 + 4 + 16 + 4] {
        for count in huge {
            let mut other = bytes.clone();
            other[place..place + 8].copy_from_slice(&count.to_le_bytes());
            assert!(read_all(&other).is_err(), "{place} {count}");
        }
    }
}

#[test]
fn errors_say_what_is_wrong() {
    let bytes = small().to_bytes();
    let changed = |place: usize, to: &[u8]| {
        let mut other = bytes.clone();
        other[place..place + to.len()].copy_from_slice(to);
        read_all(&other).unwrap_err().to_string()
    };
    let one = find(&bytes, b"one");
    let kind = one + 3 + 4 + 16;
    let cases = [
        (changed(0, b"PK\x03\x04"), "zip archive"),
        (changed(0, b"ggml"), "older format"),
        (changed(4, &1_u32.to_le_bytes()), "version 1; 2 and 3"),
        (changed(4, &3_u32.to_be_bytes()), "big-endian"),
        (changed(find(&bytes, b"two"), b"one"), "tensor `one` is there twice"),
        (changed(one + 3, &9_u32.to_le_bytes()), "9 dimensions"),
        (changed(kind, &11_u32.to_le_bytes()), "Q3_K; read are F32, F16"),
        (changed(kind, &99_u32.to_le_bytes()), "number 99"),
        (changed(kind, &8_u32.to_le_bytes()), "rows of 4 values, Q8_0 has blocks of 32"),
        (changed(find(&bytes, b"llama"), &[0xff]), "no UTF-8"),
        (changed(find(&bytes, b"general.count") + 13, &77_u32.to_le_bytes()), "no type 77"),
        (changed(bytes.len() - 2, &[0x00, 0x7c]), "tensor `two` in `test.gguf` holds inf"),
        (changed(find(&bytes, b"two") + 3 + 4 + 8 + 4, &[0]), "tensor"),
    ];
    for (error, want) in cases {
        assert!(error.contains(want), "{error}, {want} expected");
    }
    let mut file = open(&bytes).unwrap();
    assert!(file.read("three").unwrap_err().to_string().contains("no tensor `three`"));
    let missing = GgufFile::open(Path::new("/nowhere/model.gguf")).unwrap_err();
    assert!(matches!(missing, GgufError::Read { .. }) && missing.to_string().contains("nowhere"));
    assert!(matches!(GgufFile::open(Path::new("/")), Err(GgufError::Read { .. })));
}

#[test]
fn arrays_cannot_be_nested_without_end() {
    let mut bytes = GgufWriter::new().with("deep", Value::Bool(true)).to_bytes();
    bytes.truncate(find(&bytes, b"deep") + 4);
    bytes.extend(9_u32.to_le_bytes());
    for _ in 0..10_000 {
        bytes.extend(9_u32.to_le_bytes());
        bytes.extend(1_u64.to_le_bytes());
    }
    let error = open(&bytes).unwrap_err().to_string();
    assert!(error.contains("more than 4 deep"), "{error}");
}
