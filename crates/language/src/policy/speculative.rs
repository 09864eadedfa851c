//! Speculative distillation: student and teacher write in turns.

use faculty_nets::Decoder;

use super::{
    Example, Models, Policy, PolicyConfig, Written, WrittenBatch, check, packed, response,
};
use crate::error::Result;
use crate::generation::Prompt;
use crate::speculative::{SpeculativeCounts, speculate};

/// Texts that the student drafts, with tokens of the teacher where a draft is none of its likeliest.
#[derive(Debug)]
pub struct Speculative {
    config: PolicyConfig,
    drafts: usize,
    top_k: usize,
}

impl Speculative {
    /// With settings that are checked ([`PolicyConfig::build`]).
    pub(super) fn new(config: PolicyConfig, drafts: usize, top_k: usize) -> Self {
        Self { config, drafts, top_k }
    }
}

impl Policy for Speculative {
    fn name(&self) -> &'static str {
        "skd"
    }

    fn batch(
        &mut self,
        step: u64,
        examples: &[Example],
        models: &mut Models<'_>,
    ) -> Result<WrittenBatch> {
        let longest = check(examples, models)?;
        let prompts: Vec<Prompt> = examples.iter().map(|own| own.prompt.clone()).collect();
        let config = self.config.in_turns(self.drafts, self.top_k, self.config.seed_of(step));
        let (mut student, ends) = (Decoder::new(models.student), &self.config.ends);
        let texts = speculate(&mut student, models.teacher, &prompts, ends, &config, |_, _| {})?;
        let responses: Vec<Vec<u32>> = texts.iter().map(|own| response(&own.text)).collect();
        let mut counts = SpeculativeCounts::default();
        texts.iter().for_each(|own| counts.add(&own.counts));
        let written = Written { by_both: examples.len(), counts, ..Written::default() };
        Ok(WrittenBatch { written, ..packed(examples, &responses, longest) })
    }
}
