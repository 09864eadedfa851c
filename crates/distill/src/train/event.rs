//! What a training tells while it goes on.

use crate::record::{EarlyStop, EpochRecord};

/// What a training tells while it goes on.
#[derive(Debug)]
pub enum Event<'a> {
    /// Training begins (or goes on) with this epoch.
    Started {
        /// First epoch to train, from 1.
        epoch: usize,
        /// Its batches that are done already.
        batch: usize,
    },
    /// A batch is done.
    Batch {
        /// From 1.
        epoch: usize,
        /// From 1.
        batch: usize,
        /// Batches of the epoch.
        batches: usize,
        /// Mean loss of the epoch so far.
        loss: f64,
        /// Loss of this batch; NaN of one that was left out.
        batch_loss: f64,
        /// Training speed of the epoch so far.
        images_per_second: f64,
    },
    /// An epoch is done and written down.
    Epoch(&'a EpochRecord),
    /// There will be no more epochs.
    StoppedEarly(&'a EarlyStop),
    /// Something that the user should know; the run goes on, or an error follows.
    Warning(String),
}

/// Hears each member's name with what it tells.
pub(crate) type Observer<'a> = &'a mut dyn FnMut(&str, Event<'_>);
