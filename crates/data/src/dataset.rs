//! A dataset: classes, a training split, and perhaps a validation and a test split.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::classes::{check_class_names, check_labels, doubts};
use crate::findings::Findings;
use crate::image::duplicates;
use crate::splits::Splits;
use crate::{DataError, Format, ImageSet, Samples, Split, WordCounts};

/// Class names shown in a note.
const SHOWN: usize = 5;

/// A dataset as read: class names, training samples and, where the source has them, validation and
/// test samples.
#[derive(Clone, Debug)]
pub struct Dataset {
    name: String,
    format: Format,
    classes: Vec<String>,
    train: Arc<dyn Samples>,
    validation: Option<Arc<dyn Samples>>,
    test: Option<Arc<dyn Samples>>,
    unlabelled: Option<Arc<dyn Samples>>,
    findings: Findings,
}

/// What `faculty datasets` and reports say about a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DatasetInfo {
    /// The name: the last part of the path.
    pub name: String,
    /// The format it was read from.
    pub format: Format,
    /// The class names, in label order.
    pub classes: Vec<String>,
    /// What the samples are.
    #[serde(flatten)]
    pub samples: SamplesInfo,
    /// The training split.
    pub train: SplitInfo,
    /// The validation split of its own, if it has one.
    pub validation: Option<SplitInfo>,
    /// The test split, if there is one.
    pub test: Option<SplitInfo>,
    /// What was left out, and why.
    #[serde(flatten)]
    pub findings: Findings,
}

/// What there is to say of one kind of samples.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum SamplesInfo {
    /// Of images: the same for all of them.
    Images {
        /// Channels of each image.
        channels: usize,
        /// Rows of each image.
        height: usize,
        /// Columns of each image.
        width: usize,
    },
    /// Of texts: those of the training split.
    Texts {
        /// Whether a sample is a pair of texts.
        pairs: bool,
        /// Words of a sample.
        words: WordCounts,
        /// Training texts without a label, which are not among its samples.
        unlabelled: usize,
    },
}

/// How many samples a part has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SplitInfo {
    /// Number of samples.
    pub samples: usize,
    /// Samples of the rarest class; 0 if a class has none.
    pub class_min: usize,
    /// Samples of the most frequent class.
    pub class_max: usize,
}

