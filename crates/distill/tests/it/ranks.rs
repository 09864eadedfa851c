//! Trainings of several ranks, as threads: the training of one process but for rounding, the same bytes
//! for the same number of ranks, and the end of all when one fails.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use faculty_comm::{Failed, Group, Threads};
use faculty_data::Dataset;
use faculty_distill::recipe::Recipe;
use faculty_distill::record::RunCard;
use faculty_distill::{CheckedRun, Error, Event, Start, train};
use faculty_nets::weights;

use crate::data::dataset;
use crate::runs::{metrics, recipe, run, run_with, student, timeless};

/// Longer than any machine is busy.
const LONG: Duration = Duration::from_secs(600);

/// What comes of a training of so many ranks; `act` sees each rank's events and may set its flag to stop.
fn ranks_with(
    recipe: &Recipe,
    folder: &Path,
    start: Start,
    ranks: usize,
    act: impl Fn(usize, &AtomicBool, &Event<'_>) + Sync,
) -> Vec<Result<RunCard, Failed<Error>>> {
    ranks_at(recipe, &dataset(), folder, start, ranks, act)
}

fn ranks_at(
    recipe: &Recipe,
    dataset: &Dataset,
    folder: &Path,
    start: Start,
    ranks: usize,
    act: impl Fn(usize, &AtomicBool, &Event<'_>) + Sync,
) -> Vec<Result<RunCard, Failed<Error>>> {
    Threads::run(ranks, LONG, |rank| {
        // A rank that waits for another one must not hold up its work.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        pool.install(|| {
            let (group, stop) = (Group::new(rank), AtomicBool::new(false));
            let number = group.rank();
            let run = CheckedRun::new(recipe, dataset)?.with_group(group)?;
            train(run, folder, start, &stop, &mut |event| act(number, &stop, &event))
        })
    })
}

fn ranks(recipe: &Recipe, folder: &Path, count: usize) -> RunCard {
    ranks_on(recipe, &dataset(), folder, count)
}

/// The card of a training of so many ranks, on which all agree.
pub(crate) fn ranks_on(recipe: &Recipe, dataset: &Dataset, folder: &Path, count: usize) -> RunCard {
    let all = ranks_at(recipe, dataset, folder, Start::New, count, |_, _, _| {});
    let mut cards: Vec<RunCard> =
        all.into_iter().map(|own| own.unwrap_or_else(|failed| panic!("{failed}"))).collect();
    assert!(cards.iter().all(|card| card.last == cards[0].last && card.best == cards[0].best));
    cards.swap_remove(0)
}

/// Largest difference between two students, as a share of the largest value of each array.
pub(crate) fn apart(a: &Path, b: &Path) -> f64 {
    let read =
        |folder: &Path| weights::read_safetensors(&folder.join("student.safetensors")).unwrap().0;
    let (a, b) = (read(a), read(b));
    let of_array = |(name, own): (&String, &weights::Array)| {
        let pairs = own.values.iter().zip(&b[name].values);
        let most = own.values.iter().fold(1e-3_f32, |most, value| most.max(value.abs()));
        pairs.map(|(a, b)| f64::from((a - b).abs() / most)).fold(0.0, f64::max)
    };
    a.iter().map(of_array).fold(0.0, f64::max)
}

/// Batches of 43 leave one sample for the last of an epoch, so that ranks come to have none.
const ONE_LEFT: [&str; 3] = ["train.batch_size=43", "train.drop_last=false", "train.epochs=2"];

/// What the students may differ by after some dozen steps, as a share of an array's largest value:
/// the sums of each step are rounded differently, which the steps after it enlarge.
const ROUNDING: f64 = 2e-3;

fn agrees(method: &str, teachers: usize, sets: &[&str], counts: &[usize], allowed: f64) {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), method, teachers, sets);
    let alone = folder.path().join("alone");
    let card = run(&recipe, &alone).unwrap();
    for &count in counts {
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        let of_ranks = ranks(&recipe, &one, count);
        ranks(&recipe, &two, count);
        let what = format!("{method} {sets:?}, {count} ranks");
        assert!(student(&one) == student(&two), "{what}: other bytes");
        assert_eq!(timeless(&one), timeless(&two), "{what}");
        let apart = apart(&alone, &one);
        assert!(apart < allowed, "{what}: students are {apart:.1e} apart");
        assert_eq!(of_ranks.best.epoch, card.best.epoch, "{what}");
        for (own, want) in metrics(&one).iter().zip(metrics(&alone)) {
            assert!((own.loss - want.loss).abs() < allowed * want.loss, "{what}");
            assert_eq!(own.learning_rate, want.learning_rate, "{what}");
            assert_eq!(own.skipped_batches, want.skipped_batches, "{what}");
        }
        for of in [&one, &two] {
            std::fs::remove_dir_all(of).unwrap();
        }
    }
}

#[test]
fn ranks_train_the_student_of_one_process_and_the_same_bytes_every_time() {
    agrees("ce", 0, &ONE_LEFT, &[2, 3], ROUNDING);
    agrees("ca-mkd", 2, &ONE_LEFT, &[3], ROUNDING);
    agrees("vid", 1, &ONE_LEFT, &[2], ROUNDING);
}

#[test]
fn averages_accumulation_clipping_and_early_stopping_agree_on_all_ranks() {
    let sets = [
        "train.ema=0.9",
        "train.accumulate=2",
        "train.clip_gradient_norm=0.5",
        "train.early_stopping=2",
        "train.best_by=nll",
        "train.label_smoothing=0.1",
        "train.sampling=balanced",
        "train.epochs=4",
    ];
    agrees("kd", 1, &sets, &[3], ROUNDING);
}

