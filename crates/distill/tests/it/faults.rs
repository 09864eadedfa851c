//! Faults of the system and of the numbers: what is reported, what is kept, and that the run goes on from
//! it to the same student. See `docs/reliability.md`.

use std::cell::Cell;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

use faculty_distill::cache::plan as plan_cache;
use faculty_distill::checkpoint::Checkpoint;
use faculty_distill::recipe::Recipe;
use faculty_distill::{Error, Event, Start};
use faculty_files::LockError;
use faculty_files::faults::{self, Operation};
use faculty_teachers::TeacherError;

use crate::resume::{resumed, run_until};
use crate::runs::{recipe, run, run_with, student, timeless};

/// Every file below `folder` that has its final name, and whether it can be read as what it is.
fn all_whole(folder: &Path) {
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            let text = || std::fs::read_to_string(&path).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            match path.extension().and_then(|e| e.to_str()) {
                _ if path.is_dir() => folders.push(path),
                Some("safetensors") if path.with_file_name("last.safetensors") == path => {
                    drop(Checkpoint::read(&path).unwrap());
                }
                Some("safetensors") => {
                    drop(faculty_nets::weights::read_safetensors(&path).unwrap())
                }
                Some("json") => drop(serde_json::from_str::<serde_json::Value>(&text()).unwrap()),
                Some("jsonl") => text().lines().for_each(|line| {
                    serde_json::from_str::<serde_json::Value>(line).unwrap();
                }),
                Some("toml") => assert!(text().ends_with('\n')),
                // Not its final name.
                Some("partial") => {}
                _ => assert!(name == "lock", "{name}"),
            }
        }
    }
}

/// The error's text with its causes.
fn full_message(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

/// Fails the `n`-th write operation of a run, for every n, in each of the ways in which it can fail.
#[test]
fn a_run_whose_nth_file_operation_fails_goes_on_to_the_same_student() {
    let folder = tempfile::tempdir().unwrap();
    let sets = ["train.epochs=2", "train.checkpoint_minutes=0", "train.batch_size=100"];
    let recipe = recipe(folder.path(), "ce", 0, &sets);
    let whole = folder.path().join("whole");
    run(&recipe, &whole).unwrap();
    for (kind, said) in [
        (ErrorKind::StorageFull, "no storage space"),
        (ErrorKind::PermissionDenied, "permission denied"),
        (ErrorKind::ReadOnlyFilesystem, "read-only filesystem"),
    ] {
        let mut failures = 0;
        for nth in 0.. {
            let out = folder.path().join(format!("{kind:?}{nth}"));
            let left = Rc::new(Cell::new(nth));
            let counter = Rc::clone(&left);
            let guard = faults::inject(move |_, _| {
                let now = counter.get();
                counter.set(now - 1);
                // From then on everything fails, as on a full disk.
                if now <= 0 { Err(kind.into()) } else { Ok(()) }
            });
            let result = run(&recipe, &out);
            drop(guard);
            let Err(error) = result else { break };
            failures += 1;
            assert!(full_message(&error).contains(said), "{nth}: {}", full_message(&error));
            assert!(error.hint().is_some(), "{nth}: {error}");
            if out.exists() {
                all_whole(&out);
            }
            // Before there is a run, it starts; after that it goes on.
            if out.join("recipe.toml").exists() {
                resumed(&recipe, &out).unwrap();
            } else {
                run(&recipe, &out).unwrap();
            }
            assert!(student(&out) == student(&whole), "{kind:?}, operation {nth}");
            assert_eq!(timeless(&out), timeless(&whole), "{kind:?}, operation {nth}");
            std::fs::remove_dir_all(&out).unwrap();
        }
        assert!(failures > 20, "{failures}");
    }
}

#[test]
fn a_disk_that_fills_up_while_a_checkpoint_is_written_keeps_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), "ca-mkd", 2, &[]);
    let whole = folder.path().join("whole");
    run(&recipe, &whole).unwrap();
    let out = folder.path().join("run");
    run_until(&recipe, &out, Start::New, (2, 2));
    let last = out.join("checkpoints/last.safetensors");
    let before = std::fs::read(&last).unwrap();
    let guard = faults::inject(|operation, path| {
        let full = operation == Operation::Write && path.ends_with("checkpoints/last.partial");
        if full { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    });
    let error = resumed(&recipe, &out).unwrap_err();
    drop(guard);
    assert!(full_message(&error).contains("no storage space"), "{}", full_message(&error));
    assert!(std::fs::read(&last).unwrap() == before);
    all_whole(&out);
    resumed(&recipe, &out).unwrap();
    assert!(student(&out) == student(&whole));
}

