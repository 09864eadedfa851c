//! `data.validation`: what the best epoch is chosen by.

use serde::Serialize;
use toml::Value;

use super::setting::Setting;

/// What the best epoch is chosen by.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Validation {
    /// The data set's own validation split, or, where it has none, this share of the training split;
    /// with 0 nothing at all.
    Share(f64),
    /// This split of the data set, by name or path.
    Split(String),
}

impl Default for Validation {
    fn default() -> Self {
        Self::Share(0.0)
    }
}

impl From<f64> for Validation {
    fn from(share: f64) -> Self {
        Self::Share(share)
    }
}

impl Setting for Validation {
    const ONE: &'static str = "a number, or the name of a split in quotes";
    const MANY: &'static str = "numbers";

    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::String(name) => Some(Self::Split(name.clone())),
            number => f64::read(number).map(Self::Share),
        }
    }

    fn to_value(&self) -> Option<Value> {
        match self {
            Self::Share(share) => share.to_value(),
            Self::Split(name) => name.to_value(),
        }
    }
}
