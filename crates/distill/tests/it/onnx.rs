//! Teachers in ONNX files, written by `bench/export_onnx.py`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use faculty_data::SampleId;
use faculty_data::View;
use faculty_distill::methods::specs;
use faculty_distill::recipe::Recipe;
use faculty_distill::record::{EpochRecord, TeacherCard, TermRecord};
use faculty_distill::tap::Tap;
use faculty_distill::{CheckedRun, Error, Start, train};
use faculty_nets::{MapShape, Network};
use faculty_teachers::{
    NetworkTeacher, OnnxChoice, OnnxTeacher, TeacherBatch, TeacherInput, TeacherOutputs,
    TeacherSource,
};

use crate::data::{CLASSES, SIDE, dataset, unit};

const IMAGE: MapShape = MapShape::new(1, SIDE, SIDE);
const TAPS: &[Tap] = &[Tap::Map, Tap::Pooled];

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnx").join(name)
}

fn input() -> TeacherInput {
    TeacherInput::new(IMAGE, None, None)
}

fn load(name: &str, choice: &OnnxChoice) -> Result<OnnxTeacher, Error> {
    Ok(OnnxTeacher::load(&file(name), choice, input())?)
}

fn images(count: usize) -> Vec<f32> {
    (0..count * SIDE * SIDE).map(|i| 4.0 * unit(i as u64, 5) as f32 - 2.0).collect()
}

fn outputs(teacher: &mut dyn TeacherSource, images: &[f32], taps: &[Tap]) -> TeacherOutputs {
    let ids: Vec<SampleId> =
        (0..images.len() / (SIDE * SIDE)).map(|i| SampleId(i as u64)).collect();
    teacher
        .outputs(&TeacherBatch { ids: &ids, view: View::Train(0), inputs: images.into() }, taps)
        .unwrap()
}

fn assert_close(got: &[f32], want: &[f32], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() < 1e-4, "{what}: {got} instead of {want}");
    }
}

#[test]
fn an_onnx_file_says_what_the_same_network_says() {
    let network = Network::load("resnet8x0.5", IMAGE, CLASSES, &file("net.safetensors")).unwrap();
    let mut own = NetworkTeacher::new(&network, None, TAPS);
    let want = outputs(&mut own, &images(5), TAPS);
    let features = OnnxChoice { output: Some("logits".to_owned()), map: None };
    for (name, choice) in [
        ("net.onnx", OnnxChoice::default()),
        ("batch2.onnx", OnnxChoice::default()),
        ("two_outputs.onnx", features),
    ] {
        let mut teacher = load(name, &choice).unwrap();
        assert_eq!(teacher.classes(), CLASSES);
        assert_eq!(teacher.tap_shape(Tap::Map), own.tap_shape(Tap::Map), "{name}");
        assert_eq!(teacher.tap_shape(Tap::Feature(0)), None);
        let got = outputs(&mut teacher, &images(5), TAPS);
        assert_close(&got.logits, &want.logits, name);
        for (got, want) in got.maps.iter().zip(&want.maps) {
            assert_close(got, want, name);
        }
        let (head, own_head) = (teacher.classifier().unwrap(), own.classifier().unwrap());
        assert_close(&head.weight, &own_head.weight, name);
        assert_close(&head.bias, &own_head.bias, name);
    }
    let named = load("net.onnx", &OnnxChoice::default()).unwrap();
    assert_eq!(named.class_names().unwrap(), ["top", "middle", "bottom"]);
}

#[test]
fn outputs_depend_neither_on_the_batch_nor_on_the_number_of_threads() {
    let all = images(7);
    let mut results = Vec::new();
    for threads in [1, 2, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut teacher = pool.install(|| load("net.onnx", &OnnxChoice::default())).unwrap();
        results.push(outputs(&mut teacher, &all, TAPS));
        // One by one.
        let singles = all.chunks(SIDE * SIDE).map(|image| outputs(&mut teacher, image, TAPS));
        let logits: Vec<f32> = singles.flat_map(|output| output.logits).collect();
        assert_eq!(logits, results[0].logits);
    }
    assert!(results.iter().all(|other| *other == results[0]));
}

fn refused(path: &Path, choice: &OnnxChoice, input: TeacherInput) -> String {
    let error = OnnxTeacher::load(path, choice, input).err().expect("must be refused");
    assert!(error.hint().is_some(), "{error}");
    error.to_string()
}

