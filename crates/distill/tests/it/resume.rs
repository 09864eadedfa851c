//! Runs that end early and go on: the same run, bit for bit; and what may not change on the way.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use faculty_distill::checkpoint::Checkpoint;
use faculty_distill::recipe::Recipe;
use faculty_distill::record::RunCard;
use faculty_distill::{CheckedRun, Error, Event, Start, train};
use faculty_nets::weights;

use crate::data::{dataset, network};
use crate::runs::{metrics, recipe, run, run_with, student, timeless};

/// Trains until the batch `at`, and no further.
pub(crate) fn run_until(recipe: &Recipe, folder: &Path, start: Start, at: (usize, usize)) -> Error {
    let stop = AtomicBool::new(false);
    run_with(recipe, folder, start, &stop, &mut |event| {
        if matches!(event, Event::Batch { epoch, batch, .. } if (*epoch, *batch) == at) {
            stop.store(true, Ordering::Relaxed);
        }
    })
    .unwrap_err()
}

/// The card of a run that went on, from which epoch and batch it did so, and its warnings.
pub(crate) type Resumed = (RunCard, (usize, usize), Vec<String>);

/// Goes on to the end.
pub(crate) fn resumed(recipe: &Recipe, folder: &Path) -> Result<Resumed, Error> {
    let (mut from, mut warnings) = ((0, 0), Vec::new());
    let card =
        run_with(
            recipe,
            folder,
            Start::Resume,
            &AtomicBool::new(false),
            &mut |event| match event {
                Event::Started { epoch, batch } => from = (*epoch, *batch),
                // What is said of the training itself is no matter of resuming.
                Event::Warning(text) if !text.starts_with("term `") => warnings.push(text.clone()),
                _ => {}
            },
        )?;
    Ok((card, from, warnings))
}

pub(crate) fn resumed_with(
    recipe: &Recipe,
    folder: &Path,
    allowed: &[&str],
) -> Result<RunCard, Error> {
    let keys = allowed.iter().map(|key| (*key).to_owned()).collect();
    let run = CheckedRun::new(recipe, &dataset())?.allowing(keys)?;
    train(run, folder, Start::Resume, &AtomicBool::new(false), &mut |_| {})
}

fn last(folder: &Path) -> PathBuf {
    folder.join("checkpoints/last.safetensors")
}

fn timeless_card(card: &RunCard) -> RunCard {
    RunCard { seconds: 0.0, ..card.clone() }
}

#[test]
fn a_run_stopped_in_the_middle_of_epochs_equals_an_undisturbed_one() {
    for (method, optimizer, teachers) in [
        ("ce", "sgd", 0),
        ("ca-mkd", "sgd", 2),
        ("amtml-kd", "adamw", 3),
        ("aver", "adamw", 2),
        ("calibrated-confidence", "sgd", 2),
        ("random-teacher", "sgd", 2),
        ("dpk", "sgd", 2),
        ("crd", "sgd", 2),
        ("simkd", "adamw", 1),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let optimizer = format!("train.optimizer={optimizer}");
        let sets = [optimizer.as_str(), "data.views=2", "train.schedule=cosine"];
        let recipe = recipe(folder.path(), method, teachers, &sets);
        resumed_equals_undisturbed(&recipe, folder.path());
    }
}

#[test]
fn a_run_of_two_trainings_stopped_around_the_second_ones_start_equals_an_undisturbed_one() {
    let folder = tempfile::tempdir().unwrap();
    let sets = ["method.learn_epochs=1", "train.schedule=one-cycle", "train.optimizer=adamw"];
    let recipe = recipe(folder.path(), "amtml-kd", 3, &sets);
    resumed_equals_undisturbed(&recipe, folder.path());
    // Between the two, when the checkpoint holds the first student and nothing of the second.
    let (whole, between) = (folder.path().join("whole"), folder.path().join("between"));
    let stop = AtomicBool::new(false);
    run_with(&recipe, &between, Start::New, &stop, &mut |event| {
        if matches!(event, Event::Epoch(_)) {
            stop.store(true, Ordering::Relaxed);
        }
    })
    .unwrap_err();
    assert_eq!(Checkpoint::read(&last(&between)).unwrap().progress.epoch, 1);
    let (_, from, _) = resumed(&recipe, &between).unwrap();
    assert_eq!(from, (2, 0));
    assert!(student(&between) == student(&whole));
    assert_eq!(timeless(&between), timeless(&whole));
}

