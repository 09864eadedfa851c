//! A decoder's folder as `save_pretrained` writes it: `config.json` beside the weights, in one file or
//! in several with an index.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use faculty_files::{NotReadable, open_regular};
use serde_json::Value;

use crate::decoder_config::{DecoderConfig, DecoderFamily, refuse};
use crate::error::{Error, Result};
use crate::network::Network;
use crate::weights::{StateDict, WeightFile};

/// Weight files, in the order in which they are looked for.
const WEIGHTS: [&str; 3] = ["model.safetensors", "pytorch_model.bin", "student.safetensors"];
/// Which file has which tensor, where there are several.
const INDEX: &str = "model.safetensors.index.json";
/// The largest JSON file.
const MOST_BYTES: u64 = 64 << 20;

/// Its settings.
pub(super) fn config(path: &Path) -> Result<DecoderConfig> {
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
    let file = folder.join("config.json");
    DecoderConfig::from_json(&read(&file)?).map_err(|error| match error {
        Error::DecoderConfig { problem } => refuse(format!("{problem} (`{}`)", file.display())),
        other => other,
    })
}

/// The decoder in a folder, or in a file with its `config.json` beside it.
pub(super) fn load(path: &Path) -> Result<Network> {
    if let Err(source) = std::fs::metadata(path) {
        return Err(Error::Read { path: path.to_owned(), source });
    }
    let files = match path.is_dir() {
        true => weights_in(path)?,
        false => vec![path.to_owned()],
    };
    let mut config = config(path)?;
    let mut state = StateDict::new();
    for file in &files {
        state.append(&mut WeightFile::open(file, None)?.read_all()?);
    }
    let mut state = named(state);
    // A head that is tied may be written out too.
    if config.tied && state.contains_key("lm_head.weight") {
        let [words, head] =
            ["model.embed_tokens.weight", "lm_head.weight"].map(|name| &state[name]);
        config.tied = words == head;
        if config.tied {
            state.remove("lm_head.weight");
        }
    }
    let file = files.first().map_or(path, PathBuf::as_path);
    Network::of_state(config.family.name(), config.graph()?, state, file)
}

/// Whether the `config.json` of a folder, or beside a file of weights, is of a decoder.
pub(super) fn names_one(path: &Path) -> bool {
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
    let json = read(&folder.join("config.json")).ok();
    let json = json.and_then(|text| serde_json::from_str::<Value>(&text).ok());
    let name = json.as_ref().and_then(|json| json["model_type"].as_str());
    name.and_then(DecoderFamily::of).is_some()
}

/// The tensors under the names of the graph.
fn named(state: StateDict) -> StateDict {
    let bare = state.contains_key("embed_tokens.weight");
    let kept = state.into_iter().filter(|(name, _)| !name.ends_with("rotary_emb.inv_freq"));
    let named = kept.map(|(name, array)| match bare && name != "lm_head.weight" {
        true => (format!("model.{name}"), array),
        false => (name, array),
    });
    named.collect()
}

fn weights_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let found = WEIGHTS.iter().map(|name| folder.join(name)).find(|file| file.is_file());
    if let Some(file) = found {
        return Ok(vec![file]);
    }
    let index = folder.join(INDEX);
    if !index.is_file() {
        return Err(Error::NoDecoderWeights { folder: folder.to_owned() });
    }
    let refuse = |problem: String| refuse(format!("{problem} (`{}`)", index.display()));
    let json: Value =
        serde_json::from_str(&read(&index)?).map_err(|error| refuse(error.to_string()))?;
    let map = json["weight_map"].as_object();
    let map = map.ok_or_else(|| refuse("`weight_map` is missing".to_owned()))?;
    let names: BTreeSet<&str> = map.values().filter_map(Value::as_str).collect();
    if names.is_empty() {
        return Err(refuse("`weight_map` names no file".to_owned()));
    }
    // A folder of a stranger may not lead out of itself.
    if let Some(odd) = names.iter().find(|name| Path::new(name).file_name() != Some(name.as_ref()))
    {
        return Err(refuse(format!("`weight_map` names `{odd}`, which is no file of this folder")));
    }
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

fn read(path: &Path) -> Result<String> {
    let read_error = |source| Error::Read { path: path.to_owned(), source };
    let (file, _) = open_regular(path).map_err(|error| match error {
        NotReadable::Io(source) => read_error(source),
        other => read_error(std::io::Error::other(other.to_string())),
    })?;
    let mut text = String::new();
    file.take(MOST_BYTES).read_to_string(&mut text).map_err(read_error)?;
    Ok(text)
}
