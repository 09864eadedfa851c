//! `faculty compare`: killed and started again, refusals, its files.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::project::{self, Project, TEACHERS, recipe};

/// The demo's recipe, with its paths as they are in the source tree, and a small budget.
fn demo(project: &Project) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo");
    let text = std::fs::read_to_string(folder.join("distill.toml")).unwrap();
    let at = |name: &str| format!("\"{}", folder.join(name).display());
    let text = text
        .replace("\"fashion-mnist", &at("fashion-mnist"))
        .replace("\"teachers/", &(at("teachers") + "/"))
        .replace("[data]", "[data]\ntrain_samples = 700")
        .replace("epochs = 6", "epochs = 2");
    project.write("demo.toml", text);
}

/// The table without its last column, the seconds, which are never the same.
fn timeless(table: &str) -> String {
    // The seconds stand in front of the part.
    let line = |line: &str| {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        if let [.., seconds, "part" | "test" | "validation"] = words[..]
            && (seconds == "s/epoch" || seconds.parse::<f64>().is_ok())
        {
            words.remove(words.len() - 2);
        }
        words.join(" ")
    };
    table
        .lines()
        .filter(|own| !own.starts_with("files:") && !own.starts_with("report:"))
        .map(|own| line(own) + "\n")
        .collect()
}

/// The same of the file; a number that went through a file twice may differ in its last digit.
fn without_seconds(path: &Path) -> serde_json::Value {
    fn strip(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(map) => {
                map.remove("seconds_per_epoch");
                map.values_mut().for_each(strip);
            }
            serde_json::Value::Array(items) => items.iter_mut().for_each(strip),
            serde_json::Value::Number(number) if number.is_f64() => {
                *value = format!("{:.9}", number.as_f64().unwrap()).into();
            }
            _ => {}
        }
    }
    let mut value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    strip(&mut value);
    value
}

