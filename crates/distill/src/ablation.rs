//! What each teacher is worth: the student of a recipe with all teachers, and without each in turn.
//!
//! All runs of one seed share data, views and the student's first weights. With `data.views`, the
//! teachers' outputs are kept across them, so each teacher runs once over each view and not once a
//! run.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use faculty_data::Dataset;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::metrics::Quality;
use crate::recipe::Recipe;
use crate::run::CheckedRun;
use crate::run_folder::{RunFolder, Start};
use crate::train::{Event, train};
use crate::{methods, record};
use faculty_files::FolderLock;
use faculty_teachers::TeacherPool;

/// How an ablation is run.
#[derive(Clone, Debug)]
pub struct AblationPlan {
    /// Folder for its run folders.
    pub folder: PathBuf,
    /// Seeds: that of the recipe and the ones after it.
    pub seeds: usize,
    /// [`Start::New`] refuses run folders that hold a run; [`Start::Resume`] goes on with those that
    /// do and starts the others.
    pub start: Start,
}

/// One student.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AblationRun {
    /// Its seed.
    pub seed: u64,
    /// At its best epoch on the validation split, if there is one.
    pub validation: Option<Quality>,
    /// The same student on the test split, if there is one.
    pub test: Option<Quality>,
}

/// The students of one set of teachers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AblationRow {
    /// The teacher that is left out; none in the first row.
    pub without: Option<String>,
    /// One a seed.
    pub runs: Vec<AblationRun>,
    /// Mean accuracy over the seeds on [`Ablation::part`], percent.
    #[serde(with = "faculty_records::number")]
    pub top1: f64,
    /// What that teacher is worth: mean over the seeds of accuracy with all teachers less accuracy
    /// without it, points.
    #[serde(default, with = "faculty_records::number")]
    pub worth: Option<f64>,
    /// Half the width of the 95 % interval of `worth`, points: by Student's t over the seeds; with
    /// one seed from the number of samples, as if the two students erred independently, which says
    /// nothing of the luck of the seed. At least one sample.
    #[serde(default, with = "faculty_records::number")]
    pub margin: Option<f64>,
}

/// All students.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ablation {
    /// Name of the method.
    pub method: String,
    /// What accuracies are compared on: `validation`, or `test` where there is no validation split.
    pub part: String,
    /// The first row is all teachers together.
    pub rows: Vec<AblationRow>,
}

/// Refuses what cannot be ablated, before anything is read.
///
/// # Errors
/// When the method does not use teachers, or would be left with fewer than it needs.
pub fn check_ablation(recipe: &Recipe) -> Result<()> {
    recipe.check(&methods::specs())?;
    let spec = methods::known(&recipe.method.name)?.spec;
    let unused = !recipe.method.uses_teachers(&spec);
    let least = spec.min_teachers.max(1);
    if unused || recipe.teachers.len() <= least {
        let teachers = recipe.teachers.len();
        return Err(Error::NothingToLeaveOut { method: spec.name, teachers, least, unused });
    }
    Ok(())
}

