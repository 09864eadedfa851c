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
        let named = class_labels.into_iter().find(|(name, _)| *name == label.name);
        let flags =
            || (label.physical == Type::BOOLEAN).then(|| ["false", "true"].map(str::to_owned));
        let names = named.and_then(|(_, names)| names).or_else(|| flags().map(Vec::from));
        Ok(Self { image, label, names })
    }
}

/// A column that the metadata calls a `ClassLabel`: its name and class names.
pub(crate) type ClassLabel = (String, Option<Vec<String>>);

pub(crate) fn class_labels(table: &Table) -> Result<Vec<ClassLabel>, DataError> {
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

/// Names by which a column of images is known without metadata.
const IMAGE_NAMES: [&str; 6] = ["image", "img", "images", "picture", "jpg", "png"];
/// Likewise of labels.
const LABEL_NAMES: [&str; 6] = ["label", "labels", "class", "target", "category", "y"];

/// The columns of images: structs { bytes, path }, and plain bytes, which may be.
fn images(leaves: &[Leaf]) -> [Vec<(&str, &Leaf)>; 2] {
    let bytes = |leaf: &&Leaf| leaf.physical == Type::BYTE_ARRAY;
    let structs = leaves
        .iter()
        .filter(bytes)
        .filter_map(|leaf| Some((leaf.name.strip_suffix(".bytes")?, leaf)))
        .collect();
    let plain =
        leaves.iter().filter(bytes).filter(|leaf| !leaf.is_text && !leaf.name.contains('.'));
    [structs, plain.map(|leaf| (leaf.name.as_str(), leaf)).collect()]
}

/// Whether a column is of images.
pub(crate) fn has_images(leaves: &[Leaf]) -> bool {
    images(leaves).iter().any(|columns| !columns.is_empty())
}

fn choose_image(table: &Table, leaves: &[Leaf], given: Option<&str>) -> Result<Leaf, DataError> {
    let [structs, plain] = images(leaves);
    let all = || structs.iter().chain(&plain);
    let found = match (given, structs.as_slice(), plain.as_slice()) {
        (Some(given), ..) => all().find(|(name, _)| *name == given),
        (None, [only], _) | (None, [], [only]) => Some(only),
        (None, [], several) => only_named(several, &IMAGE_NAMES),
        _ => None,
    };
    found.map(|(_, leaf)| (*leaf).clone()).ok_or_else(|| DataError::Column {
        path: table.path().to_owned(),
        problem: problem("image", given, all().count()),
        candidates: listed("image", all().map(|(name, _)| *name)),
        key: "image_column",
    })
}

/// The only one of some columns with one of these names.
fn only_named<'a, 'l>(
    columns: &'a [(&'l str, &'l Leaf)],
    names: &[&str],
) -> Option<&'a (&'l str, &'l Leaf)> {
    let mut known = columns.iter().filter(|(name, _)| names.contains(name));
    known.next().filter(|_| known.next().is_none())
}

fn choose_label(
    table: &Table,
    leaves: &[Leaf],
    class_labels: &[ClassLabel],
    given: Option<&str>,
) -> Result<Leaf, DataError> {
    let can_be = |leaf: &&Leaf| {
        let is_number = matches!(leaf.physical, Type::INT32 | Type::INT64 | Type::BOOLEAN);
        // Floats may be anything: labels only by their name.
        let is_float = matches!(leaf.physical, Type::FLOAT | Type::DOUBLE)
            && (LABEL_NAMES.contains(&leaf.name.as_str()) || given == Some(leaf.name.as_str()));
        is_number || (is_float || leaf.is_text) && !leaf.name.contains('.')
    };
    let columns: Vec<(&str, &Leaf)> =
        leaves.iter().filter(can_be).map(|leaf| (leaf.name.as_str(), leaf)).collect();
    let is_class = |(name, _): &&(&str, &Leaf)| class_labels.iter().any(|(known, _)| known == name);
    let classes: Vec<(&str, &Leaf)> = columns.iter().filter(is_class).copied().collect();
    let named = |name: &str| columns.iter().find(|(known, _)| *known == name);
    let found = match (given, classes.as_slice()) {
        (Some(given), _) => named(given),
        (None, [only]) => Some(only),
        (None, [_, _]) if classes.iter().any(|(name, _)| *name == "coarse_label") => {
            classes.iter().find(|(name, _)| *name == "fine_label")
        }
        (None, []) => only_named(&columns, &LABEL_NAMES),
        (None, _) => None,
    };
    let all = table.columns();
    let of_labels = |name: &&String| match given {
        Some(given) => *name == given,
        None => LABEL_NAMES.contains(&name.as_str()),
    };
    if let (None, Some(other)) = (found, all.iter().find(of_labels))
        && named(other).is_none()
    {
        return Err(DataError::Labels {
            path: table.path().to_owned(),
            problem: format!("column `{other}` holds neither numbers nor texts"),
            fix:
                "give each image one label, a whole number or a text; or name another column with \
                  `label_column = …`"
                    .to_owned(),
        });
    }
    found.map(|(_, leaf)| (*leaf).clone()).ok_or_else(|| DataError::Column {
        path: table.path().to_owned(),
        problem: problem("label", given, classes.len()),
        candidates: listed("whole-number and text", columns.iter().map(|(name, _)| *name)),
        key: "label_column",
    })
}

fn problem(kind: &str, given: Option<&str>, count: usize) -> String {
    match (given, count) {
        (Some(given), _) => format!("no {kind} column `{given}`"),
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
