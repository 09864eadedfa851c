use std::sync::Arc;

use ::parquet::data_type::{ByteArray, ByteArrayType, FloatType};
use ::parquet::file::metadata::KeyValue;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;
use ::safetensors::serialize;
use ::safetensors::tensor::{Dtype, TensorView};
use half::f16;

use super::*;

const IDS: [u64; 3] = [7, u64::MAX, 0x0123_4567_89ab_cdef];
const LOGITS: [f32; 6] = [1.0, 2.0, -3.5, 4.0, 0.25, -6.0];

fn bytes<T, const N: usize>(values: &[T], encode: impl Fn(&T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(encode).collect()
}

fn write(name: &str, content: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    (folder, path)
}

fn safetensors_bytes(ids: &[u64], logits: &[f32], names: Option<&str>) -> Vec<u8> {
    let (ids, logits) = (bytes(ids, |v| v.to_le_bytes()), bytes(logits, |v| v.to_le_bytes()));
    let rows = ids.len() / 8;
    let classes = logits.len() / 4 / rows;
    let views = [
        ("ids", TensorView::new(Dtype::U64, vec![rows], &ids).unwrap()),
        ("logits", TensorView::new(Dtype::F32, vec![rows, classes], &logits).unwrap()),
    ];
    let metadata = names.map(|n| HashMap::from([("class_names".to_owned(), n.to_owned())]));
    serialize(views, metadata).unwrap()
}

fn npy(shape: &str, order: &str, descr: &str, values: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.bytes());
    file.extend(values);
    file
}

