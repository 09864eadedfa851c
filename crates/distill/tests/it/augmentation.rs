//! Random resized crops, RandAugment, colour jitter and random erasing in whole runs: the same views for live and
//! cached teachers and after a stop, and no other run where nobody asks for them.

use faculty_distill::cache::plan as plan_cache;
use faculty_distill::heads::HeadsPlan;
use faculty_distill::recipe::{RandAugment, Recipe};
use faculty_distill::{CheckedRun, Error};
use faculty_teachers::TeacherError;

use crate::cache::{build, cached};
use crate::data::dataset;
use crate::resume::resumed_equals_undisturbed;
use crate::runs::{recipe, run, student, timeless};

/// What images of one channel can have; the crop takes the place of the other one.
const SETS: [&str; 5] = [
    "data={path = 'bands', crop_padding = 0, random_resized_crop = [0.5, 1.0]}",
    "data.rand_augment={operations = 2, magnitude = 9}",
    "data.random_erasing=0.5",
    "data.color_jitter.brightness=0.3",
    "data.color_jitter.contrast=0.3",
];

#[test]
fn a_run_stopped_in_the_middle_equals_an_undisturbed_one() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), "ca-mkd", 2, &SETS);
    resumed_equals_undisturbed(&recipe, folder.path());
}

#[test]
fn cached_teachers_see_the_views_that_live_ones_see() {
    let folder = tempfile::tempdir().unwrap();
    let cached = cached(folder.path(), "ca-mkd", 2, &SETS);
    let live = Recipe { cache: None, ..cached.clone() };
    let (a, b) = (folder.path().join("live"), folder.path().join("from-cache"));
    let card = run(&live, &a).unwrap();
    build(&cached).unwrap();
    run(&cached, &b).unwrap();
    assert!(student(&a) == student(&b), "students differ");
    assert_eq!(timeless(&a), timeless(&b));
    let expected = "each training view: random resized crop of 0.5 to 1 of the area, RandAugment of 2 \
                operations at magnitude 9 of 30, colour jitter 0.3 0.3 0 0 (brightness, contrast, \
                saturation, hue), random erasing of 0.5";
    assert_eq!(card.training_notes, [expected]);
    // Other views are another cache.
    type Change = fn(&mut Recipe);
    let changes: [(&str, Change); 5] = [
        ("RandAugment of 2 operations at magnitude 10 of 30", |own| {
            own.data.rand_augment = Some(RandAugment { operations: 2, magnitude: 10 });
        }),
        ("recipe: random resized crop of 0.5 to 1 of the area, TrivialAugment (wide), ", |own| {
            own.data.rand_augment = None;
            own.data.trivial_augment = true;
        }),
        ("recipe: random resized crop of 0.6 to 1 of", |own| {
            own.data.random_resized_crop = Some([0.6, 1.0]);
        }),
        ("random erasing of 0.25)", |own| own.data.random_erasing = 0.25),
        ("recipe: random resized crop of 0.5 to 1 of the area, random erasing of 0.5)", |own| {
            own.data.rand_augment = None;
            own.data.color_jitter = None;
        }),
    ];
    for (expected, change) in changes {
        let mut other = cached.clone();
        change(&mut other);
        let error = CheckedRun::new(&other, &dataset()).err().unwrap();
        assert!(matches!(error, Error::Teacher(TeacherError::CacheMismatch { .. })), "{error}");
        let text = error.to_string();
        assert!(text.contains("`data.cutmix` differs (cache: random resized crop"), "{text}");
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn each_change_makes_another_student_and_none_makes_that_of_before() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str, sets: &[&str]| {
        let out = folder.path().join(name);
        run(&recipe(folder.path(), "ce", 0, sets), &out).unwrap();
        faculty_nets::weights::read_safetensors(&out.join("student.safetensors")).unwrap().0
    };
    let none = of("none", &["data.crop_padding=0"]);
    assert!(of("off", &["data.crop_padding=0", "data.random_erasing=0"]) == none);
    for (at, set) in SETS.iter().chain(&["data.trivial_augment=true"]).enumerate() {
        let sets = ["data.crop_padding=0", set];
        assert!(of(&format!("set{at}"), &sets) != none, "{set}");
    }
}

#[test]
fn caches_and_heads_of_crop_and_flip_alone_are_those_of_before() {
    let folder = tempfile::tempdir().unwrap();
    let plain = cached(folder.path(), "aver", 1, &[]);
    let dataset = dataset();
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
    assert_eq!(file(&[]), file(&["data.random_erasing=0"]));
    assert_ne!(file(&[]), file(&["data.random_erasing=0.1"]));
}

#[test]
fn colours_of_grey_images_are_refused_before_the_run() {
    let folder = tempfile::tempdir().unwrap();
    for set in ["data.color_jitter.hue=0.1", "data.color_jitter.saturation=0.1"] {
        let error = CheckedRun::new(&recipe(folder.path(), "ce", 0, &[set]), &dataset());
        let text = error.err().unwrap().to_string();
        assert!(text.contains("images have 1 channels"), "{text}");
    }
}
