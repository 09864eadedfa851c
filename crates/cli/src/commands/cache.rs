//! `faculty cache`: the outputs of a recipe's teachers, computed once and kept.

use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::{Instant, SystemTime};

use faculty_distill::Error;
use faculty_distill::cache::plan;
use faculty_teachers::cache::{Built, CacheEvent, CachePlan, CacheSize, Estimate, verify};
use serde_json::json;

use super::{heads, load_recipe, open_data, shard, shown, stop_on_interrupt, use_threads};
use crate::arguments::CacheOptions;
use crate::bar::Bar;
use crate::failure::Failure;
use crate::progress::{duration, print_json};
use crate::ranks;
use crate::table::{self, Align};

pub(crate) fn run(options: &CacheOptions) -> Result<(), Failure> {
    let recipe = load_recipe(&options.recipe, &options.sets)?.recipe;
    if recipe.cache.is_none() || recipe.teachers.is_empty() {
        let missing = if recipe.cache.is_none() { "`[cache]`" } else { "teachers" };
        return Err(Failure::Usage {
            what: format!("recipe `{}` has no {missing}", options.recipe.display()),
            hint: "add `[cache]`, `[[teachers]]`, and `views = 4` to `[data]`".to_owned(),
        });
    }
    use_threads(ranks::threads(recipe.train.threads)?)?;
    let stop = stop_on_interrupt();
    let dataset = open_data(&recipe)?;
    let share = if options.shard.is_whole() { ranks::share() } else { options.shard };
    let recipe =
        shard::in_turn(share, &stop, || heads::mount(&recipe, &dataset, &stop, options.json))?;
    let plan = plan(&recipe, &dataset)?.with_share(share);
    if options.verify.is_some() || options.dry_run {
        warn(&plan, options.json);
    }
    if let Some(records) = options.verify {
        return check(&plan, records as usize, options.json);
    }
    let (folder, sizes) = (plan.folder().to_owned(), plan.sizes());
    if options.dry_run {
        let estimate = plan.estimate()?;
        tell(&plan, &estimate, options.json);
        if !options.json {
            show(&sizes, "missing")?;
        }
        return Ok(());
    }
    let built = complete(plan, &stop, options.json)?;
    if options.shard.is_whole() && !share.is_whole() {
        return together(&folder, options.json);
    }
    if options.json {
        let sizes = json!(sizes);
        print_json(&json!({"event": "result", "folder": folder, "built": built, "sizes": sizes}));
        return Ok(());
    }
    show(&sizes, "written now")?;
    writeln!(
        crate::terminal::stdout(),
        "cache: {} ({} files written now)",
        shown(&folder),
        built.shards
    )?;
    if !share.is_whole() {
        let text = shard::left_to_do(&built.missing_shares);
        writeln!(crate::terminal::stdout(), "share {share} is built; {text}")?;
    }
    Ok(())
}

/// After the shares of all ranks: what the first one says.
fn together(folder: &Path, json: bool) -> Result<(), Failure> {
    ranks::group().barrier().map_err(Error::from)?;
    match json {
        true => print_json(&json!({"event": "result", "folder": folder})),
        false => writeln!(crate::terminal::stdout(), "cache: {} is complete", shown(folder))?,
    }
    Ok(())
}

/// Builds what is missing of a cache, telling size and time first.
pub(super) fn complete(
    plan: CachePlan<'_>,
    stop: &AtomicBool,
    json: bool,
) -> Result<Built, Failure> {
    warn(&plan, json);
    if plan.is_complete() {
        if !json {
            eprintln!("cache: `{}` is complete", shown(plan.folder()));
        }
        return Ok(Built::default());
    }
    let estimate = plan.estimate()?;
    tell(&plan, &estimate, json);
    let mut progress = Progress::new(json);
    let built = plan.build(stop, &mut |event| progress.show(event));
    progress.finish();
    Ok(built?)
}

/// What is strange about the folder.
fn warn(plan: &CachePlan<'_>, json: bool) {
    for text in plan.warnings() {
        match json {
            true => print_json(&json!({"event": "warning", "text": text})),
            false => eprintln!("warning: {text}"),
        }
    }
}

