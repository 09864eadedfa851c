//! Students that start from trained weights, and those of which a part is frozen.

use std::collections::BTreeMap;
use std::path::Path;

use faculty_distill::recipe::Recipe;
use faculty_distill::{CheckedRun, Error};
use faculty_nets::weights::{self, StateDict};

use crate::data::{dataset, network_of, relabelled};
use crate::resume::resumed_equals_undisturbed;
use crate::runs::{recipe, run, student};

/// A recipe whose student starts from these weights, in `start.safetensors`.
fn starting(folder: &Path, state: &StateDict, sets: &[&str]) -> Recipe {
    let path = folder.join("start.safetensors");
    weights::write(&path, state, &BTreeMap::new()).unwrap();
    let weights = format!("student.weights={}", path.display());
    recipe(folder, "ce", 0, &[&[weights.as_str()], sets].concat())
}

fn delivered(folder: &Path) -> StateDict {
    weights::read_safetensors(&folder.join("student.safetensors")).unwrap().0
}

#[test]
fn a_student_starts_from_the_student_of_a_run_with_other_classes() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    run(&recipe(folder.path(), "ce", 0, &["train.epochs=1"]), &first).unwrap();
    // Two of the three classes become one.
    let two = relabelled(&["top", "else"], |label| u32::from(label > 0));
    for start in [first.clone(), first.join("student.safetensors")] {
        let weights = format!("student.weights={}", start.display());
        let tuned = recipe(folder.path(), "ce", 0, &[&weights, "train.epochs=1"]);
        let checked = CheckedRun::new(&tuned, &two).unwrap();
        let [note] = checked.card().student_notes.as_slice() else { panic!("one note") };
        assert_eq!(note, "classifier `fc` starts anew: the file's has 3 classes, the data have 2");
    }
    // With the same classes everything is taken, and it is not where a drawn one starts.
    let weights = format!("student.weights={}", first.display());
    let sets = [weights.as_str(), "train.epochs=1", "train.learning_rate=1e-9"];
    let tuned = recipe(folder.path(), "ce", 0, &sets);
    assert!(CheckedRun::new(&tuned, &dataset()).unwrap().card().student_notes.is_empty());
    run(&tuned, &second).unwrap();
    let (before, after) = (delivered(&first), delivered(&second));
    for (name, array) in before.iter().filter(|(name, _)| !name.contains("running")) {
        let close = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-5;
        assert!(array.values.iter().zip(&after[name].values).all(close), "{name}");
    }
}

#[test]
fn what_is_frozen_stays_and_such_runs_resume_exactly() {
    let state = network_of(3, 99).state_dict();
    for sets in [
        &["train.optimizer=adamw", "train.ema=0.9"][..],
        &["train.accumulate=2", "train.clip_gradient_norm=0.5"],
        &["train.device=cpu-burn"],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let freeze = "student.freeze=[\"conv1\", \"bn1\", \"layer1\"]";
        let sets = [&[freeze], sets].concat();
        let recipe = starting(folder.path(), &state, &sets);
        let parts = resumed_equals_undisturbed(&recipe, folder.path());
        for (name, array) in delivered(&parts) {
            let frozen = ["conv1.", "bn1.", "layer1."].iter().any(|own| name.starts_with(own));
            assert_eq!(array == state[&name], frozen, "{name}, {sets:?}");
        }
        let notes = CheckedRun::new(&recipe, &dataset()).unwrap().card().student_notes.clone();
        assert!(notes[0].starts_with("frozen: conv1, bn1, layer1, "), "{notes:?}");
    }
}

#[test]
fn methods_with_parts_of_their_own_train_a_student_of_which_some_is_frozen() {
    for (method, teachers) in
        [("simkd", 1), ("ca-mkd", 2), ("mmkd", 2), ("ikd", 1), ("amtml-kd", 2)]
    {
        let folder = tempfile::tempdir().unwrap();
        let sets = ["student.freeze=[\"conv1\", \"layer1.0\"]", "train.epochs=2"];
        let recipe = recipe(folder.path(), method, teachers, &sets);
        let out = folder.path().join("run");
        let start = network_of(3, 3).state_dict();
        run(&recipe, &out).unwrap();
        for (name, array) in delivered(&out) {
            let frozen = name.starts_with("conv1.") || name.starts_with("layer1.0.");
            assert!(!frozen || array == start[&name], "{method}: {name}");
        }
    }
}

#[test]
fn a_part_that_is_not_there_is_refused_with_those_that_are() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |freeze: &str| {
        let recipe = recipe(folder.path(), "ce", 0, &[&format!("student.freeze={freeze}")]);
        CheckedRun::new(&recipe, &dataset()).map(drop).unwrap_err()
    };
    let error = refused("[\"layer1\", \"laier2\"]");
    assert!(error.to_string().contains("names `laier2`"), "{error}");
    let hint = error.hint().unwrap();
    assert!(hint.starts_with("did you mean `layer2`? its parts are `conv1`, `bn1`, "), "{hint}");
    // Half a key is none.
    assert!(matches!(refused("[\"layer\"]"), Error::NothingFrozen { .. }));
    let all = "[\"conv1\", \"bn1\", \"layer1\", \"layer2\", \"layer3\", \"fc\"]";
    let error = refused(all);
    assert!(matches!(error, Error::AllFrozen { .. }), "{error}");
    assert!(error.hint().is_some());
}

#[test]
fn the_classifier_can_have_a_learning_rate_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    // Without momentum, weight decay and a second step: the step itself is the rate times a gradient.
    let sets = [
        "train.epochs=1",
        "train.batch_size=216",
        "train.momentum=0",
        "train.nesterov=false",
        "train.weight_decay=0",
        "data.validation=0",
    ];
    let state = network_of(3, 99).state_dict();
    let moved = |factor: f64| -> StateDict {
        let out = folder.path().join(format!("run{factor}"));
        let factor = format!("student.classifier_learning_rate_factor={factor}");
        let sets = [&sets[..], &[factor.as_str()]].concat();
        run(&starting(folder.path(), &state, &sets), &out).unwrap();
        let mut after = delivered(&out);
        for (name, array) in &mut after {
            let start = state[name].values.iter();
            array.values.iter_mut().zip(start).for_each(|(own, start)| *own -= start);
        }
        after
    };
    let (plain, faster) = (moved(1.0), moved(8.0));
    for (name, array) in &plain {
        let factor = if name.starts_with("fc.") { 8.0 } else { 1.0 };
        for (a, b) in array.values.iter().zip(&faster[name].values) {
            assert!((factor * a - b).abs() < 1e-5 + 1e-3 * b.abs(), "{name}: {a} and {b}");
        }
    }
    assert!(student(&folder.path().join("run1")) != student(&folder.path().join("run8")));
}
