use std::fs;

use super::*;
use crate::image::picture::tests::{png_colour, png_grey};

/// Files with their contents in a new folder.
fn files(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    folder
}

fn open(folder: &tempfile::TempDir) -> Result<Dataset, DataError> {
    Dataset::open(folder.path(), &ReadOptions::default())
}

/// `train.csv` beside three images.
fn with_list(list: &str) -> tempfile::TempDir {
    let image = |seed| png_grey(2, 2, seed);
    files(&[
        ("train.csv", list.as_bytes()),
        ("images/0.png", &image(10)),
        ("images/1.png", &image(20)),
        ("images/2.png", &image(30)),
    ])
}

#[test]
fn a_list_beside_a_folder_of_images_is_read() {
    for list in [
        "id,label\n1.png,dog\n0.png,cat\n2.png,dog\n",
        "label;image_id\ndog;1\ncat;0\ndog;2",
        "\u{feff}Path\twidth\tClass\r\nimages/1.png\t2\tdog\r\nimages/0.png\t2\tcat\r\nimages/2.png\t2\tdog\r\n",
    ] {
        let dataset = open(&with_list(list)).unwrap();
        assert_eq!(
            (dataset.format(), dataset.classes()),
            (Format::List, &["cat".to_owned(), "dog".to_owned()][..])
        );
        assert_eq!(dataset.train().labels(), [1, 0, 1], "{list}");
        assert_eq!(
            (0..3).map(|i| dataset.train().images().unwrap().image(i)[0]).collect::<Vec<_>>(),
            [20, 10, 30]
        );
        assert!(dataset.test().is_none() && dataset.validation().is_none());
    }
}

#[test]
fn numbers_are_labels_and_must_start_at_0_unless_said() {
    let dataset = open(&with_list("path,label\n0.png,0\n1.png,1\n2.png,01\n")).unwrap();
    assert_eq!((dataset.classes().len(), dataset.train().labels()), (2, &[0, 1, 1][..]));
    let folder = with_list("path,label\n0.png,1\n1.png,2\n2.png,1\n");
    let error = open(&folder).unwrap_err();
    assert!(matches!(error, DataError::LabelsStartAt { first: 1, .. }), "{error}");
    assert!(error.hint().unwrap().starts_with("say so with `first_label = 1`"));
    let options = ReadOptions { first_label: Some(1), ..ReadOptions::default() };
    let dataset = Dataset::open(folder.path(), &options).unwrap();
    assert_eq!(
        (dataset.classes(), dataset.train().labels()),
        (&["1".to_owned(), "2".to_owned()][..], &[0, 1, 0][..])
    );
}

#[test]
fn labels_that_are_no_classes_and_columns_of_one_name_are_refused() {
    for (list, part) in [
        ("id,label\n0,0.5\n1,1.5\n2,0.5\n", "`0.5` is no whole number"),
        ("id,label\n0,-1\n1,1\n2,0\n", "`-1` is no whole number"),
        ("id,label\n0,nan\n1,1\n2,0\n", "`nan` stands beside numbers"),
        ("id,label,label\n0,1,0\n1,0,1\n2,1,0\n", "several columns are called `label`"),
        ("id,id,label\n0,1,0\n1,0,1\n2,1,0\n", "several columns are called `id`"),
    ] {
        let error = open(&with_list(list)).unwrap_err();
        assert!(error.to_string().contains(part), "{list}: {error}");
    }
    let dataset = open(&with_list("id,label\n0,1.0\n1,0.0\n2,1.0\n")).unwrap();
    assert_eq!((dataset.classes().len(), dataset.train().labels()), (2, &[1, 0, 1][..]));
}

#[test]
fn one_list_may_hold_all_splits() {
    let list = "path,label,split\n0.png,a,train\n1.png,b,train\n2.png,a,val\n0.png,a,train\n";
    let folder = with_list(list);
    fs::rename(folder.path().join("train.csv"), folder.path().join("labels.csv")).unwrap();
    let dataset = open(&folder).unwrap();
    assert_eq!(
        (dataset.train().labels(), dataset.validation().unwrap().labels()),
        (&[0, 1, 0][..], &[0][..])
    );
}

#[test]
fn a_list_of_test_images_without_labels_is_left_out_with_a_note() {
    let folder = with_list("path,label\n0.png,a\n1.png,b\n2.png,a\n");
    fs::write(folder.path().join("test.csv"), "path\n2.png\n").unwrap();
    let dataset = open(&folder).unwrap();
    assert!(dataset.test().is_none());
    assert_eq!(dataset.findings().notes, ["`test` is not used: its samples have no labels"]);
    fs::write(folder.path().join("test.csv"), "path,label\n2.png,b\n").unwrap();
    assert_eq!(open(&folder).unwrap().test().unwrap().labels(), [1]);
}

