//! Labelled images of one size in memory.

use rayon::prelude::*;
use xxhash_rust::xxh3::Xxh3;

use crate::origin::Origins;
use crate::sample_id::number_duplicates;
use crate::{DataError, SampleId, UNLABELLED};

/// Labelled images of one size, 8 bits a channel, with the id of each sample.
///
/// # Shapes
/// pixels `[samples, channels, height, width]`, labels `[samples]`, ids `[samples]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSet {
    channels: usize,
    height: usize,
    width: usize,
    pixels: Vec<u8>,
    labels: Vec<u32>,
    ids: Vec<SampleId>,
    origins: Origins,
}

impl ImageSet {
    /// Makes a set from pixels `[samples, channels, height, width]` and one label a sample, and
    /// names each sample by its content.
    ///
    /// Cost: one pass over the pixels, in parallel. An empty set is allowed here; the readers
    /// refuse it.
    ///
    /// # Errors
    /// [`DataError::OutOfRange`] if a size is 0, [`DataError::WrongShape`] if the number of pixels
    /// is not `labels.len() * channels * height * width`.
    pub fn new(
        channels: usize,
        height: usize,
        width: usize,
        pixels: Vec<u8>,
        labels: Vec<u32>,
    ) -> Result<Self, DataError> {
        for (name, size) in [("channels", channels), ("height", height), ("width", width)] {
            if size == 0 || u32::try_from(size).is_err() {
                return Err(DataError::OutOfRange {
                    name,
                    found: size.to_string(),
                    range: "between 1 and 2^32 - 1".to_owned(),
                });
            }
        }
        let image_len = channels.checked_mul(height).and_then(|len| len.checked_mul(width));
        let expected = image_len.and_then(|len| len.checked_mul(labels.len()));
        let (Some(image_len), Some(expected)) = (image_len, expected) else {
            return Err(DataError::OutOfRange {
                name: "the number of pixels",
                found: format!("{} x {channels} x {height} x {width}", labels.len()),
                range: "below the address space".to_owned(),
            });
        };
        if pixels.len() != expected {
            return Err(DataError::WrongShape { what: "pixels", expected, found: pixels.len() });
        }
        let ids = name_samples([channels, height, width], image_len, &pixels, &labels);
        let origins = Origins::default();
        Ok(Self { channels, height, width, pixels, labels, ids, origins })
    }

    /// The same with what is known of where its images come from.
    pub(crate) fn with_origins(self, origins: Origins) -> Self {
        Self { origins: origins.shortened(), ..self }
    }

    /// The file that an image comes from, below the folder that all of them share, and the row in it
    /// if it holds several; none where the format tells none.
    #[must_use]
    pub fn origin(&self, index: usize) -> Option<String> {
        self.origins.shown(index)
    }

    /// Number of samples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no samples.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Channels of each image: 1 (grey) or 3 (red, green, blue) from the readers.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Rows of each image.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns of each image.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// `[channels, height, width]`.
    #[must_use]
    pub fn shape(&self) -> [usize; 3] {
        [self.channels, self.height, self.width]
    }

    /// Bytes of one image: `channels * height * width`.
    #[must_use]
    pub fn image_len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// All pixels, `[samples, channels, height, width]`.
    #[must_use]
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The true labels, `[samples]`.
    #[must_use]
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The ids, `[samples]`, all different.
    #[must_use]
    pub fn ids(&self) -> &[SampleId] {
        &self.ids
    }

    /// The pixels of one image, `[channels, height, width]`.
    ///
    /// # Panics
    /// If `index` is not below [`ImageSet::len`].
    #[must_use]
    pub fn image(&self, index: usize) -> &[u8] {
        let len = self.image_len();
        &self.pixels[index * len..(index + 1) * len]
    }

    /// A new set of the samples at `indices`, in that order, with ids computed anew (the same ones,
    /// see [`SampleId`]).
    ///
    /// Copies pixels; a [`crate::Split`] does not.
    ///
    /// # Panics
    /// If an index is not below [`ImageSet::len`].
    #[must_use]
    pub fn select(&self, indices: &[usize]) -> Self {
        let mut pixels = Vec::with_capacity(indices.len() * self.image_len());
        for &index in indices {
            pixels.extend_from_slice(self.image(index));
        }
        let labels: Vec<u32> = indices.iter().map(|&index| self.labels[index]).collect();
        let ids = name_samples(self.shape(), self.image_len(), &pixels, &labels);
        let origins = self.origins.select(indices);
        let Self { channels, height, width, .. } = *self;
        Self { channels, height, width, pixels, labels, ids, origins }
    }

    /// These samples, and behind them those of another set of the same shape.
    ///
    /// # Errors
    /// [`DataError::PartsDiffer`].
    pub(crate) fn followed_by(&self, other: &Self) -> Result<Self, DataError> {
        if self.shape() != other.shape() {
            let (expected, found) = (self.shape(), other.shape());
            return Err(DataError::PartsDiffer { expected, found });
        }
        let labels = [self.labels.as_slice(), &other.labels].concat();
        let pixels = [self.pixels.as_slice(), &other.pixels].concat();
        let set = Self::new(self.channels, self.height, self.width, pixels, labels)?;
        Ok(Self { origins: self.origins.followed_by(&other.origins), ..set })
    }

