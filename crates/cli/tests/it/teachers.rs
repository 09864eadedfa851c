//! `faculty teachers`: what the teachers of a recipe are worth.

use std::path::Path;

use crate::project::{self, Project, TEACHERS, recipe};

/// The demo's recipe, with its paths as they are in the source tree.
fn demo(project: &Project) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo");
    let text = std::fs::read_to_string(folder.join("distill.toml")).unwrap();
    let at = |name: &str| format!("\"{}", folder.join(name).display());
    let text = text
        .replace("\"fashion-mnist", &at("fashion-mnist"))
        .replace("\"teachers/", &(at("teachers") + "/"));
    project.write("demo.toml", text);
}

#[test]
fn tells_good_teachers_from_the_demos_bad_one() {
    let project = Project::new();
    demo(&project);
    let before = project.files();
    let ran = project.run(&["teachers", "demo.toml", "--samples", "300"]).expect(0);
    for part in
        ["validation split: 300 samples, 10 classes", "ada", "ensemble", "ada, mal", "spread"]
    {
        assert!(ran.stdout.contains(part), "no `{part}` in:\n{}", ran.stdout);
    }
    assert!(ran.stderr.contains("`mal` is near chance; allowed"), "{}", ran.stderr);
    // It learnt the next class for almost every label.
    assert!(ran.stderr.contains("teacher `mal`: its classes seem"), "{}", ran.stderr);
    for good in ["ada", "ben"] {
        assert!(!ran.stderr.contains(&format!("teacher `{good}`")), "{}", ran.stderr);
    }
    assert_eq!(project.files(), before, "nothing is written");

    let json = project.run(&["teachers", "demo.toml", "--samples", "300", "--json"]).expect(0);
    assert_eq!(json.stdout.lines().count(), 1);
    let json = json.json();
    let top1 = |k: usize| json["teachers"][k]["quality"]["top1"].as_f64().unwrap();
    assert!(top1(0) > 80.0 && top1(1) > 80.0 && top1(2) < 10.0, "{json}");
    assert_eq!(json["teachers"][2]["near_chance"], true);
    assert!(json["teachers"][2]["suspicion"]["what"].is_string());
    assert!(json["teachers"][0]["suspicion"].is_null() && json["ablation"].is_null());
    assert_eq!(json["teachers"][0]["per_class"].as_array().unwrap().len(), 10);
    assert!(json["teachers"][0]["calibrated"]["temperature"].as_f64().unwrap() > 0.0);
    assert!(json["diversity"]["oracle"].as_f64().unwrap() >= top1(0));
}

#[test]
fn a_teacher_in_bf16_stands_beside_itself_in_f32() {
    let project = Project::new();
    demo(&project);
    let args = ["teachers", "demo.toml", "--samples", "100"];
    let plain = project.run(&[&args[..], &["--json"]].concat()).expect(0).json();
    assert!(plain["teachers"][0]["precision"].is_null());
    let args = [&args[..], &["--set", "teachers.ada.precision=bf16"]].concat();
    let ran = project.run(&args).expect(0);
    let table = ran.stdout.lines().skip_while(|line| !line.starts_with("precision"));
    let rows: Vec<&str> = table.take_while(|line| !line.is_empty()).collect();
    assert_eq!(rows.len(), 2, "{}", ran.stdout);
    assert!(rows[1].starts_with("ada") && rows[1].contains(" bf16 "), "{}", ran.stdout);
    let own = project.run(&[&args[..], &["--json"]].concat()).expect(0).json();
    let check = &own["teachers"][0]["precision"];
    assert_eq!(check["in_f32"], plain["teachers"][0]["quality"]);
    assert_eq!(check["own"], own["teachers"][0]["quality"]);
    assert_eq!((&check["precision"], &check["samples"]), (&"bf16".into(), &100.into()));
    assert!(own["teachers"][1]["precision"].is_null());
}

#[test]
fn a_teacher_near_chance_is_the_answer_no_with_what_seems_wrong() {
    let project = Project::new();
    demo(&project);
    let weak = ["teachers", "demo.toml", "--set", "teachers.mal.allow_weak=false"];
    let ran = project.run(&[&weak[..], &["--samples", "100"]].concat()).expect(1);
    assert!(ran.stderr.contains("error: teacher `mal` is near chance"), "{}", ran.stderr);
    assert!(ran.stderr.contains("allow_weak = true"), "{}", ran.stderr);
    assert!(ran.stdout.contains("near chance"), "the table is shown first: {}", ran.stdout);

    // The same teacher ends a distillation before anything is written, with the suspicion.
    let before = project.files();
    let args = ["distill", "demo.toml", "--set", "teachers.mal.allow_weak=false"];
    let ran = project.run(&args).expect(2);
    assert!(ran.stderr.contains("its classes seem to stand in another order"), "{}", ran.stderr);
    assert_eq!(project.files(), before);
}

