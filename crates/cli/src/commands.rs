//! One file a command.

pub(crate) mod bench_model;
pub(crate) mod cache;
pub(crate) mod compare;
pub(crate) mod demo;
pub(crate) mod evaluate;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod generate;
mod heads;
pub(crate) mod init;
mod language_events;
mod language_export;
mod language_quality;
mod language_run;
pub(crate) mod lists;
pub(crate) mod one_run;
mod plan;
pub(crate) mod predict;
pub(crate) mod report;
mod run_card;
mod shard;
pub(crate) mod shell;
mod sweep;
pub(crate) mod teachers;
pub(crate) mod tfidf;
pub(crate) mod train;
pub(crate) mod watch;

use crate::arguments::{GivenOutput, OnnxOptions};
use crate::failure::{Failure, labelled};
pub(crate) use crate::interrupt::stop_on_interrupt;
use faculty_data::{Dataset, Findings};
use faculty_distill::methods::specs;
use faculty_distill::predict::OnnxReading;
use faculty_distill::recipe::{LoadedRecipe, OutputType, Problem, Recipe};

/// Which of the two commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// On labels alone.
    Train,
    /// From teachers.
    Distill,
}

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
    beside_run(recipe.output.as_deref(), what)
}

/// The same of a run folder.
fn beside_run(output: Option<&std::path::Path>, what: &str) -> std::path::PathBuf {
    let output = output.unwrap_or(std::path::Path::new("runs/run"));
    let mut name = output.file_name().unwrap_or_default().to_owned();
    name.push(format!("-{what}"));
    output.with_file_name(name)
}

fn show_warnings<'a>(warnings: impl IntoIterator<Item = &'a Problem>) {
    for warning in warnings {
        eprint!("{}", labelled("warning", warning));
    }
}

/// Says so where a recipe is given in place of its run.
fn refuse_recipe(path: &std::path::Path) -> Result<(), Failure> {
    if !path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("toml")) {
        return Ok(());
    }
    let run = Recipe::load(path, &[], &specs()).ok().and_then(|loaded| loaded.recipe.output);
    let hint = match run {
        Some(run) if run.is_dir() => format!("give the folder of its run: `{}`", shown(&run)),
        _ => "give the folder of a run; `faculty distill RECIPE` makes one".to_owned(),
    };
    Err(Failure::Usage { what: format!("`{}` is a recipe, no run", path.display()), hint })
}

/// A path as short as it can be said from the current folder.
fn shown(path: &std::path::Path) -> std::path::Display<'_> {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).display()
}

/// How the outputs of an ONNX file are to be read, for the library.
///
/// # Errors
/// When they are given for a file that is no ONNX file.
pub(super) fn onnx_reading(options: &OnnxOptions, is_onnx: bool) -> Result<OnnxReading, Failure> {
    let given = [
        ("--onnx-output", options.onnx_output.is_some()),
        ("--output-type", options.output_type.is_some()),
    ];
    match given.iter().find(|(_, given)| *given && !is_onnx) {
        None => Ok(OnnxReading {
            output: options.onnx_output.clone(),
            output_type: options.output_type.map(|given| match given {
                GivenOutput::Logits => OutputType::Logits,
                GivenOutput::Probabilities => OutputType::Probabilities,
                GivenOutput::Sigmoid => OutputType::Sigmoid,
            }),
        }),
        Some((flag, _)) => Err(Failure::Usage {
            what: format!("`{flag}` is for ONNX files"),
            hint: "leave it out: networks of faculty give logits".to_owned(),
        }),
    }
}

/// Sets the number of threads for everything that follows.
fn use_threads(threads: Option<usize>) -> Result<(), Failure> {
    let Some(count) = threads else { return Ok(()) };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let most = (8 * cores).max(64);
    if count > most {
        return Err(Failure::Usage {
            what: format!("{count} threads are too many for {cores} processor cores"),
            hint: format!("leave out `train.threads`, or ask for {most} at most"),
        });
    }
    rayon::ThreadPoolBuilder::new().num_threads(count).build_global().map_err(|error| {
        Failure::Usage {
            what: format!("cannot start {count} threads: {error}"),
            hint: "ask for fewer threads".to_owned(),
        }
    })
}
