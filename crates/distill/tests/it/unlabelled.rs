//! Training samples without a label: teachers teach on them, the task loss leaves them out.

use std::fs;
use std::path::Path;

use faculty_distill::comparison::{CheckedComparison, ComparisonPlan, SIGNIFICANCE};
use faculty_distill::methods::specs;
use faculty_distill::recipe::Recipe;
use faculty_distill::run::open_dataset;
use faculty_distill::tfidf::{TfidfConfig, write_table};
use faculty_distill::{CheckedRun, Error};
use faculty_teachers::{TeacherError, prepare_data};

use crate::cache::{build, cached};
use crate::data::dataset;
use crate::resume::resumed_equals_undisturbed;
use crate::runs::{metrics, recipe, run, student, timeless};

const FEW: &str = "data.labels_per_class=12";
const USE: &str = "data.unlabelled=use";

fn refused(recipe: &Recipe) -> Error {
    CheckedRun::new(recipe, &dataset()).map(drop).unwrap_err()
}

#[test]
fn the_others_of_a_few_labels_are_dropped_or_used() {
    let folder = tempfile::tempdir().unwrap();
    let sizes = |sets: &[&str]| {
        let data = prepare_data(&recipe(folder.path(), "ce", 0, sets), &dataset()).unwrap();
        let validation = data.validation.unwrap();
        assert_eq!(validation.labelled_len(), validation.len());
        assert!(data.train.labelled().labels().iter().all(|&label| label < 3));
        [data.train.len(), data.train.labelled_len(), validation.len()]
    };
    let [all, labelled, held_out] = sizes(&[]);
    assert_eq!((all, labelled), (240 - held_out, 240 - held_out));
    assert_eq!(sizes(&[FEW]), [36, 36, held_out]);
    assert_eq!(sizes(&[FEW, USE]), [all, 36, held_out]);
    assert_eq!(sizes(&[USE]), [all, all, held_out]);
    let of = |sets: &[&str]| {
        let data = prepare_data(&recipe(folder.path(), "ce", 0, sets), &dataset()).unwrap();
        data.train.labelled().ids()
    };
    assert_eq!(of(&[FEW]), of(&[FEW, USE]));
    assert_eq!(of(&[FEW]), of(&[FEW, "seed=9"]));
    assert_ne!(of(&[FEW]), of(&[FEW, "data.labels_seed=2"]));
    let more = of(&["data.labels_per_class=20"]);
    assert!(of(&[FEW]).iter().all(|id| more.contains(id)));
}

#[test]
fn a_run_with_unlabelled_samples_resumes_exactly_and_counts_what_has_a_label() {
    let folder = tempfile::tempdir().unwrap();
    let own = recipe(folder.path(), "ca-mkd", 2, &[FEW, USE, "train.drop_last=false"]);
    let parts = resumed_equals_undisturbed(&own, folder.path());
    for epoch in metrics(&parts) {
        // Of 36 samples it can be right or wrong.
        let right = epoch.train_top1 * 36.0 / 100.0;
        assert!((right - right.round()).abs() < 1e-9 && right <= 36.0, "{epoch:?}");
        assert!(epoch.terms["task"].value > 0.0 && epoch.terms["kd"].value > 0.0);
    }
    let alone = folder.path().join("alone");
    run(&recipe(folder.path(), "ca-mkd", 2, &[FEW]), &alone).unwrap();
    assert!(student(&alone) != student(&parts));
}

#[test]
fn unlabelled_samples_are_kept_in_caches_as_all_others_are() {
    let folder = tempfile::tempdir().unwrap();
    let cached = cached(folder.path(), "ca-mkd", 2, &[FEW, USE]);
    let live = Recipe { cache: None, ..cached.clone() };
    let (a, b) = (folder.path().join("live"), folder.path().join("from-cache"));
    run(&live, &a).unwrap();
    build(&cached).unwrap();
    run(&cached, &b).unwrap();
    assert!(student(&a) == student(&b));
    assert_eq!(timeless(&a), timeless(&b));
}