#[test]
fn in_bf16_ranks_differ_by_the_rounding_of_bf16_at_most() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), "aver", 2, &["train.precision=bf16", "train.epochs=3"]);
    let at = |name: &str| folder.path().join(name);
    run(&recipe, &at("alone")).unwrap();
    ranks(&recipe, &at("one"), 3);
    ranks(&recipe, &at("two"), 3);
    assert!(student(&at("one")) == student(&at("two")), "other bytes");
    // Of a sum in another order bfloat16 keeps the neighbouring number, 2^-8 away, now and then, and
    // small arrays go their own way from there; what is learnt is the same.
    for (own, want) in metrics(&at("one")).iter().zip(metrics(&at("alone"))) {
        assert!((own.loss - want.loss).abs() < 0.02 * want.loss, "{own:?} {want:?}");
    }
}

#[test]
fn what_compares_samples_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let weighted = ["train.class_weights=balanced"];
    let few = ["data.labels_per_class=12", "data.unlabelled=use"];
    for (method, sets, named) in [
        ("sp", &[][..], "method `sp`"),
        ("dist", &[], "method `dist`"),
        ("aver", &weighted, "`train.class_weights`"),
        ("aver", &few, "samples without a label"),
    ] {
        let recipe = recipe(folder.path(), method, 2, sets);
        let out = folder.path().join("run");
        let ended = ranks_with(&recipe, &out, Start::New, 2, |_, _, _| {});
        for own in ended {
            let Err(Failed::Error(error)) = own else { panic!("{method}: {own:?}") };
            let text = error.to_string();
            assert!(text.contains(named) && text.contains("by 2 processes"), "{text}");
            assert!(error.hint().is_some());
        }
        assert!(!out.exists());
    }
}

#[test]
fn a_stop_of_one_rank_stops_all_and_any_number_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), "aver", 2, &["train.epochs=3"]);
    let alone = folder.path().join("alone");
    run(&recipe, &alone).unwrap();
    let whole = folder.path().join("whole");
    ranks(&recipe, &whole, 2);
    for then in [1, 2, 3] {
        let out = folder.path().join(format!("then{then}"));
        // The second one is told to stop, the first one writes the checkpoint.
        let ended = ranks_with(&recipe, &out, Start::New, 2, |rank, stop, event| {
            if rank == 1 && matches!(event, Event::Batch { epoch: 2, batch: 3, .. }) {
                stop.store(true, Ordering::Relaxed);
            }
        });
        for own in ended {
            let Err(Failed::Error(Error::Interrupted { epoch, batch, .. })) = own else {
                panic!("{own:?}")
            };
            assert_eq!((epoch, batch), (2, 3));
        }
        let warnings = Mutex::new(Vec::new());
        let take = |event: &Event<'_>| {
            // What is said of the training itself is no matter of resuming.
            if let Event::Warning(text) = event
                && !text.starts_with("term `")
            {
                warnings.lock().unwrap().push(text.clone());
            }
        };
        if then == 1 {
            let go = AtomicBool::new(false);
            run_with(&recipe, &out, Start::Resume, &go, &mut |event| take(event)).unwrap();
        } else {
            let ended = ranks_with(&recipe, &out, Start::Resume, then, |rank, _, event| {
                if rank == 0 {
                    take(event);
                }
            });
            assert!(ended.iter().all(Result::is_ok), "{ended:?}");
        }
        let warnings = warnings.into_inner().unwrap();
        if then == 2 {
            assert!(student(&out) == student(&whole), "other bytes");
            assert_eq!(timeless(&out), timeless(&whole));
            assert!(warnings.is_empty(), "{warnings:?}");
        } else {
            let apart = apart(&out, &alone);
            assert!(apart < ROUNDING, "{then} ranks: {apart:.1e} apart");
            let text = format!("resumes with {then} processes, before 2");
            assert!(warnings[0].contains(&text), "{warnings:?}");
        }
    }
}

#[test]
fn a_rank_that_fails_ends_all_and_the_run_goes_on_from_its_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), "ce", 0, &["train.epochs=3"]);
    let whole = folder.path().join("whole");
    ranks(&recipe, &whole, 3);
    let out = folder.path().join("run");
    let ended = ranks_with(&recipe, &out, Start::New, 3, |rank, _, event| {
        let late = matches!(event, Event::Batch { epoch: 2, batch: 2, .. });
        assert!(rank != 1 || !late, "out of memory");
    });
    for (rank, own) in ended.into_iter().enumerate() {
        let text = own.unwrap_err().to_string();
        let want = if rank == 1 { "panic: " } else { "rank 1 of 3 ended: panic: " };
        assert_eq!(text, format!("{want}out of memory"));
    }
    let ended = ranks_with(&recipe, &out, Start::Resume, 3, |_, _, _| {});
    assert!(ended.iter().all(Result::is_ok), "{ended:?}");
    assert!(student(&out) == student(&whole), "other bytes");
}

#[test]
fn a_student_that_breaks_down_is_told_by_all_ranks_alike() {
    let folder = tempfile::tempdir().unwrap();
    // So large a rate that the student breaks down: a number of the whole batch, told by all.
    let sets = ["train.learning_rate=1e30", "train.epochs=2"];
    let recipe = recipe(folder.path(), "ce", 0, &sets);
    let out = folder.path().join("run");
    let ended = ranks_with(&recipe, &out, Start::New, 3, |_, _, _| {});
    let texts: Vec<String> = ended.into_iter().map(|own| own.unwrap_err().to_string()).collect();
    assert!(texts[0].contains("became") || texts[0].contains("epoch 1"), "{texts:?}");
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
}
