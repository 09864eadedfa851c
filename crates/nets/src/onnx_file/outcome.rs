//! How the readers of an ONNX file say what is wrong with it.

/// What went wrong, and how to fix it.
pub type Outcome<T> = Result<T, (String, &'static str)>;

/// How a damaged file is mended.
pub const DAMAGED: &str = "the file is damaged or its download was cut: fetch or export it again";

/// The first names for a message, each in backticks, behind a space; nothing if there are none.
#[must_use]
pub fn list<'a>(names: impl Iterator<Item = Option<&'a str>>) -> String {
    const SHOWN: usize = 8;
    let names: Vec<String> =
        names.take(SHOWN).map(|n| format!("`{}`", n.unwrap_or_default())).collect();
    if names.is_empty() { String::new() } else { format!(" {}", names.join(", ")) }
}
