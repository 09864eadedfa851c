//! Runs that are killed, stopped and started twice: nothing lost, nothing half written, and in the
//! end the student of the undisturbed run. See `docs/reliability.md`.
#![cfg(unix)]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::project::{Project, TEACHERS, recipe, signal};

/// Methods that the kill test runs: plain, weighing, with trained parts, with networks that are
/// trained between steps, with heads that are trained before.
const METHODS: [&str; 5] = ["ce", "ca-mkd", "amtml-kd", "mmkd", "dih"];

/// Kills of each method, half of them with a cache if it has teachers; `FACULTY_KILLS=100` is the full count.
fn kills() -> usize {
    std::env::var("FACULTY_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

fn start(project: &Project, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_faculty"))
        .args(arguments)
        .current_dir(project.path("."))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Numbers in 0..1, the same in every run of the test.
fn random(state: &mut u64) -> f64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 40) as f64 / (1_u64 << 24) as f64
}

fn timeless(mut record: Value) -> Value {
    let times = ["images_per_second", "data_wait_seconds", "teacher_seconds", "loss_seconds"];
    let record_map = record.as_object_mut().unwrap();
    times.iter().chain(&["seconds"]).for_each(|key| drop(record_map.remove(*key)));
    record
}

/// Everything that a run leaves, without what depends on the clock. The report's page is made of the
/// last three.
fn result(folder: &Path) -> (Vec<u8>, Vec<Value>, [Value; 2]) {
    let text = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let json = |text: &str| timeless(serde_json::from_str(text).unwrap());
    let metrics = text("metrics.jsonl").lines().map(json).collect();
    let records = ["card.json", "report.json"].map(|name| json(&text(name)));
    (std::fs::read(folder.join("student.safetensors")).unwrap(), metrics, records)
}

/// No file under its final name is half written.
fn all_whole(project: &Project) {
    for path in project.files() {
        let bytes = || std::fs::read(&path).unwrap();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => drop(serde_json::from_slice::<Value>(&bytes()).unwrap()),
            Some("jsonl") => bytes().split(|&byte| byte == b'\n').for_each(|line| {
                assert!(line.is_empty() || serde_json::from_slice::<Value>(line).is_ok());
            }),
            // Its header says how long the file is.
            Some("safetensors") => {
                let bytes = bytes();
                let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
                let header: Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
                let ends = header.as_object().unwrap().values();
                let end = ends.filter_map(|own| own["data_offsets"][1].as_u64()).max().unwrap();
                let start = u64::from_le_bytes(bytes[..8].try_into().unwrap()) + 8;
                assert_eq!(bytes.len() as u64, start + end, "{}", path.display());
            }
            _ => {}
        }
    }
}

