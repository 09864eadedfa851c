//! Whole runs: same seed same bytes, any number of threads, refusals.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use faculty_distill::ablation::{AblationPlan, ablate};
use faculty_distill::methods::specs;
use faculty_distill::recipe::Recipe;
use faculty_distill::record::{EpochRecord, RunCard};
use faculty_distill::run::inspect_teachers;
use faculty_distill::{CheckedRun, Error, Event, Start, train};
use faculty_nets::weights;
use faculty_teachers::TeacherError;

use crate::data::{dataset, network};

/// A recipe over teachers that were written to `folder`.
pub(crate) fn recipe(folder: &Path, method: &str, teachers: usize, sets: &[&str]) -> Recipe {
    let mut text = format!(
        "seed = 3\n[data]\npath = \"bands\"\ncrop_padding = 1\n[student]\n\
         network = \"resnet8x0.5\"\n[method]\nname = \"{method}\"\n\
         [train]\nepochs = 3\nbatch_size = 32\nlearning_rate = 0.05\n"
    );
    for k in 0..teachers {
        let path = folder.join(format!("teacher{k}.safetensors"));
        weights::write(&path, &network(50 + k as u64).state_dict(), &BTreeMap::new()).unwrap();
        text += &format!(
            "[[teachers]]\nname = \"t{k}\"\nnetwork = \"resnet8x0.5\"\n\
             weights = \"teacher{k}.safetensors\"\nallow_weak = true\n"
        );
    }
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    Recipe::from_str(&text, folder.join("recipe.toml"), &sets, &specs()).unwrap().recipe
}

