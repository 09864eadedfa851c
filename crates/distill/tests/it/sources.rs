//! Teachers of other sources: tables of logits, other class orders, other sizes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use faculty_data::SampleId;
use faculty_distill::methods::specs;
use faculty_distill::recipe::Recipe;
use faculty_distill::record::RunCard;
use faculty_distill::{CheckedRun, Error, Start, train};
use faculty_nets::weights::{self, Array};

use crate::data::{dataset, network};

/// A recipe with one teacher of these lines.
fn recipe(folder: &Path, method: &str, teacher: &str) -> Recipe {
    let text = format!(
        "seed = 3\n[data]\npath = \"bands\"\ncrop_padding = 1\n[student]\n\
         network = \"resnet8x0.5\"\n[method]\nname = \"{method}\"\n\
         [train]\nepochs = 2\nbatch_size = 32\nlearning_rate = 0.05\n\
         [[teachers]]\nname = \"t\"\nallow_weak = true\n{teacher}\n"
    );
    Recipe::from_str(&text, folder.join("recipe.toml"), &[], &specs()).unwrap().recipe
}

fn run(recipe: &Recipe, folder: &Path) -> Result<RunCard, Error> {
    let run = CheckedRun::new(recipe, &dataset())?;
    train(run, folder, Start::New, &AtomicBool::new(false), &mut |_| {})
}

/// Logits that know the label, for the samples of both parts that `keep` keeps.
fn write_table(path: &Path, keep: impl Fn(usize) -> bool) {
    let data = dataset();
    let sets = [data.train(), data.test().unwrap()];
    let all: Vec<(SampleId, u32)> = sets
        .iter()
        .flat_map(|set| set.ids().iter().copied().zip(set.labels().iter().copied()))
        .enumerate()
        .filter_map(|(index, sample)| keep(index).then_some(sample))
        .collect();
    let ids: Vec<String> = all.iter().map(|(id, _)| id.to_string()).collect();
    std::fs::write(path.with_extension("ids.txt"), ids.join("\n")).unwrap();
    let header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, 3), }}\n", all.len());
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.bytes());
    for (_, label) in all {
        for class in 0..3 {
            bytes.extend((if class == label { 4.0_f32 } else { 0.0 }).to_le_bytes());
        }
    }
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_table_of_logits_teaches() {
    let folder = tempfile::tempdir().unwrap();
    write_table(&folder.path().join("t.npy"), |_| true);
    let mut good = recipe(folder.path(), "kd", "logits = \"t.npy\"");
    good.train.epochs = 4;
    let card = run(&good, &folder.path().join("run")).unwrap();
    let teacher = &card.teachers[0];
    assert_eq!(teacher.quality.unwrap().top1, 100.0);
    assert_eq!((teacher.source.as_str(), teacher.network.as_str()), ("logits", "t.npy"));
    assert!(teacher.notes[0].contains("every augmented view"), "{teacher:?}");
    assert!(card.last.test.unwrap().top1 > 80.0, "{:?}", card.last.test);

    // Only logits are there.
    let maps = recipe(folder.path(), "ca-mkd", "logits = \"t.npy\"");
    let error = run(&maps, &folder.path().join("maps")).unwrap_err();
    assert!(error.hint().unwrap().contains("method.intermediate = false"), "{error}");
}

#[test]
fn a_table_without_some_samples_is_refused_before_the_run() {
    let folder = tempfile::tempdir().unwrap();
    write_table(&folder.path().join("t.npy"), |index| index % 10 != 0);
    let out = folder.path().join("run");
    let error = run(&recipe(folder.path(), "kd", "logits = \"t.npy\""), &out).unwrap_err();
    let Error::MissingSamples { missing, first, part, .. } = &error else { panic!("{error}") };
    assert!((10..=24).contains(missing) && first.len() == 3, "{error}");
    assert_eq!(*part, "training");
    assert!(error.to_string().contains(&format!("`{}`", first[0])), "{error}");
    assert!(error.hint().unwrap().contains("--ids"));
    assert!(!out.exists(), "nothing was written");
}

