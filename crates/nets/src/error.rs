//! What can go wrong with networks and weight files.

use std::path::PathBuf;

use crate::file_kind::Kind;
use crate::shape::MapShape;

/// Result with this crate's [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// A network that cannot be built, or weights that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A network that cannot be registered.
    #[error("a network cannot be registered as `{name}`: {why}")]
    NetworkName {
        /// As given.
        name: String,
        /// Why.
        why: &'static str,
    },
    /// No network of that name.
    #[error("unknown network `{name}`")]
    UnknownNetwork {
        /// The name asked for.
        name: String,
        /// The nearest known name.
        nearest: &'static str,
    },
    /// A network that cannot take another one's classifier.
    #[error("network `{network}` does not end in global average pooling and a linear classifier")]
    NoPooledClassifier {
        /// Its name.
        network: String,
    },
    /// A network that has taken another one's classifier already.
    #[error("network `{network}` has the classifier of another network already")]
    AlreadyReusing {
        /// Its name.
        network: String,
    },
    /// Settings that make no text encoder.
    #[error("no text encoder that is known: {problem}")]
    EncoderConfig {
        /// What does not fit.
        problem: String,
    },
    /// Settings that make no decoder.
    #[error("no language model that is known: {problem}")]
    DecoderConfig {
        /// What is wrong.
        problem: String,
    },
    /// A decoder that a GGUF file cannot describe.
    #[error("no GGUF file can be written of this language model: {problem}")]
    NoGguf {
        /// What it cannot say.
        problem: String,
    },
    /// A folder without the weights of a decoder.
    #[error("no weights of a language model in `{}`", folder.display())]
    NoDecoderWeights {
        /// The folder.
        folder: PathBuf,
    },
    /// A GGUF file that cannot be used.
    #[error(transparent)]
    Gguf(#[from] faculty_gguf::GgufError),
    /// A folder without the weights of an encoder.
    #[error("no weights of a text encoder in `{}`", folder.display())]
    NoEncoderWeights {
        /// The folder.
        folder: PathBuf,
    },
    /// A network that reads texts, where only images can be read.
    #[error("network `{network}` reads texts, and {what} is for networks that read images")]
    ReadsTexts {
        /// Its name.
        network: String,
        /// What was asked for.
        what: &'static str,
    },
    /// The image is too small for the network.
    #[error("an input of {shape} is too small for layer `{layer}`")]
    InputTooSmall {
        /// The layer that does not fit.
        layer: String,
        /// What reaches it.
        shape: MapShape,
    },
    /// A weight file cannot be opened or read.
    #[error("cannot read weights `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A weight file cannot be written.
    #[error("cannot write weights `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file of another kind.
    #[error("`{}` is {kind}, no state dict", path.display())]
    NotWeights {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: Kind,
    },
    /// A file that ends before its contents do.
    #[error("`{}` is cut short: it ends before its contents do", path.display())]
    CutShort {
        /// The file.
        path: PathBuf,
    },
    /// A file that contradicts itself.
    #[error("`{}` is damaged: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        problem: String,
    },
    /// A file with several sets of weights that fit.
    #[error("`{}` holds several sets of weights: {}", path.display(), sets.join(", "))]
    SeveralSets {
        /// The file.
        path: PathBuf,
        /// The key of each in backticks, with a word on what it is.
        sets: Vec<String>,
    },
    /// A key that leads to no weights.
    #[error("`{}` holds no weights of the network below `{key}`", path.display())]
    UnknownSet {
        /// The file.
        path: PathBuf,
        /// The key that was given.
        key: String,
        /// The keys that lead to some, in backticks.
        sets: Vec<String>,
    },
    /// A `.safetensors` file is damaged or not one.
    #[error("`{}` is not a readable safetensors file", path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// The reader's reason.
        source: safetensors::SafeTensorError,
    },
    /// A file whose contents would take far more memory than those of any real file of its size.
    #[error("`{}` holds {stored} bytes that would take {decoded} or more of memory", path.display())]
    Bomb {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        stored: u64,
        /// Those that it would take, as far as it was read.
        decoded: u64,
    },
    /// A file without any tensor.
    #[error("`{}` holds no weights", path.display())]
    NoWeights {
        /// The file.
        path: PathBuf,
    },
    /// A tensor of a type that holds no plain numbers.
    #[error("tensor `{tensor}` in `{}` has type {found}", path.display())]
    TensorType {
        /// The file.
        path: PathBuf,
        /// Its tensor.
        tensor: String,
        /// The type found.
        found: String,
    },
    /// A weight that is not a number.
    #[error("tensor `{tensor}` in `{}` holds {value} at index {index}", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// Its tensor.
        tensor: String,
        /// Position in the flattened tensor.
        index: usize,
        /// NaN or an infinity.
        value: f32,
    },
    /// A network that is too large for the format of ONNX files.
    #[error("as an ONNX file the network would have {bytes} bytes; the format allows 2 GiB")]
    OnnxTooLarge {
        /// Its size.
        bytes: u64,
    },
    /// An ONNX file that cannot be read at all.
    #[error("`{}`: {problem}", path.display())]
    Onnx {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// How to fix it.
        hint: &'static str,
    },
    /// A description that is no network.
    #[error("`{}`, line {line}: {problem}", path.display())]
    Description {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong, and in which block.
        problem: String,
        /// How to fix it.
        hint: String,
    },
    /// An ONNX file with nodes that are no network of this program.
    #[error("`{}` is no network that can be trained: {}", path.display(), problems.join("; "))]
    OnnxNodes {
        /// The file.
        path: PathBuf,
        /// Each node with what keeps it from being read (shortened).
        problems: Vec<String>,
    },
    /// Weights that belong to another network.
    #[error("weights `{}` do not fit network `{network}`: {}", path.display(), problems.join("; "))]
    DoNotFit {
        /// The file.
        path: PathBuf,
        /// The network asked for.
        network: String,
        /// Every missing, unexpected or misshapen tensor (shortened).
        problems: Vec<String>,
    },
    /// Weights that belong to no network of the table.
    #[error(
        "weights `{}` fit no network; the nearest is `{nearest}`: {}",
        path.display(),
        problems.join("; ")
    )]
    NotRecognised {
        /// The file.
        path: PathBuf,
        /// The network with the most tensors of the file's names and shapes.
        nearest: &'static str,
        /// What keeps them apart (shortened).
        problems: Vec<String>,
    },
}