pub(crate) fn run_with(
    recipe: &Recipe,
    folder: &Path,
    start: Start,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(&Event<'_>),
) -> Result<RunCard, Error> {
    let run = CheckedRun::new(recipe, &dataset())?;
    train(run, folder, start, stop, &mut |event| observe(&event))
}

pub(crate) fn run(recipe: &Recipe, folder: &Path) -> Result<RunCard, Error> {
    run_with(recipe, folder, Start::New, &AtomicBool::new(false), &mut |_| {})
}

pub(crate) fn student(folder: &Path) -> Vec<u8> {
    std::fs::read(folder.join("student.safetensors")).unwrap()
}

pub(crate) fn metrics(folder: &Path) -> Vec<EpochRecord> {
    let text = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Records without what depends on the clock.
pub(crate) fn timeless(folder: &Path) -> Vec<EpochRecord> {
    metrics(folder)
        .into_iter()
        .map(|record| EpochRecord {
            images_per_second: 0.0,
            data_wait_seconds: 0.0,
            teacher_seconds: 0.0,
            loss_seconds: 0.0,
            seconds: 0.0,
            ..record
        })
        .collect()
}

#[test]
fn every_method_learns_and_leaves_a_complete_folder() {
    for (method, teachers) in [
        ("ce", 0),
        ("kd", 1),
        ("aver", 2),
        ("ca-mkd", 3),
        ("ca-mkd", 1),
        ("best-teacher", 2),
        ("calibrated-confidence", 2),
        ("class-reliability", 2),
        ("dpk", 2),
        ("crd", 2),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("run");
        // Untrained teachers teach nothing, so the labels must carry the learning.
        let sets: &[&str] = match method {
            "ce" => &["train.epochs=6"],
            "crd" => &["train.epochs=6", "method.beta=0.1"],
            "kd" => &["train.epochs=6", "method.alpha=0.1"],
            "ca-mkd" => &["train.epochs=6", "method.alpha=0.1", "method.beta=1"],
            _ => &["train.epochs=6", "method.alpha=0.1"],
        };
        let card = run(&recipe(folder.path(), method, teachers, sets), &out).unwrap();
        let test = card.last.test.unwrap();
        assert!(test.top1 > 80.0, "{method} with {teachers} teachers: {test:?}");
        assert_eq!(card.last.epoch, 6);
        for file in ["recipe.toml", "metrics.jsonl", "student.safetensors", "card.json"] {
            assert!(out.join(file).exists(), "{method}: {file}");
        }
        let last = &metrics(&out)[5];
        let share: f64 = last.terms.values().map(|term| term.share).sum();
        assert!((share - 1.0).abs() < 1e-9, "{method}: shares sum to {share}");
        for (level, weights) in &last.teacher_weights {
            let sum: f64 = weights.values().sum();
            assert!((sum - 1.0).abs() < 1e-5, "{method}: weights at `{level}` sum to {sum}");
        }
        assert_eq!(last.teacher_weights.contains_key("intermediate"), method == "ca-mkd");
    }
}

#[test]
fn a_term_that_is_nearly_all_of_the_loss_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let warnings = |name: &str, sets: &[&str]| {
        let mut all = Vec::new();
        let recipe = recipe(folder.path(), "kd", 1, sets);
        let go = AtomicBool::new(false);
        run_with(&recipe, &folder.path().join(name), Start::New, &go, &mut |event| {
            if let Event::Warning(text) = event {
                all.push(text.clone());
            }
        })
        .unwrap();
        all
    };
    // Three epochs of it. The term of an untrained teacher is small, that of the labels is not.
    let all = warnings("labels", &["method.alpha=0.001"]);
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(all[0].starts_with("term `task` is ") && all[0].contains("in epoch 1"), "{all:?}");
    assert!(all[0].contains("`faculty methods kd`"), "{all:?}");
    // One term alone is no imbalance.
    let alone = warnings("ce", &["method.name=ce"]);
    assert!(alone.is_empty(), "{alone:?}");
}

#[test]
fn the_second_of_two_trainings_begins_anew_and_gives_the_result() {
    let folder = tempfile::tempdir().unwrap();
    let learnt = |sets: &[&str], name: &str| {
        // These teachers know nothing, so most is learnt from labels.
        let mut all = vec!["train.schedule=one-cycle", "method.alpha=0.1"];
        all.extend(sets);
        let recipe = recipe(folder.path(), "amtml-kd", 2, &all);
        let out = folder.path().join(name);
        (run(&recipe, &out).unwrap(), metrics(&out), out)
    };
    // A first training of six epochs, a second one of a single one, which gets nowhere near it.
    let (card, epochs, out) = learnt(&["train.epochs=7", "method.learn_epochs=6"], "two");
    let top1: Vec<f64> = epochs.iter().map(|own| own.validation.unwrap().top1).collect();
    assert!(top1[5] > 70.0 && top1[6] < top1[5] - 20.0, "{top1:?}");
    assert_eq!((card.best.epoch, card.last.epoch), (7, 7));
    assert_eq!(card.best.validation.unwrap().top1, top1[6]);
    // The learning rate of a cycle of six epochs, and of one of a single epoch.
    let rates: Vec<f64> = epochs.iter().map(|own| own.learning_rate).collect();
    assert!(rates[5] < 0.01 * rates[1] && rates[6] < 0.2 * 0.05, "{rates:?}");
    // The first training is that of a run without a second one, but for the rate.
    let (_, alone, _) = learnt(&["train.epochs=6"], "one");
    for (two, one) in epochs.iter().zip(&alone) {
        assert!((two.loss - one.loss).abs() < 1e-3 * one.loss, "{} {}", two.loss, one.loss);
    }
    assert!(card.objective.contains("a new student with w as learnt in 6 epochs"));
    assert!(out.join("student.safetensors").exists());
}

#[test]
fn a_run_without_epochs_for_a_second_training_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), "amtml-kd", 2, &["method.learn_epochs=3"]);
    let error = run(&recipe, &folder.path().join("run")).unwrap_err();
    assert!(
        matches!(error, Error::NoSecondTraining { method: "amtml-kd", first: 3, epochs: 3 }),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("train.epochs"));
    assert!(!folder.path().join("run").exists());
}

