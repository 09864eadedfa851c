//! Checkpoints of a run of language models: everything that training changes, in one safetensors file.
//!
//! ```text
//! student/NAME   first_moment/NAME   second_moment/NAME       metadata: progress, checksum
//! ```
//! The newest is `last`, the one before stays as `previous`: at every moment one whole file has a name.

use std::collections::BTreeMap;
use std::path::Path;

use faculty_files::{failed, rename};
use faculty_nets::weights::{self, Array, StateDict};
use faculty_nets::{Network, OptimizerState};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::folder::LanguageFolder;
use crate::run_error::RunError;

/// Version of the layout.
const FORMAT: u32 = 1;
/// State vectors of AdamW.
const SLOTS: [&str; 2] = ["first_moment", "second_moment"];

/// How far a run is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    pub(super) format: u32,
    /// What the run depends on: recipe, texts, models.
    pub(super) identity: BTreeMap<String, String>,
    /// Updates made.
    pub(super) steps: u64,
    /// Bytes of `metrics.jsonl`.
    pub(super) metrics: u64,
    /// Sums since its last line, as bits: decimal numbers could lose the last one.
    pub(super) sums: Vec<u64>,
    /// The best step so far, and its surprise as bits.
    pub(super) best: Option<(u64, u64)>,
    /// Tokens that were trained on.
    pub(super) trained_tokens: u64,
    /// Microseconds of training so far.
    pub(super) microseconds: u64,
}

/// Writes the newest checkpoint.
pub(super) fn save(
    folder: &LanguageFolder,
    network: &Network,
    state: &OptimizerState,
    progress: &Progress,
) -> Result<(), RunError> {
    let mut tensors = StateDict::new();
    for (name, array) in network.state_dict() {
        tensors.insert(format!("student/{name}"), array);
    }
    let specs = network.graph().parameters();
    for (slot, vectors) in SLOTS.iter().zip(&state.slots) {
        for (spec, values) in specs.iter().zip(vectors) {
            let array = Array { shape: spec.shape.clone(), values: values.clone() };
            tensors.insert(format!("{slot}/{}", spec.name), array);
        }
    }
    let progress = Progress { format: FORMAT, ..progress.clone() };
    let text = serde_json::to_string(&progress).expect("plain data always serialises");
    let checksum = checksum(&tensors, &text);
    let metadata =
        BTreeMap::from([("progress".to_owned(), text), ("checksum".to_owned(), checksum)]);
    let [next, last, previous] = ["next", "last", "previous"].map(|name| folder.checkpoint(name));
    weights::write(&next, &tensors, &metadata)?;
    match rename(&last, &previous) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(failed("write", last)(error).into());
        }
        _ => {}
    }
    Ok(rename(&next, &last).map_err(failed("write", last))?)
}

/// The newest whole checkpoint: its progress, and its state put into the network; with a warning where
/// that is not the last one. Nothing without checkpoints.
pub(super) fn restore(
    folder: &LanguageFolder,
    network: &mut Network,
) -> Result<Option<(Progress, OptimizerState, Option<String>)>, RunError> {
    let [last, previous] = ["last", "previous"].map(|name| folder.checkpoint(name));
    match (last.exists(), previous.exists()) {
        (false, false) => Ok(None),
        (true, _) => match read(&last, network) {
            Ok((progress, state)) => Ok(Some((progress, state, None))),
            Err(problem) if previous.exists() => {
                let (progress, state) = read(&previous, network)?;
                let warning =
                    format!("{problem}; the one before it is used: step {}", progress.steps);
                Ok(Some((progress, state, Some(warning))))
            }
            Err(problem) => Err(problem),
        },
        (false, true) => {
            let (progress, state) = read(&previous, network)?;
            Ok(Some((progress, state, None)))
        }
    }
}

fn read(path: &Path, network: &mut Network) -> Result<(Progress, OptimizerState), RunError> {
    let damaged = |reason: String| RunError::Checkpoint { path: path.to_owned(), reason };
    let (tensors, metadata) =
        weights::read_safetensors(path).map_err(|error| damaged(error.to_string()))?;
    let text = |key: &str| {
        let found = metadata.get(key);
        found.ok_or_else(|| damaged("it is no checkpoint of a language model".to_owned()))
    };
    let progress = text("progress")?;
    if *text("checksum")? != checksum(&tensors, progress) {
        return Err(damaged("it does not have its checksum".to_owned()));
    }
    let progress: Progress =
        serde_json::from_str(progress).map_err(|error| damaged(error.to_string()))?;
    if progress.format != FORMAT {
        return Err(damaged(format!("format {}, expected {FORMAT}", progress.format)));
    }
    let below = |prefix: &str| -> StateDict {
        let own = tensors.iter();
        own.filter_map(|(name, array)| {
            Some((name.strip_prefix(prefix)?.strip_prefix('/')?.to_owned(), array.clone()))
        })
        .collect()
    };
    network.set_state_dict(&below("student"), path).map_err(|error| damaged(error.to_string()))?;
    let mut state = OptimizerState { steps: progress.steps, slots: Vec::new() };
    if progress.steps > 0 {
        for slot in SLOTS {
            let mut own = below(slot);
            let vectors = network.graph().parameters().iter().map(|spec| {
                let array = own.remove(&spec.name).filter(|array| array.shape == spec.shape);
                array
                    .map(|array| array.values)
                    .ok_or_else(|| damaged(format!("no fitting tensor `{slot}/{}`", spec.name)))
            });
            let vectors = vectors.collect::<Result<Vec<_>, _>>()?;
            state.slots.push(vectors);
        }
    }
    Ok((progress, state))
}

/// Over everything in a checkpoint.
fn checksum(tensors: &StateDict, progress: &str) -> String {
    let mut hash = Xxh3::new();
    hash.update(progress.as_bytes());
    let mut bytes = Vec::new();
    for (name, array) in tensors {
        hash.update(format!("{name}{:?}", array.shape).as_bytes());
        bytes.clear();
        bytes.extend(array.values.iter().flat_map(|value| value.to_le_bytes()));
        hash.update(&bytes);
    }
    format!("{:016x}", hash.digest())
}
