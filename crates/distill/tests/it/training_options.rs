//! What `[train]` can ask for beside the published recipes: each changes what it is about and
//! nothing else, and a run that is resumed in its middle is the same run.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use faculty_distill::checkpoint::{Checkpoint, seal};
use faculty_distill::learner::LearnerBatch;
use faculty_distill::losses::TaskLoss;
use faculty_distill::methods::{Crd, Facts, Kd, METHODS, Method};
use faculty_distill::recipe::Recipe;
use faculty_distill::record::EpochRecord;
use faculty_distill::{CheckedRun, Error, Event, Start};
use faculty_nets::weights::{self, StateDict};

use crate::data::{CLASSES, dataset};
use crate::finite_differences::{Setup, class_costs, profiles};
use crate::resume::{resumed, resumed_equals_undisturbed, run_until};
use crate::runs::{metrics, recipe, run, student, timeless};

fn refused(recipe: &Recipe) -> Error {
    CheckedRun::new(recipe, &dataset()).map(drop).unwrap_err()
}

#[test]
fn only_the_task_term_is_smoothed_and_weighted() {
    let other =
        TaskLoss::default().with_label_smoothing(0.2).with_class_weights(vec![0.5, 1.0, 3.0]);
    for info in METHODS {
        let name = info.spec.name;
        let count = [2, 1, 0].into_iter().find(|&count| info.spec.takes(count)).unwrap();
        let record = |task: TaskLoss| {
            let taps = info.with_defaults().needs(2).teacher_taps;
            let setup = Setup::new(count as u64, &taps);
            let mut method = info.with_defaults();
            method.prepare(Facts::Profiles(&profiles(CLASSES, count)));
            method.prepare(Facts::ClassCosts(&class_costs(CLASSES, count)));
            setup.learner(method).with_task_loss(task).gradients(&setup.batch())
        };
        let (plain, smoothed) = (record(TaskLoss::default()), record(other.clone()));
        assert_eq!(plain.teacher_weights, smoothed.teacher_weights, "{name}");
        for (a, b) in plain.terms.iter().zip(&smoothed.terms) {
            let is_task = a.name == "task" && info.with_defaults().setup().has_task_loss;
            assert_eq!(a.value != b.value, is_task, "{name}: {a:?} and {b:?}");
        }
    }
}

#[test]
fn label_smoothing_and_class_weights_are_told_and_resume_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let sets = ["train.label_smoothing=0.1", "train.class_weights=[1.0, 2.0, 0.5]"];
    let smoothed = recipe(folder.path(), "ca-mkd", 2, &sets);
    let parts = resumed_equals_undisturbed(&smoothed, folder.path());
    let plain = folder.path().join("plain");
    run(&recipe(folder.path(), "ca-mkd", 2, &[]), &plain).unwrap();
    assert!(student(&parts) != student(&plain));
    let card = CheckedRun::new(&smoothed, &dataset()).unwrap().card().clone();
    let expected = "; CE of labels with label smoothing 0.1 and class weights from 0.500 (bottom) to \
                2.000 (middle)";
    assert!(card.objective.ends_with(expected), "{}", card.objective);
}

#[test]
fn a_task_loss_that_cannot_be_is_refused_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let error = refused(&recipe(folder.path(), "ce", 0, &["train.class_weights=[1.0, 2.0]"]));
    assert!(matches!(error, Error::ClassWeights { given: 2, classes: 3 }), "{error}");
    assert!(error.hint().unwrap().contains("give 3 numbers"));
    let error = refused(&recipe(folder.path(), "ckd", 1, &["train.label_smoothing=0.1"]));
    assert!(error.to_string().contains("`ckd` has no cross-entropy"), "{error}");
    assert!(error.hint().unwrap().contains("train.label_smoothing"));
}

/// The tensors of a run's newest checkpoint below a prefix.
fn kept(folder: &Path, prefix: &str) -> StateDict {
    let path = folder.join("checkpoints/last.safetensors");
    let all = weights::read_safetensors(&path).unwrap().0;
    all.into_iter()
        .filter_map(|(name, array)| Some((name.strip_prefix(prefix)?.to_owned(), array)))
        .collect()
}

