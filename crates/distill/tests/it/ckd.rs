//! What `ckd` makes of the class offsets that its loss leaves open.

use std::collections::BTreeMap;
use std::path::Path;

use faculty_distill::recipe::Recipe;
use faculty_distill::record::StudentResult;
use faculty_nets::{Inference, weights};

use crate::data::{CLASSES, SIDE, dataset, network};
use crate::resume::resumed_equals_undisturbed;
use crate::runs::{metrics, recipe, run};

/// Added to the teacher's logits of each class.
const OFFSETS: [f32; CLASSES] = [3.0, -5.0, 0.5];

/// A recipe with one teacher, whose last bias is larger by `offsets`.
fn with_offsets(folder: &Path, offsets: [f32; CLASSES], sets: &[&str]) -> Recipe {
    let recipe = recipe(folder, "ckd", 1, sets);
    let mut teacher = network(50);
    let bias = teacher.output_bias_mut().unwrap();
    bias.iter_mut().zip(offsets).for_each(|(bias, offset)| *bias += offset);
    let path = folder.join("teacher0.safetensors");
    weights::write(&path, &teacher.state_dict(), &BTreeMap::new()).unwrap();
    recipe
}

/// Mean logits of the network in `file` for these images.
fn mean_logits(file: &Path, images: &[f32]) -> Vec<f64> {
    let mut network = network(1);
    network.set_state_dict(&weights::read(file).unwrap(), file).unwrap();
    let count = images.len() / (SIDE * SIDE);
    let logits = Inference::new(&network, &[]).run(images, count).to_vec();
    let mean = |class: usize| {
        let of_class = logits.iter().skip(class).step_by(CLASSES);
        of_class.map(|&z| f64::from(z)).sum::<f64>() / count as f64
    };
    (0..CLASSES).map(mean).collect()
}

/// The training images as a run normalises them, without crops.
fn images(mean: &[f32], deviation: &[f32]) -> Vec<f32> {
    let data = dataset();
    let set = data.train().images().unwrap();
    let all = (0..set.len()).flat_map(|i| set.image(i).to_vec());
    all.map(|v| (f32::from(v) / 255.0 - mean[0]) / deviation[0]).collect()
}

#[test]
fn offsets_of_teachers_and_labels_are_learnt_at_the_end() {
    // Every image as it is in every epoch, so that what the teacher says of them is known.
    let sets =
        ["data.crop_padding=0", "data.flip=false", "data.validation=0", "train.drop_last=false"];
    for alpha in [1.0, 0.25] {
        let alpha_set = format!("method.alpha={alpha}");
        let all: Vec<&str> = sets.iter().copied().chain([alpha_set.as_str()]).collect();
        let mut means = Vec::new();
        for offsets in [[0.0; CLASSES], OFFSETS] {
            let folder = tempfile::tempdir().unwrap();
            let out = folder.path().join("run");
            let card = run(&with_offsets(folder.path(), offsets, &all), &out).unwrap();
            let images = images(&card.mean, &card.std);
            let mean = mean_logits(&out.join("student.safetensors"), &images);
            let of_teacher = mean_logits(&folder.path().join("teacher0.safetensors"), &images);
            for (mean, teacher) in mean.iter().zip(of_teacher) {
                // A third of the samples is of each class.
                let expected = (1.0 / 3.0 + alpha * teacher) / (1.0 + alpha);
                assert!((mean - expected).abs() < 1e-3, "{mean} instead of {expected}");
            }
            means.push(mean);
        }
        for ((before, after), offset) in means[0].iter().zip(&means[1]).zip(OFFSETS) {
            let expected = f64::from(offset) * alpha / (1.0 + alpha);
            assert!((after - before - expected).abs() < 1e-3, "{before}, {after}: {expected}");
        }
    }
}

#[test]
fn the_best_student_is_measured_and_delivered_with_its_offsets() {
    let folder = tempfile::tempdir().unwrap();
    // A start that calls every image `top`.
    let mut start = network(4);
    start.output_bias_mut().unwrap().copy_from_slice(&[60.0, 0.0, -60.0]);
    let path = folder.path().join("start.safetensors");
    weights::write(&path, &start.state_dict(), &BTreeMap::new()).unwrap();
    let out = folder.path().join("run");
    let weights_set = format!("student.weights={}", path.display());
    let sets = [weights_set.as_str(), "train.epochs=8", "method.alpha=0.01"];
    let card = run(&with_offsets(folder.path(), [0.0; CLASSES], &sets), &out).unwrap();
    let measured: Vec<f64> = metrics(&out).iter().map(|own| own.validation.unwrap().top1).collect();
    let best = measured.iter().copied().fold(0.0, f64::max);
    assert_eq!(card.best.validation.unwrap().top1, best);
    let test = |result: StudentResult| result.test.unwrap().top1;
    assert!(best > 80.0 && test(card.best) > 80.0 && test(card.last) > 80.0, "{measured:?}");
    let read = |name: &str| weights::read(&out.join(name)).unwrap()["fc.bias"].values.clone();
    assert_eq!(read("student.safetensors"), read("checkpoints/best.safetensors"));
}

#[test]
fn an_interrupted_run_has_the_offsets_of_an_undisturbed_one() {
    for sets in [&["data.views=2"][..], &["train.evaluate_every=2"], &["train.drop_last=false"]] {
        let folder = tempfile::tempdir().unwrap();
        resumed_equals_undisturbed(&with_offsets(folder.path(), OFFSETS, sets), folder.path());
    }
}
