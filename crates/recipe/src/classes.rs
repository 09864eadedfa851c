//! `teachers.classes`: what a teacher's outputs stand for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use toml::Value;

use super::setting::Setting;

/// What a teacher's outputs stand for; see `docs/teachers.md`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Classes {
    /// For each output, in the teacher's order, the class of the data; `-` for none.
    Names(Vec<String>),
    /// The teacher's name of a class, or its number from 0, and the classes of the data that it
    /// stands for; none to leave it out.
    Map(BTreeMap<String, Vec<String>>),
    /// A file with one of the two: JSON, or text with one name a line.
    File(PathBuf),
}

impl Default for Classes {
    fn default() -> Self {
        Self::Names(Vec::new())
    }
}

impl Classes {
    /// A list of names, or a table of them, from TOML or JSON values.
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Array(_) => Vec::<String>::read(value).map(Self::Names),
            Value::Table(table) => {
                let mut map = BTreeMap::new();
                for (own, data) in table {
                    let names = match data {
                        Value::String(name) if name == Self::NONE => Vec::new(),
                        Value::String(name) => vec![name.clone()],
                        names => Vec::<String>::read(names)?,
                    };
                    map.insert(own.clone(), names);
                }
                Some(Self::Map(map))
            }
            _ => None,
        }
    }

    /// Stands for "no class of the data".
    pub const NONE: &'static str = "-";
}

impl Setting for Classes {
    const ONE: &'static str = "a list of names, a table of names, or a path in quotes";
    const MANY: &'static str = "lists of names";

    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::String(path) => Some(Self::File(PathBuf::from(path))),
            other => Self::of(other),
        }
    }

    fn to_value(&self) -> Option<Value> {
        match self {
            Self::Names(names) => names.to_value(),
            Self::Map(map) => {
                let entries = map.iter().filter_map(|(own, data)| {
                    let value = match data.as_slice() {
                        [one] => one.to_value(),
                        several => several.to_vec().to_value(),
                    };
                    Some((own.clone(), value?))
                });
                Some(Value::Table(entries.collect()))
            }
            Self::File(path) => path.to_value(),
        }
    }

    fn rebased(self, folder: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(path.rebased(folder)),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_tables_and_paths_are_told_apart_and_written_back() {
        for text in [
            "classes = [\"a\", \"-\", \"a\"]",
            "classes = { a = \"b\", c = [\"d\", \"e\"], f = [] }",
            "classes = \"names.json\"",
        ] {
            let table: toml::Table = text.parse().unwrap();
            let read = Classes::read(&table["classes"]).unwrap();
            assert_eq!(read.to_value().as_ref(), Some(&table["classes"]), "{text}");
        }
        for text in ["classes = 3", "classes = [1]", "classes = { a = 1 }"] {
            let table: toml::Table = text.parse().unwrap();
            assert_eq!(Classes::read(&table["classes"]), None, "{text}");
        }
        let table: toml::Table = "c = { a = \"-\" }".parse().unwrap();
        let left_out = Classes::Map(BTreeMap::from([("a".to_owned(), Vec::new())]));
        assert_eq!(Classes::read(&table["c"]), Some(left_out));
    }
}
