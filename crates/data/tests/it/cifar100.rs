//! CIFAR-100 as Parquet: from the folder in `FACULTY_CIFAR100`, or beside the project; without it
//! the test says so and passes.

use std::path::PathBuf;
use std::time::Instant;

use faculty_data::{
    BatchLoader, DEFAULT_SPLIT_SEED, Dataset, Format, LoaderConfig, Normalisation, ReadOptions,
    ViewSettings, split_validation,
};

fn folder() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/cifar100");
    let path = std::env::var_os("FACULTY_CIFAR100").map_or_else(|| beside.into(), PathBuf::from);
    if path.is_dir() {
        return Some(path);
    }
    say(&format!("skipped: no CIFAR-100 in `{}`; set FACULTY_CIFAR100", path.display()));
    None
}

#[expect(clippy::print_stdout, reason = "a test says what it skipped")]
fn say(text: &str) {
    println!("{text}");
}

#[test]
fn cifar100_is_read_as_published() {
    let Some(folder) = folder() else { return };
    let start = Instant::now();
    let dataset = Dataset::open(&folder, &ReadOptions::default()).unwrap();
    say(&format!("read in {:.2?}", start.elapsed()));

    assert_eq!(dataset.format(), Format::Parquet);
    assert_eq!(dataset.shape().unwrap(), [3, 32, 32]);
    assert_eq!(dataset.classes().len(), 100);
    assert_eq!(dataset.classes()[0], "apple");
    assert_eq!(dataset.classes()[99], "worm");
    let test = dataset.test().unwrap();
    assert_eq!((dataset.train().len(), test.len()), (50_000, 10_000));
    assert!(dataset.train().histogram(100).iter().all(|&count| count == 500));
    assert!(test.histogram(100).iter().all(|&count| count == 100));
    assert_eq!(dataset.fingerprint(), FINGERPRINT);

    let part = dataset.train_split();
    let measured = part.normalisation().unwrap();
    let known = Normalisation::cifar100();
    // The known numbers are rounded, the second mean (0.48655) is off by 1.5e-4.
    for (got, want) in measured.mean.iter().zip(&known.mean) {
        assert!((got - want).abs() < 2e-4, "mean {measured:?}");
    }
    for (got, want) in measured.std.iter().zip(&known.std) {
        assert!((got - want).abs() < 2e-4, "deviation {measured:?}");
    }

    let (training, validation) = split_validation(&part, 0.1, DEFAULT_SPLIT_SEED).unwrap();
    // Binomial(50,000, 0.1): standard deviation 67.
    assert!((4700..5300).contains(&validation.len()), "{}", validation.len());
    assert_eq!(training.len() + validation.len(), 50_000);

    let start = Instant::now();
    let views = ViewSettings::of_images(faculty_data::Augmentation::CIFAR, known, 1);
    let config = LoaderConfig::training(64, views, 0);
    let mut loader = BatchLoader::new(&part, part.epoch_order(1, 0), config).unwrap();
    let mut samples = 0;
    while let Some(batch) = loader.next() {
        let batch = batch.unwrap();
        samples += batch.len();
        loader.recycle(batch);
    }
    assert_eq!(samples, 50_000);
    say(&format!("one epoch of views in {:.2?}", start.elapsed()));
}

/// Written down once: another value means that ids, and with them all caches, have changed.
const FINGERPRINT: &str = "8d524fa469d7575f24fdab0627e5728b734d3a32fb8a0ee5d92277fc12b37e14";
