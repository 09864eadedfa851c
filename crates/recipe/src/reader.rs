//! Reads one key after the other, of whatever section: types, ranges, unknown keys.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::Value;

use super::key_path::{heading, join};
use super::problems::{Location, Problems, nearest, shown};
use super::range::{KeySpec, Range, quoted};
use super::setting::Setting;
use super::spec::MethodSpec;
use super::tree::{Content, Node};

/// Reads keys from tables, and notes where each was given and what is wrong with it.
pub(super) struct Reader<'a> {
    pub(super) methods: &'a [MethodSpec],
    pub(super) problems: Problems,
    /// Of the recipe file: relative paths are taken from it.
    pub(super) folder: PathBuf,
    /// The paths of all keys that a recipe can have, to tell where a misplaced one belongs.
    pub(super) keys: Vec<String>,
    /// Name of the student's network, if there is one.
    pub(super) student: String,
}

type Table = BTreeMap<String, Node>;

impl Reader<'_> {
    /// Gives `read` a reader whose notes nobody looks at.
    pub(super) fn blank<T>(read: impl FnOnce(&mut Reader<'_>) -> T) -> T {
        let problems = Problems::new(Location::Code);
        read(&mut Reader {
            methods: &[],
            problems,
            folder: PathBuf::new(),
            keys: Vec::new(),
            student: String::new(),
        })
    }

    /// Notes where the value at the key path `at` was given.
    pub(super) fn place(&mut self, at: &str, node: Option<&Node>) {
        if let Some(node) = node {
            self.problems.places.insert(at.to_owned(), node.location.clone());
        }
    }

    /// The node as a table, if it is there.
    pub(super) fn table<'n>(&mut self, at: &str, node: Option<&'n Node>) -> Option<&'n Table> {
        let node = node?;
        self.place(at, Some(node));
        if let Content::Table(table) = &node.content {
            return Some(table);
        }
        let what = format!("`{at}` must be a table, found {}", found(&node.content));
        self.problems.add(at, what, format!("write `[{at}]`, then its keys below"));
        None
    }

    /// Reports the keys of `table` that are not `known`.
    pub(super) fn refuse_unknown(&mut self, at: &str, table: Option<&Table>, known: &[&str]) {
        for (key, node) in table.into_iter().flatten() {
            if known.contains(&key.as_str()) {
                continue;
            }
            let path = join(at, &shown(key));
            self.place(&path, Some(node));
            let hint = if let Some(name) = nearest(key, known.iter().copied()) {
                // A key that is only spelt wrong is not missing as well.
                if table.is_some_and(|table| !table.contains_key(name)) {
                    self.problems.settle(&join(at, name));
                }
                format!("did you mean `{name}`?")
            } else if let Some(home) = self.home_of(key) {
                format!("`{key}` belongs to {home}")
            } else {
                format!("known here: {}", quoted(known))
            };
            let what = format!("unknown key `{}` in {}", shown(key), heading(at));
            self.problems.add(&path, what, hint);
        }
    }

    /// The section, or else the methods, that have a key of this name.
    fn home_of(&self, key: &str) -> Option<String> {
        let home = self.keys.iter().find_map(|path| {
            let (section, last) = path.rsplit_once('.').unwrap_or(("", path.as_str()));
            (last == key).then(|| heading(section))
        });
        let has = |method: &&MethodSpec| method.options.iter().any(|option| option.key == key);
        let methods: Vec<&str> = self.methods.iter().filter(has).map(|m| m.name).collect();
        home.or_else(|| (!methods.is_empty()).then(|| format!("method {}", quoted(&methods))))
    }

    /// The value of one key: the given one, or the default.
    pub(super) fn key<T: Setting>(
        &mut self,
        at: &str,
        table: Option<&Table>,
        spec: KeySpec,
        default: Option<T>,
    ) -> T {
        let path = join(at, spec.key);
        let Some(node) = table.and_then(|table| table.get(spec.key)) else {
            if default.is_none() {
                let what = format!("`{path}` is missing");
                self.problems.add(
                    &path,
                    what,
                    format!("add `{} = …` to {}: {}", spec.key, heading(at), spec.brief()),
                );
            }
            return default.unwrap_or_default();
        };
        self.place(&path, Some(node));
        let read = match &node.content {
            Content::Value(value) => T::read(value).or_else(|| T::read(&typed(&node.location)?)),
            Content::Table(table) => T::read(&plain(table)),
            Content::Tables(_) => None,
        };
        if let Some(value) = read {
            return match node.location {
                Location::Set { .. } => value.rebased(Path::new(".")),
                _ => value.rebased(&self.folder),
            };
        }
        match &node.content {
            // -1 for a count, or a word that is none of an enum's: the range tells more.
            Content::Value(value @ (Value::Integer(_) | Value::Float(_) | Value::String(_)))
                if !spec.range.allows(value) =>
            {
                check_range(&path, &spec, value, &mut self.problems);
            }
            content => {
                let expected = match spec.range {
                    Range::Words(_) => spec.range.to_string(),
                    _ => T::expected(),
                };
                let what = format!("`{path}` must be {expected}, found {}", found(content));
                self.problems.add(&path, what, spec.fix(&format!("give {expected}")));
            }
        }
        default.unwrap_or_default()
    }

    /// The word of `spec`'s range that `text` is; reported if it is none.
    pub(super) fn word(&mut self, at: &str, spec: &KeySpec, text: &str) -> Option<&'static str> {
        let Range::Words(words) = spec.range else {
            return None;
        };
        let word = words.iter().find(|word| **word == text);
        if word.is_none() {
            let value = Value::String(text.to_owned());
            check_range(&join(at, spec.key), spec, &value, &mut self.problems);
        }
        word.copied()
    }
}