    /// The samples that have a label, and those that have none.
    pub(crate) fn apart(self) -> (Self, Self) {
        let (unlabelled, labelled): (Vec<usize>, Vec<usize>) =
            (0..self.len()).partition(|&index| self.labels[index] == UNLABELLED);
        if unlabelled.is_empty() {
            let none = self.select(&[]);
            return (self, none);
        }
        (self.select(&labelled), self.select(&unlabelled))
    }
}

fn name_samples(
    shape: [usize; 3],
    image_len: usize,
    pixels: &[u8],
    labels: &[u32],
) -> Vec<SampleId> {
    // In this order for ever: a change makes every cache and split of earlier versions invalid.
    let shape = shape.map(|size| u32::try_from(size).expect("sizes are checked").to_le_bytes());
    let contents: Vec<u64> = pixels
        .par_chunks_exact(image_len)
        .zip(labels)
        .map(|(image, label)| {
            let mut hash = Xxh3::new();
            for size in &shape {
                hash.update(size);
            }
            hash.update(&label.to_le_bytes());
            hash.update(image);
            hash.digest()
        })
        .collect();
    number_duplicates(contents)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use faculty_random::{Purpose, below, draw};

    /// 200 images of 1x2x2; contents repeat, so that there are many exact duplicates.
    fn with_duplicates() -> ImageSet {
        let pixels = (0..800).map(|i| (draw(Purpose::Order, 5, i / 4, 0, 0) % 40) as u8).collect();
        let labels = (0..200).map(|i| (draw(Purpose::Order, 6, i, 0, 0) % 2) as u32).collect();
        ImageSet::new(1, 2, 2, pixels, labels).unwrap()
    }

    fn content(set: &ImageSet, index: usize) -> (Vec<u8>, u32) {
        (set.image(index).to_vec(), set.labels()[index])
    }

    #[test]
    fn ids_are_unique_even_among_exact_duplicates() {
        let set = with_duplicates();
        let contents: HashSet<_> = (0..set.len()).map(|i| content(&set, i)).collect();
        assert!(contents.len() < 100, "the test needs duplicates");
        assert_eq!(set.ids().iter().collect::<HashSet<_>>().len(), set.len());
    }

    #[test]
    fn shuffling_changes_no_id() {
        let set = with_duplicates();
        let all: HashSet<_> = (0..set.len()).map(|i| (content(&set, i), set.ids()[i])).collect();
        for seed in 0..20 {
            let mut order: Vec<usize> = (0..set.len()).collect();
            order.sort_by_key(|&i| draw(Purpose::Order, seed, i as u64, 0, 0));
            let shuffled = set.select(&order);
            let got: HashSet<_> =
                (0..set.len()).map(|i| (content(&shuffled, i), shuffled.ids()[i])).collect();
            assert_eq!(got, all, "seed {seed}");
        }
    }

    #[test]
    fn cutting_changes_no_id() {
        let set = with_duplicates();
        let all: HashSet<_> = (0..set.len()).map(|i| (content(&set, i), set.ids()[i])).collect();
        for seed in 0..20 {
            let kept: Vec<usize> = (0..set.len())
                .filter(|&i| below(draw(Purpose::Subset, seed, i as u64, 0, 0), 3) == 0)
                .collect();
            let part = set.select(&kept);
            for i in 0..part.len() {
                assert!(all.contains(&(content(&part, i), part.ids()[i])), "seed {seed}");
            }
        }
    }

    #[test]
    fn label_and_shape_belong_to_the_id() {
        let id = |c, h, w, label| ImageSet::new(c, h, w, vec![7; 4], vec![label]).unwrap().ids()[0];
        let ids = [id(1, 2, 2, 0), id(1, 2, 2, 1), id(1, 1, 4, 0), id(1, 4, 1, 0), id(4, 1, 1, 0)];
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
    }

    #[test]
    fn ids_are_fixed_for_ever() {
        // Written down once; a change here makes every cache of earlier versions invalid.
        let set = ImageSet::new(1, 1, 2, vec![1, 2, 1, 2], vec![3, 3]).unwrap();
        let ids: Vec<String> = set.ids().iter().map(ToString::to_string).collect();
        // The first also by the reference implementation of XXH3 on the 18 bytes.
        assert_eq!(ids, ["c3e68cc66b12fa1c", "716174d81bb137b6"]);
    }

    #[test]
    fn refuses_sizes_that_do_not_fit() {
        assert!(matches!(
            ImageSet::new(3, 2, 2, vec![0; 13], vec![0]),
            Err(DataError::WrongShape { expected: 12, found: 13, .. })
        ));
        assert!(matches!(
            ImageSet::new(3, 0, 2, vec![], vec![0]),
            Err(DataError::OutOfRange { name: "height", .. })
        ));
        let big = u32::MAX as usize;
        assert!(matches!(
            ImageSet::new(big, big, big, vec![], vec![0]),
            Err(DataError::OutOfRange { .. })
        ));
    }
}
