//! Arguments that are nearly right, and what `evaluate` finds out by itself.

use std::path::Path;

use crate::project::{Project, run_in};

#[test]
fn the_first_command_of_the_guide_works_where_it_stands() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let guide = std::fs::read_to_string(root.join("docs/guide-pytorch.md")).unwrap();
    let line = guide.lines().find_map(|line| line.strip_prefix("$ faculty ")).unwrap();
    let project = Project::new();
    let output = project.path("guide.toml");
    let mut arguments: Vec<&str> = line.split(' ').collect();
    arguments.extend(["--output", output.to_str().unwrap()]);
    let ran = run_in(&root, &arguments).expect(0);
    assert!(ran.stderr.contains("teacher: mal, a resnet8"), "{}", ran.stderr);
    assert!(output.exists());
}

#[test]
fn a_flag_that_is_a_key_of_the_recipe_is_told_as_one() {
    let project = Project::new();
    for (arguments, tip) in [
        (&["distill", "recipe.toml", "--epochs", "3"][..], "--set train.epochs=3"),
        (&["train", "recipe.toml", "--lr=0.1"], "--set train.learning_rate=0.1"),
        (&["compare", "recipe.toml", "--methods", "ce", "--Batch-Size"], "train.batch_size=VALUE"),
        (&["teachers", "recipe.toml", "--temperature", "2"], "--set method.temperature=2"),
    ] {
        let ran = project.run(arguments).expect(2);
        assert!(ran.stderr.contains(tip), "{}", ran.stderr);
    }
    let ran = project.run(&["demo", "--epochs", "3"]).expect(2);
    assert!(!ran.stderr.contains("--set"), "it takes none: {}", ran.stderr);
}

#[test]
fn names_are_suggested_whatever_their_case() {
    let project = Project::new();
    for (arguments, name) in [
        (&["methods", "CA_MKD"][..], "`ca-mkd`"),
        (&["methods", "revewkd"], "`reviewkd`"),
        (&["init", "bands", "--output", "new.toml", "--method", "Aver"], "`aver`"),
        (&["train", "recipe.toml", "--set", "student.network=ResNet20"], "`resnet20`"),
        (&["train", "recipe.toml", "--set", "train.Epochs=3"], "`epochs`"),
    ] {
        let ran = project.run(arguments).expect(2);
        assert!(ran.stderr.contains(&format!("did you mean {name}")), "{}", ran.stderr);
    }
}

#[test]
fn a_recipe_for_a_run_and_a_run_for_a_recipe_are_told() {
    let project = Project::new();
    project.train("runs/recipe", &[]);
    for command in [
        &["report", "recipe.toml"][..],
        &["evaluate", "recipe.toml"],
        &["export", "recipe.toml", "--onnx", "x.onnx"],
        &["predict", "recipe.toml", "x.png"],
    ] {
        let ran = project.run(command).expect(2);
        assert!(ran.stderr.contains("`recipe.toml` is a recipe, no run"), "{}", ran.stderr);
        assert!(ran.stderr.contains("`runs/recipe`"), "{}", ran.stderr);
    }
    for command in ["distill", "train", "teachers", "explain", "cache"] {
        let ran = project.run(&[command, "runs/recipe"]).expect(2);
        assert!(ran.stderr.contains("its recipe is `runs/recipe/recipe.toml`"), "{}", ran.stderr);
    }
    let ran = project.run(&["explain", "bands"]).expect(2);
    assert!(ran.stderr.contains("a folder is no recipe"), "{}", ran.stderr);
}

/// The file without what it says of itself.
fn without_metadata(file: &[u8]) -> Vec<u8> {
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let mut header: serde_json::Value = serde_json::from_slice(&file[8..][..length]).unwrap();
    header.as_object_mut().unwrap().remove("__metadata__");
    let header = header.to_string();
    let shorter = (header.len() as u64).to_le_bytes();
    [&shorter, header.as_bytes(), &file[8 + length..]].concat()
}

#[test]
fn evaluate_recognises_a_network_and_takes_onnx_files() {
    let project = Project::new();
    project.train("a", &[]);
    let of_run = project.run(&["evaluate", "a", "--json"]).expect(0).json();

    let file = std::fs::read(project.path("a/student.safetensors")).unwrap();
    project.write("plain.safetensors", without_metadata(&file));
    let plain = ["evaluate", "--weights", "plain.safetensors", "--data", "bands"];
    let ran = project.run(&plain).expect(0);
    assert!(ran.stderr.contains("network: resnet8x0.5, by its tensors"), "{}", ran.stderr);
    assert!(!ran.stdout.contains("top-5"), "of three classes: {}", ran.stdout);

    for more in [&["--normalise"][..], &[]] {
        let export = [&["export", "a", "--onnx", "a.onnx"][..], more].concat();
        project.run(&export).expect(0);
        let onnx = ["evaluate", "--weights", "a.onnx", "--data", "bands", "--json"];
        let ran = project.run(&onnx).expect(0).json();
        assert_eq!(ran["top1"], of_run["top1"], "{more:?}");
        assert_eq!(ran["samples"], 60);
    }
    // How its outputs are read can be said, of an ONNX file alone.
    let onnx = ["evaluate", "--weights", "a.onnx", "--data", "bands", "--json"];
    let said = project.run(&[&onnx[..], &["--output-type", "logits"]].concat()).expect(0).json();
    assert_eq!(said["top1"], of_run["top1"]);
    let ran = project.run(&[&onnx[..], &["--output-type", "probabilities"]].concat()).expect(2);
    assert!(ran.stderr.contains("no probabilities"), "{}", ran.stderr);
    let ran = project.run(&[&onnx[..], &["--onnx-output", "other"]].concat()).expect(2);
    assert!(ran.stderr.contains("it has no output `other`"), "{}", ran.stderr);
    let ran = project.run(&[&plain[..], &["--onnx-output", "other"]].concat()).expect(2);
    assert!(ran.stderr.contains("`--onnx-output` is for ONNX files"), "{}", ran.stderr);
    let with_network =
        ["evaluate", "--weights", "a.onnx", "--network", "resnet8", "--data", "bands"];
    let ran = project.run(&with_network).expect(2);
    assert!(ran.stderr.contains("`--network` has no effect"), "{}", ran.stderr);
    let ran = project.run(&["evaluate", "a.onnx"]).expect(2);
    assert!(ran.stderr.contains("`--weights FILE --data DATA`"), "{}", ran.stderr);
}