#[test]
fn one_seed_gives_the_same_bytes_for_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), "ca-mkd", 3, &[]);
    let mut results = Vec::new();
    for (name, threads) in [("a", 1), ("b", 2), ("c", 3), ("d", 2)] {
        let out = folder.path().join(name);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| run(&recipe, &out)).unwrap();
        results.push((student(&out), timeless(&out)));
    }
    for other in &results[1..] {
        assert!(other == &results[0], "runs differ");
    }
}

#[test]
fn another_seed_gives_another_student() {
    let folder = tempfile::tempdir().unwrap();
    let first = recipe(folder.path(), "ce", 0, &["train.epochs=1"]);
    let second = Recipe { seed: 4, ..first.clone() };
    run(&first, &folder.path().join("a")).unwrap();
    run(&second, &folder.path().join("b")).unwrap();
    assert!(student(&folder.path().join("a")) != student(&folder.path().join("b")));
}

#[test]
fn a_folder_with_a_run_is_not_overwritten_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let recipe = recipe(folder.path(), "ce", 0, &["train.epochs=1"]);
    run(&recipe, &out).unwrap();
    std::fs::write(out.join("notes.txt"), "mine").unwrap();
    let error = run(&recipe, &out).unwrap_err();
    assert!(matches!(error, Error::FolderInUse { finished: true, .. }), "{error}");
    let before = student(&out);
    let stop = AtomicBool::new(false);
    run_with(&recipe, &out, Start::Overwrite, &stop, &mut |_| {}).unwrap();
    assert!(student(&out) == before, "students differ");
    assert!(out.join("notes.txt").exists(), "other files stay");
}

#[test]
fn label_noise_spoils_what_is_learnt_but_not_the_validation_part() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), "ce", 0, &["data.label_noise=1", "train.epochs=6"]);
    let card = run(&recipe, &folder.path().join("run")).unwrap();
    assert!(card.last.test.unwrap().top1 < 20.0, "{:?}", card.last.test);
}

#[test]
fn misfits_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let good = recipe(folder.path(), "ca-mkd", 1, &[]);
    let refused = |recipe: &Recipe| run(recipe, &out).unwrap_err();

    // A teacher for five classes.
    let image = faculty_nets::MapShape::new(1, 8, 8);
    let other = faculty_nets::Network::new("resnet8x0.5", image, 5, 1).unwrap();
    let path = folder.path().join("five.safetensors");
    weights::write(&path, &other.state_dict(), &BTreeMap::new()).unwrap();
    let mut wrong = good.clone();
    wrong.teachers[0].weights = Some(path);
    let error = refused(&wrong);
    assert!(error.to_string().contains("it has 5 classes, the data has 3"), "{error}");
    assert!(error.hint().unwrap().contains("`classes` on that teacher"), "{error}");

    // A teacher that always says the first class, without permission.
    let mut state = network(1).state_dict();
    state.get_mut("fc.weight").unwrap().values.fill(0.0);
    state.get_mut("fc.bias").unwrap().values.copy_from_slice(&[1.0, 0.0, 0.0]);
    let path = folder.path().join("constant.safetensors");
    weights::write(&path, &state, &BTreeMap::new()).unwrap();
    let mut weak = good.clone();
    weak.teachers[0].weights = Some(path);
    weak.teachers[0].allow_weak = false;
    // Measured on the test split then, which is balanced: right on exactly a third.
    weak.data.validation = 0.0.into();
    let error = refused(&weak);
    assert!(matches!(&error, Error::Teacher(TeacherError::WeakTeacher { .. })), "{error}");
    assert!(error.hint().unwrap().contains("allow_weak"), "{error}");

    // Normalisation for colour images.
    let mut colour = good.clone();
    colour.data.mean = Some(vec![0.5; 3]);
    colour.data.std = Some(vec![0.25; 3]);
    assert!(matches!(
        refused(&colour),
        Error::Teacher(TeacherError::Channels { found: 3, expected: 1, .. })
    ));

    // Fewer samples than a batch.
    let mut large = good.clone();
    large.train.batch_size = 10_000;
    assert!(matches!(refused(&large), Error::Teacher(TeacherError::TooFewSamples { .. })));

    // NaN in the weights.
    let mut state = network(1).state_dict();
    state.get_mut("conv1.weight").unwrap().values[0] = f32::NAN;
    let path = folder.path().join("nan.safetensors");
    weights::write(&path, &state, &BTreeMap::new()).unwrap();
    let mut nan = good;
    nan.teachers[0].weights = Some(path);
    let error = refused(&nan).to_string();
    assert!(error.contains("`conv1.weight`") && error.contains("NaN"), "{error}");
    assert!(!out.exists(), "nothing was written");
}

