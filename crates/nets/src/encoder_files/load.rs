//! An encoder with the weights of a file, however its author named what stands around it.

use std::collections::BTreeMap;
use std::path::Path;

use crate::encoder_config::EncoderConfig;
use crate::error::{Error, Result};
use crate::network::Network;
use crate::shortened::shortened;
use crate::weights::{Array, StateDict, WeightFile};

/// An encoder with a file's weights, and what was not in the file.
#[derive(Debug)]
pub struct LoadedEncoder {
    /// The network.
    pub network: Network,
    /// Parameters that the file lacks: parts of the head, which start anew.
    pub anew: Vec<String>,
    /// Tensors of the file that the network has no use for.
    pub left_out: Vec<String>,
}

/// The word vectors, whatever stands before.
const WORDS: &str = "embeddings.word_embeddings.weight";

/// Names that a head's parameters start with.
const HEADS: [&str; 5] = ["classifier.", "pre_classifier.", "pooling.", "bert.pooler.", "pooler."];

impl EncoderConfig {
    /// An encoder of these sizes with the weights of a file (`model.safetensors`,
    /// `pytorch_model.bin`, or a run's student), which may have the family's prefix before its names or
    /// not. With `classes`, a classifier of another number of classes starts anew from `seed`, as does
    /// a head that the file lacks; without, the number of classes is the file's.
    ///
    /// # Errors
    /// When the file cannot be read, lacks a parameter of the body, has it in another shape or has more
    /// of them; when it holds several sets of weights and no key says which is meant; without
    /// `classes` also when there is no classifier in it.
    pub fn load(
        &self,
        file: &mut WeightFile,
        classes: Option<usize>,
        seed: u64,
    ) -> Result<LoadedEncoder> {
        self.load_layers(file, classes, seed, None)
    }

    /// The same; layer `i` of the network gets the weights of layer `layers[i]` of the file, which may
    /// have more: a student that starts from its teacher.
    ///
    /// # Errors
    /// As [`EncoderConfig::load`].
    pub fn load_layers(
        &self,
        file: &mut WeightFile,
        classes: Option<usize>,
        seed: u64,
        layers: Option<&[usize]>,
    ) -> Result<LoadedEncoder> {
        let path = file.path().to_owned();
        let state = file.read_all()?;
        let outer = file.only_set(self.sets(&state))?.unwrap_or_default();
        let named = self.names_of(state, &outer);
        let found =
            named.iter().find(|(name, array)| self.is_classifier(name) && array.shape.len() == 2);
        let own = found.map(|(_, array)| array.shape[0]);
        let classes = classes
            .or(own)
            .ok_or_else(|| self.unfit(&path, vec!["it has no classifier".to_owned()]))?;
        let mut network = Network::from_graph(self.family.name(), self.graph(classes)?, seed);
        let (mut state, mut anew, mut problems) = (StateDict::new(), Vec::new(), Vec::new());
        let mut rest = named;
        let start = network.state_dict();
        for spec in network.graph().parameters() {
            let is_head = HEADS.iter().any(|head| spec.name.starts_with(head));
            let source = self.source(&spec.name, layers);
            match rest.get(&source) {
                Some(array) if array.shape == spec.shape => {
                    state.insert(spec.name.clone(), array.clone());
                }
                Some(array) if !is_head => problems.push(format!(
                    "`{}` has shape {:?}, the network wants {:?}",
                    spec.name, array.shape, spec.shape
                )),
                None if !is_head => problems.push(format!("`{}` is missing", spec.name)),
                _ => {
                    anew.push(spec.name.clone());
                    state.insert(spec.name.clone(), start[&spec.name].clone());
                }
            }
        }
        if !problems.is_empty() {
            return Err(self.unfit(&path, problems));
        }
        for spec in network.graph().parameters() {
            rest.remove(&self.source(&spec.name, layers));
        }
        // A file of more layers, or of more embeddings, is of another network than `config.json` says.
        let more = rest.keys().filter(|name| self.is_own(name, layers.is_none()));
        let more: Vec<String> = more.map(|name| format!("`{name}` is unexpected")).collect();
        if !more.is_empty() {
            return Err(self.unfit(&path, more));
        }
        network.set_state_dict(&state, &path)?;
        Ok(LoadedEncoder { network, anew, left_out: rest.into_keys().collect() })
    }

