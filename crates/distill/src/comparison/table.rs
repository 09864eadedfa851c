//! What a comparison gives: means over the seeds, differences paired by seed, verdicts.

use serde::{Deserialize, Serialize};

use super::CheckedComparison;
use crate::metrics::Quality;
use crate::preflight::Report;
use crate::record::RunCard;
use crate::statistics::{Paired, SIGNIFICANCE, compare_paired, deviation, mean};

/// A method that a comparison treats otherwise than the rest, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MethodNote {
    /// Its name.
    pub method: String,
    /// Why.
    pub reason: String,
}

/// Methods of one teacher in a comparison with several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Single {
    /// The teacher that they learn from.
    pub teacher: String,
    /// Their names.
    pub methods: Vec<String>,
}

/// One student.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComparedRun {
    /// Its seed.
    pub seed: u64,
    /// Epoch of the best validation accuracy, from which the numbers are; the last one without a
    /// validation part.
    pub epoch: usize,
    /// On the validation part, if there is one.
    pub validation: Option<Quality>,
    /// On the test part, if there is one.
    pub test: Option<Quality>,
    /// Mean time of an epoch, evaluation included; teachers only as far as they were run then.
    pub seconds_per_epoch: f64,
}

/// Mean and deviation over the seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Deviation; none with one seed.
    pub deviation: Option<f64>,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.collect();
        Self { mean: mean(&values), deviation: deviation(&values) }
    }
}

/// The students of one method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComparisonRow {
    /// Its name.
    pub method: String,
    /// Its objective with all constants.
    pub objective: String,
    /// One a seed.
    pub runs: Vec<ComparedRun>,
    /// On [`Comparison::part`], percent.
    pub top1: Spread,
    /// Likewise, nats.
    pub nll: Spread,
    /// Likewise, 0 to 1.
    pub ece: Spread,
    /// Accuracy on the validation part, percent: what a method may be chosen by.
    pub validation_top1: Option<Spread>,
    /// Mean over the seeds.
    pub seconds_per_epoch: f64,
    /// Accuracy on [`Comparison::part`] less that of the reference; none for the reference.
    pub against_reference: Option<Paired>,
}

/// A teacher without a student.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TeacherRow {
    /// Its name, or `ensemble`.
    pub name: String,
    /// Its network; none of the ensemble.
    pub network: Option<String>,
    /// On [`Comparison::teachers_part`].
    pub quality: Quality,
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Version of this layout.
    pub format: u32,
    /// Program version.
    pub faculty: String,
    /// Data set name.
    pub data: String,
    /// Student network.
    pub student: String,
    /// Epochs of each run.
    pub epochs: usize,
    /// Seeds of each method.
    pub seeds: Vec<u64>,
    /// Where students are compared: `test`, or `validation` where there is no test part.
    pub part: String,
    /// Samples of it.
    pub samples: usize,
    /// Where teachers were measured: `validation`, or `test` where there is no validation part.
    pub teachers_part: Option<String>,
    /// Each teacher, and with several of them the mean of their probabilities.
    pub teachers: Vec<TeacherRow>,
    /// What the others are compared with.
    pub reference: String,
    /// Chance of any wrong verdict, when no method differs.
    pub significance: f64,
    /// One a method.
    pub rows: Vec<ComparisonRow>,
    /// Methods that learn from one of several teachers.
    #[serde(default)]
    pub single: Option<Single>,
    /// In a comparison of all methods, those that cannot run here.
    pub left_out: Vec<MethodNote>,
    /// Methods that cannot learn from the cache of the others: their teachers ran beside them.
    #[serde(default)]
    pub live: Vec<MethodNote>,
    /// Methods whose published warm-up is as long as the runs.
    #[serde(default)]
    pub warming_up: Vec<MethodNote>,
}

