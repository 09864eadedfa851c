//! Language models at work: tokenizers, generation, measurement.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod generation;
mod measurement;
mod small;
mod smollm;
mod tokenizer;
mod training;
