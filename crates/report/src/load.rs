//! From folders to records. What is missing or damaged leaves a note; a report is made of the rest.

use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use faculty_records::bench::{BENCH_FILE, ModelBench};
use faculty_records::comparison::Comparison;
use faculty_records::report_data::ReportData;
use faculty_records::run::{EpochRecord, RunCard};

use crate::error::{Error, Result};

/// One run as far as it went.
#[derive(Clone, Debug)]
pub struct Run {
    /// Name in the report; in a comparison `METHOD, seed N`.
    pub name: String,
    /// What curves of several seeds have in common: the method in a comparison, else the name.
    pub group: String,
    /// Its folder.
    pub path: PathBuf,
    /// What came out; none of an unfinished run.
    pub card: Option<RunCard>,
    /// Finished epochs.
    pub epochs: Vec<EpochRecord>,
    /// What only a finished run can show.
    pub data: Option<ReportData>,
    /// Size and speed, if they were measured.
    pub bench: Option<ModelBench>,
    /// The text of its recipe.
    pub recipe: Option<String>,
}

/// Everything that one report is about.
#[derive(Clone, Debug)]
pub struct Report {
    /// What the report is called.
    pub title: String,
    /// One or several.
    pub runs: Vec<Run>,
    /// What a finished comparison found.
    pub comparison: Option<Comparison>,
    /// What is missing, in words.
    pub notes: Vec<String>,
}

impl Report {
    /// Of one run folder, several, or the folder of a comparison.
    ///
    /// # Errors
    /// When a folder holds nothing of ours or cannot be read. Single files that are missing or
    /// damaged are listed in [`Report::notes`] instead.
    pub fn load(paths: &[PathBuf]) -> Result<Self> {
        if let [path] = paths {
            return Self::load_one(path);
        }
        let mut notes = Vec::new();
        let mut runs = Vec::new();
        let names = names(paths);
        for (path, name) in paths.iter().zip(names) {
            if path.join("comparison.json").exists() {
                return Err(Error::ComparisonAmongRuns { path: path.clone() });
            }
            runs.push(Run::load(path, &name, &name, &mut notes)?.ok_or_else(|| nothing(path))?);
        }
        let title = format!("{} runs", runs.len());
        Ok(Self { title, runs, comparison: None, notes })
    }

    fn load_one(path: &Path) -> Result<Self> {
        let mut notes = Vec::new();
        let title = folder_name(path);
        let written = path.join("comparison.json");
        if let Some(text) = read(&written)? {
            let damaged = |reason| Error::Damaged { path: written.clone(), reason };
            let comparison: Comparison =
                serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
            let mut runs = Vec::new();
            // Names become folders: only those beside the file.
            let plain = |name: &str| {
                let mut parts = Path::new(name).components();
                matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
            };
            if let Some(row) = comparison.rows.iter().find(|row| !plain(&row.method)) {
                return Err(damaged(format!("`{}` is no name of a method", row.method)));
            }
            for row in &comparison.rows {
                for seed in row.runs.iter().map(|run| run.seed) {
                    let name = format!("{}, seed {seed}", row.method);
                    let folder = path.join(&row.method).join(format!("seed{seed}"));
                    match Run::load(&folder, &name, &row.method, &mut notes) {
                        Ok(Some(run)) => runs.push(run),
                        Ok(None) => notes.push(format!("{name}: its folder is not there")),
                        Err(error) => notes.push(error.to_string()),
                    }
                }
            }
            return Ok(Self { title, runs, comparison: Some(comparison), notes });
        }
        if let Some(run) = Run::load(path, &title, &title, &mut notes)? {
            return Ok(Self { title, runs: vec![run], comparison: None, notes });
        }
        let runs = begun_comparison(path, &mut notes)?;
        if runs.is_empty() {
            return Err(nothing(path));
        }
        let finished = runs.iter().filter(|run| run.card.is_some()).count();
        let count = runs.len();
        notes.insert(
            0,
            format!(
                "This comparison is not finished ({finished} of {count} runs that have begun), so \
                 there is no verdict yet: run the same `faculty compare` again."
            ),
        );
        Ok(Self { title, runs, comparison: None, notes })
    }

