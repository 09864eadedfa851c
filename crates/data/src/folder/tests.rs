use std::fs;

use super::*;
use crate::image::picture::tests::{exif, jpeg, png_colour, png_grey, with_exif};

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
    assert_eq!(dataset.shape().unwrap(), [3, 4, 5]);
    assert_eq!(dataset.train().labels(), [0, 0, 1]);
    // The user's own validation split stays one.
    assert_eq!(dataset.validation().unwrap().labels(), [0, 1]);
    assert!(dataset.test().is_none());
    assert!(dataset.findings().notes[0].contains("no test split"));
    // `10.jpeg` before `2.PNG`: bytewise.
    assert!(dataset.train().images().unwrap().image(0)[0].abs_diff(9) < 3);
    assert_eq!(dataset.train().images().unwrap().image(1)[0], 1);
}

#[test]
fn class_folders_alone_have_no_test_part() {
    let folder = files(&[("b/1.png", png_grey(2, 2, 0)), ("a/1.png", png_grey(2, 2, 1))]);
    let dataset = open(&folder).unwrap();
    assert_eq!(dataset.classes(), ["a", "b"]);
    assert_eq!(dataset.shape().unwrap(), [1, 2, 2]);
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
        test: Some("extra".into()),
        ..ReadOptions::default()
    };
    let dataset = Dataset::open(folder.path(), &options).unwrap();
    assert_eq!(dataset.train().labels(), [0, 1, 1]);
    assert_eq!(dataset.test().unwrap().images().unwrap().image(0)[0], 8);

    let options = ReadOptions { test: Some("none".into()), ..ReadOptions::default() };
    let dataset = Dataset::open(folder.path(), &options).unwrap();
    assert!(dataset.test().is_none() && dataset.validation().is_some());
    let options = ReadOptions { test: Some("absent".into()), ..ReadOptions::default() };
    let error = Dataset::open(folder.path(), &options).unwrap_err();
    assert!(matches!(error, DataError::NoSplit { key: "test", found, .. } if found.len() == 3));
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

/// Links become such files where git or an archive writes them out as text.
#[test]
fn a_file_in_the_place_of_a_class_folder_is_named() {
    let folder = two_parts();
    fs::remove_dir_all(folder.path().join("val/dog")).unwrap();
    fs::write(folder.path().join("val/dog"), "../../dog").unwrap();
    let error = open(&folder).unwrap_err();
    assert!(error.to_string().contains("val/dog`: it is a file"), "{error}");
    assert!(error.hint().unwrap().contains("link"), "{:?}", error.hint());
}

#[test]
fn classes_that_differ_in_case_alone_are_told() {
    let image = png_grey(2, 2, 1);
    let folder = files(&[
        ("dog/1.png", image.clone()),
        ("Dog/1.png", image.clone()),
        ("cat/1.png", image.clone()),
        ("nan/1.png", image),
    ]);
    let notes = open(&folder).unwrap().findings().notes.clone();
    assert!(notes.iter().any(|note| note.contains("`Dog` and `dog` differ in case")), "{notes:?}");
    assert!(notes.iter().any(|note| note.contains("`nan` is perhaps a missing")), "{notes:?}");
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
    assert_eq!((dataset.train().len(), dataset.shape().unwrap()), (4, [3, 4, 5]));
}

