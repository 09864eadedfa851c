//! Edges of the process: where stdout goes, signals that are ignored, programs without their parent,
//! hostile names and links, numbers that are none.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use faculty_data::idx;

use crate::project::{Project, TEACHERS, bands, recipe, signal};

fn program(project: &Project, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_faculty"));
    command.args(arguments).current_dir(project.path("."));
    command
}

/// Waits until `done`, at most two minutes.
#[track_caller]
fn wait_for(what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(120), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn with_teachers() -> Project {
    let project = Project::new();
    for (name, seed) in [("a", "seed=5"), ("b", "seed=6")] {
        project.train(name, &["train.epochs=1", seed]);
    }
    project.write("own.toml", recipe("aver", TEACHERS));
    project
}

#[test]
fn a_full_disk_under_stdout_is_an_error_of_every_command() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    let project = with_teachers();
    let picture = image::GrayImage::from_pixel(8, 8, image::Luma([9]));
    picture.save(project.path("x.png")).unwrap();
    let small = ["--set", "train.epochs=1"];
    let train = ["train", "recipe.toml", "--output"];
    let compare = ["compare", "own.toml", "--methods", "aver", "--output"];
    for arguments in [
        &["datasets"][..],
        &["datasets", "--json"],
        &["datasets", "bands"],
        &["datasets", "bands", "--ids"],
        &["datasets", "bands", "--json"],
        &["methods"],
        &["methods", "kd"],
        &["methods", "--json"],
        &["networks"],
        &["networks", "--json"],
        &["explain", "own.toml"],
        &["explain", "own.toml", "--json"],
        &["teachers", "own.toml"],
        &["teachers", "own.toml", "--json"],
        &["evaluate", "a"],
        &["evaluate", "a", "--json"],
        &["predict", "a", "x.png"],
        &["predict", "a", "x.png", "--json"],
        &["report", "a"],
        &["report", "a", "--csv"],
        &["report", "a", "--markdown"],
        &["report", "a", "--latex"],
        &["report", "a", "--json"],
        &["bench-model", "a"],
        &["bench-model", "a", "--json"],
        &["export", "a", "--onnx", "a.onnx", "--json"],
        &["completions", "bash"],
        &["man"],
        &["--help"],
        &["--version"],
        &["help", "distill"],
        &[&train[..], &["run"], &small].concat(),
        &[&train[..], &["run-json", "--json"], &small].concat(),
        &[&compare[..], &["comparison"], &small].concat(),
        &[&compare[..], &["comparison-json", "--json"], &small].concat(),
        &[
            &[
                "compare",
                "own.toml",
                "--sweep",
                "train.learning_rate=0.05,0.1",
                "--output",
                "sweep",
            ],
            &small[..],
        ]
        .concat(),
    ] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = program(&project, arguments).stdout(full).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        let message = "error: cannot write to stdout: No space left";
        assert!(stderr.contains(message), "{arguments:?}: {stderr}");
    }
    // What a run has written stays.
    assert!(project.path("run-json/card.json").exists());
}

#[test]
fn a_reader_that_has_gone_away_is_no_error() {
    let project = Project::new();
    for arguments in [&["datasets", "bands", "--ids"][..], &["methods", "--json"], &["--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = program(&project, arguments).stdout(writer).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*stderr), (Some(0), ""), "{arguments:?}");
    }
}

/// A shell that ignores signals, as `nohup` and scripts do for what runs in the background.
#[cfg(target_os = "linux")]
#[test]
fn signals_that_were_ignored_stay_ignored() {
    let project = Project::new();
    let checkpoint = project.path("run/checkpoints/last.safetensors");
    for threads in ["", " --set train.threads=2"] {
        let _ = fs::remove_dir_all(project.path("run"));
        let script = format!(
            "trap '' HUP INT; exec \"$0\" train recipe.toml --output run --set train.epochs=100000{threads}"
        );
        let child = Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_faculty")])
            .current_dir(project.path("."))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        wait_for("no checkpoint", || checkpoint.exists());
        signal(&child, "-HUP");
        signal(&child, "-INT");
        let epochs =
            || fs::read_to_string(project.path("run/metrics.jsonl")).unwrap().lines().count();
        let before = epochs();
        wait_for("it was stopped", || epochs() > before + 3);
        signal(&child, "-TERM");
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{stderr}");
    }
}

/// Whether another process holds the lock of a folder.
fn is_locked(folder: &Path) -> bool {
    let file = fs::File::open(folder.join("lock"));
    file.is_ok_and(|file| matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock)))
}

