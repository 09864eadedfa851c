//! What `faculty watch` shows: the runs below a folder as they grow, as JSON.
//!
//! ```text
//! Watch::open(folder) -> Watch::overview -> {title, runs: [{id, name, state, epoch, …}], notes}
//!                     -> Watch::curves(ids) -> {charts: [{title, caption, svg}]}
//! ```
//! Runs may be at work: a last line of `metrics.jsonl` that is not whole yet is left for the next look.
//! Nothing is written, no lock is tried, no link followed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use faculty_escape as escape;
use faculty_files::FolderLock;
use faculty_records::run::EpochRecord;
use serde_json::{Value, json};

use self::folder::{Found, Place, find};
use self::number::number;
use crate::charts;
use crate::error::{Error, Result};
use crate::load::Report;
use crate::svg::Chart;

mod folder;
mod language;
mod number;

/// The page, which asks for the rest: `watch.css`, `watch.js`, `runs.json`, `curves.json?run=ID`.
pub const PAGE: &str = include_str!("watch/page.html");

/// Its style: that of a report, and what is its own.
pub const STYLE: &str = concat!(include_str!("html/page.css"), include_str!("watch/page.css"));

/// Its script.
pub const SCRIPT: &str = include_str!("watch/page.js");

/// Runs whose curves are drawn into one chart, at most: there are eight colours.
pub const MOST_CURVES: usize = 8;

/// Epochs whose mean length the estimate of the time left takes.
const RECENT: usize = 5;

/// The runs below one folder.
#[derive(Debug)]
pub struct Watch {
    root: PathBuf,
    /// What was read, by path; read again when it has changed.
    read: BTreeMap<PathBuf, Found>,
}

impl Watch {
    /// Of a run folder, a comparison, or any folder with such below it; it may be empty still.
    ///
    /// # Errors
    /// When it is no folder or cannot be read.
    pub fn open(folder: &Path) -> Result<Self> {
        let root = folder.canonicalize().map_err(Error::io("read", folder))?;
        std::fs::read_dir(&root).map_err(Error::io("read", folder))?;
        Ok(Self { root, read: BTreeMap::new() })
    }

    /// All runs, `now` being the time that ages are counted from.
    ///
    /// Each has `id` (16 hexadecimal digits, for [`Watch::curves`]), `name` (its path below the folder),
    /// `state` (`running`, `finished`, `stopped`; `unfinished` where it cannot be told), `version` (changes
    /// with its files), `method`, `student`, `epoch` and `epochs` (done and planned), `loss`, `validation`,
    /// `best` (`{epoch, top1}`; percent), `test` (percent), `eta_seconds`, `age_seconds` (since it last
    /// wrote), `resumable`, `notes`, `unit` (`epoch`) and `measure` (`top1`). Runs of language models have
    /// steps in place of epochs (`unit` is `step`) and bits a character in place of accuracies (`measure` is
    /// `bits`, and `best` `{epoch, bits}`). What is not known, or no finite number, is `null`.
    #[must_use]
    pub fn overview(&mut self, now: SystemTime) -> Value {
        let (places, notes) = self.look();
        let runs: Vec<Value> =
            places.iter().map(|place| summary(place, &self.read[&place.metrics], now)).collect();
        json!({"title": self.title(), "runs": runs, "notes": notes})
    }

    /// Curves of the runs with these ids, of [`MOST_CURVES`] at most: as a report draws them, several
    /// into one chart. Ids of no run are passed over.
    #[must_use]
    pub fn curves(&mut self, ids: &[&str]) -> Value {
        let (places, _) = self.look();
        let chosen = places.iter().filter(|place| ids.contains(&place.id().as_str()));
        let chosen: Vec<&Place> = chosen.take(MOST_CURVES).collect();
        let (language, others): (Vec<&Found>, Vec<&Found>) = chosen
            .iter()
            .map(|place| &self.read[&place.metrics])
            .partition(|own| own.language.is_some());
        let of_language: Vec<_> = language
            .iter()
            .filter_map(|own| Some((own.run.name.as_str(), own.language.as_ref()?)))
            .collect();
        let runs: Vec<_> = others.iter().map(|own| own.run.clone()).collect();
        let report = Report { title: self.title(), runs, comparison: None, notes: Vec::new() };
        let mut all = charts::learning(&report);
        for run in &report.runs {
            let own = charts::teachers(run).into_iter();
            all.extend(own.map(|chart| match report.runs.len() {
                1 => chart,
                _ => Chart { title: format!("{}: {}", run.name, chart.title), ..chart },
            }));
        }
        all.extend(language::curves(&of_language));
        let charts: Vec<Value> = all
            .iter()
            .map(|own| json!({"title": own.title, "caption": own.caption, "svg": own.svg}))
            .collect();
        json!({"charts": charts})
    }

