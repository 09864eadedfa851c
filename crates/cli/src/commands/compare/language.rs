//! `faculty compare` of recipes of language models: methods, or settings, by bits a character.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use faculty_comm::Share;
use faculty_distill::recipe::{LanguageMethodName, LanguageRecipe};
use faculty_distill::statistics::{Look, SIGNIFICANCE};
use faculty_files::{failed, write_atomically};
use faculty_language::{
    CheckedLanguageComparison, ComparedRecipes, LanguageComparisonPlan, LanguageEvent, RunError,
    ShareOfLanguageRuns,
};
use faculty_records::language_comparison::{BITS, LANGUAGE_COMPARISON, LanguageComparison};
use faculty_report::LanguageRuns;
use serde_json::json;

use super::jobs::{self, Ended, Planned, metrics_text, wait_for_jobs};
use super::language_words as words;
use super::seeds::{refused_seeds, until_narrow};
use crate::arguments::{CompareOptions, Seeds};
use crate::commands::{
    language_events::LanguageEvents, report, shard, show_warnings, shown, stop_on_interrupt, sweep,
    use_threads,
};
use crate::failure::Failure;
use crate::language_progress::LanguageProgress;
use crate::progress::print_json;
use crate::table;

/// Sections of the recipe whose keys settings may be of.
const SECTIONS: [&str; 4] = ["method.", "student.", "train.", "writing."];

pub(super) fn run(options: &CompareOptions) -> Result<(), Failure> {
    let load = |sets: &[String]| LanguageRecipe::load(&options.recipe, sets);
    let loaded = load(&options.sets)?;
    show_warnings(&loaded.warnings);
    let recipe = loaded.recipe;
    use_threads(recipe.train.threads)?;
    let what = if options.sweep.is_some() { "settings" } else { "comparison" };
    let beside = crate::commands::beside_run(recipe.output.as_deref(), what);
    let folder = options.output.clone().unwrap_or(beside);
    let recipes = match &options.sweep {
        None => {
            let all = options.methods.iter().any(|name| name == "all");
            ComparedRecipes::of_methods(&recipe, (!all).then_some(&options.methods[..]))?
        }
        Some(settings) => {
            let axes = sweep::axes(settings, &SECTIONS, None)?;
            let mut others = Vec::new();
            for sets in sweep::combinations(&axes)? {
                let all: Vec<String> = options.sets.iter().chain(&sets).cloned().collect();
                others.push((sets.join(","), load(&all)?.recipe));
            }
            ComparedRecipes::of_settings(recipe.clone(), others)?
        }
    };
    let threads = recipe.train.threads;
    let task = Task { options, recipes, folder: &folder, threads, stop: stop_on_interrupt() };
    let comparison = match (options.seeds, options.width) {
        (Seeds::Count(count), None) if !options.shard.is_whole() => {
            return task.share(count as usize);
        }
        (Seeds::Count(count), None) => {
            task.once(count as usize, SIGNIFICANCE, options.overwrite)?
        }
        (Seeds::Auto, Some(width)) if options.shard.is_whole() => {
            let (mut comparison, own) = until_narrow(
                width,
                options.max_seeds as usize,
                BITS,
                |look: &Look| {
                    task.once(look.seeds, look.level, options.overwrite && look.number == 1)
                },
                |own: &LanguageComparison| {
                    own.widest_interval().map(|(name, widest)| (name.to_owned(), widest))
                },
            )?;
            comparison.sequential = own;
            comparison
        }
        _ => return Err(refused_seeds(options, "`--width 0.01`: bits a character")),
    };
    write_files(&comparison, &folder)?;
    let page = (!options.no_report)
        .then(|| report::or_warning(report::write_language(std::slice::from_ref(&folder), None)))
        .flatten();
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
    let files = folder.join("{language-comparison.json,comparison.csv,comparison.md}");
    writeln!(out, "files: {}", shown(&files))?;
    if let Some(page) = page {
        writeln!(out, "report: {}", shown(&page))?;
    }
    Ok(())
}

/// What is compared, and where.
struct Task<'a> {
    options: &'a CompareOptions,
    recipes: ComparedRecipes,
    folder: &'a Path,
    threads: Option<usize>,
    stop: Arc<AtomicBool>,
}