/// Trains a student with all teachers and without each in turn.
///
/// `observe` gets the events of each run with its name.
///
/// # Errors
/// As [`CheckedRun::new`] and [`train`]; [`Error::Interrupted`] when `stop` was set.
pub fn ablate(
    recipe: &Recipe,
    dataset: &Dataset,
    plan: &AblationPlan,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(&str, Event<'_>),
) -> Result<Ablation> {
    check_ablation(recipe)?;
    let mut rows: Vec<(Option<String>, Vec<AblationRun>)> = std::iter::once(None)
        .chain(recipe.teachers.iter().map(|teacher| Some(teacher.name.clone())))
        .map(|without| (without, Vec::new()))
        .collect();
    if plan.start == Start::New {
        // Told before the first student is trained, not after it.
        for run in 0..plan.seeds {
            for (without, _) in &rows {
                RunFolder::at(&run_folder(plan, recipe.seed + run as u64, without))
                    .check_unused()?;
            }
        }
    }
    let _lock = FolderLock::take(&plan.folder, "trains in")?;
    for run in 0..plan.seeds {
        let seed = recipe.seed + run as u64;
        // Another seed draws other views, so nothing is shared between seeds.
        let mut pool = TeacherPool::default();
        for (without, runs) in &mut rows {
            let mut own = recipe.clone();
            own.seed = seed;
            own.teachers.retain(|teacher| Some(&teacher.name) != without.as_ref());
            let checked = CheckedRun::sharing(&own, dataset, &mut pool)?;
            let folder = run_folder(plan, seed, without);
            let start = match plan.start {
                Start::Resume if RunFolder::at(&folder).newest_checkpoint().is_none() => {
                    Start::Overwrite
                }
                start => start,
            };
            let name = folder.strip_prefix(&plan.folder).unwrap_or(&folder).display().to_string();
            let card = train(checked, &folder, start, stop, &mut |event| observe(&name, event))?;
            let record::StudentResult { validation, test, .. } = card.best;
            runs.push(AblationRun { seed, validation, test });
        }
    }
    Ok(summary(&recipe.method.name, rows))
}

/// `seed3/all`, `seed3/without-ada`
fn run_folder(plan: &AblationPlan, seed: u64, without: &Option<String>) -> PathBuf {
    let folder: &Path = &plan.folder;
    let set = without.as_ref().map_or_else(|| "all".to_owned(), |name| format!("without-{name}"));
    folder.join(format!("seed{seed}")).join(set)
}

fn summary(method: &str, rows: Vec<(Option<String>, Vec<AblationRun>)>) -> Ablation {
    let by_validation = rows.iter().flat_map(|(_, runs)| runs).all(|run| run.validation.is_some());
    let quality = |run: &AblationRun| if by_validation { run.validation } else { run.test };
    let top1 = |run: &AblationRun| quality(run).map_or(0.0, |quality| quality.top1);
    let all = rows[0].1.clone();
    let rows = rows
        .into_iter()
        .map(|(without, runs)| {
            let differences: Vec<f64> =
                all.iter().zip(&runs).map(|(all, own)| top1(all) - top1(own)).collect();
            let accuracies: Vec<f64> = runs.iter().map(top1).collect();
            let left_out = without.is_some();
            let samples = runs.first().and_then(quality).map_or(0, |quality| quality.samples);
            let margin = margin(&differences, top1(&all[0]), accuracies[0], samples);
            AblationRow {
                top1: mean(&accuracies),
                worth: left_out.then(|| mean(&differences)),
                margin: margin.filter(|_| left_out),
                without,
                runs,
            }
        })
        .collect();
    let part = if by_validation { "validation" } else { "test" };
    Ablation { method: method.to_owned(), part: part.to_owned(), rows }
}

/// Two-sided 95 % quantiles of Student's t for 1, 2, … degrees of freedom; the last is for more.
const STUDENT: [f64; 10] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];

/// `all` and `without` are the accuracies of the first seed.
fn margin(differences: &[f64], all: f64, without: f64, samples: usize) -> Option<f64> {
    if samples == 0 {
        return None;
    }
    let count = differences.len();
    let half = if count > 1 {
        let middle = mean(differences);
        let squares: f64 = differences.iter().map(|d| (d - middle).powi(2)).sum();
        let error = (squares / ((count - 1) * count) as f64).sqrt();
        STUDENT[(count - 2).min(STUDENT.len() - 1)] * error
    } else {
        let variance = |top1: f64| top1 * (100.0 - top1) / samples as f64;
        1.96 * (variance(all) + variance(without)).sqrt()
    };
    Some(half.max(100.0 / samples as f64))
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(seed: u64, top1: f64) -> AblationRun {
        let quality = Quality {
            top1,
            top5: 100.0,
            nll: 1.0,
            ece: 0.1,
            balanced_accuracy: Some(top1),
            macro_f1: Some(top1),
            samples: 400,
        };
        let test = Some(Quality { top1: 1.0, ..quality });
        AblationRun { seed, validation: Some(quality), test }
    }

    #[test]
    fn worth_is_the_mean_difference_with_its_margin() {
        let rows = vec![
            (None, vec![run(1, 80.0), run(2, 82.0)]),
            (Some("a".to_owned()), vec![run(1, 79.0), run(2, 79.0)]),
        ];
        let own = summary("aver", rows);
        assert_eq!((own.part.as_str(), own.rows[0].worth), ("validation", None));
        assert_eq!((own.rows[0].top1, own.rows[1].worth), (81.0, Some(2.0)));
        // Differences 1 and 3: standard deviation sqrt 2, standard error 1.
        assert!((own.rows[1].margin.unwrap() - 12.706).abs() < 1e-9);
        assert_eq!(own.rows[0].margin, None);
    }

    #[test]
    fn one_seed_has_the_margin_of_its_samples() {
        let rows = vec![(None, vec![run(1, 80.0)]), (Some("a".to_owned()), vec![run(1, 50.0)])];
        let own = summary("aver", rows);
        // sqrt((80 · 20 + 50 · 50) / 400) = 3.2016.
        assert!((own.rows[1].margin.unwrap() - 1.96 * 3.201_562).abs() < 1e-5);
        // Two seeds that differ by the same: one sample at least.
        let rows = vec![
            (None, vec![run(1, 80.0), run(2, 82.0)]),
            (Some("a".to_owned()), vec![run(1, 79.0), run(2, 81.0)]),
        ];
        assert_eq!(summary("aver", rows).rows[1].margin, Some(0.25));
    }
}
