//! Heads inside teachers: trained once, found again, one more teacher each.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use faculty_distill::cache::plan as plan_cache;
use faculty_distill::heads::{HeadsEvent, HeadsPlan, mount};
use faculty_distill::methods::specs;
use faculty_distill::recipe::{Heads, Recipe};
use faculty_distill::run::inspect_teachers;
use faculty_distill::{CheckedRun, Error, Event, Start};
use faculty_teachers::Head;
use faculty_teachers::TeacherError;

use crate::data::dataset;
use crate::runs::{recipe, run, run_with, student, timeless};

/// A recipe whose heads lie beside its run.
fn with_heads(folder: &Path, method: &str, teachers: usize, sets: &[&str]) -> Recipe {
    let output = format!("output={}", folder.join("run").display());
    let own = ["heads.epochs=4", "heads.learning_rate=0.01", output.as_str()];
    recipe(folder, method, teachers, &[&own, sets].concat())
}

/// The mounted recipe, and how many epochs of heads were trained for it.
fn mounted(recipe: &Recipe) -> Result<(Recipe, usize), Error> {
    let mut epochs = 0;
    let mounted = mount(recipe, &dataset(), &AtomicBool::new(false), &mut |event| {
        epochs += usize::from(matches!(event, HeadsEvent::Epoch { .. }));
    })?;
    Ok((mounted, epochs))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder.join("heads")) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.file_name().is_some_and(|name| name != "lock"));
    files.sort();
    files
}

#[test]
fn dih_mounts_heads_that_know_the_classes_and_teach() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = with_heads(folder.path(), "dih", 1, &["train.epochs=6"]);
    let (mounted, epochs) = mounted(&recipe).unwrap();
    assert_eq!((epochs, files(folder.path()).len()), (4, 3));
    let card = run(&mounted, &folder.path().join("run")).unwrap();
    let names: Vec<&str> = card.teachers.iter().map(|own| own.name.as_str()).collect();
    assert_eq!(names, ["t0", "t0.f1", "t0.f2", "t0.f3"]);
    for head in &card.teachers[1..] {
        // The network itself was never trained.
        assert!(head.quality.unwrap().top1 > 60.0, "{head:?}");
        assert_eq!(head.source, "head");
        assert!(head.notes[0].contains("a classifier head on `f"), "{head:?}");
    }
    assert!(card.teachers[0].quality.unwrap().top1 < 60.0);
    assert!(card.objective.contains("K = 4"), "{}", card.objective);
    assert!(card.last.test.unwrap().top1 > 80.0, "{:?}", card.last);
}

#[test]
fn heads_are_trained_once_for_every_seed_and_method() {
    let folder = tempfile::tempdir().unwrap();
    let first = with_heads(folder.path(), "dih", 1, &[]);
    mounted(&first).unwrap();
    let before = files(folder.path());
    let bytes: Vec<Vec<u8>> = before.iter().map(|path| std::fs::read(path).unwrap()).collect();
    let named = ["teachers.0.heads=[\"f3\", \"f1\"]"];
    for (method, seed) in [("dih", 9), ("aver", 3), ("ebkd", 4)] {
        let mut other = with_heads(folder.path(), method, 1, &named);
        other.seed = seed;
        let (other, epochs) = mounted(&other).unwrap();
        assert_eq!(epochs, 0, "{method}");
        let names: Vec<&str> = other.teachers.iter().map(|own| own.name.as_str()).collect();
        assert_eq!(names, ["t0", "t0.f3", "t0.f1"]);
        // Mounted once, nothing is left to mount, and the recipe survives its file.
        let text = other.to_toml().unwrap();
        let again = Recipe::from_str(&text, "again.toml", &[], &specs()).unwrap();
        assert!(again.warnings.is_empty(), "{:?}", again.warnings);
        assert_eq!(mounted(&again.recipe).unwrap(), (again.recipe.clone(), 0));
    }
    // Trained anew they would be the same, bit for bit.
    std::fs::remove_dir_all(folder.path().join("heads")).unwrap();
    mounted(&first).unwrap();
    assert_eq!(files(folder.path()), before);
    for (path, bytes) in before.iter().zip(&bytes) {
        assert!(std::fs::read(path).unwrap() == *bytes, "{}", path.display());
    }
    for sets in [["heads.epochs=3"], ["data.label_noise=0.5"], ["data.flip=false"]] {
        let other = with_heads(folder.path(), "dih", 1, &sets);
        assert!(!HeadsPlan::new(&other, &dataset()).unwrap().is_complete(), "{sets:?}");
    }
}

#[test]
fn stopping_leaves_whole_heads_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = with_heads(folder.path(), "dih", 2, &[]);
    let stop_at = |name: &str| {
        let stop = AtomicBool::new(false);
        let error = mount(&recipe, &dataset(), &stop, &mut |event| {
            if let HeadsEvent::Batch { teacher, epoch: 3, batch: 2, .. } = event
                && teacher == name
            {
                stop.store(true, Ordering::Relaxed);
            }
        });
        error.unwrap_err()
    };
    assert!(matches!(stop_at("t0"), Error::HeadsStopped { .. }));
    assert!(files(folder.path()).is_empty());
    let error = CheckedRun::new(&recipe, &dataset()).err().unwrap();
    assert!(matches!(&error, Error::HeadMissing { head, .. } if head == "t0.f1"), "{error}");
    let error = stop_at("t1");
    assert!(error.hint().unwrap().contains("continues with the others"), "{error}");
    let kept = files(folder.path());
    assert_eq!(kept.len(), 3);
    kept.iter().for_each(|path| assert!(Head::read(path).is_ok()));
    let (_, epochs) = mounted(&recipe).unwrap();
    assert_eq!((epochs, files(folder.path()).len()), (4, 6));

    // A damaged file is reported, not used.
    std::fs::write(&kept[0], &std::fs::read(&kept[0]).unwrap()[..100]).unwrap();
    let error = mounted(&recipe).unwrap_err();
    assert!(matches!(error, Error::Teacher(TeacherError::HeadFile { .. })), "{error}");
    // So is the head of something else under its name.
    std::fs::copy(&kept[1], &kept[0]).unwrap();
    let error = mounted(&recipe).unwrap_err().to_string();
    assert!(error.contains("it is of another teacher"), "{error}");
}

