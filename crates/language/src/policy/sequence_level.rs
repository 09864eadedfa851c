//! Sequence-level distillation: the teacher writes.

use std::collections::HashMap;

use super::{
    Example, Models, Policy, PolicyConfig, Written, WrittenBatch, check, packed, response,
};
use crate::error::Result;
use crate::generation::{Prompt, generate};

/// The teacher's own texts. What it writes for a prompt is the same at every step, so it is written
/// once and kept: four bytes a token.
#[derive(Debug)]
pub struct SequenceLevel {
    config: PolicyConfig,
    /// By the ids and the sample of a prompt.
    kept: HashMap<(Vec<u32>, u64), Vec<u32>>,
}

impl SequenceLevel {
    /// With settings that are checked ([`PolicyConfig::build`]).
    pub(super) fn new(config: PolicyConfig) -> Self {
        Self { config, kept: HashMap::new() }
    }
}

/// What names a prompt among those that are kept.
fn name(prompt: &Prompt) -> (Vec<u32>, u64) {
    (prompt.ids.clone(), prompt.sample)
}

impl Policy for SequenceLevel {
    fn name(&self) -> &'static str {
        "sequence-level"
    }

    fn batch(
        &mut self,
        _: u64,
        examples: &[Example],
        models: &mut Models<'_>,
    ) -> Result<WrittenBatch> {
        let longest = check(examples, models)?;
        let prompts = examples.iter().map(|own| &own.prompt);
        let mut new: Vec<Prompt> =
            prompts.filter(|own| !self.kept.contains_key(&name(own))).cloned().collect();
        new.sort_by(|a, b| (&a.ids, a.sample).cmp(&(&b.ids, b.sample)));
        new.dedup();
        let config = self.config.alone(self.config.teacher, self.config.seed);
        let texts = generate(models.teacher, &new, &self.config.ends, &config, |_, _| {})?;
        for (prompt, text) in new.iter().zip(&texts) {
            self.kept.insert(name(prompt), response(text));
        }
        let responses: Vec<Vec<u32>> =
            examples.iter().map(|own| self.kept[&name(&own.prompt)].clone()).collect();
        let written = Written { by_teacher: examples.len(), ..Written::default() };
        Ok(WrittenBatch { written, ..packed(examples, &responses, longest) })
    }
}
