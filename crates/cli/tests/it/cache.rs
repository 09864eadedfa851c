//! `faculty cache`: killed at any moment, started twice at once, asked about its size.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::project::{self, Project, recipe};

/// A project with two trained teachers and a recipe `cached.toml`; the cache has small files, so
/// that a build has many moments to be killed in.
fn project() -> Project {
    let project = Project::new();
    for (name, seed) in [("a", "seed=5"), ("b", "seed=6")] {
        project.train(name, &["train.epochs=1", seed]);
    }
    let teachers: String = ["a", "b"]
        .iter()
        .map(|name| {
            format!(
                "[[teachers]]\nname = \"{name}\"\nnetwork = \"resnet8x0.5\"\n\
                 weights = \"{name}/student.safetensors\"\nallow_weak = true\n"
            )
        })
        .collect();
    let text = recipe("ca-mkd", &format!("{teachers}[cache]\npath = \"kept\"\nblock = 6\n"))
        .replace("crop_padding = 1", "crop_padding = 1\nviews = 8");
    project.write("cached.toml", text);
    project
}

/// Every finished file of the cache with its bytes; what a killed writer left is no such file, and
/// the lock holds the number of the last process.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.to_string_lossy().ends_with(".partial")
                && !path.file_name().unwrap().to_string_lossy().starts_with("lock")
            {
                all.insert(path.clone(), std::fs::read(path).unwrap());
            }
        }
    }
    all
}

