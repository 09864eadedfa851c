//! Plans of several students: each kind to its end, stopped in each student and resumed, refusals.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use faculty_data::{Normalisation, ViewSettings};
use faculty_distill::comparison::{CheckedComparison, ComparisonPlan, SIGNIFICANCE};
use faculty_distill::compute::Compute;
use faculty_distill::evaluate::network_quality;
use faculty_distill::learner::{Learner, LearnerBatch};
use faculty_distill::methods::{Dml, Kd};
use faculty_distill::plan::{CheckedPlan, PlanEvent};
use faculty_distill::recipe::Recipe;
use faculty_distill::record::RunCard;
use faculty_distill::{CheckedRun, Error, Event, Start};
use faculty_nets::{MapShape, Network, weights};
use faculty_records::plan::PlanCard;

use crate::data::{CLASSES, SIDE, dataset, network};
use crate::finite_differences::{BATCH, Setup};
use crate::runs::{recipe, run, student, timeless};

const BORN_AGAIN: &str = "plan = {kind = 'born-again', generations = 3}";
const ASSISTANTS: &str = "plan = {kind = 'assistants', networks = ['resnet14', 'resnet8']}";
const MUTUAL: &str = "plan = {kind = 'mutual', networks = ['resnet8x0.5', 'resnet8']}";

/// A recipe with a plan.
fn planned(folder: &Path, method: &str, teachers: usize, plan: &str, sets: &[&str]) -> Recipe {
    let sets = [&[plan], sets].concat();
    recipe(folder, method, teachers, &sets)
}

type Seen = Vec<(String, String)>;

/// Runs a plan; `stop_at` names a student, an epoch and a batch.
fn go(
    recipe: &Recipe,
    folder: &Path,
    start: Start,
    stop_at: Option<(&str, usize, usize)>,
) -> (Result<(RunCard, PlanCard), Error>, Seen) {
    let data = dataset();
    let mut seen = Seen::new();
    let stop = AtomicBool::new(false);
    let checked = match CheckedPlan::new(recipe, recipe.plan.as_ref().unwrap(), &data) {
        Ok(checked) => checked,
        Err(error) => return (Err(error), seen),
    };
    let result = checked.run(folder, start, &stop, &mut |name, event| {
        let what = match event {
            PlanEvent::Student { card, .. } => {
                format!("student of {} teachers", card.teachers.len())
            }
            PlanEvent::Kept(_) => "kept".to_owned(),
            PlanEvent::Run(Event::Started { epoch, batch }) => format!("from {epoch}.{batch}"),
            PlanEvent::Run(Event::Warning(text)) => text,
            PlanEvent::Run(Event::Batch { epoch, batch, .. }) => {
                if stop_at == Some((name, epoch, batch)) {
                    stop.store(true, Ordering::Relaxed);
                }
                return;
            }
            PlanEvent::Run(Event::Epoch(record)) => format!("epoch {}", record.epoch),
            PlanEvent::Run(Event::StoppedEarly(stop)) => stop.sentence(),
        };
        seen.push((name.to_owned(), what));
    });
    (result, seen)
}

fn whole(recipe: &Recipe, folder: &Path) -> (RunCard, PlanCard) {
    go(recipe, folder, Start::New, None).0.unwrap()
}

/// Everything that a plan leaves, without what depends on the clock.
fn left(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    fn walk(folder: &Path, at: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                walk(folder, &path, found);
            } else if path.extension().is_some_and(|own| own == "safetensors") {
                // A checkpoint tells its seconds.
                let bytes = if ["last.safetensors", "previous.safetensors"].contains(&name.as_str())
                {
                    let (state, _) = weights::read_safetensors(&path).unwrap();
                    format!("{state:?}").into_bytes()
                } else {
                    std::fs::read(&path).unwrap()
                };
                found.push((path.strip_prefix(folder).unwrap().to_owned(), bytes));
            } else if name.ends_with(".jsonl") {
                let text = std::fs::read_to_string(&path).unwrap();
                let lines = text.lines().map(|line| {
                    let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
                    let fields = line.as_object_mut().unwrap();
                    fields.retain(|key, _| !key.contains("second"));
                    line.to_string()
                });
                let lines: Vec<String> = lines.collect();
                let path = path.strip_prefix(folder).unwrap().to_owned();
                found.push((path, lines.join("\n").into_bytes()));
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, folder, &mut found);
    found.sort();
    found
}

