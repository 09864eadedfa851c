use std::path::{Path, PathBuf};

use toml::Value;

use super::*;

mod code;
mod meaning;
mod messages;
mod mutations;
mod plans;
mod sets;
mod training;

const fn option(
    key: &'static str,
    default: OptionValue,
    range: Range,
    source: &'static str,
) -> OptionSpec {
    OptionSpec { key, default, range, source, help: "an option", exceptions: &[] }
}

const TEMPERATURE: OptionSpec =
    option("temperature", OptionValue::Number(4.0), Range::above(0.0), "paper");

const METHODS: &[MethodSpec] = &[
    MethodSpec {
        name: "ce",
        help: "labels only",
        options: &[],
        min_teachers: 0,
        max_teachers: Some(0),
    },
    MethodSpec {
        name: "kd",
        help: "one teacher",
        options: &[
            TEMPERATURE,
            option("alpha", OptionValue::Number(0.9), Range::between(0.0, 1.0), "paper"),
        ],
        min_teachers: 1,
        max_teachers: Some(1),
    },
    MethodSpec {
        name: "ca-mkd",
        help: "several teachers by confidence",
        options: &[
            option("scale", OptionValue::Word("unit"), Range::Words(&["unit", "official"]), "ours"),
            TEMPERATURE,
            option("beta", OptionValue::Number(50.0), Range::at_least(0.0), "released code"),
            option("warmup_epochs", OptionValue::Integer(1), Range::at_least(0.0), "released code"),
            OptionSpec {
                exceptions: &[Exception {
                    student: None,
                    option: Some(("scale", OptionValue::Word("official"))),
                    default: OptionValue::Flag(false),
                    source: "released code",
                }],
                ..option("detach_inter_weight", OptionValue::Flag(true), Range::Any, "paper")
            },
        ],
        min_teachers: 1,
        max_teachers: None,
    },
];

/// A recipe of 25 lines that uses all sections.
const FULL: &str = r#"seed = 7

[data]
path = "cifar100"
mean = [0.5071, 0.4867, 0.4408]
std = [0.2675, 0.2565, 0.2761]

[student]
network = "resnet8x4"

[[teachers]]
name = "good"
network = "resnet32x4"
weights = "../w/good.pth"

[[teachers]]
name = "wrn40.2"
network = "wrn_40_2"
weights = "/w/wrn.safetensors"

[method]
name = "ca-mkd"
beta = 10

[train]
epochs = 24
"#;

fn load(text: &str, sets: &[&str]) -> Result<LoadedRecipe, RecipeError> {
    let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
    Recipe::from_str(text, "recipes/x.toml", &sets, METHODS)
}

fn absolute(path: &str) -> PathBuf {
    std::path::absolute(path).unwrap()
}

fn entry<'l>(loaded: &'l LoadedRecipe, key: &str) -> &'l Entry {
    loaded.explain().iter().find(|entry| entry.key == key).unwrap()
}

fn origin(loaded: &LoadedRecipe, key: &str) -> String {
    entry(loaded, key).origin.to_string()
}

#[test]
fn layers_defaults_file_and_sets_with_their_origins() {
    let loaded = load(FULL, &["train.batch_size=8", "method.scale=official"]).unwrap();
    let Recipe { seed, data, teachers, method, train, .. } = &loaded.recipe;
    assert_eq!((*seed, train.epochs, train.batch_size, train.momentum), (7, 24, 8, 0.9));
    assert_eq!(data.std.as_deref(), Some(&[0.2675, 0.2565, 0.2761][..]));
    assert_eq!(teachers.len(), 2);
    assert_eq!(method.number("beta"), Some(10.0));
    assert_eq!(method.number("temperature"), Some(4.0));
    assert_eq!(method.integer("warmup_epochs"), Some(1));
    assert_eq!(method.word("scale"), Some("official"));
    assert_eq!(method.word("beta"), None);
    assert_eq!(origin(&loaded, "seed"), "recipes/x.toml:1");
    assert_eq!(origin(&loaded, "teachers[1].network"), "recipes/x.toml:18");
    assert_eq!(origin(&loaded, "method.beta"), "recipes/x.toml:23");
    assert_eq!(origin(&loaded, "method.temperature"), "default (paper)");
    assert_eq!(origin(&loaded, "train.batch_size"), "--set");
    assert_eq!(origin(&loaded, "train.momentum"), "default (CA-MKD paper)");
    assert_eq!(loaded.warnings, []);
}

