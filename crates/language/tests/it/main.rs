//! Language models at work: tokenizers, generation, texts of two models, measurement.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod comparison;
mod export;
mod generation;
mod judgement;
mod measurement;
mod policy;
mod run;
mod several_teachers;
mod small;
mod smollm;
mod speculative;
mod tokenizer;
mod training;
