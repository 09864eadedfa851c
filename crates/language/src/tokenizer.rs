//! A language model's tokenizer: text to tokens and back, through the crate `tokenizers`.
//!
//! ```text
//! GGUF      `tokenizer.ggml.*`: byte-level BPE, see `gguf`
//! folder    `tokenizer.json`, as it stands there
//! ```

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::error::{LanguageError, Result};

mod gguf;
mod json;
mod to_gguf;
mod to_json;

pub(crate) use gguf::from_gguf;
pub(crate) use json::{from_folder, read};
pub(crate) use to_gguf::metadata;

/// Text to tokens and back.
pub struct TextTokenizer {
    inner: tokenizers::Tokenizer,
    /// What stands before every text, unless `inner` puts it there itself.
    begin: Option<u32>,
}

impl fmt::Debug for TextTokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TextTokenizer of {} tokens", self.inner.get_vocab_size(true))
    }
}

impl TextTokenizer {
    /// Checks what a file made.
    fn checked(mut inner: tokenizers::Tokenizer, begin: Option<u32>, path: &Path) -> Result<Self> {
        let unusable = |problem: String| LanguageError::Tokenizer {
            path: path.to_owned(),
            problem,
            fix: "get the model's files again, or save its tokenizer with a current `transformers`",
        };
        // Nothing is padded or cut, whatever a file says.
        inner
            .with_padding(None)
            .with_truncation(None)
            .map_err(|error| unusable(error.to_string()))?;
        let tokenizer = Self { inner, begin };
        // A tokenizer that cannot encode every text fails here, not in the middle of a run.
        tokenizer.encode("a \u{10fffd}漢").map_err(|error| unusable(error.to_string()))?;
        Ok(tokenizer)
    }

    /// The tokens of a text, with that which marks its beginning where the model has one.
    ///
    /// # Errors
    /// [`LanguageError::Encoding`] when the tokenizer cannot encode it.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let failed = |problem: String| LanguageError::Encoding { problem };
        let encoded = catch_unwind(AssertUnwindSafe(|| self.inner.encode_fast(text, true)));
        let encoded = encoded
            .map_err(|_| failed("it broke down".to_owned()))?
            .map_err(|error| failed(error.to_string()))?;
        Ok(self.begin.into_iter().chain(encoded.get_ids().iter().copied()).collect())
    }

    /// The text of some tokens, without those that only mark something. Bytes that are no UTF-8, as
    /// where the tokens end inside a character, become `U+FFFD`.
    ///
    /// # Errors
    /// [`LanguageError::Encoding`] when the tokenizer cannot decode them.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        let failed = |problem: String| LanguageError::Encoding { problem };
        let decoded = catch_unwind(AssertUnwindSafe(|| self.inner.decode(ids, true)));
        let decoded = decoded.map_err(|_| failed("it broke down".to_owned()))?;
        decoded.map_err(|error| failed(error.to_string()))
    }

    /// The id of a token such as `<|im_end|>`.
    #[must_use]
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Ids up to the largest that stands for a token.
    #[must_use]
    pub fn size(&self) -> usize {
        self.inner.get_vocab(true).values().max().map_or(0, |&id| id as usize + 1)
    }

    /// The token of an id, as it stands in the vocabulary.
    #[must_use]
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }
}
