//! What a run is made of: it may not change between the parts of an interrupted run, unless it is
//! asked for by name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use faculty_nets::weights::file_hash;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use faculty_records::run::Change;

use crate::error::Result;
use crate::methods;
use crate::recipe::{self, CacheDtype, CacheMaps, Recipe, default_milestones};
use crate::record::TeacherCard;
use crate::weight_file::weight_file;

/// What a run is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Hash over the data set's class names, sample ids and labels.
    pub data: String,
    /// SHA-256 of the file that the student starts from.
    pub student_weights: Option<String>,
    /// Everything that the outputs of each teacher depend on, by name.
    pub teachers: BTreeMap<String, String>,
    /// The resolved recipe, without what changes nothing: paths, threads, checkpoints.
    pub recipe: String,
}

fn change(key: &str, then: Option<&str>, now: Option<&str>) -> Option<Change> {
    let text = |value: Option<&str>| value.unwrap_or("none").to_owned();
    let (key, old, new) = (key.to_owned(), text(then), text(now));
    (then != now).then_some(Change { epoch: 0, batch: 0, key, then: old, now: new })
}

impl Identity {
    /// Of a recipe with these teachers on data with this fingerprint.
    ///
    /// # Errors
    /// When the student's weight file cannot be read.
    pub fn of(recipe: &Recipe, teachers: &[TeacherCard], data: String) -> Result<Self> {
        let weights = recipe.student.weights.as_deref().map(weight_file);
        let own_file = recipe.student.own_file().map(std::path::Path::to_owned);
        let student = own_file.into_iter().chain(weights);
        let hashes =
            student.map(|file| file_hash(&file)).collect::<faculty_nets::Result<Vec<_>>>()?;
        let student_weights = (!hashes.is_empty()).then(|| hashes.join("+"));
        let mut of_teachers: BTreeMap<String, String> =
            teachers.iter().map(|own| (own.name.clone(), own.identity.clone())).collect();
        for teacher in &recipe.teachers {
            if let Some(path) = &teacher.class_cost {
                of_teachers.insert(format!("{}'s class costs", teacher.name), file_hash(path)?);
            }
        }
        Ok(Self { data, student_weights, teachers: of_teachers, recipe: comparable(recipe)? })
    }

    /// Everything in which `now` is different, in words where no key of the recipe says it.
    #[must_use]
    pub fn changes(&self, now: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut compare = |key: &str, then: Option<&str>, now: Option<&str>| {
            changes.extend(change(key, then, now));
        };
        compare("the data set", Some(&self.data), Some(&now.data));
        let weights = (self.student_weights.as_deref(), now.student_weights.as_deref());
        compare("the student's weight file", weights.0, weights.1);
        let names: BTreeSet<&String> = self.teachers.keys().chain(now.teachers.keys()).collect();
        for name in names {
            let [then, now] = [self, now].map(|own| own.teachers.get(name).map(String::as_str));
            compare(&format!("teacher {name}"), then, now);
        }
        changes.extend(between_texts(&self.recipe, &now.recipe));
        changes
    }

    /// Those changes that are not among the `allowed` keys of the recipe.
    #[must_use]
    pub(crate) fn refused(&self, now: &Self, allowed: &[String]) -> Vec<Change> {
        let mut changes = self.changes(now);
        let is_allowed = |key: &str| {
            let below = |own: &String| key == own || key.starts_with(&format!("{own}."));
            allowed.iter().any(below)
        };
        // Milestones that were left to follow the epochs follow them.
        let follows = is_allowed("train.epochs") && [self, now].into_iter().all(follows_epochs);
        let follows = |key: &str| follows && key == "train.milestones";
        changes.retain(|change| !(is_allowed(&change.key) || follows(&change.key)));
        changes
    }
}

fn follows_epochs(own: &Identity) -> bool {
    let Ok(recipe) = own.recipe.parse::<Table>() else { return false };
    let train = recipe.get("train");
    let of = |key: &str| train.and_then(|train| train.get(key));
    let Some(epochs) = of("epochs").and_then(Value::as_integer) else { return false };
    let Some(milestones) = of("milestones").and_then(Value::as_array) else { return false };
    let milestones: Vec<usize> = milestones
        .iter()
        .filter_map(|own| own.as_integer().and_then(|own| usize::try_from(own).ok()))
        .collect();
    milestones == default_milestones(usize::try_from(epochs).unwrap_or(0))
}

