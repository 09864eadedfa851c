//! Recipes that are built in code, and the schema itself.

use std::path::PathBuf;

use super::{FULL, METHODS, load};
use crate::*;

#[test]
fn checks_recipes_built_in_code() {
    let mut recipe = Recipe {
        data: Data { path: PathBuf::from("d"), ..Data::default() },
        student: Student { network: "resnet8".to_owned(), ..Student::default() },
        method: Method::with_defaults(&METHODS[0]),
        ..Recipe::default()
    };
    recipe.check(METHODS).unwrap();
    assert_eq!(recipe.warnings(METHODS), []);

    recipe.train.learning_rate = f64::NAN;
    recipe.data.std = Some(vec![f32::INFINITY]);
    recipe.seed = u64::MAX;
    recipe.method = Method::with_defaults(&METHODS[2]);
    recipe.method.options.insert("beta".to_owned(), OptionValue::Integer(3));
    recipe.method.options.insert("gamma".to_owned(), OptionValue::Integer(3));
    recipe.method.options.insert("scale".to_owned(), OptionValue::Word("big"));
    let error = recipe.check(METHODS).unwrap_err();
    let places: Vec<String> = error.problems.iter().map(Problem::place).collect();
    assert_eq!(
        places,
        [
            "seed",
            "data.std",
            "method.scale",
            "train.learning_rate",
            "method.beta",
            "method.gamma",
            "teachers"
        ]
    );
    recipe.train.momentum = 0.0;
    assert_eq!(recipe.warnings(METHODS)[0].place(), "train.momentum");
}

#[test]
fn every_key_is_explained_and_every_default_is_in_range() {
    for Entry { key, help, .. } in load(FULL, &[]).unwrap().explain() {
        assert!(help.len() > 8 && !help.contains("  ") && !help.ends_with('.'), "{key}: {help}");
        assert!(!help.starts_with(char::is_uppercase), "{key}: {help}");
    }
    let mut recipe = Recipe::default();
    recipe.teachers.push(Teacher::default());
    let keys: Vec<String> =
        recipe.check(METHODS).unwrap_err().problems.into_iter().map(|p| p.key).collect();
    let required = ["data.path", "student.network", "teachers[0].name", "method.name"];
    assert_eq!(keys, [&required[..], &["teachers[0]"]].concat());
}

#[test]
fn names_of_enums_are_those_of_recipes() {
    assert_eq!(Schedule::NAMES, ["step", "cosine", "linear", "one-cycle", "constant"]);
    assert_eq!(Schedule::OneCycle.name(), "one-cycle");
    let loaded = load(FULL, &["train.schedule=one-cycle", "train.optimizer=adamw"]).unwrap();
    assert_eq!(loaded.recipe.train.schedule, Schedule::OneCycle);
    assert_eq!(loaded.recipe.train.optimizer, Optimizer::AdamW);
}

#[cfg(unix)]
#[test]
fn refuses_to_write_a_path_that_is_not_text() {
    use std::os::unix::ffi::OsStringExt as _;
    let recipe = Recipe {
        output: Some(std::ffi::OsString::from_vec(vec![0xff]).into()),
        ..Recipe::default()
    };
    let error = recipe.to_toml().unwrap_err();
    assert_eq!(error.problems[0].hint, "use paths that are UTF-8 text");
}