#[test]
fn a_second_process_in_a_run_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), "ce", 0, &["train.epochs=1"]);
    let out = folder.path().join("run");
    let mut errors = Vec::new();
    run_with(&recipe, &out, Start::New, &AtomicBool::new(false), &mut |event| {
        if matches!(event, Event::Batch { batch: 1, .. }) {
            for start in [Start::Resume, Start::Overwrite] {
                let go = AtomicBool::new(false);
                errors.push(run_with(&recipe, &out, start, &go, &mut |_| {}).unwrap_err());
            }
        }
    })
    .unwrap();
    for error in errors {
        let Error::Folder(LockError::Held { owner, .. }) = &error else { panic!("{error}") };
        assert!(owner.starts_with(&format!("process {} on ", std::process::id())), "{owner}");
        assert!(error.hint().unwrap().contains("another folder"));
    }
    // Its lock ended with the run.
    resumed(&recipe, &out).unwrap();
}

/// A recipe whose cache is built, with shards of so many samples.
fn cached(folder: &Path, block: usize) -> Recipe {
    let (path, block) =
        (format!("cache.path={}", folder.join("cache").display()), format!("cache.block={block}"));
    let sets = ["data.views=2", "train.epochs=2", &block, &path];
    let recipe = recipe(folder, "ca-mkd", 2, &sets);
    let dataset = crate::data::dataset();
    let plan = plan_cache(&recipe, &dataset).unwrap();
    plan.build(&AtomicBool::new(false), &mut |_| {}).unwrap();
    recipe
}

/// Trains while `spoil` has its way with the shards of one teacher after a batch: the run has to
/// stop with its batches kept, and with the good shards to go on to the undisturbed student.
fn with_shards_spoilt(block: usize, after: usize, spoil: &dyn Fn(&Path, &[u8])) -> Error {
    let folder = tempfile::tempdir().unwrap();
    let recipe = cached(folder.path(), block);
    let whole = folder.path().join("whole");
    run(&recipe, &whole).unwrap();
    let entries = std::fs::read_dir(folder.path().join("cache/teachers/t1/logits")).unwrap();
    let shards: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    assert!(shards.len() >= 216 / block, "{}", shards.len());
    let good: Vec<Vec<u8>> = shards.iter().map(|path| std::fs::read(path).unwrap()).collect();
    let (out, mut warnings) = (folder.path().join("run"), Vec::new());
    let go = AtomicBool::new(false);
    let error = run_with(&recipe, &out, Start::New, &go, &mut |event| match event {
        Event::Batch { epoch: 1, batch, .. } if *batch == after => {
            shards.iter().zip(&good).for_each(|(path, bytes)| spoil(path, bytes));
        }
        Event::Warning(text) => warnings.push(text.clone()),
        _ => {}
    })
    .unwrap_err();
    assert!(full_message(&error).contains("cache/teachers/t1/logits"), "{}", full_message(&error));
    let kept = warnings.first().is_some_and(|text| text.contains("is kept up to batch "));
    assert!(kept, "{}: {warnings:?}", full_message(&error));
    for (path, bytes) in shards.iter().zip(&good) {
        std::fs::write(path, bytes).unwrap();
    }
    let (_, from, _) = resumed(&recipe, &out).unwrap();
    assert!(from.0 == 1 && from.1 >= after, "{from:?}");
    assert!(student(&out) == student(&whole), "students differ");
    assert_eq!(timeless(&out), timeless(&whole));
    error
}

