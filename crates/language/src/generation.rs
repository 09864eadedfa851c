//! Going on with prompts: one cache, into which prompts come as others finish.
//!
//! ```text
//! each step: new prompts whole, one token of every text at work → hidden → logits of the last → choice
//! choice = Sampling of (logits, draw(seed, prompt, sample, place))
//! ```
//! A text is a function of the model, its prompt, its sample number and the seed: not of the texts
//! beside it, the size of the batch or the number of threads.

use faculty_inputs::Tokens;
use faculty_nets::{Decoder, DecoderConfig, KvCache};
use faculty_random::{Purpose, draw, splitmix64, unit};
use rayon::prelude::*;

use crate::error::{LanguageError, Result};
use crate::sampling::Sampling;

/// The most bytes of the cache: fewer texts are at work at once where their prompts are long.
const MOST_CACHE: usize = 2 << 30;

/// The most bytes of one text's part of it, as far as it is used.
const MOST_OF_ONE: usize = 64 << 30;

/// What is to be gone on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// Its tokens.
    pub ids: Vec<u32>,
    /// Which of several texts with the same prompt.
    pub sample: u64,
}

/// How to go on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GenerationConfig {
    /// Most tokens that are added to a prompt.
    pub max_tokens: usize,
    /// The choice of each.
    pub sampling: Sampling,
    /// Chooses among the texts that are possible.
    pub seed: u64,
    /// Most texts at work at once, at least 1; costs memory, changes no text.
    pub batch: usize,
}

impl Default for GenerationConfig {
    fn default() -> Self {
        Self { max_tokens: 128, sampling: Sampling::default(), seed: 0, batch: 16 }
    }
}

/// Why a text ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The model chose this token, which ends texts.
    Token(u32),
    /// There are as many tokens as were asked for.
    MaxTokens,
    /// The model reads no longer texts.
    Context,
}

impl End {
    /// Its name in records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Token(_) => "end",
            Self::MaxTokens => "max_tokens",
            Self::Context => "context",
        }
    }
}

/// What was added to a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// The tokens, without the one that ended the text.
    pub ids: Vec<u32>,
    /// Why it ended.
    pub end: End,
}

/// Goes on with each prompt; gives what was added, in the prompts' order. `each` is told of every token
/// as it comes, with the number of its prompt.
///
/// # Errors
/// When a prompt is empty, too long, or has ids outside the vocabulary, or a number is out of range.
pub fn generate(
    decoder: &mut Decoder,
    prompts: &[Prompt],
    ends: &[u32],
    config: &GenerationConfig,
    mut each: impl FnMut(usize, u32),
) -> Result<Vec<Generated>> {
    check(&[decoder.config()], prompts, config.batch, &[config.sampling])?;
    let longest = decoder.config().longest;
    let limit = |prompt: &Prompt| prompt.ids.len().saturating_add(config.max_tokens).min(longest);
    let capacity = prompts.iter().map(limit).max().unwrap_or(0);
    let of_one = decoder.cache_bytes(1, capacity);
    let slots = slots(of_one, config.batch, config.max_tokens)?.min(prompts.len());
    let none = Generated { ids: Vec::new(), end: End::MaxTokens };
    let mut session = Session {
        cache: decoder.cache(slots, capacity),
        decoder,
        prompts,
        ends,
        config,
        started: 0,
        rows: Vec::new(),
        results: vec![none; prompts.len()],
        logits: Vec::new(),
    };
    if config.max_tokens > 0 {
        while session.step(&mut each) {}
    }
    Ok(session.results)
}

/// How many texts of at most `batch` are at work at once, if the keys and values of one take so many
/// bytes.
pub(crate) fn slots(of_one: usize, batch: usize, max_tokens: usize) -> Result<usize> {
    if of_one > MOST_OF_ONE {
        let (name, found) = ("max-tokens", max_tokens.to_string());
        let range = "so small that the keys and values of a text take 64 GiB at most";
        return Err(LanguageError::OutOfRange { name, found, range });
    }
    Ok((MOST_CACHE / of_one.max(1)).clamp(1, batch))
}

/// A text at work.
struct Row {
    /// Number of its prompt.
    prompt: usize,
    /// Of its tokens' draws.
    key: u64,
    /// What was added to the prompt.
    ids: Vec<u32>,
}

