//! A row of the table of methods.

use faculty_contract::{Method, needs_of_run};
use faculty_nets::Tap;
use faculty_recipe::{self as recipe, MethodSpec};

use crate::costs::COSTS;

/// Epochs after which no method asks for anything new.
const EARLY: usize = 3;

/// How close a method is to its paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// From the authors' code or the paper's own formulas.
    Exact,
    /// Made from what is known of the paper; its documentation names the choices.
    Reimplementation,
}

impl Status {
    /// As it stands in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Reimplementation => "re-implementation",
        }
    }
}

/// A method's row.
#[derive(Clone, Copy, Debug)]
pub struct MethodInfo {
    /// What recipes may say of it.
    pub spec: MethodSpec,
    /// Authors, year and address of the paper.
    pub paper: &'static str,
    /// How close it is to the paper.
    pub status: Status,
    /// Builds it from the recipe's options, which have been checked against `spec`.
    pub build: fn(&recipe::Method) -> Box<dyn Method>,
}

impl MethodInfo {
    /// The method with the defaults of all its options.
    #[must_use]
    pub fn with_defaults(&self) -> Box<dyn Method> {
        (self.build)(&recipe::Method::with_defaults(&self.spec))
    }

    /// Time of a step against one of plain training, measured as `docs/methods.md` says; none of a
    /// method that was not measured yet.
    #[must_use]
    pub fn cost(&self) -> Option<f64> {
        COSTS.iter().find(|(name, _)| *name == self.spec.name).map(|(_, cost)| *cost)
    }

    /// What it reads of the teachers and asks of the run, with its defaults: `logits, the last map`.
    #[must_use]
    pub fn needs_in_words(&self) -> String {
        let method = self.with_defaults();
        // What differs by epoch begins or ends early.
        let needs = needs_of_run(method.as_ref(), EARLY);
        let mut words = Vec::new();
        let mut say = |holds: bool, what: &str| {
            if holds {
                words.push(what.to_owned());
            }
        };
        say(needs.teacher_logits, "logits");
        for &tap in &needs.teacher_taps {
            // No network has more: all that there are is meant.
            let last = [Tap::Feature(Tap::MOST), Tap::BeforeActivation(Tap::MOST)].contains(&tap);
            let name = tap.to_string();
            say(true, &if last { format!("{name} if there is one") } else { name });
        }
        say(needs.teacher_classifiers, "classifiers");
        say(method.setup().needs_profiles, "a validation split");
        say(method.setup().needs_labels, "every sample's label");
        say(needs.full_batches, "full batches");
        say(needs.trained_parts, "trained parts");
        if words.is_empty() { "labels only".to_owned() } else { words.join(", ") }
    }
}