#[test]
fn wrong_constants_are_told_with_the_right_ones() {
    let project = Project::new();
    demo(&project);
    let sets = ["--set", "teachers.ada.mean=[0.0]", "--set", "teachers.ada.std=[0.003921569]"];
    let args = [&["teachers", "demo.toml", "--samples", "200"], &sets[..]].concat();
    let ran = project.run(&args);
    assert!(ran.code == 0 || ran.code == 1, "{}", ran.stderr);
    let hint = "hint: set `mean = [0.286]` and `std = [0.353]` on it";
    assert!(ran.stderr.contains(hint), "{}", ran.stderr);
    assert!(ran.stderr.contains("with constants of Fashion-MNIST"), "{}", ran.stderr);
}

#[test]
fn a_run_says_in_short_what_its_teachers_are_worth() {
    let project = Project::new();
    demo(&project);
    let sets = ["data.train_samples=700", "train.epochs=1", "method.name=class-reliability"];
    let mut args = vec!["distill", "demo.toml"];
    for set in sets {
        args.extend(["--set", set]);
    }
    let ran = project.run(&args).expect(0);
    for part in
        ["teacher: ada (resnet14), alone", "calibration temperature ", "the teachers agree on"]
    {
        assert!(ran.stderr.contains(part), "no `{part}` in:\n{}", ran.stderr);
    }
    let card = std::fs::read_to_string(project.path("runs/demo/card.json")).unwrap();
    let card: serde_json::Value = serde_json::from_str(&card).unwrap();
    assert_eq!(card["teachers"][0]["class_accuracy"].as_array().unwrap().len(), 10);
    assert!(card["teachers"][0]["temperature"].is_number());
    assert!(card["diversity"]["kappa"].is_number());
}

#[test]
fn an_ablation_says_what_each_teacher_is_worth() {
    let project = Project::new();
    project.train("a", &["train.epochs=3"]);
    project.train("b", &["train.epochs=1", "seed=9"]);
    project.write("distill.toml", recipe("aver", TEACHERS));
    let args = ["teachers", "distill.toml", "--ablate", "--set", "data.views=1"];
    let ran = project.run(&args).expect(0);
    for part in ["aver, all teachers", "without a", "without b", "teacher b is worth"] {
        assert!(ran.stdout.contains(part), "no `{part}` in:\n{}", ran.stdout);
    }
    assert!(project.path("runs/distill-ablation/seed3/without-a/student.safetensors").exists());
    let again = project.run(&args).expect(2);
    assert!(again.stderr.contains("already holds a run"), "{}", again.stderr);
    let json = project.run(&[&args[..], &["--json", "--resume"]].concat()).expect(0);
    assert_eq!(json.stdout.lines().count(), 1);
    let rows = json.json()["ablation"]["rows"].clone();
    assert_eq!(rows.as_array().unwrap().len(), 3);
    assert!(rows[0]["worth"].is_null() && rows[1]["worth"].is_number(), "{rows}");
}

