//! `teachers.heads`: where classifier heads are mounted.

use serde::{Serialize, Serializer};
use toml::Value;

use super::setting::Setting;

/// Feature taps of a network on which heads are mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Heads {
    /// `"all"`: the map behind every stage, f1 and those after it.
    #[default]
    All,
    /// These: `f0`, `f1`, …
    At(Vec<String>),
}

impl Serialize for Heads {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => serializer.serialize_str("all"),
            Self::At(taps) => taps.serialize(serializer),
        }
    }
}

impl Heads {
    /// The number of a feature tap, from its name `f…`.
    #[must_use]
    pub fn feature(name: &str) -> Option<usize> {
        let digits = name.strip_prefix('f')?;
        let number: usize = digits.parse().ok()?;
        // One name for each tap: no `f01`, no `f+1`.
        (number.to_string() == digits).then_some(number)
    }

    /// The fewest heads that this can mean.
    #[must_use]
    pub fn least(&self) -> usize {
        match self {
            Self::All => 1,
            Self::At(taps) => taps.len(),
        }
    }
}

impl Setting for Heads {
    const ONE: &'static str = "a list of feature taps, or `\"all\"`";
    const MANY: &'static str = "lists of feature taps";

    fn read(value: &Value) -> Option<Self> {
        match value.as_str() {
            Some("all") => Some(Self::All),
            Some(_) => None,
            None => Vec::<String>::read(value).map(Self::At),
        }
    }

    fn to_value(&self) -> Option<Value> {
        match self {
            Self::All => Some(Value::String("all".to_owned())),
            Self::At(taps) => taps.to_value(),
        }
    }
}
