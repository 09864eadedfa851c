//! Language models for other programs: a GGUF file for llama.cpp, a folder for `transformers`.

use std::path::{Path, PathBuf};

use faculty_files::{NewFile, write_atomically};
use faculty_gguf::{GgufFile, TensorType, Value};
use faculty_nets::{decoder_gguf, is_gguf, load_decoder, save_decoder};
use serde_json::json;

use crate::error::{LanguageError, Result};
use crate::model::ends_in;
use crate::tokenizer::{from_folder, from_gguf, metadata, read};

/// What all keys of a tokenizer in GGUF files begin with.
const TOKENIZER: &str = "tokenizer.";
/// Files of a folder that say more of its tokenizer and of how texts end, and are copied as they are.
const BESIDE: [&str; 4] = [
    "tokenizer_config.json",
    "special_tokens_map.json",
    "generation_config.json",
    "chat_template.jinja",
];

/// Writes a model, a GGUF file or a folder, as one GGUF file with its tokenizer. Matrices are written
/// as `kind`: F32, F16 or Q8_0.
///
/// # Errors
/// When the model cannot be read, is of a kind that a GGUF file cannot describe, or the file cannot be
/// written; nothing is at `to` then that was not there before.
///
/// # Panics
/// If `kind` is a type that is not written.
pub fn export_gguf(from: &Path, to: &Path, kind: TensorType) -> Result<()> {
    let network = load_decoder(from)?;
    let mut writer = decoder_gguf(&network, kind)?;
    let rows = network.graph().decoder().map_or(0, |config| config.vocabulary);
    for (key, value) in tokenizer_of(from, rows)? {
        writer = writer.with(&key, value);
    }
    let failed = |source| LanguageError::Write { path: to.to_owned(), source };
    let mut file = NewFile::create(to).map_err(failed)?;
    writer.write(&mut file).map_err(failed)?;
    file.finish().map_err(failed)
}

/// Metadata of a model's tokenizer.
fn tokenizer_of(from: &Path, rows: usize) -> Result<Vec<(String, Value)>> {
    if is_gguf(from) {
        let file = GgufFile::open(from)?;
        // One that is not read is not written either.
        from_gguf(&file)?;
        let pairs = file.metadata().iter().filter(|(key, _)| key.starts_with(TOKENIZER));
        return Ok(pairs.map(|(key, value)| (key.clone(), value.clone())).collect());
    }
    let folder = folder_of(from);
    let tokenizer = from_folder(folder)?;
    let path = folder.join("tokenizer.json");
    let unusable = |error: serde_json::Error| LanguageError::Tokenizer {
        path: path.clone(),
        problem: error.to_string(),
        fix: "save it again with a current `transformers`: `tokenizer.save_pretrained(FOLDER)`",
    };
    let json = serde_json::from_str(&tokenizer.to_json()?).map_err(unusable)?;
    let mut pairs = metadata(&json, rows, &path)?;
    let keys = ["eos_token_id", "eot_token_id", "eom_token_id"];
    for (key, id) in keys.into_iter().zip(ends_in(folder)) {
        pairs.push((format!("tokenizer.ggml.{key}"), Value::Unsigned(id.into())));
    }
    for (key, there) in [("bos_token_id", "bos_token_id"), ("pad_token_id", "padding_token_id")] {
        let there = format!("tokenizer.ggml.{there}");
        if let Some(id) = id_in(folder, key)
            && pairs.iter().all(|(own, _)| *own != there)
        {
            pairs.push((there, Value::Unsigned(id)));
        }
    }
    if let Some(template) = chat_template(folder) {
        pairs.push(("tokenizer.chat_template".to_owned(), Value::String(template)));
    }
    Ok(pairs)
}

/// The id of a token that `generation_config.json`, or else `config.json`, names.
fn id_in(folder: &Path, key: &str) -> Option<u64> {
    ["generation_config.json", "config.json"].into_iter().find_map(|name| {
        let bytes = read(&folder.join(name)).ok()?;
        let json: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
        json[key].as_u64()
    })
}

/// The template of chats, where newer and older folders have it.
fn chat_template(folder: &Path) -> Option<String> {
    if let Ok(bytes) = read(&folder.join("chat_template.jinja")) {
        return String::from_utf8(bytes).ok();
    }
    let bytes = read(&folder.join("tokenizer_config.json")).ok()?;
    let json: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
    json["chat_template"].as_str().map(str::to_owned)
}

/// Writes a model, a GGUF file or a folder, as a folder that `transformers` opens: `config.json`,
/// `model.safetensors`, `tokenizer.json`, `generation_config.json`, and of a folder what else it says of
/// its tokenizer. Gives the files.
///
/// # Errors
/// When the model cannot be read, or a file cannot be written.
pub fn export_folder(from: &Path, folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut write = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        let failed = |source| LanguageError::Write { path: path.clone(), source };
        write_atomically(&path, bytes).map_err(failed)?;
        files.push(path);
        Ok::<_, LanguageError>(())
    };
    let network = load_decoder(from)?;
    if is_gguf(from) {
        let file = GgufFile::open(from)?;
        let tokenizer = from_gguf(&file)?;
        save_decoder(&network, folder)?;
        write("tokenizer.json", tokenizer.to_json()?.as_bytes())?;
        let id = |key: &str| file.unsigned(&format!("{TOKENIZER}ggml.{key}_token_id"));
        let mut generation = json!({});
        for (own, there) in [("bos", "bos"), ("eos", "eos"), ("pad", "padding")] {
            if let Some(id) = id(there)? {
                generation[format!("{own}_token_id")] = json!(id);
            }
        }
        let ends: Vec<u64> =
            ["eos", "eot", "eom"].iter().filter_map(|key| id(key).ok().flatten()).collect();
        if ends.len() > 1 {
            generation["eos_token_id"] = json!(ends);
        }
        write("generation_config.json", format!("{generation:#}\n").as_bytes())?;
        if let Some(template) = file.string("tokenizer.chat_template")? {
            write("chat_template.jinja", template.as_bytes())?;
        }
        let config = json!({ "tokenizer_class": "PreTrainedTokenizerFast" });
        write("tokenizer_config.json", format!("{config:#}\n").as_bytes())?;
    } else {
        let own = folder_of(from);
        let ends = ends_in(own);
        let beside = BESIDE.map(|name| (name, read(&own.join(name)).ok()));
        let tokenizer = from_folder(own)?;
        save_decoder(&network, folder)?;
        write("tokenizer.json", tokenizer.to_json()?.as_bytes())?;
        let has_ends = beside[2].1.is_some();
        for (name, bytes) in beside {
            if let Some(bytes) = bytes {
                write(name, &bytes)?;
            }
        }
        // `config.json` is written anew, without them.
        if !has_ends && !ends.is_empty() {
            let generation = json!({ "eos_token_id": ends });
            write("generation_config.json", format!("{generation:#}\n").as_bytes())?;
        }
    }
    files.extend(["config.json", "model.safetensors"].map(|name| folder.join(name)));
    files.sort();
    Ok(files)
}

/// The folder of a model that is no GGUF file.
fn folder_of(path: &Path) -> &Path {
    if path.is_dir() { path } else { path.parent().unwrap_or(path) }
}
