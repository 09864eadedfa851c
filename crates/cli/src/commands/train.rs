//! `faculty train` and `faculty distill`: one run of a recipe.

use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use faculty_distill::cache::plan as plan_cache;
use faculty_distill::methods::{find, known, specs};
use faculty_distill::recipe::{self, Recipe};
use faculty_distill::{CheckedRun, Error, RunFolder, Start, train};
use serde_json::json;

use super::run_card::{describe, describe_data, summary};
use super::{
    Kind, cache, heads, load_recipe, open_data, plan, report, shard, show_warnings, shown,
    stop_on_interrupt, use_threads,
};
use crate::arguments::RunOptions;
use crate::failure::Failure;
use crate::progress::{Progress, print_json};
use crate::ranks;

pub(crate) fn run(options: &RunOptions, kind: Kind) -> Result<(), Failure> {
    let mut sets = [options.sets.as_slice(), &options.resume_with].concat();
    let changed = changed_keys(&options.resume_with)?;
    if let Some(output) = &options.output {
        sets.push(format!("output={}", output.display()));
    }
    let mut recipe = match kind {
        Kind::Distill => load_recipe(&options.recipe, &sets)?.recipe,
        Kind::Train => load_to_train(&options.recipe, &sets)?,
    };
    let plan = recipe.plan.clone().filter(|_| kind == Kind::Distill);
    if kind == Kind::Distill && plan.is_none() && recipe.teachers.is_empty() {
        return Err(Failure::Usage {
            what: format!("recipe `{}` has no teachers", options.recipe.display()),
            hint: "add `[[teachers]]`, or use `faculty train`".to_owned(),
        });
    }
    use_threads(ranks::threads(recipe.train.threads)?)?;
    let group = ranks::group();
    let start = match (options.resume || !changed.is_empty(), options.overwrite) {
        (true, _) => Start::Resume,
        (_, true) => Start::Overwrite,
        _ => Start::New,
    };
    let output = recipe.output.clone().unwrap_or_else(|| "runs/run".into());
    // Known before the data is read, so said before.
    if group.is_first() {
        RunFolder::at(&output).check_start(start)?;
    }
    let stop = stop_on_interrupt();
    let reading = Instant::now();
    let dataset = open_data(&recipe)?;
    if let Some(plan) = plan {
        if !group.is_alone() {
            return Err(Error::OneProcess {
                what: "a `[plan]`".to_owned(),
                processes: group.size(),
                why: "its students learn from each other, or one after the other",
            }
            .into());
        }
        if !changed.is_empty() {
            return Err(Failure::Usage {
                what: "`--resume-with` changes one run, and a `[plan]` has several".to_owned(),
                hint: "resume with `--resume` alone, or start anew with `--overwrite`".to_owned(),
            });
        }
        return plan::run(&recipe, &plan, &dataset, &output, start, &stop, options.json);
    }
    // Plain training takes the network that the recipe names, and no notice of others.
    recipe.plan = None;
    let uses_teachers =
        find(&recipe.method.name).is_some_and(|info| recipe.method.uses_teachers(&info.spec));
    let share = ranks::share();
    let recipe =
        shard::in_turn(share, &stop, || heads::mount(&recipe, &dataset, &stop, options.json))?;
    if recipe.cache.is_some() && uses_teachers {
        let plan = plan_cache(&recipe, &dataset)?.with_share(share);
        cache::complete(plan, &stop, options.json)?;
        // The shares of the others.
        group.barrier().map_err(Error::from)?;
    }
    let run = CheckedRun::new(&recipe, &dataset)?.allowing(changed)?.with_group(group.clone())?;
    if options.json {
        print_json(&json!({"event": "start", "folder": output, "card": run.card()}));
    } else {
        describe_data(run.card(), run.data(), reading.elapsed().as_secs_f64());
        describe(run.card(), Some(run.memory()));
    }
    if let Some(warning) = run.memory().warning() {
        eprintln!("warning: {warning}");
    }
    let mut progress =
        Progress::new(&run.card().method.clone(), recipe.train.epochs, options.json, true);
    let writes = group.is_first();
    let reports = writes && !options.no_report;
    let mut events = report::Events::new(reports).every(options.events_every);
    let card = train(run, &output, start, &stop, &mut |event| {
        progress.show(&event);
        events.take(&output, &event);
    });
    progress.finish();
    let card = card?;
    if !group.is_alone() {
        eprintln!(
            "{} processes: {:.1} s in sums between them and in waiting for each other",
            group.size(),
            group.spent().as_secs_f64()
        );
    }
    let page = reports.then(|| report::at_the_end(std::slice::from_ref(&output)));
    if options.json {
        print_json(&json!({"event": "result", "folder": output, "card": card}));
    } else {
        summary(&card, &output)?;
        if let Some(page) = page.flatten() {
            writeln!(crate::terminal::stdout(), "report: {}", shown(&page))?;
        }
    }
    Ok(())
}

/// The keys that `--resume-with` names.
fn changed_keys(changes: &[String]) -> Result<Vec<String>, Failure> {
    let key = |change: &String| match change.split_once('=') {
        Some((key, _)) => Ok(key.trim().to_owned()),
        None => Err(Failure::Usage {
            what: format!("`--resume-with {change}` has no `=`"),
            hint: "write `--resume-with key.path=value`, for example `--resume-with \
                   train.epochs=60`"
                .to_owned(),
        }),
    };
    changes.iter().map(key).collect()
}

/// A recipe for plain training: whatever method it names with its options, or none at all.
fn load_to_train(path: &Path, sets: &[String]) -> Result<Recipe, Failure> {
    let plain = [sets, &["method.name=ce".to_owned()]].concat();
    if let Ok(loaded) = Recipe::load(path, &plain, &specs()) {
        // That training alone does not use the teachers is what was asked for.
        show_warnings(loaded.warnings.iter().filter(|warning| warning.key != "teachers"));
        return Ok(loaded.recipe);
    }
    // Options of another method, which are not in the way, or a real problem, which is reported.
    let mut recipe = load_recipe(path, sets)?.recipe;
    recipe.method = recipe::Method::with_defaults(&known("ce")?.spec);
    Ok(recipe)
}
