//! `[method]`: its keys are those of the method that it names.

use std::collections::BTreeMap;

use serde::Serialize;
use toml::Value;

use super::load::Reader;
use super::range::{KeySpec, Range};
use super::section::{Section, Visitor, join};
use super::setting::Setting;
use super::term::MethodTerm;
use super::tree::Node;

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
    fn to_value(self) -> Value {
        match self {
            Self::Flag(flag) => Value::Boolean(flag),
            Self::Integer(number) => Value::Integer(number),
            Self::Number(number) => Value::Float(number),
            Self::Word(word) => Value::String(word.to_owned()),
        }
    }

    fn same_kind(self, other: Self) -> bool {
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

    /// The default in this method, given the options before it, and where it is from.
    fn default_in(&self, method: &Method) -> (OptionValue, &'static str) {
        let holds = |exception: &&Exception| {
            exception.student.is_none_or(|name| method.student == name)
                && exception.option.is_none_or(|(key, is)| method.options.get(key) == Some(&is))
        };
        let found = self.exceptions.iter().find(holds);
        found.map_or((self.default, self.source), |holds| (holds.default, holds.source))
    }

    fn spec(&self, source: &'static str) -> KeySpec {
        KeySpec { key: self.key, help: self.help, range: self.range, source: Some(source) }
    }
}

/// `[method]`: the method and its options.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Method {
    /// Name of the method, one of `faculty methods`. Required.
    pub name: String,
    /// All options of the method; see its [`MethodSpec`].
    #[serde(flatten)]
    pub options: BTreeMap<String, OptionValue>,
    /// Terms of other methods beside its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub terms: Vec<MethodTerm>,
    /// The network of the student whose defaults these are; empty for those of no network.
    #[serde(skip)]
    pub student: String,
}

/// Whose defaults the options were is not seen in them any more.
impl PartialEq for Method {
    fn eq(&self, other: &Self) -> bool {
        let Self { name, options, terms, student: _ } = self;
        (name, options, terms) == (&other.name, &other.options, &other.terms)
    }
}

impl Method {
    /// The method with the defaults of all its options.
    #[must_use]
    pub fn with_defaults(spec: &MethodSpec) -> Self {
        Self::for_student(spec, "")
    }

    /// The same for a student's network.
    #[must_use]
    pub fn for_student(spec: &MethodSpec, student: &str) -> Self {
        let (name, student) = (spec.name.to_owned(), student.to_owned());
        let mut method = Self { name, student, ..Self::default() };
        for option in spec.options {
            let (default, _) = option.default_in(&method);
            method.options.insert(option.key.to_owned(), default);
        }
        method
    }

    /// Whether it learns from teachers at all.
    #[must_use]
    pub fn uses_teachers(&self, spec: &MethodSpec) -> bool {
        spec.max_teachers != Some(0) || !self.terms.is_empty()
    }

    /// The option `key`, if it is a yes or no.
    #[must_use]
    pub fn flag(&self, key: &str) -> Option<bool> {
        match self.options.get(key)? {
            OptionValue::Flag(flag) => Some(*flag),
            _ => None,
        }
    }

    /// The option `key`, if it is a count.
    #[must_use]
    pub fn integer(&self, key: &str) -> Option<i64> {
        match self.options.get(key)? {
            OptionValue::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The option `key`, if it is any other number.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<f64> {
        match self.options.get(key)? {
            OptionValue::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The option `key`, if it is a word.
    #[must_use]
    pub fn word(&self, key: &str) -> Option<&'static str> {
        match self.options.get(key)? {
            OptionValue::Word(word) => Some(word),
            _ => None,
        }
    }

    /// The options that the method has and this one lacks, or has of another kind.
    pub(super) fn unfit<'s>(&self, spec: &'s MethodSpec) -> impl Iterator<Item = &'s OptionSpec> {
        spec.options.iter().filter(|option| self.lacks(option))
    }

    /// Whether this option is missing or of another kind.
    pub(super) fn lacks(&self, option: &OptionSpec) -> bool {
        !self.options.get(option.key).is_some_and(|value| value.same_kind(option.default))
    }

    /// Fills in `wanted` from a table.
    pub(super) fn read_options(
        &mut self,
        reader: &mut Reader<'_>,
        at: &str,
        table: Option<&BTreeMap<String, Node>>,
        wanted: impl Iterator<Item = &'static OptionSpec>,
    ) {
        for option in wanted {
            let (default, source) = option.default_in(self);
            let spec = option.spec(source);
            let value = match default {
                OptionValue::Flag(flag) => {
                    OptionValue::Flag(reader.key(at, table, spec, Some(flag)))
                }
                OptionValue::Integer(number) => {
                    OptionValue::Integer(reader.key(at, table, spec, Some(number)))
                }
                OptionValue::Number(number) => {
                    OptionValue::Number(reader.key(at, table, spec, Some(number)))
                }
                OptionValue::Word(word) => {
                    let text: String = reader.key(at, table, spec, Some(word.to_owned()));
                    OptionValue::Word(reader.word(at, &spec, &text).unwrap_or(word))
                }
            };
            self.options.insert(option.key.to_owned(), value);
        }
    }

    /// Shows these options.
    pub(super) fn visit_options(
        &self,
        at: &str,
        options: impl Iterator<Item = &'static OptionSpec>,
        see: &mut Visitor<'_>,
    ) {
        for option in options {
            let (_, source) = option.default_in(self);
            let value = self.options.get(option.key).map(|value| value.to_value());
            see(&join(at, option.key), option.spec(source), value);
        }
    }
}

/// The method of this name.
pub(super) fn find<'m>(methods: &'m [MethodSpec], name: &str) -> Option<&'m MethodSpec> {
    methods.iter().find(|method| method.name == name)
}

/// Key of the list of terms.
const TERMS: &str = "terms";

const NAME: KeySpec = KeySpec {
    key: "name",
    help: "Name of the method, one of `faculty methods`.",
    range: Range::Any,
    source: None,
};

impl Section for Method {
    fn read(reader: &mut Reader<'_>, at: &str, node: Option<&Node>) -> Self {
        let table = reader.table(at, node);
        let name: String = reader.key(at, table, NAME, None);
        let student = reader.student.clone();
        let mut method = Self { name, student, ..Self::default() };
        // Of an unknown method no key can be told to be wrong; the check reports the name.
        if let Some(spec) = find(reader.methods, &method.name) {
            let own = [NAME.key, TERMS];
            let known: Vec<&str> =
                own.into_iter().chain(spec.options.iter().map(|own| own.key)).collect();
            reader.refuse_unknown(at, table, &known);
            method.read_options(reader, at, table, spec.options.iter());
        }
        let terms = table.and_then(|table| table.get(TERMS));
        method.terms = Section::read(reader, &join(at, TERMS), terms);
        method
    }

    fn visit(&self, at: &str, methods: &[MethodSpec], see: &mut Visitor<'_>) {
        see(&join(at, NAME.key), NAME, self.name.to_value());
        let options = find(methods, &self.name).map_or(&[][..], |method| method.options);
        self.visit_options(at, options.iter(), see);
        self.terms.visit(&join(at, TERMS), methods, see);
    }
}
