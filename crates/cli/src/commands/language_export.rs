//! `faculty export` of a language model.

use std::path::Path;

use faculty_language::{TensorType, export_folder, export_gguf};
use serde_json::{Map, Value, json};

use super::shown;
use crate::arguments::{ExportOptions, Quantisation};
use crate::failure::Failure;
use crate::progress::print_json;

/// Writes the model as a GGUF file, as a folder, or as both.
pub(super) fn run(options: &ExportOptions, model: &Path) -> Result<(), Failure> {
    refuse_others(options)?;
    let mut written = Map::new();
    if let Some(path) = &options.gguf {
        let kind = match options.quantise {
            Quantisation::F32 => TensorType::F32,
            Quantisation::F16 => TensorType::F16,
            Quantisation::Q8_0 => TensorType::Q8_0,
        };
        export_gguf(model, path, kind)?;
        eprintln!("wrote {}", shown(path));
        written.insert("gguf".to_owned(), json!({ "path": path, "type": kind.name() }));
    }
    if let Some(folder) = &options.transformers {
        let files = export_folder(model, folder)?;
        files.iter().for_each(|file| eprintln!("wrote {}", shown(file)));
        written.insert("transformers".to_owned(), json!(files));
    }
    if options.json {
        print_json(&Value::Object(written));
    }
    Ok(())
}

/// What is not written of a language model.
fn refuse_others(options: &ExportOptions) -> Result<(), Failure> {
    let hint = "give `--gguf FILE` or `--transformers FOLDER`".to_owned();
    if options.gguf.is_none() && options.transformers.is_none() {
        return Err(Failure::Usage { what: "nothing to write was named".to_owned(), hint });
    }
    let given = [
        ("--onnx", options.onnx.is_some()),
        ("--safetensors", options.safetensors.is_some()),
        ("--card", options.card.is_some()),
        ("--network", options.network.is_some()),
        ("--weights-key", options.weights_key.is_some()),
        ("--size", options.size.is_some()),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((flag, _)) => {
            let what = format!("`{flag}` is not for language models");
            Err(Failure::Usage { what, hint })
        }
    }
}
