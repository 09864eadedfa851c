//! Policies by name, and what they share.

use faculty_random::{Purpose, draw};

use crate::generation::GenerationConfig;
use crate::sampling::Sampling;
use crate::speculative::{Acceptance, SpeculativeConfig};

/// Which policy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PolicyKind {
    /// The data's own responses.
    GroundTruth,
    /// The teacher writes, once for each prompt.
    SequenceLevel,
    /// The student writes.
    OnPolicy,
    /// The student writes this share of the texts of each step; in 0 to 1.
    ImitKd(f64),
    /// The student writes all texts in this share of the steps (λ); in 0 to 1.
    Gkd(f64),
    /// Both write in turns.
    Speculative {
        /// Drafts of a round (γ), at least 1.
        drafts: usize,
        /// Drafts stay that are among so many of the teacher's likeliest tokens (K).
        top_k: usize,
    },
}

/// A policy and its settings.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyConfig {
    /// Which.
    pub kind: PolicyKind,
    /// Most tokens of a response, at least 1.
    pub max_tokens: usize,
    /// How the student chooses tokens.
    pub student: Sampling,
    /// How the teacher chooses tokens.
    pub teacher: Sampling,
    /// Tokens that end a text.
    pub ends: Vec<u32>,
    /// Chooses among the texts that are possible.
    pub seed: u64,
    /// Most texts at work at once, at least 1; costs memory, changes no text.
    pub batch: usize,
}

impl PolicyConfig {
    /// A policy with usual settings. Speculative: the paper's sampling. Else the student draws from its
    /// own distribution, and the teacher takes its likeliest tokens, as sequence-level distillation
    /// asks for (without a beam).
    #[must_use]
    pub fn new(kind: PolicyKind) -> Self {
        let paper = SpeculativeConfig::default();
        let (student, teacher) = match kind {
            PolicyKind::Speculative { .. } => (paper.student, paper.teacher),
            _ => (Sampling::default(), Sampling { temperature: 0.0, ..Sampling::default() }),
        };
        let SpeculativeConfig { max_tokens, seed, batch, .. } = paper;
        Self { kind, max_tokens, student, teacher, ends: Vec::new(), seed, batch }
    }

    /// The seed of a step's texts.
    pub(super) fn seed_of(&self, step: u64) -> u64 {
        draw(Purpose::Tokens, self.seed, step, 0, 3)
    }

    /// How one model writes alone.
    pub(super) fn alone(&self, sampling: Sampling, seed: u64) -> GenerationConfig {
        GenerationConfig { max_tokens: self.max_tokens, sampling, seed, batch: self.batch }
    }

    /// How both write in turns.
    pub(super) fn in_turns(&self, drafts: usize, top_k: usize, seed: u64) -> SpeculativeConfig {
        SpeculativeConfig {
            max_tokens: self.max_tokens,
            drafts,
            acceptance: Acceptance::TopK(top_k),
            student: self.student,
            teacher: self.teacher,
            seed,
            batch: self.batch,
        }
    }
}
