//! Checkpoints: everything that training changes, in one safetensors file.
//!
//! Everything else is a function of the recipe, the epoch and sample ids, so a run continued from
//! the checkpoint of an epoch is the same run, bit for bit.

use std::collections::BTreeMap;
use std::path::Path;

use faculty_nets::weights::{self, Array, StateDict};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::learner::Learner;
use crate::metrics::Quality;
use crate::optimizer::OptimizerConfig;

const FORMAT: u32 = 1;

/// Before the names of what a method keeps between steps.
const BETWEEN: &str = "between/";

/// Before the names of what its loss remembers.
const MEMORY: &str = "memory/";

/// Progress at a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Version of the file's layout.
    pub format: u32,
    /// Finished epochs.
    pub epoch: usize,
    /// Best validation epoch so far.
    pub best: Option<BestEpoch>,
    /// That of each peer, where several students learn together.
    #[serde(default)]
    pub peers: Vec<Option<BestEpoch>>,
    /// Seconds trained so far.
    pub seconds: f64,
    /// Fingerprint of the data set.
    pub data_fingerprint: String,
    /// What must not change between parts of a run, as resolved recipe text.
    pub recipe: String,
}

/// The epoch with the best validation accuracy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BestEpoch {
    /// From 1.
    pub epoch: usize,
    /// On the validation part.
    pub quality: Quality,
}

impl Progress {
    /// Before the first epoch.
    #[must_use]
    pub fn start(data_fingerprint: String, recipe: String) -> Self {
        Self {
            format: FORMAT,
            epoch: 0,
            best: None,
            peers: Vec::new(),
            seconds: 0.0,
            data_fingerprint,
            recipe,
        }
    }
}

/// Writes the learner's whole state; the file appears complete or not at all.
///
/// # Errors
/// When it cannot be written.
pub fn save(
    path: &Path,
    learner: &Learner,
    optimizer: &OptimizerConfig,
    progress: &Progress,
) -> Result<()> {
    save_all(path, [(String::new(), learner)], optimizer, progress)
}

/// The same for several learners: what is each one's stands behind its prefix.
///
/// # Errors
/// When it cannot be written.
pub fn save_all<'a>(
    path: &Path,
    learners: impl IntoIterator<Item = (String, &'a Learner)>,
    optimizer: &OptimizerConfig,
    progress: &Progress,
) -> Result<()> {
    let mut tensors = StateDict::new();
    let mut steps = BTreeMap::new();
    for (prefix, learner) in learners {
        gather(learner, &prefix, optimizer, &mut tensors, &mut steps);
    }
    let metadata =
        [("progress".to_owned(), json(progress)), ("optimizer_steps".to_owned(), json(&steps))];
    weights::write(path, &tensors, &metadata.into())?;
    Ok(())
}

fn gather(
    learner: &Learner,
    prefix: &str,
    optimizer: &OptimizerConfig,
    tensors: &mut StateDict,
    steps: &mut BTreeMap<String, u64>,
) {
    for (name, trained) in learner.trained() {
        let name = format!("{prefix}{name}");
        for (key, array) in trained.network.state_dict() {
            tensors.insert(format!("{name}/{key}"), array);
        }
        let specs = trained.network.graph().parameters();
        let optimizer = trained.own_optimizer.as_ref().unwrap_or(optimizer);
        for (slot, vectors) in optimizer.slot_names().iter().zip(&trained.optimizer.slots) {
            for (spec, values) in specs.iter().zip(vectors) {
                let array = Array { shape: spec.shape.clone(), values: values.clone() };
                tensors.insert(format!("optimizer.{slot}/{name}/{}", spec.name), array);
            }
        }
        steps.insert(name, trained.optimizer.steps);
    }
    for (key, array) in learner.between().map(|between| between.state()).unwrap_or_default() {
        tensors.insert(format!("{prefix}{BETWEEN}{key}"), array);
    }
    for (key, array) in learner.memory() {
        tensors.insert(format!("{prefix}{MEMORY}{key}"), array);
    }
}

