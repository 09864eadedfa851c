//! The numbers that a report is about: teachers, ensemble and students in one list.

use faculty_records::comparison::{Comparison, ComparisonRow};
use faculty_records::quality::Quality;
use faculty_records::run::RunCard;
use faculty_records::statistics::{deviation, mean};

use crate::load::{Report, Run};

/// What an [`Entry`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One teacher alone.
    Teacher,
    /// The mean of all teachers' probabilities.
    Ensemble,
    /// A student, or one method's students over the seeds.
    Student,
}

/// One measured network or group of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Teacher, run or method.
    pub name: String,
    /// Its network, if it is one.
    pub network: String,
    /// Where it was measured: `test` or `validation`.
    pub part: String,
    /// Accuracy, percent; of several seeds their mean.
    pub top1: f64,
    /// Both ends of its interval: Wilson's at 95 % for one run, one standard deviation for several seeds.
    pub interval: [f64; 2],
    /// Deviation over the seeds.
    pub deviation: Option<f64>,
    /// Accuracy on the validation split, percent.
    pub validation: Option<f64>,
    /// Its interval there, likewise.
    pub validation_interval: Option<[f64; 2]>,
    /// Nats.
    pub nll: f64,
    /// 0 to 1.
    pub ece: f64,
    /// Balanced accuracy, percent, if it was measured.
    pub balanced_accuracy: Option<f64>,
    /// Macro-F1, percent, likewise.
    pub macro_f1: Option<f64>,
    /// Samples of the part.
    pub samples: usize,
    /// Accuracy of each seed.
    pub seeds: Vec<f64>,
    /// What a comparison says of it.
    pub verdict: String,
}

impl Entry {
    fn of(kind: Kind, name: &str, network: &str, part: &str, quality: Quality) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            network: network.to_owned(),
            part: part.to_owned(),
            top1: quality.top1,
            interval: quality.interval(),
            deviation: None,
            validation: (part == "validation").then_some(quality.top1),
            validation_interval: (part == "validation").then(|| quality.interval()),
            nll: quality.nll,
            ece: quality.ece,
            balanced_accuracy: quality.balanced_accuracy,
            macro_f1: quality.macro_f1,
            samples: quality.samples,
            seeds: vec![quality.top1],
            verdict: String::new(),
        }
    }

    /// `teacher ada`, `teachers' ensemble`, `student ca-mkd`
    #[must_use]
    pub fn label(&self) -> String {
        match self.kind {
            Kind::Teacher => format!("teacher {}", self.name),
            Kind::Ensemble => "teachers' ensemble".to_owned(),
            Kind::Student => format!("student {}", self.name),
        }
    }
}

impl Report {
    /// Teachers first, then the ensemble, then the students in the order of the runs.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        if let Some(comparison) = &self.comparison {
            return of_comparison(comparison);
        }
        let mut all: Vec<Entry> = Vec::new();
        for run in &self.runs {
            for entry in run.card.iter().flat_map(|card| teachers(run, card)) {
                if !all.iter().any(|own| own.kind == entry.kind && own.name == entry.name) {
                    all.push(entry);
                }
            }
        }
        all.sort_by_key(|entry| entry.kind == Kind::Ensemble);
        all.extend(self.runs.iter().filter_map(student));
        all
    }
}

/// The part that a run's teachers were measured on.
pub(crate) fn teachers_part(run: &Run, card: &RunCard) -> &'static str {
    let written = run.data.as_ref().and_then(|data| data.teachers.as_ref());
    let validation = written.map_or(card.best.validation.is_some(), |own| own.part == "validation");
    if validation { "validation" } else { "test" }
}

fn teachers(run: &Run, card: &RunCard) -> Vec<Entry> {
    let part = teachers_part(run, card);
    let own = card.teachers.iter().filter_map(|teacher| {
        let (name, network) = (&teacher.name, &teacher.network);
        Some(Entry::of(Kind::Teacher, name, network, part, teacher.quality?))
    });
    let ensemble = card.ensemble.filter(|_| card.teachers.len() > 1);
    let ensemble = ensemble.map(|own| Entry::of(Kind::Ensemble, "ensemble", "", part, own));
    own.chain(ensemble).collect()
}

fn student(run: &Run) -> Option<Entry> {
    let card = run.card.as_ref()?;
    let best = card.best;
    let (part, quality) = match (best.test, best.validation) {
        (Some(quality), _) => ("test", quality),
        (None, Some(quality)) => ("validation", quality),
        (None, None) => return None,
    };
    let validation = best.validation.map(|own| own.top1);
    let entry = Entry::of(Kind::Student, &run.name, &card.student, part, quality);
    let validation_interval = best.validation.map(|own| own.interval());
    Some(Entry { validation, validation_interval, ..entry })
}

fn of_comparison(comparison: &Comparison) -> Vec<Entry> {
    let part = comparison.teachers_part.as_deref().unwrap_or("validation");
    let mut all: Vec<Entry> = Vec::new();
    for own in &comparison.teachers {
        let network = own.network.as_deref();
        let kind = if network.is_some() { Kind::Teacher } else { Kind::Ensemble };
        all.push(Entry::of(kind, &own.name, network.unwrap_or(""), part, own.quality));
    }
    for row in &comparison.rows {
        let tested = comparison.part == "test";
        let qualities: Vec<Quality> = row
            .runs
            .iter()
            .filter_map(|run| if tested { run.test } else { run.validation })
            .collect();
        let Some(first) = qualities.first() else { continue };
        let entry =
            Entry::of(Kind::Student, &row.method, &comparison.student, &comparison.part, *first);
        let seeds: Vec<f64> = qualities.iter().map(|own| own.top1).collect();
        let (middle, spread) = (mean(&seeds), deviation(&seeds));
        let verdict = match &row.against_reference {
            None => "reference".to_owned(),
            Some(own) => own.words(&comparison.reference),
        };
        all.push(Entry {
            top1: middle,
            interval: spread.map_or(entry.interval, |own| [middle - own, middle + own]),
            deviation: spread,
            validation: row.validation_top1.map(|own| own.mean),
            validation_interval: validation_interval(row),
            nll: row.nll.mean,
            ece: row.ece.mean,
            balanced_accuracy: row.balanced_accuracy.map(|own| own.mean),
            macro_f1: row.macro_f1.map(|own| own.mean),
            seeds,
            verdict,
            ..entry
        });
    }
    all
}

/// One standard deviation over the seeds; of one seed Wilson's.
fn validation_interval(row: &ComparisonRow) -> Option<[f64; 2]> {
    let own = row.validation_top1?;
    let alone = row.runs.first()?.validation?.interval();
    Some(own.deviation.map_or(alone, |deviation| [own.mean - deviation, own.mean + deviation]))
}