#[test]
fn a_run_killed_at_random_moments_ends_like_the_undisturbed_run() {
    let project = Project::new();
    for (name, seed) in [("a", "seed=5"), ("b", "seed=6")] {
        project.train(name, &["train.epochs=1", seed]);
    }
    let mut state = 0x2545_f491_4f6c_dd1d;
    for method in METHODS {
        // Plain training has no cache.
        let with_cache = if method == "ce" { &[false][..] } else { &[false, true] };
        for &cached in with_cache {
            let teachers = if method == "ce" { "" } else { TEACHERS };
            let cache = if cached { "[cache]\npath = \"kept\"\nblock = 20\n" } else { "" };
            let text = recipe(method, &format!("checkpoint_minutes = 0\n{teachers}{cache}"));
            project.write("own.toml", text.replace("[student]", "views = 2\n[student]"));
            let command = if method == "ce" { "train" } else { "distill" };
            let folder = project.path("run");
            let clear = || {
                for own in ["run", "kept", "heads"] {
                    let _ = std::fs::remove_dir_all(project.path(own));
                }
            };
            clear();
            let began = Instant::now();
            project.run(&[command, "own.toml", "--output", "run"]).expect(0);
            let whole = began.elapsed();
            let expected = result(&folder);
            clear();

            let began = Instant::now();
            let (mut done, mut in_the_middle, mut finished) = (0, 0, 0);
            loop {
                // Always so: killed before it wrote anything, the run begins again.
                let arguments = [command, "own.toml", "--output", "run", "--resume"];
                let mut child = start(&project, &arguments);
                let last_round = done >= kills().div_ceil(with_cache.len());
                if !last_round {
                    std::thread::sleep(whole.mul_f64(0.8 * random(&mut state)));
                    child.kill().unwrap();
                }
                let output = child.wait_with_output().unwrap();
                let error = String::from_utf8_lossy(&output.stderr);
                if output.status.success() {
                    let own = result(&folder);
                    assert!(own.0 == expected.0, "{method}: students differ");
                    assert_eq!(own.1, expected.1, "{method}");
                    assert_eq!(own.2, expected.2, "{method}");
                    finished += 1;
                    clear();
                    if last_round {
                        break;
                    }
                    continue;
                }
                assert_eq!(output.status.code(), None, "{method}: {error}");
                all_whole(&project);
                done += 1;
                let middle = folder.join("checkpoints/last.safetensors").exists();
                in_the_middle += usize::from(middle);
            }
            println!(
                "{method}{}: {done} kills, {in_the_middle} with a checkpoint to go on from, \
                 {finished} runs ended like the undisturbed one, {:.0} s",
                if cached { " with a cache" } else { "" },
                began.elapsed().as_secs_f64()
            );
        }
    }
}

/// A run of many epochs that has written its first checkpoint.
fn long_run(project: &Project) -> (Child, BufReader<std::process::ChildStdout>) {
    let long = ["train", "recipe.toml", "--set", "train.epochs=2000", "--json"];
    let mut child = start(project, &long);
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("\"event\":\"epoch\"") {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "the run ended");
    }
    (child, lines)
}

