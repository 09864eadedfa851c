use super::*;
use crate::split::tests::numbered;

fn names() -> Vec<String> {
    (0..10).map(|i| format!("class {i}")).collect()
}

fn written() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &numbered(30), Some(&numbered(20)), &names()).unwrap();
    folder
}

fn open(folder: &tempfile::TempDir) -> Result<Dataset, DataError> {
    Dataset::open(folder.path(), &ReadOptions::default())
}

fn ungzip(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    MultiGzDecoder::new(fs::File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    bytes
}

/// A header with these numbers, then `content`.
fn raw(header: &[u32], content: &[u8]) -> Vec<u8> {
    let mut bytes: Vec<u8> = header.iter().flat_map(|number| number.to_be_bytes()).collect();
    bytes.extend_from_slice(content);
    bytes
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Reads two images of 1x2 with these files; the good ones are `images()` and `labels()`.
fn from(images: &[u8], labels: &[u8]) -> Result<Dataset, DataError> {
    let files = IdxBytes { train_images: images, train_labels: labels, test: None };
    from_bytes("memory", files, None)
}

fn images() -> Vec<u8> {
    raw(&[IMAGES_MAGIC, 2, 1, 2], &[1, 2, 3, 4])
}

fn labels() -> Vec<u8> {
    raw(&[LABELS_MAGIC, 2], &[7, 0])
}

#[test]
fn what_is_written_is_read_back() {
    let folder = written();
    let dataset = open(&folder).unwrap();
    assert_eq!(dataset.format(), Format::Idx);
    assert_eq!(dataset.classes(), names());
    assert_eq!(dataset.train().images(), Some(&numbered(30)));
    assert_eq!(dataset.test().unwrap().images(), Some(&numbered(20)));
}

#[test]
fn plain_files_dotted_names_and_bytes_give_the_same_dataset() {
    let folder = written();
    let fingerprint = open(&folder).unwrap().fingerprint();
    let at = |name: &str| folder.path().join(name);
    let plain = ungzip(&at("train-images-idx3-ubyte.gz"));
    fs::remove_file(at("train-images-idx3-ubyte.gz")).unwrap();
    fs::write(at("train-images.idx3-ubyte"), &plain).unwrap();
    assert_eq!(open(&folder).unwrap().fingerprint(), fingerprint);

    let labels = fs::read(at("train-labels-idx1-ubyte.gz")).unwrap();
    let test_images = fs::read(at("t10k-images-idx3-ubyte.gz")).unwrap();
    let test_labels = fs::read(at("t10k-labels-idx1-ubyte.gz")).unwrap();
    let files = IdxBytes {
        train_images: &plain,
        train_labels: &labels,
        test: Some((&test_images, &test_labels)),
    };
    let dataset = from_bytes("memory", files, Some(&names())).unwrap();
    assert_eq!(dataset.fingerprint(), fingerprint);
}

#[test]
fn compressed_files_are_the_same_bytes_every_time() {
    assert_eq!(images_gz(&numbered(30)).unwrap(), images_gz(&numbered(30)).unwrap());
    // No name, no time: flags and time are 0.
    assert_eq!(images_gz(&numbered(3)).unwrap()[3..8], [0; 5]);
}

#[test]
fn classes_are_those_of_the_caller_then_of_the_file_then_digits() {
    let folder = written();
    let given: Vec<String> = (0..12).map(|i| format!("given {i}")).collect();
    let options = ReadOptions { classes: Some(given.clone()), ..ReadOptions::default() };
    assert_eq!(Dataset::open(folder.path(), &options).unwrap().classes(), given);
    assert_eq!(open(&folder).unwrap().classes(), names());
    fs::remove_file(folder.path().join("classes.txt")).unwrap();
    assert_eq!(open(&folder).unwrap().classes()[9], "9");
}

#[test]
fn a_dataset_without_test_files_has_no_test_part() {
    let folder = written();
    for what in ["images-idx3", "labels-idx1"] {
        fs::remove_file(folder.path().join(format!("t10k-{what}-ubyte.gz"))).unwrap();
    }
    assert!(open(&folder).unwrap().test().is_none());
}

#[test]
fn labels_that_count_from_1_are_asked_about_unless_the_classes_have_names() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: Vec<u8>| fs::write(folder.path().join(name), bytes).unwrap();
    put("train-images-idx3-ubyte", raw(&[0x803, 3, 1, 2], &[1, 2, 3, 4, 5, 6]));
    put("train-labels-idx1-ubyte", raw(&[0x801, 3], &[1, 2, 3]));
    let error = open(&folder).unwrap_err();
    assert!(matches!(error, DataError::LabelsStartAt { first: 1, .. }), "{error}");
    let with = |first| {
        let options = ReadOptions { first_label: Some(first), ..ReadOptions::default() };
        Dataset::open(folder.path(), &options).unwrap().train().labels().to_vec()
    };
    assert_eq!((with(1), with(0)), (vec![0, 1, 2], vec![1, 2, 3]));
    put("classes.txt", b"none\na\nb\nc\n".to_vec());
    assert_eq!(open(&folder).unwrap().train().labels(), [1, 2, 3]);
}

#[test]
fn a_missing_file_is_named() {
    for name in [
        "train-labels-idx1-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
        "t10k-images-idx3-ubyte.gz",
        "train-images-idx3-ubyte.gz",
    ] {
        let folder = written();
        fs::remove_file(folder.path().join(name)).unwrap();
        let options = ReadOptions { format: Some(Format::Idx), ..ReadOptions::default() };
        let error = Dataset::open(folder.path(), &options).unwrap_err();
        assert!(
            matches!(&error, DataError::MissingFile { path } if path.ends_with(name)),
            "{name}: {error}"
        );
    }
}

#[test]
fn every_cut_of_a_plain_or_compressed_file_is_an_error() {
    assert!(from(&images(), &labels()).is_ok());
    for (images, labels) in [(images(), labels()), (gz(&images()), gz(&labels()))] {
        assert!(from(&images, &labels).is_ok());
        for cut in 0..images.len() {
            let error = from(&images[..cut], &labels).unwrap_err();
            assert!(
                matches!(error, DataError::Truncated { .. } | DataError::Gzip { .. }),
                "{cut}: {error:?}"
            );
        }
        for cut in 0..labels.len() {
            assert!(from(&images, &labels[..cut]).is_err(), "{cut}");
        }
    }
}

#[test]
fn every_changed_byte_of_a_compressed_file_is_noticed_or_means_nothing() {
    let images = gz(&images());
    let fingerprint = from(&images, &labels()).unwrap().fingerprint();
    for at in 0..images.len() {
        for bit in 0..8 {
            let mut bad = images.clone();
            bad[at] ^= 1 << bit;
            // Time, operating system and the bits that fill the last byte mean nothing.
            if let Ok(dataset) = from(&bad, &labels()) {
                assert_eq!(dataset.fingerprint(), fingerprint, "byte {at}, bit {bit}");
            }
        }
    }
}

#[test]
fn wrong_magic_and_swapped_files_are_told() {
    let error = from(&labels(), &images()).unwrap_err();
    assert!(matches!(
        error,
        DataError::WrongMagic { expected: IMAGES_MAGIC, found: LABELS_MAGIC, .. }
    ));
    assert!(error.hint().unwrap().contains("swapped"));
    let error = from(&gz(&gz(&images())), &labels()).unwrap_err();
    assert!(error.hint().unwrap().contains("compressed twice"));
}

#[test]
fn a_header_larger_than_the_file_is_refused_before_it_is_believed() {
    let huge = raw(&[IMAGES_MAGIC, u32::MAX, u32::MAX, u32::MAX], &[0; 100]);
    let large = raw(&[IMAGES_MAGIC, u32::MAX, 1, 2], &[0; 100]);
    for bytes in [huge.clone(), large.clone(), gz(&huge), gz(&large)] {
        let error = from(&bytes, &labels()).unwrap_err();
        assert!(matches!(error, DataError::Truncated { .. }), "{error:?}");
    }
}

#[test]
fn a_gzip_bomb_is_read_no_further_than_its_header_says() {
    // 50 MB of zeros in a hundredth of that or less (how much less depends on the compressor), after
    // a header that announces four pixels.
    let mut bomb = images();
    bomb.resize(50_000_000, 0);
    let bomb = gz(&bomb);
    assert!(bomb.len() < 500_000, "{}", bomb.len());
    let error = from(&bomb, &labels()).unwrap_err();
    assert!(matches!(error, DataError::TooLong { expected: 20, .. }), "{error:?}");
}

#[test]
fn bytes_after_the_end_are_refused() {
    let mut images = images();
    images.push(0);
    let error = from(&images, &labels()).unwrap_err();
    assert!(matches!(error, DataError::TooLong { expected: 20, .. }));
}

#[test]
fn counts_that_differ_zero_images_and_zero_sizes_are_refused() {
    let three = raw(&[LABELS_MAGIC, 3], &[0, 0, 0]);
    let error = from(&images(), &three).unwrap_err();
    assert!(matches!(error, DataError::CountsDiffer { images: 2, labels: 3, .. }));
    let none = raw(&[IMAGES_MAGIC, 0, 1, 2], &[]);
    assert!(matches!(from(&none, &labels()), Err(DataError::NoImages { .. })));
    for (header, name) in [([IMAGES_MAGIC, 2, 0, 2], "height"), ([IMAGES_MAGIC, 2, 2, 0], "width")]
    {
        let error = from(&raw(&header, &[]), &labels()).unwrap_err();
        assert!(matches!(error, DataError::BadHeader { field, .. } if field == name));
    }
}

#[test]
fn a_label_without_class_is_named_with_file_and_row() {
    let error = from(&images(), &raw(&[LABELS_MAGIC, 2], &[0, 10])).unwrap_err();
    assert!(matches!(
        &error,
        DataError::LabelOutOfRange { path, row: 1, label: 10, classes: 10 }
            if path.ends_with("train-labels-idx1-ubyte")
    ));
    assert!(error.hint().unwrap().contains("classes.txt"));
}

#[test]
fn bad_class_files_are_refused() {
    let folder = written();
    let file = folder.path().join("classes.txt");
    fs::write(&file, "a\na\n").unwrap();
    assert!(matches!(open(&folder), Err(DataError::BadClassName { .. })));
    fs::write(&file, "\n\n").unwrap();
    assert!(matches!(open(&folder), Err(DataError::NoClasses { .. })));
    fs::write(&file, [0xff, 0xfe]).unwrap();
    assert!(matches!(open(&folder), Err(DataError::NotUtf8 { .. })));
}

#[test]
fn colour_and_large_labels_cannot_be_written() {
    let colour = ImageSet::new(3, 1, 1, vec![0; 3], vec![256]).unwrap();
    assert!(matches!(images_gz(&colour), Err(DataError::OutOfRange { .. })));
    assert!(matches!(labels_gz(&colour), Err(DataError::OutOfRange { .. })));
}

#[test]
fn a_bomb_is_refused_before_it_is_unpacked() {
    // As many bytes as deflate needs at least for so many pixels.
    let mut random = 1_u64;
    let mut noise = vec![0; 90_000];
    noise.fill_with(|| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as u8
    });
    let images = gz(&raw(&[IMAGES_MAGIC, 1, 9000, 9000], &noise));
    assert!(images.len() as u64 * DEFLATE_RATIO > 81_000_016, "{}", images.len());
    let error = from(&images, &raw(&[LABELS_MAGIC, 1], &[0])).unwrap_err();
    assert!(matches!(error, DataError::Bomb { decoded: 81_000_016, .. }), "{error}");
    assert!(error.hint().unwrap().contains("do not use it"));
}

