//! A recipe as it was written: a tree of values that know where they were given.

use std::collections::BTreeMap;

use toml::Value;
use toml::de::{DeTable, DeValue};

use super::problems::{Location, Problem};

/// One value of a recipe, or several.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) location: Location,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    Table(BTreeMap<String, Node>),
    /// A list of tables, not empty.
    Tables(Vec<Node>),
    /// Anything else; lists of values too.
    Value(Value),
}

/// Parses a recipe file.
///
/// # Errors
/// Every syntax error, with its line and column.
pub(super) fn parse(text: &str, file: &str) -> Result<Node, Vec<Problem>> {
    let starts: Vec<usize> =
        std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let line = |offset: usize| starts.partition_point(|&start| start <= offset);
    let (table, mut errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        let place = |offset| Location::File {
            file: file.to_owned(),
            line: Some(line(offset)),
            column: None,
        };
        let whole = Location::File { file: file.to_owned(), line: None, column: None };
        return Ok(Node { location: whole, content: table_content(table.get_ref(), &place) });
    }
    let problem = |error: toml::de::Error| {
        let offset = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = line(offset);
        // The parser's offsets are in bytes; people count characters.
        let column = String::from_utf8_lossy(&text.as_bytes()[starts[line - 1]..offset]);
        let message: Vec<&str> =
            error.message().lines().filter(|line| *line != "expected nothing").collect();
        let message = message.join(", ");
        let hint = if message.starts_with("duplicate key") {
            "give each key and each `[section]` once; a list of tables is `[[section]]`"
        } else {
            "write `key = value` lines under `[section]` lines, text in quotes"
        };
        let location = Location::File {
            file: file.to_owned(),
            line: Some(line),
            column: Some(column.chars().count() + 1),
        };
        Problem {
            what: format!("not valid TOML: {message}"),
            location,
            key: String::new(),
            hint: hint.to_owned(),
        }
    };
    let start = |error: &toml::de::Error| error.span().map_or(0, |span| span.start.min(text.len()));
    errors.sort_by_key(start);
    // One broken value can be broken in many ways; the first one of a line says enough.
    errors.dedup_by_key(|error| line(start(error)));
    Err(errors.into_iter().map(problem).collect())
}

/// Parses the value of `--set key=value`, which was given at `location`. Nothing if it is no value.
pub(super) fn parse_value(text: &str, location: &Location) -> Option<Content> {
    let document = format!("value = {text}");
    let table = DeTable::parse(&document).ok()?;
    let mut entries = table.get_ref().iter();
    // A second key can only come from a line break in the text.
    match (entries.next(), entries.next()) {
        (Some((_, value)), None) => Some(content(value.get_ref(), &|_| location.clone())),
        _ => None,
    }
}

fn table_content(table: &DeTable<'_>, place: &dyn Fn(usize) -> Location) -> Content {
    let entry = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
        let key_text: &std::borrow::Cow<'_, str> = key.get_ref();
        let location = place(key.span().start);
        (key_text.to_string(), Node { location, content: content(value.get_ref(), place) })
    };
    Content::Table(table.iter().map(entry).collect())
}

fn content(value: &DeValue<'_>, place: &dyn Fn(usize) -> Location) -> Content {
    match value {
        DeValue::Table(table) => table_content(table, place),
        DeValue::Array(items)
            if !items.is_empty() && items.iter().all(|item| item.get_ref().is_table()) =>
        {
            let node = |item: &toml::Spanned<DeValue<'_>>| Node {
                location: place(item.span().start),
                content: content(item.get_ref(), place),
            };
            Content::Tables(items.iter().map(node).collect())
        }
        _ => Content::Value(plain(value)),
    }
}

fn plain(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        // What 64 bits cannot hold stays a number, for the range check to refuse.
        DeValue::Integer(digits) => match i64::from_str_radix(digits.as_str(), digits.radix()) {
            Ok(number) => Value::Integer(number),
            Err(_) => Value::Float(digits.as_str().parse().unwrap_or(f64::INFINITY)),
        },
        DeValue::Float(digits) => Value::Float(digits.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(flag) => Value::Boolean(*flag),
        DeValue::Datetime(datetime) => Value::Datetime(*datetime),
        DeValue::Array(items) => {
            Value::Array(items.iter().map(|item| plain(item.get_ref())).collect())
        }
        DeValue::Table(table) => Value::Table(
            table
                .iter()
                .map(|(key, value)| (key.get_ref().to_string(), plain(value.get_ref())))
                .collect(),
        ),
    }
}
