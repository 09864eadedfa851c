//! Checkpoints: everything that training changes, in one safetensors file.
//!
//! Everything else is a function of the recipe, the epoch and sample ids, so a run continued from
//! a checkpoint, between two epochs or in the middle of one, is the same run, bit for bit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use faculty_nets::Network;
use faculty_nets::weights::{self, StateDict};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use faculty_records::run::Change;

use crate::epoch_sums::EpochSums;
use crate::error::{Error, Result};
use crate::learner::Learner;
use crate::metrics::Quality;
use crate::optimizer::OptimizerConfig;
use crate::record::EpochRecord;

mod identity;
mod pair;
mod state;

pub use identity::Identity;
pub(crate) use identity::{check_allowed, recipe_changes};
pub(crate) use pair::CheckpointPair;

const FORMAT: u32 = 2;

/// Progress at a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Version of the file's layout.
    pub format: u32,
    /// Version of the program that wrote it.
    pub faculty: String,
    /// Path of the numeric kernels that it trained with.
    pub kernels: String,
    /// Finished epochs.
    pub epoch: usize,
    /// What is done of the next one.
    pub part: Option<EpochPart>,
    /// Best validation epoch so far.
    pub best: Option<BestEpoch>,
    /// That and the rest of each peer, where several students learn together.
    #[serde(default)]
    pub peers: Vec<PeerProgress>,
    /// Seconds of the finished epochs.
    pub seconds: f64,
    /// Length of `metrics.jsonl`.
    pub metrics_bytes: u64,
    /// Batches left out so far because their loss was no number.
    pub skipped_batches: usize,
    /// What was changed on the way, by request.
    pub changes: Vec<Change>,
    /// What must not change between parts of a run.
    pub identity: Identity,
}

/// How far a peer of the student is: as far as the student itself, with numbers of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PeerProgress {
    /// What is done of the next epoch.
    pub part: Option<EpochPart>,
    /// Best validation epoch so far.
    pub best: Option<BestEpoch>,
    /// Length of its metrics.
    pub metrics_bytes: u64,
}

/// The first batches of an epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochPart {
    /// How many.
    pub batches: usize,
    /// Their samples: the position in the epoch's order.
    pub samples: usize,
    /// Those left out among the batches.
    pub skipped: usize,
    /// Learning rate of the last of them.
    #[serde(with = "faculty_records::number")]
    pub learning_rate: f64,
    /// Sums over the batches.
    pub sums: EpochSums,
    /// Time that they took.
    pub times: EpochTimes,
}

impl EpochPart {
    /// Of the whole epoch, with what was measured after it.
    pub(crate) fn record(
        &self,
        epoch: usize,
        teachers: &[String],
        validation: Option<Quality>,
        seconds: f64,
    ) -> EpochRecord {
        EpochRecord {
            epoch,
            learning_rate: self.learning_rate,
            loss: self.sums.loss(),
            terms: self.sums.terms(),
            teacher_weights: self.sums.teacher_weights(teachers),
            train_top1: self.sums.train_top1(),
            skipped_batches: self.skipped,
            validation,
            images_per_second: self.sums.samples() as f64 / self.times.training,
            data_wait_seconds: self.times.data_wait,
            teacher_seconds: self.times.teachers,
            loss_seconds: self.times.losses,
            seconds,
        }
    }
}

/// Seconds of an epoch or a part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochTimes {
    /// All of it, evaluation left out.
    pub training: f64,
    /// Waiting for batches.
    pub data_wait: f64,
    /// Teacher outputs.
    pub teachers: f64,
    /// Losses and their gradients.
    pub losses: f64,
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
    pub fn start(identity: Identity) -> Self {
        Self {
            format: FORMAT,
            faculty: env!("CARGO_PKG_VERSION").to_owned(),
            kernels: faculty_kernels::isa::name().to_owned(),
            epoch: 0,
            part: None,
            best: None,
            peers: Vec::new(),
            seconds: 0.0,
            metrics_bytes: 0,
            skipped_batches: 0,
            changes: Vec::new(),
            identity,
        }
    }

    /// Finished batches of the epoch in work.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.part.as_ref().map_or(0, |part| part.batches)
    }
}

