//! IKD in whole runs: its teacher learns, is kept in checkpoints, and must be one that can learn.

use std::collections::BTreeMap;

use faculty_distill::recipe::Cache;
use faculty_nets::weights;

use crate::data::network;
use crate::resume::resumed_equals_undisturbed;
use crate::runs::{recipe, run};

#[test]
fn the_teacher_learns_and_a_resumed_run_has_the_same_one() {
    let folder = tempfile::tempdir().unwrap();
    let sets = ["method.teacher_rate=1e-3", "data.views=2"];
    let recipe = recipe(folder.path(), "ikd", 1, &sets);
    let out = resumed_equals_undisturbed(&recipe, folder.path());
    let (state, _) = weights::read_safetensors(&out.join("checkpoints/last.safetensors")).unwrap();
    for (name, before) in network(50).state_dict() {
        let after = &state[&format!("teacher.0/{name}")];
        // A bias in front of batch norm, say, may have no gradient; statistics are held.
        if name.contains("running") {
            assert_eq!(after.values, before.values, "{name}");
        } else if name.ends_with("weight") {
            assert!(after.values != before.values, "{name}");
        }
    }
    assert!(state.contains_key("optimizer.second_moment/teacher.0/fc.weight"));
}

#[test]
fn a_student_learns_beside_a_learning_teacher() {
    let folder = tempfile::tempdir().unwrap();
    let sets = ["train.epochs=8", "method.alpha=0.1"];
    let card = run(&recipe(folder.path(), "ikd", 1, &sets), &folder.path().join("run")).unwrap();
    let test = card.last.test.unwrap();
    assert!(test.top1 > 80.0, "{test:?}");
}

#[test]
fn teachers_that_cannot_learn_are_refused_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let good = recipe(folder.path(), "ikd", 1, &[]);
    let mut cached = good.clone();
    cached.data.views = Some(2);
    cached.cache = Some(Cache::default());
    let error = run(&cached, &out).unwrap_err();
    assert!(error.to_string().contains("what a cache says"), "{error}");
    assert_eq!(error.hint().unwrap(), "leave out `[cache]`");

    let mut table = good.clone();
    table.teachers[0].logits = Some(folder.path().join("table.npy"));
    (table.teachers[0].network, table.teachers[0].weights) = (None, None);
    let error = run(&table, &out).unwrap_err();
    assert!(error.to_string().contains("teacher `t0`"), "{error}");
    assert!(error.hint().unwrap().contains("`network` and `weights`"), "{error}");

    // The same classes in another order.
    let mut state = network(50).state_dict();
    let bias = state.get_mut("fc.bias").unwrap();
    bias.values.rotate_left(1);
    let path = folder.path().join("other.safetensors");
    let names = r#"["middle", "bottom", "top"]"#.to_owned();
    weights::write(&path, &state, &BTreeMap::from([("class_names".to_owned(), names)])).unwrap();
    let mut mapped = good.clone();
    mapped.teachers[0].weights = Some(path);
    let error = run(&mapped, &out).unwrap_err();
    assert!(error.to_string().contains("behind a class map"), "{error}");

    // An exam that leaves too little to train on.
    let mut few = recipe(folder.path(), "ikd", 1, &["method.exam_share=0.5"]);
    few.train.batch_size = 180;
    few.train.drop_last = true;
    let error = run(&few, &out).unwrap_err();
    assert!(error.hint().unwrap().contains("train.batch_size"), "{error}");
    assert!(!out.exists());
}