#[test]
fn programs_of_a_killed_comparison_save_and_end_and_the_next_one_waits_for_them() {
    let project = with_teachers();
    let arguments = ["compare", "own.toml", "--methods", "aver", "--jobs", "2", "--output", "all"];
    let long = [&arguments[..], &["--set", "train.epochs=2000"]].concat();
    let runs = ["ce", "aver"].map(|name| project.path("all").join(name).join("seed3"));
    let begin = || -> Child {
        let child = program(&project, &long).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let child = child.unwrap();
        let whole = |run: &std::path::PathBuf| run.join("checkpoints/last.safetensors").exists();
        wait_for("no checkpoint", || runs.iter().all(|run| whole(run) && is_locked(run)));
        child
    };
    let mut child = begin();
    child.kill().unwrap();
    child.wait().unwrap();
    // At once: it waits for the two and goes on from what they saved.
    let owners = || runs.each_ref().map(|run| fs::read_to_string(run.join("lock")).unwrap());
    let before = owners();
    let second = begin();
    let others = || owners().iter().zip(&before).all(|(now, then)| !now.is_empty() && now != then);
    wait_for("the second start has no programs", others);
    signal(&second, "-TERM");
    let output = second.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(!stderr.contains("already"), "{stderr}");

    let before = owners();
    let mut third = begin();
    let others = || owners().iter().zip(&before).all(|(now, then)| !now.is_empty() && now != then);
    wait_for("the third start has no programs", others);
    third.kill().unwrap();
    third.wait().unwrap();
    wait_for("programs go on alone", || !runs.iter().any(|run| is_locked(run)));
    for name in ["ce", "aver"] {
        let log = project.path("all/logs").join(format!("{name}-seed3.log"));
        let log = fs::read_to_string(log).unwrap();
        assert!(log.contains("the comparison has ended"), "{name}: {log}");
        assert!(log.contains("continue from it with `--resume`"), "{name}: {log}");
    }
}

/// Sets the title, clears the screen, turns the text around, ends cells, quotes and fences.
const HOSTILE: &str = "\u{1b}]0;PWNED\u{7}\u{1b}[2J\u{202e}<img src=q onerror=alert(1)>|=x`y";

#[track_caller]
fn is_plain(what: &str, text: &str) {
    let obeyed = |c: &char| (c.is_control() && !matches!(c, '\n' | '\t')) || *c == '\u{202e}';
    assert_eq!(text.chars().find(obeyed), None, "{what}: {text:?}");
}

#[test]
fn names_from_data_and_files_are_text_wherever_they_are_shown() {
    let project = Project::new();
    let classes = [HOSTILE, "middle", "bottom"].map(str::to_owned);
    idx::write(&project.path("hostile"), &bands(240, 1), Some(&bands(60, 2)), &classes).unwrap();
    let name = r#"name = "x\n````\n<img src=z>\u001b]0;T\u0007"
"#;
    let text = recipe("ce", "").replace("\"bands\"", "\"hostile\"");
    project.write("hostile.toml", format!("{name}{text}"));
    let picture = image::GrayImage::from_pixel(8, 8, image::Luma([9]));
    picture.save(project.path("x\u{1b}[2J.png")).unwrap();
    project.run(&["train", "hostile.toml", "--output", "run"]).expect(0);
    for arguments in [
        &["datasets", "hostile"][..],
        &["datasets", "hostile", "--json"],
        &["predict", "run", "x\u{1b}[2J.png", "--top", "3"],
        &["predict", "run", "x\u{1b}[2J.png", "--top", "3", "--json"],
        &["report", "run"],
        &["report", "run", "--markdown"],
        &["report", "run", "--latex"],
        &["report", "run", "--csv"],
        &["report", "run", "--json"],
        &["export", "run", "--card", "card"],
        &["explain", "hostile.toml"],
        &["evaluate", "run"],
    ] {
        let ran = project.run(arguments).expect(0);
        is_plain(&arguments.join(" "), &(ran.stdout + &ran.stderr));
    }
    // The value is the same for who reads it by program.
    let data = project.run(&["datasets", "hostile", "--json"]).expect(0).json();
    assert_eq!(data["dataset"]["classes"][0], HOSTILE);

    let card = fs::read_to_string(project.path("card/model-card.md")).unwrap();
    is_plain("model-card.md", &card);
    assert!(!card.replace("\\|", "").contains("|=x"), "{card}");
    let (text, recipe) = card.split_once("The resolved recipe:").unwrap();
    assert!(text.contains("\\<img src=q") && !text.replace("\\<", "").contains('<'), "{card}");
    let fence = recipe.trim().lines().next().unwrap().trim_end_matches("toml");
    assert_eq!(recipe.lines().filter(|line| line.starts_with(fence)).count(), 2, "{recipe}");
    // No path of this machine, in the page or the file for programs.
    let json = fs::read_to_string(project.path("card/model-card.json")).unwrap();
    let folder = project.path(".").canonicalize().unwrap().display().to_string();
    for text in [&card, &json] {
        assert!(!text.contains(&*folder) && text.contains("path = "), "{text}");
    }
    let page = fs::read_to_string(project.path("run/report.html")).unwrap();
    assert!(!page.contains("<img src=q"));

    // A network's name in a stranger's weight file, and a file's own name.
    let weights = fs::read(project.path("run/student.safetensors")).unwrap();
    let at = weights.windows(11).position(|own| own == b"resnet8x0.5").unwrap();
    let mut changed = weights.clone();
    changed[at..at + 11].copy_from_slice(b"r\\u001b[2J.");
    project.write("st\u{1b}[31m.safetensors", &changed);
    let arguments = ["evaluate", "--weights", "st\u{1b}[31m.safetensors", "--data", "hostile"];
    let ran = project.run(&arguments).expect(2);
    is_plain("evaluate", &ran.stderr);
    assert!(ran.stderr.contains("u{1b}[2J."), "{}", ran.stderr);
}

