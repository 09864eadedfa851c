//! Texts that a student drafts and a teacher checks, some tokens at a time.
//!
//! ```text
//! round:  the student reads what is new and draws drafts x[1..γ], one after another
//!         one call of the teacher gives its logits t[i] at each draft
//!         the first drafts that are accepted stay; in place of the first that is not, one token of the teacher
//! top-K   x[i] is accepted where fewer than K tokens have larger raw logits t[i]; the other token is drawn by
//!         the teacher's sampling. Interleaved sampling of speculative knowledge distillation
//!         (Xu et al., ICLR 2025, arXiv:2410.11325)
//! lossless  q, p the two distributions as they are sampled from: x[i] is accepted with probability
//!         min(1, p(x) / q(x)), the other token is drawn from max(p - q, 0) / sum; behind γ accepted ones comes
//!         one more from p. Speculative decoding (Leviathan et al., ICML 2023, arXiv:2211.17192; Chen et
//!         al., 2023, arXiv:2302.01318): texts are distributed as the teacher's
//! ```
//! The number that chooses a token is a hash of seed, prompt, sample and place, with streams of their
//! own for drafts, for the teacher's tokens and for acceptance. So a text does not depend on the texts
//! beside it, on the batch or on threads. Under top-K it does not depend on γ either, which decides the
//! cost alone. With K = 0 every token is the teacher's: what [`generate`](crate::generate) makes of
//! the teacher under [`teacher_seed`]. With K of the whole vocabulary every token is the student's: what
//! `generate` makes of the student under the same seed.

mod acceptance;
mod round;

use faculty_nets::Decoder;
use faculty_random::{Purpose, draw};

pub use self::acceptance::{Acceptance, first_rejection, is_among_top};
use self::round::Session;
use crate::error::{LanguageError, Result};
use crate::generation::{Generated, Prompt, check, slots};
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

/// Goes on with each prompt, in turns of student and teacher; gives what was added, in the prompts'
/// order. `each` is told of every token as it stays, with the number of its prompt.
///
/// # Errors
/// When the models do not share their vocabulary, a prompt is empty, too long, or has ids outside the
/// vocabulary, or a number is out of range.
pub fn speculate(
    student: &mut Decoder,
    teacher: &mut Decoder,
    prompts: &[Prompt],
    ends: &[u32],
    config: &SpeculativeConfig,
    mut each: impl FnMut(usize, u32),
) -> Result<Vec<Speculated>> {
    let sizes = [student.config(), teacher.config()];
    let [of_student, of_teacher] = sizes.map(|config| config.vocabulary);
    if of_student != of_teacher {
        let (student, teacher) = (of_student, of_teacher);
        return Err(LanguageError::Vocabularies { student, teacher });
    }
    check(&sizes, prompts, config.batch, &[config.student, config.teacher])?;
    if config.drafts == 0 {
        let (name, found) = ("drafts", "0".to_owned());
        return Err(LanguageError::OutOfRange { name, found, range: "1 or more" });
    }
    let longest = sizes.map(|config| config.longest).into_iter().min().unwrap_or(0);
    let limit = |prompt: &Prompt| prompt.ids.len().saturating_add(config.max_tokens).min(longest);
    let capacity = prompts.iter().map(limit).max().unwrap_or(0);
    let of_both = [&*student, &*teacher].map(|model| model.cache_bytes(1, capacity));
    let of_both = of_both[0].saturating_add(of_both[1]);
    let slots = slots(of_both, config.batch, config.max_tokens)?.min(prompts.len());
    let mut session =
        Session::new([student, teacher], prompts, ends, config, [slots, capacity, longest]);
    if config.max_tokens > 0 {
        while session.round(&mut each) {}
    }
    Ok(session.into_results())
}
