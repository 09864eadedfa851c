use std::fs;

use super::*;

/// Records with these label bytes; the pixels of record `i` start at `seed + i` and count up.
fn records(labels: &[&[u8]], seed: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (i, label) in (0_u8..).zip(labels) {
        bytes.extend_from_slice(label);
        bytes.extend((0..IMAGE_LEN).map(|p| (p as u8).wrapping_add(seed + i)));
    }
    bytes
}

fn cifar10() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("batches.meta.txt"), "airplane\nautomobile\nbird\n\n").unwrap();
    fs::write(at("data_batch_1.bin"), records(&[&[0], &[2]], 0)).unwrap();
    fs::write(at("data_batch_2.bin"), records(&[&[1]], 50)).unwrap();
    fs::write(at("test_batch.bin"), records(&[&[2]], 90)).unwrap();
    folder
}

fn cifar100(folder: &Path) {
    fs::write(folder.join("fine_label_names.txt"), "apple\nbear\n").unwrap();
    fs::write(folder.join("coarse_label_names.txt"), "fruit\nmammal\nfish\n").unwrap();
    fs::write(folder.join("train.bin"), records(&[&[1, 1], &[0, 0], &[2, 0]], 0)).unwrap();
    fs::write(folder.join("test.bin"), records(&[&[0, 1]], 7)).unwrap();
}

fn open(folder: &Path) -> Result<Dataset, DataError> {
    Dataset::open(folder, &ReadOptions::default())
}

fn with_column(column: &str) -> ReadOptions {
    ReadOptions { label_column: Some(column.to_owned()), ..ReadOptions::default() }
}

#[test]
fn reads_cifar10_in_the_order_of_the_batches() {
    let folder = cifar10();
    let dataset = open(folder.path()).unwrap();
    assert_eq!(dataset.format(), Format::CifarBinary);
    assert_eq!(dataset.classes(), ["airplane", "automobile", "bird"]);
    assert_eq!(dataset.shape().unwrap(), [3, 32, 32]);
    assert_eq!(dataset.train().labels(), [0, 2, 1]);
    assert_eq!(dataset.train().images().unwrap().image(2)[..3], [50, 51, 52]);
    assert_eq!(
        dataset.train().images().unwrap().image(1)[IMAGE_LEN - 1],
        (IMAGE_LEN as u32 % 256) as u8
    );
    assert_eq!(dataset.test().unwrap().labels(), [2]);
}

#[test]
fn reads_cifar100_with_fine_or_coarse_labels_also_from_the_folder_above() {
    let above = tempfile::tempdir().unwrap();
    let folder = above.path().join("cifar-100-binary");
    fs::create_dir(&folder).unwrap();
    cifar100(&folder);
    for path in [folder.as_path(), above.path()] {
        let fine = open(path).unwrap();
        assert_eq!(fine.classes(), ["apple", "bear"]);
        assert_eq!(fine.train().labels(), [1, 0, 0]);
        let coarse = Dataset::open(path, &with_column("coarse_label")).unwrap();
        assert_eq!(coarse.classes(), ["fruit", "mammal", "fish"]);
        assert_eq!(coarse.train().labels(), [1, 0, 2]);
        assert_eq!(
            coarse.train().images().unwrap().pixels(),
            fine.train().images().unwrap().pixels()
        );
    }
}

#[test]
fn an_unknown_label_column_lists_the_possible_ones() {
    let folder = tempfile::tempdir().unwrap();
    cifar100(folder.path());
    let error = Dataset::open(folder.path(), &with_column("labels")).unwrap_err();
    assert!(error.to_string().contains("`fine_label` and `coarse_label`"), "{error}");
    let error = Dataset::open(cifar10().path(), &with_column("fine")).unwrap_err();
    assert!(matches!(error, DataError::BadOption { key: "label_column", .. }));
}

#[test]
fn a_missing_file_is_named() {
    let missing = |name: &str| {
        let folder = cifar10();
        fs::remove_file(folder.path().join(name)).unwrap();
        let error = open(folder.path()).unwrap_err();
        assert!(
            matches!(&error, DataError::MissingFile { path } if path.ends_with(name)),
            "{error}"
        );
    };
    missing("batches.meta.txt");
    // A gap in the numbers: training on fewer images would go unnoticed.
    missing("data_batch_1.bin");
    let folder = cifar10();
    fs::remove_file(folder.path().join("test_batch.bin")).unwrap();
    assert!(open(folder.path()).unwrap().test().is_none());
}

#[test]
fn a_cut_file_is_refused_with_byte_and_record() {
    let folder = cifar10();
    let file = folder.path().join("data_batch_1.bin");
    let whole = records(&[&[0], &[2]], 0);
    for cut in [1, 3072, 3074, 6145] {
        fs::write(&file, &whole[..cut]).unwrap();
        let error = open(folder.path()).unwrap_err();
        assert!(
            matches!(
                error,
                DataError::Truncated { record: Some(record), found, .. }
                    if record == cut as u64 / 3073 && found == cut as u64
            ),
            "{cut}: {error:?}"
        );
    }
    fs::write(&file, "").unwrap();
    assert!(matches!(open(folder.path()), Err(DataError::NoImages { .. })));
}

#[test]
fn a_label_without_class_is_named_with_file_and_record() {
    let folder = cifar10();
    fs::write(folder.path().join("test_batch.bin"), records(&[&[0], &[3]], 0)).unwrap();
    assert!(matches!(
        open(folder.path()).unwrap_err(),
        DataError::LabelOutOfRange { path, row: 1, label: 3, classes: 3 }
            if path.ends_with("test_batch.bin")
    ));
}

#[test]
fn class_names_of_the_caller_must_be_as_many() {
    let folder = cifar10();
    let given = |names: &[&str]| ReadOptions {
        classes: Some(names.iter().map(|&name| name.to_owned()).collect()),
        ..ReadOptions::default()
    };
    let dataset = Dataset::open(folder.path(), &given(&["x", "y", "z"])).unwrap();
    assert_eq!(dataset.classes(), ["x", "y", "z"]);
    assert!(matches!(
        Dataset::open(folder.path(), &given(&["x", "y"])),
        Err(DataError::WrongClassCount { expected: 3, found: 2, .. })
    ));
}