#[test]
fn parts_of_different_sizes_are_refused() {
    let folder = files(&[
        ("train/a/1.png", png_grey(2, 2, 0)),
        ("train/b/1.png", png_grey(2, 2, 0)),
        ("test/a/1.png", png_grey(2, 3, 0)),
        ("test/b/1.png", png_grey(2, 3, 0)),
    ]);
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
    assert!(matches!(&error, DataError::NotAnImage { path, .. } if path.ends_with("3.webp")));
    fs::remove_file(folder.path().join("train/dog/3.webp")).unwrap();

    fs::create_dir(folder.path().join("train/dog/more.png")).unwrap();
    assert!(matches!(open(&folder), Err(DataError::NotAFile { kind: "a folder", .. })));
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

/// Two classes with an image each in every one of these splits.
fn splits(names: &[&str]) -> tempfile::TempDir {
    let of = |name: &&str| {
        ["cat", "dog"].map(|class| (format!("{name}/{class}/1.png"), png_colour(4, 5, 1)))
    };
    let all: Vec<(String, Vec<u8>)> = names.iter().flat_map(of).collect();
    let all: Vec<(&str, Vec<u8>)> =
        all.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    files(&all)
}

fn sizes(dataset: &Dataset) -> [usize; 3] {
    let len = |set: Option<&std::sync::Arc<dyn crate::Samples>>| set.map_or(0, |set| set.len());
    [dataset.train().len(), len(dataset.validation()), len(dataset.test())]
}

#[test]
fn splits_are_known_in_any_case_and_by_all_their_names() {
    for (names, expected) in [
        (&["Train", "Test"][..], [2, 0, 2]),
        (&["TRAIN", "valid", "test"], [2, 2, 2]),
        (&["training", "dev"], [2, 2, 0]),
        (&["train", "validation", "testing"], [2, 2, 2]),
    ] {
        assert_eq!(sizes(&open(&splits(names)).unwrap()), expected, "{names:?}");
    }
    let error = open(&splits(&["train", "val", "dev"])).unwrap_err();
    assert!(matches!(error, DataError::SeveralSplits { key: "validation", .. }), "{error}");
    let error = open(&splits(&["val", "test"])).unwrap_err();
    assert!(!matches!(error, DataError::OneClass { .. }), "{error}");
}

#[test]
fn a_split_may_be_a_folder_elsewhere() {
    let (folder, other) = (splits(&["train", "val"]), splits(&["held out"]));
    let path = other.path().join("held out").to_str().unwrap().to_owned();
    let options = ReadOptions { test: Some(path), ..ReadOptions::default() };
    assert_eq!(sizes(&Dataset::open(folder.path(), &options).unwrap()), [2, 2, 2]);
}

#[test]
fn images_without_labels_are_left_out_with_a_note_unless_they_were_asked_for() {
    for place in ["test/1.png", "test/images/1.png", "test/unknown/1.png"] {
        let folder = splits(&["train", "val"]);
        let path = folder.path().join(place);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, png_colour(4, 5, 0)).unwrap();
        let dataset = open(&folder).unwrap();
        assert_eq!(sizes(&dataset), [2, 2, 0], "{place}");
        assert_eq!(dataset.findings().notes[0], "`test` is not used: its samples have no labels");
        let options = ReadOptions { test: Some("test".into()), ..ReadOptions::default() };
        let error = Dataset::open(folder.path(), &options).unwrap_err();
        assert!(matches!(error, DataError::Unlabelled { key: "test", .. }), "{error}");
    }
}

#[test]
fn tiny_imagenet_is_read_as_it_is_downloaded() {
    let image = |seed| png_colour(4, 5, seed);
    let mut all = vec![("wnids.txt", b"n2\nn1\n".to_vec()), ("words.txt", b"n1\tcat\n".to_vec())];
    all.extend([
        ("train/n1/images/n1_0.JPEG", image(1)),
        ("train/n1/n1_boxes.txt", b"n1_0.JPEG\t0\t0\t9\t9\n".to_vec()),
        ("train/n2/images/n2_0.JPEG", image(2)),
        ("val/images/val_0.JPEG", image(3)),
        ("val/images/val_1.JPEG", image(4)),
        (
            "val/val_annotations.txt",
            b"val_1.JPEG\tn1\t0\t0\t9\t9\nval_0.JPEG\tn2\t0\t0\t9\t9\n".to_vec(),
        ),
        ("test/images/test_0.JPEG", image(5)),
    ]);
    let folder = files(&all);
    let dataset = open(&folder).unwrap();
    assert_eq!(dataset.classes(), ["n1", "n2"]);
    assert_eq!(sizes(&dataset), [2, 2, 0]);
    let validation = dataset.validation().unwrap().images().unwrap();
    assert_eq!(validation.labels(), [0, 1]);
    assert_eq!([validation.image(0)[0], validation.image(1)[0]], [4, 3]);

    let list = folder.path().join("val/val_annotations.txt");
    fs::write(&list, "val_1.JPEG\tn1\nval_0.JPEG\tn9\n").unwrap();
    let error = open(&folder).unwrap_err();
    assert!(matches!(&error, DataError::List { line: Some(2), .. }), "{error}");
    fs::write(&list, "val_1.JPEG\tn1\n../../secret\tn2\n").unwrap();
    assert!(open(&folder).is_err());
}

