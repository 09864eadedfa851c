//! A teacher of which only its logits are known.

use std::path::PathBuf;

use faculty_data::{LogitTable, SampleId};
use faculty_nets::MapShape;

use faculty_nets::{FrozenClassifier, TeacherOutputs};

use crate::error::{Result, TeacherError};
use crate::source::{TeacherBatch, TeacherSource};
use faculty_nets::Tap;

/// A table of logits by sample id.
///
/// It says the same of a sample in every augmented view: the view is not looked at. It has no maps
/// and no classifier.
#[derive(Clone, Debug)]
pub struct TableTeacher {
    name: String,
    path: PathBuf,
    table: LogitTable,
}

impl TableTeacher {
    /// `name` and `path` are for messages.
    #[must_use]
    pub fn new(name: &str, path: PathBuf, table: LogitTable) -> Self {
        Self { name: name.to_owned(), path, table }
    }

    /// Checks that every one of `ids` is in the table; `part` is for the message.
    ///
    /// # Errors
    /// [`TeacherError::MissingSamples`] with how many are missing and the first of them.
    pub fn check_covers(&self, ids: &[SampleId], part: &'static str) -> Result<()> {
        const SHOWN: usize = 3;
        let missing: Vec<SampleId> =
            ids.iter().copied().filter(|&id| self.table.get(id).is_none()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(TeacherError::MissingSamples {
            teacher: self.name.clone(),
            path: self.path.clone(),
            part,
            missing: missing.len(),
            samples: ids.len(),
            first: missing.into_iter().take(SHOWN).collect(),
        })
    }
}

impl TeacherSource for TableTeacher {
    fn classes(&self) -> usize {
        self.table.classes()
    }

    fn tap_shape(&self, _tap: Tap) -> Option<MapShape> {
        None
    }

    fn classifier(&self) -> Option<FrozenClassifier> {
        None
    }

    fn is_lookup(&self) -> bool {
        true
    }

    fn outputs(&mut self, batch: &TeacherBatch<'_>, _taps: &[Tap]) -> Result<TeacherOutputs> {
        self.check_covers(batch.ids, "current")?;
        let rows = batch.ids.iter().filter_map(|&id| self.table.get(id));
        Ok(TeacherOutputs { logits: rows.flatten().copied().collect(), maps: Vec::new() })
    }
}
