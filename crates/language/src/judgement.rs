//! How near a student comes to a teacher, on real text and on what it writes itself.
//!
//! ```text
//! p, q             the teacher's and the student's distribution of a token, from raw logits
//! KL               mean of sum p ln(p / q)       reverse KL    mean of sum q ln(q / p)       in nats
//! acceptance α     mean of sum min(p, q): how often a draft of the student would stay (Leviathan et al.,
//!                  ICML 2023, arXiv:2211.17192)
//! tokens a call    tokens of lossless speculative decoding by its calls of the teacher
//! teacher's nats   mean of -ln p(token) of what the student writes; low of texts that only repeat themselves,
//! distinct-2       hence: different pairs of neighbours by all pairs (Li et al., NAACL 2016, arXiv:1510.03055)
//! repetition       1 - different runs of four tokens by all runs of a text, mean of the texts (seq-rep-4 of Welleck
//!                  et al., ICLR 2020, arXiv:1908.04319)
//! ```
//! The text is cut into pieces of a prompt and what follows; some of them, evenly spread, are measured:
//! the text's own tokens behind each prompt, and the student's.

mod agreement;
mod diversity;

use faculty_inputs::Tokens;
use faculty_nets::Decoder;

pub use self::agreement::{Agreement, agreement};
pub use self::diversity::{distinct_pairs, repetition};
use crate::error::{LanguageError, Result};
use crate::generation::{End, Generated, GenerationConfig, Prompt, generate};
use crate::model::LanguageModel;
use crate::sampling::Sampling;
use crate::speculative::{Acceptance, SpeculativeConfig, SpeculativeCounts, speculate};

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct JudgementConfig {
    /// Most prompts, at least 1.
    pub prompts: usize,
    /// Tokens of a prompt, at least 1.
    pub prompt_tokens: usize,
    /// Most tokens behind it, at least 1.
    pub max_tokens: usize,
    /// How the student chooses its tokens.
    pub sampling: Sampling,
    /// Drafts of a round of speculative decoding, at least 1.
    pub drafts: usize,
    /// Chooses among the texts that are possible.
    pub seed: u64,
    /// Most texts at work at once, at least 1; costs memory, changes no text.
    pub batch: usize,
}

impl Default for JudgementConfig {
    fn default() -> Self {
        Self {
            prompts: 32,
            prompt_tokens: 64,
            max_tokens: 64,
            sampling: Sampling::default(),
            drafts: 5,
            seed: 0,
            batch: 16,
        }
    }
}

/// How near a student comes to a teacher.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// Prompts that were gone on with.
    pub prompts: usize,
    /// Both models behind the same prefixes of the text.
    pub real: Agreement,
    /// Behind prefixes that the student wrote.
    pub own: Agreement,
    /// Nats of a token of the student's texts by the teacher.
    pub teacher_nats: f64,
    /// Different pairs of neighbours in all the student's texts; `None` without a pair.
    pub distinct_2: Option<f64>,
    /// Repeated runs of four tokens in the student's texts; `None` without a run.
    pub repetition: Option<f64>,
    /// Of lossless speculative decoding, both models with their own distributions.
    pub speculation: SpeculativeCounts,
    /// What the student wrote, with the prompts.
    pub texts: Vec<(Prompt, Generated)>,
}

