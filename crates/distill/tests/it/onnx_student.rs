//! A student from an ONNX file, from the recipe to the export.

use std::path::{Path, PathBuf};

use faculty_distill::methods::specs;
use faculty_distill::recipe::Recipe;
use faculty_distill::{CheckedRun, Error, FinishedStudent, Start, StudentChoice};
use faculty_nets::{MapShape, OnnxNetwork, weights};

use crate::data::{SIDE, dataset};
use crate::resume::{resumed, resumed_equals_undisturbed, run_until};
use crate::runs::{recipe, run};

/// Written by `bench/onnx_networks.py OUT student`: batch norm, a residual block,
/// squeeze-and-excitation, dropout; four classes.
fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnx_student/mine.onnx")
}

fn recipe_of(folder: &Path, method: &str, teachers: usize, more: &str) -> Recipe {
    let onnx = folder.join("mine.onnx");
    if !onnx.exists() {
        std::fs::copy(file(), &onnx).unwrap();
    }
    let plain = recipe(folder, method, teachers, &[]);
    let text = plain.to_toml().unwrap();
    let own = format!("[student]\nonnx = \"mine.onnx\"\n{more}");
    let text = text.replace("[student]\nnetwork = \"resnet8x0.5\"\n", &own);
    assert!(text.contains("mine.onnx"), "{text}");
    Recipe::from_str(&text, folder.join("recipe.toml"), &[], &specs()).unwrap().recipe
}

#[test]
fn it_learns_from_teachers_is_resumed_and_is_opened_again() {
    for (method, teachers) in [("ca-mkd", 2), ("kd", 1)] {
        let folder = tempfile::tempdir().unwrap();
        let recipe = recipe_of(folder.path(), method, teachers, "");
        resumed_equals_undisturbed(&recipe, folder.path());
    }
}

#[test]
fn it_starts_from_the_file_but_for_its_last_layer_and_is_known_by_its_content() {
    let folder = tempfile::tempdir().unwrap();
    // Steps too small to be seen leave the start as it was.
    let still = |more: &str, name: &str| {
        let mut recipe = recipe_of(folder.path(), "ce", 0, more);
        (recipe.train.learning_rate, recipe.train.epochs) = (1e-12, 1);
        let out = folder.path().join(name);
        let card = run(&recipe, &out).unwrap();
        (card, weights::read(&out.join("student.safetensors")).unwrap())
    };
    let (card, state) = still("", "from-file");
    assert!(card.student.starts_with("mine.onnx:"), "{}", card.student);
    assert_eq!(card.student_notes.len(), 1, "{:?}", card.student_notes);
    let onnx = OnnxNetwork::open(&file(), None).unwrap();
    let start = onnx.network(MapShape::new(1, SIDE, SIDE), None, 0).unwrap().0.state_dict();
    let names: Vec<&String> = state.keys().collect();
    assert_eq!(names, start.keys().collect::<Vec<_>>());
    let equal = |name: &str| state[name].values == start[name].values;
    assert!(equal("0.weight") && equal("3.shortcut.0.weight") && equal("4.up.bias"));
    assert_eq!(state["8.weight"].shape, [3, 8], "a layer for the classes of the data");

    let (card, fresh) = still("fresh = true\n", "fresh");
    assert!(card.student_notes.is_empty(), "{:?}", card.student_notes);
    assert_ne!(fresh["0.weight"].values, start["0.weight"].values);
    // Weights of a file under the same names are a start too.
    let (_, again) = still("weights = \"fresh/student.safetensors\"\n", "again");
    assert_eq!(again["0.weight"].values, fresh["0.weight"].values);

    // A run folder is opened without a word about the network.
    let out = folder.path().join("from-file");
    let finished = FinishedStudent::open(&out, &StudentChoice::default()).unwrap();
    assert_eq!(finished.network.state_dict(), state);
    assert!(finished.network.name().starts_with("mine.onnx:"));
}

#[test]
fn another_file_at_its_place_is_another_run_and_one_that_is_gone_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe_of(folder.path(), "ce", 0, "");
    let out = folder.path().join("run");
    run_until(&recipe, &out, Start::New, (1, 2));
    let onnx = folder.path().join("mine.onnx");
    let mut bytes = std::fs::read(&onnx).unwrap();
    // The lowest bit of a weight: a tensor's name, then the head of its values.
    let name = b"\x42\x080.weight";
    let at = bytes.windows(name.len()).position(|bytes| bytes == name).unwrap();
    bytes[at + name.len() + 3] ^= 1;
    std::fs::write(&onnx, bytes).unwrap();
    assert!(matches!(resumed(&recipe, &out), Err(Error::OtherRun { .. })));
    std::fs::remove_file(&onnx).unwrap();
    let error = CheckedRun::new(&recipe, &dataset()).err().unwrap();
    assert!(error.to_string().contains("mine.onnx"), "{error}");
}
