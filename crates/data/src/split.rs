//! Some of shared samples, with labels of their own.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::image::mixing::{MixConfig, Mixing, Partner, Pixels};
use crate::samples::{Collate, Samples, ViewSettings};
use crate::{DataError, ImageSet, Normalisation, SampleId, TextSet, UNLABELLED};
use faculty_random::{Purpose, draw};

/// Some of shared [`Samples`], in some order, each with a label that may differ from the true one.
///
/// Positions (`0..len`) count within the part, indices within the set. A clone shares samples,
/// indices and labels.
#[derive(Clone, Debug)]
pub struct Split {
    set: Arc<dyn Samples>,
    indices: Arc<[usize]>,
    labels: Arc<[u32]>,
}

impl Split {
    /// All samples of a set, in its order, with their true labels.
    #[must_use]
    pub fn whole<S: Samples + 'static>(set: Arc<S>) -> Self {
        Self::of(set)
    }

    /// The same of a set of any kind.
    #[must_use]
    pub fn of(set: Arc<dyn Samples>) -> Self {
        let indices = (0..set.ids().len()).collect();
        let labels = set.labels().into();
        Self { set, indices, labels }
    }

    /// The samples at these positions, in this order, with the labels they have here.
    ///
    /// # Errors
    /// [`DataError::OutOfRange`] if a position is not below [`Split::len`].
    pub fn select(&self, positions: &[usize]) -> Result<Self, DataError> {
        self.check_positions(positions)?;
        Ok(Self {
            set: Arc::clone(&self.set),
            indices: positions.iter().map(|&position| self.indices[position]).collect(),
            labels: positions.iter().map(|&position| self.labels[position]).collect(),
        })
    }

    /// The same samples with other labels, `[len]`; ids stay as they are.
    ///
    /// # Errors
    /// [`DataError::WrongShape`] if there is not one label a sample.
    pub fn with_labels(&self, labels: Vec<u32>) -> Result<Self, DataError> {
        if labels.len() != self.len() {
            let (expected, found) = (self.len(), labels.len());
            return Err(DataError::WrongShape { what: "labels", expected, found });
        }
        Ok(Self { labels: labels.into(), ..self.clone() })
    }

    /// The samples that have a label, in this order.
    #[must_use]
    pub fn labelled(&self) -> Self {
        self.filtered(|label| label != UNLABELLED)
    }

    /// The samples that have none, in this order.
    #[must_use]
    pub fn unlabelled(&self) -> Self {
        self.filtered(|label| label == UNLABELLED)
    }

    /// Number of samples that have a label.
    #[must_use]
    pub fn labelled_len(&self) -> usize {
        self.labels.iter().filter(|&&label| label != UNLABELLED).count()
    }

    fn filtered(&self, keep: impl Fn(u32) -> bool) -> Self {
        let kept = || self.indices.iter().zip(&*self.labels).filter(|&(_, &label)| keep(label));
        Self {
            set: Arc::clone(&self.set),
            indices: kept().map(|(&index, _)| index).collect(),
            labels: kept().map(|(_, &label)| label).collect(),
        }
    }

    /// These samples, then those of another split of the same set.
    ///
    /// # Panics
    /// If the sets are not one.
    #[must_use]
    pub fn followed_by(&self, other: &Self) -> Self {
        assert!(Arc::ptr_eq(&self.set, &other.set), "both splits are of one set");
        Self {
            set: Arc::clone(&self.set),
            indices: self.indices.iter().chain(&*other.indices).copied().collect(),
            labels: self.labels.iter().chain(&*other.labels).copied().collect(),
        }
    }

    /// Number of samples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// Whether there are no samples.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    /// The samples as images, if they are.
    #[must_use]
    pub fn images(&self) -> Option<&ImageSet> {
        self.set.images()
    }

    /// The samples as texts, if they are.
    #[must_use]
    pub fn texts(&self) -> Option<&TextSet> {
        self.set.texts()
    }

    /// `[channels, height, width]` of every image.
    ///
    /// # Errors
    /// [`DataError::NotImages`].
    pub fn shape(&self) -> Result<[usize; 3], DataError> {
        Ok(self.image_set()?.shape())
    }

    fn image_set(&self) -> Result<&ImageSet, DataError> {
        self.images().ok_or(DataError::NotImages)
    }

    /// Mean and standard deviation of each channel, over the samples.
    ///
    /// # Errors
    /// [`DataError::OutOfRange`] if there are no samples; [`DataError::NotImages`].
    pub fn normalisation(&self) -> Result<Normalisation, DataError> {
        Normalisation::measure(self.image_set()?, &self.indices)
    }

    /// What mixes views of these samples with each other.
    ///
    /// # Errors
    /// [`DataError::OutOfRange`] for numbers out of their ranges and a part without samples;
    /// [`DataError::NotImages`].
    pub fn mixing(&self, config: MixConfig) -> Result<Mixing, DataError> {
        let shape = self.shape()?;
        let partner =
            |position| Partner { id: self.id(position), label: self.label(position), position };
        let partners = (0..self.len()).map(partner).collect();
        Mixing::new(config, partners, shape, Arc::new(self.clone()))
    }

    /// What makes inputs of the samples; it counts by [`Split::indices`].
    ///
    /// # Errors
    /// When the settings do not fit the samples.
    pub fn collator(&self, settings: &ViewSettings) -> Result<Arc<dyn Collate>, DataError> {
        Arc::clone(&self.set).collator(settings)
    }

    /// Index into the set of each sample, `[len]`.
    #[must_use]
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }

    /// Label of each sample, `[len]`; with label noise not always the true one, [`UNLABELLED`] where
    /// there is none.
    #[must_use]
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Ids of the samples, `[len]`.
    #[must_use]
    pub fn ids(&self) -> Vec<SampleId> {
        self.indices.iter().map(|&index| self.set.ids()[index]).collect()
    }

    /// True labels of the samples, `[len]`.
    #[must_use]
    pub fn true_labels(&self) -> Vec<u32> {
        self.indices.iter().map(|&index| self.set.labels()[index]).collect()
    }

    /// The file of the data set that a sample comes from, and the line or row in it, where that is
    /// known.
    ///
    /// # Panics
    /// If `position` is not below [`Split::len`].
    #[must_use]
    pub fn origin(&self, position: usize) -> Option<String> {
        self.set.origin(self.indices[position])
    }

    /// Id of one sample.
    ///
    /// # Panics
    /// If `position` is not below [`Split::len`].
    #[must_use]
    pub fn id(&self, position: usize) -> SampleId {
        self.set.ids()[self.indices[position]]
    }

    /// Label of one sample.
    ///
    /// # Panics
    /// If `position` is not below [`Split::len`].
    #[must_use]
    pub fn label(&self, position: usize) -> u32 {
        self.labels[position]
    }

    /// Pixels of one sample, `[channels, height, width]`.
    ///
    /// # Errors
    /// [`DataError::NotImages`].
    ///
    /// # Panics
    /// If `position` is not below [`Split::len`].
    pub fn image(&self, position: usize) -> Result<&[u8], DataError> {
        Ok(self.image_set()?.image(self.indices[position]))
    }

    /// Positions `0..len`, for evaluation.
    #[must_use]
    pub fn plain_order(&self) -> Vec<usize> {
        (0..self.len()).collect()
    }

    /// Positions in the random order of one epoch: sorted by a hash of (seed, epoch, id).
    ///
    /// As a sequence of ids this depends on nothing else: neither on the order of the files, nor on
    /// threads, nor on earlier epochs. Cost: `O(len * log len)`.
    #[must_use]
    pub fn epoch_order(&self, seed: u64, epoch: u64) -> Vec<usize> {
        let mut keyed: Vec<(u64, usize)> = (0..self.len())
            .map(|position| (draw(Purpose::Order, seed, epoch, self.id(position).0, 0), position))
            .collect();
        keyed.sort_unstable();
        keyed.into_iter().map(|(_, position)| position).collect()
    }

    /// [`Split::len`] positions in the random order of one epoch, as many of each class that occurs
    /// (of some one more where that does not come out even): of a class with fewer samples each comes
    /// several times, of one with more not all come. Which ones, and in which order, depends on
    /// (seed, epoch, id) alone, as in [`Split::epoch_order`]. Classes are those of the labels here.
    ///
    /// Cost: `O(len * log len)`.
    #[must_use]
    pub fn balanced_order(&self, seed: u64, epoch: u64) -> Vec<usize> {
        let mut classes: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        // In the epoch's order, so that it is another part of a large class in every epoch.
        for position in self.epoch_order(seed, epoch) {
            classes.entry(self.label(position)).or_default().push(position);
        }
        let count = classes.len().max(1);
        let (even, more) = (self.len() / count, self.len() % count);
        // Whose turn it is to have one more changes from epoch to epoch.
        let first = (epoch % count as u64) as usize;
        let mut keyed = Vec::with_capacity(self.len());
        for (number, samples) in classes.into_values().enumerate() {
            let extra = usize::from((number + count - first) % count < more);
            for place in 0..even + extra {
                let (position, turn) = (samples[place % samples.len()], place / samples.len());
                let id = self.id(position).0;
                keyed.push((draw(Purpose::Order, seed, epoch, id, 1 + turn as u64), position));
            }
        }
        keyed.sort_unstable();
        keyed.into_iter().map(|(_, position)| position).collect()
    }

    pub(crate) fn check_positions(&self, positions: &[usize]) -> Result<(), DataError> {
        match positions.iter().find(|&&position| position >= self.len()) {
            None => Ok(()),
            Some(position) => Err(DataError::OutOfRange {
                name: "a position",
                found: position.to_string(),
                range: format!("below {}, the number of samples", self.len()),
            }),
        }
    }
}

