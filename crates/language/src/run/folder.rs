//! The folder of a run of language models.
//!
//! ```text
//! recipe.toml                       resolved
//! metrics.jsonl                     a line after every `train.evaluate_every` steps
//! checkpoints/last.safetensors      everything, and previous.safetensors, the one before
//! checkpoints/best.safetensors      the student at its best validation
//! student/                          the result, a folder of Hugging Face's kind
//! measurements.json                 what models were measured to be, so that it is not measured again
//! language-card.json                what was trained, on what, and how well; written last
//! ```

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use faculty_files::{
    FolderLock, append, check_place, create_inside, failed, remove, remove_partial,
    write_atomically,
};
use faculty_records::language_run::{LANGUAGE_CARD, LanguageCard, LanguageRecord};
use faculty_records::run::EVENTS;

use super::measurements::MEASUREMENTS;
use crate::error::LanguageError;
use crate::run_error::RunError;
use crate::tokenizer::read;

/// What the owner of the lock does here.
pub(super) const WHAT: &str = "trains in";
/// The delivered student.
pub const STUDENT_FOLDER: &str = "student";
/// Where checkpoints lie.
const CHECKPOINTS: &str = "checkpoints";
/// Files of it.
const STUDENT_FILES: [&str; 4] =
    ["config.json", "model.safetensors", "tokenizer.json", "generation_config.json"];

/// The card of the run in a folder, if it is finished.
pub(super) fn card_in(path: &Path) -> Option<LanguageCard> {
    serde_json::from_slice(&read(&path.join(LANGUAGE_CARD)).ok()?).ok()
}

/// A checkpoint of the run in a folder.
pub(super) fn checkpoint_in(path: &Path, name: &str) -> PathBuf {
    path.join(CHECKPOINTS).join(format!("{name}.safetensors"))
}

/// How a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LanguageStart {
    /// In a folder that holds no run.
    New,
    /// In place of a run that may be there.
    Overwrite,
    /// From the last checkpoint of the same run; from the start, if it ended before the first one.
    Resume,
}

/// A run's folder, opened for this process alone.
#[derive(Debug)]
pub(super) struct LanguageFolder {
    path: PathBuf,
    _lock: FolderLock,
}

impl LanguageFolder {
    pub(super) fn open(path: &Path, start: LanguageStart) -> Result<Self, RunError> {
        check_place(path)?;
        let lock = FolderLock::take(path, WHAT)?;
        let folder = Self { path: path.to_owned(), _lock: lock };
        // Before anything is removed or written in them: a link may lead anywhere.
        for inside in [folder.checkpoints(), folder.student()] {
            if inside.is_symlink() {
                create_inside(path, &inside).map_err(failed("write", &inside))?;
            }
        }
        let begun = folder.recipe().exists();
        match start {
            LanguageStart::New if begun || folder.card().exists() => {
                let finished = folder.card().exists();
                return Err(RunError::FolderInUse { path: path.to_owned(), finished });
            }
            LanguageStart::Overwrite => folder.clear()?,
            // Without its recipe nobody knows what the rest is.
            LanguageStart::Resume if !begun && folder.checkpoint("last").exists() => {
                return Err(RunError::NothingToResume { path: path.to_owned() });
            }
            LanguageStart::New | LanguageStart::Resume => {}
        }
        let checkpoints = folder.checkpoints();
        create_inside(path, &checkpoints).map_err(failed("create", &checkpoints))?;
        [path, &checkpoints].into_iter().for_each(remove_partial);
        Ok(folder)
    }

    /// Removes the files of an earlier run of this kind, and nothing else.
    fn clear(&self) -> Result<(), RunError> {
        let student = self.student();
        let of_student = STUDENT_FILES.map(|name| student.join(name));
        let checkpoints = ["last", "previous", "best"].map(|name| self.checkpoint(name));
        let beside = ["report.html", MEASUREMENTS, EVENTS].map(|name| self.path.join(name));
        let first = [self.card()];
        // The card first, the recipe last: without the one the run is not finished, with the other the
        // folder is in use.
        for file in first
            .iter()
            .chain(&beside)
            .chain(&of_student)
            .chain(&checkpoints)
            .chain([&self.metrics(), &self.recipe()])
        {
            remove(file).map_err(failed("remove", file))?;
        }
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn recipe(&self) -> PathBuf {
        self.path.join("recipe.toml")
    }

    pub(super) fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    pub(super) fn card(&self) -> PathBuf {
        self.path.join(LANGUAGE_CARD)
    }

    pub(super) fn student(&self) -> PathBuf {
        self.path.join(STUDENT_FOLDER)
    }

    fn checkpoints(&self) -> PathBuf {
        self.path.join(CHECKPOINTS)
    }

    pub(super) fn checkpoint(&self, name: &str) -> PathBuf {
        checkpoint_in(&self.path, name)
    }

    pub(super) fn write_recipe(&self, text: &str) -> Result<(), RunError> {
        let path = self.recipe();
        Ok(write_atomically(&path, text.as_bytes()).map_err(failed("write", path))?)
    }

    pub(super) fn write_card(&self, card: &LanguageCard) -> Result<(), RunError> {
        let text = serde_json::to_string_pretty(card).expect("plain data always serialises");
        let path = self.card();
        Ok(write_atomically(&path, text.as_bytes()).map_err(failed("write", path))?)
    }

    /// The card of a finished run.
    pub(super) fn read_card(&self) -> Option<LanguageCard> {
        card_in(&self.path)
    }

    /// Appends a line; gives the file's new length.
    pub(super) fn append(&self, record: &LanguageRecord, length: u64) -> Result<u64, RunError> {
        let path = self.metrics();
        let mut line = serde_json::to_string(record).expect("plain data always serialises");
        line.push('\n');
        append(&path, line.as_bytes()).map_err(failed("write", path))?;
        Ok(length + line.len() as u64)
    }

    /// Cuts off what was written after a checkpoint: those steps are made again.
    pub(super) fn cut_metrics(&self, length: u64) -> Result<(), RunError> {
        let path = self.metrics();
        let text = match read(&path) {
            Ok(text) => text,
            Err(LanguageError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => {
                Vec::new()
            }
            Err(error) => return Err(error.into()),
        };
        let kept = usize::try_from(length).unwrap_or(usize::MAX).min(text.len());
        if kept < text.len() {
            write_atomically(&path, &text[..kept]).map_err(failed("write", path))?;
        }
        Ok(())
    }

    /// Writes what a student needs beside its weights.
    pub(super) fn write_tokenizer(&self, tokenizer: &str, ends: &[u32]) -> Result<(), RunError> {
        let folder = self.student();
        create_inside(&self.path, &folder).map_err(failed("create", &folder))?;
        let generation = serde_json::json!({ "eos_token_id": ends }).to_string();
        for (name, text) in [("tokenizer.json", tokenizer), ("generation_config.json", &generation)]
        {
            let path = folder.join(name);
            write_atomically(&path, text.as_bytes()).map_err(failed("write", path))?;
        }
        Ok(())
    }
}
