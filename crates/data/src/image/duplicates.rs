//! Images that are there more than once.
//!
//! Compared by their pixels, whatever their labels: a test image that is in training is known to whoever
//! learnt from it, and one image with two labels has a wrong one.

use std::collections::HashMap;

use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use crate::image::set::ImageSet;

/// What a user should know of the copies among the images of a data set.
///
/// Cost: one pass over the pixels, in parallel.
pub(crate) fn notes(train: &ImageSet, others: &[(&str, &ImageSet)]) -> Vec<String> {
    let mut notes = Vec::new();
    let mut first: HashMap<u64, usize> = HashMap::with_capacity(train.len());
    let mut contradicting = Vec::new();
    for (index, hash) in hashes(train).into_iter().enumerate() {
        let other = *first.entry(hash).or_insert(index);
        if train.labels()[other] != train.labels()[index] {
            contradicting.push((index, other));
        }
    }
    if let Some(&(index, other)) = contradicting.first() {
        let (index, other) = (named(train, index), named(train, other));
        notes.push(match contradicting.len() {
            1 => format!(
                "a training image is a copy of another with another label: {index}, as {other}"
            ),
            several => format!(
                "{several} training images are copies of others with another label: the first is \
                 {index}, as {other}"
            ),
        });
    }
    for &(split, set) in others {
        let hashes = hashes(set);
        let mut known = (0..set.len()).filter(|&index| first.contains_key(&hashes[index]));
        if let Some(index) = known.next() {
            let first = named(set, index);
            notes.push(match known.count() + 1 {
                1 => format!(
                    "a {split} image is among the training images, so the result on it is too good: \
                     {first}"
                ),
                several => format!(
                    "{several} {split} images are among the training images, so results on them are \
                     too good: the first is {first}"
                ),
            });
        }
    }
    notes
}

fn hashes(set: &ImageSet) -> Vec<u64> {
    set.pixels().par_chunks_exact(set.image_len()).map(xxh3_64).collect()
}

fn named(set: &ImageSet, index: usize) -> String {
    set.origin(index).map_or_else(|| format!("number {index}"), |origin| format!("`{origin}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_told_by_their_pixels_whatever_their_labels() {
        let set = |pixels: &[u8], labels: &[u32]| {
            ImageSet::new(1, 1, 2, pixels.to_vec(), labels.to_vec()).unwrap()
        };
        let train = set(&[1, 1, 2, 2, 1, 1, 3, 3], &[0, 1, 1, 0]);
        let test = set(&[2, 2, 4, 4, 3, 3], &[1, 0, 1]);
        let own = notes(&train, &[("test", &test), ("validation", &set(&[5, 5], &[0]))]);
        assert_eq!(
            own,
            [
                "a training image is a copy of another with another label: number 2, as number 0",
                "2 test images are among the training images, so results on them are too good: the first \
                 is number 0"
            ]
        );
        assert_eq!(notes(&set(&[1, 1, 1, 1], &[0, 0]), &[]), [""; 0]);
    }
}
