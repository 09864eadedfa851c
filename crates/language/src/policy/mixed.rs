//! Texts of the data and of the student, mixed.

use faculty_random::{Purpose, draw, unit};

use super::on_policy::by_student;
use super::{Example, Models, Policy, PolicyConfig, Written, WrittenBatch, check, packed};
use crate::error::Result;
use crate::generation::{Prompt, key};

/// What is the student's or the data's as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MixedBy {
    /// Each text: ImitKD.
    Texts,
    /// All texts of a step: GKD.
    Steps,
}

/// The student writes a share of the texts, the others are the data's own.
#[derive(Debug)]
pub struct Mixed {
    config: PolicyConfig,
    share: f64,
    by: MixedBy,
}

impl Mixed {
    /// With settings that are checked ([`PolicyConfig::build`]).
    pub(super) fn new(config: PolicyConfig, share: f64, by: MixedBy) -> Self {
        Self { config, share, by }
    }

    /// Whether the student writes this text.
    fn is_students(&self, step: u64, prompt: &Prompt) -> bool {
        let text = match self.by {
            MixedBy::Texts => key(prompt),
            MixedBy::Steps => 0,
        };
        unit(draw(Purpose::Tokens, self.config.seed, step, text, 4)) < self.share
    }
}

impl Policy for Mixed {
    fn name(&self) -> &'static str {
        match self.by {
            MixedBy::Texts => "imitkd",
            MixedBy::Steps => "gkd",
        }
    }

    fn batch(
        &mut self,
        step: u64,
        examples: &[Example],
        models: &mut Models<'_>,
    ) -> Result<WrittenBatch> {
        let longest = check(examples, models)?;
        let is_students: Vec<bool> =
            examples.iter().map(|own| self.is_students(step, &own.prompt)).collect();
        let chosen = examples.iter().zip(&is_students).filter(|(_, own)| **own);
        let prompts: Vec<Prompt> = chosen.map(|(own, _)| own.prompt.clone()).collect();
        let mut texts = by_student(&self.config, step, &prompts, models)?.into_iter();
        let response = |(own, &is_students): (&Example, &bool)| match is_students {
            true => texts.next().expect("one text a prompt"),
            false => own.response.clone(),
        };
        let responses: Vec<Vec<u32>> = examples.iter().zip(&is_students).map(response).collect();
        let written = Written { by_student: prompts.len(), ..Written::default() };
        Ok(WrittenBatch { written, ..packed(examples, &responses, longest) })
    }
}
