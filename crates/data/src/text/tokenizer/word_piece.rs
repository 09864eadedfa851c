//! BERT's WordPiece from a list of its tokens.
//!
//! ```text
//! vocab.txt        one token a line; the line's number, from 0, is its id
//! settings         of `tokenizer_config.json`, else of `config.json`, beside it:
//!                  do_lower_case, strip_accents, tokenize_chinese_chars, tokenizer_class,
//!                  unk_token, cls_token, sep_token, pad_token, mask_token
//! ```
//!
//! Without `do_lower_case` the vocabulary decides: one that has no capital letter can spell none.
//! Devlin et al., NAACL 2019, <https://arxiv.org/abs/1810.04805>.

use std::path::Path;

use serde_json::Value;
use sha2::{Digest, Sha256};
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::{AddedToken, Tokenizer};

use crate::DataError;
use crate::files::read_regular;
use crate::listing::MOST_NAMES_BYTES;

/// Tokenizers of `transformers` that are BERT's, by the start of their names.
const CLASSES: [&str; 6] = ["Bert", "DistilBert", "Electra", "MobileBert", "ConvBert", "RetriBert"];

/// What the files beside a vocabulary say.
#[derive(Debug)]
struct Settings {
    lowercase: bool,
    strip_accents: Option<bool>,
    chinese: bool,
    /// Unknown, start, end, padding, mask.
    special: [String; 5],
}

/// The tokenizer of a `vocab.txt`; adds to the hash what it is made from.
pub(super) fn from_vocabulary(
    path: &Path,
    bytes: &[u8],
    hash: &mut Sha256,
) -> Result<Tokenizer, DataError> {
    let wrong = |problem: String, fix: &str| DataError::Tokenizer {
        path: path.to_owned(),
        problem,
        fix: fix.to_owned(),
    };
    let vocabulary = WordPiece::read_bytes(bytes)
        .map_err(|source| wrong(source.to_string(), "it must be UTF-8: fetch it again"))?;
    let settings = Settings::read(path, vocabulary.keys())?;
    hash.update(bytes);
    hash.update(format!("{settings:?}"));
    let [unknown, start, end, ..] = &settings.special;
    let id = |token: &String| {
        vocabulary.get(token).copied().ok_or_else(|| {
            wrong(
                format!("there is no token `{token}`, so it is not of BERT"),
                "give the tokenizer's `tokenizer.json`",
            )
        })
    };
    let (start, end) = ((start.clone(), id(start)?), (end.clone(), id(end)?));
    id(unknown)?;
    let known: Vec<AddedToken> = settings
        .special
        .iter()
        .filter(|&token| vocabulary.contains_key(token))
        .map(|token| AddedToken::from(token.clone(), true))
        .collect();
    let crates = |source: tokenizers::Error| wrong(source.to_string(), "give `tokenizer.json`");
    let model = WordPiece::builder()
        .vocab(vocabulary)
        .unk_token(unknown.clone())
        .build()
        .map_err(crates)?;
    let mut tokenizer = Tokenizer::new(model);
    let normalizer =
        BertNormalizer::new(true, settings.chinese, settings.strip_accents, settings.lowercase);
    tokenizer.with_normalizer(Some(normalizer)).map_err(crates)?;
    tokenizer
        .with_pre_tokenizer(Some(BertPreTokenizer))
        .with_post_processor(Some(BertProcessing::new(end, start)));
    tokenizer.add_special_tokens(known).map_err(crates)?;
    Ok(tokenizer)
}

impl Settings {
    fn read<'a>(
        vocabulary_path: &Path,
        vocabulary: impl Iterator<Item = &'a String>,
    ) -> Result<Self, DataError> {
        let mut files = Vec::new();
        for name in ["tokenizer_config.json", "config.json"] {
            let path = vocabulary_path.with_file_name(name);
            if path.is_file() {
                let bytes = read_regular(&path, MOST_NAMES_BYTES)?;
                let value: Value =
                    serde_json::from_slice(&bytes).map_err(|source| DataError::Tokenizer {
                        path: path.clone(),
                        problem: format!("it is not valid JSON: {source}"),
                        fix: "fetch it again".to_owned(),
                    })?;
                files.push(value);
            }
        }
        let find = |key: &str| files.iter().find_map(|file| file.get(key));
        let class = find("tokenizer_class").and_then(Value::as_str).unwrap_or("Bert");
        if !CLASSES.iter().any(|known| class.starts_with(known)) {
            return Err(DataError::Tokenizer {
                path: vocabulary_path.to_owned(),
                problem: format!("`vocab.txt` of a `{class}` is not read, of BERT alone"),
                fix: "give its `tokenizer.json`".to_owned(),
            });
        }
        // But for the special ones, such as `[CLS]`.
        let mut words = vocabulary.filter(|token| !token.starts_with('['));
        let has_capitals = words.any(|token| token.chars().any(char::is_uppercase));
        let special = |key: &str, usual: &str| match find(key) {
            // A token with settings of its own.
            Some(Value::Object(token)) => {
                token.get("content").and_then(Value::as_str).unwrap_or(usual).to_owned()
            }
            Some(Value::String(token)) => token.clone(),
            _ => usual.to_owned(),
        };
        let flag = |key: &str| find(key).and_then(Value::as_bool);
        Ok(Self {
            lowercase: flag("do_lower_case").unwrap_or(!has_capitals),
            strip_accents: flag("strip_accents"),
            chinese: flag("tokenize_chinese_chars").unwrap_or(true),
            special: [
                special("unk_token", "[UNK]"),
                special("cls_token", "[CLS]"),
                special("sep_token", "[SEP]"),
                special("pad_token", "[PAD]"),
                special("mask_token", "[MASK]"),
            ],
        })
    }
}
