//! The tokenizer in a GGUF file's metadata: byte-level BPE.
//!
//! ```text
//! tokenizer.ggml.model     "gpt2"
//! tokenizer.ggml.pre       how words are cut before merging: "smollm", "gpt-2" or "qwen2"
//! tokenizer.ggml.tokens, merges, token_type    vocabulary, "a b" each, 3 for control, 4 for words of the user
//! ```

use std::collections::HashMap;
use std::io::{Read, Seek};

use faculty_gguf::{GgufFile, Value};
use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::SplitDelimiterBehavior;
use tokenizers::{AddedToken, PreTokenizerWrapper};

use super::TextTokenizer;
use crate::error::{LanguageError, Result};

/// Qwen's cut, from its `tokenizer.json`.
pub(super) const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// The cuts that are known.
const CUTS: [&str; 4] = ["smollm", "gpt-2", "gpt2", "qwen2"];
/// Types of tokens.
pub(super) const CONTROL: u64 = 3;
pub(super) const USER_DEFINED: u64 = 4;

/// The tokenizer of a file.
pub(crate) fn from_gguf<R: Read + Seek>(file: &GgufFile<R>) -> Result<TextTokenizer> {
    let unusable = |problem: String| LanguageError::Tokenizer {
        path: file.path().to_owned(),
        problem,
        fix: "give the model as a folder with `tokenizer.json`: byte-level BPE alone is read from \
              GGUF files",
    };
    let model = file.string("tokenizer.ggml.model")?.unwrap_or_default();
    if model != "gpt2" {
        return Err(unusable(format!("`tokenizer.ggml.model` is `{model}`, known is `gpt2`")));
    }
    let cut = file.string("tokenizer.ggml.pre")?.unwrap_or("gpt-2");
    if !CUTS.contains(&cut) {
        let problem = format!("`tokenizer.ggml.pre` is `{cut}`; known are {}", CUTS.join(", "));
        return Err(unusable(problem));
    }
    let strings = |key: &str| -> Result<&[String]> {
        let array = file.required(key, file.array(key)?)?;
        let expected = || file.problem(key, "is an array of something else than strings");
        Ok(array.strings().ok_or_else(expected)?)
    };
    let (tokens, merges) = (strings("tokenizer.ggml.tokens")?, strings("tokenizer.ggml.merges")?);
    let mut vocabulary = HashMap::new();
    for (id, token) in tokens.iter().enumerate() {
        if vocabulary.insert(token.clone(), id as u32).is_some() {
            return Err(unusable(format!("token `{token}` is there twice")));
        }
    }
    let pair = |merge: &String| {
        let parts = merge.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned()));
        parts.ok_or_else(|| unusable(format!("the merge `{merge}` has no two parts")))
    };
    let merges = merges.iter().map(pair).collect::<Result<Vec<_>>>()?;
    let vocabulary = vocabulary.into_iter().collect::<tokenizers::models::bpe::Vocab>();
    let bpe = BPE::builder().vocab_and_merges(vocabulary, merges).build();
    let mut inner = tokenizers::Tokenizer::new(bpe.map_err(|error| unusable(error.to_string()))?);
    let add = |added: Vec<AddedToken>, special: bool, inner: &mut tokenizers::Tokenizer| {
        let count = if special { inner.add_special_tokens(added) } else { inner.add_tokens(added) };
        count.map_err(|error| unusable(error.to_string()))
    };
    let kinds: Vec<u64> = match file.array("tokenizer.ggml.token_type")? {
        Some(array) => array.numbers().map(|kind| Value::unsigned(&kind).unwrap_or(0)).collect(),
        None => Vec::new(),
    };
    for (kind, special) in [(CONTROL, true), (USER_DEFINED, false)] {
        let own = tokens.iter().zip(&kinds).filter(|&(_, &own)| own == kind);
        let added =
            own.map(|(token, _)| AddedToken::from(token.clone(), special).normalized(false));
        add(added.collect(), special, &mut inner)?;
    }
    let words = || ByteLevel::new(false, true, true);
    let cut: PreTokenizerWrapper = match cut {
        "smollm" => Sequence::new(vec![Digits::new(true).into(), words().into()]).into(),
        "qwen2" => {
            let pattern = SplitPattern::Regex(QWEN2.to_owned());
            let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false);
            let split = split.map_err(|error| unusable(error.to_string()))?;
            Sequence::new(vec![split.into(), ByteLevel::new(false, true, false).into()]).into()
        }
        _ => words().into(),
    };
    inner.with_pre_tokenizer(Some(cut));
    inner.with_decoder(Some(words()));
    let begins = file.bool("tokenizer.ggml.add_bos_token")?.unwrap_or(false);
    let begin = match begins {
        true => {
            let key = "tokenizer.ggml.bos_token_id";
            let id = file.required(key, file.unsigned(key)?)?;
            let known = u32::try_from(id).ok().filter(|&id| (id as usize) < tokens.len());
            Some(known.ok_or_else(|| file.problem(key, format!("is {id}, which is no token")))?)
        }
        false => None,
    };
    TextTokenizer::checked(inner, begin, file.path())
}
