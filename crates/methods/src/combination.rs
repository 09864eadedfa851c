//! A method with terms of other methods beside its own: `[[method.terms]]`.
//!
//! ```text
//! L = L_method + Σ_t β_t mean_b Σ_k w_t[k,b] term_t(b, k)
//! ```
//! Each term t is the feature or relation term of a method (`fitnet`, `at`, `sp`, …) without that
//! method's CE and output term; `w_t` is 1/K, or a weighting rule's weights for each sample,
//! constants that sum to 1 over the teachers. A term that compares the samples of a batch with each
//! other (`sp`, `rkd`, `pkt`) counts for a sample what it compares that sample with.

use faculty_nets::Network;

use crate::error::{MethodError, Result};
use crate::weighting::{Confidence, Entropy, MaxProbability, Weighting};
use crate::{Loss, MapStep, MapTerm, Method, Needs, Parts, Shapes, Step, TeacherWeights, known};
use faculty_contract::{ClassSpace, Facts, Setup};
use faculty_contract::{TeacherTraits, Write};
use faculty_nets::Tap;
use faculty_recipe::{self as recipe, OptionValue};

/// The method of a recipe, with its terms.
///
/// # Errors
/// [`MethodError::Unknown`]; the recipe's check refuses it before.
///
/// # Panics
/// When an option that the method has is absent, which the check of the recipe fills in.
pub fn build(spec: &recipe::Method) -> Result<Box<dyn Method>> {
    let base = (known(&spec.name)?.build)(spec);
    if spec.terms.is_empty() {
        return Ok(base);
    }
    let terms = spec.terms.iter().map(TermPart::new).collect::<Result<_>>()?;
    Ok(Box::new(Combination { base: Part::new(base), terms }))
}

/// Refuses terms that cannot stand beside this method.
///
/// # Errors
/// [`MethodError::Combination`].
pub fn check(spec: &recipe::Method, shapes: &Shapes, epochs: usize) -> Result<()> {
    let info = known(&spec.name)?;
    let mut base = (info.build)(spec);
    base.prepare(Facts::Maps(shapes));
    let holds = (1..=epochs).any(|epoch| base.needs(epoch).frozen_parameters);
    for term in &spec.terms {
        let mut part = TermPart::new(term)?;
        part.part.prepare(Facts::Maps(shapes));
        let of_term = part.part.method.parts(shapes);
        let trains = !of_term.parameters.is_empty();
        let why = if base.parts(shapes).after_step.is_some() {
            "it tries steps of its own, which leave no room for other terms"
        } else if of_term.after_step.is_some() {
            "the term comes with steps of its own"
        } else if holds && trains {
            "it holds its trained values in some epochs, and the term trains some too"
        } else if base.setup().class_space == ClassSpace::Teacher && part.rule.is_some() {
            "its teachers answer over classes of their own, so nobody can say how right they are"
        } else {
            continue;
        };
        return Err(MethodError::Combination { method: info.spec.name, term: part.name, why });
    }
    Ok(())
}

/// One method among others, and which trained parts are its own.
#[derive(Debug)]
struct Part {
    method: Box<dyn Method>,
    projectors: usize,
    parameters: usize,
    memory: usize,
}

impl Part {
    fn new(method: Box<dyn Method>) -> Self {
        Self { method, projectors: 0, parameters: 0, memory: 0 }
    }

    fn prepare(&mut self, facts: Facts<'_>) {
        self.method.prepare(facts);
        if let Facts::Shapes(shapes) = facts {
            let Parts { projectors, parameters, memory, .. } = self.method.parts(shapes);
            self.projectors = projectors.len();
            self.parameters = parameters.len();
            self.memory = memory.len();
        }
    }
}

#[derive(Debug)]
struct TermPart {
    name: &'static str,
    part: Part,
    /// `None`: all teachers count the same.
    rule: Option<Box<dyn Weighting>>,
    rule_name: &'static str,
}

/// The rule that reads labels.
const CONFIDENCE: &str = "confidence";

impl TermPart {
    fn new(term: &recipe::MethodTerm) -> Result<Self> {
        let info = known(&term.method.name)?;
        // Without the output term, which the term's options leave out.
        let mut options = recipe::Method::with_defaults(&info.spec);
        options.options.extend(term.method.options.clone());
        options.options.insert("alpha".to_owned(), OptionValue::Number(0.0));
        let rule: Option<Box<dyn Weighting>> = match term.teacher_weights {
            CONFIDENCE => Some(Box::new(Confidence)),
            "entropy" => Some(Box::new(Entropy)),
            "max-probability" => Some(Box::new(MaxProbability)),
            _ => None,
        };
        Ok(Self {
            name: info.spec.name,
            part: Part::new((info.build)(&options)),
            rule,
            rule_name: term.teacher_weights,
        })
    }

    /// All rules of terms weigh teachers by one sample.
    fn setup(&self) -> Setup {
        let setup = self.part.method.setup();
        Setup { needs_labels: setup.needs_labels || self.rule_name == CONFIDENCE, ..setup }
    }

    fn needs(&self, epoch: usize) -> Needs {
        let needs = self.part.method.needs(epoch);
        Needs { teacher_logits: needs.teacher_logits || self.rule.is_some(), ..needs }
    }
}

