//! `faculty compare --sweep`: which constants suit this task?

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use faculty_distill::methods::specs;
use faculty_distill::recipe::Recipe;
use faculty_distill::sweep::{Candidate, CheckedSweep, Sweep, SweepPlan, TrialResult, usual_axes};
use faculty_escape as escape;
use faculty_files::{failed, write_atomically};
use serde_json::json;

use super::{beside, cache, load_recipe, open_data, shown, stop_on_interrupt, use_threads};
use crate::arguments::{CompareOptions, Seeds};
use crate::failure::Failure;
use crate::progress::{RunsProgress, print_json};
use crate::table::{self, Align, percent};

/// More settings than anybody waits for.
const MOST: usize = 2000;

pub(crate) fn run(options: &CompareOptions, settings: &[String]) -> Result<(), Failure> {
    let Seeds::Count(seeds) = options.seeds else {
        return Err(Failure::Usage {
            what: "a sweep needs a number of seeds".to_owned(),
            hint: "give it one, for example `--seeds 3`".to_owned(),
        });
    };
    let seeds = seeds as usize;
    let recipe = load_recipe(&options.recipe, &options.sets)?.recipe;
    use_threads(recipe.train.threads)?;
    let folder = options.output.clone().unwrap_or_else(|| beside(&recipe, "sweep"));
    let axes = axes(settings, &["method.", "train."], Some(&recipe.method))?;
    let mut candidates = vec![Candidate { sets: Vec::new(), recipe: recipe.clone() }];
    for sets in combinations(&axes)? {
        let all: Vec<String> = options.sets.iter().chain(&sets).cloned().collect();
        let own = Recipe::load(&options.recipe, &all, &specs())?.recipe;
        // What changes nothing is the recipe itself.
        if candidates.iter().all(|known| known.recipe != own) {
            candidates.push(Candidate { sets, recipe: own });
        }
    }
    let plan =
        SweepPlan { folder: folder.clone(), candidates, seeds, overwrite: options.overwrite };
    let stop = stop_on_interrupt();
    let dataset = open_data(&recipe)?;
    let checked = CheckedSweep::new(plan, &dataset)?;
    let (rounds, epochs) = checked.rounds();
    let runs = rounds.iter().map(|own| own.settings).sum::<usize>() * seeds;
    if !options.json {
        let steps: Vec<String> = rounds
            .iter()
            .map(|own| format!("{} settings for {} epochs", own.settings, own.epochs))
            .collect();
        let (name, folder) = (&recipe.method.name, shown(&folder));
        let steps = steps.join(", then ");
        eprintln!("sweep of {name}: {steps}; {runs} runs, {epochs} epochs in all, in `{folder}`");
        if recipe.data.views.is_none() && !recipe.teachers.is_empty() {
            eprintln!(
                "note: every epoch has new views, so the teachers run in every one; with \
                 `--set data.views=4` each view goes through them once for all settings"
            );
        }
    }
    if let Some(plan) = checked.cache()? {
        cache::complete(plan, &stop, options.json)?;
    }
    let mut progress = RunsProgress::new(0, runs, options.json);
    let result = checked.run(&stop, &mut |name, event| {
        let round = name.strip_prefix("round").and_then(|own| own.split('/').next());
        let round = round.and_then(|own| own.parse::<usize>().ok()).unwrap_or(1);
        let epochs = rounds.get(round - 1).map_or(0, |own| own.epochs);
        progress.show(name, epochs, &event);
    });
    progress.finish();
    let sweep = result?;
    write_files(&sweep, &folder)?;
    if options.json {
        print_json(&json!({"event": "result", "folder": folder, "sweep": sweep}));
        return Ok(());
    }
    let mut out = crate::terminal::stdout();
    let (header, rows) = cells(&sweep);
    table::write(&mut out, &header, &rows)?;
    for line in sentences(&sweep, options) {
        writeln!(out, "{line}")?;
    }
    Ok(writeln!(out, "files: {}", shown(&folder.join("sweep.{json,md}")))?)
}

pub(super) type Axes = Vec<(String, Vec<String>)>;

/// What is to be tried: `KEY=V1,V2` each, of keys in these sections, or the usual numbers of the method
/// where it has such.
pub(super) fn axes(
    settings: &[String],
    sections: &[&str],
    method: Option<&faculty_distill::recipe::Method>,
) -> Result<Axes, Failure> {
    let mut axes = Axes::new();
    for text in settings {
        if let (true, Some(method)) = (text.is_empty(), method) {
            axes.extend(usual_axes(method));
            continue;
        }
        let refuse = |what: String| {
            let hint = "write `--sweep KEY=V1,V2`, for example `--sweep method.beta=10,50`";
            Failure::Usage { what, hint: hint.to_owned() }
        };
        let Some((key, values)) = text.split_once('=') else {
            return Err(refuse(format!("`--sweep {text}` has no values")));
        };
        let key = key.trim();
        if !sections.iter().any(|section| key.starts_with(section)) {
            return Err(refuse(format!("a sweep cannot vary `{key}`")));
        }
        let values: Vec<String> = values.split(',').map(|own| own.trim().to_owned()).collect();
        if values.iter().any(String::is_empty) {
            return Err(refuse(format!("`--sweep {text}` has an empty value")));
        }
        axes.push((key.to_owned(), values));
    }
    Ok(axes)
}