/// Waits for the end; gives the exit code and stderr.
fn end(child: Child, lines: BufReader<std::process::ChildStdout>) -> (Option<i32>, String) {
    // Read on, so that the program never waits for a reader.
    lines.lines().for_each(drop);
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn ctrl_c_and_sigterm_save_exit_with_130_and_say_how_to_go_on() {
    if crate::project::ignores_interrupts(
        "ctrl_c_and_sigterm_save_exit_with_130_and_say_how_to_go_on",
    ) {
        return;
    }
    let project = Project::new();
    let folder: PathBuf = project.path("runs/recipe");
    for name in ["-INT", "-TERM"] {
        let _ = std::fs::remove_dir_all(&folder);
        let (child, lines) = long_run(&project);
        signal(&child, name);
        let (code, stderr) = end(child, lines);
        assert_eq!(code, Some(130), "{name}: {stderr}");
        assert!(stderr.contains("then saving; press Ctrl-C again to quit now"), "{stderr}");
        assert!(stderr.contains("continue from it with `--resume`"), "{stderr}");
        assert!(folder.join("checkpoints/last.safetensors").exists());
        assert!(!folder.join("student.safetensors").exists());
        let again = project.run(&["train", "recipe.toml"]).expect(2);
        assert!(again.stderr.contains("continue it with `--resume`"), "{}", again.stderr);
    }
    // Where it stopped: in an epoch, named in the error.
    let short = ["train", "recipe.toml", "--resume"];
    let ran = project.run(&short).expect(2);
    assert!(ran.stderr.contains("`train.epochs` (then 2000, now 2)"), "{}", ran.stderr);
    assert!(ran.stderr.contains("`--resume-with train.epochs=2` resumes"), "{}", ran.stderr);
}

#[test]
fn a_comparison_passes_a_signal_on_to_its_programs_which_save_and_end() {
    let project = Project::new();
    project.train("a", &["train.epochs=1", "seed=5"]);
    project.train("b", &["train.epochs=1", "seed=6"]);
    project.write("aver.toml", recipe("aver", TEACHERS));
    let arguments = ["compare", "aver.toml", "--methods", "aver", "--jobs", "2", "--output", "own"];
    let child = start(&project, &[&arguments[..], &["--set", "train.epochs=2000"]].concat());
    let runs = ["ce", "aver"].map(|name| project.path("own").join(name).join("seed3"));
    let began = Instant::now();
    while !runs.iter().all(|run| run.join("checkpoints/last.safetensors").exists()) {
        assert!(began.elapsed() < Duration::from_secs(120), "no checkpoint");
        std::thread::sleep(Duration::from_millis(20));
    }
    // To the comparison alone, as a service manager does it.
    let asked = Instant::now();
    signal(&child, "-TERM");
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(asked.elapsed() < Duration::from_secs(30), "waited {:?}", asked.elapsed());
    for name in ["ce", "aver"] {
        let log = project.path("own/logs").join(format!("{name}-seed3.log"));
        let log = std::fs::read_to_string(log).unwrap();
        assert!(log.contains("continue from it with `--resume`"), "{name}: {log}");
    }
}

#[test]
fn resume_with_goes_on_with_the_named_change_alone() {
    let project = Project::new();
    project.run(&["train", "recipe.toml", "--set", "train.schedule=constant"]).expect(0);
    let longer = ["train", "recipe.toml", "--resume-with", "train.epochs=4"];
    let refused = project.run(&longer).expect(2);
    assert!(refused.stderr.contains("`train.schedule` (then"), "{}", refused.stderr);
    let both = [&longer[..], &["--set", "train.schedule=constant", "--json"]].concat();
    let card = project.run(&both).expect(0).json();
    assert_eq!(card["card"]["last"]["epoch"], 4);
    assert_eq!(card["card"]["changes"][0]["key"], "train.epochs");
    let refused = project.run(&["train", "recipe.toml", "--resume-with", "seed=9"]).expect(2);
    assert!(refused.stderr.contains("`seed` cannot change in the middle"), "{}", refused.stderr);
    let refused = project.run(&["train", "recipe.toml", "--resume-with", "seed"]).expect(2);
    assert!(refused.stderr.contains("has no `=`"), "{}", refused.stderr);
}

#[test]
fn a_second_process_is_refused_with_the_first_ones_number_until_that_is_dead() {
    let project = Project::new();
    let (mut child, lines) = long_run(&project);
    let arguments = ["train", "recipe.toml", "--set", "train.epochs=2000", "--resume"];
    let second = project.run(&arguments).expect(2);
    let owner = format!("process {} on ", child.id());
    assert!(second.stderr.contains(&owner), "{}", second.stderr);
    assert!(second.stderr.contains("use another folder"), "{}", second.stderr);
    child.kill().unwrap();
    end(child, lines);
    // Its lock file is still there, and no obstacle.
    assert!(project.path("runs/recipe/lock").exists());
    let third = start(&project, &arguments);
    std::thread::sleep(Duration::from_millis(300));
    signal(&third, "-INT");
    let output = third.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("already"), "{stderr}");
}

#[test]
fn a_run_that_failed_can_be_reported_exported_and_gone_on_with() {
    let project = Project::new();
    let (mut child, lines) = long_run(&project);
    child.kill().unwrap();
    end(child, lines);
    // Then it breaks down.
    let broken = ["train", "recipe.toml", "--set", "train.epochs=2000"];
    let broken = [&broken[..], &["--resume-with", "train.learning_rate=1e38"]].concat();
    project.run(&broken).expect(1);
    let report = project.run(&["report", "runs/recipe"]).expect(0);
    assert!(report.stderr.contains("is not finished"), "{}", report.stderr);
    assert!(project.path("runs/recipe/report.html").exists());
    for student in ["x.onnx", "x.safetensors"] {
        let kind = format!("--{}", student.split_once('.').unwrap().1);
        let export = project.run(&["export", "runs/recipe", &kind, student]).expect(0);
        assert!(export.stderr.contains("the best so far"), "{}", export.stderr);
        assert!(project.path(student).exists());
    }
    let short = ["--resume-with", "train.epochs=60", "--resume-with", "train.learning_rate=0.01"];
    let ran = project.run(&[&["train", "recipe.toml"], &short[..]].concat()).expect(0);
    assert!(project.path("runs/recipe/student.safetensors").exists(), "{}", ran.stderr);
}