/// Runs a recipe of two epochs or more once undisturbed and once stopped in the middle, after the
/// first and after the last batch of epochs and resumed each time; gives the folder of the latter.
pub(crate) fn resumed_equals_undisturbed(recipe: &Recipe, folder: &Path) -> PathBuf {
    let method = &recipe.method.name;
    let whole = folder.join("whole");
    let mut batches_of_epoch = 0;
    let calm = AtomicBool::new(false);
    let card = run_with(recipe, &whole, Start::New, &calm, &mut |event| {
        if let Event::Batch { batches, .. } = event {
            batches_of_epoch = *batches;
        }
    })
    .unwrap();

    let parts = folder.join("parts");
    let end = (2, batches_of_epoch);
    for (start, at) in [
        (Start::New, (1, 2)),
        (Start::Resume, (1, 3)),
        (Start::Resume, (2, 1)),
        (Start::Resume, end),
    ] {
        let error = run_until(recipe, &parts, start, at);
        let Error::Interrupted { epoch, batch, kept: Some(kept) } = &error else {
            panic!("{method}: {error}")
        };
        assert_eq!((*epoch, *batch), at, "{method}");
        assert_eq!(*kept, last(&parts));
        assert!(error.hint().unwrap().contains("--resume"));
    }
    let (other, from, warnings) = resumed(recipe, &parts).unwrap();
    assert_eq!((from, warnings), (end, vec![]), "{method}");
    assert!(student(&parts) == student(&whole), "{method}: students differ");
    assert_eq!(timeless(&parts), timeless(&whole), "{method}");
    assert_eq!(timeless_card(&other), timeless_card(&card), "{method}");
    let checkpoint = |run: &Path| weights::read_safetensors(&last(run)).unwrap().0;
    assert!(checkpoint(&parts) == checkpoint(&whole), "{method}: checkpoints differ");
    parts
}

#[test]
fn checkpoints_are_written_by_time_in_the_middle_of_an_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let often = recipe(folder.path(), "ce", 0, &["train.checkpoint_minutes=0"]);
    let out = folder.path().join("often");
    let mut seen = Vec::new();
    run_with(&often, &out, Start::New, &AtomicBool::new(false), &mut |event| {
        // The event comes before its batch's checkpoint: that of the batch before it is there.
        if matches!(event, Event::Batch { epoch: 1, batch: 2.., .. }) {
            let progress = Checkpoint::read(&last(&out)).unwrap().progress;
            seen.push((progress.epoch, progress.batch()));
        }
    })
    .unwrap();
    assert_eq!(seen, [(0, 1), (0, 2), (0, 3), (0, 4), (0, 5)]);
    // Never, by default, in a run of seconds; and how often changes nothing of the result.
    let seldom = recipe(folder.path(), "ce", 0, &["train.checkpoint_every=3"]);
    let out = folder.path().join("seldom");
    run_with(&seldom, &out, Start::New, &AtomicBool::new(false), &mut |event| {
        assert!(!matches!(event, Event::Batch { .. }) || !last(&out).exists());
    })
    .unwrap();
    assert!(student(&out) == student(&folder.path().join("often")));
    // A run may go on with other times.
    resumed(&often, &out).unwrap();
}

#[test]
fn a_damaged_or_missing_last_checkpoint_is_told_and_the_one_before_it_used() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), "ca-mkd", 2, &[]);
    let whole = folder.path().join("whole");
    run(&recipe, &whole).unwrap();
    let out = folder.path().join("run");
    run_until(&recipe, &out, Start::New, (2, 4));
    let (good, previous) =
        (std::fs::read(last(&out)).unwrap(), out.join("checkpoints/previous.safetensors"));
    let before = std::fs::read(&previous).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    let damages: [(&str, Option<Vec<u8>>); 4] = [
        ("cut short", Some(good[..good.len() / 2].to_vec())),
        ("one bit", Some(flipped)),
        ("empty", Some(Vec::new())),
        ("missing", None),
    ];
    for (name, damage) in damages {
        let copy = folder.path().join(name);
        std::fs::create_dir_all(copy.join("checkpoints")).unwrap();
        for file in ["recipe.toml", "metrics.jsonl"] {
            std::fs::copy(out.join(file), copy.join(file)).unwrap();
        }
        std::fs::write(copy.join("checkpoints/previous.safetensors"), &before).unwrap();
        if let Some(bytes) = &damage {
            std::fs::write(last(&copy), bytes).unwrap();
        }
        let (_, from, warnings) = resumed(&recipe, &copy).unwrap();
        assert_eq!(from, (2, 0), "{name}");
        let [warning] = warnings.as_slice() else { panic!("{name}: {warnings:?}") };
        assert!(warning.contains("last.safetensors"), "{warning}");
        assert!(warning.contains("the one before it is used: epoch 1, batch 0 on"), "{warning}");
        assert!(student(&copy) == student(&whole), "{name}: students differ");
        assert_eq!(timeless(&copy), timeless(&whole), "{name}");
        assert_eq!(copy.join("checkpoints/damaged.safetensors").exists(), damage.is_some());
    }
    // Both: refused, and nothing is thrown away.
    std::fs::write(last(&out), &good[..100]).unwrap();
    std::fs::write(&previous, &before[..100]).unwrap();
    let error = resumed(&recipe, &out).unwrap_err();
    assert!(error.to_string().contains("last.safetensors"), "{error}");
    assert!(error.hint().is_some());
    assert_eq!(std::fs::read(last(&out)).unwrap(), &good[..100]);
}