impl Pixels for Split {
    fn pixels(&self, position: usize) -> &[u8] {
        self.image(position).expect("a part that gives partners holds images")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// `len` grey images of 3x4 with different pixels; label = index mod 10.
    pub(crate) fn numbered(len: usize) -> ImageSet {
        let mut pixels = Vec::new();
        for index in 0..len {
            pixels.extend((0..12).map(|p| draw(Purpose::Order, 9, index as u64, p, 0) as u8));
        }
        let labels = (0..len).map(|index| (index % 10) as u32).collect();
        ImageSet::new(1, 3, 4, pixels, labels).unwrap()
    }

    /// The same samples in reverse order of the file.
    pub(crate) fn reversed(set: &ImageSet) -> ImageSet {
        set.select(&(0..set.len()).rev().collect::<Vec<_>>())
    }

    fn ids_in(part: &Split, order: &[usize]) -> Vec<SampleId> {
        order.iter().map(|&position| part.id(position)).collect()
    }

    #[test]
    fn epoch_order_is_a_permutation_that_depends_on_ids_alone() {
        let set = numbered(500);
        let part = Split::whole(Arc::new(reversed(&set)));
        let other = Split::whole(Arc::new(set));
        let order = other.epoch_order(3, 7);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, other.plain_order());
        assert_eq!(ids_in(&other, &order), ids_in(&part, &part.epoch_order(3, 7)));
        assert_ne!(order, other.epoch_order(3, 8));
        assert_ne!(order, other.epoch_order(4, 7));
    }