#[test]
fn folders_that_are_no_classes_are_asked_about() {
    let image = || png_grey(2, 2, 0);
    for folders in [
        &["train_images", "test_images"][..],
        &["images"],
        &["images", "labels"],
        &["trainA", "trainB"],
        &["testA", "trainB"],
        &["HR", "LR"],
        &["train"],
        &["Data"],
    ] {
        let names: Vec<String> = folders.iter().map(|name| format!("{name}/1.png")).collect();
        let all: Vec<_> = names.iter().map(|name| (name.as_str(), image())).collect();
        let folder = files(&all);
        let error = open(&folder).unwrap_err();
        let asked = matches!(&error, DataError::NotClasses { folders: found, .. }
            if found.len() == folders.len());
        assert!(asked, "{folders:?}: {error}");
        assert!(error.hint().unwrap().contains("classes = ["), "{error:?}");
    }
    // Two of them may be meant, and `train` among vehicles is one.
    let folder = files(&[("masks/1.png", image()), ("labels/1.png", image())]);
    let classes = Some(vec!["labels".to_owned(), "masks".to_owned()]);
    let options = ReadOptions { classes, ..ReadOptions::default() };
    assert_eq!(Dataset::open(folder.path(), &options).unwrap().train().len(), 2);
    let folder = files(&[("bus/1.png", image()), ("train/1.png", image()), ("car/1.png", image())]);
    assert_eq!(open(&folder).unwrap().classes(), ["bus", "car", "train"]);
}

#[test]
fn a_single_class_is_refused() {
    for folder in ["cats", "train/cats"] {
        let path = format!("{folder}/1.png");
        let error = open(&files(&[(&path, png_grey(2, 2, 0))])).unwrap_err();
        assert!(matches!(&error, DataError::OneClass { class, .. } if class == "cats"), "{error}");
    }
}

#[test]
fn text_files_are_left_out_with_a_note_and_other_files_are_not() {
    let folder = two_parts();
    fs::write(folder.path().join("train/dog/readme.txt"), "dogs, été\n").unwrap();
    fs::write(folder.path().join("train/cat/LICENSE"), "").unwrap();
    let dataset = open(&folder).unwrap();
    assert_eq!(dataset.train().len(), 3);
    let notes = &dataset.findings().notes;
    assert!(
        notes.iter().any(|note| note.contains("LICENSE") && note.ends_with("1 more")),
        "{notes:?}"
    );
    // An image without an extension is one, and one that claims to be is not text.
    fs::write(folder.path().join("train/dog/4"), png_colour(4, 5, 0)).unwrap();
    assert_eq!(open(&folder).unwrap().train().len(), 4);
    for (name, bytes) in
        [("5.png", &b"text"[..]), ("5.heic", b"\0\0\0\x18ftypheic"), ("5.npy", b"\x93NUMPY")]
    {
        let path = folder.path().join("train/dog").join(name);
        fs::write(&path, bytes).unwrap();
        assert!(matches!(open(&folder), Err(DataError::NotAnImage { .. })), "{name}");
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn turned_images_are_counted_and_can_be_read_as_they_are_stored() {
    let folder = tempfile::tempdir().unwrap();
    for (name, orientation) in [("train/a/1.jpg", 6), ("train/b/1.jpg", 8), ("test/a/1.jpg", 6)] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, with_exif(&jpeg(4, 6, 9), &exif(orientation))).unwrap();
    }
    fs::create_dir(folder.path().join("test/b")).unwrap();
    fs::write(folder.path().join("test/b/1.png"), png_colour(6, 4, 0)).unwrap();
    let dataset = Dataset::open(folder.path(), &ReadOptions::default()).unwrap();
    assert_eq!(dataset.shape().unwrap(), [3, 6, 4]);
    let notes = dataset.findings().notes.join("\n");
    assert!(notes.contains("3 images were turned by EXIF orientation"), "{notes}");
    fs::write(folder.path().join("test/b/1.png"), png_colour(4, 6, 0)).unwrap();
    let exif_orientation = crate::ExifOrientation::Ignore;
    let options = ReadOptions { exif_orientation, ..ReadOptions::default() };
    let dataset = Dataset::open(folder.path(), &options).unwrap();
    assert_eq!(dataset.shape().unwrap(), [3, 4, 6]);
    assert!(!dataset.findings().notes.join("\n").contains("EXIF"));
}

