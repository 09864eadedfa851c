//! Batches that are written while a student learns: who writes the texts that it is trained on.
//!
//! ```text
//! ground-truth    the data's own responses: supervised distillation
//! sequence-level  the teacher writes, each prompt once (Kim and Rush, EMNLP 2016, arXiv:1606.07947)
//! on-policy       the student as it is now writes (Agarwal et al., ICLR 2024, arXiv:2306.13649, λ = 1)
//! mixed           a share λ is the student's: GKD by steps (the same paper), ImitKD by texts (Lin et al.,
//!                 EMNLP 2020, arXiv:2009.07253)
//! speculative     both write in turns (Xu et al., ICLR 2025, arXiv:2410.11325)
//! ```
//! A policy gives tokens, and which of them are to be predicted: those of the response, with the one that
//! ends it, not the prompt's. What is learnt at these places (KL in either direction, Jensen and
//! Shannon's divergence with GKD's β) is the loss's business.
//!
//! What is written is a function of the seed, the step, prompt and sample, and the student as it is
//! then: nothing else has to be kept to go on exactly.

mod build;
mod config;
mod ground_truth;
mod mixed;
mod on_policy;
mod sequence_level;
mod speculative;
mod stream_examples;

use std::fmt;

use faculty_inputs::Tokens;
use faculty_nets::{Decoder, Network};

pub use self::config::{PolicyConfig, PolicyKind};
pub use self::ground_truth::GroundTruth;
pub use self::mixed::{Mixed, MixedBy};
pub use self::on_policy::OnPolicy;
pub use self::sequence_level::SequenceLevel;
pub use self::speculative::Speculative;
pub use self::stream_examples::StreamExamples;
use crate::error::{LanguageError, Result};
use crate::generation::{End, Generated, Prompt};
use crate::speculative::SpeculativeCounts;

/// One prompt of the data, and what follows it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// What is gone on with.
    pub prompt: Prompt,
    /// The data's own response, with the token that ends it where it has one. Policies that do not
    /// read the data's responses leave it alone.
    pub response: Vec<u32>,
}

/// The models at a step.
pub struct Models<'a> {
    /// The student as it is now.
    pub student: &'a Network,
    /// The frozen teacher.
    pub teacher: &'a mut Decoder,
}

/// The texts of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WrittenBatch {
    /// Prompts with their responses, in the examples' order; no longer than the student reads.
    pub tokens: Tokens,
    /// Whether the token behind each is one of the response, `[tokens]`.
    pub counted: Vec<bool>,
    /// What was written for this batch, and how.
    pub written: Written,
}

/// What models wrote for a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Texts by the student alone.
    pub by_student: usize,
    /// Texts by the teacher alone, those that it had written before among them.
    pub by_teacher: usize,
    /// Texts by both, in turns.
    pub by_both: usize,
    /// Of the latter.
    pub counts: SpeculativeCounts,
}

/// Who writes the texts of each step.
pub trait Policy: fmt::Debug + Send {
    /// Its name in records.
    fn name(&self) -> &'static str;

    /// The texts of a step, one for each example.
    ///
    /// # Errors
    /// When a prompt cannot be read, or the models do not share their vocabulary.
    fn batch(
        &mut self,
        step: u64,
        examples: &[Example],
        models: &mut Models<'_>,
    ) -> Result<WrittenBatch>;
}

impl WrittenBatch {
    /// Adds a prompt with a response, cut to `longest` tokens.
    fn push(&mut self, prompt: &[u32], response: &[u32], longest: usize) {
        let mut text = [prompt, response].concat();
        text.truncate(longest);
        let is_predicted = |at: usize| at + 1 >= prompt.len() && at + 1 < text.len();
        self.counted.extend((0..text.len()).map(is_predicted));
        self.tokens.push(&text, &vec![0; text.len()]);
    }
}

/// A text with the token that ended it.
fn response(text: &Generated) -> Vec<u32> {
    let end = match text.end {
        End::Token(id) => Some(id),
        End::MaxTokens | End::Context => None,
    };
    text.ids.iter().copied().chain(end).collect()
}

/// The tokens that the student reads at most; checks that the models share their vocabulary and that
/// they know all tokens.
fn check(examples: &[Example], models: &Models<'_>) -> Result<usize> {
    let student = models.student.graph().decoder().expect("the student is a decoder");
    let (own, teacher) = (student.vocabulary, models.teacher.config().vocabulary);
    if own != teacher {
        return Err(LanguageError::Vocabularies { student: own, teacher });
    }
    for (prompt, example) in (1..).zip(examples) {
        if example.prompt.ids.is_empty() {
            return Err(LanguageError::EmptyPrompt { prompt });
        }
        let mut ids = example.prompt.ids.iter().chain(&example.response);
        if let Some(&id) = ids.find(|&&id| id as usize >= own) {
            return Err(LanguageError::Vocabulary { prompt, id, vocabulary: own });
        }
    }
    Ok(student.longest)
}

/// Prompts with what was written, as a batch.
fn packed(examples: &[Example], responses: &[Vec<u32>], longest: usize) -> WrittenBatch {
    let mut batch = WrittenBatch::default();
    for (example, response) in examples.iter().zip(responses) {
        batch.push(&example.prompt.ids, response, longest);
    }
    batch
}
