//! Finds run folders and reads what a run that may be at work has written.

use std::collections::VecDeque;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use faculty_escape as escape;
use faculty_files::{NotReadable, open_no_follow};
use faculty_records::language_run::{LANGUAGE_CARD, LanguageRecord};
use faculty_records::run::RunCard;
use serde::de::DeserializeOwned;

use super::language::{self, LanguageFound};
use crate::load::Run;

/// Folders below the watched one: a comparison in a folder of such is two deep, a stage of a plan two
/// more.
const DEPTH: usize = 6;
/// More than this are not looked into.
const MOST_FOLDERS: usize = 20_000;
/// More than this are not shown.
const MOST_RUNS: usize = 1_000;
/// Bytes of one file: a line of metrics has a few thousand.
const LONGEST_FILE: u64 = 64 << 20;

/// Where one run lies.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) folder: PathBuf,
    /// Of a peer of a plan a file beside those of the others.
    pub(super) metrics: PathBuf,
    /// Path below the watched folder, as text; of that folder itself its name.
    pub(super) name: String,
    /// Whether something else than its card says that it has finished.
    pub(super) is_done: bool,
    is_peer: bool,
}

impl Place {
    /// The same as long as its path is.
    pub(super) fn id(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.metrics.hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }

    /// Whether there is something to go on from.
    pub(super) fn has_checkpoint(&self) -> bool {
        is_file(&self.folder.join("checkpoints/last.safetensors"))
    }

    fn card(&self) -> Option<PathBuf> {
        (!self.is_peer).then(|| self.folder.join("card.json"))
    }

    fn recipe(&self) -> PathBuf {
        self.folder.join("recipe.toml")
    }

    fn language_card(&self) -> PathBuf {
        self.folder.join(LANGUAGE_CARD)
    }

    fn stamps(&self) -> [Stamp; 4] {
        let card = self.card();
        let (recipe, language) = (self.recipe(), self.language_card());
        [Some(self.metrics.as_path()), card.as_deref(), Some(&recipe), Some(&language)]
            .map(|path: Option<&Path>| path.and_then(stamp))
    }
}

/// Length and time of a file, if there is one.
type Stamp = Option<(u64, Option<SystemTime>)>;

fn stamp(path: &Path) -> Stamp {
    let own = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file)?;
    Some((own.len(), own.modified().ok()))
}

fn is_file(path: &Path) -> bool {
    stamp(path).is_some()
}

/// A run as it was when it was read.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) run: Run,
    /// What only the run of a language model has.
    pub(super) language: Option<LanguageFound>,
    /// Of its recipe: how many it will have; steps of a language model.
    pub(super) epochs: Option<usize>,
    pub(super) method: Option<String>,
    pub(super) student: Option<String>,
    /// What cannot be read, in words.
    pub(super) notes: Vec<String>,
    /// When it last wrote down something.
    pub(super) written: Option<SystemTime>,
    stamps: [Stamp; 4],
}

impl Found {
    /// Reads it; what is missing or damaged is left out, and damage leaves a note.
    pub(super) fn read(place: &Place) -> Self {
        // Before reading: what is written meanwhile is read next time.
        let stamps = place.stamps();
        let mut notes = Vec::new();
        let mut text = |path: &Path| {
            read(path).unwrap_or_else(|reason| {
                let file = path.file_name().unwrap_or_default().to_string_lossy();
                notes.push(format!("`{}` cannot be read: {reason}", escape::name(&file)));
                None
            })
        };
        let metrics = text(&place.metrics).unwrap_or_default();
        let recipe = text(&place.recipe());
        let table: toml::Table =
            recipe.as_deref().and_then(|text| text.parse().ok()).unwrap_or_default();
        let is_language = language::is_one(&table);
        let card = place.card().filter(|_| !is_language).and_then(|path| text(&path));
        let language_card = is_language.then(|| place.language_card()).and_then(|path| text(&path));
        let language = is_language.then(|| {
            let records: Vec<LanguageRecord> = whole_lines(&metrics, &mut notes);
            let card = language_card.and_then(|text| match serde_json::from_str(&text) {
                Ok(card) => Some(card),
                Err(error) => {
                    notes.push(format!("`{LANGUAGE_CARD}` cannot be understood ({error})"));
                    None
                }
            });
            LanguageFound::new(&table, records, card)
        });
        let epochs = match is_language {
            true => Vec::new(),
            false => whole_lines(&metrics, &mut notes),
        };
        let card = card.and_then(|text| match serde_json::from_str::<RunCard>(&text) {
            Ok(card) => Some(card),
            Err(error) => {
                notes.push(format!("`card.json` cannot be understood ({error})"));
                None
            }
        });
        let value = |section: &str, key: &str| table.get(section)?.get(key).cloned();
        let word = |section, key| value(section, key)?.as_str().map(str::to_owned);
        let planned = value("train", if is_language { "steps" } else { "epochs" })
            .and_then(|own| own.as_integer());
        let (method, student) = (word("method", "name"), word("student", "network"));
        let run = Run {
            name: place.name.clone(),
            group: place.name.clone(),
            path: place.folder.clone(),
            card,
            epochs,
            data: None,
            bench: None,
            recipe,
        };
        let written = stamps.iter().filter_map(|own| own.as_ref()?.1).max();
        let epochs = planned.and_then(|own| usize::try_from(own).ok());
        Self { run, language, epochs, method, student, notes, written, stamps }
    }

