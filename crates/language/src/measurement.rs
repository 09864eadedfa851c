//! How well a model predicts a text.
//!
//! ```text
//! nats       = sum over scored tokens of -ln p(token | the tokens before it in its window)
//! perplexity = exp(nats / scored tokens)          bits per character = nats / ln 2 / scored characters
//! ```
//! Windows overlap, so that every token but the first of the text is scored once, with at least
//! `overlap` tokens before it wherever the text has them.

use faculty_inputs::Tokens;
use faculty_nets::Decoder;

use crate::error::{LanguageError, Result};
use crate::model::LanguageModel;

/// Rows of logits made at once.
const ROWS: usize = 64;

/// How a long text is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowConfig {
    /// Tokens that the model sees at once, at least 2. Of a model that reads fewer, those; windows
    /// overlap by half of them at most then.
    pub window: usize,
    /// Tokens that a window shares with the one before, 1 to `window - 1`.
    pub overlap: usize,
}

impl Default for WindowConfig {
    fn default() -> Self {
        Self { window: 512, overlap: 256 }
    }
}

/// What a model says of a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measurement {
    /// Tokens that were scored: all but the first.
    pub tokens: usize,
    /// Characters (Unicode scalar values) of the text behind its first token.
    pub characters: usize,
    /// The sum of their surprises.
    pub nats: f64,
}

impl Measurement {
    /// Of a token: what a choice among so many equally likely ones would have.
    #[must_use]
    pub fn perplexity(&self) -> f64 {
        (self.nats / self.tokens as f64).exp()
    }

    /// Comparable between models of different vocabularies.
    #[must_use]
    pub fn bits_per_character(&self) -> f64 {
        self.nats / std::f64::consts::LN_2 / self.characters as f64
    }
}

/// Measures a text; `progress` is told how many of how many tokens are scored.
///
/// # Errors
/// When the text has fewer than two tokens, or a number is out of range.
pub fn measure(
    model: &mut LanguageModel,
    text: &str,
    config: WindowConfig,
    progress: impl FnMut(usize, usize),
) -> Result<Measurement> {
    config.check()?;
    let ids = model.tokenizer.encode(text)?;
    let nats = nats_of(&mut model.decoder, &ids, config, progress)?;
    let first = model.tokenizer.decode(&ids[..1])?.chars().count();
    let characters = text.chars().count().saturating_sub(first).max(1);
    Ok(Measurement { tokens: ids.len() - 1, characters, nats })
}

/// The surprises of all tokens but the first, added up.
///
/// # Errors
/// As [`measure`].
pub(crate) fn nats_of(
    decoder: &mut Decoder,
    ids: &[u32],
    config: WindowConfig,
    mut progress: impl FnMut(usize, usize),
) -> Result<f64> {
    config.check()?;
    let longest = decoder.config().longest;
    let (window, overlap) = match config.window <= longest {
        true => (config.window, config.overlap),
        false => (longest, config.overlap.min(longest / 2).max(1)),
    };
    if window < 2 {
        return refuse("window", window, "2 or more; the model reads no more at once");
    }
    let vocabulary = decoder.config().vocabulary;
    if let Some(&id) = ids.iter().find(|&&id| id as usize >= vocabulary) {
        return Err(LanguageError::Vocabulary { prompt: 1, id, vocabulary });
    }
    if ids.len() < 2 {
        return Err(LanguageError::ShortText { tokens: ids.len() });
    }
    let width = decoder.config().width;
    let (mut nats, mut scored, mut start, mut logits) = (0.0, 1, 0, Vec::new());
    while scored < ids.len() {
        let end = ids.len().min(start + window);
        let mut tokens = Tokens::default();
        tokens.push(&ids[start..end], &vec![0; end - start]);
        let hidden = decoder.hidden(&tokens).to_vec();
        // The value of a token predicts the one behind it.
        let rows = &hidden[(scored - 1 - start) * width..(end - 1 - start) * width];
        for (rows, labels) in rows.chunks(ROWS * width).zip(ids[scored..end].chunks(ROWS)) {
            decoder.logits(rows, &mut logits);
            let pairs = logits.chunks_exact(vocabulary).zip(labels);
            nats += pairs.map(|(logits, &label)| surprise(logits, label)).sum::<f64>();
        }
        scored = end;
        progress(scored - 1, ids.len() - 1);
        start = end.saturating_sub(overlap);
    }
    Ok(nats)
}

impl WindowConfig {
    fn check(self) -> Result<()> {
        if self.window < 2 {
            return refuse("window", self.window, "2 or more");
        }
        if !(1..self.window).contains(&self.overlap) {
            return refuse("overlap", self.overlap, "1 or more, and less than the window");
        }
        Ok(())
    }
}

fn refuse<T>(name: &'static str, found: usize, range: &'static str) -> Result<T> {
    Err(LanguageError::OutOfRange { name, found: found.to_string(), range })
}

/// `-ln p(label)`
fn surprise(logits: &[f32], label: u32) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&z| f64::from((z - max).exp())).sum();
    f64::from(max) + sum.ln() - f64::from(logits[label as usize])
}