fn assert_same(got: &Path, want: &Path, what: &str) {
    let (got, want) = (left(got), left(want));
    let names = |own: &[(PathBuf, Vec<u8>)]| -> Vec<PathBuf> {
        own.iter().map(|(path, _)| path.clone()).collect()
    };
    assert_eq!(names(&got), names(&want), "{what}");
    for ((path, got), (_, want)) in got.iter().zip(&want) {
        assert!(got == want, "{what}: `{}` differs", path.display());
    }
}

/// Numbers without seconds.
fn numbers(card: &PlanCard) -> PlanCard {
    let mut card = card.clone();
    card.students.iter_mut().for_each(|own| own.seconds = 0.0);
    card
}

#[test]
fn born_again_generations_are_the_ordinary_runs_of_their_recipes() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("plan");
    let sets = ["method.alpha=0.1", "data.label_noise=0.1", "train.epochs=4"];
    let recipe = planned(folder.path(), "kd", 0, BORN_AGAIN, &sets);
    let (card, plan) = whole(&recipe, &out);
    assert_eq!(plan.kind, "born-again");
    let names: Vec<&str> = plan.students.iter().map(|own| own.name.as_str()).collect();
    assert_eq!(names, ["1-resnet8x0.5", "2-resnet8x0.5", "3-resnet8x0.5"]);
    assert_eq!(plan.students[0].objective, "CE");
    assert!(plan.students[1].objective.contains("KL"), "{}", plan.students[1].objective);
    assert!(card.best.test.unwrap().top1 > 70.0, "{:?}", card.best);
    assert_eq!((card.seed, card.teachers[0].name.as_str()), (5, "2-resnet8x0.5"));
    assert_eq!(card.best, plan.students[2].best);
    let together = plan.ensemble.unwrap();
    assert_eq!(together.test.unwrap().samples, 60);
    assert!(together.test.unwrap().top1 > 70.0 && together.validation.is_some(), "{together:?}");

    // By hand: labels first, then each from the one before; other seeds, the same wrong labels.
    let mut own = Recipe { plan: None, ..recipe.clone() };
    own.data.label_noise_seed = Some(recipe.seed);
    let kd =
        std::mem::replace(&mut own.method, crate::runs::recipe(folder.path(), "ce", 0, &[]).method);
    run(&own, &folder.path().join("one")).unwrap();
    let mut two = crate::runs::recipe(folder.path(), "kd", 1, &[]);
    two.teachers[0].weights = Some(folder.path().join("one/student.safetensors"));
    two.teachers[0].name = "1-resnet8x0.5".to_owned();
    let two = Recipe { seed: 4, teachers: two.teachers, method: kd, ..own };
    run(&two, &folder.path().join("two")).unwrap();
    for (by_hand, stage) in [("one", names[0]), ("two", names[1])] {
        let by_hand = folder.path().join(by_hand);
        let stage = out.join("stages").join(stage);
        assert!(student(&by_hand) == student(&stage), "{}", stage.display());
        assert_eq!(timeless(&by_hand), timeless(&stage));
    }
    // The last one's result is that of the plan.
    let last = out.join("stages").join(names[2]);
    assert!(student(&last) == student(&out) && timeless(&last) == timeless(&out));
}

#[test]
fn assistants_stand_between_the_teachers_and_the_student() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("plan");
    let sets = ["method.alpha=0.1", "train.epochs=4"];
    let recipe = planned(folder.path(), "aver", 2, ASSISTANTS, &sets);
    let (result, seen) = go(&recipe, &out, Start::New, None);
    let (card, plan) = result.unwrap();
    let students: Vec<(&str, &str)> = seen
        .iter()
        .filter(|(_, what)| what.starts_with("student"))
        .map(|(name, what)| (name.as_str(), what.as_str()))
        .collect();
    let one = "student of 1 teachers";
    let expected = [("1-resnet14", "student of 2 teachers"), ("2-resnet8", one)];
    assert_eq!(students, [&expected[..], &[("3-resnet8x0.5", one)]].concat());
    assert_eq!((card.student.as_str(), card.seed), ("resnet8x0.5", recipe.seed));
    assert_eq!(card.teachers[0].network, "resnet8");
    assert!(card.best.test.unwrap().top1 > 70.0, "{:?}", card.best);
    assert_eq!(plan.ensemble, None);
    let sizes: Vec<usize> = plan.students.iter().map(|own| own.parameters).collect();
    assert!(sizes.is_sorted_by(|a, b| a > b), "{sizes:?}");
    for file in ["recipe.toml", "metrics.jsonl", "student.safetensors", "card.json", "plan.json"] {
        assert!(out.join(file).exists(), "{file}");
    }
}

