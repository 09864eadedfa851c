use std::fs;
use std::sync::Arc;

use ::parquet::basic::Compression;
use ::parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use ::parquet::file::metadata::KeyValue;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;

use super::*;
use crate::image::picture::tests::{jpeg, png_colour, png_grey};

/// What a test file is made of.
struct Contents<'a> {
    /// `None` for an empty value.
    images: Vec<Option<Vec<u8>>>,
    /// Name and values of each label column.
    labels: Vec<(&'a str, Vec<Option<i64>>)>,
    /// The type of the column `label` in their place, and its values, whole ones for a flag.
    other: Option<(&'a str, [f64; 3])>,
    metadata: Option<String>,
    rows_per_group: usize,
    compression: Compression,
}

fn three_images() -> Vec<Option<Vec<u8>>> {
    vec![Some(png_colour(4, 5, 0)), Some(jpeg(4, 5, 60)), Some(png_grey(4, 5, 2))]
}

fn class_label(columns: &[(&str, &[&str])]) -> Option<String> {
    let mut features = serde_json::json!({ "img": { "_type": "Image" } });
    for (name, names) in columns {
        features[name] = serde_json::json!({ "_type": "ClassLabel", "names": names });
    }
    Some(serde_json::json!({ "info": { "features": features } }).to_string())
}

impl Default for Contents<'_> {
    fn default() -> Self {
        Self {
            images: three_images(),
            labels: vec![("label", vec![Some(1), Some(0), Some(1)])],
            other: None,
            metadata: class_label(&[("label", &["cat", "dog"])]),
            rows_per_group: 2,
            compression: Compression::SNAPPY,
        }
    }
}

impl Contents<'_> {
    fn bytes(&self) -> Vec<u8> {
        let labels: String = match self.other {
            None => self.labels.iter().map(|(name, _)| format!("optional int64 {name};")).collect(),
            Some((kind, _)) => format!("{} label;", kind.replace("float64", "double")),
        };
        let schema = format!(
            "message schema {{ optional group img {{ optional binary bytes; \
             optional binary path (utf8); }} {labels} }}"
        );
        let schema = Arc::new(parse_message_type(&schema).unwrap());
        let metadata =
            self.metadata.clone().map(|text| vec![KeyValue::new("huggingface".to_owned(), text)]);
        let properties = WriterProperties::builder()
            .set_compression(self.compression)
            .set_key_value_metadata(metadata)
            .build();
        let mut writer =
            SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).unwrap();
        let rows: Vec<usize> = (0..self.images.len()).collect();
        for rows in rows.chunks(self.rows_per_group) {
            let mut group = writer.next_row_group().unwrap();
            let images: Vec<_> = rows.iter().map(|&row| self.images[row].as_ref()).collect();
            let levels: Vec<i16> = images.iter().map(|v| if v.is_some() { 2 } else { 1 }).collect();
            let values: Vec<ByteArray> =
                images.iter().flatten().map(|bytes| (*bytes).clone().into()).collect();
            let paths = vec![1; rows.len()];
            for (values, levels) in [(values, levels), (vec![], paths)] {
                let mut column = group.next_column().unwrap().unwrap();
                let typed = column.typed::<ByteArrayType>();
                typed.write_batch(&values, Some(&levels), None).unwrap();
                column.close().unwrap();
            }
            if let Some((kind, values)) = self.other {
                let values: Vec<f64> = rows.iter().map(|&row| values[row]).collect();
                let mut column = group.next_column().unwrap().unwrap();
                match kind.split(' ').nth(1).unwrap() {
                    "double" => column.typed::<DoubleType>().write_batch(&values, None, None),
                    "boolean" => {
                        let flags: Vec<bool> = values.iter().map(|&value| value != 0.0).collect();
                        column.typed::<BoolType>().write_batch(&flags, None, None)
                    }
                    _ => {
                        let levels = vec![1; values.len()];
                        let begins = vec![0; values.len()];
                        let typed = column.typed::<DoubleType>();
                        typed.write_batch(&values, Some(&levels), Some(&begins))
                    }
                }
                .unwrap();
                column.close().unwrap();
                group.close().unwrap();
                continue;
            }
            for (_, labels) in &self.labels {
                let labels: Vec<_> = rows.iter().map(|&row| labels[row]).collect();
                let levels: Vec<i16> = labels.iter().map(|v| i16::from(v.is_some())).collect();
                let values: Vec<i64> = labels.into_iter().flatten().collect();
                let mut column = group.next_column().unwrap().unwrap();
                column.typed::<Int64Type>().write_batch(&values, Some(&levels), None).unwrap();
                column.close().unwrap();
            }
            group.close().unwrap();
        }
        writer.into_inner().unwrap()
    }
}

