//! A text encoder as a folder that Hugging Face's `transformers` opens.
//!
//! ```text
//! config.json, model.safetensors        AutoModelForSequenceClassification.from_pretrained(FOLDER)
//! tokenizer.json, tokenizer_config.json AutoTokenizer.from_pretrained(FOLDER)
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use faculty_files::{failed, write_atomically};
use faculty_nets::weights::write;
use faculty_nets::{EncoderFamily, Pooling};

use crate::error::{Error, Result};
use crate::student::FinishedStudent;

/// Writes the folder and gives its files.
///
/// # Errors
/// When the student is no text encoder, has no tokenizer, ends in a head that `transformers` does not
/// know, or a file cannot be written.
pub fn export_transformers(student: &FinishedStudent, folder: &Path) -> Result<Vec<PathBuf>> {
    let refuse = |reason, hint| Err(Error::Student { path: student.path.clone(), reason, hint });
    let Some(encoder) = student.network.graph().encoder() else {
        return refuse("it reads images", "write it with `--onnx` or `--safetensors`");
    };
    if encoder.family == EncoderFamily::Bag {
        return refuse(
            "`transformers` has no bag of word vectors",
            "write it with `--safetensors`",
        );
    }
    if encoder.pooling != Pooling::First {
        return refuse(
            "`transformers` classifies by the first token, this student by all of them",
            "train it with `student.pooling = \"first\"`, or write it with `--safetensors`",
        );
    }
    let Some(tokenizer) = &student.tokenizer else {
        return refuse(
            "no `tokenizer.json` lies beside it",
            "give the folder of its run, or put its tokenizer beside it",
        );
    };
    fs::create_dir_all(folder).map_err(failed("create", folder))?;
    let file = |name: &str| folder.join(name);
    let weights = file("model.safetensors");
    // Without this word `transformers` does not read the file.
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    write(&weights, &student.network.state_dict(), &metadata)?;
    let [cls, sep, pad, unk, mask] = match tokenizer.id("[CLS]") {
        Some(_) => ["[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]"],
        // RoBERTa's names.
        None => ["<s>", "</s>", "<pad>", "<unk>", "<mask>"],
    };
    let settings = serde_json::json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": tokenizer.max_tokens(),
        "cls_token": cls,
        "sep_token": sep,
        "pad_token": pad,
        "unk_token": unk,
        "mask_token": mask,
    });
    let texts = [
        ("config.json", encoder.to_json(&student.class_names)),
        ("tokenizer.json", tokenizer.to_json(&file("tokenizer.json"))?),
        ("tokenizer_config.json", format!("{settings:#}\n")),
    ];
    let mut written = vec![weights];
    for (name, text) in texts {
        let path = file(name);
        write_atomically(&path, text.as_bytes()).map_err(failed("write", &path))?;
        written.push(path);
    }
    Ok(written)
}
