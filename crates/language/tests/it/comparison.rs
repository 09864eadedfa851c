//! Comparisons: what is paired, that one that was stopped ends as one that was not, what is refused, and
//! that models are measured once.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use faculty_language::{
    CheckedLanguageComparison, CheckedLanguageRun, ComparedRecipes, LanguageComparisonPlan,
    LanguageEvent, LanguageStart, Measurements, RunError, train_language,
};
use faculty_recipe::LanguageRecipe;
use faculty_records::language_comparison::LanguageComparison;
use faculty_records::statistics::SIGNIFICANCE;

use crate::run::{RANDOM, project};

fn plan(folder: &Path, recipes: ComparedRecipes, seeds: usize) -> LanguageComparisonPlan {
    LanguageComparisonPlan {
        folder: folder.to_owned(),
        recipes,
        seeds,
        against: None,
        level: SIGNIFICANCE,
        overwrite: false,
    }
}

fn methods(recipe: &LanguageRecipe, names: &[&str]) -> ComparedRecipes {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    ComparedRecipes::of_methods(recipe, Some(&names)).unwrap()
}

/// Compares; with a number of updates after which it is stopped.
fn compare(
    plan: LanguageComparisonPlan,
    stop_after: usize,
) -> Result<LanguageComparison, RunError> {
    let (stop, mut updates) = (AtomicBool::new(false), 0);
    CheckedLanguageComparison::new(plan)?.run(&stop, &mut |_, event| {
        if let LanguageEvent::Step { .. } = event {
            updates += 1;
            stop.store(updates == stop_after, Ordering::Relaxed);
        }
    })
}

/// What does not depend on how fast the machine was.
fn numbers(mut own: LanguageComparison) -> LanguageComparison {
    for row in &mut own.rows {
        row.seconds = 0.0;
        row.runs.iter_mut().for_each(|run| run.seconds = 0.0);
    }
    own
}

#[test]
fn a_comparison_that_is_stopped_ends_as_one_that_is_not() {
    let (folder, recipe) = project("ca-mkd", RANDOM);
    let whole = folder.path().join("whole");
    let recipes = || methods(&recipe, &["ca-mkd", "aver"]);
    let all = numbers(compare(plan(&whole, recipes(), 2), 0).unwrap());
    let names: Vec<&str> = all.rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!((names, all.reference.as_str()), (vec!["ce", "ca-mkd", "aver"], "aver"));
    assert_eq!((all.seeds.clone(), all.part.as_str()), (vec![1, 2], "test"));
    let teachers: Vec<&str> = all.teachers.iter().map(|own| own.name.as_str()).collect();
    assert_eq!(teachers, ["a", "b"]);
    assert!(all.teachers.iter().all(|own| own.test.is_some() && own.validation.is_some()));
    // What is saved is positive where fewer bits are needed, seed by seed.
    let bits = |row: usize, seed: usize| all.rows[row].runs[seed].test.unwrap().bits_per_character;
    for row in [0, 1] {
        let paired = all.rows[row].against_reference.as_ref().unwrap();
        for (seed, saved) in paired.differences.iter().enumerate() {
            assert!((saved - (bits(2, seed) - bits(row, seed))).abs() < 1e-12);
            assert!(saved.abs() > 0.0, "methods give the same student");
        }
    }
    assert!(all.rows[2].against_reference.is_none());
    // Students of one seed share the first weights; those of another do not.
    let start = |name: &str| -> String {
        let card = fs::read_to_string(whole.join(name).join("language-card.json")).unwrap();
        serde_json::from_str::<serde_json::Value>(&card).unwrap()["student"]["hash"].to_string()
    };
    assert_eq!(start("ce/seed1"), start("aver/seed1"));
    assert_ne!(start("ce/seed1"), start("ce/seed2"));

    let parts = folder.path().join("parts");
    for (stop_after, finished) in [(3, 0), (9, 1), (12, 3)] {
        let error = compare(plan(&parts, recipes(), 2), stop_after).unwrap_err();
        let RunError::ComparisonStopped { done, runs, .. } = error else { panic!("{error}") };
        assert_eq!((done, runs), (finished, 6));
        let checked = CheckedLanguageComparison::new(plan(&parts, recipes(), 2)).unwrap();
        assert_eq!(checked.runs().unwrap(), (6, finished));
        let missing = checked.missing().unwrap();
        assert!(missing[0].begun && !missing[1].begun, "{missing:?}");
    }
    assert_eq!(numbers(compare(plan(&parts, recipes(), 2), 0).unwrap()), all);
    // Once more: everything is there, and one more seed keeps the others.
    assert_eq!(numbers(compare(plan(&parts, recipes(), 2), 1).unwrap()), all);
    let more = CheckedLanguageComparison::new(plan(&parts, recipes(), 3)).unwrap();
    assert_eq!(more.runs().unwrap(), (9, 6));
}

#[test]
fn shares_train_their_part_and_say_what_is_missing() {
    let (folder, recipe) = project("ca-mkd", RANDOM);
    let own = folder.path().join("shares");
    let share = |text: &str| {
        let checked =
            CheckedLanguageComparison::new(plan(&own, methods(&recipe, &["aver"]), 2)).unwrap();
        let checked = checked.with_share(text.parse().unwrap());
        checked.run_share(&AtomicBool::new(false), &mut |_, _| ()).unwrap()
    };
    let first = share("2/2");
    assert_eq!((first.own, first.missing), (2, vec!["ce/seed1".to_owned(), "ce/seed2".to_owned()]));
    assert_eq!(first.missing_shares.iter().map(ToString::to_string).collect::<Vec<_>>(), ["1/2"]);
    assert!(share("1/2").missing.is_empty());
    let mut trained = 0;
    let checked =
        CheckedLanguageComparison::new(plan(&own, methods(&recipe, &["aver"]), 2)).unwrap();
    checked.run(&AtomicBool::new(false), &mut |_, _| trained += 1).unwrap();
    assert_eq!(trained, 0);
}

