//! `faculty compare`: several methods on the same seeds, with a verdict in words.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use faculty_comm::Share;
use faculty_data::Dataset;
use faculty_distill::comparison::{
    CheckedComparison, Comparison, ComparisonPlan, SIGNIFICANCE, ShareOfRuns, mount_heads,
};
use faculty_distill::recipe::{LanguageRecipe, Recipe};
use faculty_distill::statistics::Look;
use faculty_distill::{Error, Event, RunFolder};
use faculty_files::{failed, write_atomically};
use serde_json::json;

use super::{
    beside, cache, heads, load_recipe, open_data, report, shard, shown, stop_on_interrupt, sweep,
    use_threads,
};
use crate::arguments::{CompareOptions, Seeds};
use crate::failure::Failure;
use crate::progress::{RunsProgress, print_json};
use crate::table;

mod jobs;
mod language;
mod language_words;
mod seeds;
mod words;

use self::jobs::{Ended, Planned, Unit, metrics_text, wait_for_jobs};
use self::seeds::{refused_seeds, until_narrow};

pub(crate) fn run(options: &CompareOptions) -> Result<(), Failure> {
    if LanguageRecipe::is_at(&options.recipe, &options.sets) {
        return language::run(options);
    }
    if let Some(axes_text) = &options.sweep {
        return sweep::run(options, axes_text);
    }
    let recipe = load_recipe(&options.recipe, &options.sets)?.recipe;
    use_threads(recipe.train.threads)?;
    let folder = options.output.clone().unwrap_or_else(|| beside(&recipe, "comparison"));
    let share = options.shard;
    let comparison = match (options.seeds, options.width) {
        (Seeds::Count(count), None) if !share.is_whole() => {
            let task = Task::new(options, &recipe, &folder)?;
            return task.share(count as usize, share);
        }
        (Seeds::Auto, Some(_)) if !share.is_whole() => return Err(refused_seeds(options, WIDTH)),
        (Seeds::Count(_), Some(_)) => return Err(refused_seeds(options, WIDTH)),
        (Seeds::Auto, Some(width)) => {
            let task = Task::new(options, &recipe, &folder)?;
            let (mut comparison, sequential) = until_narrow(
                width,
                options.max_seeds as usize,
                "points",
                |look: &Look| {
                    task.once(look.seeds, look.level, options.overwrite && look.number == 1)
                },
                |own: &Comparison| {
                    own.widest_interval().map(|(name, widest)| (name.to_owned(), widest))
                },
            )?;
            comparison.sequential = sequential;
            comparison
        }
        (Seeds::Count(count), None) => {
            let task = Task::new(options, &recipe, &folder)?;
            task.once(count as usize, SIGNIFICANCE, options.overwrite)?
        }
        (Seeds::Auto, None) => return Err(refused_seeds(options, WIDTH)),
    };
    write_files(&comparison, &folder)?;
    if !options.no_report {
        report::at_the_end(std::slice::from_ref(&folder));
    }
    if options.json {
        print_json(&json!({"event": "result", "folder": folder, "comparison": comparison}));
        return Ok(());
    }
    let mut out = crate::terminal::stdout();
    writeln!(out, "{}", comparison.verdict())?;
    if let Some(needed) = comparison.seeds_needed() {
        writeln!(out, "{needed}")?;
    }
    writeln!(out)?;
    let (header, rows) = words::narrow(&comparison);
    table::write(&mut out, &header, &rows)?;
    writeln!(out)?;
    for line in words::sentences(&comparison) {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "files: {}", shown(&folder.join("comparison.{json,csv,md}")))?;
    if !options.no_report {
        writeln!(out, "report: {}", shown(&folder.join("report.html")))?;
    }
    Ok(())
}

/// What a width of images' comparisons is, with an example.
const WIDTH: &str = "`--width 1`: points of top-1";

/// What is compared, and where.
struct Task<'a> {
    options: &'a CompareOptions,
    recipe: &'a Recipe,
    folder: &'a Path,
    dataset: Dataset,
    stop: Arc<AtomicBool>,
}

impl<'a> Task<'a> {
    fn new(
        options: &'a CompareOptions,
        recipe: &'a Recipe,
        folder: &'a Path,
    ) -> Result<Self, Failure> {
        let stop = stop_on_interrupt();
        Ok(Self { options, recipe, folder, dataset: open_data(recipe)?, stop })
    }

    /// Trains what is missing of `seeds` seeds and compares.
    fn once(&self, seeds: usize, level: f64, overwrite: bool) -> Result<Comparison, Failure> {
        let checked = self.ready(seeds, level, overwrite, Share::WHOLE)?;
        self.train(checked, CheckedComparison::run)
    }

    /// Trains a share of the runs of `seeds` seeds.
    fn share(&self, seeds: usize, share: Share) -> Result<(), Failure> {
        let options = self.options;
        let checked = self.ready(seeds, SIGNIFICANCE, options.overwrite, share)?;
        let ShareOfRuns { own, missing, missing_shares } =
            self.train(checked, CheckedComparison::run_share)?;
        shard::tell(share, self.folder, own, &missing, &missing_shares, options.json)
    }