#[test]
fn peers_learn_together_and_all_are_delivered() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("plan");
    let recipe = planned(folder.path(), "ce", 0, MUTUAL, &["train.epochs=6"]);
    let (card, plan) = whole(&recipe, &out);
    assert_eq!((card.method.as_str(), card.student.as_str()), ("dml", "resnet8x0.5"));
    assert_eq!(card.objective, "CE + mean_l KL(peer_l ‖ own), 2 peers");
    let files: Vec<&str> = plan.students.iter().map(|own| own.weights.as_str()).collect();
    let peers = ["peers/1-resnet8x0.5.safetensors", "peers/2-resnet8.safetensors"];
    assert_eq!(files, ["student.safetensors", peers[0], peers[1]]);
    let data = dataset();
    let test = data.test_split().unwrap();
    let constants = Normalisation { mean: card.mean.clone(), std: card.std.clone() };
    let mut seen = Vec::new();
    for own in &plan.students {
        let input = MapShape::new(1, SIDE, SIDE);
        let network = Network::load(&own.network, input, CLASSES, &out.join(&own.weights)).unwrap();
        let quality =
            network_quality(&network, &test, &ViewSettings::plain(constants.clone())).unwrap();
        assert_eq!(quality, own.best.test, "{}", own.name);
        assert!(own.best.test.unwrap().top1 > 80.0, "{own:?}");
        seen.push(network.parameters().to_vec());
    }
    assert!(seen[0] != seen[1], "equal networks start at other weights");
    assert!(plan.ensemble.unwrap().test.unwrap().top1 > 80.0);
    // The peers' share of the loss, and whom it is from.
    let records = timeless(&out);
    assert!(records.iter().all(|own| own.terms["kd"].weight == 1.0 && own.terms["kd"].value > 0.0));
    let weights: Vec<(&str, f64)> =
        records[0].teacher_weights["kd"].iter().map(|(name, w)| (name.as_str(), *w)).collect();
    assert_eq!(weights, [("1-resnet8x0.5", 0.5), ("2-resnet8", 0.5)]);
}