    /// Whether its files are as they were.
    pub(super) fn is_current(&self, place: &Place) -> bool {
        self.stamps == place.stamps()
    }

    /// Another one once its files have changed.
    pub(super) fn version(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.stamps.hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }
}

/// The lines that are whole. One that is not whole at the end is being written, or its writer was
/// killed; one before it is damage.
fn whole_lines<T: DeserializeOwned>(text: &str, notes: &mut Vec<String>) -> Vec<T> {
    let mut records = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        match serde_json::from_str(line) {
            Ok(record) => records.push(record),
            Err(_) if at + 1 == lines.len() && !text.ends_with('\n') => {}
            Err(error) => {
                notes.push(format!(
                    "`metrics.jsonl` cannot be understood from line {} on ({error})",
                    at + 1
                ));
                break;
            }
        }
    }
    records
}

/// A file's text; none if it is not there.
fn read(path: &Path) -> std::result::Result<Option<String>, String> {
    let (file, length) = match open_no_follow(path) {
        Ok(opened) => opened,
        Err(NotReadable::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(None);
        }
        Err(error) => return Err(error.to_string()),
    };
    if length > LONGEST_FILE {
        return Err(format!("it has more than {} MiB", LONGEST_FILE >> 20));
    }
    let mut bytes = Vec::new();
    file.take(LONGEST_FILE).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// The runs below `root` by name, and what was not looked into. Links are passed over.
pub(super) fn find(root: &Path) -> (Vec<Place>, Vec<String>) {
    let (mut places, mut notes) = (Vec::new(), Vec::new());
    let mut seen = 0;
    let mut waiting = VecDeque::from([(root.to_owned(), 0)]);
    while let Some((folder, depth)) = waiting.pop_front() {
        seen += 1;
        if seen > MOST_FOLDERS {
            notes.push(format!(
                "There are more than {MOST_FOLDERS} folders; not all were searched."
            ));
            break;
        }
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) => {
                let name = folder.strip_prefix(root).unwrap_or(&folder).to_string_lossy();
                // A run folder may be replaced at any time.
                if error.kind() != std::io::ErrorKind::NotFound {
                    notes.push(format!("`{}` cannot be read: {error}", escape::name(&name)));
                }
                continue;
            }
        };
        // Of a link this is the link itself.
        let below = entries.flatten().filter(|own| own.file_type().is_ok_and(|own| own.is_dir()));
        let mut below: Vec<PathBuf> = below.map(|own| own.path()).collect();
        below.sort();
        places.extend(runs_of(root, &folder, &below));
        if depth < DEPTH {
            let visible = below.into_iter().filter(|own| !is_passed_over(own));
            waiting.extend(visible.map(|own| (own, depth + 1)));
        }
    }
    places.sort_by(|a, b| a.metrics.cmp(&b.metrics));
    if places.len() > MOST_RUNS {
        notes.push(format!("The first {MOST_RUNS} of {} runs are shown.", places.len()));
        places.truncate(MOST_RUNS);
    }
    (places, notes)
}

fn is_passed_over(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') || name == "checkpoints" || name == "peers"
}

/// The run that lies in a folder with these folders in it, or the peers that are trained there.
fn runs_of(root: &Path, folder: &Path, below: &[PathBuf]) -> Vec<Place> {
    let has = |name: &str| is_file(&folder.join(name));
    let has_folder = |name: &str| below.iter().any(|own| own.ends_with(name));
    let is_done = has("plan.json");
    let named = |metrics: PathBuf, peer: Option<&str>| {
        let path = match folder.strip_prefix(root) {
            Ok(own) if !own.as_os_str().is_empty() => own.to_string_lossy(),
            _ => root.file_name().unwrap_or(root.as_os_str()).to_string_lossy(),
        };
        let name = peer.map_or_else(|| path.to_string(), |peer| format!("{path}: {peer}"));
        let name = escape::name(&name).into_owned();
        Place { folder: folder.to_owned(), metrics, name, is_done, is_peer: peer.is_some() }
    };
    let mut places = Vec::new();
    if has_folder("peers") {
        let files = fs::read_dir(folder.join("peers")).into_iter().flatten().flatten();
        for path in files.map(|own| own.path()).filter(|own| is_file(own)) {
            if path.extension().is_some_and(|own| own == "jsonl") {
                let peer = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                places.push(named(path, Some(&peer)));
            }
        }
    }
    // A recipe alone may be one that was never run; a plan's students lie below it.
    let begun = has("recipe.toml")
        && has_folder("checkpoints")
        && !has_folder("peers")
        && !has_folder("stages");
    if has("metrics.jsonl") || has("card.json") || begun {
        places.push(named(folder.join("metrics.jsonl"), None));
    }
    places
}
