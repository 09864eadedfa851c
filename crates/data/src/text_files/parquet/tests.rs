use std::fs;
use std::sync::Arc;

use ::parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use ::parquet::file::metadata::KeyValue;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;

use crate::text::set::tests::unlabelled;
use crate::{DataError, Dataset, Format, ReadOptions, Text};

/// A column and its values; none for an empty one.
enum Column<'a> {
    Texts(&'a str, &'a [Option<&'a str>]),
    Numbers(&'a str, &'a [Option<i64>]),
    Flags(&'a str, &'a [Option<bool>]),
    Floats(&'a str, &'a [Option<f64>]),
    Unsigned(&'a str, &'a [Option<i64>]),
    /// Bytes that are no text, as of an image.
    Bytes(&'a str, &'a [Option<&'a str>]),
}

fn levels<T>(values: &[Option<T>]) -> Vec<i16> {
    values.iter().map(|value| i16::from(value.is_some())).collect()
}

fn table(columns: &[Column<'_>], metadata: Option<serde_json::Value>) -> Vec<u8> {
    let field = |column: &Column<'_>| match column {
        Column::Texts(name, _) => format!("optional binary {name} (utf8);"),
        Column::Numbers(name, _) => format!("optional int64 {name};"),
        Column::Flags(name, _) => format!("optional boolean {name};"),
        Column::Floats(name, _) => format!("optional double {name};"),
        Column::Unsigned(name, _) => format!("optional int64 {name} (integer(64, false));"),
        Column::Bytes(name, _) => format!("optional binary {name};"),
    };
    let fields: String = columns.iter().map(field).collect();
    let schema = parse_message_type(&format!("message schema {{ {fields} }}")).unwrap();
    let pairs =
        metadata.map(|value| vec![KeyValue::new("huggingface".to_owned(), value.to_string())]);
    let properties = WriterProperties::builder().set_key_value_metadata(pairs).build();
    let mut writer =
        SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for own in columns {
        let mut column = group.next_column().unwrap().unwrap();
        match own {
            Column::Texts(_, values) | Column::Bytes(_, values) => {
                let texts: Vec<ByteArray> = values.iter().flatten().map(|&v| v.into()).collect();
                let typed = column.typed::<ByteArrayType>();
                typed.write_batch(&texts, Some(&levels(values)), None).unwrap();
            }
            Column::Floats(_, values) => {
                let numbers: Vec<f64> = values.iter().flatten().copied().collect();
                let typed = column.typed::<DoubleType>();
                typed.write_batch(&numbers, Some(&levels(values)), None).unwrap();
            }
            Column::Numbers(_, values) | Column::Unsigned(_, values) => {
                let numbers: Vec<i64> = values.iter().flatten().copied().collect();
                let typed = column.typed::<Int64Type>();
                typed.write_batch(&numbers, Some(&levels(values)), None).unwrap();
            }
            Column::Flags(_, values) => {
                let flags: Vec<bool> = values.iter().flatten().copied().collect();
                let typed = column.typed::<BoolType>();
                typed.write_batch(&flags, Some(&levels(values)), None).unwrap();
            }
        }
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.into_inner().unwrap()
}

fn files(all: &[(&str, Vec<u8>)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in all {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    folder
}

fn open(folder: &tempfile::TempDir) -> Result<Dataset, DataError> {
    Dataset::open(folder.path(), &ReadOptions::default())
}

fn class_label(names: &[&str]) -> Option<serde_json::Value> {
    let label = serde_json::json!({ "_type": "ClassLabel", "names": names });
    Some(serde_json::json!({ "info": { "features": { "label": label } } }))
}

#[test]
fn texts_class_names_and_missing_labels_are_read() {
    let train = table(
        &[
            Column::Texts("text", &[Some("good"), Some(" bad\n"), Some("new"), None, Some("?")]),
            Column::Numbers("label", &[Some(1), Some(0), None, Some(1), Some(-1)]),
        ],
        class_label(&["neg", "pos"]),
    );
    let test = table(
        &[Column::Texts("text", &[Some("x")]), Column::Numbers("label", &[Some(-1)])],
        class_label(&["neg", "pos"]),
    );
    let folder = files(&[
        ("data/train-00000-of-00001.parquet", train),
        ("data/test-00000-of-00001.parquet", test),
    ]);
    let dataset = open(&folder).unwrap();
    assert_eq!(dataset.format(), Format::TextParquet);
    assert_eq!(dataset.classes(), ["neg", "pos"]);
    let set = dataset.train().texts().unwrap();
    assert_eq!(set.texts(), ["good", "bad"].map(Text::single));
    assert_eq!(set.labels(), [1, 0]);
    assert_eq!(unlabelled(&dataset), ["new", "?"].map(Text::single));
    assert!(dataset.test().is_none());
    let notes = &dataset.findings().notes;
    assert!(notes.iter().any(|note| note.contains("parquet`, row 3")), "{notes:?}");
}

#[test]
fn labels_may_be_texts_or_flags_and_texts_pairs() {
    let texts = &[Some("a"), Some("b"), Some("c")][..];
    let others = &[Some("x"), Some("y"), None][..];
    for (label, classes, labels) in [
        (Column::Texts("label", &[Some("u"), Some("t"), Some("u")]), ["t", "u"], [1, 0, 1]),
        (
            Column::Flags("label", &[Some(true), Some(false), Some(true)]),
            ["false", "true"],
            [1, 0, 1],
        ),
        (Column::Numbers("label", &[Some(0), Some(1), Some(1)]), ["0", "1"], [0, 1, 1]),
    ] {
        let columns =
            [Column::Texts("sentence1", texts), Column::Texts("sentence2", others), label];
        let dataset = open(&files(&[("train.parquet", table(&columns, None))])).unwrap();
        let set = dataset.train().texts().unwrap();
        assert_eq!(
            (dataset.classes(), set.labels()),
            (&classes.map(str::to_owned)[..], &labels[..])
        );
        assert_eq!(set.texts()[1], Text { first: "b".into(), second: Some("y".into()) });
        assert_eq!(set.texts()[2], Text { first: "c".into(), second: Some("".into()) });
    }
}

#[test]
fn files_with_images_stay_files_of_images() {
    let columns = || {
        [
            Column::Bytes("image", &[Some("no image"), Some("none")]),
            Column::Texts("text", &[Some("a"), Some("b")]),
            Column::Numbers("label", &[Some(0), Some(1)]),
        ]
    };
    let folder = files(&[("train.parquet", table(&columns(), None))]);
    let error = open(&folder).unwrap_err();
    assert!(matches!(error, DataError::NotAnImage { .. }), "{error}");
    let options = ReadOptions { text_column: Some("text".into()), ..ReadOptions::default() };
    let dataset = Dataset::open(folder.path(), &options);
    assert_eq!(dataset.unwrap().format(), Format::TextParquet);
    // Neither of them: the reader of images says which columns there are.
    let columns = [Column::Texts("a", &[Some("x")]), Column::Numbers("b", &[Some(0)])];
    let error = open(&files(&[("train.parquet", table(&columns, None))])).unwrap_err();
    assert!(matches!(error, DataError::Column { .. }), "{error}");
    assert!(error.hint().unwrap().contains("text_column"), "{:?}", error.hint());
}

#[test]
fn a_column_of_another_type_is_refused() {
    let columns = [Column::Numbers("text", &[Some(1)]), Column::Numbers("label", &[Some(0)])];
    let folder = files(&[("train.parquet", table(&columns, None))]);
    let error = open(&folder).unwrap_err();
    assert!(error.to_string().contains("column `text` holds no texts"), "{error}");
}

#[test]
fn labels_of_tables_with_missing_numbers_are_floats() {
    let texts = Column::Texts("text", &[Some("a"), Some("b"), Some("c"), Some("d")]);
    let labels = [Some(1.0), Some(f64::NAN), Some(0.0), None];
    let columns = [texts, Column::Floats("label", &labels)];
    let dataset = open(&files(&[("train.parquet", table(&columns, None))])).unwrap();
    assert_eq!(
        (dataset.classes(), dataset.train().labels()),
        (&["0".to_owned(), "1".into()][..], &[1, 0][..])
    );
    assert_eq!(unlabelled(&dataset), ["b", "d"].map(Text::single));
    let columns = [
        Column::Texts("text", &[Some("a"), Some("b")]),
        Column::Floats("label", &[Some(0.5), Some(1.0)]),
    ];
    let error = open(&files(&[("train.parquet", table(&columns, None))])).unwrap_err();
    assert!(error.to_string().contains("`0.5` is no whole number"), "{error}");
    let columns = [
        Column::Texts("text", &[Some("a"), Some("b")]),
        Column::Unsigned("label", &[Some(-1), Some(1)]),
    ];
    let error = open(&files(&[("train.parquet", table(&columns, None))])).unwrap_err();
    assert!(error.to_string().contains("`18446744073709551615`"), "{error}");
}

#[test]
fn texts_that_their_file_calls_bytes_are_texts() {
    let columns = |text: &'static str| {
        [
            Column::Bytes("text", &[Some("good"), Some("bad")]),
            Column::Numbers(text, &[Some(0), Some(1)]),
        ]
    };
    let folder = files(&[("train.parquet", table(&columns("label"), None))]);
    let dataset = open(&folder).unwrap();
    let set = dataset.train().texts().unwrap();
    assert_eq!(set.texts(), ["good", "bad"].map(Text::single));
    let folder = files(&[("train.parquet", table(&columns("text"), None))]);
    let error = open(&folder).unwrap_err();
    assert!(error.to_string().contains("several columns are called `text`"), "{error}");
}
