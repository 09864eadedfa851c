//! Runs in bf16: resumed and cached exactly, told wherever it counts, and off to the bit where nobody
//! asks for it.

use std::path::{Path, PathBuf};

use faculty_contract::{AfterStep, Loss, Needs, Parts, Sandbox, Shapes, Step};
use faculty_distill::cache::plan as plan_cache;
use faculty_distill::checkpoint::Checkpoint;
use faculty_distill::compute::Compute;
use faculty_distill::heads::HeadsPlan;
use faculty_distill::learner::Learner;
use faculty_distill::methods::{Ce, Method};
use faculty_distill::plan::CheckedPlan;
use faculty_distill::recipe::Recipe;
use faculty_distill::run::inspect_teachers;
use faculty_distill::{CheckedRun, Error, Start};
use faculty_nets::weights::StateDict;
use faculty_nets::{Inference, Precision};
use faculty_teachers::{NetworkTeacher, TeacherError, TeacherInput, TeacherSource as _};

use crate::cache::{build, cached};
use crate::data::{SIDE, dataset, network, unit};
use crate::finite_differences::{BATCH, Setup};
use crate::resume::{resumed, resumed_equals_undisturbed, resumed_with, run_until};
use crate::runs::{recipe, run, student, timeless};

const STEPS: &str = "train.precision=bf16";
const TEACHERS: [&str; 2] = ["teachers.t0.precision=bf16", "teachers.t1.precision=bf16"];

fn images() -> Vec<f32> {
    (0..BATCH * SIDE * SIDE).map(|i| (2.0 * unit(i as u64, 7) - 1.0) as f32).collect()
}

/// Logits of a network in inference.
fn logits(precision: Precision) -> Vec<f32> {
    let network = network(50);
    Inference::with_precision(&network, &[], &[], precision).run(&images(), BATCH).to_vec()
}

/// Whether the kernels of this machine round where they are told to.
fn rounds() -> bool {
    logits(Precision::F32) != logits(Precision::Bf16)
}

fn last(folder: &Path) -> PathBuf {
    folder.join("checkpoints/last.safetensors")
}

#[test]
fn a_run_in_bf16_stopped_in_the_middle_equals_an_undisturbed_one() {
    // With projectors, with a bank, and with what is tried on the student between its steps.
    for (method, teachers) in [("ce", 0), ("ca-mkd", 2), ("crd", 1), ("mmkd", 2), ("ikd", 1)] {
        let folder = tempfile::tempdir().unwrap();
        let sets = [&[STEPS, "data.views=2"], &TEACHERS[..teachers]].concat();
        let recipe = recipe(folder.path(), method, teachers, &sets);
        resumed_equals_undisturbed(&recipe, folder.path());
    }
}

#[test]
fn training_from_a_bf16_cache_equals_training_with_live_teachers_bit_for_bit() {
    for (method, of_student) in [("ca-mkd", "f32"), ("ca-mkd", "bf16"), ("sp", "f32")] {
        let folder = tempfile::tempdir().unwrap();
        let steps = format!("train.precision={of_student}");
        // One of the two: each teacher has its own.
        let cached = cached(folder.path(), method, 2, &[TEACHERS[1], &steps]);
        let live = Recipe { cache: None, ..cached.clone() };
        let (a, b) = (folder.path().join("live"), folder.path().join("from-cache"));
        let live = run(&live, &a).unwrap();
        build(&cached).unwrap();
        let from_cache = run(&cached, &b).unwrap();
        assert!(student(&a) == student(&b), "{method}: students differ");
        assert_eq!(timeless(&a), timeless(&b), "{method}");
        assert_eq!(live.teachers, from_cache.teachers, "{method}");
        let expected: Vec<&str> = live.teachers.iter().map(|own| own.precision.as_str()).collect();
        assert_eq!(expected, ["f32", "bf16"], "{method}");
        let dataset = dataset();
        let plan = plan_cache(&cached, &dataset).unwrap();
        let entries = &plan.manifest().teachers;
        assert_eq!(entries["t1"].kernels, Precision::Bf16.kernels());
        assert_eq!(entries["t0"].kernels, Precision::F32.kernels());
        let text = String::from_utf8(plan.manifest().to_bytes()).unwrap();
        assert_eq!(text.matches("\"precision\": \"bf16\"").count(), 1, "{text}");
        assert!(!text.contains("\"precision\": \"f32\""), "as manifests of before: {text}");
    }
}