/// A method and terms of others.
#[derive(Debug)]
struct Combination {
    base: Part,
    terms: Vec<TermPart>,
}

impl Combination {
    fn parts(&self) -> impl Iterator<Item = &Part> {
        std::iter::once(&self.base).chain(self.terms.iter().map(|term| &term.part))
    }

    /// What part number `at` sees of a step.
    fn own_step(&self, at: usize, own: &Needs, step: &Step) -> Step {
        let all = self.needs(step.epoch);
        let mut parts = self.parts();
        let (mut projectors, mut parameters, mut memory) = (0, 0, 0);
        for part in parts.by_ref().take(at) {
            projectors += part.projectors;
            parameters += part.parameters;
            memory += part.memory;
        }
        let part = parts.next().expect("a part of this combination");
        // Parts that rest in this epoch have none.
        let projected = projectors..projectors + part.projectors;
        let parameters = parameters..parameters + part.parameters;
        Step {
            student_maps: picked(&step.student_maps, &all.student_taps, &own.student_taps),
            projected_maps: step.projected_maps.get(projected).unwrap_or_default().to_vec(),
            parameters: step.parameters.get(parameters).unwrap_or_default().to_vec(),
            memory: step.memory[memory..memory + part.memory].to_vec(),
            teacher_maps: step
                .teacher_maps
                .iter()
                .map(|maps| picked(maps, &all.teacher_taps, &own.teacher_taps))
                .collect(),
            ..step.clone()
        }
    }
}

/// Of the values at the taps `all` those at `own`.
fn picked<T: Clone>(values: &[T], all: &[Tap], own: &[Tap]) -> Vec<T> {
    let at = |tap: &Tap| all.iter().position(|other| other == tap);
    own.iter().filter_map(at).filter_map(|at| values.get(at).cloned()).collect()
}

// Nothing is left to a default here, so that a new call of the contract cannot be lost.
#[deny(clippy::missing_trait_methods)]
impl Method for Combination {
    fn setup(&self) -> Setup {
        let base = self.base.method.setup();
        self.terms.iter().fold(base, |all, term| all.with_term(term.setup()))
    }

    fn needs(&self, epoch: usize) -> Needs {
        let base = self.base.method.needs(epoch);
        let terms = self.terms.iter().map(|term| term.needs(epoch));
        let terms = terms.fold(Needs::default(), Needs::union);
        let on_tape = !terms.teacher_taps.is_empty() || terms.trained_parts;
        Needs { maps_on_tape: on_tape, ..base.union(terms) }
    }

    fn parts(&self, shapes: &Shapes) -> Parts {
        let terms = self.terms.iter().map(|term| (term.name, term.part.method.parts(shapes)));
        let base = self.base.method.parts(shapes);
        terms.fold(base, |all, (name, term)| all.with_term(name, term))
    }

    fn prepare(&mut self, facts: Facts<'_>) {
        self.base.prepare(facts);
        self.terms.iter_mut().for_each(|term| term.part.prepare(facts));
    }

    fn student(
        &self,
        student: Network,
        teachers: &[TeacherTraits],
        seed: u64,
    ) -> faculty_nets::Result<Network> {
        self.base.method.student(student, teachers, seed)
    }

    fn loss(&self, step: &Step) -> Loss {
        let needs = self.base.method.needs(step.epoch);
        let mut loss = self.base.method.loss(&self.own_step(0, &needs, step));
        let mut arrays = self.base.memory;
        for (index, term) in self.terms.iter().enumerate() {
            let needs = term.needs(step.epoch);
            let weights =
                term.rule.as_ref().map(|rule| rule.of_step(step.given_logits(), step).detach());
            let own = self.own_step(1 + index, &needs, step);
            let own = Step { term_weights: weights.clone(), ..own };
            let of_term = term.part.method.loss(&own);
            let moved = |write: Write| Write { array: arrays + write.array, ..write };
            loss.writes.extend(of_term.writes.into_iter().map(moved));
            arrays += term.part.memory;
            let terms = of_term.terms.into_iter();
            let mut terms: Vec<_> = terms.filter(|term| term.name != "task").collect();
            if let [single] = terms.as_mut_slice() {
                single.name = term.name;
            }
            loss.terms.extend(terms);
            loss.teacher_weights
                .extend(weights.map(|weights| TeacherWeights { level: term.name, weights }));
        }
        loss
    }

    fn map_terms(&self, step: &MapStep<'_>, buffers: &mut Vec<Vec<f32>>) -> Vec<MapTerm> {
        let (all, own) = (self.needs(step.epoch), self.base.method.needs(step.epoch));
        let teachers = step.teachers.iter();
        let own = MapStep {
            projected: step.projected.iter().take(self.base.projectors).copied().collect(),
            teachers: teachers
                .map(|maps| picked(maps, &all.teacher_taps, &own.teacher_taps))
                .collect(),
            ..step.clone()
        };
        self.base.method.map_terms(&own, buffers)
    }

    fn objective(&self, teachers: usize) -> String {
        let mut line = self.base.method.objective(teachers);
        for term in &self.terms {
            let own = term.part.method.objective(teachers);
            let own = own.strip_prefix("CE + ").unwrap_or(&own);
            line += &format!("; + {own}");
            if teachers > 1 && term.rule.is_some() {
                line += &format!(" (mean_k by {})", term.rule_name);
            }
        }
        line
    }
}
