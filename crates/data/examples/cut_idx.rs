//! Cuts the first images of each class out of an IDX dataset, in file order: how the embedded part
//! of Fashion-MNIST was made.
//!
//! ```text
//! cargo run --release -p faculty-data --example cut_idx -- SOURCE TARGET TRAIN_PER_CLASS TEST_PER_CLASS
//! apt install dataset-fashion-mnist
//! cargo run --release -p faculty-data --example cut_idx -- \
//!     /usr/share/datasets/fashion-mnist crates/cli/demo/fashion-mnist 1200 200
//! ```
//!
//! The same source gives the same bytes. Class names are those of `SOURCE/classes.txt`, or those of
//! Fashion-MNIST.

use std::error::Error;
use std::io::{Write, stdout};
use std::path::PathBuf;

use faculty_data::{Dataset, Format, ImageSet, ReadOptions, idx};

const FASHION_MNIST: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

/// The first `count` samples of each class, in file order.
fn first_of_each(set: &ImageSet, classes: usize, count: usize) -> Result<ImageSet, Box<dyn Error>> {
    let mut taken = vec![0; classes];
    let mut indices = Vec::with_capacity(classes * count);
    for (index, &label) in set.labels().iter().enumerate() {
        if taken[label as usize] < count {
            taken[label as usize] += 1;
            indices.push(index);
        }
    }
    match taken.iter().position(|&taken| taken < count) {
        Some(class) => Err(format!("class {class} has {} samples", taken[class]).into()),
        None => Ok(set.select(&indices)),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [source, target, train_count, test_count] = arguments.as_slice() else {
        return Err("arguments: SOURCE TARGET TRAIN_PER_CLASS TEST_PER_CLASS".into());
    };
    let (source, target) = (PathBuf::from(source), PathBuf::from(target));
    let named = source.join("classes.txt").exists();
    let classes = (!named).then(|| FASHION_MNIST.map(str::to_owned).to_vec());
    let options = ReadOptions { format: Some(Format::Idx), classes, ..ReadOptions::default() };
    let dataset = Dataset::open(&source, &options)?;
    let classes = dataset.classes();
    let images = "the source has no images";
    let train = dataset.train().images().ok_or(images)?;
    let train = first_of_each(train, classes.len(), train_count.parse()?)?;
    let test = dataset.test().ok_or("the source has no test split")?;
    let test = first_of_each(test.images().ok_or(images)?, classes.len(), test_count.parse()?)?;
    idx::write(&target, &train, Some(&test), classes)?;
    writeln!(stdout(), "{} training and {} test images", train.len(), test.len())?;
    Ok(())
}
