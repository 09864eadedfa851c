//! Data sets of other programs.

use faculty_data::{
    Dataset, ExifOrientation, ReadOptions, Tokenizer, cifar_binary, idx, npz, parquet as hub,
    read_image,
};

use crate::input::{Scratch, files};

/// `train-images`, `train-labels`, then those of the test split; plain or gzip.
pub(crate) fn idx(bytes: &[u8]) -> bool {
    let [train_images, train_labels, images, labels] = files(bytes);
    let test = (!images.is_empty()).then_some((images, labels));
    let parts = idx::IdxBytes { train_images, train_labels, test };
    let read = idx::from_bytes("fuzz", parts, None);
    if let Ok(dataset) = &read {
        assert!(dataset.fingerprint().len() >= 16);
    }
    read.is_ok()
}

/// Names of the classes, training records, test records.
pub(crate) fn cifar(bytes: &[u8]) -> bool {
    let [names, train, test] = files(bytes);
    let folder = Scratch::new();
    if names.first() == Some(&b'1') {
        folder.write("batches.meta.txt", &names[1..]);
        folder.write("data_batch_1.bin", train);
        folder.write("test_batch.bin", test);
    } else {
        folder.write("fine_label_names.txt", names);
        folder.write("train.bin", train);
        folder.write("test.bin", test);
    }
    cifar_binary::read(folder.path(), &ReadOptions::default()).is_ok()
}

/// One file as on the Hugging Face hub.
pub(crate) fn parquet(bytes: &[u8]) -> bool {
    let folder = Scratch::new();
    folder.write("train.parquet", bytes);
    hub::read(folder.path(), &ReadOptions::default()).is_ok()
}

/// Arrays of NumPy as MedMNIST has them.
pub(crate) fn npz(bytes: &[u8]) -> bool {
    let folder = Scratch::new();
    let path = folder.write("set.npz", bytes);
    let read = npz::read(&path, &ReadOptions::default());
    if let Ok(dataset) = &read {
        assert!(dataset.shape().is_ok());
    }
    read.is_ok()
}

/// PNG, JPEG or TIFF.
pub(crate) fn image(bytes: &[u8]) -> bool {
    let folder = Scratch::new();
    let path = folder.write("image", bytes);
    let read = read_image(&path, [3, 6, 5], ExifOrientation::Apply);
    if let Ok(pixels) = &read {
        assert_eq!(pixels.len(), 90);
    }
    read.is_ok()
}

/// Names of files that a table of texts may have; the first byte of an input chooses.
const TABLES: [&str; 5] = ["train.csv", "train.tsv", "train.jsonl", "train.json", "train.parquet"];

/// A table of texts.
pub(crate) fn texts(bytes: &[u8]) -> bool {
    let Some((&first, bytes)) = bytes.split_first() else { return false };
    let folder = Scratch::new();
    folder.write(TABLES[usize::from(first) % TABLES.len()], bytes);
    let read = Dataset::open(folder.path(), &ReadOptions::default());
    if let Ok(dataset) = &read {
        assert!(dataset.fingerprint().len() >= 16);
    }
    read.is_ok()
}

/// `tokenizer.json`, or `vocab.txt` and `tokenizer_config.json`.
pub(crate) fn tokenizer(bytes: &[u8]) -> bool {
    let folder = Scratch::new();
    let [main, config] = files(bytes);
    if main.first() == Some(&b'{') {
        folder.write("tokenizer.json", main);
    } else {
        folder.write("vocab.txt", main);
        folder.write("tokenizer_config.json", config);
    }
    Tokenizer::open(folder.path(), 16).is_ok()
}
