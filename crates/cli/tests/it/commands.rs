//! Commands that work.

use crate::project::{Project, recipe};

const TEACHERS: &str = "
[[teachers]]
name = \"good\"
network = \"resnet8x0.5\"
weights = \"good/student.safetensors\"

[[teachers]]
name = \"bad\"
network = \"resnet8x0.5\"
weights = \"bad/student.safetensors\"
allow_weak = true
";

#[test]
fn trains_distils_evaluates_and_resumes() {
    let project = Project::new();
    let distill = recipe("ca-mkd", TEACHERS).replace("[train]", "beta = 20\n[train]");
    project.write("distill.toml", distill);
    // Training alone looks neither at the method nor at the teachers, which are not there yet.
    project.run(&["train", "distill.toml", "--output", "alone"]).expect(0);
    project.train("good", &["train.epochs=4"]);
    let bad = ["data.label_noise=1", "data.label_noise_kind=pair", "data.validation=0", "seed=4"];
    project.train("bad", &bad);
    let ran = project.run(&["distill", "distill.toml", "--json"]).expect(0);
    let result = ran.json();
    assert_eq!(result["event"], "result");
    let epochs = ran.stdout.lines().filter(|l| l.contains("\"event\":\"epoch\"")).count();
    assert_eq!(epochs, 2);
    let metrics = std::fs::read_to_string(project.path("runs/distill/metrics.jsonl")).unwrap();
    let last: serde_json::Value = serde_json::from_str(metrics.lines().last().unwrap()).unwrap();
    let weight = |name: &str| last["teacher_weights"]["kd"][name].as_f64().unwrap();
    assert!(weight("good") > weight("bad"), "{last}");

    // The run's student, measured again from its folder and from its file.
    let top1 = &result["card"]["best"]["test"]["top1"];
    let from_run = project.run(&["evaluate", "runs/distill", "--json"]).expect(0).json();
    let file = "runs/distill/student.safetensors";
    let from_file =
        project.run(&["evaluate", "--weights", file, "--data", "bands", "--json"]).expect(0).json();
    for measured in [&from_run, &from_file] {
        assert_eq!(&measured["top1"], top1);
        assert_eq!(measured["samples"], 60);
        for key in ["top5", "nll", "ece"] {
            assert!(measured[key].is_number(), "{key}");
        }
    }

    // Once more into the same folder: refused; resumed: nothing left to do, same numbers.
    let again = project.run(&["distill", "distill.toml"]).expect(2);
    assert!(again.stderr.contains("already holds a run"), "{}", again.stderr);
    let resumed = project.run(&["distill", "distill.toml", "--resume", "--json"]).expect(0).json();
    assert_eq!(&resumed["card"]["best"]["test"]["top1"], top1);
}

#[test]
fn explain_shows_values_and_origins() {
    let project = Project::new();
    let ran =
        project.run(&["explain", "recipe.toml", "--set", "train.learning_rate=0.2"]).expect(0);
    let line = |key: &str| ran.stdout.lines().find(|l| l.starts_with(key)).unwrap().to_owned();
    assert!(line("train.learning_rate").contains("0.2"), "{}", ran.stdout);
    assert!(line("train.learning_rate").contains("--set"), "{}", ran.stdout);
    assert!(line("train.epochs").contains("recipe.toml:10"), "{}", ran.stdout);
    assert!(line("train.momentum").contains("default (CA-MKD paper)"), "{}", ran.stdout);
    let json = project.run(&["explain", "recipe.toml", "--json"]).expect(0).json();
    assert!(json["values"].as_array().unwrap().len() > 30);
}

#[test]
fn lists_name_what_there_is() {
    let project = Project::new();
    for (command, expected) in
        [("methods", "ca-mkd"), ("networks", "resnet32x4"), ("datasets", "cifar-binary")]
    {
        let ran = project.run(&[command]).expect(0);
        assert!(ran.stdout.contains(expected), "{command}: {}", ran.stdout);
        let ran = project.run(&[command, "--json"]).expect(0);
        assert!(ran.json().is_object() && ran.stdout.contains(expected), "{command}");
    }
    let shown = project.run(&["networks", "--show", "resnet8x4"]).expect(0).stdout;
    assert!(shown.starts_with("# resnet8x4: CIFAR ResNet") && shown.ends_with("]\n"), "{shown}");
    let unknown = project.run(&["networks", "--show", "resnet_8"]).expect(2);
    assert!(unknown.stderr.contains("did you mean `resnet8`?"), "{}", unknown.stderr);
    let data = project.run(&["datasets", "bands", "--json"]).expect(0).json();
    assert_eq!(data["dataset"]["train"]["samples"], 240);
    // Asked for in one argument; this format does not scale.
    let refused = project.run(&["datasets", "bands", "--resize", "4,4"]).expect(2);
    assert!(refused.stderr.contains("`resize` is of no use"), "{}", refused.stderr);
    let ids = project.run(&["datasets", "bands", "--ids"]).expect(0).stdout;
    let lines: Vec<&str> = ids.lines().collect();
    assert_eq!((lines[0], lines.len()), ("part,index,id,label", 1 + 240 + 60));
    assert!(lines[1].starts_with("train,0,") && lines[241].starts_with("test,0,"), "{ids}");
}

#[test]
fn help_and_usage_errors_have_their_exit_codes() {
    let project = Project::new();
    project.run(&["--help"]).expect(0);
    project.run(&["distill"]).expect(2);
    project.run(&["distil", "recipe.toml"]).expect(2);
    project.run(&["evaluate", "--weights", "x.pth"]).expect(2);
}
