//! `[[method.terms]]`: terms of other methods beside the method's own.

use serde::Serialize;

use super::load::Reader;
use super::method::{Method, MethodSpec, OptionSpec, OptionValue, find};
use super::problems::{Problems, nearest, shown};
use super::range::{KeySpec, Range, quoted};
use super::section::{Section, Visitor, join};
use super::setting::Setting as _;
use super::tree::Node;

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

const WEIGHTS: KeySpec = KeySpec {
    key: "teacher_weights",
    help: "How the term weighs its teachers for each sample.",
    range: Range::Words(TERM_WEIGHTS),
    source: Some("faculty's choice"),
};

const NAME: KeySpec = KeySpec {
    key: "name",
    help: "Name of the method that the term is from.",
    range: Range::Any,
    source: None,
};

impl MethodSpec {
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

/// Options of the output term beside a term.
const OUTPUT_TERM: [&str; 2] = ["alpha", "temperature"];

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
        let name: String = reader.key(at, table, NAME, None);
        let word: String = reader.key(at, table, WEIGHTS, Some(TERM_WEIGHTS[0].to_owned()));
        let teacher_weights = reader.word(at, &WEIGHTS, &word).unwrap_or(TERM_WEIGHTS[0]);
        let mut method = Method { name, student: reader.student.clone(), ..Method::default() };
        if let Some(spec) = find(reader.methods, &method.name).filter(|spec| spec.is_term()) {
            let own = [NAME.key, WEIGHTS.key];
            let known: Vec<&str> =
                own.into_iter().chain(spec.term_options().map(|own| own.key)).collect();
            reader.refuse_unknown(at, table, &known);
            method.read_options(reader, at, table, spec.term_options());
        }
        Self { method, teacher_weights }
    }

    fn visit(&self, at: &str, methods: &[MethodSpec], see: &mut Visitor<'_>) {
        see(&join(at, NAME.key), NAME, self.method.name.to_value());
        see(&join(at, WEIGHTS.key), WEIGHTS, self.teacher_weights.to_owned().to_value());
        let spec = find(methods, &self.method.name);
        self.method.visit_options(at, spec.into_iter().flat_map(MethodSpec::term_options), see);
    }
}

/// Terms that are none, or stand there twice.
pub(super) fn problems(method: &Method, methods: &[MethodSpec], problems: &mut Problems) {
    let terms = methods.iter().filter(|spec| spec.is_term());
    let names: Vec<&str> = terms.map(|spec| spec.name).collect();
    for (index, term) in method.terms.iter().enumerate() {
        let name = term.method.name.as_str();
        let at = format!("method.terms[{index}].name");
        if name.is_empty() {
            continue;
        }
        if !names.contains(&name) {
            let hint = match nearest(name, names.iter().copied()) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("give one of {}", quoted(&names)),
            };
            let what = if find(methods, name).is_some() {
                format!("method `{name}` has no term that can stand beside another method")
            } else {
                format!("unknown term `{}`", shown(name))
            };
            problems.add(&at, what, hint);
            continue;
        }
        let earlier = method.terms[..index].iter().map(|term| term.method.name.as_str());
        if std::iter::once(method.name.as_str()).chain(earlier).any(|other| other == name) {
            problems.add(
                &at,
                format!("the term of `{name}` stands there twice"),
                "give its weight once".to_owned(),
            );
        }
        let spec = find(methods, name);
        for option in spec.into_iter().flat_map(MethodSpec::term_options) {
            if term.method.lacks(option) {
                problems.add(
                    &format!("method.terms[{index}].{}", option.key),
                    format!("option `{}` of term `{name}` is missing", option.key),
                    "start from `MethodTerm::with_defaults`".to_owned(),
                );
            }
        }
    }
}
