use std::fs;

use crate::text::set::tests::unlabelled;
use crate::{DataError, Dataset, Format, ReadOptions, Text};

fn open(all: &[(&str, &str)]) -> Result<Dataset, DataError> {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in all {
        fs::write(folder.path().join(name), content).unwrap();
    }
    Dataset::open(folder.path(), &ReadOptions::default())
}

#[test]
fn lines_and_arrays_with_labels_of_all_kinds_are_read() {
    for (name, content, classes, labels) in [
        (
            "train.jsonl",
            "{\"text\": \"a\\n\\\"b\\\"\", \"label\": \"y\"}\n\n{\"label\": \"x\", \"text\": \"c\"}\n",
            ["x", "y"],
            [1, 0],
        ),
        (
            "train.ndjson",
            "{\"text\": \"a\\n\\\"b\\\"\", \"label\": 0}\n{\"text\": \"c\", \"label\": 1, \"more\": [1]}",
            ["0", "1"],
            [0, 1],
        ),
        (
            "train.json",
            "[{\"text\": \"a\\n\\\"b\\\"\", \"label\": true},\n {\"text\": \"c\", \"label\": false}]",
            ["false", "true"],
            [1, 0],
        ),
        (
            "only.jsonl",
            "{\"text\": \"a\\n\\\"b\\\"\", \"label\": 1.0}\n{\"text\": \"c\", \"label\": 0.0}",
            ["0", "1"],
            [1, 0],
        ),
    ] {
        let dataset = open(&[(name, content), ("README.md", "about")]).unwrap();
        assert_eq!(dataset.format(), Format::TextJson, "{name}");
        assert_eq!(dataset.classes(), classes, "{name}");
        assert_eq!(dataset.train().labels(), labels, "{name}");
        let texts = dataset.train().texts().unwrap().texts();
        assert_eq!(texts, ["a\n\"b\"", "c"].map(Text::single), "{name}");
    }
}

#[test]
fn pairs_and_texts_without_a_label_are_read() {
    let train = "{\"premise\": \"a\", \"hypothesis\": \"b\", \"label\": null}\n\
                 {\"premise\": \"c\", \"hypothesis\": \"d\", \"label\": 1}\n\
                 {\"premise\": \"e\", \"hypothesis\": \"f\", \"label\": 0}\n\
                 {\"premise\": \"g\", \"hypothesis\": \"h\"}\n";
    let dataset = open(&[("train.jsonl", train), ("test.jsonl", train)]).unwrap();
    let set = dataset.train().texts().unwrap();
    assert_eq!((set.are_pairs(), set.labels()), (true, &[1, 0][..]));
    let first = Text { first: "a".into(), second: Some("b".into()) };
    assert_eq!((unlabelled(&dataset).len(), &unlabelled(&dataset)[0]), (2, &first));
    let notes = &dataset.findings().notes;
    assert!(notes.iter().any(|note| note.contains("2 texts of `test` have no label")), "{notes:?}");
}

#[test]
fn what_is_no_table_of_texts_is_refused_with_its_line() {
    let two = "{\"text\": \"a\", \"label\": 0}\n";
    for (second, part) in [
        ("{\"text\": \"b\", \"label\": 1", "no JSON object"),
        ("[1]", "no JSON object"),
        ("{\"text\": 3, \"label\": 1}", "`text` is no text"),
        ("{\"text\": \"b\", \"label\": [1]}", "`label` is no label of one class"),
        ("{\"text\": \"b\", \"label\": \"1\"}", "`label` is a text, in line 1 it is a number"),
        ("{\"text\": \"b\", \"label\": true}", "`label` is true or false, in line 1"),
        ("{\"text\": \"b\", \"label\": 1, \"label\": 0}", "key `label` stands there twice"),
        ("{\"text\": \"b\", \"label\": NaN}", "no JSON object"),
    ] {
        let error = open(&[("train.jsonl", &format!("{two}{second}"))]).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("train.jsonl`, line 2") && text.contains(part), "{error}");
        assert!(error.hint().is_some());
    }
    // Not one of texts: the file itself is told of, if there is no other format.
    for (content, part) in [
        ("{\"pixels\": [1]}\n", "no column is called like one of texts"),
        ("{\"text\": NaN}\n", "line 1: it is no JSON object"),
        ("{\"text\": [\"a\", \"b\"], \"label\": [0, 1]}", "`text` is a whole column"),
        ("{\"text\": \"a\0b\"}", "byte 0x00"),
    ] {
        let error = open(&[("train.jsonl", content)]).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
    let error = open(&[("config.json", "{\"hidden_size\": 3}")]).unwrap_err();
    assert!(matches!(error, DataError::NotRecognised { .. }), "{error}");
}