/// All texts, those at work in the order of the cache's rows.
struct Session<'a> {
    decoder: &'a mut Decoder,
    prompts: &'a [Prompt],
    ends: &'a [u32],
    config: &'a GenerationConfig,
    cache: KvCache,
    /// Prompts that are at work or done.
    started: usize,
    rows: Vec<Row>,
    results: Vec<Generated>,
    logits: Vec<f32>,
}

impl Session<'_> {
    /// The next token of every text at work; whether there was one.
    fn step(&mut self, each: &mut impl FnMut(usize, u32)) -> bool {
        let next = self.next_tokens();
        if next.is_empty() {
            return false;
        }
        let chosen = self.choose(&next);
        let mut finished = vec![None; self.rows.len()];
        for ((row, &id), finished) in self.rows.iter_mut().zip(&chosen).zip(&mut finished) {
            if self.ends.contains(&id) {
                *finished = Some(End::Token(id));
                continue;
            }
            row.ids.push(id);
            each(row.prompt, id);
            let tokens = self.prompts[row.prompt].ids.len() + row.ids.len();
            if row.ids.len() == self.config.max_tokens {
                *finished = Some(End::MaxTokens);
            } else if tokens > self.decoder.config().longest {
                *finished = Some(End::Context);
            }
        }
        self.cache.retain(|row| finished[row].is_none());
        let mut finished = finished.into_iter();
        self.rows.retain_mut(|row| {
            let Some(end) = finished.next().flatten() else { return true };
            self.results[row.prompt] = Generated { ids: std::mem::take(&mut row.ids), end };
            false
        });
        true
    }

    /// What is read next: the last token of the texts at work, and prompts for which there is room.
    fn next_tokens(&mut self) -> Tokens {
        let mut next = Tokens::default();
        for row in &self.rows {
            next.push(&row.ids[row.ids.len() - 1..], &[0]);
        }
        while self.cache.free() > 0 && self.started < self.prompts.len() {
            let prompt = &self.prompts[self.started];
            self.cache.begin();
            next.push(&prompt.ids, &vec![0; prompt.ids.len()]);
            self.rows.push(Row { prompt: self.started, key: key(prompt), ids: Vec::new() });
            self.started += 1;
        }
        next
    }

    /// The choice for each text behind these tokens.
    fn choose(&mut self, next: &Tokens) -> Vec<u32> {
        let (width, vocabulary) = (self.decoder.config().width, self.decoder.config().vocabulary);
        let hidden = self.decoder.next(next, &mut self.cache);
        let last = |row: usize| &hidden[(next.range(row).end - 1) * width..][..width];
        let last: Vec<f32> = (0..next.len()).flat_map(last).copied().collect();
        self.decoder.logits(&last, &mut self.logits);
        let GenerationConfig { seed, sampling, .. } = *self.config;
        let choose = |(row, logits): (&Row, &[f32])| {
            let number = draw(Purpose::Tokens, seed, row.key, row.ids.len() as u64, 0);
            sampling.choose(logits, unit(number))
        };
        self.rows.par_iter().zip(self.logits.par_chunks_exact(vocabulary)).map(choose).collect()
    }
}

/// Checks what decoders are to go on with, and how.
pub(crate) fn check(
    decoders: &[&DecoderConfig],
    prompts: &[Prompt],
    batch: usize,
    samplings: &[Sampling],
) -> Result<()> {
    samplings.iter().try_for_each(Sampling::check)?;
    if batch == 0 {
        let (name, found) = ("batch", "0".to_owned());
        return Err(LanguageError::OutOfRange { name, found, range: "1 or more" });
    }
    let longest = decoders.iter().map(|config| config.longest).min().unwrap_or(0);
    let vocabulary = decoders.iter().map(|config| config.vocabulary).min().unwrap_or(0);
    for (number, Prompt { ids, .. }) in (1..).zip(prompts) {
        if ids.is_empty() {
            return Err(LanguageError::EmptyPrompt { prompt: number });
        }
        if ids.len() > longest {
            let tokens = ids.len();
            return Err(LanguageError::LongPrompt { prompt: number, tokens, longest });
        }
        if let Some(&id) = ids.iter().find(|&&id| id as usize >= vocabulary) {
            return Err(LanguageError::Vocabulary { prompt: number, id, vocabulary });
        }
    }
    Ok(())
}

/// What names a prompt and its sample in draws: their content, not their place.
pub(crate) fn key(prompt: &Prompt) -> u64 {
    let absorb = |state: u64, &id: &u32| splitmix64(state, u64::from(id));
    splitmix64(prompt.ids.iter().fold(prompt.ids.len() as u64, absorb), prompt.sample)
}
