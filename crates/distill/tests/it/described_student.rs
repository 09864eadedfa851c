//! A student from a description, from the recipe to the finished student.

use std::path::Path;

use faculty_distill::methods::specs;
use faculty_distill::recipe::Recipe;
use faculty_distill::{CheckedRun, Error, FinishedStudent, Start, StudentChoice};
use faculty_nets::{described, weights};

use crate::data::dataset;
use crate::resume::{resumed, resumed_equals_undisturbed, run_until};
use crate::runs::{recipe, run};

fn recipe_of(folder: &Path, method: &str, teachers: usize, more: &str) -> Recipe {
    let file = folder.join("own.toml");
    if !file.exists() {
        std::fs::write(&file, described("resnet8x0.5").unwrap().unwrap()).unwrap();
    }
    let plain = recipe(folder, method, teachers, &[]);
    let text = plain.to_toml().unwrap();
    let own = format!("[student]\nfile = \"own.toml\"\n{more}");
    let text = text.replace("[student]\nnetwork = \"resnet8x0.5\"\n", &own);
    assert!(text.contains("own.toml"), "{text}");
    Recipe::from_str(&text, folder.join("recipe.toml"), &[], &specs()).unwrap().recipe
}

#[test]
fn it_is_trained_as_the_built_in_network_that_it_describes_and_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let (own, built_in) = (folder.path().join("own"), folder.path().join("built-in"));
    let card = run(&recipe_of(folder.path(), "ca-mkd", 2, ""), &own).unwrap();
    assert!(card.student.starts_with("own.toml:"), "{}", card.student);
    run(&recipe(folder.path(), "ca-mkd", 2, &[]), &built_in).unwrap();
    // Start values are drawn by the names of parameters.
    let state = |run: &Path| weights::read(&run.join("student.safetensors")).unwrap();
    assert!(state(&own) == state(&built_in));
    let finished = FinishedStudent::open(&own, &StudentChoice::default()).unwrap();
    assert_eq!(finished.network.state_dict(), state(&own));
    assert_eq!(finished.network.name(), card.student);
    // The other's weights are a start under the same names.
    let more = "weights = \"built-in/student.safetensors\"\n";
    let recipe = recipe_of(folder.path(), "ce", 0, more);
    assert!(run(&recipe, &folder.path().join("again")).unwrap().student_notes.is_empty());
}

#[test]
fn it_is_resumed_and_another_description_at_its_place_is_another_run() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe_of(folder.path(), "kd", 1, "");
    resumed_equals_undisturbed(&recipe, folder.path());
    let out = folder.path().join("run");
    run_until(&recipe, &out, Start::New, (1, 2));
    let file = folder.path().join("own.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("width = 32", "width = 40")).unwrap();
    assert!(matches!(resumed(&recipe, &out), Err(Error::OtherRun { .. })));
    std::fs::write(&file, text.replace("width = 32", "depth = 32")).unwrap();
    let error = CheckedRun::new(&recipe, &dataset()).err().unwrap();
    let want = "own.toml`, line 14: block `basic` as `layer3.0`: nothing is called `width`";
    assert!(error.to_string().contains(want), "{error}");
    let hint = error.hint().unwrap();
    assert!(hint.contains("names of numbers here are") && hint.contains("`depth`"), "{hint}");
    std::fs::remove_file(&file).unwrap();
    let error = CheckedRun::new(&recipe, &dataset()).err().unwrap();
    assert!(error.to_string().contains("own.toml"), "{error}");
}
