use std::fs;
use std::io::Write as _;

use super::*;

/// A `.npy` file.
fn npy(descr: &str, shape: &[usize], bytes: &[u8]) -> Vec<u8> {
    let sizes: String = shape.iter().map(|size| format!("{size}, ")).collect();
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({sizes}), }}\n");
    let length = (header.len() as u16).to_le_bytes();
    [&b"\x93NUMPY\x01\x00"[..], &length, header.as_bytes(), bytes].concat()
}

/// A zip file, deflated as `np.savez_compressed` does, or stored as `np.savez`.
fn zip(members: &[(&str, Vec<u8>)], deflated: bool) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in members {
        let mut packed = content.clone();
        if deflated {
            let level = flate2::Compression::default();
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), level);
            encoder.write_all(content).unwrap();
            packed = encoder.finish().unwrap();
        }
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let start = file.len() as u32;
        let method = if deflated { 8_u16 } else { 0 };
        let lengths = [crc.sum(), packed.len() as u32, content.len() as u32, name.len() as u32];
        let about = [
            &[20, 0, 0, 0][..],
            &method.to_le_bytes(),
            &[0; 4],
            lengths.map(u32::to_le_bytes).as_flattened(),
        ]
        .concat();
        file.extend([b"PK\x03\x04", &about[..], name.as_bytes(), &packed].concat());
        let places = [&[0; 10][..], &start.to_le_bytes()].concat();
        directory.extend([b"PK\x01\x02\x14\0", &about[..], &places, name.as_bytes()].concat());
    }
    let (start, size) = (file.len() as u32, directory.len() as u32);
    let count = (members.len() as u16).to_le_bytes();
    file.extend(directory);
    file.extend([b"PK\x05\x06\0\0\0\0", &count[..], &count].concat());
    file.extend([size.to_le_bytes(), start.to_le_bytes()].as_flattened());
    file.extend([0; 2]);
    file
}

/// `count` colour pictures of 2×3, interleaved, each byte telling where it stands.
fn colour(count: usize) -> Vec<u8> {
    npy("|u1", &[count, 2, 3, 3], &(0..count * 18).map(|at| at as u8).collect::<Vec<_>>())
}

fn labels(values: &[u8]) -> Vec<u8> {
    npy("|u1", &[values.len(), 1], values)
}

fn med_mnist() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("train_images.npy", colour(3)),
        ("val_images.npy", colour(2)),
        ("test_images.npy", colour(2)),
        ("train_labels.npy", labels(&[0, 2, 1])),
        ("val_labels.npy", labels(&[1, 1])),
        ("test_labels.npy", labels(&[2, 0])),
    ]
}

/// Opens a file of these members by its path.
fn open(members: &[(&str, Vec<u8>)], options: &ReadOptions) -> Result<Dataset, DataError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("set.npz");
    fs::write(&path, zip(members, true)).unwrap();
    Dataset::open(&path, options)
}

#[test]
fn med_mnist_is_read_as_it_is_downloaded_packed_or_not() {
    for deflated in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pathmnist.npz");
        fs::write(&path, zip(&med_mnist(), deflated)).unwrap();
        fs::write(folder.path().join("readme.txt"), "hello").unwrap();
        // By its own path, and by that of its folder.
        for path in [path.as_path(), folder.path()] {
            let dataset = Dataset::open(path, &ReadOptions::default()).unwrap();
            assert_eq!((dataset.format(), dataset.shape().unwrap()), (Format::Npz, [3, 2, 3]));
            assert_eq!(dataset.classes(), ["0", "1", "2"]);
            assert_eq!(dataset.train().labels(), [0, 2, 1]);
            assert_eq!(dataset.validation().unwrap().labels(), [1, 1]);
            assert_eq!(dataset.test().unwrap().labels(), [2, 0]);
            let pixels = dataset.train().images().unwrap().pixels();
            // The second picture begins at 18; red first, every third byte.
            let red: Vec<u8> = (0..6).map(|at| 18 + 3 * at).collect();
            assert_eq!(pixels[18..24], red);
            assert_eq!(pixels[24..27], [19, 22, 25]);
        }
    }
}

#[test]
fn kerass_names_and_grey_pictures_are_read() {
    let grey = |count: usize| npy("|u1", &[count, 1, 2], &vec![7; count * 2]);
    let int = |values: &[i64]| {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        npy("<i8", &[values.len()], &bytes)
    };
    let members = [
        ("x_train.npy", grey(3)),
        ("y_train.npy", int(&[1, 0, 3])),
        ("x_test.npy", grey(2)),
        ("y_test.npy", int(&[-1, -1])),
        ("extra.npy", grey(1)),
    ];
    let dataset = open(&members, &ReadOptions::default()).unwrap();
    assert_eq!((dataset.shape().unwrap(), dataset.classes().len()), ([1, 1, 2], 4));
    let notes = dataset.findings().notes.join("\n");
    assert!(dataset.test().is_none() && notes.contains("`test` is not used"), "{notes}");
    assert!(notes.contains("not used of the file: `extra`"), "{notes}");
    // Channels before rows.
    let planes = npy("|u1", &[2, 3, 1, 2], &(0..12).collect::<Vec<u8>>());
    let members = [("x_train.npy", planes), ("y_train.npy", int(&[1, 0]))];
    let dataset = open(&members, &ReadOptions::default()).unwrap();
    assert_eq!(dataset.shape().unwrap(), [3, 1, 2]);
    assert_eq!(dataset.train().images().unwrap().pixels(), (0..12).collect::<Vec<u8>>());
}