#[test]
fn columns_of_other_names_are_named_by_keys() {
    let folder = with_list("photo,diagnosis\n0.png,a\n1.png,b\n2.png,a\n");
    let error = open(&folder).unwrap_err();
    assert!(matches!(error, DataError::Column { key: "image_column", .. }), "{error}");
    let mut options = ReadOptions { image_column: Some("photo".into()), ..ReadOptions::default() };
    let error = Dataset::open(folder.path(), &options).unwrap_err();
    assert!(matches!(error, DataError::Column { key: "label_column", .. }), "{error}");
    options.label_column = Some("diagnosis".into());
    assert_eq!(Dataset::open(folder.path(), &options).unwrap().train().labels(), [0, 1, 0]);
    options.label_column = Some("absent".into());
    assert!(matches!(Dataset::open(folder.path(), &options), Err(DataError::Column { .. })));
}

#[test]
fn names_given_for_numbers_name_them_in_their_order() {
    let folder = with_list("path,label\n0.png,2\n1.png,1\n2.png,2\n");
    let classes = |names: &[&str], first| ReadOptions {
        classes: Some(names.iter().map(|&name| name.to_owned()).collect()),
        first_label: first,
        ..ReadOptions::default()
    };
    let dataset = Dataset::open(folder.path(), &classes(&["cat", "dog"], Some(1))).unwrap();
    assert_eq!((dataset.classes()[0].as_str(), dataset.train().labels()), ("cat", &[1, 0, 1][..]));
    // Numbers that are themselves the names stay names.
    let dataset = Dataset::open(folder.path(), &classes(&["2", "1"], None)).unwrap();
    assert_eq!(dataset.train().labels(), [0, 1, 0]);
    let error = Dataset::open(folder.path(), &classes(&["cat", "dog"], None)).unwrap_err();
    assert!(error.to_string().contains("numbers from 1 to 2, of 2 classes"), "{error}");
}

#[test]
fn what_is_no_list_of_single_labels_is_refused() {
    for (list, expected) in [
        ("path,label\n0.png,a\n0.png,b\n1.png,a\n", "one label an image"),
        ("path,label\n0.png,a\n1.png,\n2.png,a\n", "the label is missing"),
        ("path,label\n9.png,a\n", "`9.png` is not there"),
        ("path,label\n0.png,a\n1.png\n", "1 fields, the header has 2"),
        ("path,label\n0.png,0\n1.png,4000000000\n2.png,0\n", "too many for classes"),
    ] {
        let error = open(&with_list(list)).unwrap_err();
        assert!(error.to_string().contains(expected), "{list}: {error}");
    }
    let measured: String = (0..30).map(|i| format!("images/../images/{i}.png,0.{i}1\n")).collect();
    let folder = with_list(&format!("path,label\nimages/0.png,0.5\n{measured}"));
    let error = open(&folder).unwrap_err().to_string();
    assert!(error.contains("every sample has another label"), "{error}");
    assert!(matches!(
        open(&with_list("path,label\n0.png,a\n1.png,a\n")),
        Err(DataError::OneClass { .. })
    ));
    let error = open(&with_list("path,label\n0.png,a\n5.png,b\n1.png,a\n")).unwrap_err();
    assert!(matches!(&error, DataError::MissingFile { path } if path.ends_with("images/5.png")));
}

#[test]
fn paths_that_lead_out_of_the_folder_are_refused() {
    let folder = with_list("path,label\nimages/0.png,a\n../outside.png,b\n");
    let outside = folder.path().parent().unwrap().join("outside.png");
    // Whether it is there or not.
    let error = open(&folder).unwrap_err();
    assert!(
        matches!(error, DataError::MissingFile { .. } | DataError::LinkOutside { .. }),
        "{error}"
    );
    drop(outside);
    let other = files(&[("x.png", &png_colour(2, 2, 0))]);
    let path = other.path().join("x.png");
    let folder = with_list(&format!("path,label\nimages/0.png,a\n{},b\n", path.display()));
    assert!(matches!(open(&folder), Err(DataError::LinkOutside { .. })));
}

#[test]
fn class_folders_go_before_a_list_beside_them() {
    let image = png_grey(2, 2, 0);
    let folder = files(&[
        ("metadata.csv", b"path,label\ntrain/a/1.png,x\n"),
        ("train/a/1.png", &image),
        ("train/b/1.png", &image),
    ]);
    assert_eq!(open(&folder).unwrap().format(), Format::Folder);
}