#[test]
fn a_plan_that_was_stopped_in_any_student_and_resumed_equals_an_undisturbed_one() {
    let (stages, peers) = (["1-resnet8x0.5", "2-resnet8x0.5", "3-resnet8x0.5"], ["student"]);
    let assistants = ["1-resnet14", "2-resnet8", "3-resnet8x0.5"];
    for (plan, method, teachers, names) in [
        (BORN_AGAIN, "ca-mkd", 2, &stages[..]),
        (ASSISTANTS, "aver", 1, &assistants[..]),
        (MUTUAL, "ce", 0, &peers[..]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let sets = ["data.views=2", "train.optimizer=adamw", "train.learning_rate=0.01"];
        let recipe = planned(folder.path(), method, teachers, plan, &sets);
        let calm = folder.path().join("calm");
        let (_, undisturbed) = whole(&recipe, &calm);
        for epoch in [1, 2] {
            let out = folder.path().join(format!("stopped{epoch}"));
            let mut start = Start::New;
            for (at, name) in names.iter().enumerate() {
                let (result, seen) = go(&recipe, &out, start, Some((name, epoch, 2)));
                let error = result.unwrap_err();
                let cause = match &error {
                    Error::StudentOfPlan { student, source } => {
                        assert_eq!(student, name);
                        source
                    }
                    other => other,
                };
                assert!(matches!(cause, Error::Interrupted { .. }), "{plan}: {error}");
                assert!(error.hint().unwrap().contains("--resume"), "{:?}", error.hint());
                let kept = seen.iter().filter(|(_, what)| what == "kept").count();
                // The one before was stopped as well, and is finished only now.
                assert_eq!(kept, at.saturating_sub(1));
                assert!(!out.join("card.json").exists(), "not finished");
                start = Start::Resume;
            }
            let (result, _) = go(&recipe, &out, start, None);
            let (_, resumed) = result.unwrap();
            assert_same(&out, &calm, plan);
            assert_eq!(numbers(&resumed), numbers(&undisturbed), "{plan}");
        }
        // Once more, with nothing left to do.
        let (result, seen) = go(&recipe, &calm, Start::Resume, None);
        assert_eq!(numbers(&result.unwrap().1), numbers(&undisturbed));
        assert!(!seen.iter().any(|(_, what)| what.starts_with("epoch")), "{seen:?}");
        // Anew.
        let (result, _) = go(&recipe, &calm, Start::New, None);
        assert!(matches!(result.unwrap_err(), Error::FolderInUse { finished: true, .. }));
        let (result, seen) = go(&recipe, &calm, Start::Overwrite, None);
        assert_eq!(numbers(&result.unwrap().1), numbers(&undisturbed));
        assert!(!seen.iter().any(|(_, what)| what == "kept"), "{seen:?}");
    }
}

#[test]
fn resuming_another_plan_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (plan, other, difference) in [
        (BORN_AGAIN, "plan.generations=4", "`plan.generations` (then 3, now 4)"),
        (MUTUAL, "plan.networks=['resnet14']", "now [\"resnet14\"])"),
        (ASSISTANTS, "train.learning_rate=0.02", "`train.learning_rate` (then 0.05, now 0.02)"),
    ] {
        let (method, teachers) = match plan {
            MUTUAL => ("ce", 0),
            _ => ("aver", 1),
        };
        let out = folder.path().join(other);
        // Results of nobody knows what.
        std::fs::create_dir_all(&out).unwrap();
        std::fs::write(out.join("card.json"), "{}").unwrap();
        let error =
            go(&planned(folder.path(), method, teachers, plan, &[]), &out, Start::Resume, None);
        assert!(matches!(error.0.unwrap_err(), Error::NothingToResume { .. }));
        std::fs::remove_file(out.join("card.json")).unwrap();
        let first = planned(folder.path(), method, teachers, plan, &["train.epochs=1"]);
        whole(&first, &out);
        let second = planned(folder.path(), method, teachers, plan, &["train.epochs=1", other]);
        let error = go(&second, &out, Start::Resume, None).0.unwrap_err();
        assert!(matches!(error, Error::OtherRun { .. }), "{error}");
        assert!(error.to_string().contains(difference), "{error}");
        assert!(!error.hint().unwrap().contains("--resume-with"), "{:?}", error.hint());
    }
    // Another teacher under the same name.
    let first = planned(folder.path(), "aver", 1, ASSISTANTS, &["train.epochs=1"]);
    let out = folder.path().join("teacher");
    whole(&first, &out);
    let path = folder.path().join("teacher0.safetensors");
    weights::write(&path, &network(99).state_dict(), &[].into()).unwrap();
    let error = go(&first, &out, Start::Resume, None).0.unwrap_err();
    let Error::StudentOfPlan { student, source } = &error else { panic!("{error}") };
    assert_eq!(student, "1-resnet14");
    assert!(matches!(**source, Error::OtherRun { .. }), "{error}");
    assert!(error.hint().unwrap().contains("--overwrite"), "{error}");
}

#[test]
fn misfits_of_later_students_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("plan");
    let refused = |recipe: &Recipe| go(recipe, &out, Start::New, None).0.unwrap_err();
    let rising = "plan = {kind = 'assistants', networks = ['resnet8', 'resnet14']}";
    let error = refused(&planned(folder.path(), "kd", 1, rising, &[]));
    assert!(matches!(error, Error::AssistantSizes { .. }), "{error}");
    assert!(error.to_string().contains("`resnet8` ("), "{error}");
    assert!(error.hint().unwrap().contains("larger networks first"), "{error}");
    let same = "plan = {kind = 'assistants', networks = ['resnet8x0.5']}";
    let error = refused(&planned(folder.path(), "kd", 1, same, &[]));
    assert!(error.hint().unwrap().contains("born-again"), "{error}");
    for (method, teachers, kind) in [("kd", 1, "assistants"), ("ce", 0, "mutual")] {
        let unknown = format!("plan = {{kind = '{kind}', networks = ['resnet14', 'resnet9']}}");
        let error = refused(&planned(folder.path(), method, teachers, &unknown, &[]));
        assert!(error.to_string().contains("`resnet9`"), "{error}");
    }
    // The first student learns from labels, so only the second one misses the part.
    let sets = ["data.validation=0"];
    let error = refused(&planned(folder.path(), "best-teacher", 0, BORN_AGAIN, &sets));
    assert!(matches!(error, Error::NeedsValidation { .. }), "{error}");
    assert!(!out.exists(), "nothing was written");

    // What trains one student does not take a plan for it.
    let recipe = planned(folder.path(), "aver", 1, ASSISTANTS, &[]);
    let error = CheckedRun::new(&recipe, &dataset()).err().unwrap();
    assert!(matches!(error, Error::Planned { kind: "assistants" }), "{error}");
    assert!(error.hint().unwrap().contains("faculty distill"), "{error}");
    let plan = ComparisonPlan {
        folder: out.clone(),
        methods: None,
        seeds: 1,
        against: None,
        level: SIGNIFICANCE,
        overwrite: false,
    };
    let error = CheckedComparison::new(&recipe, &dataset(), plan).err().unwrap();
    assert!(matches!(error, Error::Planned { .. }), "{error}");
}