/// A network that learnt the bands, with these settings of its data.
fn trained(folder: &Path, name: &str, sets: &[&str]) -> PathBuf {
    let sets = [&["train.epochs=6"], sets].concat();
    let out = folder.join(name);
    run(&recipe(folder, "ce", 0, &sets), &out).unwrap();
    out.join("student.safetensors")
}

#[test]
fn a_teacher_with_other_constants_is_told_which() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = ["data.mean=[0.0]", "data.std=[0.003921569]"];
    let weights = trained(folder.path(), "bytes", &bytes);
    let mut recipe = recipe(folder.path(), "aver", 1, &["train.epochs=1"]);
    recipe.teachers[0].weights = Some(weights);
    recipe.teachers[0].allow_weak = false;
    let out = folder.path().join("run");
    let error = run(&recipe, &out).unwrap_err();
    assert!(matches!(error, Error::Teacher(TeacherError::WeakTeacher { .. })), "{error}");
    assert!(error.to_string().contains("with pixels from 0 to 255"), "{error}");
    let hint = error.hint().unwrap();
    assert!(hint.contains("set `mean = [0.0]` and `std = [0.003921569]` on it"), "{hint}");
    assert!(!out.exists());
    // With the fix it runs.
    recipe.teachers[0].mean = Some(vec![0.0]);
    recipe.teachers[0].std = Some(vec![0.003_921_569]);
    let card = run(&recipe, &out).unwrap();
    assert!(card.teachers[0].quality.unwrap().top1 > 90.0, "{:?}", card.teachers[0]);
    let report = inspect_teachers(&recipe, &dataset(), None).unwrap();
    assert_eq!(report.teachers[0].suspicion(), None);
    assert_eq!(Some(report.teachers[0].calibrated.temperature), card.teachers[0].temperature);
    assert_eq!(card.teachers[0].class_accuracy.as_ref().map(Vec::len), Some(3));
}

