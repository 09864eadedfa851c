//! The recipes of `recipes/cifar100` on 2,000 real images, if the data is there.

use std::path::{Path, PathBuf};

use crate::project::run_in;

/// The data set's folder: named by `FACULTY_CIFAR100`, else beside the repository.
fn data() -> Option<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/cifar100");
    let folder = std::env::var_os("FACULTY_CIFAR100").map_or(default, PathBuf::from);
    folder.is_dir().then(|| folder.canonicalize().unwrap())
}

#[test]
fn the_cifar100_recipes_work_on_a_subset() {
    let Some(data) = data() else {
        println!("skipped: no CIFAR-100; FACULTY_CIFAR100 names its folder");
        return;
    };
    let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/cifar100");
    let recipes = recipes.canonicalize().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let run = |command: &str, name: &str, more: &[String]| {
        let recipe = recipes.join(format!("{name}.toml")).display().to_string();
        let mut arguments =
            vec![command.to_owned(), recipe, "--output".to_owned(), name.to_owned()];
        let path = format!("data.path={}", data.display());
        let small = ["data.train_samples=2000", "train.epochs=2", &path];
        for set in small.into_iter().map(str::to_owned).chain(more.iter().cloned()) {
            arguments.extend(["--set".to_owned(), set]);
        }
        arguments.push("--json".to_owned());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        run_in(folder.path(), &arguments).expect(0).json()
    };
    let mut teachers = Vec::new();
    for name in ["resnet20", "resnet14", "bad"] {
        run("train", name, &[]);
        let weights = folder.path().join(name).join("student.safetensors");
        teachers.push(format!("teachers.{name}.weights={}", weights.display()));
        // Two epochs on 2,000 images of 100 classes teach little; that is allowed here.
        teachers.push(format!("teachers.{name}.allow_weak=true"));
    }
    let result = run("distill", "distill", &teachers);
    let test = &result["card"]["last"]["test"];
    assert_eq!(test["samples"], 10_000);
    // Chance is 1 %.
    assert!(test["top1"].as_f64().unwrap() > 1.5, "{test}");
}
