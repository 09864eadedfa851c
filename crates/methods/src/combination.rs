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
    let terms = spec.terms.iter().map(TermMember::new).collect::<Result<_>>()?;
    Ok(Box::new(Combination { base: Member::new(base), terms }))
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
        let mut other = TermMember::new(term)?;
        other.member.prepare(Facts::Maps(shapes));
        let of_term = other.member.method.parts(shapes);
        let trains = !of_term.parameters.is_empty();
        let why = if base.parts(shapes).after_step.is_some() {
            "it tries steps of its own, which leave no room for other terms"
        } else if of_term.after_step.is_some() {
            "the term comes with steps of its own"
        } else if holds && trains {
            "it holds its trained values in some epochs, and the term trains some too"
        } else if base.setup().class_space == ClassSpace::Teacher && other.rule.is_some() {
            "its teachers answer over classes of their own, so nobody can say how right they are"
        } else {
            continue;
        };
        return Err(MethodError::Combination { method: info.spec.name, term: other.name, why });
    }
    Ok(())
}

/// One method among others, and which trained parts are its own.
#[derive(Debug)]
struct Member {
    method: Box<dyn Method>,
    projectors: usize,
    parameters: usize,
    memory: usize,
}

impl Member {
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
struct TermMember {
    name: &'static str,
    member: Member,
    /// `None`: all teachers count the same.
    rule: Option<Box<dyn Weighting>>,
    rule_name: &'static str,
}

/// The rule that reads labels.
const CONFIDENCE: &str = "confidence";

impl TermMember {
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
            member: Member::new((info.build)(&options)),
            rule,
            rule_name: term.teacher_weights,
        })
    }

    /// All rules of terms weigh teachers by one sample.
    fn setup(&self) -> Setup {
        let setup = self.member.method.setup();
        Setup { needs_labels: setup.needs_labels || self.rule_name == CONFIDENCE, ..setup }
    }

    fn needs(&self, epoch: usize) -> Needs {
        let needs = self.member.method.needs(epoch);
        Needs { teacher_logits: needs.teacher_logits || self.rule.is_some(), ..needs }
    }
}

/// A method and terms of others.
#[derive(Debug)]
struct Combination {
    base: Member,
    terms: Vec<TermMember>,
}

impl Combination {
    fn members(&self) -> impl Iterator<Item = &Member> {
        std::iter::once(&self.base).chain(self.terms.iter().map(|term| &term.member))
    }

    /// What member number `at` sees of a step.
    fn step_of(&self, at: usize, needs: &Needs, step: &Step) -> Step {
        let all = self.needs(step.epoch);
        let mut members = self.members();
        let (mut projectors, mut parameters, mut memory) = (0, 0, 0);
        for member in members.by_ref().take(at) {
            projectors += member.projectors;
            parameters += member.parameters;
            memory += member.memory;
        }
        let member = members.next().expect("a member of this combination");
        // Members that rest in this epoch have none.
        let projected = projectors..projectors + member.projectors;
        let parameters = parameters..parameters + member.parameters;
        Step {
            student_maps: picked(&step.student_maps, &all.student_taps, &needs.student_taps),
            projected_maps: step.projected_maps.get(projected).unwrap_or_default().to_vec(),
            parameters: step.parameters.get(parameters).unwrap_or_default().to_vec(),
            memory: step.memory[memory..memory + member.memory].to_vec(),
            teacher_maps: step
                .teacher_maps
                .iter()
                .map(|maps| picked(maps, &all.teacher_taps, &needs.teacher_taps))
                .collect(),
            ..step.clone()
        }
    }
}

/// Of the values at the taps `all` those at `own`.
fn picked<T: Clone>(values: &[T], all: &[Tap], chosen: &[Tap]) -> Vec<T> {
    let at = |tap: &Tap| all.iter().position(|other| other == tap);
    chosen.iter().filter_map(at).filter_map(|at| values.get(at).cloned()).collect()
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
        let terms = self.terms.iter().map(|term| (term.name, term.member.method.parts(shapes)));
        let base = self.base.method.parts(shapes);
        terms.fold(base, |all, (name, term)| all.with_term(name, term))
    }

    fn prepare(&mut self, facts: Facts<'_>) {
        self.base.prepare(facts);
        self.terms.iter_mut().for_each(|term| term.member.prepare(facts));
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
        let mut loss = self.base.method.loss(&self.step_of(0, &needs, step));
        let mut arrays = self.base.memory;
        for (index, term) in self.terms.iter().enumerate() {
            let needs = term.needs(step.epoch);
            let weights =
                term.rule.as_ref().map(|rule| rule.of_step(step.given_logits(), step).detach());
            let of_member = self.step_of(1 + index, &needs, step);
            let of_member = Step { term_weights: weights.clone(), ..of_member };
            let of_term = term.member.method.loss(&of_member);
            let moved = |write: Write| Write { array: arrays + write.array, ..write };
            loss.writes.extend(of_term.writes.into_iter().map(moved));
            arrays += term.member.memory;
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
        let (all, needs) = (self.needs(step.epoch), self.base.method.needs(step.epoch));
        let teachers = step.teachers.iter();
        let of_base = MapStep {
            projected: step.projected.iter().take(self.base.projectors).copied().collect(),
            teachers: teachers
                .map(|maps| picked(maps, &all.teacher_taps, &needs.teacher_taps))
                .collect(),
            ..step.clone()
        };
        self.base.method.map_terms(&of_base, buffers)
    }

    fn objective(&self, teachers: usize) -> String {
        let mut line = self.base.method.objective(teachers);
        for term in &self.terms {
            let objective = term.member.method.objective(teachers);
            let objective = objective.strip_prefix("CE + ").unwrap_or(&objective);
            line += &format!("; + {objective}");
            if teachers > 1 && term.rule.is_some() {
                line += &format!(" (mean_k by {})", term.rule_name);
            }
        }
        line
    }
}
