//! One file a command.

pub(crate) mod bench_model;
pub(crate) mod cache;
pub(crate) mod compare;
pub(crate) mod demo;
pub(crate) mod evaluate;
pub(crate) mod explain;
pub(crate) mod export;
mod heads;
pub(crate) mod init;
pub(crate) mod lists;
mod plan;
pub(crate) mod predict;
pub(crate) mod report;
pub(crate) mod shell;
mod sweep;
pub(crate) mod teachers;
pub(crate) mod train;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::exit::Exit;
use crate::failure::{Failure, labelled};
use faculty_data::{Dataset, Findings};
use faculty_distill::methods::specs;
use faculty_distill::recipe::{LoadedRecipe, Problem, Recipe};

/// Reads a recipe and shows its warnings.
fn load_recipe(path: &std::path::Path, sets: &[String]) -> Result<LoadedRecipe, Failure> {
    let loaded = Recipe::load(path, sets, &specs())?;
    show_warnings(&loaded.warnings);
    Ok(loaded)
}

/// Opens a recipe's data set and says what was left out of it.
fn open_data(recipe: &Recipe) -> Result<Dataset, Failure> {
    let dataset = faculty_distill::open_dataset(&recipe.data)?;
    show_findings(&dataset);
    Ok(dataset)
}

/// Says what was left out of a data set.
fn show_findings(dataset: &Dataset) {
    const SHOWN: usize = 10;
    let Findings { notes, skipped, .. } = dataset.findings();
    notes.iter().for_each(|note| eprintln!("note: data: {note}"));
    for skipped in skipped.iter().take(SHOWN) {
        eprintln!("warning: left out: {}", skipped.reason);
    }
    if skipped.len() > SHOWN {
        let more = skipped.len() - SHOWN;
        eprintln!("warning: left out: {more} more images; `faculty datasets` lists all");
    }
}

/// The recipe's run folder with `-what` behind its name: where several runs of it lie.
fn beside(recipe: &Recipe, what: &str) -> std::path::PathBuf {
    let output = recipe.output.clone().unwrap_or_else(|| "runs/run".into());
    let mut name = output.file_name().unwrap_or_default().to_owned();
    name.push(format!("-{what}"));
    output.with_file_name(name)
}

fn show_warnings<'a>(warnings: impl IntoIterator<Item = &'a Problem>) {
    for warning in warnings {
        eprint!("{}", labelled("warning", warning));
    }
}

/// A path as short as it can be said from the current folder.
fn shown(path: &std::path::Path) -> std::path::Display<'_> {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).display()
}

/// Sets the number of threads for everything that follows.
fn use_threads(threads: Option<usize>) -> Result<(), Failure> {
    let Some(count) = threads else { return Ok(()) };
    rayon::ThreadPoolBuilder::new().num_threads(count).build_global().map_err(|error| {
        Failure::Usage {
            what: format!("cannot start {count} threads: {error}"),
            hint: "ask for fewer threads".to_owned(),
        }
    })
}

/// Set for programs that a comparison starts: they may hear one wish to stop twice, from the
/// terminal and from the comparison.
const JOB: &str = "FACULTY_JOB";

/// A flag that Ctrl-C, SIGTERM or SIGHUP sets; a second one ends the program at once, unless it is
/// a job of a comparison. The exit code is that of Ctrl-C for all of them: each says that the work can
/// go on.
fn stop_on_interrupt() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let is_job = std::env::var_os(JOB).is_some();
    let installed = ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            if is_job {
                return;
            }
            std::process::exit(Exit::Interrupted as i32);
        }
        eprintln!("stopping after this batch, what is done is kept; once more ends at once");
    });
    if let Err(error) = installed {
        // Without the handler Ctrl-C still ends the program, only less politely.
        eprintln!("warning: cannot catch Ctrl-C: {error}");
    }
    stop
}