#[test]
fn arrays_without_a_split_are_the_training_split() {
    let members = [("X.npy", colour(3)), ("y.npy", labels(&[1, 0, 1]))];
    let dataset = open(&members, &ReadOptions::default()).unwrap();
    assert_eq!((dataset.train().labels(), dataset.test().is_none()), (&[1, 0, 1][..], true));
    // Beside splits they are left out, with a note.
    let members = [&med_mnist()[..], &[("images", colour(1))]].concat();
    let dataset = open(&members, &ReadOptions::default()).unwrap();
    assert!(dataset.findings().notes.concat().contains("`images`"));
    // Which of two is meant is not guessed.
    let members = [("X.npy", colour(3)), ("data.npy", colour(3)), ("y.npy", labels(&[1, 0, 1]))];
    assert!(matches!(open(&members, &ReadOptions::default()), Err(DataError::NoSplit { .. })));
}

#[test]
fn labels_from_1_are_asked_about() {
    let mut members = med_mnist();
    members[3].1 = labels(&[1, 2, 3]);
    let error = open(&members, &ReadOptions::default()).unwrap_err();
    assert!(matches!(error, DataError::LabelsStartAt { first: 1, .. }), "{error}");
    members[5].1 = labels(&[3, 1]);
    let options = ReadOptions { first_label: Some(1), ..ReadOptions::default() };
    let dataset = open(&members, &options).unwrap();
    assert_eq!(
        (dataset.train().labels(), dataset.classes()),
        (&[0, 1, 2][..], &["1", "2", "3"].map(str::to_owned)[..])
    );
}

#[test]
fn what_is_no_picture_or_no_single_label_is_refused_with_the_way_out() {
    let replaced = |name: &str, array: Vec<u8>| {
        let mut members = med_mnist();
        members.iter_mut().find(|(known, _)| *known == name).unwrap().1 = array;
        open(&members, &ReadOptions::default()).unwrap_err()
    };
    for (name, array, problem, fix) in [
        ("train_images.npy", npy("<f4", &[3, 2, 3], &[0; 72]), "type `<f4`", "uint8"),
        ("train_images.npy", npy("|u1", &[3, 2, 3, 5], &[0; 90]), "[3, 2, 3, 5]", "volumes"),
        ("train_images.npy", npy("|u1", &[3, 6], &[0; 18]), "[3, 6]", "[n, height, width]"),
        ("train_images.npy", npy("|u1", &[3, 2, 3], &[0; 9]), "9 values", "fetch it again"),
        ("train_labels.npy", npy("|u1", &[3, 14], &[0; 42]), "[3, 14]", "argmax"),
        ("train_labels.npy", npy("<f8", &[3], &[0; 24]), "type `<f8`", "whole numbers"),
        ("val_labels.npy", npy("|O", &[2], &[0; 24]), "type `|O`", "whole numbers"),
        ("val_images.npy", b"nothing".to_vec(), "other first bytes", "np.savez_compressed"),
    ] {
        let error = replaced(name, array);
        assert!(error.to_string().contains(problem), "{problem}: {error}");
        assert!(error.hint().unwrap().contains(fix), "{fix}: {:?}", error.hint());
    }
    let short = replaced("train_labels.npy", labels(&[0, 1]));
    assert!(short.to_string().contains("3 images of `train`, but 2 labels"), "{short}");
    let outside = replaced("test_labels.npy", npy("|i1", &[2, 1], &[0, 0xfe]));
    assert!(matches!(outside, DataError::LabelOutOfRange { label: -2, row: 1, .. }), "{outside}");
    let mut members = med_mnist();
    members.remove(4);
    let error = open(&members, &ReadOptions::default()).unwrap_err();
    assert!(error.to_string().contains("images of `val`, but no labels"), "{error}");
}

#[test]
fn every_cut_and_every_changed_byte_gives_a_result_without_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("set.npz");
    let whole = zip(&med_mnist(), true);
    for cut in 0..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        assert!(read(&path, &ReadOptions::default()).is_err(), "cut at {cut}");
    }
    for at in 0..whole.len() {
        let mut bad = whole.clone();
        bad[at] ^= 0x5a;
        fs::write(&path, &bad).unwrap();
        drop(read(&path, &ReadOptions::default()));
    }
}

#[test]
fn two_files_in_a_folder_are_named_and_other_archives_are_no_data_set() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("weights.npz"), zip(&[("w.npy", labels(&[1]))], true)).unwrap();
    let error = Dataset::open(folder.path(), &ReadOptions::default()).unwrap_err();
    assert!(matches!(error, DataError::NotRecognised { .. }), "{error}");
    for name in ["a.npz", "b.NPZ"] {
        fs::write(folder.path().join(name), zip(&med_mnist(), true)).unwrap();
    }
    let error = Dataset::open(folder.path(), &ReadOptions::default()).unwrap_err();
    assert!(error.to_string().contains("a.npz") && error.to_string().contains("b.NPZ"), "{error}");
    assert!(Dataset::open(&folder.path().join("a.npz"), &ReadOptions::default()).is_ok());
    let error = Dataset::open(&folder.path().join("c.npz"), &ReadOptions::default()).unwrap_err();
    assert!(matches!(error, DataError::NotFound { .. }), "{error}");
}
