//! Checkpoints: everything that training changes, in one safetensors file.
//!
//! Everything else is a function of the recipe, the epoch and sample ids, so a run continued from
//! a checkpoint, between two epochs or in the middle of one, is the same run, bit for bit.

mod file;
mod identity;
mod pair;
mod progress;
mod state;

pub use file::{Checkpoint, seal};
pub use identity::Identity;
pub(crate) use identity::recipe_changes;
pub(crate) use pair::CheckpointPair;
pub use progress::{BestEpoch, EpochPart, EpochTimes, PeerProgress, Progress};
pub(crate) use state::Saved;
