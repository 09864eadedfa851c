//! Teachers with classes of their own: distillation by transport, and ranking.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use faculty_data::Dataset;
use faculty_distill::cache::plan as plan_cache;
use faculty_distill::methods::specs;
use faculty_distill::recipe::Recipe;
use faculty_distill::run::rank_teachers;
use faculty_distill::{CheckedRun, Error, Start, train};
use faculty_nets::weights::{self, Array};
use faculty_teachers::TeacherError;

use crate::data::{dataset, relabelled};
use crate::runs::{run, student, timeless};

fn recipe(folder: &Path, method: &str, more: &str, sets: &[&str]) -> Recipe {
    let text = format!(
        "seed = 3\n[data]\npath = \"bands\"\ncrop_padding = 1\n[student]\n\
         network = \"resnet8x0.5\"\n[method]\nname = \"{method}\"\n\
         [train]\nepochs = 6\nbatch_size = 32\nlearning_rate = 0.05\n{more}"
    );
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    Recipe::from_str(&text, folder.join("recipe.toml"), &sets, &specs()).unwrap().recipe
}

/// Trains a network on `data`; its file is `NAME/student.safetensors`.
fn teacher(folder: &Path, name: &str, data: &Dataset, sets: &[&str]) {
    let own = CheckedRun::new(&recipe(folder, "ce", "", sets), data).unwrap();
    let out = folder.join(name);
    train(own, &out, Start::New, &AtomicBool::new(false), &mut |_| {}).unwrap();
}

fn entry(name: &str) -> String {
    format!(
        "[[teachers]]\nname = \"{name}\"\nnetwork = \"resnet8x0.5\"\n\
         weights = \"{name}/student.safetensors\"\nallow_weak = true\n"
    )
}

/// A teacher that tells the top band from the rest and knows nothing else.
fn merged() -> Dataset {
    relabelled(&["top", "rest"], |label| label.min(1))
}

#[test]
fn a_teacher_of_other_classes_teaches_live_and_from_a_cache() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    teacher(at, "coarse", &merged(), &[]);
    let cache = format!("cache.path={}", at.join("cache").display());
    // A teacher that lumps two classes together draws them together in the student, too.
    let cached = recipe(at, "ot", &entry("coarse"), &["data.views=2", "method.lambda=1", &cache]);
    let live = Recipe { cache: None, ..cached.clone() };
    let card = run(&live, &at.join("live")).unwrap();
    assert_eq!(card.teachers[0].classes, "2 classes of its own");
    assert_eq!(card.teachers[0].quality, None);
    assert!(card.last.test.unwrap().top1 > 80.0, "{:?}", card.last);
    let text = std::fs::read_to_string(at.join("live/metrics.jsonl")).unwrap();
    let transport = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["terms"]["transport"]["value"].as_f64().unwrap()
    };
    let values: Vec<f64> = text.lines().map(transport).collect();
    assert!(values[5] < values[0], "the student comes nearer: {values:?}");

    let data = dataset();
    let plan = plan_cache(&cached, &data).unwrap();
    plan.build(&AtomicBool::new(false), &mut |_| {}).unwrap();
    run(&cached, &at.join("cached")).unwrap();
    assert!(student(&at.join("live")) == student(&at.join("cached")), "students differ");
    assert_eq!(timeless(&at.join("live")), timeless(&at.join("cached")));

    // Where classes have to match, the same teacher does not.
    let error = run(&recipe(at, "aver", &entry("coarse"), &[]), &at.join("aver")).unwrap_err();
    assert!(matches!(error, Error::Teacher(TeacherError::TeacherClasses { .. })), "{error}");
}

