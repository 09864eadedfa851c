//! mixup and CutMix in whole runs: the same mixtures for live and cached teachers and after a stop, and
//! refused where a sample cannot have two labels.

use faculty_distill::cache::plan as plan_cache;
use faculty_distill::heads::HeadsPlan;
use faculty_distill::recipe::Recipe;
use faculty_distill::{CheckedRun, Error};
use faculty_teachers::TeacherError;

use crate::cache::{build, cached};
use crate::data::dataset;
use crate::resume::resumed_equals_undisturbed;
use crate::runs::{recipe, run, student, timeless};

const SETS: [&str; 5] = [
    "data.mixup=0.4",
    "data.cutmix=1.0",
    "data.mix_probability=0.75",
    "train.label_smoothing=0.1",
    "train.class_weights=\"balanced\"",
];

#[test]
fn a_run_stopped_in_the_middle_equals_an_undisturbed_one() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), "ca-mkd", 2, &SETS);
    resumed_equals_undisturbed(&recipe, folder.path());
}

#[test]
fn cached_teachers_see_the_mixtures_that_live_ones_see() {
    let folder = tempfile::tempdir().unwrap();
    let cached = cached(folder.path(), "ca-mkd", 2, &SETS);
    let live = Recipe { cache: None, ..cached.clone() };
    let (a, b) = (folder.path().join("live"), folder.path().join("from-cache"));
    let card = run(&live, &a).unwrap();
    build(&cached).unwrap();
    run(&cached, &b).unwrap();
    assert!(student(&a) == student(&b), "students differ");
    assert_eq!(timeless(&a), timeless(&b));
    let expected =
        "each training view: mixup of alpha 0.4 or CutMix of alpha 1 with probability 0.75";
    assert_eq!(card.training_notes, [expected]);
    // Other mixtures are another cache; without any it is that of before.
    type Change = fn(&mut Recipe);
    let changes: [(&str, Change); 3] = [
        ("(cache: mixup of alpha 0.4 or CutMix", |own| own.data.mixup = Some(0.5)),
        ("recipe: mixup of alpha 0.4 with probability 0.75 among", |own| own.data.cutmix = None),
        ("recipe: none)", |own| {
            (own.data.mixup, own.data.cutmix, own.data.mix_probability) = (None, None, 1.0);
        }),
    ];
    for (expected, change) in changes {
        let mut other = cached.clone();
        change(&mut other);
        let error = CheckedRun::new(&other, &dataset()).err().unwrap();
        assert!(matches!(error, Error::Teacher(TeacherError::CacheMismatch { .. })), "{error}");
        let text = error.to_string();
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn each_kind_makes_another_student_and_a_probability_of_0_that_of_before() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str, sets: &[&str]| {
        let out = folder.path().join(name);
        run(&recipe(folder.path(), "aver", 1, sets), &out).unwrap();
        student(&out)
    };
    let none = of("none", &[]);
    assert!(of("off", &["data.mixup=0.4", "data.mix_probability=0"]) == none);
    let others = [of("mixup", &["data.mixup=0.4"]), of("cutmix", &["data.cutmix=1"])];
    assert!(others[0] != none && others[1] != none && others[0] != others[1]);
}

#[test]
fn caches_and_heads_without_mixtures_are_those_of_before() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset();
    let plain = cached(folder.path(), "aver", 1, &[]);
    let plan = plan_cache(&plain, &dataset).unwrap();
    let text = String::from_utf8(plan.manifest().to_bytes()).unwrap();
    assert!(!text.contains("augmentation"), "{text}");
    let file = |sets: &[&str]| {
        let output = format!("output={}", folder.path().join("run").display());
        let own = ["teachers.t0.heads=[\"f1\"]", &output];
        let recipe = recipe(folder.path(), "aver", 1, &[sets, &own].concat());
        let mounted = HeadsPlan::new(&recipe, &dataset).unwrap().recipe();
        mounted.teachers[1].head.clone().unwrap()
    };
    // Heads are trained on whole samples.
    assert_eq!(file(&[]), file(&["data.mixup=0.4"]));
}

#[test]
fn methods_that_need_one_label_refuse_mixtures_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for (method, sets, key) in [
        ("dkd", &["data.mixup=0.4"][..], "data.mixup"),
        ("crd", &["data.cutmix=1"], "data.cutmix"),
        ("kd", &["data.cutmix=1", "method.terms=[{name = 'crd', beta = 0.8}]"], "data.cutmix"),
    ] {
        let error = CheckedRun::new(&recipe(folder.path(), method, 1, sets), &dataset());
        let error = error.err().unwrap();
        let (text, hint) = (error.to_string(), error.hint().unwrap());
        let want = format!("method `{method}` needs one label of each sample, and `{key}` gives");
        assert!(text.contains(&want), "{text}");
        assert_eq!(hint, format!("remove `{key}`, or choose another `method.name`"));
    }
}