impl Dataset {
    /// Puts a dataset together; the readers end here.
    ///
    /// # Errors
    /// [`DataError::NoClasses`], [`DataError::BadClassName`], [`DataError::NoImages`],
    /// [`DataError::LabelOutOfRange`] (with the name as path and the index as row),
    /// [`DataError::PartsDiffer`], or [`DataError::Texts`] for texts that are none, or pairs in one
    /// split alone.
    pub fn new<S: Samples + 'static>(
        name: &str,
        format: Format,
        classes: Vec<String>,
        train: S,
        test: Option<S>,
    ) -> Result<Self, DataError> {
        check_class_names(&classes, Path::new(name))?;
        let dataset = Self {
            name: name.to_owned(),
            format,
            classes,
            train: Arc::new(train),
            validation: None,
            test: test.map(|test| Arc::new(test) as Arc<dyn Samples>),
            unlabelled: None,
            findings: Findings::default(),
        };
        dataset.check(&*dataset.train)?;
        dataset.test.as_ref().map_or(Ok(()), |test| dataset.check(&**test))?;
        Ok(dataset)
    }

    fn check(&self, set: &dyn Samples) -> Result<(), DataError> {
        let name = Path::new(&self.name);
        if set.is_empty() {
            return Err(match set.texts() {
                Some(_) => crate::text::set::no_texts(name),
                None => DataError::NoImages { path: name.to_owned() },
            });
        }
        check_labels(set.labels(), self.classes.len(), name)?;
        self.check_kind(set)
    }

    /// Whether samples are of the kind and shape of the training samples.
    fn check_kind(&self, set: &dyn Samples) -> Result<(), DataError> {
        match (self.train.images(), set.images()) {
            (Some(first), Some(other)) if first.shape() != other.shape() => {
                let (expected, found) = (first.shape(), other.shape());
                return Err(DataError::PartsDiffer { expected, found });
            }
            (Some(_), None) => return Err(DataError::NotImages),
            (None, Some(_)) => return Err(DataError::NotTexts),
            _ => {}
        }
        match (self.train.texts(), set.texts()) {
            (Some(first), Some(other)) if first.are_pairs() != other.are_pairs() => {
                Err(DataError::Texts {
                    path: Path::new(&self.name).to_owned(),
                    place: None,
                    problem: "one split is of pairs of texts, another of single texts".to_owned(),
                    fix: "give all splits the same columns".to_owned(),
                })
            }
            _ => Ok(()),
        }
    }

    /// With a validation split of its own.
    ///
    /// # Errors
    /// As [`Dataset::new`].
    pub fn with_validation<S: Samples + 'static>(
        mut self,
        validation: S,
    ) -> Result<Self, DataError> {
        self.check(&validation)?;
        self.validation = Some(Arc::new(validation));
        Ok(self)
    }

    /// With training samples that have no label: theirs are [`UNLABELLED`](crate::UNLABELLED).
    ///
    /// # Errors
    /// [`DataError::PartsDiffer`] and the like, where they are not like the training samples.
    pub fn with_unlabelled<S: Samples + 'static>(mut self, samples: S) -> Result<Self, DataError> {
        if !samples.is_empty() {
            self.check_kind(&samples)?;
            self.unlabelled = Some(Arc::new(samples));
        }
        Ok(self)
    }

    /// Puts together what a reader found.
    pub(crate) fn assemble<S: Samples + 'static>(
        path: &Path,
        format: Format,
        classes: Vec<String>,
        splits: Splits<S>,
        mut findings: Findings,
    ) -> Result<Self, DataError> {
        let Splits { train, validation, test } = splits;
        let mut dataset = Self::new(&dataset_name(path), format, classes, train, test)?;
        if let Some(validation) = validation {
            dataset = dataset.with_validation(validation)?;
        }
        let counts = dataset.train.histogram(dataset.classes.len());
        let empty = counts.iter().filter(|&&count| count == 0).count();
        if empty + 1 >= counts.len() {
            let only = counts.iter().position(|&count| count > 0).unwrap_or(0);
            let class = dataset.classes[only].clone();
            return Err(DataError::OneClass { path: path.to_owned(), class });
        }
        if empty > 0 {
            let without = dataset.classes.iter().zip(&counts).filter(|&(_, &count)| count == 0);
            let names: Vec<String> =
                without.take(SHOWN).map(|(class, _)| format!("`{class}`")).collect();
            let more = if empty > SHOWN { ", …" } else { "" };
            findings.notes.push(format!(
                "{empty} of {} classes have no training {}: {}{more}",
                counts.len(),
                if dataset.train.images().is_some() { "images" } else { "texts" },
                names.join(", ")
            ));
        }
        findings.notes.extend(doubts(&dataset.classes));
        if let Some(train) = dataset.train.images() {
            let others = [("validation", &dataset.validation), ("test", &dataset.test)];
            let others: Vec<_> = others
                .iter()
                .filter_map(|(name, set)| Some((*name, set.as_ref()?.images()?)))
                .collect();
            findings.notes.extend(duplicates::notes(train, &others));
        }
        if dataset.test.is_none() && dataset.validation.is_some() {
            findings.notes.push(
                "there is no test split: the final numbers are of the validation split, by which the \
                 best epoch is chosen"
                    .to_owned(),
            );
        }
        findings.finish();
        dataset.findings = findings;
        Ok(dataset)
    }

    /// The name: the last part of the path.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The format it was read from.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// The class names; a label is an index into them.
    #[must_use]
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The training samples.
    #[must_use]
    pub fn train(&self) -> &Arc<dyn Samples> {
        &self.train
    }

    /// The test samples, if the source has any.
    #[must_use]
    pub fn test(&self) -> Option<&Arc<dyn Samples>> {
        self.test.as_ref()
    }

    /// The samples of the data set's own validation split, if it has one; if not, hold out some of
    /// the training samples with [`crate::split_validation`].
    #[must_use]
    pub fn validation(&self) -> Option<&Arc<dyn Samples>> {
        self.validation.as_ref()
    }

    /// Training samples that have no label, if there are any.
    #[must_use]
    pub fn unlabelled(&self) -> Option<&Arc<dyn Samples>> {
        self.unlabelled.as_ref()
    }

    /// What was left out, and why.
    #[must_use]
    pub fn findings(&self) -> &Findings {
        &self.findings
    }

    /// All training samples as a [`Split`].
    #[must_use]
    pub fn train_split(&self) -> Split {
        Split::of(Arc::clone(&self.train))
    }

    /// All training samples as a [`Split`], and behind them those that have no label.
    ///
    /// # Errors
    /// None that [`Dataset::with_unlabelled`] has not refused.
    pub fn train_split_with_unlabelled(&self) -> Result<Split, DataError> {
        let Some(others) = &self.unlabelled else { return Ok(self.train_split()) };
        if let (Some(own), Some(others)) = (self.train.images(), others.images()) {
            return Ok(Split::whole(Arc::new(own.followed_by(others)?)));
        }
        match (self.train.texts(), others.texts()) {
            (Some(own), Some(others)) => Ok(Split::whole(Arc::new(own.followed_by(others)?))),
            _ => Err(DataError::NotTexts),
        }
    }

    /// All samples of the data set's own validation split as a [`Split`].
    #[must_use]
    pub fn validation_split(&self) -> Option<Split> {
        self.validation.as_ref().map(|set| Split::of(Arc::clone(set)))
    }

    /// All test samples as a [`Split`].
    #[must_use]
    pub fn test_split(&self) -> Option<Split> {
        self.test.as_ref().map(|set| Split::of(Arc::clone(set)))
    }

    /// `[channels, height, width]` of every image.
    ///
    /// # Errors
    /// [`DataError::NotImages`].
    pub fn shape(&self) -> Result<[usize; 3], DataError> {
        Ok(self.train.images().ok_or(DataError::NotImages)?.shape())
    }

    /// SHA-256, in 64 hexadecimal digits, over the class names and the sorted ids and labels of
    /// all splits.
    ///
    /// Two datasets have the same fingerprint when they hold the same samples under the same class
    /// names, in any order and in any format (as far as both formats give the same pixels).
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(b"faculty dataset 1\n");
        hash.update((self.classes.len() as u64).to_le_bytes());
        for class in &self.classes {
            hash.update((class.len() as u64).to_le_bytes());
            hash.update(class.as_bytes());
        }
        // Without a validation split it is what it was before there were any.
        let validation = self.validation.as_ref().map(Some);
        for set in [Some(&self.train), self.test.as_ref()].into_iter().chain(validation) {
            let Some(set) = set else {
                hash.update(u64::MAX.to_le_bytes());
                continue;
            };
            let mut samples: Vec<_> = set.ids().iter().zip(set.labels()).collect();
            samples.sort_unstable();
            hash.update((samples.len() as u64).to_le_bytes());
            for (id, label) in samples {
                hash.update(id.0.to_le_bytes());
                hash.update(label.to_le_bytes());
            }
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Classes, sizes and counts.
    #[must_use]
    pub fn info(&self) -> DatasetInfo {
        let part = |set: &dyn Samples| {
            let counts = set.histogram(self.classes.len());
            SplitInfo {
                samples: set.len(),
                class_min: counts.iter().copied().min().unwrap_or(0),
                class_max: counts.iter().copied().max().unwrap_or(0),
            }
        };
        let samples = match (self.train.images(), self.train.texts()) {
            (None, Some(texts)) => SamplesInfo::Texts {
                pairs: texts.are_pairs(),
                words: texts.word_counts(),
                unlabelled: self.unlabelled.as_ref().map_or(0, |own| own.len()),
            },
            (images, _) => {
                let [channels, height, width] = images.map_or([0; 3], ImageSet::shape);
                SamplesInfo::Images { channels, height, width }
            }
        };
        DatasetInfo {
            name: self.name.clone(),
            format: self.format,
            classes: self.classes.clone(),
            samples,
            train: part(&*self.train),
            validation: self.validation.as_deref().map(part),
            findings: self.findings.clone(),
            test: self.test.as_deref().map(part),
        }
    }
}