#[test]
fn a_cache_in_another_precision_is_refused_and_its_records_are_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let f32 = cached(folder.path(), "aver", 2, &[]);
    let bf16 = cached(folder.path(), "aver", 2, &TEACHERS[..1]);
    for (built, asked, expected) in [
        (&f32, &bf16, "teacher `t0`: precision differs (cache: f32; recipe: bf16)"),
        (&bf16, &f32, "teacher `t0`: precision differs (cache: bf16; recipe: f32)"),
    ] {
        let whole = build(built).unwrap();
        let error = CheckedRun::new(asked, &dataset()).err().unwrap();
        assert!(matches!(error, Error::Teacher(TeacherError::CacheMismatch { .. })), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        // Without the manifest the records say themselves whose they are: those of `t1` are kept.
        let cache = folder.path().join("cache");
        std::fs::remove_file(cache.join("manifest.json")).unwrap();
        assert_eq!(2 * build(asked).unwrap().shards, whole.shards, "{expected}");
        std::fs::remove_dir_all(cache).unwrap();
    }
}

#[test]
fn f32_said_aloud_is_what_nothing_said_is() {
    let folder = tempfile::tempdir().unwrap();
    let plain = recipe(folder.path(), "ca-mkd", 2, &[]);
    let sets = ["train.precision=f32", "teachers.t0.precision=f32", "teachers.t1.precision=f32"];
    let said = recipe(folder.path(), "ca-mkd", 2, &sets);
    let (a, b) = (folder.path().join("plain"), folder.path().join("said"));
    let card = run(&plain, &a).unwrap();
    run(&said, &b).unwrap();
    assert!(student(&a) == student(&b));
    let identity = |run: &Path| Checkpoint::read(&last(run)).unwrap().progress.identity;
    assert_eq!(identity(&a), identity(&b));
    // What caches and checkpoints of before know a teacher by.
    assert!(!card.teachers[0].identity.contains("precision"), "{:?}", card.teachers[0]);
    assert_eq!((card.precision.as_str(), card.kernels.as_str()), ("f32", Precision::F32.kernels()));
    assert!(card.training_notes.is_empty(), "{:?}", card.training_notes);
}

#[test]
fn what_is_said_of_the_steps_changes_the_steps_and_of_teachers_their_outputs() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str, sets: &[&str]| {
        let out = folder.path().join(name);
        run(&recipe(folder.path(), "ca-mkd", 2, sets), &out).unwrap();
        student(&out)
    };
    let tensors = |bytes: &[u8]| {
        faculty_nets::weights::parse_safetensors(Path::new("student"), bytes).unwrap().0
    };
    let plain = of("plain", &[]);
    let (steps, teacher) = (of("steps", &[STEPS]), of("teacher", &TEACHERS[1..]));
    assert_eq!(tensors(&steps) != tensors(&plain), rounds());
    assert_eq!(tensors(&teacher) != tensors(&plain), rounds());
    // A teacher says what its network says in that precision.
    let input = TeacherInput::new(network(50).graph().input_shape(), None, None);
    let images = images();
    for precision in Precision::ALL {
        let mut own = NetworkTeacher::with_input(&network(50), input.clone(), &[], precision);
        let ids = vec![faculty_data::SampleId(0); BATCH];
        let batch = faculty_teachers::TeacherBatch {
            ids: &ids,
            view: faculty_data::View::Plain,
            inputs: (&images).into(),
        };
        assert_eq!(own.outputs(&batch, &[]).unwrap().logits, logits(precision), "{precision:?}");
    }
}