#[test]
fn a_strangers_run_folder_writes_nothing_outside() {
    let project = Project::new();
    project.train("run", &["train.epochs=1"]);
    let precious = project.path("precious");
    let hostile = |name: &str, target: &Path| {
        let _ = fs::remove_dir_all(project.path("own"));
        copy(&project.path("run"), &project.path("own"));
        let _ = fs::remove_file(project.path("own").join(name));
        symlink(target, project.path("own").join(name)).unwrap();
    };
    fs::create_dir(project.path("models")).unwrap();
    let unharmed = |what: &str| {
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious", "{what}");
        assert_eq!(fs::read_to_string(project.path("models/last.safetensors")).unwrap(), "kept");
    };
    project.write("precious", "precious");
    project.write("models/last.safetensors", "kept");
    let train = ["train", "recipe.toml", "--output", "own", "--set", "train.epochs=2"];
    let longer = [&train[..4], &["--resume-with", "train.epochs=2"]].concat();
    let again = [&train[..], &["--overwrite"]].concat();
    for name in [
        "report.html.partial",
        "report.html",
        "student.safetensors.partial",
        "checkpoints/last.partial",
        "metrics.jsonl",
        "events.out.tfevents.faculty",
        "lock",
        "card.json",
        "bench.json",
    ] {
        hostile(name, &precious);
        let measured = if name == "bench.json" { "bench-model" } else { "report" };
        for arguments in [&[measured, "own"][..], &longer, &again] {
            project.run(arguments);
            unharmed(&format!("{name}: {arguments:?}"));
        }
    }
    // A whole folder that leads elsewhere.
    let _ = fs::remove_dir_all(project.path("own"));
    copy(&project.path("run"), &project.path("own"));
    fs::remove_dir_all(project.path("own/checkpoints")).unwrap();
    symlink(project.path("models"), project.path("own/checkpoints")).unwrap();
    for arguments in [&longer, &again] {
        let ran = project.run(arguments).expect(2);
        unharmed(&ran.stderr);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, target).unwrap();
        }
    }
}

#[test]
fn a_run_writes_in_no_folder_of_something_else() {
    let project = Project::new();
    project.write("thesis/chapter1.tex", "text");
    let before = project.files();
    for folder in ["/", "thesis", "."] {
        for more in [&[][..], &["--resume"], &["--overwrite"]] {
            let arguments = [&["train", "recipe.toml", "--output", folder], more].concat();
            let mut command = program(&project, &arguments);
            let output = command.env("HOME", project.path(".")).output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{folder}: {stderr}");
            assert!(stderr.contains("no folder for results"), "{folder} {more:?}: {stderr}");
        }
    }
    assert_eq!(project.files(), before);
    // An empty one is as good as none.
    fs::create_dir(project.path("empty")).unwrap();
    project.train("empty", &["train.epochs=1"]);
}

/// At this rate all weights and losses of the few steps are numbers, the answers are not.
#[test]
fn a_diverged_run_says_no_and_goes_on_with_a_lower_rate() {
    let project = Project::new();
    for epochs in ["1", "3"] {
        let diverging =
            ["train", "recipe.toml", "--output", epochs, "--set", "data.train_samples=70"];
        let epochs_set = format!("train.epochs={epochs}");
        let diverging = [&diverging[..], &["--set", &epochs_set]].concat();
        let hot = [&diverging[..], &["--set", "train.learning_rate=1e15"]].concat();
        let ran = project.run(&hot).expect(1);
        assert!(ran.stderr.contains("became"), "{}", ran.stderr);
        assert!(!project.path(epochs).join("student.safetensors").exists());
        project.run(&["report", epochs]).expect(0);
        let lower = [&diverging[..], &["--resume-with", "train.learning_rate=0.01"]].concat();
        project.run(&lower).expect(0);
        project.run(&["evaluate", epochs]).expect(0);
    }
}
