//! A sweep: which constants suit this task? Settings of one recipe by successive halving.
//!
//! Jamieson, Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization",
//! AISTATS 2016, <https://arxiv.org/abs/1502.07943>.
//!
//! All settings are trained for a part of the epochs, a third of them for three times as many, and so
//! on; the last round has the recipe's epochs. Every run is a whole one with a schedule of its own
//! length, so that settings are compared after their learning rates have fallen. The settings of the
//! recipe itself always stay in, so that the gain is known. Settings are chosen by top-1 on the
//! validation split (ties by NLL); the test split is not looked at.

use faculty_teachers::TeacherError;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use faculty_data::Dataset;
use serde::{Deserialize, Serialize};

use crate::cache;
use crate::earlier_run::{Found, find_run};
use crate::error::{Error, Result};
use crate::methods;
use crate::recipe::{Method, OptionValue, Recipe};
use crate::record::RunCard;
use crate::run::CheckedRun;
use crate::run_folder::{RunFolder, Start};
use crate::statistics::mean;
use crate::train::{Event, train};
use faculty_contract::needs_of_run;
use faculty_files::FolderLock;
use faculty_teachers::TeacherPool;
use faculty_teachers::cache::CachePlan;

/// One of so many settings goes on to the next round, for so many times the epochs.
pub const FACTOR: usize = 3;

/// One setting of a sweep.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// What it changes, as `--set` takes it; empty for the recipe's own settings.
    pub sets: Vec<String>,
    /// The recipe with that.
    pub recipe: Recipe,
}

/// What to try, and where.
#[derive(Clone, Debug)]
pub struct SweepPlan {
    /// Folder of the runs.
    pub folder: PathBuf,
    /// The settings, the recipe's own first.
    pub candidates: Vec<Candidate>,
    /// Seeds of each run, from that of the recipe on; settings are compared by their mean.
    pub seeds: usize,
    /// Begin anew, in place of the runs that are there.
    pub overwrite: bool,
}

/// A round: so many settings for so many epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    /// Settings that take part.
    pub settings: usize,
    /// Epochs of each run.
    pub epochs: usize,
}

/// Of `settings` settings, the recipe's own among them, and `epochs` epochs in the last round.
#[must_use]
pub fn rounds(settings: usize, epochs: usize) -> Vec<Round> {
    // The own settings take part in every round, beside the others.
    let mut others = settings.saturating_sub(1);
    let mut counts = vec![others + 1];
    let mut divisor = 1;
    while others > 1 && epochs / (divisor * FACTOR) >= 1 {
        others = others.div_ceil(FACTOR);
        divisor *= FACTOR;
        counts.push(others + 1);
    }
    let mut rounds = Vec::new();
    for settings in counts {
        rounds.push(Round { settings, epochs: epochs / divisor });
        divisor /= FACTOR;
    }
    rounds
}

/// The numbers of a method that are worth a sweep, each with half, all and twice its value:
/// `method.temperature` and `["2", "4", "8"]`.
#[must_use]
pub fn usual_axes(method: &Method) -> Vec<(String, Vec<String>)> {
    let info = methods::find(&method.name);
    // An output term that is off has no softening either.
    let off = info.is_some_and(|info| info.spec.is_term()) && method.number("alpha") == Some(0.0);
    let mut axes = Vec::new();
    for option in info.map_or(&[][..], |info| info.spec.options) {
        let Some(&OptionValue::Number(own)) = method.options.get(option.key) else { continue };
        let values: Vec<String> = [own / 2.0, own, own * 2.0]
            .into_iter()
            .filter(|&value| option.range.allows(&toml::Value::Float(value)))
            .map(|value| value.to_string())
            .collect();
        if own > 0.0 && values.len() > 1 && !(off && option.key == "temperature") {
            axes.push((format!("method.{}", option.key), values));
        }
    }
    axes
}

/// A setting after a round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialResult {
    /// What it changes; empty for the recipe's own settings.
    pub sets: Vec<String>,
    /// Top-1 on the validation split after the last epoch, percent, one a seed.
    #[serde(with = "faculty_records::number")]
    pub top1: Vec<f64>,
    /// NLL there, nats, one a seed.
    #[serde(with = "faculty_records::number")]
    pub nll: Vec<f64>,
    /// Why a run of it broke down, if one did; then it is behind all that did not.
    pub broke: Option<String>,
}