#[test]
fn the_student_of_simkd_is_one_network_with_its_teachers_classifier() {
    let folder = tempfile::tempdir().unwrap();
    let teacher = trained(folder.path(), "teacher", &[]);
    let mut recipe = recipe(folder.path(), "simkd", 1, &["train.epochs=6"]);
    recipe.student.network = "resnet14x0.5".to_owned();
    recipe.teachers[0].weights = Some(teacher.clone());
    let out = folder.path().join("run");
    let card = run(&recipe, &out).unwrap();
    assert_eq!(card.student, "resnet14x0.5+simkd32");
    assert!(card.best.test.unwrap().top1 > 80.0, "{:?}", card.best);

    // The file says what it is, and holds the teacher's classifier.
    let path = out.join("student.safetensors");
    let (state, metadata) = weights::read_safetensors(&path).unwrap();
    assert_eq!(metadata["network"], card.student);
    let of_teacher = weights::read(&teacher).unwrap();
    for name in ["fc.weight", "fc.bias"] {
        assert_eq!(state[name].values, of_teacher[name].values, "{name}");
    }
    let image = faculty_nets::MapShape::new(1, 8, 8);
    let network = faculty_nets::Network::load(&card.student, image, 3, &path).unwrap();
    let data = faculty_distill::CheckedRun::new(&recipe, &dataset()).unwrap();
    let part = dataset().test_split().unwrap();
    let constants = &data.data().views;
    let quality = faculty_distill::evaluate::network_quality(&network, &part, constants).unwrap();
    assert_eq!(quality, card.best.test);

    // It teaches others like any network, its projected map and classifier included.
    let mut next = recipe.clone();
    next.student.network = "resnet8x0.5".to_owned();
    next.teachers[0].network = Some(card.student.clone());
    next.teachers[0].weights = Some(path.clone());
    let own = run(&next, &folder.path().join("next")).unwrap();
    assert_eq!(own.student, "resnet8x0.5+simkd32");
    assert!(own.best.test.unwrap().top1 > 80.0, "{:?}", own.best);
    let taught = own.teachers[0].quality.unwrap().top1;
    assert!(taught > 80.0, "{taught}");

    // A student that has a classifier of another network already, and two teachers.
    next.student.network = card.student;
    let error = run(&next, &folder.path().join("refused")).unwrap_err();
    assert!(error.hint().unwrap().contains("`resnet14x0.5`"), "{error}");
    next.teachers.push(recipe.teachers[0].clone());
    next.teachers[1].name = "t1".to_owned();
    let error = run(&next, &folder.path().join("refused")).unwrap_err();
    assert!(error.to_string().contains("simkd"), "{error}");
    assert!(!folder.path().join("refused").exists());
}

#[test]
fn a_teacher_with_its_classes_in_another_order_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = trained(folder.path(), "straight", &[]);
    // "top", "middle", "bottom" in alphabetic order: 2, 1, 0.
    let (mut state, _) = weights::read_safetensors(&path).unwrap();
    for name in ["fc.weight", "fc.bias"] {
        let values = &mut state.get_mut(name).unwrap().values;
        let row = values.len() / 3;
        let turned: Vec<f32> = values.rchunks_exact(row).flatten().copied().collect();
        values.copy_from_slice(&turned);
    }
    let path = folder.path().join("turned.safetensors");
    weights::write(&path, &state, &BTreeMap::new()).unwrap();
    // Half of the training split is held out: 24 samples are too few to be sure.
    let mut recipe = recipe(folder.path(), "aver", 1, &["data.validation=0.5"]);
    recipe.teachers[0].weights = Some(path);
    recipe.teachers[0].allow_weak = false;
    let error = run(&recipe, &folder.path().join("run")).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("`bottom` where it says `top`"), "{text}");
    assert!(error.hint().unwrap().contains("class names"), "{error}");
    let report = inspect_teachers(&recipe, &dataset(), Some(60)).unwrap();
    assert_eq!((report.samples, report.part.as_str()), (60, "validation"));
    assert_eq!(report.teachers[0].class_order.as_ref().unwrap().order, [2, 1, 0]);
    assert!(report.teachers[0].suspicion().unwrap().what.contains("another order"));
}

#[test]
fn methods_that_measure_teachers_need_a_validation_part() {
    let folder = tempfile::tempdir().unwrap();
    for method in ["best-teacher", "calibrated-confidence", "class-reliability"] {
        let recipe = recipe(folder.path(), method, 2, &["data.validation=0"]);
        let error = run(&recipe, &folder.path().join("run")).unwrap_err();
        assert!(matches!(error, Error::NeedsValidation { .. }), "{method}: {error}");
        assert!(error.hint().unwrap().contains("data.validation"), "{error}");
    }
}

