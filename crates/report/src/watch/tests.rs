use std::fs;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use faculty_files::FolderLock;
use serde_json::{Value, json};

use super::Watch;

/// A line of metrics: an epoch of 10 seconds.
fn line(epoch: usize, loss: Value, top1: f64) -> String {
    let term = |share: f64| json!({"value": 1.0, "weight": 1.0, "share": share});
    let validation = json!({"top1": top1, "top5": 100.0, "nll": 1.0, "ece": 0.1, "samples": 50});
    let record = json!({
        "epoch": epoch, "learning_rate": 0.1, "loss": loss,
        "terms": {"task": term(0.25), "kd": term(0.75)},
        "teacher_weights": {"kd": {"ada": 0.3, "<b>": 0.7}},
        "train_top1": 50.0, "validation": validation, "images_per_second": 100.0,
        "data_wait_seconds": 0.0, "teacher_seconds": 1.0, "seconds": 10.0
    });
    format!("{record}\n")
}

const RECIPE: &str =
    "[train]\nepochs = 5\n[method]\nname = \"kd\"\n[student]\nnetwork = \"resnet8\"\n";

/// A run with three whole lines, begun a fourth.
fn begun(folder: &Path) {
    fs::create_dir_all(folder.join("checkpoints")).unwrap();
    fs::write(folder.join("recipe.toml"), RECIPE).unwrap();
    let lines = [line(1, json!(2.0), 40.0), line(2, json!("NaN"), 61.5), line(3, json!(1.5), 61.5)];
    fs::write(folder.join("metrics.jsonl"), lines.concat() + "{\"epoch\":4,\"lear").unwrap();
}

fn finish(folder: &Path) {
    let result = json!({
        "epoch": 3, "validation": null,
        "test": {"top1": 58.25, "top5": 100.0, "nll": 1.0, "ece": 0.1, "samples": 60}
    });
    let card = json!({
        "format": 1, "faculty": "", "kernels": "", "seed": 1, "method": "kd", "objective": "",
        "data": "", "data_fingerprint": "", "classes": ["a"], "mean": [0.5], "std": [0.5],
        "student": "resnet8", "student_parameters": 1, "teachers": [], "ensemble": null,
        "last": result, "best": result, "seconds": 30.0
    });
    fs::write(folder.join("card.json"), card.to_string()).unwrap();
}

fn overview(watch: &mut Watch) -> Value {
    watch.overview(UNIX_EPOCH)
}

fn id(overview: &Value, at: usize) -> String {
    overview["runs"][at]["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_run_at_work_shows_its_whole_epochs_and_then_those_that_follow() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("runs/a");
    begun(&run);
    let mut watch = Watch::open(folder.path()).unwrap();
    let seen = overview(&mut watch);
    let own = &seen["runs"][0];
    assert_eq!(own["name"], "runs/a");
    assert_eq!((&own["epoch"], &own["epochs"]), (&json!(3), &json!(5)), "{seen}");
    // Of two equal ones the first.
    assert_eq!(own["best"], json!({"epoch": 2, "top1": 61.5}));
    assert_eq!((&own["loss"], &own["test"]), (&json!(1.5), &Value::Null));
    assert_eq!((&own["method"], &own["student"]), (&json!("kd"), &json!("resnet8")));
    assert_eq!(own["notes"], json!([]), "a line that is being written is no damage");
    assert_eq!(own["resumable"], false);

    // The line is ended, and it is the same run.
    let lines: String = (1..=4).map(|epoch| line(epoch, json!(1.0), 70.0)).collect();
    fs::write(run.join("metrics.jsonl"), lines).unwrap();
    fs::write(run.join("checkpoints/last.safetensors"), "").unwrap();
    let later = overview(&mut watch);
    assert_eq!((&later["runs"][0]["epoch"], &later["runs"][0]["id"]), (&json!(4), &own["id"]));
    assert_ne!(later["runs"][0]["version"], own["version"]);
    assert_eq!(later["runs"][0]["resumable"], true);

    finish(&run);
    let own = overview(&mut watch)["runs"][0].clone();
    assert_eq!((&own["state"], &own["test"]), (&json!("finished"), &json!(58.25)));
    assert_eq!((&own["eta_seconds"], &own["resumable"]), (&Value::Null, &json!(false)));
}

#[test]
fn time_left_is_told_while_a_process_holds_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    begun(folder.path());
    let mut watch = Watch::open(folder.path()).unwrap();
    let lock = FolderLock::take(folder.path(), "train").unwrap();
    if FolderLock::is_held(folder.path()).is_none() {
        assert_eq!(overview(&mut watch)["runs"][0]["state"], "unfinished");
        return;
    }
    let written = fs::metadata(folder.path().join("metrics.jsonl")).unwrap().modified().unwrap();
    let at = |watch: &mut Watch, seconds| {
        let own = watch.overview(written + Duration::from_secs(seconds))["runs"][0].clone();
        (own["state"].clone(), own["eta_seconds"].as_f64())
    };
    // Two epochs of 10 seconds, some of which are over.
    assert_eq!(at(&mut watch, 5), (json!("running"), Some(15.0)));
    assert_eq!(at(&mut watch, 500), (json!("running"), Some(0.0)));
    drop(lock);
    assert_eq!(at(&mut watch, 5), (json!("stopped"), None));
}

