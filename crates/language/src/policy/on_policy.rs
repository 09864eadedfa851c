//! On-policy distillation: the student writes.

use faculty_nets::Decoder;

use super::{
    Example, Models, Policy, PolicyConfig, Written, WrittenBatch, check, packed, response,
};
use crate::error::Result;
use crate::generation::{Prompt, generate};

/// The texts of the student as it is at the step.
#[derive(Debug)]
pub struct OnPolicy {
    config: PolicyConfig,
}

impl OnPolicy {
    /// With settings that are checked ([`PolicyConfig::build`]).
    pub(super) fn new(config: PolicyConfig) -> Self {
        Self { config }
    }
}

/// What the student writes at a step.
pub(super) fn by_student(
    config: &PolicyConfig,
    step: u64,
    prompts: &[Prompt],
    models: &Models<'_>,
) -> Result<Vec<Vec<u32>>> {
    if prompts.is_empty() {
        return Ok(Vec::new());
    }
    let mut student = Decoder::new(models.student);
    let alone = config.alone(config.student, config.seed_of(step));
    let texts = generate(&mut student, prompts, &config.ends, &alone, |_, _| {})?;
    Ok(texts.iter().map(response).collect())
}

impl Policy for OnPolicy {
    fn name(&self) -> &'static str {
        "on-policy"
    }

    fn batch(
        &mut self,
        step: u64,
        examples: &[Example],
        models: &mut Models<'_>,
    ) -> Result<WrittenBatch> {
        let longest = check(examples, models)?;
        let prompts: Vec<Prompt> = examples.iter().map(|own| own.prompt.clone()).collect();
        let responses = by_student(&self.config, step, &prompts, models)?;
        let written = Written { by_student: examples.len(), ..Written::default() };
        Ok(WrittenBatch { written, ..packed(examples, &responses, longest) })
    }
}