fn spawn(project: &Project, arguments: &[&str]) -> std::process::Child {
    Command::new(env!("CARGO_BIN_EXE_faculty"))
        .args(arguments)
        .current_dir(project.path("."))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn killed_twice_and_started_again_it_gives_the_table_of_an_undisturbed_comparison() {
    let project = Project::new();
    demo(&project);
    let methods = "aver,ca-mkd,ebkd,mean-of-logits";
    let to =
        |output| ["compare", "demo.toml", "--methods", methods, "--seeds", "3", "--output", output];
    let undisturbed = project.run(&to("calm")).expect(0);
    for part in ["teacher ada (resnet14)", "ensemble", "\nce ", "\nca-mkd ", "reference"] {
        assert!(undisturbed.stdout.contains(part), "no `{part}` in:\n{}", undisturbed.stdout);
    }
    // The verdict comes first, then what it would take, then a table for 80 columns.
    let mut blocks = undisturbed.stdout.split("\n\n");
    let verdict = blocks.next().unwrap();
    assert!(verdict.contains("better than aver") && verdict.contains("on 3 seeds"), "{verdict}");
    let table = blocks.next().unwrap();
    assert!(table.contains("mean-of-logits") && table.contains("NLL"), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");

    let count = |name: &str| {
        let names = project.files();
        let of_killed = |path: &&std::path::PathBuf| {
            path.starts_with(project.path("killed")) && path.ends_with(name)
        };
        names.iter().filter(of_killed).count()
    };
    let cards = || count("card.json");
    // In the first run, and when some are finished: by what has appeared, however fast that is.
    let mut finished = Vec::new();
    for (name, enough) in [("metrics.jsonl", 1), ("card.json", 3)] {
        let mut child = spawn(&project, &to("killed"));
        while count(name) < enough {
            assert_eq!(child.try_wait().unwrap(), None, "it ended before it was killed");
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        finished.push(cards());
    }
    let ran = project.run(&to("killed")).expect(0);
    let last = *finished.last().unwrap();
    assert!(last < 15, "{finished:?}: the kills came too late");
    if last > 0 {
        let kept = format!("{last} of 15 runs are finished already and kept");
        assert!(ran.stderr.contains(&kept), "{kept}: {}", ran.stderr);
    }
    assert_eq!(timeless(&ran.stdout), timeless(&undisturbed.stdout));
    let file = |folder: &str| without_seconds(&project.path(folder).join("comparison.json"));
    assert_eq!(file("killed"), file("calm"));

    // Once more: nothing is left to do. Another budget is another comparison.
    let again = project.run(&to("killed")).expect(0);
    assert!(again.stderr.contains("15 of 15 runs are finished already"), "{}", again.stderr);
    assert_eq!(timeless(&again.stdout), timeless(&undisturbed.stdout));
    let csv = std::fs::read_to_string(project.path("killed/comparison.csv")).unwrap();
    assert_eq!(csv.lines().count(), 16);
    let markdown = std::fs::read_to_string(project.path("killed/comparison.md")).unwrap();
    assert!(markdown.starts_with("**") && markdown.contains("| student ca-mkd | "), "{markdown}");
    // Every run has kept which images it got right.
    let json = std::fs::read_to_string(project.path("calm/comparison.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    for row in json["rows"].as_array().unwrap() {
        let own = &row["against_reference"];
        let kept = own["per_image"]["low"].as_f64() < own["per_image"]["high"].as_f64();
        assert!(own.is_null() || kept, "{own}");
    }
    let other = [&to("killed")[..], &["--set", "train.epochs=3"]].concat();
    let ran = project.run(&other).expect(2);
    assert!(ran.stderr.contains("`train.epochs` (then 2, now 3)"), "{}", ran.stderr);
    assert!(ran.stderr.contains("--overwrite"), "{}", ran.stderr);
}

fn with_teachers(method: &str, more: &str) -> Project {
    let project = Project::new();
    project.train("a", &["train.epochs=2"]);
    project.train("b", &["train.epochs=1", "seed=9"]);
    project.write("distill.toml", recipe(method, &format!("{TEACHERS}{more}")));
    project
}

#[test]
fn one_cache_serves_all_methods_and_seeds_and_changes_nothing() {
    let project = with_teachers("ca-mkd", "[cache]\npath = \"kept\"\n");
    let args = ["compare", "distill.toml", "--methods", "aver,ca-mkd", "--seeds", "2"];
    let args = [&args[..], &["--set", "data.views=2", "--set", "method.alpha=0.5"]].concat();
    let ran = project.run(&args).expect(0);
    assert!(ran.stderr.contains("samples through the teachers, about"), "{}", ran.stderr);
    let folder = "runs/distill-comparison";
    let read = |name: &str| std::fs::read_to_string(project.path(folder).join(name)).unwrap();
    // The options of the recipe are those of its own method.
    assert!(read("ca-mkd/seed3/recipe.toml").contains("alpha = 0.5"));
    assert!(read("aver/seed4/recipe.toml").contains("alpha = 1.0"));
    assert!(read("aver/seed4/recipe.toml").contains("view_seed = 3"));

    // Without the cache, outputs are kept in memory; with no more teachers to run it is the same.
    let text = std::fs::read_to_string(project.path("distill.toml")).unwrap();
    project.write("live.toml", text.split_once("[cache]").unwrap().0);
    let live: Vec<&str> =
        args.iter().map(|own| if *own == "distill.toml" { "live.toml" } else { own }).collect();
    let ran = project.run(&[&live[..], &["--json"]].concat()).expect(0);
    let json = ran.json();
    assert_eq!(json["event"], "result");
    assert_eq!(json["comparison"]["rows"].as_array().unwrap().len(), 3);
    assert_eq!(json["comparison"]["reference"], "aver");
    for name in ["ce/seed3", "aver/seed4", "ca-mkd/seed3", "ca-mkd/seed4"] {
        let student = |folder: &str| {
            std::fs::read(project.path(folder).join(name).join("student.safetensors")).unwrap()
        };
        assert!(student(folder) == student("runs/live-comparison"), "{name}");
    }
    // A method alone gives the same student.
    let alone = ["distill", "live.toml", "--set", "data.views=2", "--set", "method.alpha=0.5"];
    let alone = [&alone[..], &["--set", "data.view_seed=3", "--set", "seed=4"]].concat();
    project.run(&[&alone[..], &["--output", "alone"]].concat()).expect(0);
    let student = |folder: &str| std::fs::read(project.path(folder)).unwrap();
    let name = format!("{folder}/ca-mkd/seed4/student.safetensors");
    assert!(student("alone/student.safetensors") == student(&name));
}

#[test]
fn methods_that_cannot_learn_from_the_shared_cache_run_without_it() {
    let project = with_teachers("aver", "[cache]\npath = \"kept\"\n");
    let text = std::fs::read_to_string(project.path("distill.toml")).unwrap();
    project.write("live.toml", text.split_once("[cache]").unwrap().0);
    let to = |recipe, output, jobs| {
        let compare = ["compare", recipe, "--methods", "ot,ikd,aver", "--output", output];
        let sets = ["--set", "data.views=1", "--set", "train.epochs=1"];
        project.run(&[&compare[..], &sets, &["--jobs", jobs]].concat()).expect(0)
    };
    let live = to("live.toml", "live", "1");
    assert!(!live.stderr.contains("without the cache"), "{}", live.stderr);
    for (output, jobs) in [("one", "1"), ("two", "2")] {
        let ran = to("distill.toml", output, jobs);
        for text in [
            "beside it: ikd: it trains its teachers",
            "beside it: ot: it reads the teachers' logits over their own classes",
        ] {
            assert!(ran.stderr.contains(text) && ran.stdout.contains(text), "{}", ran.stderr);
        }
        assert!(!ran.stdout.contains("left out"), "{}", ran.stdout);
        for name in ["ot/seed3", "ikd/seed3", "aver/seed3"] {
            let of = |folder: &str| project.path(folder).join(name).join("student.safetensors");
            let student = |folder| std::fs::read(of(folder)).unwrap();
            assert!(student(output) == student("live"), "{output}/{name}");
        }
    }
}

#[test]
fn a_cache_of_one_kind_of_logits_serves_methods_of_that_kind_alone() {
    let project = with_teachers("ot", "[cache]\npath = \"kept\"\n");
    let args = ["compare", "distill.toml", "--methods", "ot", "--set", "data.views=1"];
    let ran = project.run(&[&args[..], &["--set", "train.epochs=1"]].concat()).expect(0);
    assert!(!ran.stderr.contains("without the cache"), "{}", ran.stderr);
    assert!(project.path("kept").exists());
}

#[test]
fn all_methods_leave_out_those_that_cannot_run_and_say_why() {
    let project = with_teachers("aver", "");
    let args = ["compare", "distill.toml", "--methods", "all"];
    let sets =
        ["train.epochs=1", "data.train_samples=80", "train.drop_last=false", "heads.epochs=1"];
    let sets = sets.map(|set| ["--set", set]).concat();
    let ran = project.run(&[&args[..], &sets, &["--against", "ce"]].concat()).expect(0);
    for text in [
        "left out: semckd: method `semckd` needs full batches",
        "of one teacher, the recipe's first, `a`: kd, ikd, simkd",
        "warning: the runs are no longer than its warm-up: dkd: `warmup_epochs` of `dkd` is 20, ",
    ] {
        assert!(ran.stderr.contains(text) && ran.stdout.contains(text), "{}", ran.stderr);
    }
    for name in ["\naver ", "\nca-mkd ", "\nebkd ", "one seed cannot tell"] {
        assert!(ran.stdout.contains(name), "no `{name}` in:\n{}", ran.stdout);
    }
}

#[test]
fn it_goes_on_until_its_intervals_are_narrow_enough() {
    let project = with_teachers("aver", "");
    let compare = |more: &[&str]| {
        let args = ["compare", "distill.toml", "--methods", "aver", "--seeds", "auto"];
        let sets = ["--set", "train.epochs=1", "--set", "data.views=1"];
        project.run(&[&args[..], &sets, more].concat()).expect(0)
    };
    // Any interval will do: three seeds, the first look.
    let ran = compare(&["--width", "10000"]);
    assert!(ran.stdout.contains("is narrower than 10000 after 3 seeds"), "{}", ran.stdout);
    assert!(ran.stdout.contains("this was look 1"), "{}", ran.stdout);
    // None will: as many as allowed, and the runs that are there are kept.
    let ran = compare(&["--width", "0.0001", "--max-seeds", "5"]);
    assert!(ran.stderr.contains("6 of 6 runs are finished already"), "{}", ran.stderr);
    assert!(ran.stderr.contains("going on to 4 seeds"), "{}", ran.stderr);
    let reached = "is not yet narrower than 0.0001 after 4 seeds";
    assert!(ran.stdout.contains(reached), "{}", ran.stdout);
    let text = std::fs::read_to_string(project.path("runs/distill-comparison/comparison.json"));
    let json: serde_json::Value = serde_json::from_str(&text.unwrap()).unwrap();
    assert_eq!(json["sequential"]["looks"], 2);
    // 5 % / (2 · 3)
    assert!((json["significance"].as_f64().unwrap() - 0.05 / 6.0).abs() < 1e-12);
}

#[test]
fn bad_input_is_refused_before_anything_is_written() {
    let project = with_teachers("aver", "");
    let before = project.files();
    for (more, parts) in [
        (&["--methods", "ca-mdk"][..], &["unknown method `ca-mdk`", "did you mean `ca-mkd`?"][..]),
        (&["--methods", "aver", "--seeds", "0"], &["--seeds"]),
        (&["--methods", "aver", "--seeds", "auto"], &["needs a width", "hint: add for example"]),
        (&["--methods", "aver", "--seeds", "3", "--width", "1"], &["`--width`", "hint: "]),
        (&["--methods", "aver", "--seeds", "auto", "--width", "0"], &["--width", "above 0"]),
        (&["--sweep", "--seeds", "auto", "--width", "1"], &["a sweep needs a number of seeds"]),
        (&["--methods", "aver", "--against", "kd"], &["`kd` is not among", "hint: "]),
        (&["--methods", "ce"], &["no method to compare with `ce`", "hint: "]),
        (&[], &["--methods"]),
    ] {
        let ran = project.run(&[&["compare", "distill.toml"], more].concat()).expect(2);
        for part in parts {
            assert!(ran.stderr.contains(part), "no `{part}` in:\n{}", ran.stderr);
        }
        assert_eq!(project.files(), before, "{more:?}");
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_it_with_130_and_a_hint() {
    if crate::project::ignores_interrupts("ctrl_c_ends_it_with_130_and_a_hint") {
        return;
    }
    let project = with_teachers("aver", "");
    let args = ["compare", "distill.toml", "--methods", "aver", "--set", "train.epochs=2000"];
    let child = Command::new(env!("CARGO_BIN_EXE_faculty"))
        .args(args)
        .current_dir(project.path("."))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let checkpoint = project.path("runs/distill-comparison/ce/seed3/checkpoints/last.safetensors");
    let started = Instant::now();
    while !checkpoint.exists() && started.elapsed() < Duration::from_secs(120) {
        std::thread::sleep(Duration::from_millis(20));
    }
    project::signal(&child, "-INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("after 0 of 2 runs"), "{text}");
    assert!(text.contains("the same command resumes from there"), "{text}");
}

#[test]
fn several_runs_at_a_time_give_the_same_table() {
    let project = with_teachers("aver", "");
    let to = |output, jobs| {
        let compare = ["compare", "distill.toml", "--methods", "aver,ca-mkd", "--seeds", "2"];
        let sets = ["--set", "train.epochs=2", "--set", "data.views=2"];
        [&compare[..], &sets, &["--output", output, "--jobs", jobs]].concat()
    };
    let one = project.run(&to("one", "1")).expect(0);
    let two = project.run(&to("two", "2")).expect(0);
    assert!(two.stderr.contains("ca-mkd/seed4: finished in"), "{}", two.stderr);
    assert_eq!(timeless(&one.stdout.replace("one/", "two/")), timeless(&two.stdout));
    let [one, two] = ["one", "two"].map(|own| project.path(&format!("{own}/comparison.json")));
    assert_eq!(without_seconds(&one), without_seconds(&two));
}

#[test]
fn a_sweep_names_the_best_setting_and_refuses_what_it_cannot_vary() {
    let project = with_teachers("aver", "");
    let sweep = |more: &[&str]| {
        let sets = ["--set", "train.epochs=3", "--set", "data.views=1"];
        project.run(&[&["compare", "distill.toml"][..], &sets, more].concat())
    };
    let ran = sweep(&["--sweep", "method.temperature=2,8", "--sweep", "method.alpha=0.5,1"]);
    let ran = ran.expect(0);
    assert!(
        ran.stderr.contains("5 settings for 1 epochs, then 3 settings for 3"),
        "{}",
        ran.stderr
    );
    for part in ["the recipe's own", "method.temperature=8 method.alpha=1", "validation top-1"] {
        assert!(ran.stdout.contains(part), "no `{part}` in:\n{}", ran.stdout);
    }
    assert!(project.path("runs/distill-sweep/sweep.json").exists());
    let again = sweep(&["--sweep", "method.temperature=2,8", "--sweep", "method.alpha=0.5,1"]);
    assert_eq!(again.expect(0).stdout, ran.stdout, "nothing was trained again");
    for (more, part) in [
        (&["--sweep", "data.views=1,2"][..], "a sweep cannot vary `data.views`"),
        (&["--sweep", "train.epochs=1,2"], "a sweep cannot vary `train.epochs`"),
        (&["--sweep", "method.alpha"], "has no values"),
        (&["--sweep", "method.alpha=-1"], "method.alpha"),
        (&["--sweep", "--methods", "ce"], "cannot be used with"),
        (&["--sweep", "--set", "method.name=ce"], "nothing to sweep"),
    ] {
        let ran = sweep(more).expect(2);
        assert!(ran.stderr.contains(part), "no `{part}` in:\n{}", ran.stderr);
    }
}

#[test]
fn shares_of_the_runs_give_the_table_of_one_process() {
    let project = Project::new();
    let text = recipe("ce", "").replace("bands\"", "bands\"\nviews = 2");
    project.train("a", &["train.epochs=1"]);
    let teacher = "[[teachers]]\nname = \"a\"\nnetwork = \"resnet8x0.5\"\n\
                   weights = \"a/student.safetensors\"\nallow_weak = true\n\
                   [cache]\npath = \"kept\"\nblock = 60\n";
    project.write("shared.toml", text + teacher);
    let command = |output: &'static str, more: &[&'static str]| {
        let own =
            ["compare", "shared.toml", "--methods", "aver,dkd", "--seeds", "2", "--output", output];
        [&own[..], &["--no-report"], more].concat()
    };
    let whole = project.run(&command("whole", &[])).expect(0);

    // The cache comes first, in shares too: only when it is whole there are runs.
    std::fs::remove_dir_all(project.path("kept")).unwrap();
    let ran = project.run(&command("parts", &["--shard", "1/2"])).expect(1);
    let text = "share 1/2 of cache `kept` is built; still missing: share 2/2";
    assert!(ran.stderr.contains(text), "{}", ran.stderr);
    let ran = project.run(&command("parts", &["--shard", "2/2"])).expect(0);
    let text = "share 2/2 is trained, 3 runs in parts; still missing: share 1/2";
    assert!(ran.stdout.contains(text), "{}", ran.stdout);
    assert!(!project.path("parts/comparison.json").exists());
    let trained = |name: &str| project.path("parts").join(name).join("card.json").exists();
    let names = ["ce/seed3", "aver/seed3", "dkd/seed3", "ce/seed4", "aver/seed4", "dkd/seed4"];
    assert_eq!(names.map(trained), [false, true, false, true, false, true]);

    // A share beside one at work on the same, and beside the whole.
    for name in ["lock-1-of-2", "lock"] {
        std::fs::File::create(project.path("parts").join(name)).unwrap();
        let lock = std::fs::File::open(project.path("parts").join(name)).unwrap();
        lock.lock().unwrap();
        let ran = project.run(&command("parts", &["--shard", "1/2"])).expect(2);
        assert!(ran.stderr.contains("another process compares in `parts`"), "{}", ran.stderr);
    }
    let ran = project.run(&command("parts", &["--shard", "1/2", "--json"])).expect(0).json();
    assert_eq!((&ran["runs"], &ran["missing"]), (&3.into(), &serde_json::json!([])));
    let ran = project.run(&command("parts", &[])).expect(0);
    assert!(ran.stderr.contains("6 of 6 runs are finished already"), "{}", ran.stderr);
    assert_eq!(timeless(&ran.stdout), timeless(&whole.stdout));
    let file = |folder: &str| without_seconds(&project.path(folder).join("comparison.json"));
    assert_eq!(file("parts"), file("whole"));

    let ran = project
        .run(&[
            "compare",
            "shared.toml",
            "--methods",
            "aver",
            "--seeds",
            "auto",
            "--width",
            "1",
            "--shard",
            "1/2",
        ])
        .expect(2);
    assert!(ran.stderr.contains("give a number of seeds"), "{}", ran.stderr);
}