#[test]
fn bad_images_are_listed_where_they_may_be_skipped() {
    let folder = two_parts();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("train/dog/cut.jpg"), &jpeg(4, 5, 7)[..300]).unwrap();
    fs::write(at("train/dog/empty.png"), "").unwrap();
    fs::write(at("train/cat/text.png"), "text").unwrap();
    let skip = ReadOptions { on_bad_image: crate::OnBadImage::Skip, ..ReadOptions::default() };
    let dataset = Dataset::open(folder.path(), &skip).unwrap();
    assert_eq!(dataset.train().len(), 3);
    let reasons: Vec<&str> =
        dataset.findings().skipped.iter().map(|skipped| skipped.reason.as_str()).collect();
    assert_eq!(reasons.len(), 3);
    for (reason, name) in reasons.iter().zip(["text.png", "cut.jpg", "empty.png"]) {
        assert!(reason.contains(name), "{reasons:?}");
    }
    // A class of nothing but bad images is still an error.
    fs::remove_file(at("train/dog/1.png")).unwrap();
    let error = Dataset::open(folder.path(), &skip).unwrap_err();
    assert!(
        matches!(&error, DataError::NoImages { path } if path.ends_with("train/dog")),
        "{error}"
    );
}

#[test]
fn class_names_are_the_same_in_both_forms_of_unicode() {
    let (composed, decomposed) = ("caf\u{e9}", "cafe\u{301}");
    let folder = files(&[
        (&format!("train/{composed}/1.png"), png_grey(2, 2, 0)),
        ("train/bar/1.png", png_grey(2, 2, 0)),
        (&format!("test/{decomposed}/1.png"), png_grey(2, 2, 1)),
        ("test/bar/1.png", png_grey(2, 2, 1)),
    ]);
    assert_eq!(open(&folder).unwrap().classes(), ["bar", composed]);
    let classes = Some(vec![decomposed.to_owned(), "bar".to_owned()]);
    let options = ReadOptions { classes, ..ReadOptions::default() };
    assert_eq!(Dataset::open(folder.path(), &options).unwrap().classes(), [composed, "bar"]);
    let both = folder.path().join("train").join(decomposed);
    fs::create_dir(&both).unwrap();
    fs::write(both.join("2.png"), png_grey(2, 2, 0)).unwrap();
    assert!(matches!(open(&folder), Err(DataError::BadClassName { .. })));
}

