use std::fs;

use super::*;
use crate::picture::tests::{jpeg, png_colour, png_grey};

/// Files with their contents in a new folder.
fn files(files: &[(&str, Vec<u8>)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    folder
}

fn two_parts() -> tempfile::TempDir {
    files(&[
        ("train/dog/1.png", png_colour(4, 5, 0)),
        ("train/cat/2.PNG", png_colour(4, 5, 1)),
        ("train/cat/10.jpeg", jpeg(4, 5, 9)),
        ("train/cat/.DS_Store", vec![1]),
        ("val/cat/1.png", png_colour(4, 5, 3)),
        ("val/dog/1.jpg", jpeg(4, 5, 4)),
    ])
}

fn open(folder: &tempfile::TempDir) -> Result<Dataset, DataError> {
    Dataset::open(folder.path(), &ReadOptions::default())
}

#[test]
fn reads_train_and_val_with_sorted_classes() {
    let dataset = open(&two_parts()).unwrap();
    assert_eq!(dataset.format(), Format::Folder);
    assert_eq!(dataset.classes(), ["cat", "dog"]);
    assert_eq!(dataset.shape(), [3, 4, 5]);
    assert_eq!(dataset.train().labels(), [0, 0, 1]);
    assert_eq!(dataset.test().unwrap().labels(), [0, 1]);
    // `10.jpeg` before `2.PNG`: bytewise.
    assert!(dataset.train().image(0)[0].abs_diff(9) < 3);
    assert_eq!(dataset.train().image(1)[0], 1);
}

#[test]
fn class_folders_alone_have_no_test_part() {
    let folder = files(&[("b/1.png", png_grey(2, 2, 0)), ("a/1.png", png_grey(2, 2, 1))]);
    let dataset = open(&folder).unwrap();
    assert_eq!(dataset.classes(), ["a", "b"]);
    assert_eq!(dataset.shape(), [1, 2, 2]);
    assert!(dataset.test().is_none());
}

#[test]
fn the_caller_chooses_the_order_of_classes_and_the_test_part() {
    let folder = two_parts();
    for class in ["cat", "dog"] {
        let path = folder.path().join("extra").join(class);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("1.png"), png_colour(4, 5, 8)).unwrap();
    }
    let options = ReadOptions {
        classes: Some(vec!["dog".into(), "cat".into()]),
        test_part: Some("extra".into()),
        ..ReadOptions::default()
    };
    let dataset = Dataset::open(folder.path(), &options).unwrap();
    assert_eq!(dataset.train().labels(), [0, 1, 1]);
    assert_eq!(dataset.test().unwrap().image(0)[0], 8);

    let options = ReadOptions { test_part: Some("none".into()), ..ReadOptions::default() };
    let error = Dataset::open(folder.path(), &options).unwrap_err();
    assert!(matches!(error, DataError::MissingFile { path } if path.ends_with("none")));
}

#[test]
fn classes_that_differ_are_named_with_both_places() {
    let folder = two_parts();
    fs::create_dir(folder.path().join("val/cow")).unwrap();
    let error = open(&folder).unwrap_err();
    assert!(
        matches!(&error, DataError::ClassesDiffer { class, present, .. }
            if class == "cow" && present.ends_with("val")),
        "{error}"
    );
    let options = ReadOptions { classes: Some(vec!["cat".into()]), ..ReadOptions::default() };
    let error = Dataset::open(two_parts().path(), &options).unwrap_err();
    assert!(matches!(error, DataError::ClassesDiffer { class, .. } if class == "dog"));
}

#[test]
fn mixed_sizes_name_the_first_other_file_and_resize_mends_it() {
    let folder = two_parts();
    fs::write(folder.path().join("train/cat/3.png"), png_colour(6, 6, 0)).unwrap();
    let error = open(&folder).unwrap_err();
    assert!(
        matches!(&error, DataError::MixedSizes { path, expected: [4, 5], found: [6, 6], .. }
            if path.ends_with("train/cat/3.png")),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("`resize = [4, 5]`"));
    let options = ReadOptions { resize: Some([4, 5]), ..ReadOptions::default() };
    let dataset = Dataset::open(folder.path(), &options).unwrap();
    assert_eq!((dataset.train().len(), dataset.shape()), (4, [3, 4, 5]));
}

#[test]
fn parts_of_different_sizes_are_refused() {
    let folder =
        files(&[("train/a/1.png", png_grey(2, 2, 0)), ("test/a/1.png", png_grey(2, 3, 0))]);
    let error = open(&folder).unwrap_err();
    assert!(matches!(error, DataError::PartsDiffer { expected: [1, 2, 2], found: [1, 2, 3] }));
}

#[test]
fn an_empty_class_folder_is_named() {
    let folder = two_parts();
    fs::remove_file(folder.path().join("val/dog/1.jpg")).unwrap();
    let error = open(&folder).unwrap_err();
    assert!(matches!(&error, DataError::NoImages { path } if path.ends_with("val/dog")), "{error}");
}

#[test]
fn no_classes_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("train")).unwrap();
    let options = ReadOptions { format: Some(Format::Folder), ..ReadOptions::default() };
    let error = Dataset::open(folder.path(), &options).unwrap_err();
    assert!(matches!(error, DataError::NoClasses { path } if path.ends_with("train")));
}

#[test]
fn a_damaged_or_foreign_file_is_named_not_skipped() {
    let folder = two_parts();
    let bad = folder.path().join("train/dog/2.png");
    let mut bytes = png_colour(4, 5, 0);
    bytes.truncate(50);
    fs::write(&bad, &bytes).unwrap();
    let error = open(&folder).unwrap_err();
    assert!(matches!(&error, DataError::CorruptImage { path, .. } if *path == bad), "{error}");
    assert!(std::error::Error::source(&error).is_some());

    fs::remove_file(&bad).unwrap();
    fs::write(folder.path().join("train/dog/3.webp"), "RIFF").unwrap();
    let error = open(&folder).unwrap_err();
    assert!(matches!(&error, DataError::NotAnImage { path } if path.ends_with("3.webp")));
    fs::remove_file(folder.path().join("train/dog/3.webp")).unwrap();

    fs::create_dir(folder.path().join("train/dog/more.png")).unwrap();
    assert!(matches!(open(&folder), Err(DataError::NotAnImage { .. })));
    fs::remove_dir(folder.path().join("train/dog/more.png")).unwrap();

    fs::write(folder.path().join("train/4.png"), png_colour(4, 5, 0)).unwrap();
    assert!(matches!(open(&folder), Err(DataError::StrayImage { .. })));
}

#[test]
fn renaming_and_re_sorting_files_changes_no_id() {
    let folder = two_parts();
    let before = open(&folder).unwrap();
    let cat = folder.path().join("train/cat");
    fs::rename(cat.join("2.PNG"), cat.join("0.png")).unwrap();
    let after = open(&folder).unwrap();
    assert_ne!(before.train().ids(), after.train().ids());
    assert_eq!(before.fingerprint(), after.fingerprint());
}
