//! Language models at work: a [`LanguageModel`] is a decoder with its tokenizer, [`generate`] goes on
//! with prompts, [`measure`] says how well a model predicts a text, [`StreamTrainer`] trains a decoder
//! on tokens.
//!
//! ```text
//! file or folder → LanguageModel { Decoder, TextTokenizer, ids that end a text }
//! prompts → generate: one cache, rows come and go, each token a function of (seed, prompt, place)
//! tokens → NextTokenStep: loss and gradients, perhaps of a teacher too → StreamTrainer: AdamW
//! text → measure: nats, perplexity, bits per character
//! ```

mod error;
mod generation;
mod measurement;
mod model;
mod next_token;
mod sampling;
mod tokenizer;
mod training;

pub use error::{LanguageError, Result};
pub use generation::{End, Generated, GenerationConfig, Prompt, generate};
pub use measurement::{Measurement, WindowConfig, measure};
pub use model::LanguageModel;
pub use next_token::{NextTokenStep, TokenLoss, TokenTeacher};
pub use sampling::Sampling;
pub use tokenizer::TextTokenizer;
pub use training::{StreamConfig, StreamStep, StreamTrainer};