impl CheckedComparison<'_> {
    pub(super) fn summary(&self, cards: &[Vec<RunCard>], report: Option<&Report>) -> Comparison {
        let tested = cards.iter().flatten().all(|card| card.best.test.is_some());
        let nothing = Quality { top1: 0.0, top5: 0.0, nll: 0.0, ece: 0.0, samples: 0 };
        let quality = |card: &RunCard| {
            let best = card.best;
            (if tested { best.test } else { best.validation }).unwrap_or(nothing)
        };
        let samples = cards.iter().flatten().next().map_or(0, |card| quality(card).samples);
        let names = self.methods();
        let base = names.iter().position(|name| *name == self.reference).unwrap_or(0);
        let others: Vec<usize> = (0..names.len()).filter(|&at| at != base).collect();
        let difference = |&at: &usize| -> Vec<f64> {
            let pairs = cards[at].iter().zip(&cards[base]);
            pairs.map(|(own, base)| quality(own).top1 - quality(base).top1).collect()
        };
        let differences: Vec<Vec<f64>> = others.iter().map(difference).collect();
        let mut paired: Vec<Option<Paired>> = vec![None; names.len()];
        let resolution = 100.0 / samples.max(1) as f64;
        for (&at, own) in others.iter().zip(compare_paired(&differences, resolution)) {
            paired[at] = Some(own);
        }
        let row = |((cards, against_reference), name): ((&Vec<RunCard>, Option<Paired>), &str)| {
            let runs: Vec<ComparedRun> = cards.iter().map(compared).collect();
            let spread =
                |of: fn(Quality) -> f64| Spread::of(cards.iter().map(|card| of(quality(card))));
            let validation: Option<Vec<f64>> =
                runs.iter().map(|run| run.validation.map(|own| own.top1)).collect();
            ComparisonRow {
                method: name.to_owned(),
                objective: cards.first().map_or_else(String::new, |card| card.objective.clone()),
                top1: spread(|own| own.top1),
                nll: spread(|own| own.nll),
                ece: spread(|own| own.ece),
                validation_top1: validation.map(|own| Spread::of(own.into_iter())),
                seconds_per_epoch: Spread::of(runs.iter().map(|run| run.seconds_per_epoch)).mean,
                runs,
                against_reference,
            }
        };
        let rows = cards.iter().zip(paired).zip(names).map(row).collect();
        let first = cards.iter().flatten().next();
        Comparison {
            format: 1,
            faculty: env!("CARGO_PKG_VERSION").to_owned(),
            data: self.dataset.name().to_owned(),
            student: first.map_or_else(String::new, |card| card.student.clone()),
            epochs: self.recipe.train.epochs,
            seeds: (0..self.plan.seeds as u64).map(|k| self.recipe.seed + k).collect(),
            part: if tested { "test" } else { "validation" }.to_owned(),
            samples,
            teachers_part: report.map(|report| report.part.clone()),
            teachers: report.map(teacher_rows).unwrap_or_default(),
            reference: self.reference.clone(),
            significance: SIGNIFICANCE,
            rows,
            single: self.single(),
            left_out: self.left_out.clone(),
            live: self.live(),
            warming_up: self.warming_up(),
        }
    }
}

fn compared(card: &RunCard) -> ComparedRun {
    ComparedRun {
        seed: card.seed,
        epoch: card.best.epoch,
        validation: card.best.validation,
        test: card.best.test,
        seconds_per_epoch: card.seconds / card.last.epoch.max(1) as f64,
    }
}

fn teacher_rows(report: &Report) -> Vec<TeacherRow> {
    let mut rows: Vec<TeacherRow> = report
        .teachers
        .iter()
        .map(|own| TeacherRow {
            name: own.name.clone(),
            network: Some(own.network.clone()),
            quality: own.quality,
        })
        .collect();
    if rows.len() > 1 {
        let name = "ensemble".to_owned();
        rows.push(TeacherRow { name, network: None, quality: report.ensemble });
    }
    rows
}
