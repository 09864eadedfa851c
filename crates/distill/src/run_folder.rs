//! The folder of a run: who may write it, and what lies where.
//!
//! `recipe.toml` (resolved), `metrics.jsonl`, `checkpoints/last.safetensors` (everything),
//! `checkpoints/best.safetensors` (the student), `student.safetensors` (the result), `report.json`
//! (what a report shows beside the rest), `card.json`. The program adds `report.html`, [`EVENTS`] and
//! [`BENCH_FILE`].
//!
//! With a `[plan]` also `plan.json` and either `stages/NAME/`, a run folder for each student, or
//! `peers/NAME.safetensors` and `peers/NAME.jsonl`, the weights and metrics of each peer.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use faculty_nets::weights::write_atomically;

use crate::bench_model::BENCH_FILE;
use crate::error::{Error, Result};
use crate::plan::PlanCard;
use crate::record::{EpochRecord, RunCard};
use crate::report_data::ReportData;

/// Name of the TensorBoard events in a run folder.
pub const EVENTS: &str = "events.out.tfevents.faculty";

/// How a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// In a folder that holds no run.
    New,
    /// In place of a run that may be there.
    Overwrite,
    /// From the last checkpoint of the same run.
    Resume,
}

/// An opened run folder.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Opens (and for a new run creates) the folder.
    ///
    /// # Errors
    /// When it holds a run and `start` is [`Start::New`], or cannot be written.
    pub fn open(path: &Path, start: Start) -> Result<Self> {
        let folder = Self { path: path.to_owned() };
        match start {
            Start::Resume => return Ok(folder),
            Start::New => folder.check_unused()?,
            Start::Overwrite => folder.clear()?,
        }
        let checkpoints = folder.checkpoints();
        fs::create_dir_all(&checkpoints).map_err(Error::io("create", &checkpoints))?;
        Ok(folder)
    }

    /// Fails when the folder already holds a run.
    ///
    /// # Errors
    /// [`Error::FolderInUse`].
    pub fn check_unused(&self) -> Result<()> {
        let finished = self.path.join("card.json").exists();
        if finished || self.path.join("recipe.toml").exists() {
            return Err(Error::FolderInUse { path: self.path.clone(), finished });
        }
        Ok(())
    }

    /// A folder by name only; nothing is touched.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Removes the files of an earlier run, and nothing else.
    fn clear(&self) -> Result<()> {
        for stage in entries(&self.path.join("stages"))?.into_iter().filter(|own| own.is_dir()) {
            Self::at(&stage).clear()?;
            // Folders that hold nothing else.
            let _ = fs::remove_dir(stage.join("checkpoints"));
            let _ = fs::remove_dir(stage);
        }
        let of_students = [self.checkpoints(), self.path.join("peers")];
        let listed = of_students.iter().map(|own| entries(own)).collect::<Result<Vec<_>>>()?;
        let listed = listed.into_iter().flatten().filter(|path| {
            path.extension().is_some_and(|own| own == "safetensors" || own == "jsonl")
        });
        // The card first, the recipe last: without the one the run is not finished, with the other
        // the folder is in use.
        let first = [self.path.join("card.json"), self.path.join("plan.json"), self.student()];
        let reports =
            ["report.json", "report.html", EVENTS, BENCH_FILE].map(|name| self.path.join(name));
        let last = [self.metrics(), self.recipe()];
        for file in first.into_iter().chain(reports).chain(listed).chain(last) {
            match fs::remove_file(&file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("remove", file)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The student alone: the result.
    #[must_use]
    pub fn student(&self) -> PathBuf {
        self.path.join("student.safetensors")
    }

    /// Everything that the run needs to go on.
    #[must_use]
    pub fn last_checkpoint(&self) -> PathBuf {
        self.checkpoints().join("last.safetensors")
    }

    /// The student at the best validation epoch so far.
    #[must_use]
    pub fn best_student(&self) -> PathBuf {
        self.checkpoints().join("best.safetensors")
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
        Self { path: self.path.join("stages").join(name) }
    }

    /// The files of one peer of the student.
    pub(crate) fn peer(&self, name: &str) -> StudentFiles {
        let peers = self.path.join("peers");
        StudentFiles {
            weights: peers.join(format!("{name}.safetensors")),
            best: self.checkpoints().join(format!("best-{name}.safetensors")),
            metrics: peers.join(format!("{name}.jsonl")),
        }
    }

    /// Those of the student itself.
    pub(crate) fn own_files(&self) -> StudentFiles {
        StudentFiles { weights: self.student(), best: self.best_student(), metrics: self.metrics() }
    }

    fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    pub(crate) fn write_recipe(&self, text: &str) -> Result<()> {
        let path = self.recipe();
        write_atomically(&path, text.as_bytes()).map_err(Error::io("write", path))
    }

    pub(crate) fn write_card(&self, card: &RunCard) -> Result<()> {
        self.write_json("card.json", card)
    }

    pub(crate) fn write_plan_card(&self, card: &PlanCard) -> Result<()> {
        self.write_json("plan.json", card)
    }

    pub(crate) fn write_json(&self, name: &str, card: &impl serde::Serialize) -> Result<()> {
        let path = self.path.join(name);
        let text = serde_json::to_string_pretty(card).expect("plain data always serialises");
        write_atomically(&path, text.as_bytes()).map_err(Error::io("write", path))
    }

    pub(crate) fn write_report(&self, data: &ReportData) -> Result<()> {
        let path = self.path.join("report.json");
        let text = serde_json::to_string(data).expect("plain data always serialises");
        write_atomically(&path, text.as_bytes()).map_err(Error::io("write", path))
    }

    /// The card of a finished run.
    pub(crate) fn card(&self) -> Result<Option<RunCard>> {
        let path = self.path.join("card.json");
        match fs::read_to_string(&path) {
            // One that cannot be read is written again by the run.
            Ok(text) => Ok(serde_json::from_str(&text).ok()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", path)(error)),
        }
    }

    pub(crate) fn append_metrics(&self, record: &EpochRecord) -> Result<()> {
        self.own_files().append_metrics(record)
    }

    /// Drops lines of epochs after `epoch`: a run that ended between its metrics line and its
    /// checkpoint trains that epoch again.
    pub(crate) fn keep_metrics_until(&self, epoch: usize) -> Result<()> {
        self.own_files().keep_metrics_until(epoch)
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
}

impl StudentFiles {
    pub(crate) fn append_metrics(&self, record: &EpochRecord) -> Result<()> {
        let mut line = serde_json::to_string(record).expect("plain data always serialises");
        line.push('\n');
        fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.metrics)
            .and_then(|mut file| file.write_all(line.as_bytes()).and_then(|()| file.sync_data()))
            .map_err(Error::io("write", &self.metrics))
    }

    pub(crate) fn keep_metrics_until(&self, epoch: usize) -> Result<()> {
        let text = fs::read_to_string(&self.metrics).map_err(Error::io("read", &self.metrics))?;
        let kept: String = text
            .lines()
            .filter(|line| {
                serde_json::from_str::<EpochRecord>(line).is_ok_and(|r| r.epoch <= epoch)
            })
            .flat_map(|line| [line, "\n"])
            .collect();
        write_atomically(&self.metrics, kept.as_bytes()).map_err(Error::io("write", &self.metrics))
    }
}

/// What lies in a folder; nothing if there is none.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        list => list.map_err(Error::io("read", folder))?,
    };
    list.map(|entry| Ok(entry.map_err(Error::io("read", folder))?.path())).collect()
}
