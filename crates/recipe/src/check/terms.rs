//! `[[method.terms]]`: whether they are terms, and whole.

use super::{Problems, nearest, quoted, shown};
use crate::method::Method;
use crate::spec::{MethodSpec, find};

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