    #[test]
    fn each_place_of_the_order_is_equally_likely() {
        // Where does sample 0 of 10 go in 10,000 epochs? Binomial(10,000, 1/10): standard deviation 30.
        let part = Split::whole(Arc::new(numbered(10)));
        let mut counts = [0; 10];
        for epoch in 0..10_000 {
            let order = part.epoch_order(1, epoch);
            counts[order.iter().position(|&position| position == 0).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_balanced_order_has_as_many_of_each_class_and_depends_on_ids_alone() {
        // 90 samples of class 0, 9 of class 1, 3 of class 2.
        let label = |index: usize| u32::from(index >= 90) + u32::from(index >= 99);
        let set = numbered(102);
        let part = Split::whole(Arc::new(set.clone())).with_labels((0..102).map(label).collect());
        let part = part.unwrap();
        let other = Split::whole(Arc::new(reversed(&set)))
            .with_labels((0..102).rev().map(label).collect())
            .unwrap();
        let mut seen = [0; 102];
        for epoch in 1..=30 {
            let order = part.balanced_order(5, epoch);
            assert_eq!(order.len(), part.len());
            let mut counts = [0; 102];
            order.iter().for_each(|&position| counts[position] += 1);
            let of_class = |class| -> Vec<usize> {
                (0..102).filter(|&i| label(i) == class).map(|i| counts[i]).collect()
            };
            for class in 0..3 {
                assert_eq!(of_class(class).iter().sum::<usize>(), 34, "class {class}");
            }
            // Of the rare ones each as often as the others, up to one.
            assert!(of_class(1).iter().all(|count| (3..=4).contains(count)));
            assert!(of_class(2).iter().all(|count| (11..=12).contains(count)));
            assert!(of_class(0).iter().all(|count| *count <= 1));
            seen.iter_mut().zip(counts).for_each(|(seen, count)| *seen += count);
            assert_eq!(ids_in(&part, &order), ids_in(&other, &other.balanced_order(5, epoch)));
            assert_ne!(order, part.balanced_order(6, epoch));
        }
        // 34 of 90 an epoch: in 30 epochs every one has its turn.
        assert!(seen.iter().all(|&count| count > 0), "{seen:?}");
        // What does not come out even goes around: 10 samples, 3 classes.
        let small = Split::whole(Arc::new(numbered(10)));
        let small = small.with_labels((0..10).map(|i| i % 3).collect()).unwrap();
        let mut counts = [0; 3];
        for epoch in 0..3 {
            let order = small.balanced_order(1, epoch);
            order.iter().for_each(|&position| counts[small.label(position) as usize] += 1);
        }
        assert_eq!(counts, [10; 3]);
        let none = small.select(&[]).unwrap();
        assert!(none.balanced_order(1, 1).is_empty());
    }

    #[test]
    fn selecting_keeps_labels_and_shares_pixels() {
        let part = Split::whole(Arc::new(numbered(20)));
        let part = part.with_labels((0..20).map(|i| 100 + i).collect()).unwrap();
        let some = part.select(&[5, 3]).unwrap();
        assert_eq!(some.labels(), [105, 103]);
        assert_eq!(some.true_labels(), [5, 3]);
        assert_eq!(some.ids(), [part.id(5), part.id(3)]);
        assert_eq!(some.image(1).unwrap(), part.image(3).unwrap());
        assert!(Arc::ptr_eq(&some.set, &part.set));
        assert!(matches!(part.select(&[20]), Err(DataError::OutOfRange { .. })));
        assert!(matches!(part.with_labels(vec![0]), Err(DataError::WrongShape { .. })));
    }
}
