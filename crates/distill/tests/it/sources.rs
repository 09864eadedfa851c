//! Teachers of other sources: tables of logits, other class orders, other sizes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use faculty_data::SampleId;
use faculty_distill::methods::specs;
use faculty_distill::recipe::Recipe;
use faculty_distill::record::RunCard;
use faculty_distill::run::inspect_teachers;
use faculty_distill::{CheckedRun, Error, Start, train};
use faculty_nets::weights::{self, Array};
use faculty_teachers::TeacherError;

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

/// A table for the samples of both parts that `keep` keeps: what `row` says of each, by its number
/// and label.
fn write_rows(path: &Path, keep: impl Fn(usize) -> bool, row: impl Fn(usize, u32) -> [f32; 3]) {
    let data = dataset();
    let sets = [data.train(), data.test().unwrap()];
    let all: Vec<(usize, (SampleId, u32))> = sets
        .iter()
        .flat_map(|set| set.ids().iter().copied().zip(set.labels().iter().copied()))
        .enumerate()
        .filter(|&(index, _)| keep(index))
        .collect();
    let ids: Vec<String> = all.iter().map(|(_, (id, _))| id.to_string()).collect();
    std::fs::write(path.with_extension("ids.txt"), ids.join("\n")).unwrap();
    let header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, 3), }}\n", all.len());
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.bytes());
    for (index, (_, label)) in all {
        bytes.extend(row(index, label).iter().flat_map(|value| value.to_le_bytes()));
    }
    std::fs::write(path, bytes).unwrap();
}

/// Logits that know the label.
fn write_table(path: &Path, keep: impl Fn(usize) -> bool) {
    write_rows(path, keep, |_, label| {
        [0, 1, 2].map(|class| if class == label { 4.0 } else { 0.0 })
    });
}

/// Logits with a doubt of their own on every sample.
fn soft(index: usize, label: u32) -> [f32; 3] {
    [0, 1, 2].map(|class| {
        let doubt = (index as f32 * 0.7 + class as f32 * 2.1).sin();
        2.0 * doubt + if class == label { 3.0 } else { 0.0 }
    })
}

fn softmax(row: [f32; 3]) -> [f32; 3] {
    let sum: f32 = row.iter().map(|z| z.exp()).sum();
    row.map(|z| z.exp() / sum)
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
    let Error::Teacher(TeacherError::MissingSamples { missing, first, part, .. }) = &error else {
        panic!("{error}")
    };
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

#[test]
fn probabilities_teach_what_their_logits_teach_and_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write_rows(&at("logits.npy"), |_| true, soft);
    write_rows(&at("shares.npy"), |_| true, |index, label| softmax(soft(index, label)));
    write_rows(
        &at("percent.npy"),
        |_| true,
        |index, label| softmax(soft(index, label)).map(|p| 100.0 * p),
    );
    let card = |name: &str, more: &str| {
        let source = format!("logits = \"{name}.npy\"\n{more}");
        run(&recipe(folder.path(), "kd", &source), &at(&format!("{name}{}", more.len()))).unwrap()
    };
    let nll = |card: &RunCard| card.last.test.unwrap().nll;
    let want = card("logits", "");
    assert_eq!(want.teachers[0].notes.len(), 1, "{:?}", want.teachers[0].notes);
    for (name, sum) in [("shares", "sum to 1)"), ("percent", "sum to 100)")] {
        let got = card(name, "");
        // The same logits but for their rounding.
        assert!((nll(&got) - nll(&want)).abs() < 1e-3, "{name}: {} {}", nll(&got), nll(&want));
        let teacher = &got.teachers[0];
        assert!(
            (teacher.quality.unwrap().nll - want.teachers[0].quality.unwrap().nll).abs() < 1e-5
        );
        assert!(teacher.notes[1].contains(sum), "{:?}", teacher.notes);
        assert!(teacher.identity.contains("probabilities"), "{}", teacher.identity);
        assert!(!want.teachers[0].identity.contains("probabilities"));
    }
    // What the recipe says wins: taken for logits the teacher says next to nothing.
    let blunt = card("shares", "output_type = \"logits\"");
    assert!(blunt.teachers[0].notes[1].contains("look like"), "{:?}", blunt.teachers[0].notes);
    assert!(blunt.teachers[0].quality.unwrap().nll > want.teachers[0].quality.unwrap().nll + 0.2);
    // And it must be possible.
    let wrong = recipe(folder.path(), "kd", "logits = \"logits.npy\"\noutput_type = \"sigmoid\"");
    let error = run(&wrong, &at("wrong")).unwrap_err();
    assert!(error.to_string().contains("`output_type = \"sigmoid\"`, but its outputs"), "{error}");
    assert!(error.hint().unwrap().contains("`probabilities`"));
}

