//! `comparison.json`: means over the seeds, differences paired by seed, verdicts.

use serde::{Deserialize, Serialize};

use crate::quality::Quality;
use crate::statistics::{Paired, deviation, mean};

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
    /// validation split.
    pub epoch: usize,
    /// On the validation split, if there is one.
    pub validation: Option<Quality>,
    /// On the test split, if there is one.
    pub test: Option<Quality>,
    /// Mean time of an epoch, evaluation included; teachers only as far as they were run then.
    pub seconds_per_epoch: f64,
}

/// Mean and standard deviation over the seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Mean.
    #[serde(with = "crate::number")]
    pub mean: f64,
    /// Deviation; none with one seed.
    #[serde(default, with = "crate::number")]
    pub deviation: Option<f64>,
}

impl Spread {
    /// Of one value a seed.
    pub fn of(values: impl Iterator<Item = f64>) -> Self {
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
    /// Balanced accuracy likewise, percent; none in comparisons of before it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balanced_accuracy: Option<Spread>,
    /// Macro-F1 likewise, percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub macro_f1: Option<Spread>,
    /// Accuracy on the validation split, percent: what a method may be chosen by.
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

/// A comparison that went on until its intervals were narrow enough.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sequential {
    /// Looks so far.
    pub looks: usize,
    /// What every interval was to be narrower than, points.
    pub width: f64,
    /// The widest one, points.
    pub widest: f64,
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
    /// Where students are compared: `test`, or `validation` where there is no test split.
    pub part: String,
    /// Samples of it.
    pub samples: usize,
    /// Where teachers were measured: `validation`, or `test` where there is no validation split.
    pub teachers_part: Option<String>,
    /// Each teacher, and with several of them the mean of their probabilities.
    pub teachers: Vec<TeacherRow>,
    /// What the others are compared with.
    pub reference: String,
    /// Chance of any wrong verdict, when no method differs.
    pub significance: f64,
    /// How it came to its number of seeds, if it went on until they showed enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequential: Option<Sequential>,
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
    /// Methods that never come to their full strength, since their warm-up is as long as the runs.
    #[serde(default)]
    pub warming_up: Vec<MethodNote>,
}

impl Comparison {
    /// The method with the widest interval, and its width in points; none with one seed.
    #[must_use]
    pub fn widest_interval(&self) -> Option<(&str, f64)> {
        let widths = self.compared().filter_map(|(name, own)| Some((name, own.interval?.width())));
        widths.max_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// Methods with what the seeds say of them, without the reference.
    pub fn compared(&self) -> impl Iterator<Item = (&str, &Paired)> {
        self.rows.iter().filter_map(|row| Some((&*row.method, row.against_reference.as_ref()?)))
    }
}
