//! `[method]`: its keys are those of the method that it names; and `[[method.terms]]`, terms of other
//! methods beside its own.

use std::collections::BTreeMap;

use serde::Serialize;

use super::key_path::join;
use super::range::{KeySpec, Range};
use super::reader::Reader;
use super::section::{Section, Visitor};
use super::setting::Setting as _;
use super::spec::{MethodSpec, OUTPUT_TERM, OptionSpec, OptionValue, find};
use super::tree::Node;

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

/// One `[[method.terms]]`: the feature or relation term of another method.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MethodTerm {
    /// The method that the term is from, and its options, without those of an output term.
    #[serde(flatten)]
    pub method: Method,
    /// How its teachers are weighed for each sample, one of [`TERM_WEIGHTS`].
    pub teacher_weights: &'static str,
}

/// Rules that weigh the teachers of a term for each sample.
pub const TERM_WEIGHTS: &[&str] = &["uniform", "confidence", "entropy", "max-probability"];

impl Method {
    /// The method with the defaults of all its options.
    #[must_use]
    pub fn with_defaults(spec: &MethodSpec) -> Self {
        Self::for_student(spec, "")
    }

    /// The same for a student's network.
    #[must_use]
    pub fn for_student(spec: &MethodSpec, student: &str) -> Self {
        let (name, network) = (spec.name.to_owned(), student.to_owned());
        let mut method = Self { name, student: network, ..Self::default() };
        for option in spec.options {
            let (default, _) = option.default_in(student, &method.options);
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

    /// Fills in `options` from a table.
    pub(super) fn read_options(
        &mut self,
        reader: &mut Reader<'_>,
        at: &str,
        table: Option<&BTreeMap<String, Node>>,
        options: impl Iterator<Item = &'static OptionSpec>,
    ) {
        for option in options {
            let (default, source) = option.default_in(&self.student, &self.options);
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
            let (_, source) = option.default_in(&self.student, &self.options);
            let value = self.options.get(option.key).map(|value| value.to_value());
            see(&join(at, option.key), option.spec(source), value);
        }
    }
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
        // Of an unknown method no key can be said to be wrong; the check reports the name.
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

const WEIGHTS: KeySpec = KeySpec {
    key: "teacher_weights",
    help: "How the term weighs its teachers for each sample.",
    range: Range::Words(TERM_WEIGHTS),
    source: Some("faculty's choice"),
};

const TERM_NAME: KeySpec = KeySpec {
    key: "name",
    help: "Name of the method that the term is from.",
    range: Range::Any,
    source: None,
};

impl MethodTerm {
    /// The term with the defaults of all its options.
    ///
    /// # Panics
    /// When the method is no term: see [`MethodSpec::is_term`].
    #[must_use]
    pub fn with_defaults(spec: &MethodSpec) -> Self {
        assert!(spec.is_term(), "`{}` is no feature or relation term", spec.name);
        Self { method: alone(Method::with_defaults(spec)), teacher_weights: TERM_WEIGHTS[0] }
    }
}

/// Without the output term.
fn alone(mut method: Method) -> Method {
    method.options.retain(|key, _| !OUTPUT_TERM.contains(&key.as_str()));
    method
}

impl Section for MethodTerm {
    fn read(reader: &mut Reader<'_>, at: &str, node: Option<&Node>) -> Self {
        let table = reader.table(at, node);
        let name: String = reader.key(at, table, TERM_NAME, None);
        let word: String = reader.key(at, table, WEIGHTS, Some(TERM_WEIGHTS[0].to_owned()));
        let teacher_weights = reader.word(at, &WEIGHTS, &word).unwrap_or(TERM_WEIGHTS[0]);
        let mut method = Method { name, student: reader.student.clone(), ..Method::default() };
        if let Some(spec) = find(reader.methods, &method.name).filter(|spec| spec.is_term()) {
            let own = [TERM_NAME.key, WEIGHTS.key];
            let known: Vec<&str> =
                own.into_iter().chain(spec.term_options().map(|own| own.key)).collect();
            reader.refuse_unknown(at, table, &known);
            method.read_options(reader, at, table, spec.term_options());
        }
        Self { method, teacher_weights }
    }

    fn visit(&self, at: &str, methods: &[MethodSpec], see: &mut Visitor<'_>) {
        see(&join(at, TERM_NAME.key), TERM_NAME, self.method.name.to_value());
        see(&join(at, WEIGHTS.key), WEIGHTS, self.teacher_weights.to_owned().to_value());
        let spec = find(methods, &self.method.name);
        self.method.visit_options(at, spec.into_iter().flat_map(MethodSpec::term_options), see);
    }
}
