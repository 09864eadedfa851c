//! The texts of a step as a policy gives them: written by student and teacher behind beginnings of the
//! training text.

use faculty_nets::{Decoder, Network};
use faculty_recipe::{LanguageRecipe, Writing, WritingPolicy};

use crate::batch_source::BatchSource;
use crate::error::Result;
use crate::policy::{Models, Policy, PolicyConfig, PolicyKind, StreamExamples};
use crate::sampling::Sampling;
use crate::token_batch::TokenBatch;

/// A policy, and the beginnings that it goes on with.
#[derive(Debug)]
pub(super) struct WrittenSource {
    policy: Box<dyn Policy>,
    examples: StreamExamples,
}

impl WrittenSource {
    /// Of a recipe with `[writing]`; the first teacher writes where one does.
    pub(super) fn new(
        recipe: &LanguageRecipe,
        writing: &Writing,
        stream: Vec<u32>,
        ends: &[u32],
    ) -> Result<Self> {
        let sizes = [writing.prompt_tokens, writing.max_tokens];
        let examples = StreamExamples::new(stream, sizes, recipe.train.batch_size, recipe.seed)?;
        let kind = match writing.policy {
            WritingPolicy::SequenceLevel => PolicyKind::SequenceLevel,
            WritingPolicy::OnPolicy => PolicyKind::OnPolicy,
            WritingPolicy::ImitKd => PolicyKind::ImitKd(writing.share),
            WritingPolicy::Gkd => PolicyKind::Gkd(writing.share),
            WritingPolicy::Skd => {
                PolicyKind::Speculative { drafts: writing.drafts, top_k: writing.top_k }
            }
        };
        let usual = PolicyConfig::new(kind);
        let student = match writing.temperature {
            Some(temperature) => {
                Sampling { temperature: temperature as f32, ..Sampling::default() }
            }
            None => usual.student,
        };
        let config = PolicyConfig {
            max_tokens: writing.max_tokens,
            student,
            ends: ends.to_vec(),
            seed: recipe.seed,
            batch: recipe.train.batch_size,
            ..usual
        };
        Ok(Self { policy: config.build()?, examples })
    }
}

impl BatchSource for WrittenSource {
    fn batch(
        &mut self,
        step: u64,
        student: &Network,
        teachers: &mut [&mut Decoder],
    ) -> Result<TokenBatch> {
        let examples = self.examples.of_step(step);
        let teacher = &mut *teachers[0];
        let batch = self.policy.batch(step, &examples, &mut Models { student, teacher })?;
        let written = batch.written;
        Ok(TokenBatch {
            tokens: batch.tokens,
            counted: batch.counted,
            // A step with any written text counts as one.
            true_text: written.by_student + written.by_teacher + written.by_both == 0,
            counts: written.counts,
        })
    }
}
