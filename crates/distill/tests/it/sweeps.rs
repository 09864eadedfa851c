//! Sweeps: rounds, interruption, settings that break down, and what is never looked at.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use faculty_distill::recipe::Recipe;
use faculty_distill::sweep::{Candidate, CheckedSweep, Sweep, SweepPlan};
use faculty_distill::{Error, Event};
use faculty_teachers::TeacherError;

use crate::data::dataset;
use crate::runs::recipe;

fn plan(files: &Path, folder: &Path, settings: &[&[&str]], seeds: usize) -> SweepPlan {
    let candidate = |sets: &&[&str]| Candidate {
        sets: sets.iter().map(|set| (*set).to_owned()).collect(),
        recipe: shared(files, sets),
    };
    SweepPlan {
        folder: folder.to_owned(),
        candidates: settings.iter().map(candidate).collect(),
        seeds,
        overwrite: false,
    }
}

fn shared(files: &Path, sets: &[&str]) -> Recipe {
    recipe(files, "aver", 2, &[&["data.views=2"], sets].concat())
}

const SETTINGS: [&[&str]; 5] = [
    &[],
    &["method.temperature=2"],
    &["method.alpha=0.5"],
    &["train.learning_rate=0.0000001"],
    &["train.learning_rate=0.02", "method.temperature=1"],
];

fn run(plan: SweepPlan, stop: &AtomicBool, each: &mut dyn FnMut(&str)) -> Result<Sweep, Error> {
    CheckedSweep::new(plan, &dataset())?.run(stop, &mut |name, event| {
        if matches!(event, Event::Started { .. }) {
            each(name);
        }
    })
}

#[test]
fn a_sweep_keeps_the_better_settings_and_goes_on_after_an_interruption() {
    let folder = tempfile::tempdir().unwrap();
    let own = |name: &str| plan(folder.path(), &folder.path().join(name), &SETTINGS, 2);
    let go = AtomicBool::new(false);
    let calm = run(own("calm"), &go, &mut |_| {}).unwrap();
    let sizes: Vec<(usize, usize, usize)> =
        calm.rounds.iter().map(|(r, tried)| (r.settings, r.epochs, tried.len())).collect();
    assert_eq!(sizes, [(5, 1, 5), (3, 3, 3)]);
    assert!(calm.samples > 0 && calm.own().is_some());
    for (_, tried) in &calm.rounds {
        assert!(tried.iter().all(|own| own.top1.len() == 2));
        assert!(tried.windows(2).all(|pair| pair[0].mean_top1() >= pair[1].mean_top1()));
    }
    // The best two of the others went on, beside the recipe's own.
    let others = calm.rounds[0].1.iter().filter(|own| !own.sets.is_empty()).take(2);
    let mut went_on: Vec<&[String]> = others.map(|own| own.sets.as_slice()).collect();
    went_on.push(&[]);
    for own in &calm.rounds[1].1 {
        assert!(went_on.contains(&own.sets.as_slice()), "{:?}", own.sets);
    }
    // The test split was not measured.
    let card = folder.path().join("calm/round2/own/seed3/card.json");
    let card: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(card).unwrap()).unwrap();
    assert!(card["best"]["test"].is_null() && card["last"]["validation"].is_object());

    let (stop, mut started) = (AtomicBool::new(false), 0);
    let error = run(own("stopped"), &stop, &mut |_| {
        started += 1;
        stop.store(started == 4, Ordering::Relaxed);
    });
    assert!(matches!(error, Err(Error::ComparisonStopped { done: 3, runs: 16, .. })), "{error:?}");
    let mut again = 0;
    assert_eq!(run(own("stopped"), &go, &mut |_| again += 1).unwrap(), calm);
    assert_eq!(again, 13, "three were finished");
}

#[test]
fn settings_that_break_down_are_last_and_those_that_a_sweep_cannot_vary_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let go = AtomicBool::new(false);
    let to = folder.path().join("out");
    let settings: [&[&str]; 2] = [&[], &["train.learning_rate=1e30"]];
    let sweep = run(plan(folder.path(), &to, &settings, 1), &go, &mut |_| {}).unwrap();
    let tried = &sweep.rounds[0].1;
    assert!(tried[1].broke.is_some() && tried[1].top1.is_empty(), "{tried:?}");
    assert_eq!(sweep.best(), sweep.own());

    for sets in
        ["train.epochs=9", "data.validation=0.2", "method.name=ce", "student.network=resnet8"]
    {
        let settings: [&[&str]; 2] = [&[], &[sets]];
        let error = run(plan(folder.path(), &to, &settings, 1), &go, &mut |_| {}).unwrap_err();
        let Error::SweptKey { key, .. } = &error else { panic!("{sets}: {error}") };
        assert!(sets.starts_with(key) && error.hint().is_some(), "{sets}: {key}");
    }
    let error = run(plan(folder.path(), &to, &[&[]], 1), &go, &mut |_| {}).unwrap_err();
    assert!(matches!(error, Error::NothingToSweep { .. }));
    let mut blind = plan(folder.path(), &to, &settings, 1);
    blind.candidates.iter_mut().for_each(|own| own.recipe.data.validation = 0.0.into());
    let error = run(blind, &go, &mut |_| {}).unwrap_err();
    assert!(matches!(error, Error::Teacher(TeacherError::NothingToMeasureOn)), "{error}");
}