/// The keys in which two recipes would give another result.
pub(crate) fn recipe_changes(then: &Recipe, now: &Recipe) -> Result<Vec<Change>> {
    Ok(between_texts(&comparable(then)?, &comparable(now)?))
}

fn between_texts(then: &str, now: &str) -> Vec<Change> {
    let [then, now] = [then, now].map(|recipe| keys(&renewed(recipe)));
    let all: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    let value = |own: &BTreeMap<String, String>, key: &String| own.get(key).cloned();
    all.into_iter()
        .filter_map(|key| change(key, value(&then, key).as_deref(), value(&now, key).as_deref()))
        .collect()
}

/// A recipe as today's program writes it: keys that the program of then did not know yet have the
/// values that change nothing. What cannot be read any more stays as it is.
fn renewed(recipe: &str) -> String {
    let read = Recipe::from_str(recipe, "recipe.toml", &[], &methods::specs()).ok();
    read.and_then(|read| comparable(&read.recipe).ok()).unwrap_or_else(|| recipe.to_owned())
}

/// Every value of a recipe by its key path.
fn keys(recipe: &str) -> BTreeMap<String, String> {
    fn walk(path: &str, value: &Value, keys: &mut BTreeMap<String, String>) {
        let join =
            |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        match value {
            Value::Table(table) => table.iter().for_each(|(key, v)| walk(&join(key), v, keys)),
            Value::Array(items) if items.iter().any(Value::is_table) => {
                for (index, item) in items.iter().enumerate() {
                    let name = item.get("name").and_then(Value::as_str);
                    walk(&join(name.unwrap_or(&index.to_string())), item, keys);
                }
            }
            plain => {
                keys.insert(path.to_owned(), plain.to_string());
            }
        }
    }
    let mut all = BTreeMap::new();
    match recipe.parse::<Table>() {
        Ok(table) => walk("", &Value::Table(table), &mut all),
        // Not one of ours: it then differs as a whole.
        Err(_) => drop(all.insert("the recipe".to_owned(), recipe.to_owned())),
    }
    all
}

/// The recipe without what may change when a run goes on elsewhere: paths, names, threads and
/// checkpoints. Data and weights are compared by their hashes instead.
fn comparable(recipe: &Recipe) -> Result<String> {
    let defaults = recipe::Train::default();
    let mut recipe = recipe.clone();
    recipe.output = None;
    recipe.name = None;
    recipe.train.threads = None;
    recipe.train.checkpoint_every = defaults.checkpoint_every;
    recipe.train.checkpoint_minutes = defaults.checkpoint_minutes;
    recipe.train.skip_bad_batches = defaults.skip_bad_batches;
    recipe.data.path = PathBuf::from("data");
    // Where outputs are kept changes nothing, unless they are rounded.
    recipe.cache = recipe.cache.filter(|cache| cache.dtype != CacheDtype::F32).map(|cache| {
        recipe::Cache { path: None, maps: CacheMaps::Auto, block: None, dtype: cache.dtype }
    });
    recipe.heads = recipe.heads.map(|heads| recipe::HeadTraining { path: None, ..heads });
    recipe.student.weights = recipe.student.weights.map(|_| PathBuf::from("weights"));
    // Its content counts, as that of weights.
    if recipe.student.onnx.take().is_some() {
        recipe.student.network = "onnx".to_owned();
    }
    if recipe.student.file.take().is_some() {
        recipe.student.network = "file".to_owned();
    }
    for teacher in &mut recipe.teachers {
        let file = |path: &Option<PathBuf>| path.as_ref().map(|_| PathBuf::from("weights"));
        teacher.weights = file(&teacher.weights);
        teacher.head = file(&teacher.head);
        teacher.class_cost = file(&teacher.class_cost);
        teacher.onnx = file(&teacher.onnx);
        teacher.logits = file(&teacher.logits);
        // Whether given here or in a file: what counts is the map that comes of it.
        teacher.classes = None;
    }
    Ok(recipe.to_toml()?)
}
