//! An encoder's folder as `save_pretrained` writes it, or a run's: `config.json` beside the weights.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use faculty_files::{NotReadable, open_regular};
use serde_json::Value;

use crate::encoder_config::{EncoderConfig, Pooling};
use crate::error::{Error, Result};

/// Weight files, in the order in which they are looked for.
const WEIGHTS: [&str; 3] = ["model.safetensors", "pytorch_model.bin", "student.safetensors"];
/// The largest `config.json`.
const MOST_BYTES: u64 = 16 << 20;

/// Where the parts of an encoder are, and what its `config.json` says.
#[derive(Clone, Debug)]
pub struct EncoderFolder {
    /// Sizes and settings.
    pub config: EncoderConfig,
    /// Whether `config.json` or a sentence encoder's `1_Pooling` says how tokens become one vector.
    pub says_pooling: bool,
    /// The weights.
    pub weights: PathBuf,
    /// The folder, in which a tokenizer may be.
    pub folder: PathBuf,
    /// Names of the classes, unless they are only numbers.
    pub classes: Option<Vec<String>>,
}

impl EncoderFolder {
    /// Reads what stands in a folder, or beside a file of weights.
    ///
    /// # Errors
    /// When there are no weights or no `config.json`, or this says something that is not known.
    pub fn open(path: &Path) -> Result<Self> {
        if let Err(source) = std::fs::metadata(path) {
            return Err(Error::Read { path: path.to_owned(), source });
        }
        let (folder, weights) = match path.is_dir() {
            true => (path.to_owned(), Self::weights_in(path)?),
            false => (path.parent().unwrap_or(Path::new("")).to_owned(), path.to_owned()),
        };
        let (file, json) = read_json(&folder.join("config.json"))?;
        let refuse = |problem: String| Error::EncoderConfig {
            problem: format!("{problem} (`{}`)", file.display()),
        };
        let mut config = EncoderConfig::from_json(&json).map_err(|error| match error {
            Error::EncoderConfig { problem } => refuse(problem),
            other => other,
        })?;
        let json: Value = serde_json::from_str(&json).map_err(|error| refuse(error.to_string()))?;
        let mut says_pooling = json.get("pooling").is_some();
        let pooling = folder.join("1_Pooling").join("config.json");
        if !says_pooling && pooling.is_file() {
            let (file, text) = read_json(&pooling)?;
            config.pooling = sentence_pooling(&text).ok_or_else(|| Error::EncoderConfig {
                problem: format!("neither mean nor first token pools (`{}`)", file.display()),
            })?;
            says_pooling = true;
        }
        Ok(Self { config, says_pooling, weights, folder, classes: class_names(&json) })
    }

    /// The weights in a folder.
    ///
    /// # Errors
    /// [`Error::NoEncoderWeights`].
    pub fn weights_in(folder: &Path) -> Result<PathBuf> {
        let found = WEIGHTS.iter().map(|name| folder.join(name)).find(|file| file.is_file());
        found.ok_or_else(|| Error::NoEncoderWeights { folder: folder.to_owned() })
    }
}

fn read_json(path: &Path) -> Result<(PathBuf, String)> {
    let read_error = |source| Error::Read { path: path.to_owned(), source };
    let mut text = String::new();
    let (file, _) = open_regular(path).map_err(|error| match error {
        NotReadable::Io(source) => read_error(source),
        other => read_error(std::io::Error::other(other.to_string())),
    })?;
    file.take(MOST_BYTES).read_to_string(&mut text).map_err(read_error)?;
    Ok((path.to_owned(), text))
}

/// What a sentence encoder's `1_Pooling/config.json` says.
fn sentence_pooling(text: &str) -> Option<Pooling> {
    let json: Value = serde_json::from_str(text).ok()?;
    let says = |key: &str| json[key].as_bool() == Some(true);
    let modes = json.as_object()?.iter();
    let count = modes.filter(|(k, v)| k.starts_with("pooling_mode_") && **v == true).count();
    match (count, says("pooling_mode_mean_tokens"), says("pooling_mode_cls_token")) {
        (1, true, _) => Some(Pooling::Mean),
        (1, _, true) => Some(Pooling::First),
        _ => None,
    }
}

/// The names in `id2label`, in the order of their numbers; none where they are `LABEL_0` and so on.
fn class_names(json: &Value) -> Option<Vec<String>> {
    let map = json["id2label"].as_object()?;
    let name = |id: usize| map.get(&id.to_string())?.as_str().map(str::to_owned);
    let names: Option<Vec<String>> = (0..map.len()).map(name).collect();
    let numbered = |(id, name): (usize, &String)| *name == format!("LABEL_{id}");
    names.filter(|names| !names.iter().enumerate().all(numbered))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::EncoderFamily;

    #[test]
    fn a_folder_tells_sizes_pooling_and_class_names() {
        let folder = tempfile::tempdir().unwrap();
        let error = EncoderFolder::open(folder.path()).unwrap_err();
        assert!(error.to_string().contains("no weights"), "{error}");
        let weights = folder.path().join("model.safetensors");
        fs::write(&weights, "").unwrap();
        assert!(EncoderFolder::open(folder.path()).is_err(), "no config.json");

        let config = EncoderConfig::new(EncoderFamily::Bert, 30, 2, 64);
        let write = |classes: &[&str], pooling: bool| {
            let classes: Vec<String> = classes.iter().map(|&c| c.to_owned()).collect();
            let mut json: Value = serde_json::from_str(&config.to_json(&classes)).unwrap();
            if !pooling {
                json.as_object_mut().unwrap().remove("pooling");
            }
            fs::write(folder.path().join("config.json"), json.to_string()).unwrap();
        };
        write(&["bad", "good"], true);
        for path in [folder.path(), &weights] {
            let own = EncoderFolder::open(path).unwrap();
            assert_eq!((&own.config, own.says_pooling), (&config, true));
            assert_eq!((own.weights, own.folder), (weights.clone(), folder.path().to_owned()));
            assert_eq!(own.classes.unwrap(), ["bad", "good"]);
        }
        write(&["LABEL_0", "LABEL_1"], false);
        let own = EncoderFolder::open(folder.path()).unwrap();
        assert_eq!((own.classes, own.says_pooling), (None, false));

        fs::create_dir(folder.path().join("1_Pooling")).unwrap();
        let pooling = folder.path().join("1_Pooling/config.json");
        fs::write(
            &pooling,
            r#"{"pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": false}"#,
        )
        .unwrap();
        assert_eq!(EncoderFolder::open(folder.path()).unwrap().config.pooling, Pooling::Mean);
        fs::write(&pooling, r#"{"pooling_mode_max_tokens": true}"#).unwrap();
        let error = EncoderFolder::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("1_Pooling"), "{error}");
    }
}
