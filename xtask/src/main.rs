//! Project chores: `cargo xtask check` is what CI runs, `licences` a part of it, `cargo xtask soak`
//! what a night is for.

#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a program that talks to its developer"
)]

mod arrows;
mod evidence;
mod fuzz;
mod licences;
mod mpi;
mod soak;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The README's test command, as a user would type it.
const TEST_COMMAND: &[&str] = &["test", "--release"];

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("check") => check(),
        Some("arrows") => arrows(),
        Some("licences") => licences(),
        Some("fuzz") => fuzz_all(),
        // As a wrapper of the compiler, for `fuzz`.
        Some(rustc) if rustc.ends_with("rustc") => compile(rustc),
        Some("evidence") => evidence(),
        Some("mpi") => mpi_with(std::env::args().nth(3).as_deref().unwrap_or("1")),
        Some("soak") => soak_for(std::env::args().nth(3).as_deref().unwrap_or("30")),
        other => {
            eprintln!(
                "usage: cargo xtask check                  (fmt, clippy, docs, arrows, licences, crate list, tests)\n\
                 \x20      cargo xtask arrows                (who imports whom; circles)\n\
                 \x20      cargo xtask licences               (those of all dependencies, offline)\n\
                 \x20      cargo xtask fuzz [--minutes 10] [--jobs 2] [READER …]   (needs cargo-fuzz)\n\
                 \x20      cargo xtask evidence [--runs FOLDER] [--only NAME]   (tables of results/evidence)\n\
                 \x20      cargo xtask mpi [--kills 1]        (ranks as processes of MPI)\n\
                 \x20      cargo xtask soak [--minutes 30]   (kills and faults; build with --release)"
            );
            ExitCode::from(if other.is_none() { 0 } else { 2 })
        }
    }
}

/// The tables of `results/evidence`.
fn evidence() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    let value = |flag: &str| {
        let at = arguments.iter().position(|own| own == flag)?;
        arguments.get(at + 1).map(String::as_str)
    };
    let runs = Path::new(value("--runs").unwrap_or("runs/evidence"));
    match evidence::work_off(runs, value("--only")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// One call of cargo: what it checks, its arguments, and what it needs in the environment.
struct Step {
    name: &'static str,
    arguments: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
}

/// Everything that must hold on main, cheapest first.
fn check() -> ExitCode {
    const WARNINGS_ARE_ERRORS: &[(&str, &str)] = &[("RUSTDOCFLAGS", "-D warnings")];
    const LINTS: &[&str] = &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    const DOCS: &[&str] = &["doc", "--workspace", "--no-deps"];
    let steps = [
        Step { name: "format", arguments: &["fmt", "--all", "--check"], environment: &[] },
        Step { name: "lints", arguments: LINTS, environment: &[] },
        Step { name: "docs", arguments: DOCS, environment: WARNINGS_ARE_ERRORS },
        Step { name: "tests", arguments: TEST_COMMAND, environment: &[] },
    ];
    let named = || documented_crates().and_then(|()| readme_names_the_test_command());
    let arrows = || arrows::find(&root()).and_then(|found| found.check());
    if let Err(problem) = licences::check(&root()).and_then(|_| named()).and_then(|()| arrows()) {
        eprintln!("check: {problem}");
        return ExitCode::FAILURE;
    }
    for Step { name, arguments, environment } in steps {
        eprintln!("check: {name}: cargo {}", arguments.join(" "));
        let status = Command::new(env!("CARGO"))
            .args(arguments)
            .envs(environment.iter().copied())
            .current_dir(root())
            .status();
        match status {
            Ok(status) if status.success() => {}
            Ok(_) => {
                eprintln!("check: {name} failed");
                return ExitCode::FAILURE;
            }
            Err(error) => {
                eprintln!("check: cannot start cargo: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    if let Some(what) = mpi::missing() {
        eprintln!("check: MPI is not tested: {what}");
    } else if let Err(problem) = mpi::check(&root(), 1) {
        eprintln!("check: mpi: {problem}");
        return ExitCode::FAILURE;
    }
    eprintln!("check: all good");
    ExitCode::SUCCESS
}

/// Prints who imports whom; fails on circles and on crates that are too large or too deep.
fn arrows() -> ExitCode {
    match arrows::find(&root()) {
        Ok(found) => {
            println!("{}", found.table);
            for problem in &found.problems {
                eprintln!("arrows: {problem}");
            }
            if found.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(problem) => {
            eprintln!("arrows: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn licences() -> ExitCode {
    match licences::check(&root()) {
        Ok(count) => {
            eprintln!("licences: {count} crates, all allowed by deny.toml");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("licences: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Ranks as processes of MPI, killed so many times.
fn mpi_with(kills: &str) -> ExitCode {
    let checked = match (mpi::missing(), kills.parse()) {
        (Some(what), _) => Err(what.to_owned()),
        (None, Ok(kills)) => mpi::check(&root(), kills),
        (None, Err(_)) => Err(format!("`{kills}` is no number of kills")),
    };
    match checked {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("mpi: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Kills and faults for so many minutes; the log is on stdout.
fn soak_for(minutes: &str) -> ExitCode {
    let log = match minutes.parse() {
        Ok(minutes) => soak::soak(&root(), minutes),
        Err(_) => Err(format!("`{minutes}` is no number of minutes")),
    };
    match log {
        Ok(log) => {
            println!("{log}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("soak: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn compile(rustc: &str) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    match fuzz::compile(rustc, &arguments) {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Err(problem) => {
            eprintln!("fuzz: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// All readers of files, or those that are named.
fn fuzz_all() -> ExitCode {
    let (mut minutes, mut jobs, mut names) = (10.0, 2, Vec::new());
    let mut arguments = std::env::args().skip(2);
    while let Some(argument) = arguments.next() {
        let number = match argument.as_str() {
            "--minutes" | "--jobs" => arguments.next().and_then(|own| own.parse::<f64>().ok()),
            _ => Some(0.0),
        };
        match (argument.as_str(), number) {
            ("--minutes", Some(number)) => minutes = number,
            ("--jobs", Some(number)) => jobs = number as usize,
            (_, Some(_)) => names.push(argument),
            (_, None) => {
                eprintln!("fuzz: {argument} needs a number");
                return ExitCode::from(2);
            }
        }
    }
    match fuzz::fuzz(&root(), minutes, jobs, &names) {
        Ok(table) => {
            println!("{table}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("fuzz: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every folder of `crates/` must be listed in `crates/README.md`.
fn documented_crates() -> Result<(), String> {
    let folder = root().join("crates");
    let readme = read(&folder.join("README.md"))?;
    let entries = std::fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    for entry in entries {
        let entry = entry.map_err(|e| format!("{}: {e}", folder.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && !readme.contains(&format!("`{name}`")) {
            return Err(format!("crates/README.md does not list `{name}`"));
        }
    }
    Ok(())
}

fn readme_names_the_test_command() -> Result<(), String> {
    let command = format!("cargo {}", TEST_COMMAND.join(" "));
    if read(&root().join("README.md"))?.contains(&command) {
        Ok(())
    } else {
        Err(format!("README.md does not name the test command `{command}`"))
    }
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))
}
