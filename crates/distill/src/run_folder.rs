//! The folder of a run: who may write it, and what lies where.
//!
//! `recipe.toml` (resolved), `metrics.jsonl`, `checkpoints/last.safetensors` and
//! `checkpoints/previous.safetensors` (everything), `checkpoints/best.safetensors` (the student),
//! `student.safetensors` (the result), `report.json` (what a report shows beside the rest),
//! `card.json`; of a text encoder also `config.json` and `tokenizer.json`. The program adds `report.html`, [`EVENTS`] and [`BENCH_FILE`]. `lock` belongs to the process that
//! writes here.
//!
//! With a `[plan]` also `plan.json` and either `stages/NAME/`, a run folder for each student, or
//! `peers/NAME.safetensors` and `peers/NAME.jsonl`, the weights and metrics of each peer.

use std::fs;
use std::path::{Path, PathBuf};

use faculty_files::{self as files, failed, remove_partial, write_atomically};

use crate::checkpoint::{CheckpointPair, Progress};
use crate::error::{Error, Result};
use crate::weight_file::{STUDENT_FILE, TOKENIZER_FILE};
use faculty_files::{FolderLock, check_place};
use faculty_records::bench::BENCH_FILE;
use faculty_records::plan::PlanCard;
use faculty_records::report_data::ReportData;
use faculty_records::run::{EVENTS, EpochRecord, RunCard};

/// What the owner of the lock does here.
const WHAT: &str = "trains in";

/// How a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// In a folder that holds no run.
    New,
    /// In place of a run that may be there.
    Overwrite,
    /// From the last checkpoint of the same run; from the start, if it ended before the first one.
    Resume,
}

/// A run folder.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    checkpoints: CheckpointPair,
    /// Of an opened folder.
    lock: Option<FolderLock>,
    /// Whether nothing is written here: another process of the same training does.
    looks_on: bool,
}

impl RunFolder {
    /// Opens (and for a new run creates) the folder, for this process alone.
    ///
    /// # Errors
    /// When it holds a run and `start` is [`Start::New`], holds none and `start` is
    /// [`Start::Resume`], another process writes it, or it cannot be written.
    pub fn open(path: &Path, start: Start) -> Result<Self> {
        let mut folder = Self::at(path);
        folder.check_start(start)?;
        folder.lock = Some(FolderLock::take(path, WHAT)?);
        match start {
            // Once more: another process may have been faster.
            Start::New => folder.check_unused()?,
            Start::Overwrite => folder.clear()?,
            Start::Resume => {}
        }
        let checkpoints = folder.checkpoint_folder();
        files::create_inside(path, &checkpoints).map_err(failed("create", &checkpoints))?;
        folder.remove_partial();
        Ok(folder)
    }

    /// Fails when a run cannot start so in this folder; nothing is written.
    ///
    /// # Errors
    /// As [`RunFolder::open`].
    pub fn check_start(&self, start: Start) -> Result<()> {
        check_place(&self.path)?;
        match start {
            Start::New => self.check_unused()?,
            // Nothing was written yet when it was killed: then it begins again. Without its recipe
            // nobody knows what the rest is.
            Start::Resume if !self.recipe().exists() && self.has_results() => {
                return Err(Error::NothingToResume { path: self.path.clone() });
            }
            Start::Resume | Start::Overwrite => {}
        }
        self.check_lock()
    }

    /// Fails while another process writes the folder; nothing is written.
    ///
    /// # Errors
    /// As [`RunFolder::open`].
    pub fn check_lock(&self) -> Result<()> {
        Ok(FolderLock::check(&self.path, WHAT)?)
    }

    fn has_results(&self) -> bool {
        let card = self.path.join("card.json").exists() || self.path.join("plan.json").exists();
        card || self.newest_checkpoint().is_some()
    }

    /// Fails when the folder already holds a run.
    ///
    /// # Errors
    /// [`Error::FolderInUse`].
    pub fn check_unused(&self) -> Result<()> {
        let finished = self.path.join("card.json").exists();
        if finished || self.recipe().exists() {
            return Err(Error::FolderInUse { path: self.path.clone(), finished });
        }
        Ok(())
    }