fn files(files: &[(&str, Vec<u8>)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    folder
}

const TRAIN: &str = "train-00000-of-00001.parquet";
const TEST: &str = "test-00000-of-00001.parquet";

fn only(contents: &Contents<'_>) -> tempfile::TempDir {
    files(&[(TRAIN, contents.bytes())])
}

fn open(folder: &tempfile::TempDir) -> Result<Dataset, DataError> {
    Dataset::open(folder.path(), &ReadOptions::default())
}

fn refuse(contents: &Contents<'_>) -> DataError {
    open(&only(contents)).unwrap_err()
}

fn with_label(column: &str) -> ReadOptions {
    ReadOptions { label_column: Some(column.to_owned()), ..ReadOptions::default() }
}

#[test]
fn reads_images_labels_and_class_names() {
    let contents = Contents::default();
    let folder = files(&[(TRAIN, contents.bytes()), (TEST, contents.bytes())]);
    let dataset = open(&folder).unwrap();
    assert_eq!(dataset.format(), Format::Parquet);
    assert_eq!(dataset.classes(), ["cat", "dog"]);
    assert_eq!(dataset.shape().unwrap(), [3, 4, 5]);
    assert_eq!(dataset.train().labels(), [1, 0, 1]);
    assert_eq!(dataset.train().images().unwrap().image(0)[1], 7);
    assert_eq!(dataset.test().unwrap().images(), dataset.train().images());
}

#[test]
fn every_supported_compression_gives_the_same_dataset() {
    let fingerprint = open(&only(&Contents::default())).unwrap().fingerprint();
    for compression in [Compression::UNCOMPRESSED, Compression::GZIP(Default::default())] {
        let contents = Contents { compression, ..Contents::default() };
        assert_eq!(open(&only(&contents)).unwrap().fingerprint(), fingerprint);
    }
}

#[test]
fn finds_the_files_in_data_and_in_the_only_subfolder_but_refuses_two() {
    let bytes = || Contents::default().bytes();
    assert!(open(&files(&[(&format!("data/{TRAIN}"), bytes())])).is_ok());
    assert!(open(&files(&[(&format!("mnist/{TRAIN}"), bytes())])).is_ok());
    let two = files(&[(&format!("a/{TRAIN}"), bytes()), (&format!("b/{TRAIN}"), bytes())]);
    let error = open(&two).unwrap_err();
    assert!(matches!(&error, DataError::SeveralDatasets { folders, .. } if folders.len() == 2));
}

#[test]
fn shards_are_read_in_order_and_a_missing_one_is_named() {
    let shard = |label| {
        let labels = vec![("label", vec![Some(label); 3])];
        Contents { labels, ..Contents::default() }.bytes()
    };
    let folder = files(&[
        ("train-00001-of-00002.parquet", shard(1)),
        ("train-00000-of-00002.parquet", shard(0)),
    ]);
    assert_eq!(open(&folder).unwrap().train().labels(), [0, 0, 0, 1, 1, 1]);
    fs::remove_file(folder.path().join("train-00001-of-00002.parquet")).unwrap();
    let error = open(&folder).unwrap_err();
    assert!(
        matches!(&error, DataError::MissingFile { path }
            if path.ends_with("train-00001-of-00002.parquet")),
        "{error}"
    );
}

fn labelled(labels: [i64; 3]) -> Vec<u8> {
    let labels = vec![("label", labels.map(Some).to_vec())];
    Contents { labels, ..Contents::default() }.bytes()
}

#[test]
fn each_split_has_the_role_of_its_name_and_one_without_labels_is_left_out() {
    let validation = "validation-00000-of-00001.parquet";
    let folder = files(&[
        (TRAIN, labelled([1, 0, 1])),
        (TEST, labelled([-1; 3])),
        (validation, labelled([1, 1, 1])),
    ]);
    // Unlabelled, as the test split of ImageNet.
    let dataset = open(&folder).unwrap();
    assert_eq!(dataset.validation().unwrap().labels(), [1, 1, 1]);
    assert!(dataset.test().is_none());
    assert_eq!(dataset.findings().notes[0], "`test` is not used: its samples have no labels");
    let options = |test: &str| ReadOptions { test: Some(test.into()), ..ReadOptions::default() };
    let dataset = Dataset::open(folder.path(), &options("validation")).unwrap();
    assert_eq!(dataset.test().unwrap().labels(), [1, 1, 1]);
    assert!(dataset.validation().is_none());
    let error = Dataset::open(folder.path(), &options("test")).unwrap_err();
    assert!(matches!(&error, DataError::Unlabelled { key: "test", .. }), "{error}");
    let error = Dataset::open(folder.path(), &options("absent")).unwrap_err();
    assert!(matches!(&error, DataError::NoSplit { key: "test", .. }), "{error}");
    // Some labels missing are an error.
    fs::write(folder.path().join(TEST), labelled([0, -1, 1])).unwrap();
    let error = open(&folder).unwrap_err();
    assert!(matches!(error, DataError::LabelOutOfRange { row: 1, label: -1, .. }), "{error}");
    assert!(error.hint().unwrap().contains("`test = \"none\"`"));
}

#[test]
fn the_hubs_own_conversion_and_cache_are_read() {
    let bytes = || Contents::default().bytes();
    for config in ["default", "plain_text", "snapshots/0123abc", "snapshots/0123abc/data"] {
        let at = |file: &str| format!("{config}/{file}");
        let (first, second, test) =
            (at("train/0000.parquet"), at("train/0001.parquet"), at("test/0000.parquet"));
        let folder = files(&[(&first, bytes()), (&second, bytes()), (&test, bytes())]);
        let dataset = open(&folder).unwrap();
        assert_eq!((dataset.train().len(), dataset.test().unwrap().len()), (6, 3), "{config}");
        fs::rename(folder.path().join(second), folder.path().join(at("train/0002.parquet")))
            .unwrap();
        let error = open(&folder).unwrap_err();
        assert!(
            matches!(&error, DataError::MissingFile { path } if path.ends_with("0001.parquet"))
        );
    }
}

#[test]
fn a_split_may_be_a_file_elsewhere() {
    let (folder, other) = (only(&Contents::default()), only(&Contents::default()));
    let path = other.path().join(TRAIN).to_str().unwrap().to_owned();
    let options = ReadOptions { validation: Some(path), ..ReadOptions::default() };
    assert_eq!(Dataset::open(folder.path(), &options).unwrap().validation().unwrap().len(), 3);
}

#[test]
fn other_compressions_are_read_without_c() {
    for bytes in [
        &include_bytes!("../../tests/files/zstd.parquet")[..],
        include_bytes!("../../tests/files/zstd-v2.parquet"),
        include_bytes!("../../tests/files/lz4.parquet"),
        include_bytes!("../../tests/files/brotli.parquet"),
    ] {
        let dataset = open(&files(&[(TRAIN, bytes.to_vec())])).unwrap();
        assert_eq!(
            (dataset.shape().unwrap(), dataset.train().labels()),
            ([1, 4, 5], &[0, 1, 1, 0][..])
        );
        assert_eq!(dataset.train().images().unwrap().image(2)[..3], [2, 5, 8]);
        // Metadata may change without harm; nothing else, and nothing panics.
        for at in 0..bytes.len() {
            let mut bad = bytes.to_vec();
            bad[at] ^= 0x55;
            drop(open(&files(&[(TRAIN, bad)])));
        }
    }
}

#[test]
fn fine_labels_are_preferred_to_coarse_ones_and_both_can_be_named() {
    let contents = Contents {
        labels: vec![
            ("coarse_label", vec![Some(0), Some(1), Some(2)]),
            ("fine_label", vec![Some(1), Some(0), Some(1)]),
        ],
        metadata: class_label(&[
            ("coarse_label", &["fruit", "fish", "bird"]),
            ("fine_label", &["apple", "bear"]),
        ]),
        ..Contents::default()
    };
    let folder = only(&contents);
    assert_eq!(open(&folder).unwrap().classes(), ["apple", "bear"]);
    let coarse = Dataset::open(folder.path(), &with_label("coarse_label")).unwrap();
    assert_eq!(coarse.classes(), ["fruit", "fish", "bird"]);
    assert_eq!(coarse.train().labels(), [0, 1, 2]);
}

#[test]
fn labels_of_other_types_are_read_if_they_are_classes() {
    let with = |kind, values| {
        let other = Some((kind, values));
        open(&only(&Contents { other, metadata: None, ..Contents::default() }))
    };
    let dataset = with("required double", [1.0, 0.0, 1.0]).unwrap();
    assert_eq!((dataset.classes().len(), dataset.train().labels()), (2, &[1, 0, 1][..]));
    let dataset = with("required boolean", [1.0, 0.0, 1.0]).unwrap();
    assert_eq!(dataset.classes(), ["false", "true"]);
    assert_eq!(dataset.train().labels(), [1, 0, 1]);
    let error = with("required double", [1.0, 0.5, 1.0]).unwrap_err();
    assert!(error.to_string().contains("`label` is 0.5 in row 1"), "{error}");
    let error = with("required double", [1.0, f64::NAN, 0.0]).unwrap_err();
    assert!(matches!(error, DataError::MissingValue { row: 1, .. }), "{error}");
    let error = with("repeated float64", [1.0, 0.0, 1.0]).unwrap_err();
    assert!(error.to_string().contains("`label` holds neither numbers nor texts"), "{error}");
}

#[test]
fn a_label_column_that_cannot_be_told_lists_the_candidates() {
    let labels = || vec![("a", vec![Some(0); 3]), ("b", vec![Some(1), Some(0), Some(1)])];
    for metadata in [None, class_label(&[("a", &["x", "y"]), ("b", &["x", "y"])])] {
        let contents = Contents { labels: labels(), metadata, ..Contents::default() };
        let error = refuse(&contents);
        assert!(error.to_string().contains("`a`, `b`"), "{error}");
        assert!(error.hint().unwrap().contains("label_column"));
        let dataset = Dataset::open(only(&contents).path(), &with_label("b")).unwrap();
        assert_eq!(dataset.train().labels(), [1, 0, 1]);
        let error = Dataset::open(only(&contents).path(), &with_label("c")).unwrap_err();
        assert!(error.to_string().contains("no label column `c`"), "{error}");
    }
}

#[test]
fn without_class_names_the_classes_are_numbers_or_those_of_the_caller() {
    let labels = vec![("label", vec![Some(2), Some(0), Some(0)])];
    let contents = Contents { labels, metadata: None, ..Contents::default() };
    let folder = only(&contents);
    let dataset = Dataset::open(folder.path(), &with_label("label")).unwrap();
    assert_eq!(dataset.classes(), ["0", "1", "2"]);
    let classes = Some(vec!["a".to_owned(), "b".to_owned()]);
    let options = ReadOptions { classes, ..with_label("label") };
    let error = Dataset::open(folder.path(), &options).unwrap_err();
    assert!(matches!(error, DataError::LabelOutOfRange { row: 0, label: 2, classes: 2, .. }));
    // A label as large as this would ask for that many class names.
    let labels = vec![("label", vec![Some(i64::MAX), Some(0), Some(0)])];
    let contents = Contents { labels, metadata: None, ..Contents::default() };
    let error = Dataset::open(only(&contents).path(), &with_label("label")).unwrap_err();
    assert!(matches!(error, DataError::LabelOutOfRange { label: i64::MAX, .. }));
}

#[test]
fn class_names_of_the_caller_must_be_as_many() {
    let folder = only(&Contents::default());
    let options = ReadOptions { classes: Some(vec!["x".into()]), ..ReadOptions::default() };
    assert!(matches!(
        Dataset::open(folder.path(), &options),
        Err(DataError::WrongClassCount { expected: 2, found: 1, .. })
    ));
}

#[test]
fn files_with_other_class_names_are_refused() {
    let other =
        Contents { metadata: class_label(&[("label", &["dog", "cat"])]), ..Contents::default() };
    let folder = files(&[(TRAIN, Contents::default().bytes()), (TEST, other.bytes())]);
    let error = open(&folder).unwrap_err();
    assert!(matches!(&error, DataError::ClassNamesDiffer { other, .. } if other.ends_with(TEST)));
}

#[test]
fn bad_rows_are_named() {
    let labels = |third| vec![("label", vec![Some(0), Some(1), third])];
    let error = refuse(&Contents { labels: labels(Some(2)), ..Contents::default() });
    assert!(matches!(error, DataError::LabelOutOfRange { row: 2, label: 2, classes: 2, .. }));
    let error = refuse(&Contents { labels: labels(None), ..Contents::default() });
    assert!(
        matches!(&error, DataError::MissingValue { row: 2, column, .. } if column == "label"),
        "{error}"
    );
    let mut images = three_images();
    images[1] = None;
    let error = refuse(&Contents { images: images.clone(), ..Contents::default() });
    assert!(
        matches!(&error, DataError::MissingValue { row: 1, column, .. } if column == "img.bytes"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("path only"));
    images[1] = Some(png_colour(4, 5, 0)[..60].to_vec());
    let error = refuse(&Contents { images: images.clone(), ..Contents::default() });
    assert!(matches!(error, DataError::CorruptImage { row: Some(1), .. }));
    images[1] = Some(png_colour(5, 4, 0));
    let contents = Contents { images, ..Contents::default() };
    let error = refuse(&contents);
    assert!(matches!(
        error,
        DataError::MixedSizes { row: Some(1), expected: [4, 5], found: [5, 4], .. }
    ));
    let options = ReadOptions { resize: Some([3, 3]), ..ReadOptions::default() };
    let dataset = Dataset::open(only(&contents).path(), &options).unwrap();
    assert_eq!(dataset.shape().unwrap(), [3, 3, 3]);
}

#[test]
fn no_rows_bad_metadata_and_foreign_files_are_refused() {
    let labels = vec![("label", vec![])];
    let contents = Contents { images: vec![], labels, ..Contents::default() };
    assert!(matches!(refuse(&contents), DataError::NoImages { .. }));
    let contents = Contents { metadata: Some("{".into()), ..Contents::default() };
    assert!(matches!(refuse(&contents), DataError::BadMetadata { .. }));
    for bytes in [vec![], b"PAR1".to_vec(), b"version https://git-lfs.github.com".to_vec()] {
        let error = open(&files(&[(TRAIN, bytes)])).unwrap_err();
        assert!(matches!(&error, DataError::Parquet { column, .. } if column == "footer"));
    }
}

#[test]
fn every_cut_and_every_changed_byte_gives_a_result() {
    let bytes = Contents::default().bytes();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(TRAIN);
    for cut in (0..bytes.len()).step_by(7) {
        fs::write(&path, &bytes[..cut]).unwrap();
        assert!(open(&folder).is_err(), "cut at {cut}");
    }
    // A change may be harmless (a path, a statistic), but never a panic that gets out, nor a hang.
    for at in 0..bytes.len() {
        for value in [0, 0xff, bytes[at] ^ 0x40] {
            let mut bad = bytes.clone();
            bad[at] = value;
            fs::write(&path, &bad).unwrap();
            drop(open(&folder));
        }
    }
}
