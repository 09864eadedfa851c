//! A method of your own, trained on the demo's data: each sample is learnt from the teachers that
//! are right about it.
//!
//! ```text
//! L = mean_b CE_b(z_S) + mean_b Σ_k w[k,b] τ² KL(σ(z_k/τ) ‖ σ(z_S/τ)),   w equal over the right teachers
//! ```
//! `cargo run --release --example own_method`
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::path::Path;

use burn::Tensor;
use burn::tensor::Int;
use faculty_data::{
    Augmentation, BatchLoader, Dataset, LoaderConfig, Normalisation, ReadOptions, Split,
    ViewSettings,
};
use faculty_distill::compute::Compute;
use faculty_distill::evaluate::network_quality;
use faculty_distill::learner::{Learner, LearnerBatch, TeacherTraits};
use faculty_distill::losses::weighted_kl;
use faculty_distill::methods::{Loss, Method, Needs, Setup, Step, Term};
use faculty_distill::optimizer::OptimizerConfig;
use faculty_nets::{MapShape, Network};
use faculty_teachers::traits_of;
use faculty_teachers::{NetworkTeacher, TeacherBatch, TeacherSource as _};

/// Learns from the teachers that are right.
#[derive(Debug)]
struct OnlyRight {
    temperature: f32,
}

impl OnlyRight {
    /// `[teachers, batch]`: equal over the teachers that are right, over all where none is.
    fn weights(teachers: &Tensor<3>, labels: &Tensor<1, Int>) -> Tensor<2> {
        let [count, batch, _] = teachers.dims();
        let said = teachers.clone().argmax(2).reshape([count, batch]);
        let labels = labels.clone().reshape([1, batch]).expand([count, batch]);
        // A trace for the wrong ones makes them equal where all are wrong.
        let right = said.equal(labels).float() + 1e-6;
        right.clone() / right.sum_dim(0)
    }
}

impl Method for OnlyRight {
    fn setup(&self) -> Setup {
        // A mean over samples; of a mixture of two, no teacher is simply right.
        Setup { averages_samples: true, needs_one_label: true, ..Setup::default() }
    }

    fn needs(&self, _epoch: usize) -> Needs {
        Needs { teacher_logits: true, ..Needs::default() }
    }

    fn loss(&self, step: &Step) -> Loss {
        let teachers = step.teacher_logits.as_ref().expect("`needs` asks for them");
        let weights = Self::weights(teachers, &step.labels);
        let kd = weighted_kl(teachers, &step.student_logits, &weights, self.temperature);
        Loss::new(vec![
            Term { name: "task", weight: 1.0, value: step.task_loss() },
            Term { name: "kd", weight: 1.0, value: kd },
        ])
        .with_teacher_weights("kd", weights)
    }

    fn objective(&self, _teachers: usize) -> String {
        format!("CE + τ² KL from the right teachers, τ = {}", self.temperature)
    }
}

/// Mean weight of each teacher in the last epoch, and the student's test top-1 in percent.
fn train(
    demo: &Path,
    samples: usize,
    epochs: usize,
) -> Result<(Vec<f64>, f64), Box<dyn std::error::Error>> {
    let dataset = Dataset::open(&demo.join("fashion-mnist"), &ReadOptions::default())?;
    let normalisation = Normalisation { mean: vec![0.286], std: vec![0.353] };
    let input = MapShape::new(1, 28, 28);
    let mut teachers = Vec::new();
    for (name, network) in [("ada", "resnet14"), ("ben", "resnet8"), ("mal", "resnet8")] {
        let file = demo.join(format!("teachers/{name}.safetensors"));
        teachers.push(NetworkTeacher::new(&Network::load(network, input, 10, &file)?, None, &[]));
    }
    let traits: Vec<TeacherTraits> = teachers.iter().map(|t| traits_of(t, &[])).collect();

    let student = Network::new("resnet8x0.5", input, 10, 1)?;
    let method = Box::new(OnlyRight { temperature: 4.0 });
    const BATCH: usize = 64;
    let mut learner = Learner::new(student, method, &traits, BATCH, 1, &Compute::Kernels);
    let sgd = OptimizerConfig::Sgd { momentum: 0.9, nesterov: true, weight_decay: 5e-4 };
    let part = first(&dataset, samples)?;
    let mut weights = vec![0.0; teachers.len()];
    let augmentation = Augmentation::crop_and_flip(2, true);
    let views = ViewSettings::of_images(augmentation, normalisation.clone(), 1);
    for epoch in 1..=epochs {
        let config =
            LoaderConfig::training(BATCH, views.clone(), epoch as u32).with_drop_last(true);
        let order = part.epoch_order(1, epoch as u64);
        let mut steps = 0.0;
        weights.fill(0.0);
        for batch in BatchLoader::new(&part, order, config)? {
            let batch = batch?;
            let seen = TeacherBatch::from(&batch);
            let outputs = teachers
                .iter_mut()
                .map(|teacher| teacher.outputs(&seen, &[]))
                .collect::<Result<Vec<_>, _>>()?;
            let record = learner.gradients(&LearnerBatch {
                epoch,
                step_seed: 0,
                ids: &batch.ids,
                inputs: batch.inputs.view(),
                labels: &batch.labels,
                mixed: None,
                teachers: &outputs,
            });
            learner.update(&sgd, 0.05, None, epoch);
            steps += 1.0;
            for (sum, own) in weights.iter_mut().zip(&record.teacher_weights[0].1) {
                *sum += own;
            }
        }
        weights.iter_mut().for_each(|sum| *sum /= steps);
    }
    let test = dataset.test_split().ok_or("the demo has test images")?;
    let quality = network_quality(&learner.student.network, &test, &views)?;
    Ok((weights, quality.ok_or("the test split has images")?.top1))
}

/// The first samples of the training split.
fn first(dataset: &Dataset, samples: usize) -> Result<Split, Box<dyn std::error::Error>> {
    let all = dataset.train_split();
    let positions: Vec<usize> = (0..samples.min(all.len())).collect();
    Ok(all.select(&positions)?)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cli/demo");
    let (weights, top1) = train(&demo, 12_000, 3)?;
    println!("mean weights of ada, ben, mal: {weights:.3?}; student: {top1:.2} % top-1");
    Ok(())
}

#[test]
fn the_bad_teacher_is_hardly_heard() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cli/demo");
    let (weights, top1) = train(&demo, 3840, 2).unwrap();
    assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-3, "{weights:?}");
    assert!(weights[2] < 0.1 && weights[0] > 0.4 && weights[1] > 0.4, "{weights:?}");
    // Two short epochs: guessing gives 10 %, and twice that is no accident.
    assert!(top1 > 20.0, "{top1}");
}