    /// The run that is looked at closely: the one with teacher weights of its own that did best
    /// on the validation split, else the one with most to show.
    #[must_use]
    pub fn focus(&self) -> Option<&Run> {
        let judged = |run: &&Run| {
            let weighs = run.weighs_teachers();
            let shows = run.data.as_ref().is_some_and(|data| data.teachers.is_some());
            let best = run.card.as_ref().and_then(|card| card.best.validation);
            (weighs, shows, best.map_or(0.0, |quality| quality.top1))
        };
        self.runs.iter().rev().max_by(|a, b| {
            let (a, b) = (judged(a), judged(b));
            (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2))
        })
    }

    /// Runs by group, in order of appearance.
    #[must_use]
    pub fn groups(&self) -> Vec<(&str, Vec<&Run>)> {
        let mut groups: Vec<(&str, Vec<&Run>)> = Vec::new();
        for run in &self.runs {
            match groups.iter_mut().find(|(name, _)| *name == run.group) {
                Some((_, own)) => own.push(run),
                None => groups.push((&run.group, vec![run])),
            }
        }
        groups
    }
}

impl Run {
    /// `None` where there is no run.
    fn load(path: &Path, name: &str, group: &str, notes: &mut Vec<String>) -> Result<Option<Self>> {
        // Told apart from a folder that is merely empty.
        fs::read_dir(path).map_err(Error::io("read", path))?;
        let metrics = read(&path.join("metrics.jsonl"))?;
        let card = read(&path.join("card.json"))?;
        let recipe = read(&path.join("recipe.toml"))?;
        if metrics.is_none() && card.is_none() && recipe.is_none() {
            return Ok(None);
        }
        let mut parse_note = |file: &str, error: &dyn std::fmt::Display| {
            notes.push(format!("{name}: `{file}` cannot be understood and is left out ({error})"));
        };
        let mut epochs = Vec::new();
        for line in metrics.unwrap_or_default().lines() {
            match serde_json::from_str::<EpochRecord>(line) {
                Ok(record) => epochs.push(record),
                // A run that was killed while it wrote.
                Err(error) => {
                    parse_note("metrics.jsonl", &format!("line {}: {error}", epochs.len() + 1));
                    break;
                }
            }
        }
        let parsed = card.map(|text| serde_json::from_str::<RunCard>(&text));
        let card = parsed.and_then(|own| own.map_err(|e| parse_note("card.json", &e)).ok());
        let parsed =
            read(&path.join("report.json"))?.map(|text| serde_json::from_str::<ReportData>(&text));
        let data = parsed.and_then(|own| own.map_err(|e| parse_note("report.json", &e)).ok());
        let parsed =
            read(&path.join(BENCH_FILE))?.map(|text| serde_json::from_str::<ModelBench>(&text));
        let bench = parsed.and_then(|own| own.map_err(|e| parse_note(BENCH_FILE, &e)).ok());
        let done = epochs.last().map_or(0, |record| record.epoch);
        if card.is_none() {
            notes.push(format!(
                "{name} is not finished ({done} epochs so far): what is measured at the end of a run \
                 is missing here. `--resume` resumes it."
            ));
        } else if data.is_none() {
            notes.push(format!(
                "{name} has no `report.json`, so confusion, calibration and the teacher explorer are \
                 missing here. A run of this version writes it; `--resume` adds it to a finished run."
            ));
        }
        let (name, group, path) = (name.to_owned(), group.to_owned(), path.to_owned());
        Ok(Some(Self { name, group, path, card, epochs, data, bench, recipe }))
    }

    /// Whether its teachers count differently, so that there is something to explore.
    #[must_use]
    pub fn weighs_teachers(&self) -> bool {
        let Some(last) = self.epochs.last() else { return false };
        let differ = |weights: &std::collections::BTreeMap<String, f64>| {
            let own = || weights.values().copied();
            own().fold(f64::MIN, f64::max) - own().fold(f64::MAX, f64::min) > 1e-6
        };
        last.teacher_weights.values().any(|weights| weights.len() > 1 && differ(weights))
    }
}

