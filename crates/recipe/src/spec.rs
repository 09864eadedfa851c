//! What the caller knows of methods: names, options, and how many teachers each takes.

use std::collections::BTreeMap;

use serde::Serialize;
use toml::Value;

use super::range::{KeySpec, Range};

/// What recipes may say of one method.
#[derive(Clone, Copy, Debug)]
pub struct MethodSpec {
    /// Name in `method.name`, kebab-case.
    pub name: &'static str,
    /// What it does, in one line.
    pub help: &'static str,
    /// Its options, in the order of explanations.
    pub options: &'static [OptionSpec],
    /// Fewest teachers that it works with.
    pub min_teachers: usize,
    /// Most teachers that it works with. With 0, teachers are allowed but not used.
    pub max_teachers: Option<usize>,
}

/// One option of a method.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// Key in `[method]`.
    pub key: &'static str,
    /// Its default; the values that it takes are of the same kind.
    pub default: OptionValue,
    /// The values that it takes.
    pub range: Range,
    /// Where the default is from.
    pub source: &'static str,
    /// Meaning and unit, in one line.
    pub help: &'static str,
    /// Other defaults under other options; the first one that holds.
    pub exceptions: &'static [Exception],
}

/// The default of an option for a certain student, while another option has a certain value, or both.
#[derive(Clone, Copy, Debug)]
pub struct Exception {
    /// Name of the student's network; any if `None`.
    pub student: Option<&'static str>,
    /// The other option, which must come first in [`MethodSpec::options`], and its value.
    pub option: Option<(&'static str, OptionValue)>,
    /// The default then.
    pub default: OptionValue,
    /// Where that default is from.
    pub source: &'static str,
}

/// The value of an option.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum OptionValue {
    /// Yes or no.
    Flag(bool),
    /// A count.
    Integer(i64),
    /// Any other number.
    Number(f64),
    /// One of the words of a [`Range::Words`].
    Word(&'static str),
}

impl OptionValue {
    /// As a recipe would give it.
    pub(super) fn to_value(self) -> Value {
        match self {
            Self::Flag(flag) => Value::Boolean(flag),
            Self::Integer(number) => Value::Integer(number),
            Self::Number(number) => Value::Float(number),
            Self::Word(word) => Value::String(word.to_owned()),
        }
    }

    /// Whether both are of one kind.
    pub(super) fn same_kind(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }
}

impl MethodSpec {
    /// Whether it works with `count` teachers.
    #[must_use]
    pub fn takes(&self, count: usize) -> bool {
        count >= self.min_teachers
            && self.max_teachers.is_none_or(|most| most == 0 || count <= most)
    }

    /// Whether its loss is CE and a term of its own, with an output term on request: then that term
    /// may stand in `[[method.terms]]`.
    #[must_use]
    pub fn is_term(&self) -> bool {
        let on_request =
            |own: &OptionSpec| own.key == "alpha" && own.default == OptionValue::Number(0.0);
        // SemCKD has the output term by default.
        self.name == "semckd" || self.options.iter().any(on_request)
    }

    /// The options that belong to the term itself.
    pub(super) fn term_options(&self) -> impl Iterator<Item = &'static OptionSpec> + use<> {
        self.options.iter().filter(|own| !OUTPUT_TERM.contains(&own.key))
    }
}

impl OptionSpec {
    /// Its meaning with its other defaults: `weight of the term (0.6 for resnet20)`.
    #[must_use]
    pub fn help_with_exceptions(&self) -> String {
        let one = |own: &Exception| {
            let mut text = own.default.to_value().to_string();
            if let Some(student) = own.student {
                text += &format!(" for {student}");
            }
            if let Some((key, is)) = own.option {
                text += &format!(" with {key} = {}", is.to_value());
            }
            text
        };
        let others: Vec<String> = self.exceptions.iter().map(one).collect();
        let more =
            if others.is_empty() { String::new() } else { format!(" ({})", others.join(", ")) };
        format!("{}{more}", self.help)
    }

    /// The default for a student's network, given the options before it, and where it is from.
    pub(super) fn default_in(
        &self,
        student: &str,
        options: &BTreeMap<String, OptionValue>,
    ) -> (OptionValue, &'static str) {
        let holds = |exception: &&Exception| {
            exception.student.is_none_or(|name| student == name)
                && exception.option.is_none_or(|(key, is)| options.get(key) == Some(&is))
        };
        let found = self.exceptions.iter().find(holds);
        found.map_or((self.default, self.source), |holds| (holds.default, holds.source))
    }

    /// Its key in a recipe, with the origin of its default.
    pub(super) fn spec(&self, source: &'static str) -> KeySpec {
        KeySpec { key: self.key, help: self.help, range: self.range, source: Some(source) }
    }
}

/// Options of the output term beside a term.
pub(super) const OUTPUT_TERM: [&str; 2] = ["alpha", "temperature"];

/// The method of this name.
pub(super) fn find<'m>(methods: &'m [MethodSpec], name: &str) -> Option<&'m MethodSpec> {
    methods.iter().find(|method| method.name == name)
}
