//! What a run writes down: one line of `metrics.jsonl` an epoch, and `card.json` at the end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::checkpoint::Change;
use crate::learner::StepRecord;
use crate::metrics::Quality;
use crate::preflight::Diversity;

/// One loss term over an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TermRecord {
    /// Mean value before weighting.
    pub value: f64,
    /// Its constant.
    pub weight: f64,
    /// `weight · value` as a share of the whole loss, 0 to 1.
    pub share: f64,
}

/// One epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// From 1.
    pub epoch: usize,
    /// Learning rate of the last batch.
    pub learning_rate: f64,
    /// Mean loss per batch.
    pub loss: f64,
    /// Its terms by name.
    pub terms: BTreeMap<String, TermRecord>,
    /// Level (`kd`, `intermediate`) → teacher → mean weight.
    pub teacher_weights: BTreeMap<String, BTreeMap<String, f64>>,
    /// Training samples right while training, percent.
    pub train_top1: f64,
    /// Batches left out because their loss or gradient was no number (`train.skip_bad_batches`).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped_batches: usize,
    /// On the validation part, if there is one.
    pub validation: Option<Quality>,
    /// Training images per second of the epoch, evaluation left out.
    pub images_per_second: f64,
    /// Seconds that training stood waiting for a batch.
    pub data_wait_seconds: f64,
    /// Seconds spent on teacher outputs.
    pub teacher_seconds: f64,
    /// Seconds spent on losses and their gradients, the networks left out.
    #[serde(default)]
    pub loss_seconds: f64,
    /// Seconds of the epoch, evaluation included.
    pub seconds: f64,
}

/// A term above this share of the loss leaves the others next to nothing to say.
pub const DOMINANT_SHARE: f64 = 0.9;

impl EpochRecord {
    /// The term that is nearly all of the loss beside others, with its share.
    #[must_use]
    pub fn dominant_term(&self) -> Option<(&str, f64)> {
        let several = self.terms.values().filter(|term| term.weight != 0.0).nth(1).is_some();
        let (name, term) = self.terms.iter().find(|(_, term)| term.share > DOMINANT_SHARE)?;
        several.then_some((name.as_str(), term.share))
    }
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Adds up the batches of one epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochSums {
    batches: usize,
    samples: usize,
    correct: usize,
    loss: f64,
    /// Term → sum of its values, its constant.
    terms: BTreeMap<String, (f64, f64)>,
    weights: BTreeMap<String, Vec<f64>>,
}

impl EpochSums {
    pub(crate) fn add(&mut self, step: &StepRecord, samples: usize) {
        self.batches += 1;
        self.samples += samples;
        self.correct += step.correct;
        self.loss += step.loss;
        for term in &step.terms {
            let sum = self.terms.entry(term.name.to_owned()).or_default();
            sum.0 += term.value;
            sum.1 = term.weight;
        }
        for (level, weights) in &step.teacher_weights {
            let zeros = || vec![0.0; weights.len()];
            let sums = self.weights.entry((*level).to_owned()).or_insert_with(zeros);
            sums.iter_mut().zip(weights).for_each(|(sum, w)| *sum += w);
        }
    }

    pub(crate) fn loss(&self) -> f64 {
        self.loss / self.batches.max(1) as f64
    }

    pub(crate) fn samples(&self) -> usize {
        self.samples
    }

    pub(crate) fn train_top1(&self) -> f64 {
        100.0 * self.correct as f64 / self.samples.max(1) as f64
    }

    pub(crate) fn terms(&self) -> BTreeMap<String, TermRecord> {
        let batches = self.batches.max(1) as f64;
        let whole: f64 = self.terms.values().map(|(value, weight)| (value * weight).abs()).sum();
        self.terms
            .iter()
            .map(|(name, &(value, weight))| {
                let share = if whole > 0.0 { (value * weight).abs() / whole } else { 0.0 };
                (name.clone(), TermRecord { value: value / batches, weight, share })
            })
            .collect()
    }

    pub(crate) fn teacher_weights(
        &self,
        names: &[String],
    ) -> BTreeMap<String, BTreeMap<String, f64>> {
        let batches = self.batches.max(1) as f64;
        self.weights
            .iter()
            .map(|(level, sums)| {
                let means = names.iter().cloned().zip(sums.iter().map(|sum| sum / batches));
                (level.clone(), means.collect())
            })
            .collect()
    }
}

/// A teacher as the run card names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TeacherCard {
    /// Name in the recipe.
    pub name: String,
    /// Network name; for another source the name of its file.
    pub network: String,
    /// Where its outputs come from: `network`, `head` (inside a network), `onnx` or `logits`.
    #[serde(default)]
    pub source: String,
    /// SHA-256 of its file: weights, ONNX file or table of logits.
    pub weights_sha256: String,
    /// Everything that its outputs depend on, beside the images: source, hashes of its files, input
    /// size, normalisations, class map. Two teachers with the same text give the same outputs.
    #[serde(default)]
    pub identity: String,
    /// How its classes were matched to the data's; empty if they are the same in the same order.
    #[serde(default)]
    pub classes: String,
    /// What a reader of its results should know.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Alone, on the validation part if there is one, otherwise on the test part.
    pub quality: Option<Quality>,
    /// The temperature at which its probabilities fit best, on the same part.
    #[serde(default)]
    pub temperature: Option<f64>,
    /// Its accuracy on the samples of each class of that part, percent; where there are none, that
    /// on all.
    #[serde(default)]
    pub class_accuracy: Option<Vec<f64>>,
}

/// The student at one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StudentResult {
    /// Epoch of these weights.
    pub epoch: usize,
    /// On the validation part.
    pub validation: Option<Quality>,
    /// On the test part, if the data has one. Never used to choose anything.
    pub test: Option<Quality>,
}

/// `card.json`: what was run, on what, and what came out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunCard {
    /// Version of this file's layout.
    pub format: u32,
    /// Program version.
    pub faculty: String,
    /// Path of the numeric kernels that ran.
    pub kernels: String,
    /// Seed of the run.
    pub seed: u64,
    /// Method name.
    pub method: String,
    /// Its objective with all constants.
    pub objective: String,
    /// Data set name.
    pub data: String,
    /// Hash over class names, sample ids and labels.
    pub data_fingerprint: String,
    /// Class names in label order.
    pub classes: Vec<String>,
    /// Normalisation of the student's input: mean of each channel over pixel / 255.
    pub mean: Vec<f32>,
    /// Deviation of each channel likewise.
    pub std: Vec<f32>,
    /// Student network.
    pub student: String,
    /// Trainable values of the student.
    pub student_parameters: usize,
    /// The teachers.
    pub teachers: Vec<TeacherCard>,
    /// Mean of the teachers' probabilities, on the part that the teachers were measured on.
    pub ensemble: Option<Quality>,
    /// How far the teachers agree there.
    #[serde(default)]
    pub diversity: Option<Diversity>,
    /// After the last epoch.
    pub last: StudentResult,
    /// At the epoch with the best validation accuracy (the last epoch without a validation part).
    /// `student.safetensors` holds these weights.
    pub best: StudentResult,
    /// What was changed in the middle of the run, by request (`--resume-with`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// Seconds of the whole run, resumed parts included.
    pub seconds: f64,
}