#[test]
fn the_folders_of_torchvision_are_read_and_two_of_them_asked_about() {
    let folder = written();
    let fingerprint = open(&folder).unwrap().fingerprint();
    let raw = tempfile::tempdir().unwrap();
    let into = raw.path().join("MNIST/raw");
    fs::create_dir_all(into.parent().unwrap()).unwrap();
    fs::rename(folder.path(), &into).unwrap();
    for path in [raw.path(), into.parent().unwrap(), &into] {
        let dataset = Dataset::open(path, &ReadOptions::default()).unwrap();
        assert_eq!(dataset.fingerprint(), fingerprint, "{}", path.display());
    }
    let other = raw.path().join("FashionMNIST/raw");
    fs::create_dir_all(&other).unwrap();
    fs::copy(into.join("train-images-idx3-ubyte.gz"), other.join("train-images-idx3-ubyte.gz"))
        .unwrap();
    let error = Dataset::open(raw.path(), &ReadOptions::default()).unwrap_err();
    assert!(matches!(&error, DataError::SeveralDatasets { folders, .. } if folders.len() == 2));
    fs::create_dir(folder.path()).unwrap();
}

#[test]
fn the_test_split_may_choose_instead_and_a_split_that_is_not_there_is_named() {
    let folder = written();
    let options = |validation: &str| ReadOptions {
        validation: Some(validation.to_owned()),
        ..ReadOptions::default()
    };
    let dataset = Dataset::open(folder.path(), &options("t10k")).unwrap();
    assert!(dataset.test().is_none() && dataset.validation().is_some());
    let error = Dataset::open(folder.path(), &options("val")).unwrap_err();
    assert!(matches!(&error, DataError::NoSplit { key: "validation", .. }), "{error}");
}

#[cfg(unix)]
#[test]
fn a_list_of_names_that_links_out_of_the_folder_is_not_read() {
    use std::os::unix::fs::symlink;
    let folder = written();
    let names = folder.path().join("classes.txt");
    for target in ["/etc/passwd", "/dev/zero"] {
        fs::remove_file(&names).unwrap();
        symlink(target, &names).unwrap();
        let error = open(&folder).unwrap_err();
        assert!(matches!(&error, DataError::LinkOutside { path, .. } if *path == names), "{error}");
    }
    let options = ReadOptions { follow_links: true, ..ReadOptions::default() };
    let error = Dataset::open(folder.path(), &options).unwrap_err();
    assert!(matches!(error, DataError::NotAFile { kind: "a device", .. }), "{error}");
}