fn parquet_bytes(ids: &[&str], rows: &[&[f32]]) -> Vec<u8> {
    let names: Vec<String> =
        (0..rows[0].len()).map(|i| char::from(b'a' + i as u8).into()).collect();
    let schema = "message schema { required binary id (utf8); \
                  optional group logits (list) { repeated group list { optional float element; } } }";
    let metadata =
        vec![KeyValue::new("class_names".to_owned(), serde_json::to_string(&names).unwrap())];
    let properties = WriterProperties::builder().set_key_value_metadata(Some(metadata)).build();
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let texts: Vec<ByteArray> = ids.iter().map(|&id| ByteArray::from(id)).collect();
    column.typed::<ByteArrayType>().write_batch(&texts, None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let values = rows.concat();
    let definitions = vec![3; values.len()];
    let repetitions: Vec<i16> =
        rows.iter().flat_map(|row| (0..row.len()).map(|i| i16::from(i > 0))).collect();
    column
        .typed::<FloatType>()
        .write_batch(&values, Some(&definitions), Some(&repetitions))
        .unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.into_inner().unwrap()
}

fn hex() -> [String; 3] {
    IDS.map(|id| SampleId(id).to_string())
}

fn assert_whole(table: &LogitTable) {
    assert_eq!((table.len(), table.classes()), (3, 2));
    for (row, id) in IDS.into_iter().enumerate() {
        assert_eq!(table.get(SampleId(id)), Some(&LOGITS[row * 2..][..2]));
    }
    assert_eq!(table.get(SampleId(8)), None);
}

#[test]
fn all_three_formats_hold_the_same_table() {
    let (_folder, path) =
        write("a.safetensors", &safetensors_bytes(&IDS, &LOGITS, Some("[\"a\", \"b\"]")));
    let table = LogitTable::read(&path).unwrap();
    assert_whole(&table);
    assert_eq!(table.class_names().unwrap(), ["a", "b"]);

    let ids = hex();
    let rows: Vec<&[f32]> = LOGITS.chunks(2).collect();
    let file = parquet_bytes(&ids.each_ref().map(String::as_str), &rows);
    let (_folder, path) = write("a.parquet", &file);
    let table = LogitTable::read(&path).unwrap();
    assert_whole(&table);
    assert_eq!(table.class_names().unwrap(), ["a", "b"]);

    let values = bytes(&LOGITS, |v| v.to_le_bytes());
    let (_folder, path) = write("a.npy", &npy("(3, 2)", "False", "<f4", &values));
    std::fs::write(path.with_extension("ids.txt"), hex().join("\n") + "\n").unwrap();
    let table = LogitTable::read(&path).unwrap();
    assert_whole(&table);
    assert_eq!(table.files().len(), 2);
}

#[test]
fn parquet_files_of_many_pages_are_read() {
    let ids: Vec<String> = (0..60_000).map(|i| SampleId(i).to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    // Different values, so that no dictionary makes one page of them.
    let logits: Vec<f32> = (0..600_000).map(|i| i as f32).collect();
    let rows: Vec<&[f32]> = logits.chunks(10).collect();
    let file = parquet_bytes(&ids, &rows);
    let (_folder, path) = write("a.parquet", &file);
    let table = LogitTable::read(&path).unwrap();
    for row in [0, 19_999, 20_000, 59_999] {
        assert_eq!(table.get(SampleId(row as u64)), Some(rows[row]));
    }
}

#[test]
fn half_precision_is_read() {
    let values = bytes(&LOGITS, |v| f16::from_f32(*v).to_le_bytes());
    let (_folder, path) = write("a.npy", &npy("(3, 2)", "False", "<f2", &values));
    std::fs::write(path.with_extension("ids.txt"), hex().join("\n")).unwrap();
    assert_whole(&LogitTable::read(&path).unwrap());
}

#[test]
fn bytes_are_read_as_whole_numbers() {
    let (_folder, path) = write("a.npy", &npy("(3, 2)", "False", "|u1", &[100, 0, 7, 93, 255, 1]));
    std::fs::write(path.with_extension("ids.txt"), hex().join("\n")).unwrap();
    let table = LogitTable::read(&path).unwrap();
    assert_eq!(table.get(SampleId(IDS[1])), Some(&[7.0, 93.0][..]));
    assert_eq!(table.get(SampleId(IDS[2])), Some(&[255.0, 1.0][..]));
}

fn refused(name: &str, content: &[u8], ids: Option<&str>) -> String {
    let (_folder, path) = write(name, content);
    if let Some(ids) = ids {
        std::fs::write(path.with_extension("ids.txt"), ids).unwrap();
    }
    let error = LogitTable::read(&path).unwrap_err();
    assert!(error.hint().is_some(), "{error}");
    error.to_string()
}

#[test]
fn refuses_what_is_no_table_and_says_why() {
    let whole = safetensors_bytes(&IDS, &LOGITS, None);
    let values = bytes(&LOGITS, |v| v.to_le_bytes());
    let ids = hex().join("\n");
    let nan = [1.0, 2.0, 3.0, f32::NAN, 5.0, 6.0];
    let row: &[f32] = &[1.0, 2.0];
    let cases = [
        (refused("a.txt", b"", None), "ends in none of"),
        (refused("a.safetensors", &whole[..20], None), "no readable safetensors"),
        (
            refused("a.safetensors", &safetensors_bytes(&[1, 2, 1], &LOGITS, None), None),
            "rows 0 and 2",
        ),
        (
            refused("a.safetensors", &safetensors_bytes(&IDS, &nan, None), None),
            "row 1, class 1 is NaN",
        ),
        (
            refused("a.safetensors", &safetensors_bytes(&IDS, &LOGITS, Some("[\"a\"]")), None),
            "1 names",
        ),
        (
            refused("a.safetensors", &safetensors_bytes(&IDS, &LOGITS, Some("x")), None),
            "no JSON list",
        ),
        (refused("a.npy", &npy("(3, 2)", "False", "<f4", &values), None), "a.ids.txt"),
        (
            refused("a.npy", &npy("(3, 2)", "False", "<f4", &values), Some(&hex()[0])),
            "1 ids, but 3 rows",
        ),
        (
            refused(
                "a.npy",
                &npy("(3, 2)", "False", "<f4", &values),
                Some(&ids.replacen('f', "x", 1)),
            ),
            "line 2",
        ),
        (refused("a.npy", &npy("(3, 3)", "False", "<f4", &values), Some(&ids)), "holds 6 values"),
        (
            refused("a.npy", &npy("(6,)", "False", "<f4", &values), Some(&ids)),
            "[n, classes] is expected",
        ),
        (refused("a.npy", &npy("(3, 2)", "True", "<f4", &values), Some(&ids)), "column order"),
        (refused("a.npy", &npy("(3, 2)", "False", "<i8", &values), Some(&ids)), "`<i8`"),
        (refused("a.npy", b"\x93NUMPY\x01\x00\xff\xff{", Some(&ids)), "cut short"),
        (refused("a.parquet", &parquet_bytes(&["7"], &[row]), None), "`7` is not a sample id"),
        (
            refused("a.parquet", &parquet_bytes(&[&hex()[0], &hex()[1]], &[row, &row[..1]]), None),
            "row 1 has 1 logits",
        ),
    ];
    for (message, part) in cases {
        assert!(message.contains(part), "no `{part}` in: {message}");
    }
}

#[test]
fn no_cut_or_flipped_byte_makes_it_panic() {
    let ids = hex();
    let rows: Vec<&[f32]> = LOGITS.chunks(2).collect();
    let values = bytes(&LOGITS, |v| v.to_le_bytes());
    for (name, file) in [
        ("a.safetensors", safetensors_bytes(&IDS, &LOGITS, None)),
        ("a.parquet", parquet_bytes(&ids.each_ref().map(String::as_str), &rows)),
        ("a.npy", npy("(3, 2)", "False", "<f4", &values)),
    ] {
        let (_folder, path) = write(name, &file);
        std::fs::write(path.with_extension("ids.txt"), ids.join("\n")).unwrap();
        for at in 0..file.len() {
            std::fs::write(&path, &file[..at]).unwrap();
            assert!(LogitTable::read(&path).is_err(), "{name} cut at {at}");
            let mut flipped = file.clone();
            flipped[at] ^= 0x55;
            std::fs::write(&path, &flipped).unwrap();
            // Some flips only change a value; none may panic.
            let _ = LogitTable::read(&path);
        }
    }
}
