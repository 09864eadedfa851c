//! Language models at work: a [`LanguageModel`] is a decoder with its tokenizer, [`generate`] goes on
//! with prompts, [`measure`] says how well a model predicts a text, [`StreamTrainer`] trains a decoder
//! on tokens.
//!
//! ```text
//! file or folder → LanguageModel { Decoder, TextTokenizer, ids that end a text }
//! prompts → generate: one cache, rows come and go, each token a function of (seed, prompt, place)
//! prompts → speculate: a student drafts, a teacher checks, each with a cache of its own
//! tokens → NextTokenStep: loss and gradients, of teachers too, each weighted token by token → StreamTrainer: AdamW
//! text → measure: nats, perplexity, bits per character
//! text, student and teacher → judge: how near both are, on the text and on what the student writes
//! examples at a step → Policy: the texts that a student is trained on, and which tokens count
//! ```

mod batch_source;
mod comparison;
mod corpus;
mod error;
mod export;
mod generation;
mod judgement;
mod measurement;
mod model;
mod next_token;
mod policy;
mod run;
mod run_error;
mod same_tokens;
mod sampling;
mod speculative;
mod student;
mod token_batch;
mod token_weights;
mod tokenizer;
mod training;
mod vocabulary;

pub use batch_source::{BatchSource, StreamSource};
pub use comparison::{
    CheckedLanguageComparison, ComparedRecipes, LanguageComparisonPlan, MissingLanguageRun,
    ShareOfLanguageRuns,
};
pub use corpus::{Corpus, Document};
pub use error::{LanguageError, Result};
pub use export::{export_folder, export_gguf};
pub use faculty_gguf::TensorType;
pub use faculty_kernels::head_loss::Divergence;
pub use generation::{End, Generated, GenerationConfig, Prompt, generate};
pub use judgement::{
    Agreement, Judgement, JudgementConfig, agreement, distinct_pairs, judge, repetition,
};
pub use measurement::{Measurement, WindowConfig, measure};
pub use model::LanguageModel;
pub use next_token::{NextTokenStep, TokenLoss, TokenObjective, TokenTeacher};
pub use policy::{
    Example, GroundTruth, Mixed, MixedBy, Models, OnPolicy, Policy, PolicyConfig, PolicyKind,
    SequenceLevel, Speculative, StreamExamples, Written, WrittenBatch,
};
pub use run::{
    CheckedLanguageRun, LanguageEvent, LanguageStart, Measurements, RunError, STUDENT_FOLDER,
    train_language,
};
pub use same_tokens::check_same_tokens;
pub use sampling::Sampling;
pub use speculative::{
    Acceptance, Speculated, SpeculativeConfig, SpeculativeCounts, first_rejection, is_among_top,
    speculate, teacher_seed,
};
pub use student::with_layers;
pub use token_batch::TokenBatch;
pub use token_weights::TokenRule;
pub use tokenizer::TextTokenizer;
pub use training::{StreamConfig, StreamStep, StreamTrainer};