/// One student of a checkpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Saved<'a> {
    /// Before its tensors' names; the student itself has none.
    pub(crate) prefix: &'a str,
    /// Its state.
    pub(crate) learner: &'a Learner,
    /// Its network of the best epoch.
    pub(crate) best: Option<&'a Network>,
}

/// Writes a checkpoint: the whole state of each student.
pub(crate) fn save(
    path: &Path,
    students: &[Saved<'_>],
    optimizer: &OptimizerConfig,
    progress: &Progress,
) -> Result<()> {
    let mut tensors = StateDict::new();
    let mut steps = BTreeMap::new();
    for student in students {
        state::gather(student, optimizer, &mut tensors, &mut steps);
    }
    let metadata = [("progress", json(progress)), ("optimizer_steps", json(&steps))];
    let mut metadata = metadata.map(|(key, text)| (key.to_owned(), text)).into();
    seal(&tensors, &mut metadata);
    weights::write(path, &tensors, &metadata)?;
    Ok(())
}

/// Gives the metadata of a checkpoint the checksum of its content.
pub fn seal(tensors: &StateDict, metadata: &mut BTreeMap<String, String>) {
    let text = |key: &str| metadata.get(key).map_or("", String::as_str);
    let checksum = checksum(tensors, [text("progress"), text("optimizer_steps")]);
    metadata.insert("checksum".to_owned(), checksum);
}

/// A checkpoint that was read and is whole.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    /// How far it is.
    pub progress: Progress,
    tensors: StateDict,
    steps: BTreeMap<String, u64>,
}

impl Checkpoint {
    /// Reads one.
    ///
    /// # Errors
    /// When the file is damaged or of another version.
    pub fn read(path: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let (tensors, metadata) = weights::read_safetensors(path)?;
        let not_ours = || damaged(path, "it is not a checkpoint of faculty".to_owned());
        let text = |key: &str| metadata.get(key).ok_or_else(not_ours);
        let (progress, steps) = (text("progress")?, text("optimizer_steps")?);
        // The version first: another one may have other fields.
        let Version { format } = parse(path, progress)?;
        if format != FORMAT {
            return Err(damaged(path, format!("format {format}, expected {FORMAT}")));
        }
        if *text("checksum")? != checksum(&tensors, [progress, steps]) {
            return Err(damaged(path, "it does not have its checksum".to_owned()));
        }
        let (progress, steps) = (parse(path, progress)?, parse(path, steps)?);
        Ok(Self { path: path.to_owned(), progress, tensors, steps })
    }

    /// Puts the state into a learner of the same recipe, whose tensors' names have this prefix;
    /// gives the student of the best epoch.
    ///
    /// # Errors
    /// When it is of other networks; the learner may then be partly changed and must not be used.
    pub fn restore(
        &self,
        prefix: &str,
        learner: &mut Learner,
        optimizer: &OptimizerConfig,
    ) -> Result<Option<Network>> {
        state::put_back(self, prefix, learner, optimizer)
    }
}

/// Over everything in a checkpoint: a file that lost a bit is not gone on from.
fn checksum(tensors: &StateDict, texts: [&str; 2]) -> String {
    let mut hash = Xxh3::new();
    texts.into_iter().for_each(|text| hash.update(text.as_bytes()));
    let mut bytes = Vec::new();
    for (name, array) in tensors {
        hash.update(format!("{name}{:?}", array.shape).as_bytes());
        bytes.clear();
        bytes.extend(array.values.iter().flat_map(|value| value.to_le_bytes()));
        hash.update(&bytes);
    }
    format!("{:016x}", hash.digest())
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("plain data with string keys always serialises")
}

fn parse<T: for<'a> Deserialize<'a>>(path: &Path, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| damaged(path, error.to_string()))
}

fn damaged(path: &Path, reason: String) -> Error {
    Error::Checkpoint { path: path.to_owned(), reason }
}