#[test]
fn files_that_do_not_fit_are_refused_with_the_reason() {
    let choice = |output: Option<&str>, map: Option<&str>| OnnxChoice {
        output: output.map(str::to_owned),
        map: map.map(str::to_owned),
    };
    let none = choice(None, None);
    let text = refused(&file("two_outputs.onnx"), &none, input());
    assert!(text.contains("2 outputs `logits`, `features`"), "{text}");
    let text = refused(&file("net.onnx"), &choice(Some("x"), None), input());
    assert!(text.contains("no output `x`"), "{text}");
    let text = refused(&file("net.onnx"), &choice(None, Some("y")), input());
    assert!(text.contains("no tensor `y`"), "{text}");
    let wide = TeacherInput::new(IMAGE, None, Some([9, 9]));
    let text = refused(&file("net.onnx"), &none, wide);
    assert!(text.contains("for images 1×8×8"), "{text}");
    let text = refused(&file("two_outputs.onnx"), &choice(Some("features"), None), input());
    assert!(text.contains("[batch, classes] is expected"), "{text}");
    let text = refused(&file("net.safetensors"), &none, input());
    assert!(text.contains("no readable ONNX file"), "{text}");
    let text = refused(Path::new("nowhere.onnx"), &none, input());
    assert!(text.contains("cannot be read"), "{text}");
}

#[test]
fn no_damaged_file_makes_it_panic() {
    let whole = std::fs::read(file("net.onnx")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.onnx");
    for step in 0..60_u64 {
        let at = (unit(step, 9) * whole.len() as f64) as usize;
        std::fs::write(&path, &whole[..at]).unwrap();
        refused(&path, &OnnxChoice::default(), input());
        let mut flipped = whole.clone();
        // The head of the file, where the graph stands, as often as the weights.
        let place = if step % 2 == 0 { at } else { at % 2000 };
        flipped[place] ^= 1 << (step % 8);
        std::fs::write(&path, &flipped).unwrap();
        // A flipped weight is still a network; nothing may panic.
        let _ = OnnxTeacher::load(&path, &OnnxChoice::default(), input());
    }
}

/// CA-MKD with one teacher of these lines: its card and the loss terms of the second epoch.
fn distilled(
    folder: &Path,
    name: &str,
    source: &str,
) -> (TeacherCard, BTreeMap<String, TermRecord>) {
    let text = format!(
        "seed = 3\n[data]\npath = \"bands\"\ncrop_padding = 1\n[student]\n\
         network = \"resnet8x0.5\"\n[method]\nname = \"ca-mkd\"\nalpha = 0.1\nbeta = 1\n\
         [train]\nepochs = 2\nbatch_size = 32\nlearning_rate = 0.01\n\
         [[teachers]]\nname = \"t\"\nallow_weak = true\n{source}\n"
    );
    let recipe = folder.join("recipe.toml");
    let recipe = Recipe::from_str(&text, recipe, &[], &specs()).unwrap().recipe;
    let run = CheckedRun::new(&recipe, &dataset()).unwrap();
    let out = folder.join(name);
    let card = train(run, &out, Start::New, &AtomicBool::new(false), &mut |_| {}).unwrap();
    let metrics = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    let last: EpochRecord = serde_json::from_str(metrics.lines().last().unwrap()).unwrap();
    (card.teachers[0].clone(), last.terms)
}

#[test]
fn ca_mkd_learns_the_same_from_the_onnx_file_as_from_the_network() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["net.onnx", "net.safetensors"] {
        std::fs::copy(file(name), folder.path().join(name)).unwrap();
    }
    let (onnx, got) = distilled(folder.path(), "onnx", "onnx = \"net.onnx\"");
    let network = "network = \"resnet8x0.5\"\nweights = \"net.safetensors\"";
    let (own, want) = distilled(folder.path(), "own", network);
    assert_eq!((onnx.source.as_str(), onnx.network.as_str()), ("onnx", "net.onnx"));
    assert_eq!((own.source.as_str(), own.network.as_str()), ("network", "resnet8x0.5"));
    assert_ne!(onnx.identity, own.identity);
    assert!(want.contains_key("intermediate"), "{want:?}");
    for (name, want) in want {
        let got = got[&name];
        // Rounding in the teacher grows over the steps of training.
        assert!((got.value / want.value - 1.0).abs() < 0.01, "{name}: {got:?}, {want:?}");
    }
}