/// Judges a student by a teacher on a text; `progress` is told what comes next.
///
/// # Errors
/// When the models do not share their tokens, the text is too short, or a number is out of range.
pub fn judge(
    student: &mut LanguageModel,
    teacher: &mut LanguageModel,
    text: &str,
    config: &JudgementConfig,
    mut progress: impl FnMut(&str),
) -> Result<Judgement> {
    check(config)?;
    student.check_tokens_of(teacher)?;
    let longest = [&student.decoder, &teacher.decoder].map(|model| model.config().longest);
    let longest = longest[0].min(longest[1]);
    let prompt_tokens = config.prompt_tokens.min((longest / 2).max(1));
    let max_tokens = config.max_tokens.min(longest - prompt_tokens);
    let ids = student.tokenizer.encode(text)?;
    let vocabulary = student.decoder.config().vocabulary;
    if let Some(&id) = ids.iter().find(|&&id| id as usize >= vocabulary) {
        return Err(LanguageError::Vocabulary { prompt: 1, id, vocabulary });
    }
    if ids.len() <= prompt_tokens || max_tokens == 0 {
        return Err(LanguageError::ShortText { tokens: ids.len() });
    }
    let pieces = pieces(&ids, prompt_tokens + max_tokens, config.prompts);
    let prompts: Vec<Prompt> = (0..)
        .zip(&pieces)
        .map(|(sample, piece)| Prompt { ids: piece[..prompt_tokens].to_vec(), sample })
        .collect();
    let LanguageModel { decoder: student, ends, .. } = student;
    let teacher = &mut teacher.decoder;
    progress("both models read the text");
    let continuations = pieces.iter().map(|piece| &piece[prompt_tokens..]);
    let real = behind(student, teacher, &prompts, continuations);
    progress("the student writes");
    let alone = GenerationConfig {
        max_tokens,
        sampling: config.sampling,
        seed: config.seed,
        batch: config.batch,
    };
    let texts = generate(student, &prompts, ends, &alone, |_, _| {})?;
    let written: Vec<Vec<u32>> = texts.iter().map(with_end).collect();
    progress("both models read what the student wrote");
    let own = behind(student, teacher, &prompts, written.iter().map(Vec::as_slice));
    progress("the student drafts, the teacher checks");
    let plain = Sampling::default();
    let turns = SpeculativeConfig {
        max_tokens,
        drafts: config.drafts,
        acceptance: Acceptance::Lossless,
        student: plain,
        teacher: plain,
        seed: config.seed,
        batch: config.batch,
    };
    let mut speculation = SpeculativeCounts::default();
    for text in speculate(student, teacher, &prompts, ends, &turns, |_, _| {})? {
        speculation.add(&text.counts);
    }
    let ids: Vec<&[u32]> = texts.iter().map(|text| text.ids.as_slice()).collect();
    Ok(Judgement {
        prompts: prompts.len(),
        real: real.agreement(),
        own: own.agreement(),
        teacher_nats: own.teacher_nats(),
        distinct_2: distinct_pairs(&ids),
        repetition: repetition(&ids),
        speculation,
        texts: prompts.into_iter().zip(texts).collect(),
    })
}

fn check(config: &JudgementConfig) -> Result<()> {
    config.sampling.check()?;
    for (name, value) in [
        ("prompts", config.prompts),
        ("prompt-tokens", config.prompt_tokens),
        ("max-tokens", config.max_tokens),
        ("drafts", config.drafts),
        ("batch", config.batch),
    ] {
        if value == 0 {
            let found = "0".to_owned();
            return Err(LanguageError::OutOfRange { name, found, range: "1 or more" });
        }
    }
    Ok(())
}

/// Pieces of so many tokens, at most so many, evenly spread; the whole text if it is shorter than one.
fn pieces(ids: &[u32], tokens: usize, most: usize) -> Vec<&[u32]> {
    let all = (ids.len() / tokens).max(1);
    let count = all.min(most);
    let piece = |number: usize| {
        let start = number * all / count * tokens;
        &ids[start..ids.len().min(start + tokens)]
    };
    (0..count).map(piece).collect()
}

/// A text with the token that ended it: the choice to end is judged too.
fn with_end(text: &Generated) -> Vec<u32> {
    let end = match text.end {
        End::Token(id) => Some(id),
        End::MaxTokens | End::Context => None,
    };
    text.ids.iter().copied().chain(end).collect()
}

/// Compares both models at the tokens behind each prompt.
fn behind<'a>(
    student: &mut Decoder,
    teacher: &mut Decoder,
    prompts: &[Prompt],
    continuations: impl Iterator<Item = &'a [u32]>,
) -> agreement::Sums {
    let mut sums = agreement::Sums::default();
    for (prompt, continuation) in prompts.iter().zip(continuations) {
        // The last token predicts nothing that is asked for.
        let read = &continuation[..continuation.len().saturating_sub(1)];
        let read = [prompt.ids.as_slice(), read].concat();
        let mut tokens = Tokens::default();
        tokens.push(&read, &vec![0; read.len()]);
        sums.add(student, teacher, &tokens, prompt.ids.len() - 1, continuation);
    }
    sums
}
