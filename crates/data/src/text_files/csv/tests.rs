use std::fs;
use std::path::Path;

use crate::text::set::tests::unlabelled;
use crate::{
    DataError, Dataset, Format, OnDuplicateText, ReadOptions, SamplesInfo, Text, WordCounts,
};

fn files(all: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in all {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

fn open(folder: &tempfile::TempDir) -> Result<Dataset, DataError> {
    Dataset::open(folder.path(), &ReadOptions::default())
}

fn with(folder: &tempfile::TempDir, options: ReadOptions) -> Result<Dataset, DataError> {
    Dataset::open(folder.path(), &options)
}

fn texts(dataset: &Dataset) -> Vec<&str> {
    dataset.train().texts().unwrap().texts().iter().map(|text| &*text.first).collect()
}

fn noted(dataset: &Dataset, part: &str) {
    let notes = &dataset.findings().notes;
    assert!(notes.iter().any(|note| note.contains(part)), "{part:?} is not in {notes:#?}");
}

#[test]
fn splits_classes_and_texts_are_read_and_counted() {
    let folder = files(&[
        (
            "train.csv",
            "id,text,label\n1,\"Good, \"\"very\"\"\nfine \",pos\n2, bad ,neg\n3,fine,pos\n",
        ),
        ("validation.csv", "\u{feff}label;text\nneg;awful\n"),
        ("test.tsv", "text\tlabel\nso \"so\tneg\ngood\tpos\n"),
    ]);
    let dataset = open(&folder).unwrap();
    assert_eq!(dataset.format(), Format::TextCsv);
    assert_eq!(dataset.classes(), ["neg", "pos"]);
    assert_eq!(texts(&dataset), ["Good, \"very\"\nfine", "bad", "fine"]);
    assert_eq!(dataset.train().labels(), [1, 0, 1]);
    assert_eq!(dataset.validation().unwrap().labels(), [0]);
    assert_eq!(&*dataset.test().unwrap().texts().unwrap().texts()[0].first, "so \"so");
    let info = dataset.info();
    let words = WordCounts { median: 1, nine_of_ten: 3, most: 3 };
    assert_eq!(info.samples, SamplesInfo::Texts { pairs: false, words, unlabelled: 0 });
    assert_eq!((info.train.class_min, info.train.class_max), (1, 2));
    assert!(dataset.shape().is_err());
    let json = serde_json::to_value(&info).unwrap();
    assert_eq!(json["words"]["most"], 3);
    assert_eq!(json["pairs"], false);
}

#[test]
fn pairs_numbers_as_classes_and_hub_names_are_read() {
    let folder = files(&[
        ("data/train-00000-of-00002.csv", "sentence1,sentence2,label\na,b,1.0\n"),
        ("data/train-00001-of-00002.csv", "sentence1,sentence2,label\nc,d,0.0\n"),
        ("data/dev-00000-of-00001.csv", "sentence1,sentence2,label\nc,,2\n"),
    ]);
    let error = open(&folder).unwrap_err();
    assert!(error.to_string().contains("class `2` is not one of the training split"), "{error}");
    assert!(error.to_string().contains("line 2"), "{error}");
    let classes = Some(["no", "yes", "maybe"].map(str::to_owned).to_vec());
    let dataset = with(&folder, ReadOptions { classes, ..ReadOptions::default() }).unwrap();
    assert_eq!(dataset.classes(), ["no", "yes", "maybe"]);
    let set = dataset.train().texts().unwrap();
    assert_eq!((set.are_pairs(), set.labels()), (true, &[1, 0][..]));
    assert_eq!(set.texts()[0], Text { first: "a".into(), second: Some("b".into()) });
    assert_eq!(dataset.validation().unwrap().labels(), [2]);
    fs::remove_file(folder.path().join("data/train-00001-of-00002.csv")).unwrap();
    assert!(matches!(open(&folder), Err(DataError::MissingFile { .. })));
}

#[test]
fn the_only_file_is_for_training_and_a_column_can_name_splits() {
    let folder = files(&[("reviews.csv", "review,sentiment\ngood,pos\nbad,neg\n")]);
    let dataset = open(&folder).unwrap();
    assert_eq!(texts(&dataset), ["good", "bad"]);
    assert!(dataset.test().is_none() && dataset.validation().is_none());
    let table = "text,label,split\na,x,train\nb,y,train\nc,x,test\nd,y,extra\n";
    let dataset = open(&files(&[("all.csv", table)])).unwrap();
    assert_eq!(texts(&dataset), ["a", "b"]);
    assert_eq!(dataset.test().unwrap().labels(), [0]);
    noted(&dataset, "`extra` is not used");
    // Two files of which none is for training: one must be named.
    let folder = files(&[("a.csv", "text,label\na,x\nb,y\n"), ("b.csv", "text,label\nc,x\n")]);
    assert!(matches!(open(&folder), Err(DataError::NotRecognised { .. })));
    let options = ReadOptions {
        train: Some("a.csv".to_owned()),
        test: Some("b.csv".to_owned()),
        ..ReadOptions::default()
    };
    let dataset = with(&folder, options).unwrap();
    assert_eq!((dataset.train().len(), dataset.test().unwrap().len()), (2, 1));
}

#[test]
fn columns_are_named_by_options_and_what_has_no_known_name_is_said() {
    let folder = files(&[("train.csv", "body_of_it,stars\ngood,5\nbad,1\n")]);
    let error = open(&folder).unwrap_err();
    assert!(error.hint().unwrap().contains("text_column"), "{error}: {:?}", error.hint());
    let options = ReadOptions {
        text_column: Some("body_of_it".to_owned()),
        label_column: Some("stars".to_owned()),
        first_label: Some(1),
        ..ReadOptions::default()
    };
    let dataset = with(&folder, options).unwrap_err();
    assert!(dataset.to_string().contains("too many for classes"), "{dataset}");
    let classes = Some((1..=5).map(|stars| format!("{stars} stars")).collect());
    let options = ReadOptions {
        text_column: Some("body_of_it".to_owned()),
        label_column: Some("stars".to_owned()),
        first_label: Some(1),
        classes,
        ..ReadOptions::default()
    };
    let dataset = with(&folder, options).unwrap();
    assert_eq!((dataset.train().labels(), dataset.classes().len()), (&[4, 0][..], 5));
    noted(&dataset, "3 of 5 classes have no training texts");
}

#[test]
fn empty_texts_and_missing_labels_are_told_and_kept_apart() {
    let folder = files(&[
        ("train.csv", "text,label\ngood,pos\n  ,pos\nwho knows,\nbad,neg\n"),
        ("test.csv", "text,label\na,-1\nb,\n"),
    ]);
    let dataset = open(&folder).unwrap();
    assert_eq!(texts(&dataset), ["good", "bad"]);
    assert_eq!(unlabelled(&dataset), [Text::single("who knows")]);
    assert!(dataset.test().is_none());
    noted(&dataset, "1 empty texts of `train` are left out: the first is");
    noted(&dataset, "train.csv`, line 3");
    noted(&dataset, "1 texts of `train` have no label and are kept apart");
    noted(&dataset, "`test` is not used");
    let folder = files(&[("train.csv", "text\na\nb\n")]);
    assert!(matches!(open(&folder), Err(DataError::Unlabelled { .. })));
}

#[test]
fn duplicates_are_told_and_left_out_of_training_on_demand() {
    let folder = files(&[
        ("train.csv", "text,label\na,x\nb,y\na,x\nc,x\nc,y\nd,y\ne,x\n"),
        ("test.csv", "text,label\nd,y\ne,y\nf,x\n"),
    ]);
    let dataset = open(&folder).unwrap();
    assert_eq!(dataset.train().len(), 7);
    noted(&dataset, "1 training texts are copies of others with the same label and are kept");
    noted(&dataset, "1 training texts are copies of others with another label");
    noted(&dataset, "2 test texts are among the training texts, so results on them are too good");
    let drop = ReadOptions { on_duplicate_text: OnDuplicateText::Drop, ..ReadOptions::default() };
    let dataset = with(&folder, drop.clone()).unwrap();
    assert_eq!(texts(&dataset), ["a", "b", "c", "c"]);
    assert_eq!(dataset.test().unwrap().len(), 3);
    noted(&dataset, "left out of training");
    // The order of the rows does not matter: ids are of content.
    let other = files(&[
        ("train.csv", "text,label\ne,x\nd,y\nc,y\nc,x\na,x\nb,y\na,x\n"),
        ("test.csv", "text,label\nf,x\ne,y\nd,y\n"),
    ]);
    assert_eq!(with(&other, drop).unwrap().fingerprint(), dataset.fingerprint());
    assert_eq!(open(&other).unwrap().fingerprint(), open(&folder).unwrap().fingerprint());
}

#[test]
fn what_cannot_be_read_is_said_with_file_line_and_fix() {
    let refuse = |content: &[u8]| {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("train.csv"), content).unwrap();
        open(&folder).unwrap_err()
    };
    for (content, line, part) in [
        (&b"text,label\ngood,pos\nna\xefve,neg\n"[..], "line 3", "iconv"),
        (b"text,label\ngood,pos\nwell, so,neg\n", "line 3", "quotation marks"),
        (b"text,label\ngood,pos\n\"bad,neg\n", "line 3", "quotation marks"),
    ] {
        let error = refuse(content);
        assert!(error.to_string().contains("train.csv"), "{error}");
        assert!(error.to_string().contains(line), "{error}");
        assert!(error.hint().unwrap().contains(part), "{error}: {:?}", error.hint());
    }
    let many: String = (0..30).map(|row| format!("text {row},{row}.5\n")).collect();
    let error = refuse(format!("text,label\n{many}").as_bytes());
    assert!(error.to_string().contains("another label"), "{error}");
    let error = refuse(b"text,label\na,x\nb,x\n");
    assert!(matches!(error, DataError::OneClass { .. }), "{error}");
    let error = refuse(b"text,label\na,2\nb,1\n");
    assert!(error.hint().unwrap().contains("first_label = 1"), "{error}");
}

/// Rows of texts with these labels in turn.
fn with_labels(labels: &[&str]) -> tempfile::TempDir {
    let rows: String =
        (0..24).map(|row| format!("text {row},{}\n", labels[row % labels.len()])).collect();
    files(&[("train.csv", &format!("text,label\n{rows}"))])
}

#[test]
fn labels_that_are_no_classes_are_asked_about() {
    for (labels, problem, fix) in [
        (&["0.5", "1.5"][..], "`0.5` is no whole number", "classes = [\"0.5\", \"1.5\"]"),
        (&["1", "2.25", "3"], "`2.25` is no whole number", "`classes = [\"1\","),
        (&["0", "1e3"], "`1e3` is no whole number", "classes"),
        (&["0", "99999999999999999999"], "`99999999999999999999` is no whole", "classes"),
        (&["-2", "0"], "`-2` is no whole", "classes"),
        (&["0", "1", "nan"], "`nan` stands beside numbers such as `0`", "leave the field empty"),
        (&["0.0", "1.0", "NaN"], "`NaN` stands beside numbers", "leave the field empty"),
        (&["0", "1", "None"], "`None` stands beside numbers", "leave the field empty"),
        (&["0", "1", "pos", "n/a"], "`n/a` stands beside numbers", "leave the field empty"),
        (&["-1", "0", "1"], "-1 (line 2) stands beside others, such as `0`", "first_label = 0"),
        (&["1", "-1"], "-1 (line 3) stands beside others", "classes = [\"-1\", \"1\"]"),
        (&["-1.0", "0.0"], "-1 (line 2) stands beside", "first_label = 0"),
        (&["neg", "-1", "pos"], "-1 (line 3) stands beside", "classes"),
        (&["cat", "cat|dog"], "`cat|dog` looks like several, of which one is `cat`", "choose one"),
        (&["16 0", "3"], "`16 0` looks like several, of which one is `16`", "choose one"),
    ] {
        let error = open(&with_labels(labels)).unwrap_err();
        assert!(matches!(error, DataError::Labels { .. }), "{labels:?}: {error:?}");
        assert!(error.to_string().contains(problem), "{labels:?}: {error}");
        assert!(error.hint().unwrap().contains(fix), "{labels:?}: {:?}", error.hint());
        // Whoever lists them as names means names.
        let classes = labels.iter().map(|&label| label.to_owned()).collect();
        let named = ReadOptions { classes: Some(classes), ..ReadOptions::default() };
        if labels[0] != "0.0" && labels[0] != "-1.0" {
            let dataset = with(&with_labels(labels), named).unwrap();
            assert_eq!(dataset.classes(), labels);
            assert_eq!(dataset.train().labels()[..2], [0, 1]);
        }
    }
    let without = ReadOptions { first_label: Some(0), ..ReadOptions::default() };
    let dataset = with(&with_labels(&["-1", "0", "1"]), without).unwrap();
    assert_eq!((unlabelled(&dataset).len(), dataset.train().len()), (8, 16));
    let long = "x".repeat(1001);
    let error = open(&with_labels(&["a", &long])).unwrap_err();
    assert!(error.to_string().contains("a label has 1001 bytes"), "{error}");
}

#[test]
fn names_that_may_be_one_class_or_none_are_told() {
    let dataset = open(&with_labels(&["pos", "Pos", "null", "neg"])).unwrap();
    noted(&dataset, "`Pos` and `pos` differ in case or blanks alone");
    noted(&dataset, "`null` is perhaps a missing label");
    let dataset = open(&with_labels(&["pos", "neg", "7"])).unwrap();
    noted(&dataset, "some classes are numbers (`7`), others names (`neg`)");
    let notes = |labels: &[&str]| open(&with_labels(labels)).unwrap().findings().notes.clone();
    for plain in [
        &["none", "joy"][..],
        &["0", "1"],
        &["b-c", "b c"],
        &["1.0", "0.0"],
        &["boot", "ankle boot"],
        &["rock|stone", "paper"],
    ] {
        assert_eq!(notes(plain), [""; 0], "{plain:?}");
    }
}

#[test]
fn other_encodings_and_damaged_files_are_named_whatever_their_name() {
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let table = "text,label\na,0\nb,1\n";
    for name in ["train.csv", "train.tsv", "reviews.csv"] {
        let folder = files(&[]);
        fs::write(folder.path().join(name), utf16(table)).unwrap();
        let error = open(&folder).unwrap_err();
        assert!(error.to_string().contains("UTF-16"), "{name}: {error}");
        assert!(error.hint().unwrap().contains("iconv"), "{name}");
    }
    let error = open(&files(&[("train.csv", "text,label\na,0\nb\0c,1\n")])).unwrap_err();
    assert!(error.to_string().contains("line 3: byte 0x00"), "{error}");
    // A table without a header says so.
    let error = open(&files(&[("train.csv", "good film,1\nbad film,0\n")])).unwrap_err();
    assert!(error.to_string().contains("first line is the header"), "{error}");
    // Carriage returns alone end lines.
    let dataset = open(&files(&[("train.csv", &table.replace('\n', "\r"))])).unwrap();
    assert_eq!((texts(&dataset), dataset.train().labels()), (vec!["a", "b"], &[0, 1][..]));
    let error = open(&files(&[("train.csv", "text,label,label\na,0,1\nb,1,0\n")])).unwrap_err();
    assert!(error.to_string().contains("several columns are called `label`"), "{error}");
}

#[test]
fn lists_of_images_and_tables_of_texts_are_told_apart() {
    let image = |folder: &Path| {
        let pixels = image::GrayImage::from_pixel(2, 2, image::Luma([9]));
        pixels.save(folder.join("1.png")).unwrap();
        pixels.save(folder.join("2.png")).unwrap();
    };
    for (table, format) in [
        ("id,label\n1,a\n2,b\n", Format::List),
        ("path,label\n1.png,a\n2.png,b\n", Format::List),
        ("id,text,label\n1,x,a\n2,y,b\n", Format::TextCsv),
        ("title,label\nx,a\ny,b\n", Format::TextCsv),
    ] {
        let folder = files(&[("train.csv", table)]);
        image(folder.path());
        assert_eq!(open(&folder).unwrap().format(), format, "{table}");
    }
    let folder = files(&[("train.csv", "image,text,label\n1.png,x,a\n2.png,y,b\n")]);
    image(folder.path());
    let error = open(&folder).unwrap_err();
    assert!(matches!(error, DataError::Ambiguous { .. }), "{error}");
    assert!(error.hint().unwrap().contains("`list` or `text-csv`"), "{:?}", error.hint());
    let options = ReadOptions { text_column: Some("text".into()), ..ReadOptions::default() };
    assert_eq!(with(&folder, options).unwrap().format(), Format::TextCsv);
    let options = ReadOptions { image_column: Some("image".into()), ..ReadOptions::default() };
    assert_eq!(with(&folder, options).unwrap().format(), Format::List);
    // An option of no use is refused.
    let options = ReadOptions {
        format: Some(Format::TextCsv),
        resize: Some([2, 2]),
        ..ReadOptions::default()
    };
    assert!(matches!(with(&folder, options), Err(DataError::UnusedOption { key: "resize", .. })));
}
