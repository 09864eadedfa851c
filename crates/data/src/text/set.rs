//! Labelled texts in memory.

use std::path::Path;

use faculty_inputs::Text;
use rayon::prelude::*;
use serde::Serialize;
use xxhash_rust::xxh3::Xxh3;

use crate::origin::Origins;
use crate::sample_id::number_duplicates;
use crate::{DataError, SampleId};

/// Labelled texts, or pairs of texts, with the id of each sample.
///
/// # Shapes
/// texts, labels, ids `[samples]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextSet {
    texts: Vec<Text>,
    labels: Vec<u32>,
    ids: Vec<SampleId>,
    origins: Origins,
}

/// How many words the samples of a set have; of a pair both texts count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WordCounts {
    /// Half of the samples have no more.
    pub median: usize,
    /// Nine of ten samples have no more.
    pub nine_of_ten: usize,
    /// No sample has more.
    pub most: usize,
}

impl TextSet {
    /// Makes a set of texts with one label each, and names each sample by its content.
    ///
    /// # Errors
    /// [`DataError::WrongShape`] if there is not one label a text; [`DataError::OutOfRange`] if some
    /// are pairs and others are not.
    pub fn new(texts: Vec<Text>, labels: Vec<u32>) -> Result<Self, DataError> {
        if texts.len() != labels.len() {
            let (expected, found) = (labels.len(), texts.len());
            return Err(DataError::WrongShape { what: "texts", expected, found });
        }
        let pairs = texts.iter().filter(|text| text.second.is_some()).count();
        if pairs != 0 && pairs != texts.len() {
            return Err(DataError::OutOfRange {
                name: "the number of pairs",
                found: pairs.to_string(),
                range: format!("none or all of the {} texts", texts.len()),
            });
        }
        let ids = name_samples(&texts, &labels);
        Ok(Self { texts, labels, ids, origins: Origins::default() })
    }

    /// The same with what is known of where its texts come from.
    pub(crate) fn with_origins(self, origins: Origins) -> Self {
        Self { origins: origins.shortened(), ..self }
    }

    /// The file that a text comes from, below the folder that all of them share, and the line or row in
    /// it; none where that is not known.
    #[must_use]
    pub fn origin(&self, index: usize) -> Option<String> {
        self.origins.shown(index)
    }

    /// These samples, and behind them those of another set.
    ///
    /// # Errors
    /// As [`TextSet::new`].
    pub(crate) fn followed_by(&self, other: &Self) -> Result<Self, DataError> {
        let texts = self.texts.iter().chain(&other.texts).cloned().collect();
        let labels = self.labels.iter().chain(&other.labels).copied().collect();
        Ok(Self { origins: self.origins.followed_by(&other.origins), ..Self::new(texts, labels)? })
    }

    /// Whether the samples are pairs of texts.
    #[must_use]
    pub fn are_pairs(&self) -> bool {
        self.texts.first().is_some_and(|text| text.second.is_some())
    }