/// The name of a dataset: the last part of its path.
fn dataset_name(path: &Path) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    whole
        .file_name()
        .map_or_else(|| "dataset".to_owned(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset(order: &[usize], names: [&str; 2]) -> Dataset {
        let set = ImageSet::new(1, 1, 1, vec![1, 2, 3, 3], vec![0, 1, 1, 1]).unwrap();
        let classes = names.map(str::to_owned).to_vec();
        Dataset::new("d", Format::Idx, classes, set.select(order), Some(set.select(&[0]))).unwrap()
    }

    #[test]
    fn fingerprint_is_of_the_samples_and_names_but_not_of_the_order() {
        let fingerprint = dataset(&[0, 1, 2, 3], ["a", "b"]).fingerprint();
        assert_eq!(fingerprint.len(), 64);
        assert_eq!(dataset(&[3, 1, 0, 2], ["a", "b"]).fingerprint(), fingerprint);
        assert_ne!(dataset(&[0, 1, 2], ["a", "b"]).fingerprint(), fingerprint);
        assert_ne!(dataset(&[0, 1, 2, 3], ["a", "c"]).fingerprint(), fingerprint);
    }

    #[test]
    fn info_counts_samples_of_each_class() {
        let info = dataset(&[0, 1, 2, 3], ["a", "b"]).info();
        assert_eq!(info.train, SplitInfo { samples: 4, class_min: 1, class_max: 3 });
        assert_eq!(info.test, Some(SplitInfo { samples: 1, class_min: 0, class_max: 1 }));
        assert_eq!(info.samples, SamplesInfo::Images { channels: 1, height: 1, width: 1 });
    }

    #[test]
    fn refuses_what_does_not_fit_together() {
        let set = |shape: [usize; 3], labels: Vec<u32>| {
            let pixels = vec![0; shape.iter().product::<usize>() * labels.len()];
            ImageSet::new(shape[0], shape[1], shape[2], pixels, labels).unwrap()
        };
        let one = || set([1, 2, 2], vec![0]);
        let make = |classes: &[&str], train, test| {
            let classes = classes.iter().map(|&name| name.to_owned()).collect();
            Dataset::new("d", Format::Idx, classes, train, test).unwrap_err()
        };
        assert!(matches!(make(&[], one(), None), DataError::NoClasses { .. }));
        assert!(matches!(make(&["a", "a"], one(), None), DataError::BadClassName { .. }));
        assert!(matches!(make(&["a", " "], one(), None), DataError::BadClassName { .. }));
        assert!(matches!(make(&["a"], set([1, 2, 2], vec![]), None), DataError::NoImages { .. }));
        assert!(matches!(
            make(&["a"], set([1, 2, 2], vec![0, 1]), None),
            DataError::LabelOutOfRange { row: 1, label: 1, classes: 1, .. }
        ));
        assert!(matches!(
            make(&["a"], one(), Some(set([3, 2, 2], vec![0]))),
            DataError::PartsDiffer { expected: [1, 2, 2], found: [3, 2, 2] }
        ));
    }
}
