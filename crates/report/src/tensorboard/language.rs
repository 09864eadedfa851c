//! Event files of language models' runs: scalars of every line of metrics.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use faculty_files::{self as files, write_atomically};
use faculty_records::language_run::LanguageRecord;
use faculty_records::run::EVENTS;

use super::record::{event_of, framed};
use super::steps::events_until;
use super::{MOST_BYTES, now, version_event};
use crate::error::{Error, Result};

/// An event file that grows by one event a line of metrics.
#[derive(Debug)]
pub struct LanguageEventFile {
    path: PathBuf,
    teachers: Vec<String>,
}

impl LanguageEventFile {
    /// Begins the events of a run that goes on behind `step`: those up to it are kept as they are, with
    /// their times, and those of steps that will be made again are left out.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn of_run(folder: &Path, step: u64, teachers: &[String]) -> Result<Self> {
        let path = folder.join(EVENTS);
        let mut before = Vec::new();
        // A file that cannot be read is written anew as one that is not there.
        if let Ok((file, _)) = files::open_no_follow(&path) {
            let _ = file.take(MOST_BYTES).read_to_end(&mut before);
        }
        let kept = events_until(&before, step);
        let mut bytes = framed(&version_event(now()));
        bytes.extend(kept);
        write_atomically(&path, &bytes).map_err(Error::io("write", &path))?;
        Ok(Self { path, teachers: teachers.to_vec() })
    }

    /// Adds a line, which was written now.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn append(&mut self, record: &LanguageRecord) -> Result<()> {
        let step = usize::try_from(record.step).unwrap_or(usize::MAX);
        let event = event_of(step, &language_scalars(record, &self.teachers), now());
        files::append(&self.path, &framed(&event)).map_err(Error::io("write", &self.path))
    }
}

/// Every number of a line with its tag; the part before `/` groups charts.
#[must_use]
pub fn language_scalars(record: &LanguageRecord, teachers: &[String]) -> Vec<(String, f64)> {
    let mut all = vec![
        ("loss/ce".to_owned(), record.ce),
        ("loss/kd".to_owned(), record.kd),
        ("training/gradient_norm".to_owned(), record.gradient_norm),
        ("training/learning_rate".to_owned(), record.learning_rate),
    ];
    if let Some(own) = record.validation {
        all.push(("validation/bits_per_character".to_owned(), own.bits_per_character));
        all.push(("validation/nll".to_owned(), own.nll));
    }
    all.extend(record.accepted.map(|own| ("writing/accepted".to_owned(), own)));
    for (teacher, weight) in teachers.iter().zip(&record.teacher_weights) {
        all.push((format!("teacher_weight/{teacher}"), *weight));
    }
    for (teacher, ce) in teachers.iter().zip(&record.teacher_ce) {
        all.push((format!("teacher_ce/{teacher}"), *ce));
    }
    all
}
