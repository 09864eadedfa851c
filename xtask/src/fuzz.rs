//! `cargo xtask fuzz`: every reader of files under libFuzzer for some minutes each, several at a time.
//!
//! Needs `cargo install cargo-fuzz` and a C++ compiler. Without a sanitizer it runs on stable: safe
//! Rust that panics, aborts, hangs or fills the memory is found all the same. Inputs that break a
//! reader are kept in `crates/fuzz/crashes`, where the tests read them again.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

/// Memory of one reader, MiB: files of some kilobytes justify far less.
const MOST_MEMORY: &str = "-rss_limit_mb=2048";
/// Seconds that one input may take.
const MOST_TIME: &str = "-timeout=20";

/// Arithmetic that no file's bytes steer: not instrumented and hardly optimised, which otherwise
/// takes half an hour for some of it.
const ARITHMETIC: [&str; 6] =
    ["burn_flex", "faculty_kernels", "gemm", "rten_gemm", "rten_simd", "rten_vecmath"];

/// Stands in front of rustc while the readers are built: `RUSTC …` as cargo calls it.
pub(crate) fn compile(rustc: &str, arguments: &[String]) -> Result<i32, String> {
    let after = |flag: &str| {
        let at = arguments.iter().position(|own| own == flag)?;
        arguments.get(at + 1).map(String::as_str)
    };
    let plain = after("--crate-name").is_some_and(|name| ARITHMETIC.contains(&name));
    let slow = |own: &str| {
        ["sancov", "-sanitizer-coverage", "codegen-units=1"].iter().any(|flag| own.contains(flag))
    };
    let arguments = arguments.iter().filter(|own| !(plain && slow(own)));
    let arguments = arguments.map(|own| match own.as_str() {
        "opt-level=3" if plain => "opt-level=1",
        own => own,
    });
    let status = Command::new(rustc).args(arguments).status();
    Ok(status.map_err(|e| format!("cannot start {rustc}: {e}"))?.code().unwrap_or(1))
}

/// What came out of one reader.
struct Outcome {
    name: String,
    executions: u64,
    minutes: f64,
    inputs: usize,
    crashes: usize,
}

/// Runs the readers named, or all; a Markdown table.
pub(crate) fn fuzz(
    root: &Path,
    minutes: f64,
    jobs: usize,
    names: &[String],
) -> Result<String, String> {
    let all = targets(root)?;
    let chosen: VecDeque<String> =
        all.into_iter().filter(|name| names.is_empty() || names.contains(name)).collect();
    let status = Command::new(env!("CARGO"))
        .args(["fuzz", "build", "--fuzz-dir", "crates/fuzz", "--sanitizer", "none"])
        .args(["--features", "libfuzzer"])
        .env("RUSTC_WRAPPER", std::env::current_exe().map_err(|e| e.to_string())?)
        .current_dir(root)
        .status()
        .map_err(|e| format!("cannot start cargo: {e}"))?;
    if !status.success() {
        return Err("cargo fuzz cannot build the readers".to_owned());
    }
    let (left, done) = (Mutex::new(chosen), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let next = left.lock().ok().and_then(|mut left| left.pop_front());
                    let Some(name) = next else { return };
                    let outcome = run(root, &name, minutes);
                    if let Ok(mut done) = done.lock() {
                        done.push(outcome);
                    }
                }
            });
        }
    });
    let done = done.into_inner().map_err(|e| e.to_string())?;
    let mut outcomes = done.into_iter().collect::<Result<Vec<_>, String>>()?;
    outcomes.sort_by(|a, b| a.name.cmp(&b.name));
    let mut text =
        "| reader | executions | minutes | inputs | crashes |\n|---|---:|---:|---:|---:|\n"
            .to_owned();
    for Outcome { name, executions, minutes, inputs, crashes } in outcomes {
        let _ = writeln!(text, "| `{name}` | {executions} | {minutes:.1} | {inputs} | {crashes} |");
    }
    Ok(text)
}

/// Names of the targets.
fn targets(root: &Path) -> Result<Vec<String>, String> {
    let folder = root.join("crates/fuzz/fuzz_targets");
    let mut names: Vec<String> = paths(&folder)?
        .iter()
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    Ok(names)
}

/// One reader, started again after each crash until its time is over.
fn run(root: &Path, name: &str, minutes: f64) -> Result<Outcome, String> {
    let program = paths(&root.join("target"))?
        .into_iter()
        .map(|path| path.join("release").join(name))
        .find(|path| path.is_file() && !path.starts_with(root.join("target/release")))
        .ok_or_else(|| format!("{name}: cargo fuzz left no program"))?;
    let crashes = root.join("crates/fuzz/crashes").join(name);
    let found = root.join("target/fuzz").join(name);
    for folder in [&crashes, &found] {
        fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    let before = paths(&crashes)?.len();
    let began = Instant::now();
    let mut executions = 0;
    loop {
        let left = 60.0 * minutes - began.elapsed().as_secs_f64();
        if left < 1.0 {
            break;
        }
        let output = Command::new(&program)
            .args([MOST_MEMORY, MOST_TIME, "-print_final_stats=1", "-use_value_profile=1"])
            .arg(format!("-max_total_time={}", left.ceil() as u64))
            .arg(format!("-artifact_prefix={}/", crashes.display()))
            .arg(&found)
            .args(Some(root.join("crates/fuzz/corpus").join(name)).filter(|own| own.is_dir()))
            .env("FACULTY_OWN_FILES", &found)
            // One core each.
            .env("RAYON_NUM_THREADS", "1")
            .stdin(Stdio::null())
            .output()
            .map_err(|e| format!("{name}: {e}"))?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let log = root.join("target/fuzz").join(format!("{name}.log"));
        fs::write(&log, &text).map_err(|e| format!("{}: {e}", log.display()))?;
        executions += text
            .lines()
            .filter_map(|line| line.strip_prefix("stat::number_of_executed_units:"))
            .filter_map(|number| number.trim().parse::<u64>().ok())
            .sum::<u64>();
        if output.status.success() {
            break;
        }
        let crashes = paths(&crashes)?.len() - before;
        if crashes == 0 {
            return Err(format!("{name} does not run, see {}", log.display()));
        }
        eprintln!("{name}: an input breaks it, see {}", log.display());
        // The same one again would say nothing new.
        if crashes >= 5 {
            break;
        }
    }
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    let (inputs, crashes) = (paths(&found)?.len(), paths(&crashes)?.len() - before);
    eprintln!("{name}: {executions} executions, {crashes} crashes");
    Ok(Outcome { name: name.to_owned(), executions, minutes, inputs, crashes })
}

fn paths(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    Ok(entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
}