#[test]
fn damage_is_told_and_the_rest_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    begun(folder.path());
    let metrics = line(1, json!(2.0), 40.0) + "no JSON\n" + &line(3, json!(2.0), 40.0);
    fs::write(folder.path().join("metrics.jsonl"), metrics).unwrap();
    fs::write(folder.path().join("card.json"), "{\"format\"").unwrap();
    fs::write(folder.path().join("recipe.toml"), b"\xff = [").unwrap();
    let own = overview(&mut Watch::open(folder.path()).unwrap())["runs"][0].clone();
    assert_eq!((&own["epoch"], &own["epochs"]), (&json!(1), &Value::Null), "{own}");
    let notes = own["notes"].to_string();
    assert!(notes.contains("`metrics.jsonl` cannot be understood from line 2"), "{notes}");
    assert!(notes.contains("`card.json` cannot be understood"), "{notes}");
}

#[test]
fn runs_are_found_wherever_they_lie_and_nothing_else_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let mut watch = Watch::open(root).unwrap();
    assert_eq!(overview(&mut watch)["runs"], json!([]));
    for run in ["b", "comparison/kd/seed1", "comparison/kd/seed2", "plan/stages/first", ".hidden"] {
        begun(&root.join(run));
    }
    // A recipe that was never run, and a run before its first epoch.
    fs::write(root.join("recipe.toml"), RECIPE).unwrap();
    fs::create_dir_all(root.join("c/checkpoints")).unwrap();
    fs::write(root.join("c/recipe.toml"), RECIPE).unwrap();
    fs::create_dir_all(root.join("mutual/peers")).unwrap();
    fs::create_dir_all(root.join("mutual/checkpoints")).unwrap();
    fs::write(root.join("mutual/recipe.toml"), RECIPE).unwrap();
    fs::write(root.join("mutual/peers/x.jsonl"), line(1, json!(1.0), 30.0)).unwrap();
    let seen = overview(&mut watch);
    let names: Vec<&str> =
        seen["runs"].as_array().unwrap().iter().map(|own| own["name"].as_str().unwrap()).collect();
    let expected =
        ["b", "c", "comparison/kd/seed1", "comparison/kd/seed2", "mutual: x", "plan/stages/first"];
    assert_eq!(names, expected);
    assert_eq!(seen["runs"][1]["epoch"], 0);
    fs::remove_dir_all(root.join("b")).unwrap();
    assert_eq!(overview(&mut watch)["runs"].as_array().unwrap().len(), 5);
    assert!(Watch::open(&root.join("nowhere")).is_err());
    assert!(Watch::open(&root.join("recipe.toml")).is_err());
}

#[cfg(unix)]
#[test]
fn links_lead_nowhere() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let (outside, root) = (folder.path().join("outside"), folder.path().join("root"));
    begun(&outside);
    let run = root.join("run");
    fs::create_dir_all(&run).unwrap();
    symlink(&outside, root.join("other")).unwrap();
    symlink(&root, run.join("round")).unwrap();
    fs::write(run.join("card.json"), "{}").unwrap();
    symlink(outside.join("metrics.jsonl"), run.join("metrics.jsonl")).unwrap();
    symlink(outside.join("recipe.toml"), run.join("recipe.toml")).unwrap();
    let seen = overview(&mut Watch::open(&root).unwrap());
    assert_eq!(seen["runs"].as_array().unwrap().len(), 1, "{seen}");
    let own = &seen["runs"][0];
    assert_eq!((&own["epoch"], &own["method"]), (&json!(0), &Value::Null), "{seen}");
    assert!(own["notes"].to_string().contains("it is a link"), "{seen}");
}