    /// The name in the file's layout of a parameter, whose layer is taken from another.
    fn source(&self, name: &str, layers: Option<&[usize]>) -> String {
        let from = layers.into_iter().flatten().enumerate();
        for (layer, &from) in from {
            let own = self.layer_name(layer) + ".";
            if let Some(part) = name.strip_prefix(&own) {
                return format!("{}.{part}", self.layer_name(from));
            }
        }
        name.to_owned()
    }

    fn is_classifier(&self, name: &str) -> bool {
        matches!(name, "classifier.weight" | "classifier.out_proj.weight")
    }

    fn unfit(&self, path: &Path, problems: Vec<String>) -> Error {
        Error::DoNotFit {
            path: path.to_owned(),
            network: self.family.name().to_owned(),
            problems: shortened(problems),
        }
    }

    /// Whether a tensor, under its name in the graph, is of the body, so that the network would compute
    /// something else with it.
    fn is_own(&self, name: &str, with_layers: bool) -> bool {
        let prefix = format!("{}.", self.prefix());
        let Some(inner) = name.strip_prefix(&prefix) else { return false };
        // Numbers of positions, kept with the weights by older versions.
        let is_buffer = inner.ends_with("position_ids") || inner.ends_with("token_type_ids");
        let is_layer = inner.starts_with("encoder.") || inner.starts_with("transformer.");
        !is_buffer && (inner.starts_with("embeddings.") || with_layers && is_layer)
    }

    /// What stands before the names of each set of weights in a file: before the family's prefix, or
    /// before the names without it; with the word vectors of each.
    fn sets(&self, state: &StateDict) -> Vec<(String, String)> {
        let prefix = format!("{}.", self.prefix());
        let word_vectors = state.keys().filter_map(|name| Some((name, name.strip_suffix(WORDS)?)));
        let outer = |around: &str| around.strip_suffix(&prefix).unwrap_or(around).to_owned();
        let set = |(name, around): (&String, &str)| {
            (outer(around).trim_end_matches('.').to_owned(), name.clone())
        };
        word_vectors.map(set).collect()
    }

    /// A file's tensors under the names of the graph; `outer` is what stands before those of the set
    /// that is meant.
    fn names_of(&self, state: StateDict, outer: &str) -> BTreeMap<String, Array> {
        let prefix = format!("{}.", self.prefix());
        let dotted = format!("{outer}.");
        // `ema_` stands before its names without a dot.
        let outer = match state.keys().any(|name| name.starts_with(&dotted)) {
            true => dotted,
            false => outer.to_owned(),
        };
        let with_prefix = format!("{outer}{prefix}");
        let around = match state.contains_key(&format!("{with_prefix}{WORDS}")) {
            true => with_prefix,
            false => outer.clone(),
        };
        let mut named = BTreeMap::new();
        for (name, array) in state {
            let name = match name.strip_prefix(&outer) {
                Some(inner) if is_head(inner) && !inner.starts_with("pooler.") => inner.to_owned(),
                _ => match name.strip_prefix(&around) {
                    Some(inner) => format!("{prefix}{inner}"),
                    None => name,
                },
            };
            named.insert(modern(&name), array);
        }
        named
    }
}

fn is_head(name: &str) -> bool {
    HEADS.iter().any(|head| name.starts_with(head))
}

/// The first BERT files call scale and shift of norms as TensorFlow does.
fn modern(name: &str) -> String {
    match name.strip_suffix("LayerNorm.gamma").or_else(|| name.strip_suffix("LayerNorm.beta")) {
        Some(base) if name.ends_with("gamma") => format!("{base}LayerNorm.weight"),
        Some(base) => format!("{base}LayerNorm.bias"),
        None => name.to_owned(),
    }
}