/// Run folders below a folder in which a comparison has begun.
fn begun_comparison(path: &Path, notes: &mut Vec<String>) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    for method in folders(path)? {
        for folder in folders(&method)? {
            let Some(seed) = folder_name(&folder).strip_prefix("seed").map(str::to_owned) else {
                continue;
            };
            let method = folder_name(&method);
            let name = format!("{method}, seed {seed}");
            runs.extend(Run::load(&folder, &name, &method, notes)?);
        }
    }
    Ok(runs)
}

/// The epochs before `until` that a run folder has written down, as far as they can be read.
pub(crate) fn epochs_before(path: &Path, until: usize) -> Result<Vec<EpochRecord>> {
    let text = read(&path.join("metrics.jsonl"))?.unwrap_or_default();
    let records = text.lines().map_while(|line| serde_json::from_str::<EpochRecord>(line).ok());
    Ok(records.filter(|record| record.epoch < until).collect())
}

/// Folders in a folder, by name.
fn folders(path: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(path).map_err(Error::io("read", path))?;
    let mut all: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|own| own.is_dir()).collect();
    all.sort();
    Ok(all)
}

/// A file's text; none if it is not there.
fn read(path: &Path) -> Result<Option<String>> {
    match fs::read(path) {
        // Damaged text is reported by whoever parses it.
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

fn nothing(path: &Path) -> Error {
    Error::NothingThere { path: path.to_owned() }
}

pub(crate) fn folder_name(path: &Path) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    whole.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// The last part of each path; with as many parts before it as it takes to tell them apart.
pub(crate) fn names(paths: &[PathBuf]) -> Vec<String> {
    let parts = |path: &PathBuf, count: usize| {
        let all: Vec<String> =
            path.components().map(|c| c.as_os_str().to_string_lossy().into_owned()).collect();
        all[all.len().saturating_sub(count)..].join("/")
    };
    let longest = paths.iter().map(|path| path.components().count()).max().unwrap_or(1);
    let differ = |count: usize| {
        let names: Vec<String> = paths.iter().map(|path| parts(path, count)).collect();
        let mut once = names.clone();
        once.sort();
        once.dedup();
        (once.len() == names.len()).then_some(names)
    };
    let shortest = (1..=longest).find_map(differ);
    shortest.unwrap_or_else(|| paths.iter().map(|path| parts(path, longest)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_short_as_they_can_be() {
        let of = |paths: &[&str]| names(&paths.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!(of(&["runs/a", "runs/b"]), ["a", "b"]);
        assert_eq!(of(&["x/a/seed1", "x/b/seed1"]), ["a/seed1", "b/seed1"]);
        assert_eq!(of(&["a", "a"]), ["a", "a"]);
    }

    #[test]
    fn a_comparison_leads_to_no_folder_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let seed = folder.path().join("elsewhere/seed1");
        fs::create_dir_all(&seed).unwrap();
        fs::write(seed.join("recipe.toml"), "").unwrap();
        let comparison = folder.path().join("comparison");
        fs::create_dir(&comparison).unwrap();
        let spread = serde_json::json!({"mean": 1.0, "deviation": null});
        let of = |method: &str| {
            let run = serde_json::json!({
                "seed": 1, "epoch": 1, "validation": null, "test": null, "seconds_per_epoch": 1.0
            });
            let row = serde_json::json!({
                "method": method, "objective": "", "runs": [run], "top1": spread, "nll": spread,
                "ece": spread, "validation_top1": null, "seconds_per_epoch": 1.0,
                "against_reference": null
            });
            let own = serde_json::json!({
                "format": 1, "faculty": "", "data": "", "student": "", "epochs": 1, "seeds": [1],
                "part": "test", "samples": 1, "teachers_part": null, "teachers": [],
                "reference": "ce", "significance": 0.05, "rows": [row], "left_out": []
            });
            fs::write(comparison.join("comparison.json"), own.to_string()).unwrap();
            Report::load(std::slice::from_ref(&comparison))
        };
        for method in ["../elsewhere", "/etc", "..", "", "a/b"] {
            let error = of(method).unwrap_err().to_string();
            assert!(error.contains("is no name of a method"), "{method}: {error}");
        }
        let report = of("ce").unwrap();
        assert!(report.runs.is_empty() && !report.notes.is_empty());
    }
}