#[test]
fn bad_input_is_refused_with_a_hint() {
    let project = Project::new();
    project.write("one.toml", recipe("aver", TEACHERS.split("\n\n").next().unwrap()));
    let refused = |args: &[&str], part: &str| {
        let ran = project.run(args).expect(2);
        assert!(ran.stderr.contains(part), "no `{part}` in:\n{}", ran.stderr);
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
        ran
    };
    assert!(refused(&["teachers", "recipe.toml"], "no teachers").stderr.contains("hint: "));
    assert!(refused(&["teachers", "one.toml"], "cannot read weights").stderr.contains("hint: "));
    // Before the missing weights are looked for.
    let ran = refused(&["teachers", "one.toml", "--ablate"], "no teacher can be left out of 1");
    assert!(ran.stderr.contains("method.name=ce"), "{}", ran.stderr);
    refused(&["teachers", "one.toml", "--samples", "0"], "--samples");
    refused(&["teachers", "one.toml", "--seeds", "2"], "--ablate");
    refused(&["teachers", "nowhere.toml"], "nowhere.toml");
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_an_ablation_with_130_and_it_can_go_on() {
    if crate::project::ignores_interrupts("ctrl_c_ends_an_ablation_with_130_and_it_can_go_on") {
        return;
    }
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    let project = Project::new();
    project.train("a", &["train.epochs=1"]);
    project.train("b", &["train.epochs=1", "seed=9"]);
    project.write("distill.toml", recipe("aver", TEACHERS));
    let mut child = Command::new(env!("CARGO_BIN_EXE_faculty"))
        .args(["teachers", "distill.toml", "--ablate", "--set", "train.epochs=2000"])
        .args(["--set", "data.views=1"])
        .current_dir(project.path("."))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let checkpoint = project.path("runs/distill-ablation/seed3/all/checkpoints/last.safetensors");
    let started = Instant::now();
    while !checkpoint.exists() && started.elapsed() < Duration::from_secs(120) {
        std::thread::sleep(Duration::from_millis(20));
    }
    project::signal(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(checkpoint.exists());
    assert!(!project.path("runs/distill-ablation/seed3/without-a").exists());
}

/// One of the two teachers of [`TEACHERS`].
fn one_teacher() -> &'static str {
    TEACHERS.split("\n\n").next().unwrap_or_default()
}

#[test]
fn heads_are_trained_before_the_run_and_found_by_the_next() {
    let project = Project::new();
    project.train("a", &["train.epochs=3"]);
    project.write("distill.toml", recipe("dih", one_teacher()));
    let sets = ["--set", "heads.epochs=2"];
    let ran = project.run(&[&["distill", "distill.toml"], &sets[..]].concat()).expect(0);
    let parts = [
        "heads: 3 in `runs/heads`, 3 to be trained",
        "heads: epoch 2/2  a.f1 ",
        "teacher: a.f3 (resnet8x0.5), alone",
        "a classifier head on `f2` of the network",
        "K = 4 (teachers and their heads)",
    ];
    for part in parts {
        assert!(ran.stderr.contains(part), "no `{part}` in:\n{}", ran.stderr);
    }
    let aver = ["--set", "method.name=aver", "--set", "teachers.a.heads=[\"f1\"]"];
    let more = ["--output", "runs/aver", "--json"];
    let ran = project.run(&[&["distill", "distill.toml"], &sets[..], &aver, &more].concat());
    let ran = ran.expect(0);
    assert!(!ran.stdout.contains("\"event\":\"heads\""), "{}", ran.stdout);
    assert_eq!(ran.json()["card"]["teachers"][1]["name"], "a.f1");

    // A comparison shares them too, and its other methods do without.
    let args = ["compare", "distill.toml", "--methods", "aver,dih", "--json"];
    let ran = project.run(&[&args[..], &sets].concat()).expect(0);
    assert!(!ran.stdout.contains("\"event\":\"heads\""), "{}", ran.stdout);
    let card = |method: &str| {
        let path = format!("runs/distill-comparison/{method}/seed3/card.json");
        let text = std::fs::read_to_string(project.path(&path)).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["teachers"].clone()
    };
    assert_eq!(card("aver").as_array().unwrap().len(), 1);
    assert_eq!(card("dih").as_array().unwrap().len(), 4);
    let explained = project.run(&["explain", "distill.toml"]).expect(0);
    assert!(explained.stdout.contains("method `dih` mounts them"), "{}", explained.stdout);
}

#[test]
fn ranking_puts_the_demos_bad_teacher_last() {
    let project = Project::new();
    demo(&project);
    let before = project.files();
    let args = ["teachers", "demo.toml", "--rank", "--samples", "200"];
    let sets = ["--set", "data.train_samples=700"];
    let ran = project.run(&[&args[..], &sets].concat()).expect(0);
    for part in ["guessing", "of the data", "the lowest is nearest"] {
        assert!(ran.stdout.contains(part), "no `{part}` in:\n{}", ran.stdout);
    }
    let json = project.run(&[&args[..], &sets, &["--json"]].concat()).expect(0).json();
    assert_eq!(json["teachers"][2]["name"], "mal", "{json}");
    let score = |k: usize| json["teachers"][k]["score"].as_f64().unwrap();
    assert!(score(0) <= score(1) && score(1) < score(2), "{json}");
    assert_eq!(json["teachers"][0]["classes"], 10);
    assert_eq!(project.files(), before, "nothing is written");
    project.run(&["teachers", "demo.toml", "--rank", "--ablate"]).expect(2);
}
