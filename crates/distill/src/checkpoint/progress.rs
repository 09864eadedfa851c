//! How far a training is.

use faculty_nets::Precision;
use faculty_records::quality::Quality;
use faculty_records::run::{Change, EpochRecord};
use serde::{Deserialize, Serialize};

use super::identity::Identity;
use crate::epoch_sums::EpochSums;

/// Version of a checkpoint's layout.
pub(super) const FORMAT: u32 = 2;

/// Progress at a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Version of the file's layout.
    pub format: u32,
    /// Version of the program that wrote it.
    pub faculty: String,
    /// Path of the numeric kernels that it trained with.
    pub kernels: String,
    /// How many processes trained together.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub processes: usize,
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
    /// Batches left out so far because their loss was NaN or infinite.
    pub skipped_batches: usize,
    /// What was changed on the way, by request.
    pub changes: Vec<Change>,
    /// What must not change between parts of a run.
    pub identity: Identity,
}

fn one() -> usize {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands fields on by reference")]
fn is_one(processes: &usize) -> bool {
    *processes == 1
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
    /// On the validation split.
    pub quality: Quality,
}

impl Progress {
    /// Before the first epoch of steps in this precision.
    #[must_use]
    pub fn start(identity: Identity, precision: Precision) -> Self {
        Self {
            format: FORMAT,
            faculty: env!("CARGO_PKG_VERSION").to_owned(),
            kernels: precision.kernels().to_owned(),
            processes: 1,
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
