//! `teachers.classes` of a recipe, its files included.
//!
//! ```text
//! ["cat", "dog", "-"]                                 a list: what each output stands for
//! {"kitten": "cat", "vehicle": ["car", "bus"]}        a map from the teacher's names, or numbers
//! {"names": ["kitten", …], "map": {"kitten": "cat"}}  its names in its order, and a map from them
//! cat⏎dog⏎-⏎                                          a text file: a list, one name a line
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::class_map::Declared;
use crate::error::{Result, TeacherError};
use faculty_files::failed;
use faculty_recipe::Classes;

/// Larger files are no class names.
const MOST_BYTES: u64 = 64 << 20;

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    List(Vec<String>),
    Named { names: Vec<String>, map: BTreeMap<String, Targets> },
    Map(BTreeMap<String, Targets>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Targets {
    One(String),
    Several(Vec<String>),
}

pub(super) fn declared(classes: Option<&Classes>) -> Result<Declared> {
    match classes {
        None => Ok(Declared::default()),
        Some(Classes::Names(names)) => Ok(list(names.clone())),
        Some(Classes::Map(map)) => Ok(Declared { map: Some(map.clone()), ..Declared::default() }),
        Some(Classes::File(path)) => read(path),
    }
}

fn read(path: &Path) -> Result<Declared> {
    let wrong = |reason: String| TeacherError::ClassFile { path: path.to_owned(), reason };
    let size = std::fs::metadata(path).map_err(failed("read", path))?.len();
    if size > MOST_BYTES {
        return Err(wrong(format!("{size} bytes are too many for class names")));
    }
    let bytes = std::fs::read(path).map_err(failed("read", path))?;
    let text = String::from_utf8(bytes).map_err(|error| wrong(format!("no text: {error}")))?;
    if !text.trim_start().starts_with(['[', '{']) {
        let names: Vec<String> = text
            .lines()
            .map(|line| line.trim().to_owned())
            .filter(|line| !line.is_empty())
            .collect();
        return match names.is_empty() {
            true => Err(wrong("it names no class".to_owned())),
            false => Ok(list(names)),
        };
    }
    let json: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| wrong(format!("no valid JSON: {error}")))?;
    let content: Content = serde_json::from_value(json)
        .map_err(|_| wrong("neither a list of names nor a map from names to names".to_owned()))?;
    Ok(match content {
        Content::List(names) => list(names),
        Content::Map(own) => Declared { map: Some(map(own)), ..Declared::default() },
        Content::Named { names, map: own } => {
            Declared { names: Some(names), map: Some(map(own)), list: None }
        }
    })
}

fn list(names: Vec<String>) -> Declared {
    let class = |name: String| (name != Classes::NONE).then_some(name);
    Declared { list: Some(names.into_iter().map(class).collect()), ..Declared::default() }
}

fn map(own: BTreeMap<String, Targets>) -> BTreeMap<String, Vec<String>> {
    let entry = |(own, targets)| {
        let targets = match targets {
            Targets::One(name) if name == Classes::NONE => Vec::new(),
            Targets::One(name) => vec![name],
            Targets::Several(names) => names,
        };
        (own, targets)
    };
    own.into_iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(name: &str, text: &str) -> Result<Declared> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        declared(Some(&Classes::File(path)))
    }

    #[test]
    fn lists_and_maps_are_read_from_json_and_text() {
        let names = vec![Some("cat".to_owned()), None, Some("dog".to_owned())];
        for text in ["[\"cat\", \"-\", \"dog\"]", "cat\n-\n\n dog\r\n"] {
            assert_eq!(written("c", text).unwrap().list.as_ref(), Some(&names), "{text}");
        }
        let map = written("c.json", r#"{"a": "cat", "b": ["cat", "dog"], "c": "-"}"#).unwrap();
        let map = map.map.unwrap();
        assert_eq!(map["b"], ["cat", "dog"]);
        assert_eq!(map["c"], [""; 0]);
        let both = written("c.json", r#"{"names": ["a", "b"], "map": {"a": "cat"}}"#).unwrap();
        assert_eq!(both.names.unwrap(), ["a", "b"]);
        assert_eq!(both.map.unwrap()["a"], ["cat"]);
    }

    #[test]
    fn other_files_are_refused() {
        for (text, part) in [
            ("", "names no class"),
            ("[1, 2]", "neither a list"),
            ("{\"a\": 1}", "neither a list"),
            ("{", "no valid JSON"),
        ] {
            let error = written("c.json", text).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
            assert!(error.hint().is_some());
        }
        let nowhere = declared(Some(&Classes::File("nowhere".into()))).unwrap_err();
        assert!(nowhere.to_string().contains("nowhere"), "{nowhere}");
    }
}