#[test]
fn an_ablation_gives_the_students_of_single_runs() {
    let folder = tempfile::tempdir().unwrap();
    let sets = ["data.views=2", "method.warmup_epochs=1", "train.epochs=2"];
    let recipe = recipe(folder.path(), "ca-mkd", 2, &sets);
    let plan = AblationPlan { folder: folder.path().join("ab"), seeds: 2, start: Start::New };
    let go = AtomicBool::new(false);
    let mut names = Vec::new();
    let ablation = ablate(&recipe, &dataset(), &plan, &go, &mut |name, event| {
        if matches!(event, Event::Started { .. }) {
            names.push(name.to_owned());
        }
    })
    .unwrap();
    let sets = ["all", "without-t0", "without-t1"];
    let expected: Vec<String> =
        ["seed3", "seed4"].iter().flat_map(|s| sets.map(|set| format!("{s}/{set}"))).collect();
    assert_eq!(names, expected);
    assert_eq!((ablation.rows.len(), ablation.part.as_str()), (3, "validation"));
    assert!(ablation.rows.iter().all(|row| row.runs.len() == 2));
    // Outputs kept over the runs are those that each run would have computed.
    for (name, left_out) in [("all", None), ("without-t1", Some(1))] {
        let mut own = Recipe { seed: 4, ..recipe.clone() };
        if let Some(left_out) = left_out {
            own.teachers.remove(left_out);
        }
        let out = folder.path().join(name);
        run(&own, &out).unwrap();
        assert!(student(&out) == student(&plan.folder.join("seed4").join(name)), "{name}");
    }
    // Once more: refused before anything is trained; resumed: the same numbers.
    let error = ablate(&recipe, &dataset(), &plan, &go, &mut |_, _| {}).unwrap_err();
    assert!(matches!(error, Error::FolderInUse { .. }), "{error}");
    let plan = AblationPlan { start: Start::Resume, ..plan };
    let again = ablate(&recipe, &dataset(), &plan, &go, &mut |_, _| {}).unwrap();
    for (a, b) in again.rows.iter().zip(&ablation.rows) {
        assert_eq!((a.top1, a.worth, a.margin), (b.top1, b.worth, b.margin));
    }
    // Stopped.
    let stop = AtomicBool::new(true);
    let plan = AblationPlan { start: Start::Overwrite, ..plan };
    let error = ablate(&recipe, &dataset(), &plan, &stop, &mut |_, _| {}).unwrap_err();
    assert!(matches!(error, Error::Interrupted { .. }), "{error}");
}

#[test]
fn an_ablation_that_would_leave_too_few_teachers_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let plan = AblationPlan { folder: folder.path().join("ab"), seeds: 1, start: Start::New };
    for (method, teachers) in [("aver", 1), ("kd", 1), ("ce", 2)] {
        let recipe = recipe(folder.path(), method, teachers, &[]);
        let go = AtomicBool::new(false);
        let error = ablate(&recipe, &dataset(), &plan, &go, &mut |_, _| {}).unwrap_err();
        assert!(matches!(error, Error::NothingToLeaveOut { .. }), "{method}: {error}");
        assert!(error.hint().is_some());
    }
    assert!(!plan.folder.exists());
}

#[test]
fn plain_burn_trains_like_the_kernels() {
    let folder = tempfile::tempdir().unwrap();
    let records = |device: &str| {
        let out = folder.path().join(device);
        let device = format!("train.device=\"{device}\"");
        let sets = ["train.epochs=2", "method.beta=1", device.as_str()];
        run(&recipe(folder.path(), "ca-mkd", 2, &sets), &out).unwrap();
        metrics(&out)
    };
    let (kernels, burn) = (records("cpu"), records("cpu-burn"));
    for (ours, plain) in kernels.iter().zip(&burn) {
        let difference = (ours.loss - plain.loss).abs();
        // Rounding grows over the steps of an epoch.
        assert!(difference < 0.02 * ours.loss, "{} and {}", ours.loss, plain.loss);
    }
}

#[cfg(not(feature = "vulkan"))]
#[test]
fn a_device_that_was_not_built_is_refused_with_the_way_to_build_it() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), "ce", 0, &["train.device=\"vulkan\""]);
    let error = CheckedRun::new(&recipe, &dataset()).err().unwrap();
    assert!(
        matches!(
            error,
            Error::Learner(faculty_learner::LearnerError::DeviceNotBuilt { device: "vulkan" })
        ),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("--features vulkan"));
}