#[test]
fn a_run_killed_before_its_first_checkpoint_begins_again() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), "ce", 0, &[]);
    let out = folder.path().join("run");
    let whole = folder.path().join("whole");
    run(&recipe, &whole).unwrap();
    // Results without their recipe are nothing to go on from.
    std::fs::create_dir_all(&out).unwrap();
    std::fs::copy(whole.join("card.json"), out.join("card.json")).unwrap();
    let error = resumed(&recipe, &out).unwrap_err();
    assert!(matches!(error, Error::NothingToResume { .. }), "{error}");
    std::fs::remove_file(out.join("card.json")).unwrap();
    // Killed before the recipe had its name, at two moments, and before there was a folder.
    for left in [None, Some(&["lock"][..]), Some(&["lock", ".0123.partial"][..])] {
        let early = folder.path().join(format!("early{}", left.map_or(0, <[_]>::len)));
        if let Some(names) = left {
            std::fs::create_dir_all(early.join("checkpoints")).unwrap();
            names.iter().for_each(|name| std::fs::write(early.join(name), "").unwrap());
        }
        let (_, from, warnings) = resumed(&recipe, &early).unwrap();
        assert_eq!(from, (1, 0));
        assert!(warnings.iter().any(|text| text.contains("begins again")), "{warnings:?}");
        assert!(student(&early) == student(&whole) && early.join("recipe.toml").exists());
    }
    std::fs::create_dir_all(out.join("checkpoints")).unwrap();
    std::fs::copy(whole.join("recipe.toml"), out.join("recipe.toml")).unwrap();
    std::fs::write(out.join("metrics.jsonl"), "{\"epoch\":1,\"lea").unwrap();
    std::fs::write(out.join("checkpoints/last.partial"), "half").unwrap();
    let (_, from, _) = resumed(&recipe, &out).unwrap();
    assert_eq!(from, (1, 0));
    assert!(student(&out) == student(&whole));
    assert_eq!(timeless(&out), timeless(&whole));
    assert!(!out.join("checkpoints/last.partial").exists());
}

#[test]
fn another_recipe_data_set_or_teacher_is_named_and_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let first = recipe(folder.path(), "aver", 1, &["train.epochs=1"]);
    run(&first, &out).unwrap();
    let refused = |recipe: &Recipe| resumed_with(recipe, &out, &[]).unwrap_err();
    let mut other = first.clone();
    other.train.learning_rate = 0.01;
    other.data.flip = !other.data.flip;
    let error = refused(&other);
    let text = error.to_string();
    assert!(text.contains("`train.learning_rate` (then 0.05, now 0.01)"), "{text}");
    assert!(text.contains("`data.flip` (then true, now false)"), "{text}");
    other.data.flip = first.data.flip;
    let hint = refused(&other).hint().unwrap();
    assert!(hint.contains("`--resume-with train.learning_rate=0.01`"), "{hint}");
    // Not by whoever cannot be given that.
    let hint = resumed(&other, &out).unwrap_err().hint().unwrap();
    assert!(!hint.contains("--resume-with"), "{hint}");
    let path = folder.path().join("teacher0.safetensors");
    weights::write(&path, &network(99).state_dict(), &BTreeMap::new()).unwrap();
    let text = refused(&first).to_string();
    assert!(text.contains("another run: teacher t0 (then "), "{text}");
    weights::write(&path, &network(50).state_dict(), &BTreeMap::new()).unwrap();
    resumed(&first, &out).unwrap();
    // Other data with the same shape.
    let mut fewer = first.clone();
    fewer.data.train_samples = Some(200);
    assert!(refused(&fewer).to_string().contains("`data.train_samples` (then none, now 200)"));
}

