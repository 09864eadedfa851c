//! Where each value of a recipe is from.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};
use toml::Value;

use super::problems::Location;
use super::section::Section;
use super::spec::MethodSpec;

/// One key of a recipe, explained. Serialises to an object with these fields.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Entry {
    /// Key path, as `--set` takes it.
    pub key: String,
    /// Its value; none if it is left out and has no default.
    pub value: Option<Value>,
    /// Where the value is from; serialises as its text.
    pub origin: Origin,
    /// What the key means, in lower case and without a full stop.
    pub help: String,
}

impl Entry {
    /// The value as a recipe would write it; `-` if there is none.
    #[must_use]
    pub fn value_text(&self) -> String {
        self.value.as_ref().map_or_else(|| "-".to_owned(), Value::to_string)
    }
}

/// Where a value is from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// Not given; with where its default is from.
    Default(&'static str),
    /// Given there.
    Given(Location),
}

impl fmt::Display for Origin {
    /// `default (CA-MKD paper)`, `FILE:LINE` or `--set`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default(source) => write!(f, "default ({source})"),
            Self::Given(Location::Set { .. }) => f.write_str("--set"),
            Self::Given(location) => location.fmt(f),
        }
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

pub(super) fn entries(
    recipe: &impl Section,
    methods: &[MethodSpec],
    places: &BTreeMap<String, Location>,
) -> Vec<Entry> {
    let mut entries = Vec::new();
    recipe.visit("", methods, &mut |key, spec, value| {
        let origin = match (places.get(key), spec.source) {
            (None, Some(source)) => Origin::Default(source),
            (place, _) => Origin::Given(place.cloned().unwrap_or(Location::Code)),
        };
        entries.push(Entry { key: key.to_owned(), value, origin, help: spec.brief() });
    });
    entries
}