#[test]
fn a_row_that_is_no_probability_is_an_error_of_its_teacher() {
    let folder = tempfile::tempdir().unwrap();
    // One row in three hundred: too few for another kind of outputs, enough to be wrong.
    let row = |index, label| match index {
        7 => [0.9, 0.9, 0.9],
        _ => softmax(soft(index, label)),
    };
    write_rows(&folder.path().join("t.npy"), |_| true, row);
    let text = "logits = \"t.npy\"\noutput_type = \"probabilities\"";
    let error = run(&recipe(folder.path(), "kd", text), &folder.path().join("run")).unwrap_err();
    assert!(error.to_string().contains("teacher `t`"), "{error}");
    assert!(error.to_string().contains("to 2.7000: no probabilities"), "{error}");
}

#[test]
fn labels_as_a_teacher_are_told_to_carry_no_dark_knowledge() {
    let folder = tempfile::tempdir().unwrap();
    let one_hot = |_, label| [0, 1, 2].map(|class| f32::from(u8::from(class == label)));
    write_rows(&folder.path().join("t.npy"), |_| true, one_hot);
    let kd = recipe(folder.path(), "kd", "logits = \"t.npy\"");
    let card = run(&kd, &folder.path().join("run")).unwrap();
    let notes = &card.teachers[0].notes;
    assert!(notes.iter().any(|note| note.contains("no dark knowledge")), "{notes:?}");
    assert!(card.last.test.unwrap().nll.is_finite());
}

#[test]
fn logits_that_no_loss_can_use_stop_before_the_run_and_name_the_teacher() {
    let folder = tempfile::tempdir().unwrap();
    for (value, shown) in [(3e38_f32, "3e38"), (-1e30, "-1e30")] {
        let row = |index, label| match index % 10 {
            0 => [value, 0.0, -value],
            _ => soft(index, label),
        };
        write_rows(&folder.path().join("t.npy"), |_| true, row);
        // Over the data's classes, and over its own.
        for (method, more) in [("kd", ""), ("ot", "class_cost = \"cost.safetensors\"")] {
            let out = folder.path().join("run");
            let source = format!("logits = \"t.npy\"\n{more}");
            let error = run(&recipe(folder.path(), method, &source), &out).unwrap_err();
            let Error::Teacher(TeacherError::UnusableTeacher { teacher, soundness, .. }) = &error
            else {
                panic!("{method}: {error}")
            };
            assert_eq!(teacher, "t");
            assert!(soundness.unusable > 0 && soundness.unusable < soundness.samples);
            assert!(error.to_string().contains(shown), "{error}");
            assert!(error.to_string().contains(" samples ("), "{error}");
            assert!(error.hint().unwrap().contains("1e6"), "{:?}", error.hint());
            assert!(!out.exists(), "nothing was written");
        }
    }
}

#[test]
fn a_teacher_that_always_says_the_same_is_near_chance() {
    let folder = tempfile::tempdir().unwrap();
    write_rows(&folder.path().join("t.npy"), |_| true, |_, _| [2.0, 1.0, 0.0]);
    let mut kd = recipe(folder.path(), "kd", "logits = \"t.npy\"");
    kd.teachers[0].allow_weak = false;
    let error = run(&kd, &folder.path().join("run")).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("says `top` on all of it"), "{text}");
    assert!(text.contains("mean over the classes 33.3 %"), "{text}");
}

#[test]
fn two_teachers_with_the_same_answers_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write_rows(&at("t.npy"), |_| true, soft);
    // The same network with a little noise and at another temperature.
    write_rows(
        &at("copy.npy"),
        |_| true,
        |index, label| {
            let noise = (index as f32 * 3.3).cos() * 0.02;
            soft(index, label).map(|z| 0.5 * z + noise * z.signum())
        },
    );
    write_rows(&at("other.npy"), |_| true, |index, label| soft(index + 500, label));
    let source = "logits = \"t.npy\"\n[[teachers]]\nname = \"copy\"\nlogits = \"copy.npy\"\n\
                  [[teachers]]\nname = \"other\"\nlogits = \"other.npy\"";
    let report =
        inspect_teachers(&recipe(folder.path(), "aver", source), &dataset(), None).unwrap();
    let pairs = report.diversity.unwrap().pairs;
    let reported: Vec<bool> = pairs.iter().map(|pair| pair.sameness().is_some()).collect();
    assert_eq!(reported, [true, false, false], "{pairs:?}");
    assert!(report.teachers.iter().all(|own| own.normalisation.is_none()), "tables see no pixels");
}
