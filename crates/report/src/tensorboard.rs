//! TensorBoard event files: scalars of every epoch, and of every Nth training step where asked for.
//!
//! ```text
//! record = length u64 | masked CRC-32C of the length u32 | bytes | masked CRC-32C of the bytes u32
//! bytes  = Event { wall_time = 1: double, step = 2: int64, file_version = 3: string,
//!                  summary = 5: { value = 1, repeated: { tag = 1: string, simple_value = 2: float } } }
//! ```
//! Little-endian; `mask(c) = (c >> 15 | c << 17) + 0xa282ead8`, as TensorFlow writes its records.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use faculty_files::{self as files, write_atomically};
use faculty_records::run::{EVENTS, EpochRecord};

use crate::error::{Error, Result};
use crate::load::epochs_before;

mod language;
mod record;
mod steps;

pub use self::language::{LanguageEventFile, language_scalars};
use self::record::{bytes_field, double, event_of, framed};
pub use self::steps::StepRecord;

/// No event file of a run is larger: an event of a step takes about 150 bytes.
const MOST_BYTES: u64 = 256 << 20;

/// An event file that grows by one event an epoch.
#[derive(Debug)]
pub struct EventFile {
    path: PathBuf,
}

impl EventFile {
    /// Begins the events of a run folder that goes on with epoch `next`, of which `batches` are done.
    /// Events of steps before that are kept.
    ///
    /// # Errors
    /// As [`EventFile::begin`].
    pub fn of_run(folder: &Path, next: usize, batches: usize) -> Result<Self> {
        let path = folder.join(EVENTS);
        let mut before = Vec::new();
        // A file that cannot be read is written anew as one that is not there.
        if let Ok((file, _)) = faculty_files::open_no_follow(&path) {
            let _ = file.take(MOST_BYTES).read_to_end(&mut before);
        }
        let steps = steps::kept(&before, next, batches);
        Self::begin(&path, &epochs_before(folder, next)?, &steps)
    }

    /// Writes the file anew with the epochs so far, since a run that goes on may train one again, and
    /// with records of events that are kept.
    ///
    /// Their times are counted back from now by the epochs' seconds.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(path: &Path, epochs: &[EpochRecord], kept: &[u8]) -> Result<Self> {
        let mut time = now() - epochs.iter().map(|record| record.seconds).sum::<f64>();
        let mut bytes = framed(&version_event(time));
        for record in epochs {
            time += record.seconds;
            bytes.extend(framed(&event(record, time)));
        }
        bytes.extend(kept);
        write_atomically(path, &bytes).map_err(Error::io("write", path))?;
        Ok(Self { path: path.to_owned() })
    }

    /// Adds one epoch, which is over now.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn append(&mut self, record: &EpochRecord) -> Result<()> {
        let bytes = framed(&event(record, now()));
        files::append(&self.path, &bytes).map_err(Error::io("write", &self.path))
    }

    /// Adds one training step, which is over now.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn append_step(&mut self, record: &StepRecord) -> Result<()> {
        let bytes = framed(&record.event(now()));
        files::append(&self.path, &bytes).map_err(Error::io("write", &self.path))
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Every number of an epoch with its tag; the part before `/` groups charts.
#[must_use]
pub fn scalars(record: &EpochRecord) -> Vec<(String, f64)> {
    let mut all = vec![
        ("loss/total".to_owned(), record.loss),
        ("accuracy/train".to_owned(), record.train_top1),
        ("training/learning_rate".to_owned(), record.learning_rate),
        ("training/images_per_second".to_owned(), record.images_per_second),
    ];
    for (name, term) in &record.terms {
        all.push((format!("loss/{name}"), term.value));
        all.push((format!("share/{name}"), term.share));
    }
    if let Some(quality) = record.validation {
        all.push(("accuracy/validation".to_owned(), quality.top1));
        all.push(("accuracy/validation_top5".to_owned(), quality.top5));
        let known = |name: &str, own: Option<f64>| own.map(|own| (format!("accuracy/{name}"), own));
        all.extend(known("validation_balanced", quality.balanced_accuracy));
        all.extend(known("validation_macro_f1", quality.macro_f1));
        all.push(("validation/nll".to_owned(), quality.nll));
        all.push(("validation/ece".to_owned(), quality.ece));
    }
    for (level, weights) in &record.teacher_weights {
        for (teacher, weight) in weights {
            all.push((format!("teacher_weight_{level}/{teacher}"), *weight));
        }
    }
    all
}

fn version_event(time: f64) -> Vec<u8> {
    let mut event = Vec::new();
    double(&mut event, 1, time);
    bytes_field(&mut event, 3, b"brain.Event:2");
    event
}

fn event(record: &EpochRecord, time: f64) -> Vec<u8> {
    event_of(record.epoch, &scalars(record), time)
}
