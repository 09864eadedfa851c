use std::fs;

use crate::text::set::tests::unlabelled;
use crate::{DataError, Dataset, Format, ReadOptions, Text};

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

#[test]
fn class_folders_of_text_files_are_read_with_unlabelled_ones_apart() {
    let folder = files(&[
        ("train/pos/0_9.txt", "good\n"),
        ("train/pos/1_8.TXT", "\u{feff}fine\r\nreally"),
        ("train/neg/0_1.txt", "bad"),
        ("train/unsup/0_0.txt", "who knows"),
        ("train/urls_pos.txt", "http://"),
        ("train/neg/notes.md", "?"),
        ("test/pos/0_10.txt", "great"),
        ("test/neg/0_2.txt", "awful"),
        ("README", "about"),
    ]);
    let dataset = open(&folder).unwrap();
    assert_eq!(dataset.format(), Format::TextFolder);
    assert_eq!(dataset.classes(), ["neg", "pos"]);
    let texts = dataset.train().texts().unwrap();
    assert_eq!(texts.texts(), ["bad", "good", "fine\r\nreally"].map(Text::single));
    assert_eq!(texts.labels(), [0, 1, 1]);
    assert_eq!(dataset.test().unwrap().labels(), [0, 1]);
    assert_eq!(unlabelled(&dataset), [Text::single("who knows")]);
    let notes = &dataset.findings().notes;
    assert!(notes.iter().any(|note| note.starts_with("2 files are left out")), "{notes:?}");
}

#[test]
fn folders_without_splits_are_classes_and_the_order_is_the_callers() {
    let folder = files(&[
        ("sport/001.txt", "goal"),
        ("sport/49960", "match"),
        ("business/001.txt", "shares"),
    ]);
    let dataset = open(&folder).unwrap();
    assert_eq!(dataset.classes(), ["business", "sport"]);
    assert_eq!(dataset.train().len(), 3);
    let classes = Some(["sport", "business"].map(str::to_owned).to_vec());
    let options = ReadOptions { classes, ..ReadOptions::default() };
    let dataset = Dataset::open(folder.path(), &options).unwrap();
    assert_eq!(dataset.classes(), ["sport", "business"]);
    let by_text = |text: &str| {
        let set = dataset.train().texts().unwrap();
        set.labels()[set.texts().iter().position(|own| &*own.first == text).unwrap()]
    };
    assert_eq!((by_text("shares"), by_text("goal")), (1, 0));
}

#[test]
fn folders_with_images_are_of_images() {
    let folder = files(&[("cat/1.txt", "a cat"), ("dog/1.txt", "a dog")]);
    let pixels = image::GrayImage::from_pixel(2, 2, image::Luma([9]));
    for class in ["cat", "dog"] {
        pixels.save(folder.path().join(class).join("1.png")).unwrap();
    }
    assert_eq!(open(&folder).unwrap().format(), Format::Folder);
}

#[test]
fn what_cannot_be_used_is_said_with_its_file() {
    let error = open(&files(&[("a/1.txt", "x"), ("b/1.txt", ""), ("b/2.md", "")])).unwrap_err();
    assert!(matches!(error, DataError::OneClass { .. }), "{error}");
    let folder = files(&[("train/a/1.txt", "x"), ("train/b/1.txt", "y"), ("test/c/1.txt", "z")]);
    let error = open(&folder).unwrap_err();
    assert!(error.to_string().contains("`c` is not a class of the training split"), "{error}");
    let folder = files(&[("a/1.txt", "x"), ("b/1.txt", "y")]);
    fs::write(folder.path().join("b/2.txt"), b"one\nna\xefve").unwrap();
    let error = open(&folder).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("2.txt`, line 2") && text.contains("Latin-1"), "{text}");
    let folder = files(&[("train_texts/1.txt", "x"), ("test_texts/1.txt", "y")]);
    assert!(matches!(open(&folder), Err(DataError::NotClasses { .. })));
}