impl TrialResult {
    /// The better one first.
    fn compare(&self, other: &Self) -> std::cmp::Ordering {
        let by_end = self.broke.is_some().cmp(&other.broke.is_some());
        let by_top1 = other.mean_top1().total_cmp(&self.mean_top1());
        by_end.then(by_top1).then(self.mean_nll().total_cmp(&other.mean_nll()))
    }

    /// Mean top-1 over the seeds, percent.
    #[must_use]
    pub fn mean_top1(&self) -> f64 {
        mean(&self.top1)
    }

    /// Mean NLL over the seeds, nats.
    #[must_use]
    pub fn mean_nll(&self) -> f64 {
        mean(&self.nll)
    }
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    /// Version of this layout.
    pub format: u32,
    /// The method.
    pub method: String,
    /// Samples of the validation split.
    pub samples: usize,
    /// Seeds of each run.
    pub seeds: usize,
    /// The rounds with their settings, the best first.
    pub rounds: Vec<(Round, Vec<TrialResult>)>,
}

impl Sweep {
    /// The best setting of the last round.
    #[must_use]
    pub fn best(&self) -> Option<&TrialResult> {
        self.rounds.last().and_then(|(_, tried)| tried.first())
    }

    /// The recipe's own settings in the last round.
    #[must_use]
    pub fn own(&self) -> Option<&TrialResult> {
        let (_, tried) = self.rounds.last()?;
        tried.iter().find(|tried| tried.sets.is_empty())
    }
}

/// A sweep in which every setting can run; nothing has been written yet.
pub struct CheckedSweep<'a> {
    plan: SweepPlan,
    dataset: &'a Dataset,
    pool: TeacherPool,
}

impl<'a> CheckedSweep<'a> {
    /// Checks every setting, and loads teachers and student once.
    ///
    /// # Errors
    /// When there is nothing to choose from or to choose by, a setting is wrong, or settings differ in
    /// what a sweep shares: data, teachers and epochs.
    pub fn new(mut plan: SweepPlan, dataset: &'a Dataset) -> Result<Self> {
        for candidate in &mut plan.candidates {
            let recipe = &mut candidate.recipe;
            if recipe.data.views.is_some() && recipe.data.view_seed.is_none() {
                recipe.data.view_seed = Some(recipe.seed);
            }
        }
        let Some(own) = plan.candidates.first() else {
            return Err(Error::NothingToSweep { method: String::new() });
        };
        let recipe = own.recipe.clone();
        if let Some(plan) = &recipe.plan {
            return Err(Error::Planned { kind: plan.kind.name() });
        }
        if plan.candidates.len() < 2 {
            return Err(Error::NothingToSweep { method: recipe.method.name });
        }
        let mut taps = Vec::new();
        for Candidate { sets, recipe: other } in &plan.candidates {
            other.check(&methods::specs())?;
            if let Some(key) = changed_beside(&recipe, other) {
                return Err(Error::SweptKey { sets: sets.join(" "), key });
            }
            let method = methods::build(&other.method)?;
            taps.extend(needs_of_run(method.as_ref(), other.train.epochs).teacher_taps);
        }
        taps.sort_unstable();
        taps.dedup();
        let mut pool = TeacherPool::of_taps(taps);
        let mut first = recipe;
        first.cache = None;
        let checked = CheckedRun::sharing(&first, dataset, &mut pool)?;
        if checked.data.validation.is_none() {
            return Err(Error::Teacher(TeacherError::NothingToMeasureOn));
        }
        Ok(Self { plan, dataset, pool })
    }

    /// What will be done: rounds, and the number of epochs of all runs together.
    #[must_use]
    pub fn rounds(&self) -> (Vec<Round>, usize) {
        let epochs = self.plan.candidates[0].recipe.train.epochs;
        let rounds = rounds(self.plan.candidates.len(), epochs);
        let epochs = rounds.iter().map(|own| own.settings * own.epochs).sum::<usize>();
        (rounds, epochs * self.plan.seeds)
    }