    /// What has to be there before the runs of this process: checks, locks, heads, cache.
    fn ready(
        &self,
        seeds: usize,
        level: f64,
        overwrite: bool,
        share: Share,
    ) -> Result<CheckedComparison<'_>, Failure> {
        let options = self.options;
        let all = options.methods.iter().any(|name| name == "all");
        let plan = ComparisonPlan {
            folder: self.folder.to_owned(),
            methods: (!all).then(|| options.methods.clone()),
            seeds,
            against: options.against.clone(),
            level,
            overwrite,
        };
        let Self { recipe, folder, dataset, stop, .. } = self;
        shard::in_turn(share, stop, || {
            let mut progress = heads::Progress::new(options.json);
            let mounted =
                mount_heads(recipe, dataset, &plan, stop, &mut |event| progress.show(&event));
            progress.finish();
            Ok(mounted?)
        })?;
        let mut checked = CheckedComparison::new(recipe, dataset, plan)?.with_share(share);
        checked.lock()?;
        wait_for_jobs(|| Ok(checked.written_by_others()?))?;
        let (runs, finished) = checked.runs()?;
        if !options.json {
            describe(&checked, recipe, dataset, folder, runs, finished);
        }
        if finished < runs
            && let Some(plan) = checked.cache()?
        {
            let folder = plan.folder().to_owned();
            let built = cache::complete(plan, stop, options.json)?;
            if !built.missing_shares.is_empty() {
                let text = shard::left_to_do(&built.missing_shares);
                return Err(Failure::Answer {
                    what: format!("share {share} of cache `{}` is built; {text}", shown(&folder)),
                    hint: "start this share again when all are there: then it trains".to_owned(),
                });
            }
        }
        if options.jobs > 1 {
            checked.clear()?;
            let planned = checked.missing()?.into_iter().map(|own| {
                Ok(Planned {
                    name: own.name,
                    command: "distill",
                    recipe: own.recipe.to_toml()?,
                    all: own.recipe.train.epochs,
                    done: match own.begun {
                        true => epochs_done(&own.folder).min(own.recipe.train.epochs),
                        false => 0,
                    },
                    folder: own.folder,
                    begun: own.begun,
                })
            });
            let planned = planned.collect::<Result<Vec<_>, Failure>>()?;
            let unit = Unit { name: "epochs", done: epochs_done };
            let jobs = options.jobs as usize;
            match jobs::run(&planned, jobs, recipe.train.threads, unit, folder, stop)? {
                Ended::All => {}
                Ended::Stopped { done } => {
                    let (path, runs) = ((*folder).to_owned(), planned.len());
                    return Err(Error::ComparisonStopped { path, done, runs }.into());
                }
            }
        }
        Ok(checked)
    }

    /// Trains the runs of this process by `run`, which says what comes of them.
    fn train<'c, T>(
        &self,
        checked: CheckedComparison<'c>,
        run: impl FnOnce(
            CheckedComparison<'c>,
            &AtomicBool,
            &mut dyn FnMut(&str, Event<'_>),
        ) -> Result<T, Error>,
    ) -> Result<T, Failure> {
        let Self { recipe, folder, stop, options, .. } = self;
        let (runs, finished) = checked.runs()?;
        let mut progress = RunsProgress::new(finished, runs, options.json);
        let mut events = report::Events::new(!options.no_report);
        let result = run(checked, stop, &mut |name, event| {
            events.take(&folder.join(name), &event);
            progress.show(name, recipe.train.epochs, &event);
        });
        progress.finish();
        Ok(result?)
    }
}

/// Epochs of a run that are done, by the lines of its metrics.
fn epochs_done(folder: &Path) -> usize {
    metrics_text(&RunFolder::at(folder).metrics()).lines().count()
}

/// What is about to happen, on stderr.
fn describe(
    checked: &CheckedComparison<'_>,
    recipe: &Recipe,
    dataset: &Dataset,
    folder: &Path,
    runs: usize,
    finished: usize,
) {
    eprintln!(
        "comparison: {} on {}, {} runs of {} epochs in `{}`",
        checked.methods().join(", "),
        dataset.name(),
        runs,
        recipe.train.epochs,
        shown(folder),
    );
    let (single, live, warming_up) = (checked.single(), checked.live(), checked.warming_up());
    for line in words::notes(single.as_ref(), &live, &warming_up, checked.left_out()) {
        eprintln!("{line}");
    }
    if finished > 0 {
        eprintln!("{finished} of {runs} runs are finished already and kept");
    }
    if recipe.data.views.is_none() && !recipe.teachers.is_empty() {
        eprintln!(
            "note: every epoch has new views, so the teachers run in every one; with \
             `--set data.views=4` each view goes through them once for all methods and seeds"
        );
    }
}

fn write_files(comparison: &Comparison, folder: &Path) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(comparison).expect("plain data always serialises");
    for (name, text) in [
        ("comparison.json", json + "\n"),
        ("comparison.csv", words::csv(comparison)),
        ("comparison.md", words::markdown(comparison)),
    ] {
        let path = folder.join(name);
        write_atomically(&path, text.as_bytes()).map_err(failed("write", path))?;
    }
    Ok(())
}
