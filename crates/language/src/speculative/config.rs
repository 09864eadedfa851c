//! How two models write in turns, and what comes of it.

use faculty_random::{Purpose, draw};

use super::acceptance::Acceptance;
use crate::generation::Generated;
use crate::sampling::Sampling;

/// How texts are written in turns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpeculativeConfig {
    /// Most tokens that are added to a prompt.
    pub max_tokens: usize,
    /// Drafts of a round (γ), at least 1.
    pub drafts: usize,
    /// Which drafts stay.
    pub acceptance: Acceptance,
    /// How the student chooses its drafts.
    pub student: Sampling,
    /// How the teacher chooses its tokens.
    pub teacher: Sampling,
    /// Chooses among the texts that are possible.
    pub seed: u64,
    /// Most texts at work at once, at least 1; costs memory, changes no text.
    pub batch: usize,
}

impl Default for SpeculativeConfig {
    /// The paper's: γ = 5, K = 25, temperatures 0.5 and 0.2, top-p 0.5 of both.
    fn default() -> Self {
        let narrow = |temperature| Sampling { temperature, top_k: None, top_p: Some(0.5) };
        Self {
            max_tokens: 128,
            drafts: 5,
            acceptance: Acceptance::TopK(25),
            student: narrow(0.5),
            teacher: narrow(0.2),
            seed: 0,
            batch: 16,
        }
    }
}

/// How often which model was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpeculativeCounts {
    /// Calls of the teacher: rounds.
    pub calls: usize,
    /// Tokens that the student drafted.
    pub drafted: usize,
    /// Drafts that stayed.
    pub accepted: usize,
    /// Drafts that were looked at and replaced; those behind them were not looked at.
    pub rejected: usize,
    /// Tokens of the texts, those that end them among them.
    pub written: usize,
}

impl SpeculativeCounts {
    /// Share of the drafts looked at that stayed; 0 of none.
    #[must_use]
    pub fn acceptance(&self) -> f64 {
        self.accepted as f64 / (self.accepted + self.rejected).max(1) as f64
    }

    /// Tokens that a call of the teacher gave on the average; 0 of none.
    #[must_use]
    pub fn tokens_per_call(&self) -> f64 {
        self.written as f64 / self.calls.max(1) as f64
    }

    /// With those of another text.
    pub fn add(&mut self, other: &Self) {
        let Self { calls, drafted, accepted, rejected, written } = other;
        self.calls += calls;
        self.drafted += drafted;
        self.accepted += accepted;
        self.rejected += rejected;
        self.written += written;
    }
}

/// A text of two models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Speculated {
    /// What was added to the prompt.
    pub text: Generated,
    /// How.
    pub counts: SpeculativeCounts,
}

/// The seed under which a teacher alone chooses the tokens that it puts in place of drafts.
#[must_use]
pub const fn teacher_seed(seed: u64) -> u64 {
    draw(Purpose::Tokens, seed, 0, 0, 1)
}
