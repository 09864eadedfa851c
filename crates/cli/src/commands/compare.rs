//! `faculty compare`: several methods on the same seeds, with a verdict in words.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use faculty_data::Dataset;
use faculty_distill::Error;
use faculty_distill::comparison::{
    CheckedComparison, Comparison, ComparisonPlan, MethodNote, Single, Spread, mount_heads,
};
use faculty_distill::recipe::Recipe;
use faculty_escape as escape;
use faculty_files::write_atomically;
use serde_json::json;

use super::{
    beside, cache, heads, load_recipe, open_data, report, shown, stop_on_interrupt, sweep,
    use_threads,
};
use crate::arguments::CompareOptions;
use crate::failure::Failure;
use crate::interrupt::PATIENCE;
use crate::progress::{RunsProgress, print_json};
use crate::table::{self, Align, percent};

mod jobs;

pub(crate) fn run(options: &CompareOptions) -> Result<(), Failure> {
    if let Some(wanted) = &options.sweep {
        return sweep::run(options, wanted);
    }
    let recipe = load_recipe(&options.recipe, &options.sets)?.recipe;
    use_threads(recipe.train.threads)?;
    let folder = options.output.clone().unwrap_or_else(|| beside(&recipe, "comparison"));
    let all = options.methods.iter().any(|name| name == "all");
    let plan = ComparisonPlan {
        folder: folder.clone(),
        methods: (!all).then(|| options.methods.clone()),
        seeds: options.seeds as usize,
        against: options.against.clone(),
        overwrite: options.overwrite,
    };
    let stop = stop_on_interrupt();
    let dataset = open_data(&recipe)?;
    let mut progress = heads::Progress::new(options.json);
    let mounted = mount_heads(&recipe, &dataset, &plan, &stop, &mut |event| progress.show(&event));
    progress.finish();
    mounted?;
    let mut checked = CheckedComparison::new(&recipe, &dataset, plan)?;
    checked.lock()?;
    wait_for_jobs(&checked)?;
    let (runs, finished) = checked.runs()?;
    if !options.json {
        describe(&checked, &recipe, &dataset, &folder, runs, finished);
    }
    if finished < runs
        && let Some(plan) = checked.cache()?
    {
        cache::complete(plan, &stop, options.json)?;
    }
    if options.jobs > 1 {
        checked.clear()?;
        jobs::run(&checked.missing()?, options.jobs as usize, &recipe, &folder, &stop)?;
    }
    let mut progress = RunsProgress::new(finished, runs, options.json);
    let mut events = report::Events::new(!options.no_report);
    let result = checked.run(&stop, &mut |name, event| {
        events.take(&folder.join(name), &event);
        progress.show(name, recipe.train.epochs, &event);
    });
    progress.finish();
    let comparison = result?;
    write_files(&comparison, &folder)?;
    if !options.no_report {
        report::at_the_end(std::slice::from_ref(&folder));
    }
    if options.json {
        print_json(&json!({"event": "result", "folder": folder, "comparison": comparison}));
        return Ok(());
    }
    let mut out = crate::terminal::stdout();
    let (header, rows) = cells(&comparison);
    table::write(&mut out, &header, &rows)?;
    for line in sentences(&comparison) {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "files: {}", shown(&folder.join("comparison.{json,csv,md}")))?;
    if !options.no_report {
        writeln!(out, "report: {}", shown(&folder.join("report.html")))?;
    }
    Ok(())
}

