//! The decoder that a run trains: layers of a trained one, or one that starts at random.

use std::path::Path;

use faculty_nets::{DecoderConfig, Network};
use faculty_recipe::LanguageStudent;

use crate::error::Result;
use crate::run_error::RunError;

/// Layers of a student of which nothing is said.
const LAYERS: usize = 4;
/// Its width.
const WIDTH: usize = 256;

/// The layers `from` of a trained decoder, counted from 0, with its words, last norm and head.
///
/// # Errors
/// When a layer is not there; `path` only names the decoder.
///
/// # Panics
/// If the network is no decoder.
pub fn with_layers(trained: &Network, from: &[usize], path: &Path) -> Result<Network> {
    let graph = trained.graph();
    let own = graph.decoder().expect("the network is a decoder");
    let config = DecoderConfig { layers: from.len(), ..own.clone() };
    let all = trained.state_dict();
    let mut state = all.clone();
    state.retain(|name, _| layer_of(name).is_none());
    for (layer, &source) in from.iter().enumerate() {
        let prefix = format!("{PREFIX}{source}.");
        let own = all.iter().filter_map(|(name, array)| Some((name.strip_prefix(&prefix)?, array)));
        state.extend(own.map(|(rest, array)| (format!("{PREFIX}{layer}.{rest}"), array.clone())));
    }
    let mut student = Network::from_graph(trained.name(), config.graph()?, 0);
    student.set_state_dict(&state, path)?;
    Ok(student)
}

/// What the names of a layer's tensors begin with.
const PREFIX: &str = "model.layers.";

fn layer_of(name: &str) -> Option<usize> {
    name.strip_prefix(PREFIX)?.split('.').next()?.parse().ok()
}

/// The student of a recipe that starts from `trained`.
pub(crate) fn from_trained(
    spec: &LanguageStudent,
    trained: Network,
    path: &Path,
) -> std::result::Result<Network, RunError> {
    let own = trained.graph().decoder().expect("the network is a decoder").layers;
    let count = spec.layers.or(spec.from_layers.as_ref().map(Vec::len)).unwrap_or(own);
    let fits = match &spec.from_layers {
        Some(given) => given.iter().all(|&layer| layer < own),
        None => count <= own,
    };
    if !fits || count == 0 {
        let what = match &spec.from_layers {
            Some(given) => format!("`student.from_layers` is {given:?}"),
            None => format!("`student.layers` is {count}"),
        };
        return Err(RunError::Recipe {
            what: format!("{what}, and `{}` has {own} layers", path.display()),
            hint: "name layers from 0 to one below that, at least one",
        });
    }
    let from: Vec<usize> = match &spec.from_layers {
        Some(given) => given.clone(),
        // At equal distances, the last among them.
        None => (1..=count).map(|layer| (layer * own).div_ceil(count) - 1).collect(),
    };
    if from.iter().copied().eq(0..own) {
        return Ok(trained);
    }
    Ok(with_layers(&trained, &from, path)?)
}

/// The student of a recipe that starts at random, for this vocabulary.
pub(crate) fn at_random(
    spec: &LanguageStudent,
    vocabulary: usize,
    longest: usize,
    seed: u64,
) -> std::result::Result<Network, RunError> {
    let width = spec.width.unwrap_or(WIDTH);
    let mut config = DecoderConfig::new(vocabulary, spec.layers.unwrap_or(LAYERS), width);
    config.longest = longest;
    if let Some(heads) = spec.heads {
        config.heads = heads;
        config.kv_heads = heads;
    }
    if !width.is_multiple_of(config.heads) {
        return Err(RunError::Recipe {
            what: format!("{} heads do not divide a `student.width` of {width}", config.heads),
            hint: "set `student.heads` to a number that divides it",
        });
    }
    config.head_width = width / config.heads;
    config.intermediate = spec.feed_forward.unwrap_or(config.intermediate);
    Ok(Network::from_graph("llama", config.graph()?, seed))
}