#[test]
fn the_average_is_that_of_the_formula_and_leaves_the_training_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let sets = ["train.checkpoint_minutes=0", "train.epochs=2"];
    let averaged = recipe(folder.path(), "ce", 0, &[&sets[..], &["train.ema=0.3"]].concat());
    let start = CheckedRun::new(&averaged, &dataset()).unwrap();
    let mut want: Option<StateDict> = None;
    let out = folder.path().join("averaged");
    let mut updates = 0;
    let mut fold = |want: &mut Option<StateDict>| {
        let student = kept(&out, "student/");
        updates += 1;
        let t = f64::from(updates);
        let decay = f64::min(0.3, (1.0 + t) / (10.0 + t));
        // The first one: of the start, which is that of any run with this seed.
        let average = want.get_or_insert_with(|| {
            use faculty_nets::{MapShape, Network};
            let shape = MapShape::new(1, crate::data::SIDE, crate::data::SIDE);
            Network::new("resnet8x0.5", shape, CLASSES, 3).unwrap().state_dict()
        });
        for (name, array) in &student {
            let own = &mut average.get_mut(name).unwrap().values;
            for (a, w) in own.iter_mut().zip(&array.values) {
                *a = (decay * f64::from(*a) + (1.0 - decay) * f64::from(*w)) as f32;
            }
        }
        let got = kept(&out, "average/");
        for (name, array) in &*average {
            for (a, b) in array.values.iter().zip(&got[name].values) {
                assert!((a - b).abs() < 1e-5 + 1e-5 * a.abs(), "{name}: {b} instead of {a}");
            }
        }
    };
    faculty_distill::train(start, &out, Start::New, &AtomicBool::new(false), &mut |event| {
        // The event comes before its batch's checkpoint: that of the batch before it is there.
        match event {
            Event::Batch { epoch: 1, batch: 1, .. } => {}
            Event::Batch { batch: 2.., .. } | Event::Epoch(_) => fold(&mut want),
            _ => {}
        }
    })
    .unwrap();
    assert_eq!(updates, 12);
    // Of the run without it only what is measured is other.
    let plain = folder.path().join("plain");
    run(&recipe(folder.path(), "ce", 0, &sets), &plain).unwrap();
    assert!(kept(&out, "student/") == kept(&plain, "student/"));
    assert!(kept(&plain, "average/").is_empty());
    let trained = |folder: &Path| -> Vec<EpochRecord> {
        timeless(folder).into_iter().map(|own| EpochRecord { validation: None, ..own }).collect()
    };
    assert_eq!(trained(&out), trained(&plain));
    assert!(student(&out) != student(&plain));
    // What is delivered is the average, as it was in the best epoch.
    let best = metrics(&out).into_iter().map(|own| own.validation.unwrap().top1);
    let best = best.enumerate().fold((0, -1.0), |a, b| if b.1 > a.1 { b } else { a }).0;
    let delivered = weights::read_safetensors(&out.join("student.safetensors")).unwrap().0;
    let expected_arrays = if best == 1 { "average/" } else { "best/" };
    assert!(delivered == kept(&out, expected_arrays));
}

#[test]
fn averages_resume_exactly_whatever_else_a_method_keeps() {
    for (method, teachers, sets) in [
        ("ce", 0, &["train.optimizer=adamw"][..]),
        ("ckd", 1, &["method.tuples=pairs"]),
        ("amtml-kd", 2, &["method.learn_epochs=1"]),
        ("simkd", 1, &[]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let sets = [sets, &["train.ema=0.9"]].concat();
        resumed_equals_undisturbed(&recipe(folder.path(), method, teachers, &sets), folder.path());
    }
}

#[test]
fn an_average_can_begin_in_the_middle_of_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    run_until(&recipe(folder.path(), "ce", 0, &[]), &out, Start::New, (2, 2));
    let before = kept(&out, "student/");
    let with = recipe(folder.path(), "ce", 0, &["train.ema=0.5"]);
    let run = CheckedRun::new(&with, &dataset()).unwrap();
    let run = run.allowing(vec!["train.ema".to_owned()]).unwrap();
    let card =
        faculty_distill::train(run, &out, Start::Resume, &AtomicBool::new(false), &mut |_| {})
            .unwrap();
    assert_eq!((card.changes.len(), card.changes[0].key.as_str()), (1, "train.ema"));
    assert!(kept(&out, "average/") != before && kept(&out, "average/") != kept(&out, "student/"));
}