#[test]
fn ranking_orders_teachers_by_what_they_know() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let mut more = String::new();
    for (name, noise) in [("bad", "1"), ("half", "0.5"), ("good", "0")] {
        teacher(at, name, &dataset(), &[&format!("data.label_noise={noise}")]);
        more += &entry(name);
    }
    teacher(at, "coarse", &merged(), &[]);
    more += &entry("coarse");
    let ranking = rank_teachers(&recipe(at, "ot", &more, &[]), &dataset(), None).unwrap();
    assert_eq!(ranking.part, "validation");
    let mut own: Vec<&str> = ranking.teachers.iter().map(|own| own.name.as_str()).collect();
    let scores: Vec<f64> = ranking.teachers.iter().map(|own| own.score).collect();
    assert!(scores.is_sorted(), "{scores:?}");
    let coarse = &ranking.teachers[own.iter().position(|name| *name == "coarse").unwrap()];
    assert_eq!((coarse.classes, coarse.same), (2, 1));
    assert!(coarse.score < coarse.guessing, "{coarse:?}");
    own.retain(|name| *name != "coarse");
    assert_eq!(own, ["good", "half", "bad"], "{ranking:?}");
    let good = &ranking.teachers.iter().find(|own| own.name == "good").unwrap();
    assert_eq!((good.classes, good.same), (3, 3));
    assert!(good.score < 0.5 * good.guessing, "{good:?}");
    // Without a validation split the labels that were learnt from are all that there is.
    let sets = ["data.validation=0"];
    let ranking = rank_teachers(&recipe(at, "ot", &more, &sets), &dataset(), Some(50)).unwrap();
    assert_eq!((ranking.part.as_str(), ranking.samples), ("training", 50));
}

#[test]
fn costs_come_from_a_file_where_there_is_no_classifier() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    // Two outputs by sample id: whether the band is at the top.
    let data = merged();
    let sets = [data.train(), data.test().unwrap()];
    let all = sets.iter().flat_map(|set| set.ids().iter().zip(set.labels()));
    let (mut ids, mut bytes) = (Vec::new(), Vec::new());
    for (id, &label) in all {
        ids.push(id.to_string());
        for class in 0..2 {
            bytes.extend((if class == label { 4.0_f32 } else { 0.0 }).to_le_bytes());
        }
    }
    let shape = format!("({}, 2)", ids.len());
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.bytes());
    file.extend(bytes);
    std::fs::write(at.join("t.npy"), file).unwrap();
    std::fs::write(at.join("t.ids.txt"), ids.join("\n")).unwrap();
    let table = "[[teachers]]\nname = \"t\"\nlogits = \"t.npy\"\n";
    // The ids hash labels too, so that the table is asked for the samples as they are here.
    let run = |more: &str, out: &str| {
        let own = CheckedRun::new(&recipe(at, "ot", &format!("{table}{more}"), &[]), &data)?;
        train(own, &at.join(out), Start::New, &AtomicBool::new(false), &mut |_| {})
    };
    let error = run("", "without").unwrap_err();
    assert!(matches!(error, Error::NoClassCost { .. }), "{error}");
    assert!(error.hint().unwrap().contains("class_cost"), "{error}");
    let write = |name: &str, shape: [usize; 2]| {
        let values = (0..shape[0] * shape[1]).map(|i| f32::from(u8::from(i % 3 != 0))).collect();
        let array = Array { shape: shape.to_vec(), values };
        let state = BTreeMap::from([("cost".to_owned(), array)]);
        weights::write(&at.join(name), &state, &BTreeMap::new()).unwrap();
    };
    write("wrong.safetensors", [3, 2]);
    let error = run("class_cost = \"wrong.safetensors\"\n", "wrong").unwrap_err();
    assert!(error.to_string().contains("shape [3, 2], [2, 2] is needed"), "{error}");
    let error = run("class_cost = \"nowhere.safetensors\"\n", "nowhere").unwrap_err();
    assert!(error.to_string().contains("nowhere"), "{error}");
    write("right.safetensors", [2, 2]);
    let card = run("class_cost = \"right.safetensors\"\n", "right").unwrap();
    assert!(card.last.test.unwrap().top1 > 80.0, "{:?}", card.last);
}