#[test]
fn what_needs_every_label_is_refused_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    for method in ["crd", "dkd"] {
        let error = refused(&recipe(folder.path(), method, 1, &[FEW, USE]));
        assert!(matches!(error, Error::NeedsLabels { unlabelled, .. } if unlabelled > 100));
        assert!(error.hint().unwrap().contains("data.unlabelled"));
        CheckedRun::new(&recipe(folder.path(), method, 1, &[FEW]), &dataset()).unwrap();
    }
    let sets = [FEW, USE, "train.sampling=balanced"];
    let error = refused(&recipe(folder.path(), "kd", 1, &sets));
    assert!(matches!(error, Error::Teacher(TeacherError::UnlabelledSampling)), "{error}");
    let error = refused(&recipe(folder.path(), "kd", 1, &[FEW, USE, "data.mixup=0.2"]));
    assert!(matches!(error, Error::Teacher(TeacherError::UnlabelledMixing)), "{error}");
    assert!(error.hint().unwrap().contains("data.unlabelled"));
}

#[test]
fn a_comparison_of_all_methods_leaves_out_those_that_need_labels() {
    let folder = tempfile::tempdir().unwrap();
    let plan = ComparisonPlan {
        folder: folder.path().join("out"),
        methods: None,
        seeds: 1,
        against: None,
        level: SIGNIFICANCE,
        overwrite: false,
    };
    let own = recipe(folder.path(), "ce", 2, &[FEW, USE, "train.epochs=1"]);
    let data = dataset();
    let checked = CheckedComparison::new(&own, &data, plan).unwrap();
    for name in ["crd", "dkd", "mmkd", "ckd"] {
        let note = checked.left_out().iter().find(|note| note.method == name);
        assert!(note.is_some_and(|note| note.reason.contains(name)), "{name}: {note:?}");
    }
}

const TEXTS: &str = "text,label\nfine day,warm\nfrost again,cold\nhot sun,warm\nice and snow,cold\n\
                     sun again,warm\nsnow on ice,cold\nwho knows,\nsun or snow,\nno idea,\n";

fn texts(folder: &Path, sets: &[&str]) -> Recipe {
    let text = "[data]\npath = \"texts\"\nvalidation = \"val\"\n[student]\nnetwork = \"bag\"\n\
                width = 8\nmax_tokens = 8\ntokenizer = \"vocab.txt\"\n[method]\nname = \"aver\"\n\
                [train]\nepochs = 2\nbatch_size = 4\n[[teachers]]\nname = \"linear\"\n\
                logits = \"table.safetensors\"\nallow_weak = true\n";
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    Recipe::from_str(text, folder.join("r.toml"), &sets, &specs()).unwrap().recipe
}

#[test]
fn texts_without_a_label_are_learnt_from_with_a_table_that_knows_them() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::create_dir(folder.join("texts")).unwrap();
    fs::write(folder.join("texts/train.csv"), TEXTS).unwrap();
    fs::write(folder.join("texts/val.csv"), "text,label\nsun,warm\nice,cold\n").unwrap();
    let words = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nsun\nice\nsnow\nfrost\nday\nagain\n";
    fs::write(folder.join("vocab.txt"), words).unwrap();
    let table = |own: &Recipe| {
        let dataset = open_dataset(&own.data).unwrap();
        let data = prepare_data(own, &dataset).unwrap();
        let path = folder.join("table.safetensors");
        let config = TfidfConfig { folds: 2, ..TfidfConfig::default() };
        write_table(&dataset, &data, &config, &path).unwrap();
        (data.train.len(), data.train.labelled_len())
    };
    let (dropped, used) = (texts(folder, &[]), texts(folder, &[USE]));
    assert_eq!(table(&dropped), (6, 6));
    let open = |own: &Recipe| CheckedRun::new(own, &open_dataset(&own.data).unwrap());
    open(&dropped).unwrap();
    // A table that does not have them says so.
    let error = open(&used).map(drop).unwrap_err().to_string();
    assert!(error.contains('3'), "{error}");
    assert_eq!(table(&used), (9, 6));
    open(&used).unwrap();
}