#[test]
fn a_plan_breaks_down_with_the_students_name() {
    let folder = tempfile::tempdir().unwrap();
    let hot = ["train.learning_rate=1e38"];
    let out = folder.path().join("chain");
    let recipe = planned(folder.path(), "kd", 0, BORN_AGAIN, &hot);
    let error = go(&recipe, &out, Start::New, None).0.unwrap_err();
    assert!(error.to_string().starts_with("student `1-resnet8x0.5` of the plan: "), "{error}");
    let out = folder.path().join("mutual");
    let recipe = planned(folder.path(), "ce", 0, MUTUAL, &hot);
    let error = go(&recipe, &out, Start::New, None).0.unwrap_err();
    let Error::StudentOfPlan { student, source } = &error else { panic!("{error}") };
    assert!(matches!(**source, Error::NotFinite { epoch: 1, kept: None, .. }), "{error}");
    assert!(student == "student" && !error.hint().unwrap().contains("--resume-with"), "{error}");
}

#[test]
fn one_seed_gives_the_same_peers_for_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = planned(folder.path(), "ce", 0, MUTUAL, &["train.epochs=2"]);
    for threads in [1, 3] {
        let out = folder.path().join(threads.to_string());
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| whole(&recipe, &out));
    }
    assert_same(&folder.path().join("1"), &folder.path().join("3"), "threads");
}

#[test]
fn a_prediction_and_its_gradients_are_one_step_with_one_forward_pass() {
    let setup = Setup::new(1, &[]);
    let fresh = || {
        let method = Box::new(Kd::default());
        Learner::new(network(5), method, &setup.traits, BATCH, 5, &Compute::Kernels)
    };
    let (mut at_once, mut in_two) = (fresh(), fresh());
    let record = at_once.gradients(&setup.batch());
    let alone = LearnerBatch { teachers: &[], ..setup.batch() };
    let logits = in_two.predict(&alone).to_vec();
    assert_eq!(logits.len(), BATCH * CLASSES);
    assert_eq!(in_two.gradients_of_prediction(&setup.batch()), record);
    assert!(at_once.student.gradients() == in_two.student.gradients());
    // The running statistics have moved once.
    assert!(at_once.student.network.state_dict() == in_two.student.network.state_dict());
}

#[test]
fn a_peer_in_training_is_a_constant_of_the_other_ones_loss() {
    let setup = Setup::new(2, &[]);
    let fresh = |seed| {
        Learner::new(
            network(seed),
            Box::new(Dml),
            &setup.traits[..1],
            BATCH,
            seed,
            &Compute::Kernels,
        )
    };
    // What a network gets from a live peer is what it gets from the peer's logits in a file.
    let (mut own, mut peer) = (fresh(5), fresh(6));
    let alone = LearnerBatch { teachers: &[], ..setup.batch() };
    let logits = peer.predict(&alone).to_vec();
    own.predict(&alone);
    let outputs = [faculty_teachers::TeacherOutputs { logits, maps: Vec::new() }];
    let live = own.gradients_of_prediction(&LearnerBatch { teachers: &outputs, ..alone });
    let before = peer.student.gradients().to_vec();
    let mut again = fresh(5);
    let from_file = again.gradients(&LearnerBatch { teachers: &outputs, ..alone });
    assert_eq!(live, from_file);
    assert!(own.student.gradients() == again.student.gradients());
    assert!(peer.student.gradients() == before, "the peer's gradients are its own matter");
}