#[test]
fn a_run_with_heads_resumes_and_trains_from_a_cache_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let cache = format!("cache.path={}", folder.path().join("cache").display());
    let recipe = with_heads(folder.path(), "dih", 1, &["data.views=2", &cache]);
    let (cached, _) = mounted(&recipe).unwrap();
    let live = Recipe { cache: None, ..cached.clone() };
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    let card = run(&live, &whole).unwrap();

    let stop = AtomicBool::new(false);
    let error = run_with(&live, &parts, Start::New, &stop, &mut |event| {
        if matches!(event, Event::Batch { epoch: 2, batch: 3, .. }) {
            stop.store(true, Ordering::Relaxed);
        }
    });
    assert!(matches!(error.unwrap_err(), Error::Interrupted { epoch: 2, .. }));
    // As the program does it: from the recipe, whose heads are found.
    let again = Recipe { cache: None, ..mounted(&recipe).unwrap().0 };
    run_with(&again, &parts, Start::Resume, &AtomicBool::new(false), &mut |_| {}).unwrap();
    assert!(student(&parts) == student(&whole), "students differ");
    assert_eq!(timeless(&parts), timeless(&whole));

    let plan = plan_cache(&cached, &dataset()).map(|plan| plan.folder().to_owned());
    assert_eq!(plan.unwrap(), folder.path().join("cache"));
    let dataset = dataset();
    let built = plan_cache(&cached, &dataset).unwrap();
    built.build(&AtomicBool::new(false), &mut |_| {}).unwrap();
    let from_cache = run(&cached, &folder.path().join("cached")).unwrap();
    assert!(student(&folder.path().join("cached")) == student(&whole), "students differ");
    let identity = |card: &faculty_distill::record::RunCard| -> Vec<String> {
        card.teachers.iter().map(|own| own.identity.clone()).collect()
    };
    assert_eq!(identity(&from_cache), identity(&card));
}

#[test]
fn what_heads_cannot_do_is_refused_before_they_are_trained() {
    let folder = tempfile::tempdir().unwrap();
    let all = ["teachers.0.heads=all"];
    let error = mounted(&with_heads(folder.path(), "ca-mkd", 1, &all)).unwrap_err();
    assert!(error.to_string().contains("a head inside teacher `t0` has none"), "{error}");
    let hint = error.hint().unwrap();
    assert!(hint.contains("no `heads`") && hint.contains("method.intermediate = false"), "{hint}");
    let sets = [all[0], "method.intermediate=false"];
    mounted(&with_heads(folder.path(), "ca-mkd", 1, &sets)).unwrap();

    let error = mounted(&with_heads(folder.path(), "aver", 1, &["teachers.0.heads=[\"f7\"]"]));
    let error = error.unwrap_err();
    assert!(error.to_string().contains("no map `f7` for a head; it has `f0`, `f1`"), "{error}");
    let mut kd = with_heads(folder.path(), "kd", 1, &[]);
    kd.teachers[0].heads = Some(Heads::At(vec!["f1".to_owned()]));
    let error = mounted(&kd).unwrap_err().to_string();
    assert!(error.contains("takes at most 1 teacher, found 2"), "{error}");
    kd.teachers[0].heads = Some(Heads::At(vec!["first".to_owned(), "f2".to_owned()]));
    let error = mounted(&kd).unwrap_err().to_string();
    assert!(error.contains("`first`, which is no tap"), "{error}");

    let mut table = with_heads(folder.path(), "dih", 1, &[]);
    table.teachers[0].network = None;
    table.teachers[0].weights = None;
    table.teachers[0].logits = Some("t.npy".into());
    let error = mounted(&table).unwrap_err();
    assert!(matches!(error, Error::NoPlaceForHeads { .. }), "{error}");
    table.teachers[0].heads = Some(Heads::All);
    let error = mounted(&table).unwrap_err().to_string();
    assert!(error.contains("belongs to `network`"), "{error}");

    // Plain training does not look at them, nor does looking at teachers train them.
    let plain = with_heads(folder.path(), "ce", 1, &["train.epochs=1", all[0]]);
    assert_eq!(mounted(&plain).unwrap().1, 0);
    run(&plain, &folder.path().join("plain")).unwrap();
    let sets = [all[0], "heads.epochs=9"];
    let report = inspect_teachers(&with_heads(folder.path(), "aver", 1, &sets), &dataset(), None);
    assert_eq!(report.unwrap().teachers.len(), 1);
    let report = inspect_teachers(&with_heads(folder.path(), "aver", 1, &all), &dataset(), None);
    assert_eq!(report.unwrap().teachers.len(), 4);
}
