//! The values that a key may take.

use std::fmt;
use std::ops::Bound;

use toml::Value;

/// The values that a key may take; a list is in range if each of its elements is.
///
/// NaN and infinities are in no range, and empty text never is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Range {
    /// Every finite number, every text that is not empty.
    Any,
    /// Numbers between these bounds.
    Numbers(Bound<f64>, Bound<f64>),
    /// One of these words.
    Words(&'static [&'static str]),
}

impl Range {
    /// Numbers of at least `low`.
    #[must_use]
    pub const fn at_least(low: f64) -> Self {
        Self::Numbers(Bound::Included(low), Bound::Unbounded)
    }

    /// Numbers above `low`.
    #[must_use]
    pub const fn above(low: f64) -> Self {
        Self::Numbers(Bound::Excluded(low), Bound::Unbounded)
    }

    /// Numbers from `low` to `high`, both included.
    #[must_use]
    pub const fn between(low: f64, high: f64) -> Self {
        Self::Numbers(Bound::Included(low), Bound::Included(high))
    }

    /// Numbers from `low`, included, to `high`, excluded.
    #[must_use]
    pub const fn below(low: f64, high: f64) -> Self {
        Self::Numbers(Bound::Included(low), Bound::Excluded(high))
    }

    /// Numbers from `low`, excluded, to `high`, included.
    #[must_use]
    pub const fn up_to(low: f64, high: f64) -> Self {
        Self::Numbers(Bound::Excluded(low), Bound::Included(high))
    }

    /// Whether `value` is in range. Values of another kind than the range speaks of are: their
    /// type is the reader's matter.
    #[must_use]
    pub fn allows(&self, value: &Value) -> bool {
        match (value, self) {
            (Value::Array(elements), _) => elements.iter().all(|element| self.allows(element)),
            (Value::Float(number), _) => self.allows_number(*number),
            // Exact for every count in use; see the range of `seed` for the largest.
            (Value::Integer(number), _) => self.allows_number(*number as f64),
            (Value::String(word), Self::Words(words)) => words.contains(&word.as_str()),
            (Value::String(text), _) => !text.is_empty(),
            _ => true,
        }
    }

    fn allows_number(&self, number: f64) -> bool {
        let (low, high) = match self {
            Self::Numbers(low, high) => (*low, *high),
            Self::Any | Self::Words(_) => (Bound::Unbounded, Bound::Unbounded),
        };
        number.is_finite() && std::ops::RangeBounds::contains(&(low, high), &number)
    }
}

impl fmt::Display for Range {
    /// As it follows "must be". Of [`Range::Any`] only numbers are said to be out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Bound::{Excluded, Included, Unbounded};
        match self {
            Self::Any => f.write_str("finite"),
            Self::Words(words) => write!(f, "one of {}", quoted(words)),
            Self::Numbers(low, high) => match (low, high) {
                (Included(low), Included(high)) => write!(f, "from {low} to {high}"),
                (Included(low), Unbounded) => write!(f, "at least {low}"),
                (Excluded(low), Unbounded) => write!(f, "above {low}"),
                (Unbounded, Included(high)) => write!(f, "at most {high}"),
                (Unbounded, Excluded(high)) => write!(f, "below {high}"),
                (Unbounded, Unbounded) => f.write_str("finite"),
                (Included(low), Excluded(high)) => write!(f, "at least {low} and below {high}"),
                (Excluded(low), Included(high)) => write!(f, "above {low} and at most {high}"),
                (Excluded(low), Excluded(high)) => write!(f, "above {low} and below {high}"),
            },
        }
    }
}

/// `` `a`, `b`, `c` ``
pub(super) fn quoted<S: AsRef<str>>(words: &[S]) -> String {
    words.iter().map(|word| format!("`{}`", word.as_ref())).collect::<Vec<_>>().join(", ")
}

/// What is known of one key, whatever its type.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeySpec {
    pub(super) key: &'static str,
    pub(super) help: &'static str,
    pub(super) range: Range,
    /// Where the default is from; none = the key is required.
    pub(super) source: Option<&'static str>,
}

impl KeySpec {
    /// The help text, as it goes on in a hint.
    pub(super) fn brief(&self) -> String {
        let mut letters = self.help.trim_end_matches('.').chars();
        letters
            .next()
            .map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
    }

    /// A hint that says `give`, and the way out if there is one.
    pub(super) fn fix(&self, give: &str) -> String {
        match self.source {
            Some(source) => format!("{give}, or leave it out for the default ({source})"),
            None => give.to_owned(),
        }
    }
}