#[test]
fn a_cache_shard_that_goes_bad_in_mid_run_stops_it_with_its_batches_kept() {
    let error = with_shards_spoilt(20, 3, &|path, bytes| {
        let mut bytes = bytes.to_vec();
        let end = bytes.len();
        bytes[end / 2..].iter_mut().for_each(|byte| *byte ^= 0x40);
        std::fs::write(path, bytes).unwrap();
    });
    assert!(matches!(error, Error::Teacher(TeacherError::CacheDamaged { .. })), "{error}");
    assert!(error.hint().unwrap().contains("`faculty cache`"));
}

#[test]
fn a_cache_shard_that_vanishes_before_it_is_opened_stops_the_run_with_its_batches_kept() {
    // 54 shards, of which the first batch of 32 has opened 32 at most; those stay readable.
    let error = with_shards_spoilt(4, 1, &|path, _| std::fs::remove_file(path).unwrap());
    assert!(matches!(error, Error::Teacher(TeacherError::CacheIncomplete { .. })), "{error}");
    assert!(full_message(&error).contains("shard "), "{}", full_message(&error));
    assert!(error.hint().unwrap().contains("`faculty cache`"));
}

#[test]
fn a_run_folder_that_vanishes_or_a_file_in_its_place_is_an_error_and_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), "ce", 0, &[]);
    let out = folder.path().join("run");
    let go = AtomicBool::new(false);
    let error = run_with(&recipe, &out, Start::New, &go, &mut |event| {
        if matches!(event, Event::Batch { epoch: 1, batch: 2, .. }) {
            std::fs::remove_dir_all(&out).unwrap();
        }
    })
    .unwrap_err();
    assert!(full_message(&error).contains("run/"), "{}", full_message(&error));
    assert!(error.hint().is_some());
    std::fs::write(&out, "a file").unwrap();
    let error = run(&recipe, &out).unwrap_err();
    assert!(full_message(&error).contains("run`"), "{}", full_message(&error));
    assert!(error.hint().is_some());
}

#[test]
fn a_loss_that_breaks_down_stops_the_run_and_keeps_the_last_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let hot = recipe(folder.path(), "ce", 0, &["train.learning_rate=1e38"]);
    let error = run(&hot, &folder.path().join("hot")).unwrap_err();
    assert!(matches!(error, Error::NotFinite { epoch: 1, kept: None, .. }), "{error}");

    // A run that breaks down later: stopped in its second epoch, then given an absurd rate.
    let out = folder.path().join("run");
    let recipe = recipe(folder.path(), "ce", 0, &[]);
    run_until(&recipe, &out, Start::New, (2, 2));
    let checkpoint = out.join("checkpoints/last.safetensors");
    let before = std::fs::read(&checkpoint).unwrap();
    let hot = Recipe {
        train: faculty_distill::recipe::Train { learning_rate: 1e38, ..recipe.train.clone() },
        ..recipe.clone()
    };
    let run = faculty_distill::CheckedRun::new(&hot, &crate::data::dataset()).unwrap();
    let run = run.allowing(vec!["train.learning_rate".to_owned()]).unwrap();
    let go = AtomicBool::new(false);
    let error = faculty_distill::train(run, &out, Start::Resume, &go, &mut |_| {}).unwrap_err();
    let Error::NotFinite { epoch: 2, batch, kept: Some(kept), .. } = &error else {
        panic!("{error}")
    };
    assert!((3..=6).contains(batch), "{error}");
    assert!(error.hint().unwrap().contains("--resume-with train.learning_rate"), "{error}");
    assert!(std::fs::read(kept).unwrap() == before);
    assert!(!out.join("student.safetensors").exists() && !out.join("card.json").exists());
    // It goes on with the recipe that it had.
    resumed(&recipe, &out).unwrap();
}

#[test]
fn a_stop_before_the_first_batch_keeps_nothing_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), "ce", 0, &[]);
    let stop = AtomicBool::new(false);
    stop.store(true, Ordering::Relaxed);
    let out = folder.path().join("run");
    let error = run_with(&recipe, &out, Start::New, &stop, &mut |_| {}).unwrap_err();
    assert!(matches!(error, Error::Interrupted { epoch: 1, batch: 0, kept: None }), "{error}");
    assert!(error.hint().unwrap().contains("`--resume` begins again"), "{error}");
    resumed(&recipe, &out).unwrap();
}
