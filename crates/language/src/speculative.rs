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
mod config;
mod round;

use faculty_nets::Decoder;

pub use self::acceptance::{Acceptance, first_rejection, is_among_top};
pub use self::config::{Speculated, SpeculativeConfig, SpeculativeCounts, teacher_seed};
use self::round::Session;
use crate::error::{LanguageError, Result};
use crate::generation::{Prompt, check, slots};

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
