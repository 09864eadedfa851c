//! A linear classifier on TF-IDF features: the honest baseline of text classification, and a cheap
//! teacher as a table of logits.
//!
//! ```text
//! texts -> Features (words and pairs of words, weighted, of length 1) -> LinearModel (softmax regression)
//! ```
//! Logits of the training samples come from models that have not seen them (folds): a linear model
//! knows its own training texts far too well.

mod features;
mod lbfgs;
mod linear;

use std::path::Path;

use faculty_data::{Dataset, LogitTable, SampleId, Split, Text};
use faculty_records::quality::{Quality, QualityMeter};

pub use self::features::{FeatureConfig, Features};
pub use self::linear::{LinearConfig, LinearModel};

use crate::error::{Error, Result};
use faculty_teachers::RunData;

/// How the classifier is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TfidfConfig {
    /// What is counted.
    pub features: FeatureConfig,
    /// How weights are found.
    pub linear: LinearConfig,
    /// Parts of the training split, each judged by a model of the others; at least 2.
    pub folds: usize,
}

impl Default for TfidfConfig {
    fn default() -> Self {
        Self { features: FeatureConfig::default(), linear: LinearConfig::default(), folds: 5 }
    }
}

/// What came out of it.
#[derive(Clone, Debug)]
pub struct TfidfResult {
    /// Features of the model of the whole training split.
    pub features: usize,
    /// On the training split, by models that had not seen the samples.
    pub train: Option<Quality>,
    /// On the validation split.
    pub validation: Option<Quality>,
    /// On the test split.
    pub test: Option<Quality>,
}

/// Trains the classifier on the training split of `data` and writes its logits of all splits to
/// `output`, a table that a recipe names as a teacher: `logits = "…"`.
///
/// # Errors
/// When the samples are no texts, there are fewer than two of them for each fold, or the table cannot
/// be written.
pub fn write_table(
    dataset: &Dataset,
    data: &RunData,
    config: &TfidfConfig,
    output: &Path,
) -> Result<TfidfResult> {
    let classes = dataset.classes().len();
    let labelled = data.train.labelled();
    let train = texts(&labelled)?;
    let labels = labelled.labels();
    let folds = config.folds;
    if folds < 2 || train.len() < 2 * folds {
        return Err(Error::Folds { folds, samples: train.len() });
    }
    let mut rows = Vec::new();
    let mut meter = QualityMeter::default();
    for fold in 0..folds {
        // By id, so that the order of the files does not matter.
        let held = |&at: &usize| (labelled.id(at).0 % folds as u64) as usize == fold;
        let (inside, outside): (Vec<usize>, Vec<usize>) = (0..train.len()).partition(held);
        let own: Vec<&Text> = outside.iter().map(|&at| train[at]).collect();
        let own_labels: Vec<u32> = outside.iter().map(|&at| labels[at]).collect();
        let model = TextModel::train(&own, &own_labels, classes, config);
        for at in inside {
            let logits = model.logits(train[at]);
            meter.add(&logits, &labels[at..=at]);
            rows.push((labelled.id(at), logits));
        }
    }
    let model = TextModel::train(&train, labels, classes, config);
    let unlabelled = data.train.unlabelled();
    for (at, text) in texts(&unlabelled)?.into_iter().enumerate() {
        rows.push((unlabelled.id(at), model.logits(text)));
    }
    let mut judge = |part: &Option<Split>| -> Result<Option<Quality>> {
        let Some(part) = part else { return Ok(None) };
        let mut meter = QualityMeter::default();
        for (at, text) in texts(part)?.into_iter().enumerate() {
            let logits = model.logits(text);
            meter.add(&logits, &part.labels()[at..=at]);
            rows.push((part.id(at), logits));
        }
        Ok(meter.quality())
    };
    let (validation, test) = (judge(&data.validation)?, judge(&data.test)?);
    let features = model.features.len();
    // The same text in two splits: that of training comes first.
    let mut seen = std::collections::HashSet::new();
    rows.retain(|(id, _)| seen.insert(*id));
    let (ids, logits): (Vec<SampleId>, Vec<Vec<f32>>) = rows.into_iter().unzip();
    LogitTable::write(output, &ids, &logits.concat(), dataset.classes())?;
    Ok(TfidfResult { features, train: meter.quality(), validation, test })
}

fn texts(part: &Split) -> Result<Vec<&Text>> {
    let all = part.texts().ok_or(faculty_data::DataError::NotTexts)?.texts();
    Ok(part.indices().iter().map(|&index| &all[index]).collect())
}

/// Features and the model on them.
struct TextModel {
    features: Features,
    model: LinearModel,
}

impl TextModel {
    fn train(texts: &[&Text], labels: &[u32], classes: usize, config: &TfidfConfig) -> Self {
        let features = Features::of(texts, config.features);
        let rows: Vec<_> = texts.iter().map(|text| features.row(text)).collect();
        let model = LinearModel::train(&rows, labels, [features.len(), classes], config.linear);
        Self { features, model }
    }

    fn logits(&self, text: &Text) -> Vec<f32> {
        self.model.logits(&self.features.row(text))
    }
}