#[test]
fn a_default_can_follow_another_value() {
    let loaded = load(FULL, &[]).unwrap();
    assert_eq!(loaded.recipe.train.milestones, [15, 18, 21]);
    assert_eq!(load(FULL, &["train.epochs=240"]).unwrap().recipe.train.milestones, [150, 180, 210]);
    assert_eq!(load(FULL, &["train.epochs=1"]).unwrap().recipe.train.milestones, [0; 0]);
    assert_eq!(load(FULL, &["train.milestones=[2]"]).unwrap().recipe.train.milestones, [2]);

    assert_eq!(loaded.recipe.method.flag("detach_inter_weight"), Some(true));
    let official = load(FULL, &["method.scale=official"]).unwrap();
    assert_eq!(official.recipe.method.flag("detach_inter_weight"), Some(false));
    assert_eq!(origin(&official, "method.detach_inter_weight"), "default (released code)");
}

#[test]
fn relative_paths_start_at_the_recipe_or_at_the_current_folder() {
    let loaded = load(FULL, &["teachers.1.weights=w/b.pth"]).unwrap();
    assert_eq!(loaded.recipe.data.path, absolute("recipes/cifar100"));
    assert_eq!(loaded.recipe.teachers[0].weights, Some(absolute("recipes/../w/good.pth")));
    assert_eq!(loaded.recipe.teachers[1].weights, Some(absolute("w/b.pth")));
    assert_eq!(loaded.recipe.output, Some(absolute("runs/x")));
    assert_eq!(load(FULL, &["output=here"]).unwrap().recipe.output, Some(absolute("here")));
    let unnamed = Recipe::from_str(FULL, "", &[], METHODS).unwrap().recipe;
    assert_eq!(unnamed.data.path, absolute("cifar100"));
}

#[test]
fn a_recipe_without_teachers_reads_as_itself() {
    let plain = "data.path = 'd'\nstudent.network = 'n'\nmethod.name = 'ce'";
    let first = load(plain, &["data.resize=[2,3]"]).unwrap();
    let text = first.recipe.to_toml().unwrap();
    assert_eq!(load(&text, &[]).unwrap().recipe, first.recipe, "{text}");
    assert_eq!(origin(&first, "method.name"), "recipes/x.toml:3");
}

#[test]
fn the_resolved_recipe_reads_as_itself() {
    let sets =
        ["data.views=3", "train.clip_gradient_norm=1.5", "train.optimizer=adamw", "name=a \"b\""];
    let first = load(FULL, &sets).unwrap();
    let text = first.recipe.to_toml().unwrap();
    let again = Recipe::from_str(&text, "elsewhere/recipe.toml", &[], METHODS).unwrap();
    assert_eq!(again.recipe, first.recipe, "{text}");
    assert_eq!(again.warnings, first.warnings);
    assert_eq!(again.recipe.to_toml().unwrap(), text);
}

#[test]
fn explanations_serialise_with_value_and_origin() {
    let loaded = load(FULL, &[]).unwrap();
    let json = serde_json::to_value(entry(&loaded, "data.validation")).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "key": "data.validation",
            "value": 0.1,
            "origin": "default (faculty's choice)",
            "help": "what the best epoch is chosen by: a split by its name or path, as `val`; or the \
                     share of the training split that is held out where the data set has no \
                     validation split of its own (`val`, `valid`, `validation`, `dev`). With 0 there \
                     is none, and the last epoch counts as the best",
        })
    );
    assert_eq!(entry(&loaded, "data.mean").value_text(), "[0.5071, 0.4867, 0.4408]");
    assert_eq!(entry(&loaded, "data.views").value, None);
    assert_eq!(entry(&loaded, "data.views").value_text(), "-");
    assert_eq!(entry(&loaded, "train.optimizer").value, Some(Value::String("sgd".to_owned())));
}

#[test]
fn reads_files_and_says_why_it_cannot() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.toml");
    std::fs::write(&path, FULL.replace('\n', "\r\n")).unwrap();
    let loaded = Recipe::load(&path, &[], METHODS).unwrap();
    assert_eq!(loaded.recipe.data.path, folder.path().join("cifar100"));
    assert_eq!(loaded.recipe.output.as_deref().and_then(Path::file_name), Some("small".as_ref()));

    let error = Recipe::load(folder.path().join("none.toml"), &[], METHODS).unwrap_err();
    assert!(std::error::Error::source(&error).is_some());
    assert!(error.problems[0].what.starts_with("cannot read the recipe: "), "{error}");
    assert!(error.problems[0].place().ends_with("none.toml"), "{error}");

    std::fs::write(&path, b"name = \"\xff\"").unwrap();
    let error = Recipe::load(&path, &[], METHODS).unwrap_err();
    assert_eq!(error.problems[0].hint, "save it as UTF-8 text");
}
