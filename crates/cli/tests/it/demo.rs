//! The demos: what they refuse, and that the files of the one of texts fit together. Whole ones take a
//! minute and are not run here.

use std::io::Read as _;
use std::path::Path;

use flate2::read::GzDecoder;

use crate::project::Project;

#[test]
fn the_demo_of_texts_always_trains_its_teachers() {
    let project = Project::new();
    let ran = project.run(&["demo", "--text", "--retrain"]).expect(2);
    assert!(ran.stderr.contains("cannot be used with"), "{}", ran.stderr);
}

#[test]
fn the_demo_of_language_models_ends_with_a_table_and_a_page() {
    let project = Project::new();
    let ran = project.run(&["demo", "--lm", "--steps", "2", "--json"]).expect(0);
    let result: serde_json::Value =
        serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
    let number = |own: &serde_json::Value| own.as_f64().unwrap();
    let teachers = result["teachers"].as_array().unwrap();
    let names: Vec<&str> = teachers.iter().map(|own| own["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["ada", "ben", "mal"]);
    let weights: f64 = teachers.iter().map(|own| number(&own["mean_weight"])).sum();
    assert!((weights - 1.0).abs() < 1e-4, "{weights}");
    let students = result["students"].as_array().unwrap();
    let methods: Vec<&str> = students.iter().map(|own| own["method"].as_str().unwrap()).collect();
    assert_eq!(methods, ["ce", "aver", "ca-mkd"]);
    // Of 1,024 tokens all alike a character of these texts takes 3.5 bits, whoever learnt two steps.
    for own in teachers.iter().chain(students) {
        let bits = number(&own["bits_per_character"]);
        assert!(bits > 2.0 && bits < 4.5, "{own}");
    }
    let folder = project.path("runs/demo-lm");
    let texts = ["austen", "other-vowels"]
        .map(|own| std::fs::read_to_string(folder.join(own).join("train/emma.txt")).unwrap());
    assert!(texts[0].contains(" the ") && texts[1].contains(" thi "), "{}", texts[1]);
    assert!(!folder.join("passages").exists());
    let page = std::fs::read_to_string(folder.join("report.html")).unwrap();
    assert!(page.contains("student ca-mkd") && page.contains("<svg"), "no curves");
    // What is left is a recipe like any other.
    let sets = ["--set", "train.steps=1", "--output", "again"];
    let own = ["distill", "runs/demo-lm/distill.toml"];
    project.run(&[&own[..], &sets].concat()).expect(0);
}

/// The demo's files, as it unpacks them.
fn unpacked() -> Project {
    let project = Project::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo-text");
    for name in ["distill.toml", "vocab.txt", "teachers/ada.toml", "teachers/ben.toml"] {
        project.write(name, std::fs::read(folder.join(name)).unwrap());
    }
    project.write("teachers/mal.toml", std::fs::read(folder.join("teachers/mal.toml")).unwrap());
    for split in ["train", "validation", "test"] {
        let packed = std::fs::read(folder.join(format!("austen/{split}.csv.gz"))).unwrap();
        let mut table = String::new();
        GzDecoder::new(&packed[..]).read_to_string(&mut table).unwrap();
        project.write(&format!("austen/{split}.csv"), table);
    }
    project
}

#[test]
fn the_files_of_the_demo_of_texts_fit_together() {
    let project = unpacked();
    let ran = project.run(&["datasets", "austen", "--json"]).expect(0);
    let info = &ran.json()["dataset"];
    assert_eq!(info["classes"].as_array().map(Vec::len), Some(6), "{info}");
    // As many as the demo's own text says, and no passage twice.
    for (part, count) in [("train", 2280), ("validation", 300), ("test", 660)] {
        assert_eq!(info[part]["samples"], count, "{part}: {info}");
    }
    assert!(!ran.stderr.contains("duplicate"), "{}", ran.stderr);

    let quick = ["--set", "train.epochs=1", "--set", "data.train_samples=320", "--no-report"];
    for teacher in ["ada", "ben", "mal"] {
        let (recipe, run) = (format!("teachers/{teacher}.toml"), format!("runs/{teacher}"));
        project.run(&[&["train", &recipe, "--output", &run][..], &quick].concat()).expect(0);
    }
    project.run(&["tfidf", "distill.toml", "--output", "words.safetensors"]).expect(0);
    let mut distill = vec!["distill", "distill.toml", "--output", "runs/student"];
    let weak = ["ada", "ben"].map(|name| format!("teachers.{name}.allow_weak=true"));
    weak.iter().for_each(|set| distill.extend(["--set", set.as_str()]));
    project.run(&[&distill[..], &quick].concat()).expect(0);
}