/// Size and time, before anything is written.
fn tell(plan: &CachePlan<'_>, estimate: &Estimate, json: bool) {
    if json {
        let (folder, sizes) = (plan.folder(), plan.sizes());
        print_json(
            &json!({"event": "plan", "folder": folder, "estimate": estimate, "sizes": sizes}),
        );
        return;
    }
    eprintln!(
        "cache: `{}`, {} in all, {} to write; {} samples through the teachers, about {}",
        shown(plan.folder()),
        size(estimate.bytes),
        size(estimate.missing_bytes),
        estimate.images,
        duration(estimate.seconds),
    );
}

/// `last` names the column of what was missing when the command began.
fn show(sizes: &[CacheSize], last: &str) -> std::io::Result<()> {
    let rows: Vec<Vec<String>> = sizes
        .iter()
        .map(|row| {
            let shape: Vec<String> = row.shape.iter().map(ToString::to_string).collect();
            let cells = [row.teacher.clone(), row.records.clone(), shape.join("×")];
            cells.into_iter().chain([size(row.bytes), size(row.missing_bytes)]).collect()
        })
        .collect();
    let header = [
        ("teacher", Align::Left),
        ("records", Align::Left),
        ("shape", Align::Right),
        ("size", Align::Right),
        (last, Align::Right),
    ];
    table::write(&mut crate::terminal::stdout(), &header, &rows)
}

fn check(plan: &CachePlan<'_>, records: usize, json: bool) -> Result<(), Failure> {
    // Other records every time: the more often it is run, the more is checked.
    let seed = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |now| now.as_nanos() as u64);
    let found = verify(plan, records, seed)?;
    if json {
        print_json(&json!({"event": "result", "folder": plan.folder(), "verification": found}));
    }
    if let Some(first) = &found.first {
        return Err(Failure::Answer {
            what: format!(
                "{} of {} records differ from what the teachers give, by up to {:.1e} of their \
                 largest value; the first: {first}",
                found.different, found.records, found.largest_difference
            ),
            hint: format!("delete `{}` and build it again", shown(plan.folder())),
        });
    }
    if !json {
        let records = found.records;
        writeln!(
            crate::terminal::stdout(),
            "{records} records computed again: all as in the cache"
        )?;
    }
    Ok(())
}

/// `1.23 GiB`, `45.6 MiB`, `7.8 KiB`
fn size(bytes: u64) -> String {
    let bytes = bytes as f64;
    match bytes {
        b if b >= 1024.0 * 1024.0 * 1024.0 => format!("{:.2} GiB", b / (1024.0 * 1024.0 * 1024.0)),
        b if b >= 1024.0 * 1024.0 => format!("{:.1} MiB", b / (1024.0 * 1024.0)),
        b => format!("{:.1} KiB", b / 1024.0),
    }
}

/// A bar on a terminal, a line now and then elsewhere, JSON lines on request.
struct Progress {
    json: bool,
    bar: Bar,
    started: Instant,
}

impl Progress {
    fn new(json: bool) -> Self {
        Self { json, bar: Bar::new("cache", json), started: Instant::now() }
    }

    fn show(&mut self, event: CacheEvent<'_>) {
        let CacheEvent::Images { teacher, done, total } = event;
        let speed = done as f64 / self.started.elapsed().as_secs_f64();
        let is_last = done == total;
        if !self.json {
            let left = duration((total - done) as f64 / speed);
            let message = format!(
                "teacher {teacher}: sample {done}/{total}  {speed:.0} samples/s  ETA {left}"
            );
            self.bar.show(done, total, &message, is_last);
        } else if is_last || self.bar.is_line_due() {
            self.bar.line_is_out();
            print_json(&json!({
                "event": "images", "teacher": teacher, "done": done, "total": total,
                "images_per_second": speed,
            }));
        }
    }

    fn finish(&self) {
        self.bar.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        let texts = [2_048, 5_000_000, 3_221_225_472].map(size);
        assert_eq!(texts, ["2.0 KiB", "4.8 MiB", "3.00 GiB"]);
    }
}