#[test]
fn accumulated_gradients_are_the_mean_over_all_samples() {
    let methods: [fn() -> Box<dyn Method>; 2] = [|| Box::<Kd>::default(), || Box::<Crd>::default()];
    for method in methods {
        let taps = method().needs(2).teacher_taps;
        let setup = Setup::new(1, &taps);
        // A batch of four beside the whole one of six.
        let whole = setup.batch();
        let outputs = setup.first_outputs(4);
        let part = LearnerBatch {
            step_seed: 9,
            ids: &whole.ids[..4],
            labels: &whole.labels[..4],
            inputs: setup.first_inputs(4),
            teachers: &outputs,
            ..whole
        };
        let gradients = |learner: &faculty_distill::learner::Learner| -> Vec<Vec<f32>> {
            learner.trained().flat_map(|(_, own)| own.gradients().to_vec()).collect()
        };
        let mut learner = setup.learner(method());
        learner.gradients(&whole);
        let first = gradients(&learner);
        learner.accumulate(6, 2);
        assert_eq!(learner.waiting_samples(), 6);
        // What is remembered of a batch is there for the next one, as after an update.
        let mut other = setup.learner(method());
        other.gradients(&whole);
        other.update(
            &faculty_distill::optimizer::OptimizerConfig::Sgd {
                momentum: 0.0,
                nesterov: false,
                weight_decay: 0.0,
            },
            0.0,
            None,
            2,
        );
        assert!(learner.memory() == other.memory());
        learner.gradients(&part);
        let second = gradients(&learner);
        learner.accumulate(4, 2);
        learner.take_accumulated(2);
        assert_eq!(learner.waiting_samples(), 0);
        for (got, (a, b)) in gradients(&learner).iter().zip(first.iter().zip(&second)) {
            for (got, (a, b)) in got.iter().zip(a.iter().zip(b)) {
                let want = (6.0 * f64::from(*a) + 4.0 * f64::from(*b)) / 10.0;
                let close = (f64::from(*got) - want).abs() < 1e-6 + 1e-5 * want.abs();
                assert!(close, "{got} instead of {want}");
            }
        }
    }
}

#[test]
fn runs_that_accumulate_update_less_often_and_resume_between_two_updates() {
    for (method, teachers) in [("ce", 0), ("ca-mkd", 2), ("crd", 1), ("ckd", 1)] {
        let folder = tempfile::tempdir().unwrap();
        // Six batches an epoch: an update from four, and one from two.
        let sets = ["train.accumulate=4", "train.schedule=cosine", "train.ema=0.5"];
        let recipe = recipe(folder.path(), method, teachers, &sets);
        let parts = resumed_equals_undisturbed(&recipe, folder.path());
        let path = parts.join("checkpoints/last.safetensors");
        let metadata = weights::read_safetensors(&path).unwrap().1;
        let steps: BTreeMap<String, u64> =
            serde_json::from_str(&metadata["optimizer_steps"]).unwrap();
        assert_eq!(steps["student"], 6, "{method}");
        assert!(!steps.contains_key("accumulated"), "nothing waits at the end of an epoch");
    }
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), "rkd", 1, &["train.accumulate=4"]);
    let out = folder.path().join("run");
    run_until(&recipe, &out, Start::New, (1, 3));
    assert!(!kept(&out, "accumulated/student/").is_empty());
    let card = CheckedRun::new(&recipe, &dataset()).unwrap().card().clone();
    assert!(card.training_notes[0].contains("within each"), "{:?}", card.training_notes);
    // The rate of an update is that of a run whose batches are as large.
    let rates: Vec<f64> = metrics(&folder_of(&recipe, folder.path()))
        .iter()
        .map(|record| record.learning_rate)
        .collect();
    assert_eq!(rates.len(), 3);
}

fn folder_of(recipe: &Recipe, folder: &Path) -> std::path::PathBuf {
    let out = folder.join("whole");
    run(recipe, &out).unwrap();
    out
}

#[test]
fn methods_that_act_after_each_update_refuse_to_accumulate() {
    let folder = tempfile::tempdir().unwrap();
    let error = refused(&recipe(folder.path(), "ikd", 1, &["train.accumulate=2"]));
    assert!(error.to_string().contains("`ikd` needs an update after each batch"), "{error}");
    assert_eq!(error.hint().unwrap(), "set `train.accumulate = 1`");
}

#[test]
fn an_early_stop_comes_when_the_measured_course_says_so_and_survives_interruptions() {
    let of_metric = |record: &EpochRecord, metric: &str| -> f64 {
        let own = record.validation.unwrap();
        match metric {
            "top1" => own.top1,
            "balanced-accuracy" => own.balanced_accuracy.unwrap(),
            "macro-f1" => own.macro_f1.unwrap(),
            _ => -own.nll,
        }
    };
    let mut stopped = 0;
    for (metric, patience) in
        [("top1", 2), ("balanced-accuracy", 1), ("macro-f1", 3), ("nll", 1), ("nll", 2)]
    {
        let folder = tempfile::tempdir().unwrap();
        let best_by = format!("train.best_by={metric}");
        let sets =
            ["train.epochs=9", "train.schedule=constant", "train.learning_rate=0.1", &best_by];
        let whole = folder.path().join("all");
        run(&recipe(folder.path(), "ce", 0, &sets), &whole).unwrap();
        let course = timeless(&whole);
        let (mut best, mut end) = (0, 9);
        for (at, record) in course.iter().enumerate() {
            if at == 0 || of_metric(record, metric) > of_metric(&course[best], metric) {
                best = at;
            } else if at - best >= patience {
                end = at + 1;
                break;
            }
        }
        let patience = format!("train.early_stopping={patience}");
        let early = recipe(folder.path(), "ce", 0, &[&sets[..], &[&patience]].concat());
        let parts = resumed_equals_undisturbed(&early, folder.path());
        assert_eq!(timeless(&parts), course[..end], "{metric}");
        // Once more: nothing is left to do.
        let (card, ..) = resumed(&early, &parts).unwrap();
        assert_eq!((card.last.epoch, card.best.epoch), (end, best + 1), "{metric}");
        assert_eq!(card.early_stop.is_some(), end < 9);
        if let Some(stop) = card.early_stop {
            stopped += 1;
            assert_eq!((stop.epoch, stop.best_epoch, stop.epochs), (end, best + 1, 9));
            assert_eq!(stop.metric, metric);
            let want = of_metric(&course[best], metric).abs();
            assert!((stop.best - want).abs() < 1e-12, "{}", stop.sentence());
        }
    }
    assert!(stopped >= 2, "the test says nothing if no run stops early");
}

