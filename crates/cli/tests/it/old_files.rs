//! Files that earlier versions wrote are still read: caches, runs, checkpoints.

use std::fs;
use std::path::Path;

use crate::project::Project;

/// A project with everything that faculty 0.1.0 left in `tests/files/faculty-0.1.0`.
fn project() -> Project {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target = to.join(entry.file_name());
            if entry.path().is_dir() {
                copy(&entry.path(), &target);
            } else {
                fs::copy(entry.path(), target).unwrap();
            }
        }
    }
    let project = Project::new();
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files/faculty-0.1.0");
    copy(&files, &project.path(""));
    project
}

fn card(project: &Project, run: &str) -> serde_json::Value {
    let text = fs::read_to_string(project.path(run).join("card.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Whether everything that an earlier file says stands in a later one too, which may say more.
fn holds(now: &serde_json::Value, then: &serde_json::Value) -> bool {
    match then.as_object() {
        Some(then) => then.iter().all(|(key, then)| holds(&now[key], then)),
        None => now == then,
    }
}

#[test]
fn a_cache_of_0_1_0_is_complete_and_right() {
    let project = project();
    let ran = project.run(&["cache", "recipe.toml", "--json"]).expect(0);
    assert!(ran.stdout.contains("\"shards\":0"), "nothing is computed again: {}", ran.stdout);
    let ran = project.run(&["cache", "recipe.toml", "--verify", "40"]).expect(0);
    assert!(!ran.stderr.contains("error"), "{}", ran.stderr);
}

#[test]
fn a_killed_run_of_0_1_0_resumes_to_the_student_of_an_undisturbed_one() {
    let project = project();
    let arguments = ["distill", "recipe.toml", "--output", "broken", "--resume"];
    let ran = project.run(&[&arguments[..], &["--set", "train.checkpoint_minutes=0"]].concat());
    let ran = ran.expect(0);
    assert!(ran.stderr.contains("resumes with epoch 2"), "{}", ran.stderr);
    let (then, now) = (card(&project, "finished"), card(&project, "broken"));
    if then["kernels"] == faculty_kernels::isa::name() {
        // Bit for bit, on the kind of machine that began it.
        let read = |run: &str| fs::read(project.path(run).join("student.safetensors")).unwrap();
        assert_eq!(read("broken"), read("finished"));
        assert!(holds(&now["best"], &then["best"]), "{now} {then}");
    } else {
        assert!(ran.stderr.contains("resumes with other kernels"), "{}", ran.stderr);
        let top1 = |card: &serde_json::Value| card["best"]["test"]["top1"].as_f64().unwrap();
        // A handful of 24 test images may fall to the other side.
        assert!((top1(&now) - top1(&then)).abs() < 30.0, "{now} {then}");
    }
}

#[test]
fn a_finished_run_of_0_1_0_is_reported_exported_and_kept() {
    let project = project();
    let ran = project.run(&["report", "finished", "--text"]).expect(0);
    assert!(ran.stdout.contains("ca-mkd"), "{}", ran.stdout);
    project.run(&["report", "finished"]).expect(0);
    let shown = card(&project, "finished")["best"]["test"]["top1"].as_f64().unwrap();
    let student = "finished/student.safetensors";
    let evaluate = ["evaluate", "--weights", student, "--data", "data", "--json"];
    let again = project.run(&evaluate).expect(0).json();
    assert_eq!(again["top1"].as_f64(), Some(shown));
    project.run(&["export", "finished", "--onnx", "student.onnx"]).expect(0);
    let refused = project.run(&["distill", "recipe.toml", "--output", "finished"]).expect(2);
    assert!(refused.stderr.contains("already holds a run"), "{}", refused.stderr);
}
