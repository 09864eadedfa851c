//! Which column is the image and which the label.

use std::collections::BTreeMap;

use ::parquet::basic::Type;
use serde::Deserialize;
use serde_json::Value;

use super::column::{Leaf, Table};
use crate::{DataError, ReadOptions};

/// The chosen columns and the class names that belong to the label.
#[derive(Debug)]
pub(super) struct Columns {
    pub(super) image: Leaf,
    pub(super) label: Leaf,
    pub(super) names: Option<Vec<String>>,
}

/// The part that matters of the JSON under the key `huggingface`.
#[derive(Deserialize)]
struct Metadata {
    info: Info,
}

#[derive(Deserialize)]
struct Info {
    #[serde(default)]
    features: BTreeMap<String, Value>,
}

impl Columns {
    pub(super) fn choose(table: &Table, options: &ReadOptions) -> Result<Self, DataError> {
        let leaves = table.leaves();
        let image = choose_image(table, &leaves, options.image_column.as_deref())?;
        let class_labels = class_labels(table)?;
        let label = choose_label(table, &leaves, &class_labels, options.label_column.as_deref())?;
        let names = class_labels.into_iter().find(|(name, _)| *name == label.name);
        Ok(Self { image, label, names: names.and_then(|(_, names)| names) })
    }
}

/// A column that the metadata calls a `ClassLabel`: its name and class names.
type ClassLabel = (String, Option<Vec<String>>);

fn class_labels(table: &Table) -> Result<Vec<ClassLabel>, DataError> {
    let pairs = table.file_metadata().key_value_metadata();
    let text = pairs
        .and_then(|pairs| pairs.iter().find(|pair| pair.key == "huggingface"))
        .and_then(|pair| pair.value.as_deref());
    let Some(text) = text else {
        return Ok(Vec::new());
    };
    let metadata: Metadata = serde_json::from_str(text).map_err(|source| {
        let path = table.path().to_owned();
        DataError::BadMetadata { path, source }
    })?;
    let features = metadata.info.features.into_iter();
    Ok(features
        .filter(|(_, feature)| feature.get("_type").is_some_and(|kind| kind == "ClassLabel"))
        .map(|(name, feature)| {
            let names = feature.get("names").cloned();
            (name, names.and_then(|names| serde_json::from_value(names).ok()))
        })
        .collect())
}

fn choose_image(table: &Table, leaves: &[Leaf], wanted: Option<&str>) -> Result<Leaf, DataError> {
    let candidates: Vec<(&str, &Leaf)> = leaves
        .iter()
        .filter(|leaf| leaf.physical == Type::BYTE_ARRAY)
        .filter_map(|leaf| Some((leaf.name.strip_suffix(".bytes")?, leaf)))
        .collect();
    let found = match wanted {
        Some(wanted) => candidates.iter().find(|(name, _)| *name == wanted),
        None if candidates.len() == 1 => candidates.first(),
        None => None,
    };
    found.map(|(_, leaf)| (*leaf).clone()).ok_or_else(|| DataError::Column {
        path: table.path().to_owned(),
        problem: problem("image", wanted, candidates.len()),
        candidates: listed("image", candidates.iter().map(|(name, _)| *name)),
        key: "image_column",
    })
}

fn choose_label(
    table: &Table,
    leaves: &[Leaf],
    class_labels: &[ClassLabel],
    wanted: Option<&str>,
) -> Result<Leaf, DataError> {
    let whole = |leaf: &&Leaf| matches!(leaf.physical, Type::INT32 | Type::INT64);
    let numbers: Vec<&Leaf> = leaves.iter().filter(whole).collect();
    let is_class = |leaf: &&&Leaf| class_labels.iter().any(|(name, _)| *name == leaf.name);
    let classes: Vec<&Leaf> = numbers.iter().filter(is_class).copied().collect();
    let named = |columns: &[&Leaf], name: &str| {
        columns.iter().find(|leaf| leaf.name == name).map(|leaf| (*leaf).clone())
    };
    let found = match (wanted, classes.as_slice()) {
        (Some(wanted), _) => named(&numbers, wanted),
        (None, [only]) => Some((*only).clone()),
        (None, [_, _]) if named(&classes, "coarse_label").is_some() => {
            named(&classes, "fine_label")
        }
        (None, _) => None,
    };
    found.ok_or_else(|| DataError::Column {
        path: table.path().to_owned(),
        problem: problem("label", wanted, classes.len()),
        candidates: listed("whole-number", numbers.iter().map(|leaf| leaf.name.as_str())),
        key: "label_column",
    })
}

fn problem(kind: &str, wanted: Option<&str>, count: usize) -> String {
    match (wanted, count) {
        (Some(wanted), _) => format!("no {kind} column `{wanted}`"),
        (None, 0) => format!("no column is marked as {kind}"),
        (None, _) => format!("several columns could be the {kind}"),
    }
}

fn listed<'a>(kind: &str, names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    match names.len() {
        0 => format!("no {kind} columns"),
        _ => format!("the {kind} columns {}", names.join(", ")),
    }
}