#[cfg(unix)]
#[test]
fn links_are_followed_inside_the_folder_and_outside_only_if_allowed() {
    use std::os::unix::fs::symlink;
    let (folder, other) = (two_parts(), splits(&["train"]));
    let at = |name: &str| folder.path().join(name);
    symlink("1.png", at("train/dog/again.png")).unwrap();
    assert_eq!(open(&folder).unwrap().train().len(), 4);

    let outside = at("train/dog/outside.png");
    symlink(other.path().join("train/dog/1.png"), &outside).unwrap();
    let error = open(&folder).unwrap_err();
    assert!(matches!(&error, DataError::LinkOutside { path, .. } if *path == outside), "{error}");
    assert!(error.hint().unwrap().contains("follow_links = true"));
    let skip = ReadOptions { on_bad_image: crate::OnBadImage::Skip, ..ReadOptions::default() };
    assert!(matches!(Dataset::open(folder.path(), &skip), Err(DataError::LinkOutside { .. })));
    let follow = ReadOptions { follow_links: true, ..ReadOptions::default() };
    assert_eq!(Dataset::open(folder.path(), &follow).unwrap().train().len(), 5);
    fs::remove_file(outside).unwrap();

    symlink("absent.png", at("train/dog/broken.png")).unwrap();
    let error = open(&folder).unwrap_err();
    assert!(matches!(&error, DataError::BrokenLink { path, .. } if path.ends_with("broken.png")));
    let dataset = Dataset::open(folder.path(), &skip).unwrap();
    assert_eq!((dataset.train().len(), dataset.findings().skipped.len()), (4, 1));
    fs::remove_file(at("train/dog/broken.png")).unwrap();

    // A whole split behind a link, and a class.
    symlink(other.path().join("train"), at("test")).unwrap();
    assert!(matches!(open(&folder), Err(DataError::LinkOutside { .. })));
    let asked = ReadOptions { test: Some("test".into()), ..ReadOptions::default() };
    assert_eq!(sizes(&Dataset::open(folder.path(), &asked).unwrap()), [4, 2, 2]);
    fs::remove_file(at("test")).unwrap();
    fs::remove_dir_all(at("train/cat")).unwrap();
    symlink(other.path().join("train/cat"), at("train/cat")).unwrap();
    assert!(matches!(open(&folder), Err(DataError::LinkOutside { .. })));
    // The data set's own path may be a link.
    symlink(folder.path(), other.path().join("way in")).unwrap();
    fs::remove_file(at("train/cat")).unwrap();
    fs::create_dir(at("train/cat")).unwrap();
    fs::write(at("train/cat/1.png"), png_colour(4, 5, 0)).unwrap();
    assert!(Dataset::open(&other.path().join("way in"), &ReadOptions::default()).is_ok());
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_among_the_images_are_refused_without_waiting() {
    let folder = two_parts();
    let pipe = folder.path().join("train/dog/b.png");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let error = open(&folder).unwrap_err();
    assert!(matches!(error, DataError::NotAFile { kind: "a named pipe", .. }), "{error}");
    fs::remove_file(&pipe).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &pipe).unwrap();
    assert!(matches!(open(&folder), Err(DataError::LinkOutside { .. })));
    let follow = ReadOptions { follow_links: true, ..ReadOptions::default() };
    let error = Dataset::open(folder.path(), &follow).unwrap_err();
    assert!(matches!(error, DataError::NotAFile { kind: "a device", .. }), "{error}");
}

#[test]
fn images_without_a_label_are_read_when_they_are_asked_for() {
    let folder = files(&[
        ("train/cat/1.png", png_grey(2, 2, 0)),
        ("train/dog/1.png", png_grey(2, 2, 1)),
        ("val/cat/1.png", png_grey(2, 2, 2)),
        ("val/dog/1.png", png_grey(2, 2, 3)),
        ("Unlabelled/1.png", png_grey(2, 2, 4)),
        ("Unlabelled/more/2.png", png_colour(2, 2, 5)),
    ]);
    let dropped = open(&folder).unwrap();
    assert!(dropped.unlabelled().is_none());
    assert_eq!(dropped.shape().unwrap(), [1, 2, 2]);
    let notes = dropped.findings().notes.join("\n");
    assert!(notes.contains("`Unlabelled` is not used") && notes.contains("data.unlabelled"));

    let options = ReadOptions { unlabelled: true, ..ReadOptions::default() };
    let dataset = Dataset::open(folder.path(), &options).unwrap();
    // One of them is in colour, so all are.
    assert_eq!(dataset.shape().unwrap(), [3, 2, 2]);
    assert_eq!(dataset.train().labels(), [0, 1]);
    assert_eq!(dataset.unlabelled().unwrap().labels(), [UNLABELLED; 2]);
    let all = dataset.train_split_with_unlabelled().unwrap();
    assert_eq!(all.labels(), [0, 1, UNLABELLED, UNLABELLED]);
    assert_eq!(all.labelled().ids(), dataset.train_split().ids());
    assert_eq!((all.labelled_len(), all.unlabelled().len()), (2, 2));
    assert_eq!(all.origin(3).unwrap(), "Unlabelled/more/2.png");
    assert_eq!(all.labelled().followed_by(&all.unlabelled()).ids(), all.ids());

    fs::write(folder.path().join("Unlabelled/3.png"), png_grey(3, 2, 4)).unwrap();
    let error = Dataset::open(folder.path(), &options).unwrap_err();
    assert!(matches!(error, DataError::MixedSizes { .. }), "{error}");
}
