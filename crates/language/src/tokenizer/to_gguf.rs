//! A `tokenizer.json` as the metadata of a GGUF file: byte-level BPE with a cut that llama.cpp knows.

use std::path::Path;

use faculty_gguf::{Array, NumberKind, Value as Metadata};
use serde_json::Value;

use super::gguf::{CONTROL, QWEN2, USER_DEFINED};
use crate::error::{LanguageError, Result};

/// Types of tokens, beside those that the reader asks for.
const NORMAL: u64 = 1;
const UNUSED: u64 = 5;

/// The keys `tokenizer.ggml.*` of a tokenizer, with a token for each of `rows` rows of the word table.
/// `path` names its file in errors.
pub(crate) fn metadata(json: &Value, rows: usize, path: &Path) -> Result<Vec<(String, Metadata)>> {
    let refuse = |problem: String| LanguageError::Tokenizer {
        path: path.to_owned(),
        problem,
        fix: "byte-level BPE with the cut of GPT-2, SmolLM or Qwen2 alone is written to GGUF files: \
              write a folder for `transformers`, and convert that with llama.cpp",
    };
    let model = &json["model"];
    // Files of older versions do not name the kind.
    let kind = model["type"].as_str().unwrap_or("BPE");
    if kind != "BPE" {
        return Err(refuse(format!("its model is `{kind}`, BPE is written")));
    }
    for key in ["byte_fallback", "ignore_merges"] {
        if model[key] == true {
            return Err(refuse(format!("`{key}` is true")));
        }
    }
    for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
        if model[key].as_str().is_some_and(|own| !own.is_empty()) {
            return Err(refuse(format!("`{key}` is {}", model[key])));
        }
    }
    let cut = cut(&json["pre_tokenizer"])
        .ok_or_else(|| refuse(format!("words are cut by {}", json["pre_tokenizer"])))?;
    let normaliser = &json["normalizer"];
    // llama.cpp leaves Qwen's normal form out; composed text has it already.
    let is_known = normaliser.is_null() || cut == "qwen2" && normaliser["type"] == "NFC";
    if !is_known {
        return Err(refuse(format!("texts are changed by {normaliser}")));
    }
    let begin = begin(&json["post_processor"])
        .ok_or_else(|| refuse(format!("texts are completed by {}", json["post_processor"])))?;
    let (tokens, kinds) = tokens(json, rows).map_err(refuse)?;
    let merges = model["merges"].as_array().map_or(&[][..], Vec::as_slice);
    let merge = |own: &Value| match own {
        Value::String(text) => Some(text.clone()),
        pair => Some(format!("{} {}", pair[0].as_str()?, pair[1].as_str()?)),
    };
    let merges = merges
        .iter()
        .map(|own| merge(own).ok_or_else(|| refuse(format!("the merge {own} has no two parts"))))
        .collect::<Result<Vec<_>>>()?;
    let kinds = kinds.iter().flat_map(|&kind| (kind as i32).to_le_bytes()).collect();
    let kinds = Array::Numbers { kind: NumberKind::I32, bytes: kinds };
    let mut pairs = vec![
        ("model", Metadata::String("gpt2".to_owned())),
        ("pre", Metadata::String(cut.to_owned())),
        ("tokens", Metadata::Array(Array::Strings(tokens))),
        ("token_type", Metadata::Array(kinds)),
        ("merges", Metadata::Array(Array::Strings(merges))),
        ("add_bos_token", Metadata::Bool(begin.is_some())),
    ];
    if let Some(begin) = begin {
        pairs.push(("bos_token_id", Metadata::Unsigned(begin)));
    }
    Ok(pairs.into_iter().map(|(key, own)| (format!("tokenizer.ggml.{key}"), own)).collect())
}

/// A token and its type for each row.
fn tokens(json: &Value, rows: usize) -> std::result::Result<(Vec<String>, Vec<u64>), String> {
    let none = serde_json::Map::new();
    let vocab = json["model"]["vocab"].as_object().unwrap_or(&none);
    let mut own: Vec<Option<(String, u64)>> = vec![None; rows];
    let mut put = |id: Option<u64>, token: &str, kind: u64| {
        let row = id.and_then(|id| usize::try_from(id).ok()).and_then(|id| own.get_mut(id));
        let row =
            row.ok_or_else(|| format!("token `{token}` is beyond the {rows} rows of words"))?;
        *row = Some((token.to_owned(), kind));
        Ok::<_, String>(())
    };
    for (token, id) in vocab {
        put(id.as_u64(), token, NORMAL)?;
    }
    for added in json["added_tokens"].as_array().map_or(&[][..], Vec::as_slice) {
        let kind = if added["special"] == true { CONTROL } else { USER_DEFINED };
        put(added["id"].as_u64(), added["content"].as_str().unwrap_or_default(), kind)?;
    }
    let named = own.into_iter().enumerate().map(|(id, own)| {
        // Rows without a token, by which tables are filled up.
        own.unwrap_or_else(|| (format!("[PAD{id}]"), UNUSED))
    });
    Ok(named.unzip())
}

/// llama.cpp's name of a cut.
fn cut(json: &Value) -> Option<&'static str> {
    let is_byte_level = |own: &Value, cuts: bool| {
        own["type"] == "ByteLevel"
            && own["add_prefix_space"] == false
            && own["use_regex"].as_bool().unwrap_or(true) == cuts
    };
    if is_byte_level(json, true) {
        return Some("gpt-2");
    }
    let [first, second] = json["pretokenizers"].as_array()?.as_slice() else { return None };
    let is_digits = first["type"] == "Digits" && first["individual_digits"] == true;
    let is_qwen2 = first["type"] == "Split"
        && first["pattern"]["Regex"] == QWEN2
        && first["behavior"] == "Isolated"
        && first["invert"] != true;
    match (is_digits, is_qwen2) {
        (true, _) if is_byte_level(second, true) => Some("smollm"),
        (_, true) if is_byte_level(second, false) => Some("qwen2"),
        _ => None,
    }
}

/// What is put before every text; `None` if more is done to it than that.
fn begin(json: &Value) -> Option<Option<u64>> {
    match json["type"].as_str() {
        None | Some("ByteLevel") => Some(None),
        Some("TemplateProcessing") => {
            let single = json["single"].as_array()?;
            let is_text = |own: &Value| own["Sequence"]["id"] == "A";
            match single.as_slice() {
                [text] if is_text(text) => Some(None),
                [special, text] if is_text(text) => {
                    let name = special["SpecialToken"]["id"].as_str()?;
                    let ids = json["special_tokens"][name]["ids"].as_array()?;
                    let [id] = ids.as_slice() else { return None };
                    Some(Some(id.as_u64()?))
                }
                _ => None,
            }
        }
        // Llama 3's: byte level, then a template.
        Some("Sequence") => {
            let mut all = json["processors"].as_array()?.iter().map(begin);
            all.try_fold(None, |own: Option<u64>, next| next.map(|next| own.or(next)))
        }
        Some(_) => None,
    }
}
