//! `faculty distill` and `train` of language models: what a run leaves, that one that is killed ends as
//! the undisturbed one, and what is refused.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use faculty_nets::{DecoderConfig, Network, save_decoder};
use serde_json::Value;

use crate::language;
use crate::project::Project;

const RECIPE: &str = r#"
output = "run"
[data]
path = "book.txt"
format = "running-text"
validation_tokens = 300
[student]
layers = 1
width = 16
heads = 2
[[teachers]]
name = "a"
weights = "model"
[[teachers]]
name = "b"
weights = "other"
[method]
name = "ca-mkd"
[train]
steps = 12
window = 24
batch_size = 2
warmup_steps = 2
evaluate_every = 5
"#;

/// A text, two teachers with the same tokens, and a recipe.
pub(crate) fn project() -> Project {
    let project = language::project();
    let line =
        |n: usize| format!("It is truth number {n}, universally acknowledged in {}.\n", n % 9);
    project.write("book.txt", (0..150).map(line).collect::<String>());
    let config =
        DecoderConfig { longest: 40, heads: 1, kv_heads: 1, ..DecoderConfig::new(257, 1, 16) };
    let network = Network::from_graph("small", config.graph().unwrap(), 2);
    save_decoder(&network, &project.path("other")).unwrap();
    std::fs::copy(project.path("model/tokenizer.json"), project.path("other/tokenizer.json"))
        .unwrap();
    project.write("lm.toml", RECIPE);
    project
}

#[test]
fn a_recipe_gives_a_student_a_card_and_a_report() {
    let project = project();
    let ran = project.run(&["distill", "lm.toml"]).expect(0);
    assert!(
        ran.stderr.contains("teacher a: ") && ran.stderr.contains("step 12/12"),
        "{}",
        ran.stderr
    );
    assert!(ran.stdout.contains("student of step "), "{}", ran.stdout);
    for file in ["recipe.toml", "metrics.jsonl", "report.html", "student/tokenizer.json"] {
        assert!(project.path("run").join(file).is_file(), "{file}");
    }
    let metrics = std::fs::read_to_string(project.path("run/metrics.jsonl")).unwrap();
    for line in metrics.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let weights: Vec<f64> = line["teacher_weights"]
            .as_array()
            .unwrap()
            .iter()
            .map(|own| own.as_f64().unwrap())
            .collect();
        assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{weights:?}");
    }
    let report = project.run(&["report", "run", "--text"]).expect(0).stdout;
    assert!(report.contains("bits a character on the test split"), "{report}");
    // The student is a model like any other, and measures as the card says.
    project.run(&["generate", "run/student", "--prompt", "It is", "--max-tokens", "3"]).expect(0);
    let explained = project.run(&["explain", "run/recipe.toml", "--json"]).expect(0).json();
    let values = explained["values"].as_array().unwrap();
    assert!(values.iter().any(|own| own["key"] == "train.steps" && own["value"] == 12));
    let error = project.run(&["distill", "lm.toml"]).expect(2).stderr;
    assert!(error.contains("holds a run already"), "{error}");
}

#[test]
fn what_a_recipe_of_language_models_cannot_say_is_refused_all_at_once() {
    let project = project();
    let wrong = RECIPE
        .replace("steps = 12", "epochs = 12")
        .replace("\"ca-mkd\"", "\"reviewkd\"")
        .replace("layers = 1", "layers = 0");
    project.write("wrong.toml", wrong);
    let error = project.run(&["distill", "wrong.toml"]).expect(2).stderr;
    for word in
        ["unknown key `epochs`", "`reviewkd`, which is not known", "`ebkd`", "student.layers"]
    {
        assert!(error.contains(word), "{word} expected\n{error}");
    }
    let error = project.run(&["distill", "lm.toml", "--set", "method.name=kd"]).expect(2).stderr;
    assert!(error.contains("`kd` learns from exactly one teacher(s), the recipe has 2"), "{error}");
    let error = project.run(&["distill", "lm.toml", "--set", "method.name=ce"]).expect(2).stderr;
    assert!(error.contains("use `faculty train`"), "{error}");
    let error = project.run(&["cache", "lm.toml"]).expect(2).stderr;
    assert!(error.contains("is one of language models"), "{error}");
    assert!(!project.path("run").exists());
}

#[test]
fn a_run_killed_at_any_moment_ends_like_the_undisturbed_run() {
    let project = project();
    let result = |folder: &str| {
        ["student/model.safetensors", "metrics.jsonl"]
            .map(|name| std::fs::read(project.path(folder).join(name)).unwrap())
    };
    let sets = ["--set", "train.checkpoint_minutes=0", "--no-report"];
    let began = Instant::now();
    project.run(&[&["distill", "lm.toml", "--output", "whole"][..], &sets].concat()).expect(0);
    let whole = began.elapsed();
    let mut finished = false;
    for kill in 0..40_u32 {
        let mut child = Command::new(env!("CARGO_BIN_EXE_faculty"))
            .args([&["distill", "lm.toml", "--output", "parts", "--resume"][..], &sets].concat())
            .current_dir(project.path("."))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Somewhere in the middle, each time somewhere else; the last one is left alone.
        if kill < 8 {
            std::thread::sleep(
                whole.mul_f64(f64::from(kill * 5 % 8) / 8.0).max(Duration::from_millis(1)),
            );
            child.kill().unwrap();
        }
        let output = child.wait_with_output().unwrap();
        if output.status.success() {
            finished = true;
            break;
        }
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code().is_none(), "{:?}: {error}", output.status);
    }
    assert!(finished);
    let [one, other] = ["whole", "parts"].map(result);
    assert!(one[0] == other[0], "students differ");
    assert_eq!(String::from_utf8_lossy(&one[1]), String::from_utf8_lossy(&other[1]));
}

#[test]
fn tensorboard_has_each_line_of_the_metrics_once_after_an_interruption_too() {
    let project = project();
    let count = |folder: &str, tag: &str| {
        let bytes =
            std::fs::read(project.path(folder).join("events.out.tfevents.faculty")).unwrap();
        bytes.windows(tag.len()).filter(|own| *own == tag.as_bytes()).count()
    };
    project.run(&["distill", "lm.toml", "--output", "whole"]).expect(0);
    for tag in ["loss/ce", "loss/kd", "validation/bits_per_character", "teacher_weight/a"] {
        assert_eq!(count("whole", tag), 3, "{tag}");
    }
    // As a run that was killed behind its second checkpoint leaves it: an event too many.
    let folder = project.path("whole");
    let copy = |name: &str| {
        std::fs::create_dir_all(project.path("again/checkpoints")).unwrap();
        std::fs::copy(folder.join(name), project.path("again").join(name)).unwrap();
    };
    for name in ["recipe.toml", "metrics.jsonl", "events.out.tfevents.faculty", "measurements.json"]
    {
        copy(name);
    }
    let previous = project.path("again/checkpoints/last.safetensors");
    std::fs::create_dir_all(project.path("again/checkpoints")).unwrap();
    std::fs::copy(folder.join("checkpoints/previous.safetensors"), previous).unwrap();
    std::fs::copy(
        folder.join("checkpoints/best.safetensors"),
        project.path("again/checkpoints/best.safetensors"),
    )
    .unwrap();
    project.run(&["distill", "lm.toml", "--output", "again", "--resume"]).expect(0);
    assert_eq!(count("again", "loss/ce"), 3);
    project
        .run(&["distill", "lm.toml", "--output", "again", "--overwrite", "--no-report"])
        .expect(0);
    assert!(!project.path("again/events.out.tfevents.faculty").exists());
}
