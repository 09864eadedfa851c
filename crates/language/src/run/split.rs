//! The documents of a split as tokens: to measure on, and as one stream to train on.

use faculty_nets::Decoder;
use faculty_records::language_run::LanguageQuality;

use crate::corpus::Document;
use crate::error::{LanguageError, Result};
use crate::measurement::{WindowConfig, nats_of};
use crate::tokenizer::TextTokenizer;
use xxhash_rust::xxh3::Xxh3;

/// A document that is measured.
#[derive(Debug)]
struct Text {
    ids: Vec<u32>,
    /// Of the tokens but the first.
    characters: usize,
}

/// The texts of a split that have something to predict.
#[derive(Debug, Default)]
pub(super) struct MeasuredSplit {
    texts: Vec<Text>,
}

impl MeasuredSplit {
    /// The first `most` tokens of the documents.
    pub(super) fn new(
        tokenizer: &TextTokenizer,
        documents: &[Document],
        most: usize,
    ) -> Result<Self> {
        let mut texts = Vec::new();
        let mut left = most;
        for document in documents {
            let mut ids = tokenizer.encode(&document.text)?;
            let all = ids.len();
            ids.truncate(left);
            if ids.len() < 2 {
                continue;
            }
            left -= ids.len();
            let characters = match ids.len() == all {
                true => document.text.chars().count(),
                false => tokenizer.decode(&ids)?.chars().count(),
            };
            let first = tokenizer.decode(&ids[..1])?.chars().count();
            texts.push(Text { characters: characters.saturating_sub(first).max(1), ids });
        }
        Ok(Self { texts })
    }

    /// A hash of what is measured: the same for the same tokens, whatever is left out behind them.
    pub(super) fn id(&self) -> u64 {
        let mut hash = Xxh3::new();
        for Text { ids, characters } in &self.texts {
            hash.update(&[ids.len() as u64, *characters as u64].map(u64::to_le_bytes).concat());
            ids.iter().for_each(|id| hash.update(&id.to_le_bytes()));
        }
        hash.digest()
    }

    /// Tokens of all texts.
    pub(super) fn tokens(&self) -> u64 {
        self.texts.iter().map(|own| own.ids.len() as u64).sum()
    }

    /// How well a model predicts them; nothing without texts.
    pub(super) fn measure(&self, decoder: &mut Decoder) -> Result<Option<LanguageQuality>> {
        let (mut nats, mut tokens, mut characters) = (0.0, 0, 0);
        for text in &self.texts {
            nats += nats_of(decoder, &text.ids, WindowConfig::default(), |_, _| ())?;
            tokens += text.ids.len() - 1;
            characters += text.characters;
        }
        Ok((tokens > 0).then(|| LanguageQuality {
            tokens: tokens as u64,
            nll: nats / tokens as f64,
            perplexity: (nats / tokens as f64).exp(),
            bits_per_character: nats / std::f64::consts::LN_2 / characters as f64,
        }))
    }
}

/// All documents behind one another, each with the token that ends a text where the model has one.
///
/// # Errors
/// When they are fewer than two tokens.
pub(super) fn stream(
    tokenizer: &TextTokenizer,
    documents: &[Document],
    end: Option<u32>,
) -> Result<Vec<u32>> {
    let mut stream = Vec::new();
    for document in documents {
        stream.extend(tokenizer.encode(&document.text)?);
        stream.extend(end);
    }
    match stream.len() {
        0 | 1 => Err(LanguageError::ShortText { tokens: stream.len() }),
        _ => Ok(stream),
    }
}