/// What to do about weights that are stored as what PyTorch computes them from.
fn made_of_several(problems: &[String]) -> Option<&'static str> {
    let has = |part: &str| problems.iter().any(|problem| problem.contains(part));
    if has("weight_orig`") || has("weight_mask`") {
        return Some(
            "it was pruned, and keeps masks beside weights: make those one with \
             `torch.nn.utils.prune.remove(module, \"weight\")` and save it again",
        );
    }
    if has(".parametrizations.") || has("weight_g`") || has("weight_v`") {
        return Some(
            "it keeps what its weights are computed from: call \
             `torch.nn.utils.parametrize.remove_parametrizations(module, \"weight\")` (or \
             `remove_weight_norm`) and save it again",
        );
    }
    None
}

impl Error {
    /// How to fix it, if there is a way worth naming.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownNetwork { name, .. } if name.contains(".onnx:") => {
                let file = name.split(':').next().unwrap_or(name);
                Some(format!("it is the network of an ONNX file: name it, `--network PATH/{file}`"))
            }
            Self::UnknownNetwork { name, .. } if name.contains(".toml:") => {
                let file = name.split(':').next().unwrap_or(name);
                Some(format!("it is the network of a description: name it, `--network PATH/{file}`"))
            }
            Self::UnknownNetwork { nearest, .. } => {
                Some(format!("did you mean `{nearest}`? `faculty networks` lists all of them"))
            }
            Self::NetworkName { .. } => Some("give it another name".to_owned()),
            Self::NoPooledClassifier { .. } => {
                Some("choose another network; `faculty networks` lists all of them".to_owned())
            }
            Self::AlreadyReusing { network } => {
                let base = network.split('+').next().unwrap_or(network);
                Some(format!("name the network alone: `{base}`"))
            }
            Self::EncoderConfig { .. } => Some(
                "give the folder of a model of this kind, with its `config.json` as `save_pretrained` \
                 writes it"
                    .to_owned(),
            ),
            Self::NoEncoderWeights { .. } => Some(
                "`model.safetensors` or `pytorch_model.bin` must be in it, as `save_pretrained` writes \
                 them; weights in several pieces are saved as one with a large `max_shard_size`"
                    .to_owned(),
            ),
            Self::DecoderConfig { .. } => Some(
                "`docs/language-models.md` lists the language models that are read, from GGUF files \
                 and from folders with `config.json` and `model.safetensors`"
                    .to_owned(),
            ),
            Self::NoGguf { .. } => {
                Some("write it as a folder for `transformers` instead".to_owned())
            }
            Self::NoDecoderWeights { .. } => Some(
                "`model.safetensors` must be in it, or its pieces with \
                 `model.safetensors.index.json`, as `save_pretrained` writes them"
                    .to_owned(),
            ),
            Self::Gguf(error) => Some(error.hint().to_owned()),
            Self::ReadsTexts { .. } => None,
            Self::InputTooSmall { .. } => {
                Some("use larger images or a network with fewer stages".to_owned())
            }
            Self::Read { .. } => Some("check the path and its permissions".to_owned()),
            Self::Write { .. } => Some("check that the folder exists and has space".to_owned()),
            Self::NotWeights { kind, .. } => Some(kind.hint()),
            Self::CutShort { .. } => Some("copy or download the file again".to_owned()),
            Self::Damaged { .. } => Some(
                "copy the file again, or save it again with `torch.save(net.state_dict(), FILE)`"
                    .to_owned(),
            ),
            Self::SeveralSets { .. } => Some(
                "say which one is meant: `weights_key = \"KEY\"` in the recipe, beside `weights`, or \
                 `--weights-key KEY`"
                    .to_owned(),
            ),
            Self::UnknownSet { sets, .. } if sets.is_empty() => {
                Some("leave `weights_key` out".to_owned())
            }
            Self::UnknownSet { sets, .. } => {
                Some(format!("keys that lead to weights: {}", sets.join(", ")))
            }
            Self::Safetensors { .. } => Some("copy or save the file again".to_owned()),
            Self::NoWeights { .. } => {
                Some("save the network's `state_dict()`, at the top or under `model`".to_owned())
            }
            Self::Bomb { .. } => {
                Some("the file is damaged or made to fill the memory; do not use it".to_owned())
            }
            Self::TensorType { .. } => Some("save the weights as float32 tensors".to_owned()),
            Self::NotFinite { .. } => {
                Some("that training run broke down; use an earlier checkpoint".to_owned())
            }
            Self::OnnxTooLarge { .. } => {
                Some("write `--safetensors`, or train a smaller network".to_owned())
            }
            Self::Onnx { hint, .. } => Some((*hint).to_owned()),
            Self::Description { hint, .. } => Some(hint.clone()),
            Self::OnnxNodes { .. } => Some(
                "`docs/students.md` lists what is read, and how to export; as a teacher every ONNX file \
                 can be used"
                    .to_owned(),
            ),
            Self::NotRecognised { .. } => Some(
                "the network must be one of `faculty networks` for images of the data's size and \
                 channels; export others to ONNX: `torch.onnx.export`"
                    .to_owned(),
            ),
            Self::DoNotFit { problems, .. } => Some(made_of_several(problems).map_or_else(
                || "check the `network` name, the number of classes and the input channels; networks \
                 that `faculty networks` does not list are given as ONNX files"
                    .to_owned(),
                str::to_owned,
            )),
        }
    }
}