/// Every combination, each as `--set` takes it.
pub(super) fn combinations(axes: &Axes) -> Result<Vec<Vec<String>>, Failure> {
    let count = axes.iter().fold(1_usize, |all, (_, values)| all.saturating_mul(values.len()));
    if count > MOST {
        return Err(Failure::Usage {
            what: format!("{count} settings are more than the {MOST} that a sweep takes"),
            hint: "name fewer values or fewer keys".to_owned(),
        });
    }
    let mut all = vec![Vec::new()];
    for (key, values) in axes {
        let longer = |sets: &Vec<String>| -> Vec<Vec<String>> {
            let with = |value: &String| [sets.clone(), vec![format!("{key}={value}")]].concat();
            values.iter().map(with).collect()
        };
        all = all.iter().flat_map(longer).collect();
    }
    all.retain(|sets| !sets.is_empty());
    Ok(all)
}

fn name(tried: &TrialResult) -> String {
    if tried.sets.is_empty() { "the recipe's own".to_owned() } else { tried.sets.join(" ") }
}

/// Each setting where it got furthest, the best first.
fn cells(sweep: &Sweep) -> (Vec<(&'static str, Align)>, Vec<Vec<String>>) {
    let header = vec![
        ("setting", Align::Left),
        ("epochs", Align::Right),
        ("validation top-1", Align::Right),
        ("NLL", Align::Right),
    ];
    let mut rows = Vec::new();
    let mut seen: Vec<&[String]> = Vec::new();
    for (round, tried) in sweep.rounds.iter().rev() {
        for own in tried.iter().filter(|own| !seen.contains(&own.sets.as_slice())) {
            let numbers = match &own.broke {
                Some(why) => [why.clone(), String::new()],
                None => [percent(own.mean_top1()), format!("{:.3}", own.mean_nll())],
            };
            let first = [name(own), round.epochs.to_string()];
            rows.push(first.into_iter().chain(numbers).collect());
        }
        seen.extend(tried.iter().map(|own| own.sets.as_slice()));
    }
    (header, rows)
}

fn sentences(sweep: &Sweep, options: &CompareOptions) -> Vec<String> {
    let (Some(best), Some(own)) = (sweep.best(), sweep.own()) else { return Vec::new() };
    let seeds = if sweep.seeds == 1 { "1 seed".into() } else { format!("{} seeds", sweep.seeds) };
    let part = format!("validation split ({} samples), {seeds}", sweep.samples);
    if best.sets.is_empty() {
        return vec![format!("the recipe's own settings are the best on the {part}")];
    }
    let gain = best.mean_top1() - own.mean_top1();
    let sets: Vec<String> = best.sets.iter().map(|set| format!("--set {set}")).collect();
    let (sets, recipe) = (sets.join(" "), shown(&options.recipe));
    vec![
        format!("best: {}, {gain:+.2} points over the recipe's own on the {part}", name(best)),
        "the best of many looks better than it is: confirm it on other seeds, for example".into(),
        format!("  faculty distill {recipe} {sets} --set seed=11 --output runs/tuned"),
    ]
}

fn write_files(sweep: &Sweep, folder: &Path) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(sweep).expect("plain data always serialises");
    let (header, rows) = cells(sweep);
    let titles: Vec<&str> = header.iter().map(|(title, _)| *title).collect();
    let mut text = format!("| {} |\n|---|---:|---:|---:|\n", titles.join(" | "));
    for row in rows {
        let row: Vec<String> = row.iter().map(|cell| escape::markdown(cell)).collect();
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    for (name, text) in [("sweep.json", json + "\n"), ("sweep.md", text)] {
        let path = folder.join(name);
        write_atomically(&path, text.as_bytes()).map_err(failed("write", path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combinations_are_all_of_them() {
        let axis = |key: &str, values: &[&str]| {
            (key.to_owned(), values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>())
        };
        let axes = vec![axis("method.beta", &["1", "2"]), axis("method.alpha", &["3", "4", "5"])];
        let all = combinations(&axes).unwrap();
        assert_eq!(all.len(), 6);
        assert_eq!(all[5], ["method.beta=2", "method.alpha=5"]);
        assert!(combinations(&Vec::new()).unwrap().is_empty());
        let many = vec![axis("a", &["1"; 50]), axis("b", &["1"; 50])];
        assert!(combinations(&many).is_err());
    }
}