    fn title(&self) -> String {
        let name = self.root.file_name().unwrap_or(self.root.as_os_str());
        escape::name(&name.to_string_lossy()).into_owned()
    }

    /// Finds the runs and reads those that have changed.
    fn look(&mut self) -> (Vec<Place>, Vec<String>) {
        let (places, notes) = find(&self.root);
        let mut before = std::mem::take(&mut self.read);
        for place in &places {
            let kept = before.remove(&place.metrics).filter(|found| found.is_current(place));
            self.read.insert(place.metrics.clone(), kept.unwrap_or_else(|| Found::read(place)));
        }
        (places, notes)
    }
}

fn summary(place: &Place, found: &Found, now: SystemTime) -> Value {
    let run = &found.run;
    let last = run.epochs.last();
    let age = found.written.and_then(|at| now.duration_since(at).ok()).map(|own| own.as_secs_f64());
    let language_card = found.language.as_ref().and_then(|own| own.card.as_ref());
    let is_finished = run.card.is_some() || language_card.is_some() || place.is_done;
    let state = match (is_finished, is_held(place)) {
        (true, _) => "finished",
        (false, Some(true)) => "running",
        (false, Some(false)) => "stopped",
        (false, None) => "unfinished",
    };
    let eta = (state == "running").then(|| left(&run.epochs, found.epochs?, age?)).flatten();
    let best = best(&run.epochs).map(|(epoch, top1)| json!({"epoch": epoch, "top1": number(top1)}));
    let card = run.card.as_ref();
    let mut summary = json!({
        "id": place.id(),
        "name": run.name,
        "state": state,
        "version": found.version(),
        "method": found.method.as_deref().or(card.map(|own| own.method.as_str())).map(escape::name),
        "student": found.student.as_deref().or(card.map(|own| own.student.as_str())).map(escape::name),
        "epoch": last.map_or(0, |record| record.epoch),
        "epochs": found.epochs,
        "loss": last.and_then(|record| number(record.loss)),
        "validation": last.and_then(|record| number(record.validation?.top1)),
        "best": best,
        "test": card.and_then(|own| number(own.best.test?.top1)),
        "eta_seconds": eta,
        "age_seconds": age,
        "resumable": !is_finished && place.has_checkpoint(),
        "notes": found.notes,
        "unit": "epoch",
        "measure": "top1",
    });
    let own = found.language.as_ref().map(|own| own.summary());
    for (key, value) in own.iter().flat_map(|own| own.as_object()).flatten() {
        summary[key] = value.clone();
    }
    summary
}

/// Whether a process writes the run: it holds its folder, or for a stage of a plan the plan's.
fn is_held(place: &Place) -> Option<bool> {
    let stages = place.folder.parent().filter(|own| own.ends_with("stages"));
    let plan = stages.and_then(Path::parent).and_then(FolderLock::is_held);
    FolderLock::is_held(&place.folder).map(|own| own || plan == Some(true))
}

/// Seconds that the epochs up to `planned` will take, when the last one was written `age` seconds ago.
fn left(epochs: &[EpochRecord], planned: usize, age: f64) -> Option<f64> {
    let recent = &epochs[epochs.len().saturating_sub(RECENT)..];
    let done = recent.last()?.epoch;
    let mean = recent.iter().map(|record| record.seconds).sum::<f64>() / recent.len() as f64;
    number((planned.saturating_sub(done) as f64 * mean - age).max(0.0))
}

/// The first epoch with the highest validation accuracy, percent.
fn best(epochs: &[EpochRecord]) -> Option<(usize, f64)> {
    let measured = epochs.iter().filter_map(|own| Some((own.epoch, own.validation?.top1)));
    measured.reduce(|best, own| if own.1 > best.1 { own } else { best })
}

#[cfg(test)]
mod tests;
