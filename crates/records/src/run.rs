//! What a run writes down: one line of `metrics.jsonl` an epoch, and `card.json` at the end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::diversity::Diversity;
use crate::quality::Quality;

/// Name of the TensorBoard events in a run folder.
pub const EVENTS: &str = "events.out.tfevents.faculty";

/// One loss term over an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TermRecord {
    /// Mean value before weighting.
    #[serde(with = "crate::number")]
    pub value: f64,
    /// Its constant.
    #[serde(with = "crate::number")]
    pub weight: f64,
    /// `weight · value` as a share of the whole loss, 0 to 1.
    #[serde(with = "crate::number")]
    pub share: f64,
}

/// One epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// From 1.
    pub epoch: usize,
    /// Learning rate of the last batch.
    #[serde(with = "crate::number")]
    pub learning_rate: f64,
    /// Mean loss per batch.
    #[serde(with = "crate::number")]
    pub loss: f64,
    /// Its terms by name.
    pub terms: BTreeMap<String, TermRecord>,
    /// Level (`kd`, `intermediate`) → teacher → mean weight.
    #[serde(with = "crate::number")]
    pub teacher_weights: BTreeMap<String, BTreeMap<String, f64>>,
    /// Training samples right while training, percent.
    #[serde(with = "crate::number")]
    pub train_top1: f64,
    /// Batches left out because their loss or gradient was NaN or infinite (`train.skip_bad_batches`).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped_batches: usize,
    /// On the validation split, if there is one.
    pub validation: Option<Quality>,
    /// Training images per second of the epoch, evaluation left out.
    #[serde(with = "crate::number")]
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

/// What records of before say nothing of.
pub(crate) fn f32() -> String {
    "f32".to_owned()
}

fn is_zero(count: &usize) -> bool {
    *count == 0
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
    /// In which it is run: `f32` or `bf16`.
    #[serde(default = "f32")]
    pub precision: String,
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
    /// Alone, on the validation split if there is one, otherwise on the test split.
    pub quality: Option<Quality>,
    /// The temperature at which its probabilities fit best, on the same part.
    #[serde(default, with = "crate::number")]
    pub temperature: Option<f64>,
    /// Its accuracy on the samples of each class of that part, percent; where there are none, that
    /// on all.
    #[serde(default, with = "crate::number")]
    pub class_accuracy: Option<Vec<f64>>,
}

/// The student at one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StudentResult {
    /// Epoch of these weights.
    pub epoch: usize,
    /// On the validation split.
    pub validation: Option<Quality>,
    /// On the test split, if the data has one. Never used to choose anything.
    pub test: Option<Quality>,
}

/// Why a run ended before its last epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EarlyStop {
    /// The last epoch that was trained.
    pub epoch: usize,
    /// Epochs of the recipe.
    pub epochs: usize,
    /// Epochs without an improvement after which it stops.
    pub patience: usize,
    /// What was to improve on the validation split, as a recipe names it.
    pub metric: String,
    /// The epoch in which it was best.
    pub best_epoch: usize,
    /// Its value there, percent or nats.
    #[serde(with = "crate::number")]
    pub best: f64,
}

impl TeacherCard {
    /// Its network, and the precision where that is not the usual one: `resnet20 in bf16`.
    #[must_use]
    pub fn network_and_precision(&self) -> String {
        let Self { network, precision, .. } = self;
        if *precision == f32() { network.clone() } else { format!("{network} in {precision}") }
    }
}

impl EarlyStop {
    /// When and why, in one sentence without a full stop.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Self { epoch, epochs, patience, metric, best_epoch, best } = self;
        format!(
            "stopped early after epoch {epoch} of {epochs}: `{metric}` on the validation split was \
             best in epoch {best_epoch} ({best:.3}) and has not improved for {patience} epochs"
        )
    }
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
    /// In which the steps were computed: `f32` or `bf16`. Weights and measurements are `f32`.
    #[serde(default = "f32")]
    pub precision: String,
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
    /// Standard deviation of each channel likewise.
    pub std: Vec<f32>,
    /// Most tokens of a text, where samples are texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
    /// Student network.
    pub student: String,
    /// Trainable values of the student.
    pub student_parameters: usize,
    /// What a reader should know of the weights that it started from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub student_notes: Vec<String>,
    /// What a reader should know of the way it was trained.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub training_notes: Vec<String>,
    /// The teachers.
    pub teachers: Vec<TeacherCard>,
    /// Mean of the teachers' probabilities, on the part that the teachers were measured on.
    pub ensemble: Option<Quality>,
    /// How far the teachers agree there.
    #[serde(default)]
    pub diversity: Option<Diversity>,
    /// After the last epoch.
    pub last: StudentResult,
    /// At the epoch that did best on the validation split, by accuracy unless `train.best_by` says
    /// otherwise (the last epoch without a validation split).
    /// `student.safetensors` holds these weights.
    pub best: StudentResult,
    /// Why it ended before its last epoch, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_stop: Option<EarlyStop>,
    /// What was changed in the middle of the run, by request (`--resume-with`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// Seconds of the whole run, resumed parts included.
    pub seconds: f64,
}

/// One thing that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Last finished epoch before it.
    pub epoch: usize,
    /// Finished batches of the next one.
    pub batch: usize,
    /// The recipe's key; for data and weights a description.
    pub key: String,
    /// Its value before.
    pub then: String,
    /// Its value from there on.
    pub now: String,
}