/// A network whose outputs are those of `network(7)` in another order.
fn write_permuted(path: &Path, order: [usize; 3], metadata: &BTreeMap<String, String>) {
    let mut state = network(7).state_dict();
    for name in ["fc.weight", "fc.bias"] {
        let Array { shape, values } = &state[name];
        let each = values.len() / 3;
        let values = order.iter().flat_map(|&k| values[k * each..][..each].to_vec()).collect();
        let array = Array { shape: shape.clone(), values };
        state.insert(name.to_owned(), array);
    }
    weights::write(path, &state, metadata).unwrap();
}

#[test]
fn classes_in_another_order_give_the_same_run() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write_permuted(&at("plain.safetensors"), [0, 1, 2], &BTreeMap::new());
    let names = "[\"bottom\", \"top\", \"middle\"]".to_owned();
    let metadata = BTreeMap::from([("class_names".to_owned(), names)]);
    write_permuted(&at("named.safetensors"), [2, 0, 1], &metadata);
    write_permuted(&at("listed.safetensors"), [2, 0, 1], &BTreeMap::new());
    std::fs::write(at("names.txt"), "bottom\ntop\nmiddle\n").unwrap();
    let mut students = Vec::new();
    for (name, classes) in [
        ("plain", ""),
        ("named", ""),
        ("listed", "\nclasses = [\"bottom\", \"top\", \"middle\"]"),
        ("listed", "\nclasses = \"names.txt\""),
        ("listed", "\nclasses = { 0 = \"bottom\", 1 = \"top\", 2 = \"middle\" }"),
    ] {
        let source =
            format!("network = \"resnet8x0.5\"\nweights = \"{name}.safetensors\"{classes}");
        let out = at(&format!("run{}", students.len()));
        // Maps, head and logits must all follow.
        let card = run(&recipe(folder.path(), "ca-mkd", &source), &out).unwrap();
        let want = if name == "plain" { "" } else { "3 of 3 classes, in another order" };
        assert_eq!(card.teachers[0].classes, want);
        students.push(std::fs::read(out.join("student.safetensors")).unwrap());
    }
    for other in &students[1..] {
        assert!(*other == students[0], "students differ");
    }
}

#[test]
fn classes_that_do_not_match_are_refused_with_both_differences() {
    let folder = tempfile::tempdir().unwrap();
    let names = "[\"top\", \"middle\", \"floor\"]".to_owned();
    let metadata = BTreeMap::from([("class_names".to_owned(), names)]);
    write_permuted(&folder.path().join("t.safetensors"), [0, 1, 2], &metadata);
    let source = "network = \"resnet8x0.5\"\nweights = \"t.safetensors\"";
    let out = folder.path().join("run");
    let error = run(&recipe(folder.path(), "kd", source), &out).unwrap_err().to_string();
    assert!(error.contains("only the teacher has `floor`"), "{error}");
    assert!(error.contains("only the data has `bottom`"), "{error}");
    assert!(!out.exists(), "nothing was written");

    let declared = format!("{source}\nclasses = {{ floor = \"bottom\" }}");
    let card = run(&recipe(folder.path(), "ca-mkd", &declared), &out).unwrap();
    assert_eq!(card.teachers[0].classes, "", "the same order");
    // A class that the teacher lacks has no head.
    let declared = format!("{source}\nclasses = {{ floor = \"-\" }}");
    let maps = recipe(folder.path(), "ca-mkd", &declared);
    let error = run(&maps, &folder.path().join("maps")).unwrap_err();
    assert!(matches!(error, Error::MissingPart { .. }), "{error}");
    let card = run(&recipe(folder.path(), "kd", &declared), &folder.path().join("kd")).unwrap();
    assert_eq!(card.teachers[0].classes, "2 of 3 classes, 1 missing, 1 of its own left out");
}

#[test]
fn a_teacher_may_see_larger_images() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.safetensors");
    weights::write(&path, &network(7).state_dict(), &BTreeMap::new()).unwrap();
    let source = "network = \"resnet8x0.5\"\nweights = \"t.safetensors\"\ninput_size = [12, 16]";
    let card = run(&recipe(folder.path(), "kd", source), &folder.path().join("run")).unwrap();
    let identity = &card.teachers[0].identity;
    assert!(identity.contains("12×16"), "{identity}");
}