fn command(project: &Project, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_faculty"));
    command
        .args(arguments)
        .current_dir(project.path("."))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

#[test]
fn a_builder_killed_20_times_at_random_moments_leaves_the_bytes_of_an_undisturbed_build() {
    let project = project();
    let cache = project.path("kept");
    let started = Instant::now();
    project.run(&["cache", "cached.toml"]).expect(0);
    let whole = started.elapsed();
    let expected = files(&cache);
    assert!(expected.len() > 100, "{} files", expected.len());
    std::fs::remove_dir_all(&cache).unwrap();

    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let (mut kills, mut in_the_middle) = (0, 0);
    while kills < 20 {
        let before = files(&cache);
        let mut child = command(&project, &["cache", "cached.toml"]).spawn().unwrap();
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        // Up to half of the time of a whole build.
        let share = (random >> 40) as f64 / (1_u64 << 24) as f64 / 2.0;
        std::thread::sleep(Duration::from_secs_f64(whole.as_secs_f64() * share));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        let after = files(&cache);
        for (path, bytes) in &before {
            assert!(after.get(path) == Some(bytes), "{} was changed", path.display());
        }
        for (path, bytes) in &after {
            assert!(expected.get(path) == Some(bytes), "{} is wrong", path.display());
        }
        if status.success() {
            // Finished before its kill: once more from the start.
            assert!(after == expected, "other bytes");
            std::fs::remove_dir_all(&cache).unwrap();
            continue;
        }
        kills += 1;
        in_the_middle += usize::from(!after.is_empty() && after.len() < expected.len());
    }
    assert!(in_the_middle >= 5, "only {in_the_middle} kills hit a build at work");
    project.run(&["cache", "cached.toml"]).expect(0);
    assert!(files(&cache) == expected, "other bytes");
    let partial = |path: &PathBuf| path.to_string_lossy().ends_with(".partial");
    let left: Vec<_> = project.files().into_iter().filter(partial).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn shares_in_any_order_and_at_once_killed_or_not_give_the_bytes_of_one_process() {
    let project = project();
    let cache = project.path("kept");
    project.run(&["cache", "cached.toml"]).expect(0);
    let expected = files(&cache);
    std::fs::remove_dir_all(&cache).unwrap();

    // One alone, which says what is missing; again, which finds nothing to do.
    let ran = project.run(&["cache", "cached.toml", "--shard", "2/3"]).expect(0);
    let text = "share 2/3 is built; still missing: shares 1/3, 3/3";
    assert!(ran.stdout.contains(text), "{}", ran.stdout);
    let written = files(&cache);
    assert!(written.iter().all(|(path, bytes)| expected.get(path) == Some(bytes)));
    assert!(written.len() > 20 && written.len() < expected.len(), "{}", written.len());
    let ran = project.run(&["cache", "cached.toml", "--shard", "2/3", "--json"]).expect(0).json();
    assert_eq!(ran["built"]["shards"], 0);
    assert_eq!(ran["built"]["missing_shares"], serde_json::json!(["1/3", "3/3"]));
    // A run that would need all of it says what is missing, or builds it; a check refuses.
    let ran = project.run(&["cache", "cached.toml", "--verify", "10"]).expect(2);
    assert!(ran.stderr.contains("is not complete"), "{}", ran.stderr);

    // Two at once, one of which is killed on its way, and those of another number of shares.
    let start = |share: &str| {
        command(&project, &["cache", "cached.toml", "--shard", share]).spawn().unwrap()
    };
    let (mut killed, mut first) = (start("3/3"), start("1/3"));
    std::thread::sleep(Duration::from_millis(300));
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(first.wait().unwrap().success());
    let mut at_once: Vec<_> = ["1/2", "3/3", "2/2"].into_iter().map(start).collect();
    for own in &mut at_once {
        assert!(own.wait().unwrap().success());
    }
    assert!(files(&cache) == expected, "other bytes");
    let ran = project.run(&["cache", "cached.toml", "--shard", "3/3"]).expect(0);
    assert!(ran.stdout.contains("nothing is missing of the others"), "{}", ran.stdout);
    project.run(&["cache", "cached.toml", "--verify", "50"]).expect(0);

    // The same share twice, and a share beside a builder of the whole.
    std::fs::remove_dir_all(&cache).unwrap();
    std::fs::create_dir_all(&cache).unwrap();
    for name in ["lock-2-of-3", "lock"] {
        for file in ["lock", name] {
            std::fs::File::create(cache.join(file)).unwrap();
        }
        let lock = std::fs::File::open(cache.join(name)).unwrap();
        lock.lock().unwrap();
        let ran = project.run(&["cache", "cached.toml", "--shard", "2/3"]).expect(2);
        assert!(ran.stderr.contains("another process builds `"), "{}", ran.stderr);
    }
    for share in ["0/3", "4/3", "3", "a/b"] {
        let ran = project.run(&["cache", "cached.toml", "--shard", share]).expect(2);
        assert!(ran.stderr.contains("write `I/N` with I from 1 to N"), "{}", ran.stderr);
    }
}

#[test]
fn distil_builds_the_cache_uses_it_and_gives_the_same_student_as_without() {
    let project = project();
    let ran = project.run(&["distill", "cached.toml", "--output", "first"]).expect(0);
    assert!(ran.stderr.contains("samples through the teachers, about"), "{}", ran.stderr);
    let ran = project.run(&["distill", "cached.toml", "--output", "again"]).expect(0);
    assert!(ran.stderr.contains("cache: `kept` is complete"), "{}", ran.stderr);
    // Every other seed needs the same views.
    let other = ["distill", "cached.toml", "--output", "seed", "--set", "seed=9"];
    let ran = project.run(&other).expect(2);
    assert!(ran.stderr.contains("set `data.view_seed = 3`"), "{}", ran.stderr);
    let same_views = [&other[..], &["--set", "data.view_seed=3"]].concat();
    project.run(&same_views).expect(0);
    let text = std::fs::read_to_string(project.path("cached.toml")).unwrap();
    let (without, _) = text.split_once("[cache]").unwrap();
    project.write("live.toml", without);
    project.run(&["distill", "live.toml", "--output", "live"]).expect(0);
    let student = |run: &str| std::fs::read(project.path(run).join("student.safetensors")).unwrap();
    assert!(student("first") == student("live"), "students differ");
    assert!(student("again") == student("live"), "students differ");
    // Plain training looks neither at the teachers nor at their cache.
    std::fs::remove_dir_all(project.path("kept")).unwrap();
    project.run(&["train", "cached.toml", "--output", "alone"]).expect(0);
    assert!(!project.path("kept").exists());
}

#[test]
fn a_dry_run_writes_nothing_and_tells_the_size_that_the_cache_then_has() {
    let project = project();
    let before = project.files();
    let ran = project.run(&["cache", "cached.toml", "--dry-run", "--json"]).expect(0);
    assert_eq!(project.files(), before);
    let plan = ran.json();
    assert_eq!(plan["event"], "plan");
    let estimate: u64 =
        plan["sizes"].as_array().unwrap().iter().map(|s| s["bytes"].as_u64().unwrap()).sum();
    assert_eq!(plan["estimate"]["bytes"].as_u64(), Some(estimate));
    assert_eq!(plan["estimate"]["missing_bytes"].as_u64(), Some(estimate));
    let result = project.run(&["cache", "cached.toml", "--json"]).expect(0).json();
    assert_eq!(result["event"], "result");
    assert_eq!(plan["estimate"]["images"], result["built"]["images"]);
    let shards: u64 = files(&project.path("kept"))
        .iter()
        .filter(|(path, _)| path.file_name().unwrap().to_string_lossy().starts_with('0'))
        .map(|(_, bytes)| bytes.len() as u64)
        .sum();
    assert_eq!(shards, estimate);
    let ran = project.run(&["cache", "cached.toml"]).expect(0);
    assert!(ran.stdout.contains("0 files written now"), "{}", ran.stdout);
}

#[test]
fn verification_answers_with_its_exit_code() {
    let project = project();
    let ran = project.run(&["cache", "cached.toml", "--verify", "10"]).expect(2);
    assert!(ran.stderr.contains("is not complete"), "{}", ran.stderr);
    project.run(&["cache", "cached.toml"]).expect(0);
    let ran = project.run(&["cache", "cached.toml", "--verify", "60"]).expect(0);
    assert!(ran.stdout.contains("60 records computed again"), "{}", ran.stdout);
    // The records of one teacher under the name of the other.
    for shard in 0..5 {
        for kind in ["logits", "map"] {
            let file = format!("{kind}/{shard:05}.safetensors");
            let from = project.path("kept/teachers/a").join(&file);
            std::fs::copy(from, project.path("kept/teachers/b").join(&file)).unwrap();
        }
    }
    for more in [&["--verify", "600"][..], &[]] {
        let ran = project.run(&[&["cache", "cached.toml"], more].concat()).expect(2);
        assert!(ran.stderr.contains("holds records of something else"), "{}", ran.stderr);
    }
}

#[test]
fn a_second_builder_a_recipe_without_a_cache_and_a_file_in_the_way_are_refused() {
    let project = project();
    std::fs::create_dir_all(project.path("kept")).unwrap();
    let lock = std::fs::File::create(project.path("kept/lock")).unwrap();
    lock.lock().unwrap();
    let ran = project.run(&["cache", "cached.toml"]).expect(2);
    assert!(ran.stderr.contains("another process builds `"), "{}", ran.stderr);
    drop(lock);
    project.run(&["cache", "cached.toml"]).expect(0);

    let ran = project.run(&["cache", "recipe.toml"]).expect(2);
    assert!(ran.stderr.contains("has no `[cache]`"), "{}", ran.stderr);
    let text = std::fs::read_to_string(project.path("cached.toml")).unwrap();
    project.write("endless.toml", text.replace("views = 8\n", ""));
    let ran = project.run(&["cache", "endless.toml"]).expect(2);
    assert!(ran.stderr.contains("a cache needs a limited number of views"), "{}", ran.stderr);
    assert!(ran.stderr.contains("endless.toml:"), "{}", ran.stderr);
    project.write("wall", "in the way");
    let ran = project.run(&["cache", "cached.toml", "--set", "cache.path=wall/cache"]).expect(2);
    assert!(ran.stderr.contains("wall/cache") && ran.stderr.contains("hint: "), "{}", ran.stderr);
}

/// The example of `docs/cache.md`, where Python has what it needs.
#[test]
fn python_reads_the_cache_as_documented() {
    let python = std::env::var_os("FACULTY_PYTHON").unwrap_or_else(|| "python3".into());
    let ready = Command::new(&python)
        .args(["-c", "import numpy, safetensors"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !ready {
        println!("skipped: no Python with numpy and safetensors; FACULTY_PYTHON names one");
        return;
    }
    let project = project();
    project.run(&["cache", "cached.toml"]).expect(0);
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cache.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let code = docs.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    assert!(code.lines().count() <= 10);
    project.write("read.py", code.replace("cache/recipe", "kept"));
    let run = Command::new(python).arg("read.py").current_dir(project.path(".")).output().unwrap();
    let (out, errors) =
        (String::from_utf8(run.stdout).unwrap(), String::from_utf8(run.stderr).unwrap());
    assert!(run.status.success(), "{errors}");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 2, "{out}");
    assert!(lines[0].starts_with("a 8 (") && lines[1].contains(", 8, 3) "), "{out}");
}

#[cfg(unix)]
#[test]
fn an_interrupted_build_exits_with_130_and_goes_on() {
    let project = project();
    let mut child = command(&project, &["cache", "cached.toml"]).spawn().unwrap();
    let cache = project.path("kept");
    let started = Instant::now();
    while files(&cache).len() < 10 {
        assert!(started.elapsed() < Duration::from_secs(60), "the build does not begin");
        std::thread::sleep(Duration::from_millis(1));
    }
    project::signal(&child, "-TERM");
    // It may have been done before the signal.
    let code = child.wait().unwrap().code();
    assert!(code == Some(130) || code == Some(0), "{code:?}");
    let kept = files(&cache);
    project.run(&["cache", "cached.toml"]).expect(0);
    let after = files(&cache);
    assert!(kept.iter().all(|(path, bytes)| after.get(path) == Some(bytes)));
}

#[cfg(not(feature = "mpi"))]
#[test]
fn several_processes_of_a_launcher_are_refused_without_mpi_and_shares_of_them_are_not() {
    let project = project();
    let run = |arguments: &[&str]| {
        let mut command = command(&project, arguments);
        let output =
            command.env("OMPI_COMM_WORLD_SIZE", "3").stderr(Stdio::piped()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for arguments in
        [["cache", "cached.toml"], ["distill", "cached.toml"], ["train", "recipe.toml"]]
    {
        let (code, text) = run(&arguments);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains("started 3 times, and this program was built without MPI"), "{text}");
        assert!(text.contains("--features mpi"), "{text}");
    }
    let (code, text) = run(&["cache", "cached.toml", "--shard", "1/3"]);
    assert_eq!(code, Some(0), "{text}");
}
