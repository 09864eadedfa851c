//! Which keys of a recipe may change in the middle of a run.

/// Keys of `train` and `method` that decide what a checkpoint holds, or which training it is of.
const FIXED: [&str; 3] = ["method.name", "method.learn_epochs", "train.optimizer"];

/// The first of some keys that no run can change in its middle.
pub(crate) fn unchangeable(keys: &[String]) -> Option<&String> {
    let may = |key: &str| key.starts_with("train.") || key.starts_with("method.");
    keys.iter().find(|key| !may(key) || FIXED.contains(&key.as_str()))
}