    /// Number of samples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Whether there are no samples.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// The texts, `[samples]`.
    #[must_use]
    pub fn texts(&self) -> &[Text] {
        &self.texts
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

    /// A new set of the samples at `indices`, in that order, with ids computed anew (the same ones,
    /// see [`SampleId`]).
    ///
    /// # Panics
    /// If an index is not below [`TextSet::len`].
    #[must_use]
    pub fn select(&self, indices: &[usize]) -> Self {
        let texts: Vec<Text> = indices.iter().map(|&index| self.texts[index].clone()).collect();
        let labels: Vec<u32> = indices.iter().map(|&index| self.labels[index]).collect();
        let ids = name_samples(&texts, &labels);
        Self { texts, labels, ids, origins: self.origins.select(indices) }
    }

    /// How many words the samples have; none of no samples.
    #[must_use]
    pub fn word_counts(&self) -> WordCounts {
        let words = |text: &str| text.split_whitespace().count();
        let mut counts: Vec<usize> = self
            .texts
            .par_iter()
            .map(|text| words(&text.first) + text.second.as_deref().map_or(0, words))
            .collect();
        counts.sort_unstable();
        // The smallest count that this share of the samples does not exceed.
        let at = |share: f64| {
            let rank = (share * counts.len() as f64).ceil() as usize;
            counts.get(rank.max(1) - 1).copied().unwrap_or(0)
        };
        WordCounts { median: at(0.5), nine_of_ten: at(0.9), most: at(1.0) }
    }
}

/// The error of a data set without texts.
pub(crate) fn no_texts(path: &Path) -> DataError {
    DataError::Texts {
        path: path.to_owned(),
        place: None,
        problem: "there are no texts with a label".to_owned(),
        fix: "add texts, or name another split".to_owned(),
    }
}

fn name_samples(texts: &[Text], labels: &[u32]) -> Vec<SampleId> {
    // In this order for ever: a change makes every cache and split of earlier versions invalid.
    let content = |(text, label): (&Text, &u32)| {
        let mut hash = Xxh3::new();
        hash.update(b"text");
        hash.update(&label.to_le_bytes());
        for part in [Some(&text.first), text.second.as_ref()].into_iter().flatten() {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        hash.digest()
    };
    number_duplicates(texts.par_iter().zip(labels).map(content).collect())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::HashSet;

    use faculty_random::{Purpose, draw};

    use super::*;

    /// The texts of a data set that have no label.
    pub(crate) fn unlabelled(dataset: &crate::Dataset) -> &[Text] {
        dataset.unlabelled().map_or(&[], |set| set.texts().unwrap().texts())
    }

    /// `len` texts of some words; label = index mod 3; about a third are exact duplicates.
    pub(crate) fn numbered(len: usize) -> TextSet {
        let text = |index: usize| {
            let number = draw(Purpose::Order, 3, index as u64, 0, 0) % (len as u64 + 1);
            Text::single(format!("this is text {number} of some words"))
        };
        let labels = (0..len).map(|index| (index % 3) as u32).collect();
        TextSet::new((0..len).map(text).collect(), labels).unwrap()
    }

    fn pair(first: &str, second: &str) -> Text {
        Text { first: first.into(), second: Some(second.into()) }
    }

    #[test]
    fn ids_are_unique_and_stay_when_texts_are_shuffled_or_left_out() {
        let set = numbered(300);
        let contents: HashSet<_> = set.texts().iter().zip(set.labels()).collect();
        assert!(contents.len() < 290, "the test needs duplicates");
        assert_eq!(set.ids().iter().collect::<HashSet<_>>().len(), 300);
        let of = |set: &TextSet| -> HashSet<(Text, u32, SampleId)> {
            let labelled = set.texts().iter().cloned().zip(set.labels().iter().copied());
            labelled.zip(set.ids()).map(|((text, label), &id)| (text, label, id)).collect()
        };
        let all = of(&set);
        for seed in 0..20 {
            let mut order: Vec<usize> = (0..300).collect();
            order.sort_by_key(|&i| draw(Purpose::Order, seed, i as u64, 0, 0));
            assert_eq!(of(&set.select(&order)), all, "seed {seed}");
            assert!(of(&set.select(&order[..100])).is_subset(&all), "seed {seed}");
        }
    }

    #[test]
    fn label_and_the_border_of_a_pair_belong_to_the_id() {
        let id = |text: Text, label| TextSet::new(vec![text], vec![label]).unwrap().ids()[0];
        let ids = [
            id(Text::single("ab"), 0),
            id(Text::single("ab"), 1),
            id(Text::single("ab "), 0),
            id(pair("a", "b"), 0),
            id(pair("ab", ""), 0),
            id(pair("", "ab"), 0),
        ];
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
    }

    #[test]
    fn ids_are_fixed_for_ever() {
        // Written down once; a change here makes every cache of earlier versions invalid.
        let set = TextSet::new(vec![Text::single("naïve"), Text::single("naïve")], vec![1, 1]);
        let ids: Vec<String> = set.unwrap().ids().iter().map(ToString::to_string).collect();
        // The first also by the reference implementation of XXH3 on the 22 bytes.
        assert_eq!(ids, ["3e775935d031cac2", "3742b72e17c90b64"]);
    }

    #[test]
    fn words_are_counted_and_what_does_not_fit_is_refused() {
        let texts = ["a", "a b", " a  b c ", ""].map(Text::single).to_vec();
        let counts = TextSet::new(texts.clone(), vec![0; 4]).unwrap().word_counts();
        assert_eq!(counts, WordCounts { median: 1, nine_of_ten: 3, most: 3 });
        let pairs = TextSet::new(vec![pair("a b", "c")], vec![0]).unwrap();
        assert!(pairs.are_pairs());
        assert_eq!(pairs.word_counts().most, 3);
        assert_eq!(TextSet::new(vec![], vec![]).unwrap().word_counts(), WordCounts::default());
        assert!(matches!(
            TextSet::new(texts, vec![0]),
            Err(DataError::WrongShape { what: "texts", expected: 1, found: 4 })
        ));
        let mixed = vec![pair("a", "b"), Text::single("c")];
        assert!(matches!(TextSet::new(mixed, vec![0, 0]), Err(DataError::OutOfRange { .. })));
    }
}