#[test]
fn named_fields_may_change_and_the_change_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let sets = ["train.schedule=constant"];
    let short = recipe(folder.path(), "ca-mkd", 2, &sets);
    let long = recipe(folder.path(), "ca-mkd", 2, &["train.schedule=constant", "train.epochs=5"]);
    let out = folder.path().join("run");
    run(&short, &out).unwrap();
    assert!(matches!(resumed(&long, &out).unwrap_err(), Error::OtherRun { .. }));
    let card = resumed_with(&long, &out, &["train.epochs"]).unwrap();
    assert_eq!(card.last.epoch, 5);
    let [change] = card.changes.iter().filter(|c| c.key == "train.epochs").collect::<Vec<_>>()[..]
    else {
        panic!("{:?}", card.changes)
    };
    assert_eq!((change.epoch, change.batch), (3, 0));
    assert_eq!((change.then.as_str(), change.now.as_str()), ("3", "5"));
    // With a constant rate this is the longer run.
    let whole = folder.path().join("whole");
    let undisturbed = run(&long, &whole).unwrap();
    assert!(undisturbed.changes.is_empty());
    assert_eq!(timeless(&out), timeless(&whole));
    let (state, metadata) = weights::read_safetensors(&out.join("student.safetensors")).unwrap();
    let (other, _) = weights::read_safetensors(&whole.join("student.safetensors")).unwrap();
    assert!(state == other, "students differ");
    assert!(metadata["changes"].contains("train.epochs"), "{metadata:?}");
    // From here on the new recipe is that of the run.
    let (again, ..) = resumed(&long, &out).unwrap();
    assert_eq!(again.changes, card.changes);
    assert!(matches!(resumed(&short, &out).unwrap_err(), Error::OtherRun { .. }));

    for key in [
        "seed",
        "data.flip",
        "method.name",
        "method.learn_epochs",
        "train.optimizer",
        "student.network",
    ] {
        let error = resumed_with(&long, &out, &[key]).unwrap_err();
        assert!(matches!(error, Error::CannotChange { .. }), "{key}: {error}");
        assert!(error.hint().is_some());
    }
}

#[test]
fn another_batch_size_in_mid_epoch_goes_on_with_the_samples_that_are_left() {
    let folder = tempfile::tempdir().unwrap();
    let first = recipe(folder.path(), "ce", 0, &["train.epochs=1"]);
    let out = folder.path().join("run");
    run_until(&first, &out, Start::New, (1, 3));
    let mut other = first.clone();
    other.train.batch_size = 20;
    resumed_with(&other, &out, &["train.batch_size"]).unwrap();
    // 216 training samples: 3 batches of 32 and 6 of 20.
    let progress = Checkpoint::read(&last(&out)).unwrap().progress;
    assert_eq!(progress.changes[0].batch, 3);
    assert_eq!(metrics(&out).len(), 1);
}

#[test]
fn lost_metrics_are_told_and_do_not_stop_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), "ce", 0, &[]);
    let out = folder.path().join("run");
    run_until(&recipe, &out, Start::New, (3, 1));
    std::fs::remove_file(out.join("metrics.jsonl")).unwrap();
    let (_, from, warnings) = resumed(&recipe, &out).unwrap();
    assert_eq!(from, (3, 1));
    assert!(warnings[0].contains("lost lines of earlier epochs"), "{warnings:?}");
    assert_eq!(metrics(&out).iter().map(|r| r.epoch).collect::<Vec<_>>(), [3]);
    // What comes after a checkpoint is cut off, half lines too.
    let whole = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    std::fs::write(out.join("metrics.jsonl"), whole.clone() + "{\"epoch\":4,").unwrap();
    resumed(&recipe, &out).unwrap();
    assert_eq!(std::fs::read_to_string(out.join("metrics.jsonl")).unwrap(), whole);
}

#[test]
fn the_best_student_survives_in_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    // After its first epoch the rate is so high that it only gets worse.
    let sets = ["train.learning_rate=0.05"];
    let first = recipe(folder.path(), "ce", 0, &sets);
    let out = folder.path().join("run");
    run_until(&first, &out, Start::New, (3, 1));
    let best = Checkpoint::read(&last(&out)).unwrap().progress.best.unwrap();
    let file = out.join("checkpoints/best.safetensors");
    let kept = std::fs::read(&file).unwrap();
    std::fs::write(&file, "a student of another course").unwrap();
    let mut worse = first.clone();
    worse.train.learning_rate = 1e-12;
    worse.train.weight_decay = 0.0;
    let keys = ["train.learning_rate", "train.weight_decay"];
    let card = resumed_with(&worse, &out, &keys).unwrap();
    if card.best.epoch == best.epoch {
        let tensors = |bytes: &[u8]| weights::parse_safetensors(&file, bytes).unwrap().0;
        assert!(tensors(&student(&out)) == tensors(&kept), "students differ");
    } else {
        assert_eq!(card.best.epoch, 3);
    }
    assert!(weights::read_safetensors(&file).is_ok(), "written again");
}