    /// A folder by name only; nothing is touched.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        let checkpoints = CheckpointPair::below(&path.join("checkpoints"));
        Self { path: path.to_owned(), checkpoints, lock: None, looks_on: false }
    }

    /// For a process whose run another process writes: what it would write goes nowhere.
    pub(crate) fn looking_on(path: &Path) -> Self {
        Self { looks_on: true, ..Self::at(path) }
    }

    /// Whether nothing is written here.
    pub(crate) fn looks_on(&self) -> bool {
        self.looks_on
    }

    /// A file of the run, whole.
    fn write(&self, name: &str, text: &str) -> Result<()> {
        if self.looks_on {
            return Ok(());
        }
        let path = self.path.join(name);
        Ok(write_atomically(&path, text.as_bytes()).map_err(failed("write", path))?)
    }

    /// Removes the files of an earlier run, and nothing else.
    fn clear(&self) -> Result<()> {
        for stage in entries(&self.path.join("stages"))?.into_iter().filter(|own| is_folder(own)) {
            Self::at(&stage).clear()?;
            // The lock of a stage is held by nobody but the owner of the whole; then folders that
            // hold nothing else.
            let _ = fs::remove_file(stage.join("lock"));
            let _ = fs::remove_dir(stage.join("checkpoints"));
            let _ = fs::remove_dir(stage);
        }
        let of_students = [self.checkpoint_folder(), self.path.join("peers")];
        let listed = of_students.iter().map(|own| entries(own)).collect::<Result<Vec<_>>>()?;
        let listed = listed.into_iter().flatten().filter(|path| {
            path.extension().is_some_and(|own| own == "safetensors" || own == "jsonl")
        });
        // The card first, the recipe last: without the one the run is not finished, with the other
        // the folder is in use.
        let first = [self.path.join("card.json"), self.path.join("plan.json"), self.student()];
        let reports =
            ["report.json", "report.html", EVENTS, BENCH_FILE, "config.json", TOKENIZER_FILE]
                .map(|name| self.path.join(name));
        let last = [self.metrics(), self.recipe()];
        for file in first.into_iter().chain(reports).chain(listed).chain(last) {
            files::remove(&file).map_err(failed("remove", &file))?;
        }
        Ok(())
    }

    /// Removes what a process that was killed had begun to write.
    fn remove_partial(&self) {
        [self.checkpoint_folder(), self.peer_folder()].iter().for_each(|own| remove_partial(own));
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The student alone: the result.
    #[must_use]
    pub fn student(&self) -> PathBuf {
        self.path.join(STUDENT_FILE)
    }

    /// The newest file with everything that the run needs to go on, if there is one.
    #[must_use]
    pub fn newest_checkpoint(&self) -> Option<&Path> {
        self.checkpoints.newest()
    }

    /// How far the run is by its newest whole checkpoint; nothing without one.
    ///
    /// # Errors
    /// When there are checkpoints, and none can be used.
    pub fn progress(&self) -> Result<Option<Progress>> {
        Ok(self.checkpoints.read()?.map(|(checkpoint, _)| checkpoint.progress))
    }

    pub(crate) fn checkpoints(&self) -> &CheckpointPair {
        &self.checkpoints
    }

    /// The student at the best validation epoch so far.
    #[must_use]
    pub fn best_student(&self) -> PathBuf {
        self.checkpoint_folder().join("best.safetensors")
    }

    /// One JSON line an epoch.
    #[must_use]
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// The resolved recipe.
    #[must_use]
    pub fn recipe(&self) -> PathBuf {
        self.path.join("recipe.toml")
    }

    /// The run of one student of a plan.
    #[must_use]
    pub fn stage(&self, name: &str) -> Self {
        Self::at(&self.path.join("stages").join(name))
    }

    /// The files of one peer of the student.
    pub(crate) fn peer(&self, name: &str) -> StudentFiles {
        let peers = self.peer_folder();
        StudentFiles {
            weights: peers.join(format!("{name}.safetensors")),
            best: self.checkpoint_folder().join(format!("best-{name}.safetensors")),
            metrics: peers.join(format!("{name}.jsonl")),
            looks_on: self.looks_on,
        }
    }

    /// Where those of all peers lie.
    pub(crate) fn peer_folder(&self) -> PathBuf {
        self.path.join("peers")
    }

    /// Those of the student itself.
    pub(crate) fn own_files(&self) -> StudentFiles {
        StudentFiles {
            weights: self.student(),
            best: self.best_student(),
            metrics: self.metrics(),
            looks_on: self.looks_on,
        }
    }

    fn checkpoint_folder(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    pub(crate) fn write_recipe(&self, text: &str) -> Result<()> {
        self.write("recipe.toml", text)
    }

    /// What a text encoder needs beside its weights.
    pub(crate) fn write_encoder(&self, config: &str, tokenizer: &str) -> Result<()> {
        self.write("config.json", config)?;
        self.write(TOKENIZER_FILE, tokenizer)
    }

    pub(crate) fn write_card(&self, card: &RunCard) -> Result<()> {
        self.write_json("card.json", card)
    }

    pub(crate) fn write_plan_card(&self, card: &PlanCard) -> Result<()> {
        self.write_json("plan.json", card)
    }

    pub(crate) fn write_json(&self, name: &str, card: &impl serde::Serialize) -> Result<()> {
        self.write(name, &serde_json::to_string_pretty(card).expect("plain data always serialises"))
    }

    pub(crate) fn write_report(&self, data: &ReportData) -> Result<()> {
        let text = serde_json::to_string(data).expect("plain data always serialises");
        self.write("report.json", &text)
    }

    /// What was looked at when the run ended; none where that is missing or of another layout.
    pub(crate) fn report(&self) -> Option<ReportData> {
        let text = fs::read_to_string(self.path.join("report.json")).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// The card of a finished run.
    pub(crate) fn card(&self) -> Result<Option<RunCard>> {
        let path = self.path.join("card.json");
        match fs::read_to_string(&path) {
            // One that cannot be read is written again by the run.
            Ok(text) => Ok(serde_json::from_str(&text).ok()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", path)(error).into()),
        }
    }
}

/// What is kept of one student.
#[derive(Clone, Debug)]
pub(crate) struct StudentFiles {
    /// The result.
    pub(crate) weights: PathBuf,
    /// Its weights at the best validation epoch so far.
    pub(crate) best: PathBuf,
    /// One JSON line an epoch.
    pub(crate) metrics: PathBuf,
    /// Whether nothing is written here.
    pub(crate) looks_on: bool,
}

impl StudentFiles {
    /// Appends a line; returns the file's new length.
    pub(crate) fn append_metrics(&self, record: &EpochRecord, length: u64) -> Result<u64> {
        let path = &self.metrics;
        let mut line = serde_json::to_string(record).expect("plain data always serialises");
        line.push('\n');
        if self.looks_on {
            return Ok(length + line.len() as u64);
        }
        files::append(path, line.as_bytes()).map_err(failed("write", path))?;
        Ok(length + line.len() as u64)
    }

    /// Cuts off the lines after a checkpoint: those epochs are trained again. Whether all lines
    /// before it were there.
    pub(crate) fn cut_metrics(&self, length: u64) -> Result<bool> {
        if self.looks_on {
            return Ok(true);
        }
        let path = &self.metrics;
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed("read", path)(error).into()),
        };
        let expected = usize::try_from(length).unwrap_or(usize::MAX);
        if text.len() == expected {
            return Ok(true);
        }
        let complete = text.len() > expected;
        // Where lines were lost, at least no half one stays.
        let end = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let kept = if complete { expected } else { end };
        write_atomically(path, &text[..kept]).map_err(failed("write", path))?;
        Ok(complete)
    }
}

/// A folder, and no link to one.
fn is_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|own| own.is_dir())
}

/// What lies in a folder of a run; nothing if there is none, or a link, which leads elsewhere.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    if folder.is_symlink() {
        return Ok(Vec::new());
    }
    let list = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        list => list.map_err(failed("read", folder))?,
    };
    list.map(|entry| Ok(entry.map_err(failed("read", folder))?.path())).collect()
}