/// A table of plain values as one value, for the keys that take one.
fn plain(table: &Table) -> Value {
    let value = |node: &Node| match &node.content {
        Content::Value(value) => Some(value.clone()),
        Content::Table(_) | Content::Tables(_) => None,
    };
    // What is no plain value becomes one that no key takes.
    let entry = |(key, node): (&String, &Node)| {
        (key.clone(), value(node).unwrap_or_else(|| Value::Table(toml::Table::new())))
    };
    Value::Table(table.iter().map(entry).collect())
}

/// The value of `--set name=2026` as it was typed: a text after all, where a text is wanted.
fn typed(location: &Location) -> Option<Value> {
    let Location::Set { argument } = location else {
        return None;
    };
    let (_, text) = argument.split_once('=')?;
    let text = text.trim();
    (!text.starts_with(['[', '{'])).then(|| Value::String(text.to_owned()))
}

/// What was given, for messages.
fn found(content: &Content) -> String {
    match content {
        Content::Table(_) => "a table".to_owned(),
        Content::Tables(_) => "a list of tables".to_owned(),
        Content::Value(Value::String(text)) => format!("the text `{}`", shown(text)),
        Content::Value(Value::Array(items)) => {
            format!("the list `{}`", shown(&Value::Array(items.clone()).to_string()))
        }
        Content::Value(Value::Datetime(date)) => format!("the date `{date}`"),
        Content::Value(value) => format!("`{value}`"),
    }
}

/// Reports `value` if it is out of the range of its key.
pub(super) fn check_range(path: &str, spec: &KeySpec, value: &Value, problems: &mut Problems) {
    if spec.range.allows(value) {
        return;
    }
    let (what, hint) = match (value, spec.range) {
        (Value::String(text), Range::Words(words)) => {
            let hint = match nearest(text, words.iter().copied()) {
                Some(word) => format!("did you mean `{word}`?"),
                None => spec.fix(&format!("give one of {}", quoted(words))),
            };
            (format!("`{path}` is `{}`, which is not known", shown(text)), hint)
        }
        (Value::String(_), _) => {
            (format!("`{path}` is empty"), spec.fix(&format!("give some text: {}", spec.brief())))
        }
        (value, range) => (
            format!("`{path}` is {}, but must be {range}", shown(&value.to_string())),
            spec.fix(&format!("give a value that is {range}")),
        ),
    };
    problems.add(path, what, hint);
}
