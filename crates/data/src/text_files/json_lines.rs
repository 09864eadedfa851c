//! Tables of texts as JSON, one object a line.
//!
//! ```text
//! train.jsonl, perhaps validation.jsonl and test.jsonl; as in `shards`; also `.ndjson` and `.json`
//!     {"text": "…", "label": "good"}
//!     {"sentence1": "…", "sentence2": "…", "label": 1}
//! ```
//!
//! A file may also be one array of such objects. Keys are known by their names as the columns of
//! [`super::csv`] are. A label is a text, a whole number, true or false; null, or no such
//! key, is none.

use std::collections::BTreeSet;
use std::fmt;
use std::io::Read as _;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::columns::Columns;
use super::gather::{Row, Rows, trimmed};
use super::table::{Header, Kind, Source, Table};
use crate::files::{MOST_BYTES, open_regular, read_at_most};
use crate::text::set::no_texts;
use crate::utf8::text_of;
use crate::{DataError, Dataset, Format, ReadOptions};

const KIND: Kind = Kind {
    format: Format::TextJson,
    endings: &[".jsonl", ".ndjson", ".json"],
    header,
    read: read_table,
};

/// No first object is longer.
const MOST_HEADER_BYTES: u64 = 1 << 20;

/// An object in which no key stands twice: which value is meant nobody knows.
struct Object(Map<String, Value>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Object, A::Error> {
                let mut object = Map::new();
                while let Some((key, value)) = pairs.next_entry::<String, Value>()? {
                    if let Some((key, _)) = object.get_key_value(&key) {
                        return Err(A::Error::custom(format!("key `{key}` stands there twice")));
                    }
                    object.insert(key, value);
                }
                Ok(Object(object))
            }
        }
        from.deserialize_map(Keys)
    }
}

/// The objects of a file with their places.
struct Objects {
    /// What a place is.
    kind: &'static str,
    all: Vec<(u64, Object)>,
}

pub(crate) fn recognises(path: &Path, options: &ReadOptions) -> Result<bool, DataError> {
    KIND.recognises(path, options)
}

/// Whether there are files that only this format can be of; reading them says what is wrong.
pub(crate) fn has_files(path: &Path, options: &ReadOptions) -> Result<bool, DataError> {
    KIND.has_files(path, options)
}

/// Reads the dataset in the folder `path`.
///
/// # Errors
/// No file, a line that is no object, no key of texts, a value that is no text, labels that are no
/// classes: [`DataError`] with file and line.
pub fn read(path: &Path, options: &ReadOptions) -> Result<Dataset, DataError> {
    KIND.read_dataset(path, options)
}

/// The keys of the first object of a file, if it can be read.
fn header(path: &Path) -> Option<Header> {
    let (file, _) = open_regular(path).ok()?;
    let mut start = Vec::new();
    file.take(MOST_HEADER_BYTES).read_to_end(&mut start).ok()?;
    let start = start.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&start).trim_ascii_start();
    let start = start.strip_prefix(b"[").unwrap_or(start);
    let mut objects = serde_json::Deserializer::from_slice(start).into_iter::<Object>();
    let columns = objects.next()?.ok()?.0.into_iter().map(|(key, _)| key).collect();
    Some(Header { columns, has_images: false })
}

fn read_table(source: &Source<'_>) -> Result<Table, DataError> {
    let Source { path, options, budget, .. } = *source;
    let (file, length) = source.open()?;
    budget.store(length);
    let text = text_of(path, read_at_most(file, length, path, MOST_BYTES)?)?;
    let Objects { kind: place_kind, all: objects } = objects(path, &text)?;
    let keys: BTreeSet<&String> = objects.iter().flat_map(|(_, object)| object.0.keys()).collect();
    let header: Vec<String> = keys.into_iter().cloned().collect();
    if header.is_empty() {
        return Err(no_texts(path));
    }
    let columns = Columns::choose(path, &header, options)?;
    let mut rows = Vec::with_capacity(objects.len());
    let mut splits = Vec::new();
    let only_one = objects.len() == 1;
    let mut first_kind = None;
    for (place, Object(object)) in objects {
        let wrong = |column: usize, found: &str, fix: &str| DataError::Texts {
            path: path.to_owned(),
            place: Some((place_kind, place)),
            problem: format!("`{}` is {found}", header[column]),
            fix: fix.to_owned(),
        };
        let text = |column: usize| match object.get(&header[column]) {
            Some(Value::String(text)) => Ok(text.as_str()),
            None | Some(Value::Null) => Ok(""),
            Some(Value::Array(_) | Value::Object(_)) if only_one => {
                let fix = "write one object a text, in pandas `to_json(FILE, orient=\"records\", \
                           lines=True)`";
                Err(wrong(column, "a whole column", fix))
            }
            Some(_) => Err(wrong(column, "no text", "write texts in quotation marks")),
        };
        let own = trimmed(text(columns.first)?, columns.second.map(text).transpose()?);
        budget.take(path, &own)?;
        let label = match columns.label.map(|label| (label, object.get(&header[label]))) {
            None | Some((_, None | Some(Value::Null))) => String::new(),
            Some((_, Some(Value::String(label)))) => label.clone(),
            Some((_, Some(label @ (Value::Number(_) | Value::Bool(_))))) => label.to_string(),
            Some((at, Some(_))) => {
                let fix = "give each text one label: a text, a whole number, true or false";
                return Err(wrong(at, "no label of one class", fix));
            }
        };
        let kind =
            columns.label.and_then(|label| Some((label, kind_of(object.get(&header[label])?)?)));
        if let Some((label, kind)) = kind {
            let (first, first_place) = *first_kind.get_or_insert((kind, place));
            if first != kind {
                let found = format!("{kind}, in {place_kind} {first_place} it is {first}");
                return Err(wrong(label, &found, "write all labels alike"));
            }
        }
        rows.push(Row { text: own, label, place });
        if let Some(split) = columns.split {
            splits.push(text(split)?.trim().to_owned());
        }
    }
    Ok(Table { rows: Rows { path: path.to_owned(), kind: place_kind, rows, names: None }, splits })
}

/// What kind of label a value is, if it is one.
fn kind_of(label: &Value) -> Option<&'static str> {
    match label {
        Value::String(text) if text.is_empty() => None,
        Value::String(_) => Some("a text"),
        Value::Number(_) => Some("a number"),
        Value::Bool(_) => Some("true or false"),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn objects(path: &Path, text: &str) -> Result<Objects, DataError> {
    let wrong = |place, source: &serde_json::Error| DataError::Texts {
        path: path.to_owned(),
        place,
        problem: format!("it is no JSON object: {source}"),
        fix: "write one object a line, such as {\"text\": \"…\", \"label\": \"…\"}".to_owned(),
    };
    if text.trim_start().starts_with('[') {
        let all: Vec<Object> = serde_json::from_str(text).map_err(|source| wrong(None, &source))?;
        return Ok(Objects { kind: "row", all: (0..).zip(all).collect() });
    }
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let object = |(place, line): (u64, &str)| match serde_json::from_str(line) {
        Ok(object) => Ok((place, object)),
        Err(source) => Err(wrong(Some(("line", place)), &source)),
    };
    Ok(Objects { kind: "line", all: lines.map(object).collect::<Result<_, _>>()? })
}

#[cfg(test)]
mod tests;