#[test]
fn other_runs_names_and_methods_are_refused() {
    let (folder, recipe) = project("ca-mkd", RANDOM);
    let own = folder.path().join("runs");
    compare(plan(&own, methods(&recipe, &["aver"]), 1), 0).unwrap();
    let mut other = recipe.clone();
    other.train.learning_rate *= 2.0;
    let again = |recipe: &LanguageRecipe| {
        CheckedLanguageComparison::new(plan(&own, methods(recipe, &["aver"]), 1))
    };
    let error = again(&other).unwrap_err();
    assert!(matches!(&error, RunError::Changed { what, .. } if what == "recipe"), "{error}");
    fs::write(folder.path().join("book.txt"), "another text\n".repeat(200)).unwrap();
    let error = again(&recipe).unwrap_err();
    assert!(error.to_string().contains("another text in `data.path`"), "{error}");

    let named = |names: &[String]| ComparedRecipes::of_methods(&recipe, Some(names)).unwrap_err();
    let error = named(&["dkd".to_owned()]);
    assert!(error.to_string().contains("`dkd`") && error.hint().contains("ca-mkd"), "{error}");
    let (_other, one) = project("kd", RANDOM);
    let error = ComparedRecipes::of_methods(&one, Some(&["aver".to_owned()])).unwrap_err();
    assert!(error.to_string().contains("at least two"), "{error}");
    let all = ComparedRecipes::of_methods(&one, None).unwrap();
    assert_eq!(all.names(), ["ce", "kd"]);
    let error = all.reference(Some("aver")).unwrap_err();
    assert!(error.hint().contains("ce, kd"), "{error}");
    let alone = ComparedRecipes::of_methods(&one, Some(&[])).unwrap();
    let error = CheckedLanguageComparison::new(plan(&own, alone, 1)).unwrap_err();
    assert!(matches!(error, RunError::NothingToCompare { .. }), "{error}");
    let settings = vec![("data.path=/tmp".to_owned(), other)];
    assert!(ComparedRecipes::of_settings(recipe, settings).is_err());
}

#[test]
fn policies_of_writing_are_settings_like_any_other() {
    let more =
        format!("{RANDOM}\n[writing]\npolicy = \"on-policy\"\nprompt_tokens = 6\nmax_tokens = 5");
    let (folder, recipe) = project("kd", &more);
    let text = recipe.to_toml().unwrap();
    let other = |set: &str| {
        let sets = [set.to_owned()];
        let loaded = LanguageRecipe::from_str(&text, folder.path().join("r.toml"), &sets);
        (set.to_owned(), loaded.unwrap().recipe)
    };
    let settings =
        ["writing.policy=skd", "writing.policy=gkd", "writing.policy=on-policy"].map(other);
    let recipes = ComparedRecipes::of_settings(recipe, settings.to_vec()).unwrap();
    // The recipe's own policy is there once.
    assert_eq!(recipes.names(), ["own", "writing.policy=skd", "writing.policy=gkd"]);
    let all = compare(plan(&folder.path().join("policies"), recipes, 1), 0).unwrap();
    assert_eq!(all.reference, "own");
    let bits: Vec<f64> = all.rows.iter().map(|row| row.bits.mean).collect();
    assert!(bits[0] != bits[1] && bits[1] != bits[2] && bits[0] != bits[2], "{bits:?}");
    assert!(all.verdict().starts_with("one seed cannot tell"), "{}", all.verdict());
}

#[test]
fn a_model_that_was_measured_is_not_measured_again() {
    let (folder, recipe) = project("kd", RANDOM);
    let output = folder.path().join("run");
    let stop = AtomicBool::new(false);
    let run = |start: LanguageStart, stop_after: u64| {
        let known = Measurements::read(&output);
        let checked = CheckedLanguageRun::with_measurements(&recipe, &known)?;
        stop.store(false, Ordering::Relaxed);
        train_language(checked, &output, start, &stop, &mut |event| {
            if let LanguageEvent::Step { step, .. } = event {
                stop.store(step == stop_after, Ordering::Relaxed);
            }
        })
    };
    run(LanguageStart::New, 3).unwrap_err();
    let path = output.join("measurements.json");
    let text = fs::read_to_string(&path).unwrap();
    let before: serde_json::Value = serde_json::from_str(&text).unwrap();
    // The teacher, and the student before its first step.
    assert_eq!(before["known"].as_object().unwrap().len(), 2, "{before}");
    let mut changed = before.clone();
    for own in changed["known"].as_object_mut().unwrap().values_mut() {
        own["bits_per_character"] = 77.5.into();
    }
    fs::write(&path, changed.to_string()).unwrap();
    let card = run(LanguageStart::Resume, 0).unwrap();
    assert_eq!(card.teachers[0].validation.unwrap().bits_per_character, 77.5);
    // What is not known is measured: the test split, and the trained student.
    assert!(card.teachers[0].test.unwrap().bits_per_character < 77.0);
    assert!(card.student.validation.unwrap().bits_per_character < 77.0);
    // Other texts, another program, or a file that is none: measured.
    changed["made_by"] = "another program".into();
    for bad in [changed.to_string(), "{".to_owned()] {
        fs::write(&path, bad).unwrap();
        let known = Measurements::read(&output);
        let checked = CheckedLanguageRun::with_measurements(&recipe, &known).unwrap();
        let own = checked.card().teachers[0].validation.unwrap();
        assert!(own.bits_per_character < 77.0, "{own:?}");
    }
}
