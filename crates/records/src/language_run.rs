//! What the files of a language model's run say: a line of `metrics.jsonl`, and `language-card.json`.

use serde::{Deserialize, Serialize};

/// Name of the card in a run's folder.
pub const LANGUAGE_CARD: &str = "language-card.json";

/// How well a model predicts a split.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LanguageQuality {
    /// Tokens that were scored.
    pub tokens: u64,
    /// Mean surprise of a token in nats.
    #[serde(with = "crate::number")]
    pub nll: f64,
    /// Of a token: `exp(nll)`.
    #[serde(with = "crate::number")]
    pub perplexity: f64,
    /// Comparable between models of different vocabularies.
    #[serde(with = "crate::number")]
    pub bits_per_character: f64,
}

/// A line of `metrics.jsonl`: means over the steps since the line before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LanguageRecord {
    /// Updates made so far.
    pub step: u64,
    /// Cross-entropy with the true next token, nats.
    #[serde(with = "crate::number")]
    pub ce: f64,
    /// Distillation term, `T² KL`, nats; 0 without teachers.
    #[serde(with = "crate::number")]
    pub kd: f64,
    /// Of the gradients before they were shortened.
    #[serde(with = "crate::number")]
    pub gradient_norm: f64,
    /// Of the last of these steps.
    pub learning_rate: f64,
    /// Mean weight of each teacher over the tokens, in the recipe's order.
    #[serde(with = "crate::number")]
    pub teacher_weights: Vec<f64>,
    /// Mean cross-entropy of each teacher on the same tokens, nats.
    #[serde(with = "crate::number")]
    pub teacher_ce: Vec<f64>,
    /// Share of the student's drafts that the teacher kept, where both write in turns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<f64>,
    /// On the validation split after the last of these steps.
    pub validation: Option<LanguageQuality>,
}

/// A model in the card.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LanguageModelEntry {
    /// `student`, or the teacher's name.
    pub name: String,
    /// Parameters.
    pub parameters: u64,
    /// Layers.
    pub layers: usize,
    /// Values of a token between layers.
    pub width: usize,
    /// xxh3-64 of all parameters, hexadecimal; of the student those at the start.
    pub hash: String,
    /// On the validation split; of the student at its best step.
    pub validation: Option<LanguageQuality>,
    /// On the test split.
    pub test: Option<LanguageQuality>,
}

/// A finished run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LanguageCard {
    /// Version of this layout.
    pub format: u32,
    /// The program.
    pub program: String,
    /// Title, or the recipe's name.
    pub name: Option<String>,
    /// Name of the method.
    pub method: String,
    /// Random seed.
    pub seed: u64,
    /// Updates of the whole run.
    pub steps: u64,
    /// The step whose student is delivered.
    pub best_step: u64,
    /// Tokens of training, validation and test split.
    pub tokens: [u64; 3],
    /// Tokens that were trained on, each as often as it was.
    pub trained_tokens: u64,
    /// Seconds of training, measurements included.
    pub seconds: f64,
    /// The student.
    pub student: LanguageModelEntry,
    /// The teachers, in the recipe's order.
    pub teachers: Vec<LanguageModelEntry>,
}