impl Task<'_> {
    /// Trains what is missing of `seeds` seeds and compares.
    fn once(
        &self,
        seeds: usize,
        level: f64,
        overwrite: bool,
    ) -> Result<LanguageComparison, Failure> {
        let checked = self.ready(seeds, level, overwrite, Share::WHOLE)?;
        self.train(checked, CheckedLanguageComparison::run)
    }

    /// Trains a share of the runs of `seeds` seeds.
    fn share(&self, seeds: usize) -> Result<(), Failure> {
        let (options, share, folder) = (self.options, self.options.shard, self.folder);
        let checked = self.ready(seeds, SIGNIFICANCE, options.overwrite, share)?;
        let ShareOfLanguageRuns { own, missing, missing_shares } =
            self.train(checked, CheckedLanguageComparison::run_share)?;
        shard::tell(share, folder, own, &missing, &missing_shares, options.json)
    }

    /// What has to be there before the runs of this process: checks, locks, and with `--jobs` the runs.
    fn ready(
        &self,
        seeds: usize,
        level: f64,
        overwrite: bool,
        share: Share,
    ) -> Result<CheckedLanguageComparison, Failure> {
        let Self { options, folder, stop, .. } = self;
        let plan = LanguageComparisonPlan {
            folder: self.folder.to_owned(),
            recipes: self.recipes.clone(),
            seeds,
            against: options.against.clone(),
            level,
            overwrite,
        };
        let mut checked = CheckedLanguageComparison::new(plan)?.with_share(share);
        checked.lock()?;
        wait_for_jobs(|| Ok(checked.written_by_others()?))?;
        let (runs, finished) = checked.runs()?;
        if !options.json {
            describe(&checked, folder, runs, finished);
        }
        if options.jobs > 1 {
            checked.clear()?;
            let planned = checked.missing()?.into_iter().map(|own| {
                Ok(Planned {
                    name: own.name,
                    command: match own.recipe.method.name {
                        LanguageMethodName::Ce => "train",
                        _ => "distill",
                    },
                    recipe: own.recipe.to_toml()?,
                    all: own.recipe.train.steps,
                    done: steps_done(&own.folder).min(own.recipe.train.steps),
                    folder: own.folder,
                    begun: own.begun,
                })
            });
            let planned = planned.collect::<Result<Vec<_>, Failure>>()?;
            let unit = jobs::Unit { name: "steps", done: steps_done };
            let jobs = options.jobs as usize;
            match jobs::run(&planned, jobs, self.threads, unit, folder, stop)? {
                Ended::All => {}
                Ended::Stopped { done } => {
                    let (path, runs) = (self.folder.to_owned(), planned.len());
                    return Err(RunError::ComparisonStopped { path, done, runs }.into());
                }
            }
        }
        Ok(checked)
    }

    /// Trains the runs of this process by `run`, which says what comes of them.
    fn train<T>(
        &self,
        checked: CheckedLanguageComparison,
        run: impl FnOnce(
            CheckedLanguageComparison,
            &AtomicBool,
            &mut dyn FnMut(&str, LanguageEvent<'_>),
        ) -> Result<T, RunError>,
    ) -> Result<T, Failure> {
        let Self { folder, stop, options, .. } = self;
        let (runs, finished) = checked.runs()?;
        let mut number = finished;
        let mut current: Option<(String, LanguageProgress)> = None;
        let mut events = LanguageEvents::new(!options.no_report);
        let result = run(checked, stop, &mut |name, event| {
            if let LanguageEvent::Started { steps, .. } = event {
                number += 1;
                // Events name the run alone; the count is for people.
                let label = format!("{name} ({number} of {runs})");
                if !options.json {
                    eprintln!("{label}");
                }
                let next = LanguageProgress::new(&label, steps, options.json).of_run(name);
                if let Some((_, old)) = current.replace((name.to_owned(), next)) {
                    old.finish();
                }
            }
            events.take(&folder.join(name), &event);
            if let Some((_, progress)) = &mut current {
                progress.show(&event);
            }
        });
        if let Some((_, progress)) = current {
            progress.finish();
        }
        Ok(result?)
    }
}

/// Steps of a run that are done, by the last line of its metrics.
fn steps_done(folder: &Path) -> usize {
    let text = metrics_text(&folder.join("metrics.jsonl"));
    let last = text.lines().rev().find_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        line["step"].as_u64()
    });
    last.and_then(|step| usize::try_from(step).ok()).unwrap_or(0)
}

/// What is about to happen, on stderr.
fn describe(checked: &CheckedLanguageComparison, folder: &Path, runs: usize, finished: usize) {
    let names = checked.names().join(", ");
    eprintln!("comparison: {names}: {runs} runs in `{}`", shown(folder));
    for line in words::notes(checked.single(), checked.left_out()) {
        eprintln!("{line}");
    }
    checked.notes().iter().for_each(|note| eprintln!("note: {note}"));
    if finished > 0 {
        eprintln!("{finished} of {runs} runs are finished already and kept");
    }
}

fn write_files(comparison: &LanguageComparison, folder: &Path) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(comparison).expect("plain data always serialises");
    let of = LanguageRuns {
        title: String::new(),
        runs: Vec::new(),
        comparison: Some(comparison.clone()),
    };
    let files: [(&str, String); 3] = [
        (LANGUAGE_COMPARISON, json + "\n"),
        ("comparison.csv", words::csv(comparison)),
        ("comparison.md", words::markdown(comparison, &of.results())),
    ];
    for (name, text) in files {
        let path: PathBuf = folder.join(name);
        write_atomically(&path, text.as_bytes()).map_err(failed("write", path))?;
    }
    Ok(())
}
