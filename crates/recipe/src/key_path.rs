//! Key paths: `teachers[1].weights`.

/// `data` and `path` give `data.path`.
pub(super) fn join(at: &str, key: &str) -> String {
    if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") }
}

/// `[data]`, `[[teachers]]`
pub(super) fn heading(at: &str) -> String {
    match at.split_once('[') {
        Some((list, _)) => format!("`[[{list}]]`"),
        None if at.is_empty() => "the top level".to_owned(),
        None => format!("`[{at}]`"),
    }
}
