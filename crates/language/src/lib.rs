//! Language models at work: a [`LanguageModel`] is a decoder with its tokenizer, [`generate`] goes on
//! with prompts, [`measure`] says how well a model predicts a text.
//!
//! ```text
//! file or folder → LanguageModel { Decoder, TextTokenizer, ids that end a text }
//! prompts → generate: one cache, rows come and go, each token a function of (seed, prompt, place)
//! text → measure: nats, perplexity, bits per character
//! ```

mod error;
mod generation;
mod measurement;
mod model;
mod sampling;
mod tokenizer;

pub use error::{LanguageError, Result};
pub use generation::{End, Generated, GenerationConfig, Prompt, generate};
pub use measurement::{Measurement, WindowConfig, measure};
pub use model::LanguageModel;
pub use sampling::Sampling;
pub use tokenizer::TextTokenizer;