/// Programs of a comparison that was killed save and end by themselves; until then their folders are
/// theirs.
fn wait_for_jobs(checked: &CheckedComparison<'_>) -> Result<(), Failure> {
    let since = Instant::now();
    let mut told = false;
    loop {
        let busy = checked.written_by_others()?;
        if busy.is_empty() || since.elapsed() > PATIENCE {
            // What still is in work then is told by who wants to write there.
            return Ok(());
        }
        if !told {
            eprintln!("waiting for programs of an earlier start to save: {}", busy.join(", "));
            told = true;
        }
        thread::sleep(Duration::from_millis(200));
    }
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
    for line in notes(single.as_ref(), &live, &warming_up, checked.left_out()) {
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

/// The methods that are not treated as the others are.
fn notes(
    single: Option<&Single>,
    live: &[MethodNote],
    warming_up: &[MethodNote],
    left_out: &[MethodNote],
) -> Vec<String> {
    let of_one = single.map(|Single { teacher, methods }| {
        format!("of one teacher, the recipe's first, `{teacher}`: {}", methods.join(", "))
    });
    let each = |what: &'static str, own: &[MethodNote]| -> Vec<String> {
        own.iter().map(|own| format!("{what}: {}: {}", own.method, own.reason)).collect()
    };
    let live = each("without the cache, its teachers run beside it", live);
    let warming_up = each("warning: the runs are no longer than its warm-up", warming_up);
    let left_out = each("left out", left_out);
    of_one.into_iter().chain(live).chain(warming_up).chain(left_out).collect()
}

type Header = Vec<(&'static str, Align)>;

/// The table, teachers first.
fn cells(comparison: &Comparison) -> (Header, Vec<Vec<String>>) {
    let header = vec![
        ("", Align::Left),
        ("verdict", Align::Left),
        ("top-1", Align::Right),
        ("difference", Align::Right),
        ("interval", Align::Right),
        ("NLL", Align::Right),
        ("ECE", Align::Right),
        ("bootstrap", Align::Right),
        ("s/epoch", Align::Right),
        ("part", Align::Left),
    ];
    let blank = String::new;
    let mut rows = Vec::new();
    for own in &comparison.teachers {
        let who = match &own.network {
            Some(network) => format!("teacher {} ({network})", own.name),
            None => own.name.clone(),
        };
        let part = comparison.teachers_part.clone().unwrap_or_default();
        let quality = own.quality;
        rows.push(vec![
            who,
            blank(),
            percent(quality.top1),
            blank(),
            blank(),
            format!("{:.3}", quality.nll),
            format!("{:.3}", quality.ece),
            blank(),
            blank(),
            part,
        ]);
    }
    let spread = |own: Spread, digits: usize, unit: &str| {
        let deviation = own.deviation.map_or_else(blank, |d| format!(" ± {d:.digits$}"));
        format!("{:.digits$}{deviation}{unit}", own.mean)
    };
    let interval = |own: Option<faculty_distill::statistics::Interval>| {
        own.map_or_else(blank, |own| format!("{:+.2} .. {:+.2}", own.low, own.high))
    };
    for row in &comparison.rows {
        let [difference, own, bootstrap, verdict] = match &row.against_reference {
            None => [blank(), blank(), blank(), "reference".to_owned()],
            Some(own) => [
                format!("{:+.2}", own.mean),
                interval(own.interval),
                interval(own.bootstrap),
                own.words(&comparison.reference),
            ],
        };
        rows.push(vec![
            format!("student {}", row.method),
            verdict,
            spread(row.top1, 2, " %"),
            difference,
            own,
            spread(row.nll, 3, ""),
            spread(row.ece, 3, ""),
            bootstrap,
            format!("{:.2}", row.seconds_per_epoch),
            comparison.part.clone(),
        ]);
    }
    (header, rows)
}

/// What the table's numbers are.
fn sentences(comparison: &Comparison) -> Vec<String> {
    let Comparison { reference, rows, seeds, part, .. } = comparison;
    let against = rows.len() - 1;
    let mut lines = vec![format!(
        "students: {} ({}), mean ± deviation over {} on the {part} part ({} images), at each run's \
         best validation epoch",
        comparison.student,
        comparison.data,
        if seeds.len() == 1 { "1 seed".to_owned() } else { format!("{} seeds", seeds.len()) },
        comparison.samples,
    )];
    if part != "test" {
        lines.push("there is no test part: the epochs were chosen on the same images".to_owned());
    }
    if let Some(part) = &comparison.teachers_part
        && !comparison.teachers.is_empty()
    {
        lines.push(format!("teachers: alone, on the {part} part"));
    }
    lines.push(format!(
        "differences to {reference}: points of top-1, paired by seed; interval and verdict by \
         Student's t, corrected for {against} comparison{} (Holm, {:.0} %); the bootstrap (95 %, not \
         corrected) is too narrow with few seeds",
        if against == 1 { "" } else { "s" },
        100.0 * (1.0 - comparison.significance),
    ));
    if seeds.len() == 1 {
        lines.push("one seed says nothing of the luck of the seed: use `--seeds 3` or more".into());
    }
    let Comparison { single, live, warming_up, left_out, .. } = comparison;
    lines.extend(notes(single.as_ref(), live, warming_up, left_out));
    lines
}

fn write_files(comparison: &Comparison, folder: &Path) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(comparison).expect("plain data always serialises");
    for (name, text) in [
        ("comparison.json", json + "\n"),
        ("comparison.csv", csv(comparison)),
        ("comparison.md", markdown(comparison)),
    ] {
        let path = folder.join(name);
        write_atomically(&path, text.as_bytes()).map_err(|source| Error::Io {
            action: "write",
            path,
            source,
        })?;
    }
    Ok(())
}

/// One line a run.
fn csv(comparison: &Comparison) -> String {
    let mut text = "method,seed,epoch,validation_top1,validation_nll,validation_ece,test_top1,\
                    test_nll,test_ece,seconds_per_epoch\n"
        .to_owned();
    for row in &comparison.rows {
        for run in &row.runs {
            let quality = |own: Option<faculty_distill::metrics::Quality>| {
                own.map_or_else(|| ",,".to_owned(), |q| format!("{},{},{}", q.top1, q.nll, q.ece))
            };
            let (validation, test) = (quality(run.validation), quality(run.test));
            let (method, seed, epoch) = (&row.method, run.seed, run.epoch);
            let seconds = run.seconds_per_epoch;
            let _ = writeln!(text, "{method},{seed},{epoch},{validation},{test},{seconds:.3}");
        }
    }
    text
}

fn markdown(comparison: &Comparison) -> String {
    let (header, rows) = cells(comparison);
    let titles: Vec<&str> = header.iter().map(|(title, _)| *title).collect();
    let rule: Vec<&str> = header
        .iter()
        .map(|(_, align)| if *align == Align::Left { "---" } else { "---:" })
        .collect();
    let mut text = format!("| {} |\n| {} |\n", titles.join(" | "), rule.join(" | "));
    for row in rows {
        let row: Vec<String> = row.iter().map(|cell| escape::markdown(cell)).collect();
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    for line in sentences(comparison) {
        let _ = write!(text, "\n{}.\n", escape::markdown(&line));
    }
    text
}