#[test]
fn an_early_stop_without_a_validation_split_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut none = recipe(folder.path(), "ce", 0, &["train.early_stopping=3"]);
    none.data.validation = 0.0.into();
    let error = refused(&none);
    assert!(error.to_string().contains("early stopping needs a validation split"), "{error}");
}

#[test]
fn decay_of_weights_alone_and_balanced_epochs_change_the_run_and_resume_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain");
    run(&recipe(folder.path(), "ce", 0, &[]), &plain).unwrap();
    for set in ["train.weight_decay_exempt=norms-and-biases", "train.sampling=balanced"] {
        let folder = tempfile::tempdir().unwrap();
        // With labels at random the classes are not all as large.
        let recipe = recipe(folder.path(), "ce", 0, &[set, "data.label_noise=0.3"]);
        let parts = resumed_equals_undisturbed(&recipe, folder.path());
        assert!(student(&parts) != student(&plain), "{set}");
        let card = CheckedRun::new(&recipe, &dataset()).unwrap().card().clone();
        assert_eq!(card.training_notes.len(), 1, "{set}");
    }
}

#[test]
fn a_checkpoint_from_before_these_keys_is_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), "aver", 2, &[]);
    let whole = folder.path().join("whole");
    run(&recipe, &whole).unwrap();
    let out = folder.path().join("run");
    run_until(&recipe, &out, Start::New, (2, 3));
    let path = out.join("checkpoints/last.safetensors");
    let (tensors, metadata) = weights::read_safetensors(&path).unwrap();
    let mut metadata: BTreeMap<String, String> = metadata.into_iter().collect();
    let keys = [
        "label_smoothing",
        "accumulate",
        "best_by",
        "sampling",
        "weight_decay_exempt",
        "classifier_learning_rate_factor",
        "freeze",
        "precision",
    ];
    let mut progress: serde_json::Value = serde_json::from_str(&metadata["progress"]).unwrap();
    let now = progress["identity"]["recipe"].as_str().unwrap().to_owned();
    let is_new = |line: &str| keys.iter().any(|key| line.starts_with(&format!("{key} =")));
    let then: Vec<&str> = now.lines().filter(|line| !is_new(line)).collect();
    assert!(now.lines().count() >= then.len() + 5);
    progress["identity"]["recipe"] = then.join("\n").into();
    metadata.insert("progress".to_owned(), progress.to_string());
    seal(&tensors, &mut metadata);
    weights::write(&path, &tensors, &metadata).unwrap();
    let (card, from, warnings) = resumed(&recipe, &out).unwrap();
    assert_eq!((from, warnings), ((2, 3), Vec::new()));
    assert!(card.changes.is_empty(), "{:?}", card.changes);
    assert!(student(&out) == student(&whole));
    assert!(Checkpoint::read(&path).is_ok());
}

#[test]
fn the_memory_estimate_counts_sums_of_gradients_and_the_average() {
    let folder = tempfile::tempdir().unwrap();
    let need = |sets: &[&str]| {
        let run = CheckedRun::new(&recipe(folder.path(), "ce", 0, sets), &dataset()).unwrap();
        (run.memory().parameters, run.memory().batch, run.card().student_parameters as u64)
    };
    let (plain, batch, count) = need(&[]);
    // Live, and as arrays and bytes of a checkpoint.
    assert_eq!(need(&["train.accumulate=4"]), (plain + 12 * count, batch, count));
    assert_eq!(need(&["train.ema=0.9"]), (plain + 12 * count, batch, count));
    // An update from 32 samples in batches of 8 takes the values of 8.
    assert!(4 * need(&["train.accumulate=4", "train.batch_size=8"]).1 <= batch + 4);
}
