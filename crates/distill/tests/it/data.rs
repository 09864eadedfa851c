//! Small data and networks for the tests.

use faculty_data::{Dataset, Format, ImageSet};
use faculty_nets::{MapShape, Network};

pub(crate) const CLASSES: usize = 3;
pub(crate) const SIDE: usize = 8;

/// Numbers in 0..1 that look random, the same on every machine.
pub(crate) fn unit(index: u64, seed: u64) -> f64 {
    let mut z = (index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed.wrapping_mul(0x1234_5679);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

fn images(count: usize, seed: u64) -> ImageSet {
    let pixels_per_image = SIDE * SIDE;
    let labels: Vec<u32> = (0..count).map(|i| (i % CLASSES) as u32).collect();
    let pixels = (0..count * pixels_per_image)
        .map(|i| {
            let (image, pixel) = (i / pixels_per_image, i % pixels_per_image);
            // A bright band in the class's third of the rows, under noise.
            let band = pixel / SIDE * CLASSES / SIDE == image % CLASSES;
            (160.0 * unit(i as u64, seed) + if band { 90.0 } else { 0.0 }) as u8
        })
        .collect();
    ImageSet::new(1, SIDE, SIDE, pixels, labels).unwrap()
}

/// Three classes that a small network learns within an epoch or two.
pub(crate) fn dataset() -> Dataset {
    let classes = ["top", "middle", "bottom"].map(str::to_owned).to_vec();
    let (train, test) = (images(240, 1), Some(images(60, 2)));
    Dataset::new("bands", Format::Folder, classes, train, test).unwrap()
}

/// The same images with other labels: `label` of the true one, an index into `classes`.
pub(crate) fn relabelled(classes: &[&str], label: impl Fn(u32) -> u32) -> Dataset {
    let part = |count, seed| {
        let own = images(count, seed);
        let pixels = (0..count).flat_map(|i| own.image(i).to_vec()).collect();
        let labels = own.labels().iter().map(|&own| label(own)).collect();
        ImageSet::new(1, SIDE, SIDE, pixels, labels).unwrap()
    };
    let classes = classes.iter().map(|&name| name.to_owned()).collect();
    Dataset::new("bands", Format::Folder, classes, part(240, 1), Some(part(60, 2))).unwrap()
}

pub(crate) fn network(seed: u64) -> Network {
    network_of(CLASSES, seed)
}

pub(crate) fn network_of(classes: usize, seed: u64) -> Network {
    Network::new("resnet8x0.5", MapShape::new(1, SIDE, SIDE), classes, seed).unwrap()
}