#[test]
fn each_vector_width_gives_the_same_bytes_on_any_number_of_threads() {
    let project = Project::new();
    project.train("a", &["train.epochs=1", "seed=5"]);
    project.train("b", &["train.epochs=1", "seed=6"]);
    project.write("own.toml", recipe("ca-mkd", TEACHERS));
    let mut logits = Vec::new();
    for isa in ["scalar", "avx2", "avx512"] {
        let train = |threads: &str| {
            let folder = format!("{isa}-{threads}");
            let output = Command::new(env!("CARGO_BIN_EXE_faculty"))
                .args(["distill", "own.toml", "--set", "train.epochs=1", "--output", &folder])
                .args(["--set", &format!("train.threads={threads}")])
                .env("FACULTY_ISA", isa)
                .current_dir(project.path("."))
                .output()
                .unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            result(&project.path(&folder))
        };
        let [one, three] = ["1", "3"].map(train);
        let used = one.2[0]["kernels"].as_str().unwrap().to_owned();
        assert!(one.0 == three.0 && one.1 == three.1 && one.2 == three.2, "{isa}");
        println!("FACULTY_ISA={isa} used {used}");
        logits.push((used, one.1[0]["loss"].as_f64().unwrap()));
    }
    // Widths differ by rounding, no more.
    for (used, loss) in &logits {
        assert!((loss - logits[0].1).abs() < 1e-3 * loss.abs(), "{used}: {loss} {}", logits[0].1);
    }
}

#[test]
fn every_folder_that_a_command_writes_is_locked() {
    let project = Project::new();
    project.train("a", &["train.epochs=1", "seed=5"]);
    project.train("b", &["train.epochs=1", "seed=6"]);
    let cache = format!("{TEACHERS}[cache]\npath = \"kept\"\n[heads]\npath = \"mounted\"\n");
    let text = recipe("ca-mkd", &cache).replace("[student]", "views = 1\n[student]");
    project.write("own.toml", text);
    let live = format!("{TEACHERS}[heads]\npath = \"mounted\"\n");
    project.write("live.toml", recipe("ca-mkd", &live));
    let compare = ["compare", "live.toml", "--methods", "aver", "--output", "comparison"];
    let sweep = ["compare", "live.toml", "--sweep", "method.alpha=0.5", "--output", "sweep"];
    let ablate = ["teachers", "live.toml", "--ablate", "--output", "ablation"];
    for (arguments, folder) in [
        (&["distill", "live.toml", "--output", "run"][..], "run"),
        (&compare, "comparison"),
        (&[&compare[..], &["--jobs", "2"]].concat(), "comparison"),
        (&sweep, "sweep"),
        (&ablate, "ablation"),
        (&["cache", "own.toml"], "kept"),
        (&["distill", "live.toml", "--set", "method.name=dih", "--output", "x"], "mounted"),
    ] {
        std::fs::create_dir_all(project.path(folder)).unwrap();
        let lock = std::fs::File::create(project.path(folder).join("lock")).unwrap();
        lock.try_lock().unwrap();
        let ran = project.run(arguments).expect(2);
        let reported = ran.stderr.contains("another process") && ran.stderr.contains("use another");
        assert!(reported, "{arguments:?}: {}", ran.stderr);
    }
}