#[test]
fn precisions_are_told_and_a_run_does_not_go_on_in_another_one_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let plain = recipe(folder.path(), "ca-mkd", 2, &["train.schedule=constant"]);
    let bf16 = recipe(folder.path(), "ca-mkd", 2, &[STEPS, "train.schedule=constant"]);
    let teacher = recipe(folder.path(), "ca-mkd", 2, &[TEACHERS[0], "train.schedule=constant"]);
    let out = folder.path().join("run");
    run_until(&plain, &out, Start::New, (2, 1));
    let text = resumed(&teacher, &out).unwrap_err().to_string();
    assert!(text.contains("`teachers.t0.precision` (then \"f32\", now \"bf16\")"), "{text}");
    assert!(text.contains("teacher t0 (then ") && text.contains(" precision=bf16"), "{text}");
    let text = resumed(&bf16, &out).unwrap_err().to_string();
    assert!(text.contains("`train.precision` (then \"f32\", now \"bf16\")"), "{text}");

    let card = resumed_with(&bf16, &out, &["train.precision"]).unwrap();
    assert_eq!(
        (card.precision.as_str(), card.kernels.as_str()),
        ("bf16", Precision::Bf16.kernels())
    );
    let change = card.changes.iter().find(|own| own.key == "train.precision").unwrap();
    assert_eq!((change.epoch, change.batch), (1, 1));
    let note = "steps round the factors of convolutions and matrix products to bf16; measured and \
                delivered is the network in f32";
    assert_eq!(card.training_notes, [note]);
    let progress = Checkpoint::read(&last(&out)).unwrap().progress;
    assert_eq!(progress.kernels, Precision::Bf16.kernels());
    assert!(progress.identity.recipe.contains("precision = \"bf16\""));
}

#[test]
fn the_preflight_measures_a_bf16_teacher_in_f32_too() {
    let folder = tempfile::tempdir().unwrap();
    let inspect = |sets: &[&str]| {
        let recipe = recipe(folder.path(), "aver", 2, sets);
        inspect_teachers(&recipe, &dataset(), None).unwrap()
    };
    let (plain, own) = (inspect(&[]), inspect(&TEACHERS[..1]));
    assert!(plain.teachers.iter().all(|own| own.precision.is_none()));
    assert_eq!(own.teachers[1].precision, None);
    let check = own.teachers[0].precision.as_ref().unwrap();
    assert_eq!((check.precision.as_str(), check.samples), ("bf16", own.samples));
    assert_eq!((check.own, check.in_f32), (own.teachers[0].quality, plain.teachers[0].quality));
    assert_eq!(check.nll_difference != 0.0, rounds());
    let text = serde_json::to_string(&own).unwrap();
    assert_eq!(serde_json::from_str::<faculty_distill::preflight::Report>(&text).unwrap(), own);
}

#[test]
fn students_of_plans_train_and_teach_in_the_precision_of_the_steps() {
    let folder = tempfile::tempdir().unwrap();
    for plan in [
        "plan = {kind = 'born-again', generations = 2}",
        "plan = {kind = 'mutual', networks = ['resnet8x0.5']}",
    ] {
        let mutual = plan.contains("mutual");
        let method = if mutual { "ce" } else { "kd" };
        let recipe = recipe(
            folder.path(),
            method,
            1 - usize::from(mutual),
            &[plan, STEPS, "train.epochs=1"],
        );
        let dataset = dataset();
        let checked = CheckedPlan::new(&recipe, recipe.plan.as_ref().unwrap(), &dataset).unwrap();
        let out = folder.path().join(method);
        let never = std::sync::atomic::AtomicBool::new(false);
        let (card, _) = checked.run(&out, Start::New, &never, &mut |_, _| {}).unwrap();
        assert_eq!(card.precision, "bf16", "{plan}");
        let expected: Vec<&str> = card.teachers.iter().map(|own| own.precision.as_str()).collect();
        assert_eq!(expected, if mutual { vec![] } else { vec!["bf16"] }, "{plan}");
    }
}