#[test]
fn curves_are_those_of_a_report_with_shares_and_weights() {
    let folder = tempfile::tempdir().unwrap();
    begun(&folder.path().join("a"));
    begun(&folder.path().join("<i>&"));
    let mut watch = Watch::open(folder.path()).unwrap();
    let seen = overview(&mut watch);
    let titles = |curves: &Value| -> Vec<String> {
        let all = curves["charts"].as_array().unwrap().iter();
        all.map(|own| own["title"].as_str().unwrap().to_owned()).collect()
    };
    let one = watch.curves(&[&id(&seen, 1)]);
    for title in [
        "Accuracy over the epochs",
        "Training loss",
        "Loss terms over the epochs",
        "Weight at the output",
    ] {
        assert!(titles(&one).contains(&title.to_owned()), "no `{title}` in {:?}", titles(&one));
    }
    let both = watch.curves(&[&id(&seen, 0), &id(&seen, 1), "0000000000000000"]);
    assert!(titles(&both).contains(&"a: Weight at the output".to_owned()), "{:?}", titles(&both));
    for chart in both["charts"].as_array().unwrap() {
        let svg = chart["svg"].as_str().unwrap();
        assert!(svg.starts_with("<svg ") && svg.contains("xmlns"), "{svg}");
        assert!(!svg.contains("<i>") && !svg.contains("<b>") && !svg.contains("NaN"), "{svg}");
    }
    assert_eq!(watch.curves(&[])["charts"], json!([]));
}

#[test]
fn a_language_models_run_shows_steps_and_bits_as_they_grow() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("lm");
    fs::create_dir_all(run.join("checkpoints")).unwrap();
    let recipe = "[data]\nformat = \"running-text\"\n[student]\nlayers = 2\nwidth = 64\n[[teachers]]\n\
                  name = \"ada\"\n[[teachers]]\nname = \"<b>\"\n[method]\nname = \"ca-mkd\"\n\
                  [train]\nsteps = 400\n";
    fs::write(run.join("recipe.toml"), recipe).unwrap();
    let quality =
        |bits: f64| json!({"tokens": 9, "nll": 2.0, "perplexity": 7.4, "bits_per_character": bits});
    let line = |step: u64, bits: f64| {
        let record = json!({
            "step": step, "ce": 3.5, "kd": 0.5, "gradient_norm": 1.0, "learning_rate": 0.001,
            "teacher_weights": [0.75, 0.25], "teacher_ce": [2.0, 4.0], "validation": quality(bits)
        });
        format!("{record}\n")
    };
    let lines = [line(100, 2.5), line(200, 2.25), line(300, 2.25)];
    fs::write(run.join("metrics.jsonl"), lines.concat() + "{\"step\":400,").unwrap();
    let mut watch = Watch::open(folder.path()).unwrap();
    let seen = overview(&mut watch);
    let own = &seen["runs"][0];
    assert_eq!(
        (&own["epoch"], &own["epochs"], &own["unit"]),
        (&json!(300), &json!(400), &json!("step"))
    );
    assert_eq!(own["best"], json!({"epoch": 200, "bits": 2.25}));
    assert_eq!((&own["loss"], &own["validation"]), (&json!(3.5), &json!(2.25)));
    assert_eq!((&own["method"], &own["student"]), (&json!("ca-mkd"), &json!("2×64")));
    assert_eq!(own["notes"], json!([]), "a line that is being written is no damage");
    let charts = watch.curves(&[&id(&seen, 0)])["charts"].clone();
    let titles: Vec<&str> =
        charts.as_array().unwrap().iter().map(|own| own["title"].as_str().unwrap()).collect();
    assert_eq!(titles.len(), 3, "{titles:?}");
    assert!(titles[0].starts_with("Bits a character"), "{titles:?}");
    let all = charts.to_string();
    assert!(all.contains("ada") && !all.contains("<b>"), "names are text");

    let model = |name: &str| {
        json!({
            "name": name, "parameters": 9, "layers": 3, "width": 48, "hash": "0",
            "validation": quality(2.0), "test": quality(2.125)
        })
    };
    let card = json!({
        "format": 1, "program": "", "name": null, "method": "ca-mkd", "seed": 1, "steps": 400,
        "best_step": 400, "tokens": [9, 9, 9], "trained_tokens": 9, "seconds": 1.0,
        "student": model("student"), "teachers": [model("ada"), model("<b>")]
    });
    fs::write(run.join("language-card.json"), card.to_string()).unwrap();
    let own = overview(&mut watch)["runs"][0].clone();
    assert_eq!((&own["state"], &own["test"]), (&json!("finished"), &json!(2.125)));
    assert_eq!((&own["student"], &own["resumable"]), (&json!("3×48"), &json!(false)));
    fs::write(run.join("language-card.json"), "{").unwrap();
    let own = overview(&mut watch)["runs"][0].clone();
    assert!(own["notes"][0].as_str().unwrap().contains("language-card.json"), "{own}");
}
