//! `cargo xtask evidence`: works off `results/evidence/plan.toml`, teachers first, then tables.
//!
//! ```toml
//! [[teacher]]
//! name = "resnet20-1"                            # results/evidence/teachers/NAME.safetensors
//! recipe = "recipes/evidence/teacher.toml"
//! set = ["seed=1"]
//!
//! [[table]]
//! name = "three-alike"                           # results/evidence/NAME.md
//! recipe = "recipes/evidence/three-alike.toml"
//! methods = ["aver", "ca-mkd"]
//! seeds = 5
//! set = []
//! ```
//! Stopped at any moment, it goes on where it was: runs lie outside of the repository, teachers' weights
//! and tables in it. A table is written anew after each seed, so that there is always one to commit.

use std::path::{Path, PathBuf};
use std::process::Command;

use toml::{Table, Value};

const PLAN: &str = "results/evidence/plan.toml";
const RESULTS: &str = "results/evidence";

/// Works off what `only` names, or everything; runs lie in `runs`.
///
/// # Errors
/// What is wrong with the plan, or which program failed.
pub(crate) fn work_off(runs: &Path, only: Option<&str>) -> Result<(), String> {
    let text = std::fs::read_to_string(PLAN).map_err(|error| format!("{PLAN}: {error}"))?;
    let plan: Table = text.parse().map_err(|error| format!("{PLAN}: {error}"))?;
    for teacher in entries(&plan, "teacher")? {
        let name = text_of(teacher, "name")?;
        if only.is_none_or(|only| only == name) {
            train(name, teacher, runs)?;
        }
    }
    for table in entries(&plan, "table")? {
        let name = text_of(table, "name")?;
        if only.is_none_or(|only| only == name) {
            compare(name, table, runs)?;
        }
    }
    Ok(())
}

fn train(name: &str, teacher: &Table, runs: &Path) -> Result<(), String> {
    let weights = PathBuf::from(RESULTS).join(format!("teachers/{name}.safetensors"));
    if weights.exists() {
        return Ok(());
    }
    let folder = runs.join(name);
    let mut arguments = vec!["train".to_owned(), text_of(teacher, "recipe")?.to_owned()];
    arguments.extend(settings(teacher)?);
    arguments.extend(["--output".to_owned(), folder.display().to_string()]);
    if folder.join("checkpoints").exists() {
        arguments.push("--resume".to_owned());
    }
    if !folder.join("student.safetensors").exists() {
        faculty(&arguments)?;
    }
    let failed = |error| format!("{}: {error}", weights.display());
    std::fs::create_dir_all(weights.parent().unwrap_or(Path::new("."))).map_err(failed)?;
    std::fs::copy(folder.join("student.safetensors"), &weights).map_err(failed)?;
    Ok(())
}

fn compare(name: &str, table: &Table, runs: &Path) -> Result<(), String> {
    let folder = runs.join(name);
    let seeds = table.get("seeds").and_then(Value::as_integer).unwrap_or(1);
    let methods = strings(table, "methods")?.join(",");
    let recipe = text_of(table, "recipe")?;
    for done in 1..=seeds {
        let command = |output: &str| -> Result<Vec<String>, String> {
            let mut arguments =
                ["compare", recipe, "--methods", &methods].map(str::to_owned).to_vec();
            arguments.extend(["--seeds".to_owned(), done.to_string()]);
            arguments.extend(settings(table)?);
            arguments.extend(["--output".to_owned(), output.to_owned()]);
            Ok(arguments)
        };
        faculty(&command(&folder.display().to_string())?)?;
        let report = std::fs::read_to_string(folder.join("comparison.md"));
        let report = report.map_err(|error| format!("{}: {error}", folder.display()))?;
        let page = format!(
            "# {name}\n{}; {done} of {seeds} seeds.\n```\nfaculty {}\n```\n{report}",
            machine(),
            quoted(&command(&format!("runs/{name}"))?)
        );
        let path = PathBuf::from(RESULTS).join(format!("{name}.md"));
        std::fs::write(&path, page).map_err(|error| format!("{}: {error}", path.display()))?;
        eprintln!("{}: {done} of {seeds} seeds", path.display());
    }
    Ok(())
}

/// Date, commit, processor and number of cores.
fn machine() -> String {
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        text.filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".to_owned())
    };
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        info.lines().find_map(|line| Some(line.strip_prefix("model name")?.split_once(':')?.1));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "{}, commit {}, {}, {cores} cores",
        said("date", &["-u", "+%F"]),
        said("git", &["rev-parse", "--short", "HEAD"]),
        model.unwrap_or("unknown processor").trim()
    )
}

fn faculty(arguments: &[String]) -> Result<(), String> {
    let cargo = ["run", "--release", "--quiet", "--package", "faculty", "--"];
    let status = Command::new(env!("CARGO")).args(cargo).args(arguments).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("faculty {}: {status}", quoted(arguments))),
        Err(error) => Err(format!("cargo: {error}")),
    }
}

/// Arguments as one types them.
fn quoted(arguments: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.,=/:".contains(c);
    let quote = |word: &String| match word.chars().all(plain) {
        true => word.clone(),
        false => format!("'{word}'"),
    };
    arguments.iter().map(quote).collect::<Vec<_>>().join(" ")
}

fn entries<'a>(plan: &'a Table, key: &str) -> Result<Vec<&'a Table>, String> {
    let Some(all) = plan.get(key) else { return Ok(Vec::new()) };
    let all = all.as_array().ok_or_else(|| format!("{PLAN}: `{key}` is no list"))?;
    let table = |own: &'a Value| own.as_table().ok_or_else(|| format!("{PLAN}: `{key}`"));
    all.iter().map(table).collect()
}

fn text_of<'a>(table: &'a Table, key: &str) -> Result<&'a str, String> {
    table.get(key).and_then(Value::as_str).ok_or_else(|| format!("{PLAN}: `{key}` is missing"))
}

fn strings(table: &Table, key: &str) -> Result<Vec<String>, String> {
    let Some(all) = table.get(key) else { return Ok(Vec::new()) };
    let text = |own: &Value| own.as_str().map(str::to_owned);
    let all = all.as_array().and_then(|all| all.iter().map(text).collect());
    all.ok_or_else(|| format!("{PLAN}: `{key}` is no list of texts"))
}

/// `--set KEY=VALUE` for each.
fn settings(table: &Table) -> Result<Vec<String>, String> {
    Ok(strings(table, "set")?.into_iter().flat_map(|own| ["--set".to_owned(), own]).collect())
}