#[test]
fn heads_belong_to_the_precision_that_they_were_trained_in() {
    let folder = tempfile::tempdir().unwrap();
    let output = format!("output={}", folder.path().join("run").display());
    let file = |sets: &[&str]| {
        let own = ["teachers.t0.heads=[\"f1\"]", &output];
        let recipe = recipe(folder.path(), "aver", 1, &[&own, sets].concat());
        let dataset = dataset();
        let mounted = HeadsPlan::new(&recipe, &dataset).unwrap().recipe();
        mounted.teachers[1].head.clone().unwrap()
    };
    let (plain, steps, teacher) = (file(&[]), file(&[STEPS]), file(&TEACHERS[..1]));
    assert!(plain != steps && plain != teacher && steps != teacher);
    assert_eq!(plain, file(&["train.precision=f32", "teachers.t0.precision=f32"]));
}

#[test]
fn onnx_files_run_in_bf16_where_they_are_networks_of_this_program() {
    let folder = tempfile::tempdir().unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnx/net.onnx");
    let mut own = recipe(folder.path(), "aver", 1, &TEACHERS[..1]);
    (own.teachers[0].network, own.teachers[0].weights) = (None, None);
    own.teachers[0].onnx = Some(file);
    let card = CheckedRun::new(&own, &dataset()).unwrap().card().clone();
    assert_eq!(card.teachers[0].precision, "bf16");
    // The runtime of all other files knows f32 alone.
    own.teachers[0].map = Some("relu_6".to_owned());
    let error = CheckedRun::new(&own, &dataset()).err().unwrap();
    let (text, hint) = (error.to_string(), error.hint().unwrap());
    assert!(text.contains("cannot be run in bf16: its `map` is named"), "{text}");
    assert_eq!(hint, "remove `precision` from teacher `t0`");
}

/// CE, and between its steps what an exam on the same batch gives.
#[derive(Debug, Default)]
struct Examined(Ce);

impl Method for Examined {
    fn needs(&self, epoch: usize) -> Needs {
        self.0.needs(epoch)
    }

    fn parts(&self, _shapes: &Shapes) -> Parts {
        Parts { after_step: Some(Box::new(Exam)), ..Parts::default() }
    }

    fn loss(&self, step: &Step) -> Loss {
        self.0.loss(step)
    }

    fn objective(&self, teachers: usize) -> String {
        self.0.objective(teachers)
    }
}

#[derive(Debug)]
struct Exam;

impl AfterStep for Exam {
    fn after_step(&mut self, sandbox: &mut dyn Sandbox<'_>) -> Vec<(&'static str, f64)> {
        let batch = sandbox.batch();
        let (value, gradient) = sandbox.cross_entropy(batch.inputs, batch.labels);
        vec![("value", value), ("slope", gradient.iter().flatten().map(|&g| f64::from(g)).sum())]
    }

    fn state(&self) -> StateDict {
        StateDict::new()
    }

    fn set_state(&mut self, _state: StateDict) -> Result<(), String> {
        Ok(())
    }
}

#[test]
fn what_is_tried_between_steps_is_tried_in_f32_and_the_next_step_is_not() {
    let setup = Setup::new(0, &[]);
    let optimizer = faculty_distill::optimizer::OptimizerConfig::Sgd {
        momentum: 0.9,
        nesterov: true,
        weight_decay: 5e-4,
    };
    let of = |precision| {
        let method = Box::new(Examined::default());
        let mut learner = Learner::new(network(5), method, &[], BATCH, 5, &Compute::Kernels)
            .with_precision(precision);
        let first = learner.predict(&setup.batch()).to_vec();
        learner.gradients(&setup.batch());
        let exam = learner.after_step(&setup.batch(), &optimizer, 0.05, None);
        // Batch statistics alone: running ones, which have moved, say nothing here.
        let second = learner.predict(&setup.batch()).to_vec();
        assert_eq!(first, second, "{precision:?}");
        (first, exam)
    };
    let ((f32, in_f32), (bf16, in_bf16)) = (of(Precision::F32), of(Precision::Bf16));
    assert_eq!(in_f32, in_bf16);
    assert_eq!(f32 != bf16, rounds());
}
