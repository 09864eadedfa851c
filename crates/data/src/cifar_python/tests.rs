use std::fs;

use super::*;

/// A pickle of protocol 2 with these lists of numbers and texts, and one row of `data` an image.
fn pickle(
    numbers: &[(&str, &[u8])],
    texts: &[(&str, &[&str])],
    images: Option<(u8, u8)>,
) -> Vec<u8> {
    let text = |text: &str| [&[b'U', text.len() as u8], text.as_bytes()].concat();
    let mut bytes = b"\x80\x02}(".to_vec();
    for (key, values) in numbers {
        bytes.extend([text(key), b"](".to_vec()].concat());
        values.iter().for_each(|&value| bytes.extend([b'K', value]));
        bytes.push(b'e');
    }
    for (key, values) in texts {
        bytes.extend([text(key), b"](".to_vec()].concat());
        values.iter().for_each(|value| bytes.extend(text(value)));
        bytes.push(b'e');
    }
    if let Some((count, seed)) = images {
        bytes.extend(text("data"));
        bytes.extend(
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\x01b\x87R(K\x01K",
        );
        bytes.extend([count, b'M', 0, 12, 0x86]);
        bytes.extend(b"cnumpy\ndtype\nU\x02u1K\0K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89T");
        bytes.extend((u32::from(count) * IMAGE_LEN as u32).to_le_bytes());
        for image in 0..count {
            bytes.extend((0..IMAGE_LEN).map(|p| (p as u8).wrapping_add(seed + image)));
        }
        bytes.extend(b"tb");
    }
    bytes.extend(b"u.");
    bytes
}

fn cifar100(above: &Path) -> PathBuf {
    let folder = above.join("cifar-100-python");
    fs::create_dir(&folder).unwrap();
    let names: [(&str, &[&str]); 2] =
        [("fine_label_names", &["apple", "bear"]), ("coarse_label_names", &["fruit", "mammal"])];
    fs::write(folder.join("meta"), pickle(&[], &names, None)).unwrap();
    let labels: [(&str, &[u8]); 2] = [("fine_labels", &[1, 0]), ("coarse_labels", &[0, 1])];
    fs::write(folder.join("train"), pickle(&labels, &[], Some((2, 5)))).unwrap();
    fs::write(folder.join("test"), pickle(&labels, &[], Some((2, 9)))).unwrap();
    folder
}

#[test]
fn cifar100_is_read_as_torchvision_leaves_it() {
    let above = tempfile::tempdir().unwrap();
    let folder = cifar100(above.path());
    for path in [above.path(), &folder] {
        let dataset = Dataset::open(path, &ReadOptions::default()).unwrap();
        assert_eq!(
            (dataset.format(), dataset.shape().unwrap()),
            (Format::CifarPython, [3, 32, 32])
        );
        assert_eq!(dataset.classes(), ["apple", "bear"]);
        assert_eq!(dataset.train().labels(), [1, 0]);
        assert_eq!(dataset.train().images().unwrap().image(1)[..3], [6, 7, 8]);
        assert_eq!(dataset.test().unwrap().images().unwrap().image(0)[0], 9);
    }
    let coarse =
        ReadOptions { label_column: Some("coarse_label".into()), ..ReadOptions::default() };
    let dataset = Dataset::open(above.path(), &coarse).unwrap();
    assert_eq!((dataset.classes()[0].as_str(), dataset.train().labels()), ("fruit", &[0, 1][..]));
}

#[test]
fn cifar10_needs_all_five_batches() {
    let above = tempfile::tempdir().unwrap();
    let folder = above.path().join("cifar-10-batches-py");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("batches.meta"), pickle(&[], &[("label_names", &["a", "b"])], None))
        .unwrap();
    for batch in 1..=5 {
        let content = pickle(&[("labels", &[batch % 2])], &[], Some((1, batch)));
        fs::write(folder.join(format!("data_batch_{batch}")), content).unwrap();
    }
    let dataset = Dataset::open(above.path(), &ReadOptions::default()).unwrap();
    assert_eq!(dataset.train().labels(), [1, 0, 1, 0, 1]);
    assert!(dataset.test().is_none());
    fs::remove_file(folder.join("data_batch_3")).unwrap();
    let error = Dataset::open(above.path(), &ReadOptions::default()).unwrap_err();
    assert!(matches!(&error, DataError::MissingFile { path } if path.ends_with("data_batch_3")));
}

#[test]
fn what_does_not_fit_is_said() {
    for (content, expected) in [
        (pickle(&[("fine_labels", &[0])], &[], Some((2, 0))), "1 labels for 2 images"),
        (pickle(&[("fine_labels", &[0])], &[], None), "no array `data`"),
        (pickle(&[], &[], Some((1, 0))), "no list `fine_labels`"),
        (b"\x80\x02cos\nsystem\nU\x02ls\x85R.".to_vec(), "no array `data`"),
        (b"not a pickle".to_vec(), "no pickle"),
    ] {
        let above = tempfile::tempdir().unwrap();
        let folder = cifar100(above.path());
        fs::write(folder.join("train"), content).unwrap();
        let error = Dataset::open(above.path(), &ReadOptions::default()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let above = tempfile::tempdir().unwrap();
    let folder = cifar100(above.path());
    fs::write(folder.join("train"), pickle(&[("fine_labels", &[0, 2])], &[], Some((2, 0))))
        .unwrap();
    let error = Dataset::open(above.path(), &ReadOptions::default()).unwrap_err();
    assert!(matches!(error, DataError::LabelOutOfRange { row: 1, label: 2, .. }));
}