/// Reads only the progress of a checkpoint.
///
/// # Errors
/// When the file is damaged or of another version.
pub fn progress(path: &Path) -> Result<Progress> {
    let (_, metadata) = weights::read_safetensors(path)?;
    parse(path, metadata.get("progress"))
}

/// Puts a checkpoint's state into a learner of the same recipe.
///
/// # Errors
/// When the file is damaged, of another version, or of other networks; the learner may then be
/// partly changed and must not be used.
pub fn load(path: &Path, learner: &mut Learner, optimizer: &OptimizerConfig) -> Result<Progress> {
    load_all(path, [(String::new(), learner)], optimizer)
}

/// The same for several learners, with the prefixes of [`save_all`].
///
/// # Errors
/// As [`load`].
pub fn load_all<'a>(
    path: &Path,
    learners: impl IntoIterator<Item = (String, &'a mut Learner)>,
    optimizer: &OptimizerConfig,
) -> Result<Progress> {
    let (mut tensors, metadata) = weights::read_safetensors(path)?;
    let progress: Progress = parse(path, metadata.get("progress"))?;
    let steps: BTreeMap<String, u64> = parse(path, metadata.get("optimizer_steps"))?;
    if progress.format != FORMAT {
        return Err(damaged(path, format!("format {}, expected {FORMAT}", progress.format)));
    }
    for (prefix, learner) in learners {
        put_back(path, learner, &prefix, optimizer, &mut tensors, &steps)?;
    }
    Ok(progress)
}

fn put_back(
    path: &Path,
    learner: &mut Learner,
    prefix: &str,
    optimizer: &OptimizerConfig,
    tensors: &mut StateDict,
    steps: &BTreeMap<String, u64>,
) -> Result<()> {
    for (name, trained) in learner.trained_mut() {
        let name = format!("{prefix}{name}");
        let own = below(&format!("{name}/"), tensors);
        trained.network.set_state_dict(&own, path)?;
        trained.optimizer.steps = *steps
            .get(&name)
            .ok_or_else(|| damaged(path, format!("no optimiser steps of `{name}`")))?;
        trained.optimizer.slots.clear();
        if trained.optimizer.steps == 0 {
            continue;
        }
        let optimizer = trained.own_optimizer.unwrap_or(*optimizer);
        for slot in optimizer.slot_names() {
            let vectors = trained
                .network
                .graph()
                .parameters()
                .iter()
                .map(|spec| {
                    let key = format!("optimizer.{slot}/{name}/{}", spec.name);
                    tensors
                        .remove(&key)
                        .filter(|array| array.shape == spec.shape)
                        .map(|array| array.values)
                        .ok_or_else(|| damaged(path, format!("no fitting tensor `{key}`")))
                })
                .collect::<Result<Vec<_>>>()?;
            trained.optimizer.slots.push(vectors);
        }
    }
    let own = below(&format!("{prefix}{MEMORY}"), tensors);
    learner.set_memory(own).map_err(|reason| damaged(path, reason))?;
    if let Some(between) = learner.between_mut() {
        let own = below(&format!("{prefix}{BETWEEN}"), tensors);
        between.set_state(own).map_err(|reason| damaged(path, reason))?;
    }
    Ok(())
}

/// What stands behind `prefix`, without it.
fn below(prefix: &str, tensors: &StateDict) -> StateDict {
    let own = |(key, array): (&String, &Array)| {
        Some((key.strip_prefix(prefix)?.to_owned(), array.clone()))
    };
    tensors.iter().filter_map(own).collect()
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("plain data with string keys always serialises")
}

fn parse<T: for<'a> Deserialize<'a>>(path: &Path, text: Option<&String>) -> Result<T> {
    let text = text.ok_or_else(|| damaged(path, "it is not a checkpoint of faculty".to_owned()))?;
    serde_json::from_str(text).map_err(|error| damaged(path, error.to_string()))
}

fn damaged(path: &Path, reason: String) -> Error {
    Error::Checkpoint { path: path.to_owned(), reason }
}
