//! A decoder with its tokenizer.

use std::path::Path;

use faculty_gguf::GgufFile;
use faculty_nets::{Decoder, Network, is_gguf, load_decoder};
use serde_json::Value;

use crate::error::{LanguageError, Result};
use crate::tokenizer::{TextTokenizer, from_folder, from_gguf, read};
use crate::vocabulary::other_tokens;

/// A language model, opened.
#[derive(Debug)]
pub struct LanguageModel {
    /// The frozen network.
    pub decoder: Decoder,
    /// Its tokenizer.
    pub tokenizer: TextTokenizer,
    /// Tokens that end a text.
    pub ends: Vec<u32>,
}

/// Keys of the tokens that end a text or a turn.
const ENDS: [&str; 3] =
    ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"];

impl LanguageModel {
    /// Opens a GGUF file, or a folder with `config.json`, weights and `tokenizer.json` (or its file of
    /// weights).
    ///
    /// # Errors
    /// When network or tokenizer cannot be read, or are of a kind that is not known.
    pub fn open(path: &Path) -> Result<Self> {
        let (network, tokenizer, ends) = Self::parts(path)?;
        Ok(Self { decoder: Decoder::new(&network), tokenizer, ends })
    }

    /// The network, its tokenizer and the tokens that end a text: what training needs.
    ///
    /// # Errors
    /// As [`LanguageModel::open`].
    pub fn parts(path: &Path) -> Result<(Network, TextTokenizer, Vec<u32>)> {
        // The tokenizer first: it fails at once where weights take seconds.
        let (tokenizer, ends) = Self::tokenizer(path)?;
        Ok((load_decoder(path)?, tokenizer, ends))
    }

    /// The tokenizer of a model and the tokens that end a text, without its weights.
    ///
    /// # Errors
    /// As [`LanguageModel::open`].
    pub fn tokenizer(path: &Path) -> Result<(TextTokenizer, Vec<u32>)> {
        if let Err(source) = std::fs::metadata(path) {
            return Err(LanguageError::Read { path: path.to_owned(), source });
        }
        let (tokenizer, mut ends) = if is_gguf(path) {
            let file = GgufFile::open(path)?;
            let mut ends = Vec::new();
            for key in ENDS {
                ends.extend(file.unsigned(key)?.and_then(|id| u32::try_from(id).ok()));
            }
            (from_gguf(&file)?, ends)
        } else {
            let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
            (from_folder(folder)?, ends_in(folder))
        };
        ends.sort_unstable();
        ends.dedup();
        Ok((tokenizer, ends))
    }

    /// Checks that the ids of a teacher stand for the same tokens.
    ///
    /// # Errors
    /// [`LanguageError::Vocabularies`] or [`LanguageError::OtherTokens`].
    pub fn check_tokens_of(&self, teacher: &Self) -> Result<()> {
        let [own, other] = [self, teacher].map(|model| model.decoder.config().vocabulary);
        if own != other {
            return Err(LanguageError::Vocabularies { student: own, teacher: other });
        }
        let ids = other_tokens((&self.tokenizer, own), (&teacher.tokenizer, other));
        let Some(&first) = ids.first() else { return Ok(()) };
        let name = |model: &Self| model.tokenizer.token(first).unwrap_or_default();
        Err(LanguageError::OtherTokens {
            differ: ids.len(),
            vocabulary: own,
            first,
            student: name(self),
            teacher: name(teacher),
        })
    }
}

/// What `generation_config.json`, or else `config.json`, says of the end of texts.
pub(crate) fn ends_in(folder: &Path) -> Vec<u32> {
    for name in ["generation_config.json", "config.json"] {
        let Ok(bytes) = read(&folder.join(name)) else { continue };
        let Ok(json) = serde_json::from_slice::<Value>(&bytes) else { continue };
        let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
        let ids: Vec<u32> = match &json["eos_token_id"] {
            Value::Array(ids) => ids.iter().filter_map(id).collect(),
            value => id(value).into_iter().collect(),
        };
        if !ids.is_empty() {
            return ids;
        }
    }
    Vec::new()
}
