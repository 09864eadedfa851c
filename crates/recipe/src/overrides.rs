//! `--set key.path=value`: values that replace those of the recipe file.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use toml::Value;

use super::problems::{Location, Problem, nearest, shown};
use super::range::quoted;
use super::tree::{Content, Node, parse_value};

/// Deeper than any key, shallow enough for recursion.
const MOST_PARTS: usize = 8;

/// Puts the value of `argument` into the tree.
///
/// The value is TOML; what is not, and does not begin like a list, table or quoted text, is text.
/// A table is merged, everything else replaces what was there. An item of a list of tables is
/// named by its `name` or its number: `teachers.a.weights`, `teachers.0.weights` and
/// `teachers[0].weights`.
///
/// Returns what is wrong if the argument has no such form, or names an item that is not there.
pub(super) fn apply(tree: &mut Node, argument: &str) -> Option<Problem> {
    let location = Location::Set { argument: argument.to_owned() };
    let (what, hint) = set(tree, argument, &location).err()?;
    Some(Problem { what, location, key: String::new(), hint })
}

/// What is wrong, and a hint.
type Refusal = (String, String);

fn set(tree: &mut Node, argument: &str, location: &Location) -> Result<(), Refusal> {
    let Some((key, text)) = argument.split_once('=') else {
        return Err((
            "`--set` without `=`".to_owned(),
            "write `--set key.path=value`, for example `--set train.epochs=10`".to_owned(),
        ));
    };
    let key = key.trim().replace('[', ".").replace(']', "");
    let parts = key.split('.');
    if parts.clone().any(|part| part.trim().is_empty()) || parts.count() > MOST_PARTS {
        return Err((
            format!("`{}` is no key path", shown(&key)),
            "name the section and the key, for example `train.epochs`".to_owned(),
        ));
    }
    let text = text.trim();
    let content = match parse_value(text, location) {
        Some(content) => content,
        None if text.starts_with(['[', '{', '"', '\'']) => {
            return Err((
                format!("`{}` is not a TOML value", shown(text)),
                "close each bracket and quote, and quote the whole for the shell".to_owned(),
            ));
        }
        None => Content::Value(Value::String(text.to_owned())),
    };
    put(tree, &key, Node { location: location.clone(), content })
}

fn put(node: &mut Node, path: &str, value: Node) -> Result<(), Refusal> {
    if path.is_empty() {
        merge(node, value);
        return Ok(());
    }
    if let Content::Tables(items) = &mut node.content {
        let (index, rest) = find(items, path)?;
        return put(&mut items[index], rest, value);
    }
    if !matches!(node.content, Content::Table(_)) {
        *node = Node { location: value.location.clone(), content: Content::Table(BTreeMap::new()) };
    }
    let Content::Table(table) = &mut node.content else {
        return Ok(());
    };
    let (key, rest) = path.split_once('.').unwrap_or((path, ""));
    let empty =
        || Node { location: value.location.clone(), content: Content::Table(BTreeMap::new()) };
    put(table.entry(key.trim().to_owned()).or_insert_with(empty), rest, value)
}

fn merge(node: &mut Node, value: Node) {
    match (&mut node.content, value) {
        (Content::Table(old), Node { content: Content::Table(new), .. }) => {
            for (key, value) in new {
                match old.entry(key) {
                    Entry::Occupied(mut node) => merge(node.get_mut(), value),
                    Entry::Vacant(place) => {
                        place.insert(value);
                    }
                }
            }
        }
        (_, value) => *node = value,
    }
}

/// The item that `path` begins with, and the rest of the path. Names may hold dots, so the longest
/// one that fits is taken.
fn find<'p>(items: &[Node], path: &'p str) -> Result<(usize, &'p str), Refusal> {
    let names: Vec<&str> = items.iter().map(|item| name(item).unwrap_or_default()).collect();
    let rest_after = |name: &str| {
        let rest = path.strip_prefix(name).filter(|_| !name.is_empty())?;
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix('.') }
    };
    let by_name = names
        .iter()
        .enumerate()
        .filter_map(|(index, name)| Some((name.len(), index, rest_after(name)?)))
        .max_by_key(|(length, ..)| *length);
    if let Some((_, index, rest)) = by_name {
        return Ok((index, rest));
    }
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    if let Some(index) = first.parse().ok().filter(|&index: &usize| index < items.len()) {
        return Ok((index, rest));
    }
    let hint = match nearest(first, names.iter().copied().filter(|name| !name.is_empty())) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("there are {}, or use a number below {}", quoted(&names), items.len()),
    };
    Err((format!("nothing in the list is named `{}`", shown(first)), hint))
}

fn name(item: &Node) -> Option<&str> {
    let Content::Table(table) = &item.content else {
        return None;
    };
    match &table.get("name")?.content {
        Content::Value(Value::String(name)) => Some(name),
        _ => None,
    }
}