    /// The cache of all settings and seeds, if the recipe has one; it must be complete before
    /// [`CheckedSweep::run`].
    ///
    /// # Errors
    /// As [`cache::plan_for_methods`].
    pub fn cache(&self) -> Result<Option<CachePlan<'_>>> {
        let recipe = &self.plan.candidates[0].recipe;
        if recipe.cache.is_none() {
            return Ok(None);
        }
        let candidates = self.plan.candidates.iter();
        let methods: Vec<_> = candidates.map(|own| own.recipe.method.clone()).collect();
        cache::plan_for_methods(recipe, &methods, self.dataset).map(Some)
    }

    /// Trains what is missing; `observe` gets each run's name with its events.
    ///
    /// # Errors
    /// [`Error::ComparisonStopped`] when `stop` was set; [`Error::RunOfComparison`];
    /// [`Error::Folder`].
    pub fn run(
        mut self,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(&str, Event<'_>),
    ) -> Result<Sweep> {
        let _lock = FolderLock::take(&self.plan.folder, "sweeps in")?;
        let (rounds, _) = self.rounds();
        let mut progress = Runs {
            done: 0,
            all: rounds.iter().map(|own| own.settings).sum::<usize>() * self.plan.seeds,
        };
        let mut left: Vec<usize> = (0..self.plan.candidates.len()).collect();
        let mut sweep = Sweep {
            format: 1,
            method: self.plan.candidates[0].recipe.method.name.clone(),
            samples: 0,
            seeds: self.plan.seeds,
            rounds: Vec::new(),
        };
        for (number, round) in rounds.into_iter().enumerate() {
            let mut tried: Vec<(usize, TrialResult)> = Vec::new();
            for &at in &left {
                let (own, samples) =
                    self.setting(number, round, at, &mut progress, stop, observe)?;
                sweep.samples = sweep.samples.max(samples);
                tried.push((at, own));
            }
            tried.sort_by(|(_, a), (_, b)| a.compare(b));
            left = next_round(&tried, round);
            sweep.rounds.push((round, tried.into_iter().map(|(_, own)| own).collect()));
        }
        Ok(sweep)
    }

    /// All seeds of one setting, and the samples of the validation split.
    fn setting(
        &mut self,
        number: usize,
        round: Round,
        at: usize,
        progress: &mut Runs,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(&str, Event<'_>),
    ) -> Result<(TrialResult, usize)> {
        let sets = self.plan.candidates[at].sets.clone();
        let mut own = TrialResult { sets, top1: Vec::new(), nll: Vec::new(), broke: None };
        let mut samples = 0;
        for seed in 0..self.plan.seeds as u64 {
            let path = self.plan.folder.clone();
            let Runs { done, all } = *progress;
            let stopped = || Error::ComparisonStopped { path, done, runs: all };
            if stop.load(Ordering::Relaxed) {
                return Err(stopped());
            }
            match self.one(number, round, at, seed, stop, observe) {
                Ok(card) => {
                    let quality = card
                        .last
                        .validation
                        .ok_or(Error::Teacher(TeacherError::NothingToMeasureOn))?;
                    samples = quality.samples;
                    own.top1.push(quality.top1);
                    own.nll.push(quality.nll);
                }
                Err(Error::Interrupted { .. }) => return Err(stopped()),
                // Constants that make the loss explode are an answer, too.
                Err(error @ Error::NotFinite { .. }) => own.broke = Some(error.to_string()),
                Err(source) => {
                    let run = self.name(number, at, seed);
                    return Err(Error::RunOfComparison { run, source: Box::new(source) });
                }
            }
            progress.done += 1;
        }
        Ok((own, samples))
    }

    /// One run, unless it is finished.
    fn one(
        &mut self,
        number: usize,
        round: Round,
        at: usize,
        seed: u64,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(&str, Event<'_>),
    ) -> Result<RunCard> {
        let name = self.name(number, at, seed);
        let mut recipe = with_epochs(&self.plan.candidates[at].recipe, round.epochs);
        recipe.seed += seed;
        let mut checked = CheckedRun::sharing(&recipe, self.dataset, &mut self.pool)?;
        // Nothing is chosen on it, so nothing is measured on it.
        checked.data.test = None;
        let folder = RunFolder::at(&self.plan.folder.join(&name));
        let found = if self.plan.overwrite {
            Found::Nothing
        } else {
            find_run(&folder, &checked.identity, recipe.train.epochs)?
        };
        let start = match found {
            Found::Finished(card) => return Ok(*card),
            Found::Split => Start::Resume,
            Found::Nothing => Start::Overwrite,
        };
        let observe = &mut |event: Event<'_>| observe(&name, event);
        let card = train(checked, folder.path(), start, stop, observe)?;
        // As it is written, so that a sweep that goes on reads the same digits.
        Ok(folder.card()?.unwrap_or(card))
    }

    /// Of a run, and of its folder.
    fn name(&self, number: usize, at: usize, seed: u64) -> String {
        let Candidate { sets, recipe } = &self.plan.candidates[at];
        format!("round{}/{}/seed{}", number + 1, folder_name(sets), recipe.seed + seed)
    }
}

/// Finished runs, and all of them.
#[derive(Clone, Copy)]
struct Runs {
    done: usize,
    all: usize,
}

/// Who takes part in the next round: the recipe's own settings, and the best third of the others.
fn next_round(tried: &[(usize, TrialResult)], round: Round) -> Vec<usize> {
    let keep = (round.settings - 1).div_ceil(FACTOR);
    let others = tried.iter().map(|(at, _)| *at).filter(|&at| at != 0);
    std::iter::once(0).chain(others.take(keep)).collect()
}

/// A shorter run of the same recipe: what stands in epochs shrinks with them.
fn with_epochs(recipe: &Recipe, epochs: usize) -> Recipe {
    let mut own = recipe.clone();
    let whole = own.train.epochs.max(1);
    own.train.epochs = epochs;
    own.train.milestones.iter_mut().for_each(|own| *own = *own * epochs / whole);
    own.train.milestones.dedup();
    own.train.milestones.retain(|&milestone| milestone > 0);
    own.train.warmup_epochs *= epochs as f64 / whole as f64;
    let Method { options, terms, .. } = &mut own.method;
    let of_terms = terms.iter_mut().map(|term| &mut term.method.options);
    for options in of_terms.chain(std::iter::once(options)) {
        for (key, value) in options {
            if let OptionValue::Integer(own) = value
                && key.ends_with("_epochs")
            {
                *own = own.saturating_mul(epochs as i64) / whole as i64;
            }
        }
    }
    own
}

/// The first part of a recipe in which two settings differ that a sweep cannot vary.
fn changed_beside(own: &Recipe, other: &Recipe) -> Option<&'static str> {
    let same = [
        (own.data == other.data, "data"),
        (own.student == other.student, "student"),
        (own.teachers == other.teachers, "teachers"),
        (own.cache == other.cache, "cache"),
        (own.seed == other.seed, "seed"),
        (own.method.name == other.method.name, "method.name"),
        (own.train.epochs == other.train.epochs, "train.epochs"),
        (own.train.device == other.train.device, "train.device"),
    ];
    same.into_iter().find(|(same, _)| !same).map(|(_, key)| key)
}

/// `temperature=2,beta=50`, or `own`.
fn folder_name(sets: &[String]) -> String {
    if sets.is_empty() {
        return "own".to_owned();
    }
    let short = |set: &String| set.strip_prefix("method.").unwrap_or(set).to_owned();
    let name = sets.iter().map(short).collect::<Vec<_>>().join(",");
    let plain = |c: char| c.is_ascii_alphanumeric() || ".,=_-".contains(c);
    name.chars().map(|c| if plain(c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_end_with_all_epochs_and_the_own_settings_take_part_in_each() {
        let of = |settings, epochs| -> Vec<(usize, usize)> {
            rounds(settings, epochs).iter().map(|own| (own.settings, own.epochs)).collect()
        };
        assert_eq!(of(27, 27), [(27, 1), (10, 3), (4, 9), (2, 27)]);
        assert_eq!(of(27, 240), [(27, 8), (10, 26), (4, 80), (2, 240)]);
        // Too few epochs to divide: several settings meet in the last round.
        assert_eq!(of(27, 6), [(27, 2), (10, 6)]);
        assert_eq!(of(9, 2), [(9, 2)]);
        assert_eq!(of(2, 30), [(2, 30)]);
        for settings in 2..60 {
            for epochs in 1..30 {
                let all = rounds(settings, epochs);
                assert_eq!((all[0].settings, all[all.len() - 1].epochs), (settings, epochs));
                for pair in all.windows(2) {
                    assert_eq!(pair[1].settings, 1 + (pair[0].settings - 1).div_ceil(FACTOR));
                    assert!(pair[0].epochs >= 1 && pair[0].epochs < pair[1].epochs);
                }
            }
        }
    }

    #[test]
    fn the_best_third_goes_on_and_broken_runs_are_last() {
        let tried = |at: usize, top1: f64, broke: bool| {
            let broke = broke.then(|| "the loss is NaN".to_owned());
            let sets = if at == 0 { Vec::new() } else { vec![format!("method.beta={at}")] };
            (at, TrialResult { sets, top1: vec![top1], nll: vec![1.0], broke })
        };
        let mut all = vec![
            tried(0, 50.0, false),
            tried(1, 70.0, false),
            tried(2, 99.0, true),
            tried(3, 80.0, false),
            tried(4, 60.0, false),
        ];
        all.sort_by(|(_, a), (_, b)| a.compare(b));
        let order: Vec<usize> = all.iter().map(|(at, _)| *at).collect();
        assert_eq!(order, [3, 1, 4, 0, 2]);
        assert_eq!(next_round(&all, Round { settings: 5, epochs: 1 }), [0, 3, 1]);
        assert_eq!(next_round(&all[..2], Round { settings: 2, epochs: 1 }), [0, 3]);
    }

    #[test]
    fn usual_axes_are_the_numbers_of_the_method_within_their_ranges() {
        let of =
            |name: &str| usual_axes(&Method::with_defaults(&methods::find(name).unwrap().spec));
        let axis = |key: &str, values: [&str; 3]| {
            (format!("method.{key}"), values.map(str::to_owned).to_vec())
        };
        let want = [
            axis("temperature", ["2", "4", "8"]),
            axis("alpha", ["0.5", "1", "2"]),
            axis("beta", ["25", "50", "100"]),
        ];
        assert_eq!(of("ca-mkd"), want);
        assert!(of("ce").is_empty());
        // A cap above 1 is none.
        assert_eq!(of("aekd")[2], ("method.cap".to_owned(), vec!["0.3".into(), "0.6".into()]));
        // An output term that is off stays off.
        assert_eq!(of("sp"), [axis("beta", ["1500", "3000", "6000"])]);
    }

    #[test]
    fn what_stands_in_epochs_shrinks_with_a_round() {
        let text = "[data]\npath = \"x\"\n[student]\nnetwork = \"resnet8\"\n[method]\n\
                    name = \"dkd\"\n[[method.terms]]\nname = \"reviewkd\"\nwarmup_epochs = 9\n\
                    [[teachers]]\nname = \"t\"\nnetwork = \"resnet8\"\nweights = \"t\"\n[train]\n\
                    epochs = 30\nschedule = \"step\"\nmilestones = [2, 15, 24]\nwarmup_epochs = 3\n";
        let recipe = Recipe::from_str(text, "r.toml", &[], &methods::specs()).unwrap().recipe;
        let short = with_epochs(&recipe, 10);
        assert_eq!((short.train.epochs, short.train.milestones), (10, vec![5, 8]));
        assert!((short.train.warmup_epochs - 1.0).abs() < 1e-12);
        assert_eq!(short.method.options["warmup_epochs"], OptionValue::Integer(6));
        let term = &short.method.terms[0].method;
        assert_eq!(term.options["warmup_epochs"], OptionValue::Integer(3));
        assert_eq!(term.options["beta"], recipe.method.terms[0].method.options["beta"]);
        assert_eq!(with_epochs(&recipe, 30), recipe);
    }

    #[test]
    fn folders_are_named_by_what_changes() {
        let sets =
            |sets: &[&str]| folder_name(&sets.iter().map(|s| s.to_string()).collect::<Vec<_>>());
        assert_eq!(sets(&[]), "own");
        assert_eq!(sets(&["method.temperature=2", "method.beta=50"]), "temperature=2,beta=50");
        assert_eq!(sets(&["method.name=../x y"]), "name=.._x_y");
    }
}
