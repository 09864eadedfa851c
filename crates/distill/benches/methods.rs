//! What a step of every method costs against one of plain training.
//!
//! Student resnet20 on 3×32×32 images, batch 64, 100 classes; three teachers resnet20 (fewer where
//! the method takes fewer) whose outputs are given, as from a cache. Works take turns, and the
//! median of the rounds counts, each one the mean of ten steps with whatever the method does between
//! them. Prints the rows of `crates/methods/src/costs.rs`. Names behind `--` choose methods, to which `ce`
//! is added.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints its result")]

use std::time::Instant;

use faculty_data::SampleId;
use faculty_data::View;
use faculty_distill::class_cost::ClassCost;
use faculty_distill::compute::Compute;
use faculty_distill::learner::{Learner, LearnerBatch, TrainingSamples};
use faculty_distill::methods::{Facts, METHODS, MethodInfo};
use faculty_distill::optimizer::OptimizerConfig;
use faculty_distill::preflight::TeacherProfile;
use faculty_distill::tap::Tap;
use faculty_nets::{MapShape, Network};
use faculty_teachers::traits_of;
use faculty_teachers::{NetworkTeacher, TeacherBatch, TeacherOutputs, TeacherSource as _};

const BATCH: usize = 64;
const CLASSES: usize = 100;
const IMAGE: MapShape = MapShape::new(3, 32, 32);
const NETWORK: &str = "resnet20";
const STEPS: usize = 10;
const ROUNDS: usize = 5;
/// Late enough for every method's terms to be on.
const EPOCH: usize = 30;
const SGD: OptimizerConfig =
    OptimizerConfig::Sgd { momentum: 0.9, nesterov: true, weight_decay: 5e-4 };

struct Work {
    name: &'static str,
    learner: Learner,
    outputs: Vec<TeacherOutputs>,
    times: Vec<f64>,
}

fn network(seed: u64) -> Network {
    Network::new(NETWORK, IMAGE, CLASSES, seed).expect("a known network")
}

fn images() -> Vec<f32> {
    (0..BATCH * IMAGE.elements()).map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0).collect()
}

fn ids() -> Vec<SampleId> {
    (0..BATCH as u64).map(SampleId).collect()
}

fn labels() -> Vec<u32> {
    (0..BATCH as u32).map(|i| i * 37 % CLASSES as u32).collect()
}

fn profiles(count: usize) -> Vec<TeacherProfile> {
    let profile = |k: usize| TeacherProfile {
        name: format!("t{k}"),
        top1: 70.0,
        nll: 1.0,
        calibrated_nll: 1.0,
        temperature: 1.5,
        class_accuracy: vec![70.0; CLASSES],
        class_samples: vec![50; CLASSES],
    };
    (0..count).map(profile).collect()
}

fn class_cost() -> Vec<f64> {
    (0..CLASSES * CLASSES).map(|i| ((i * 7919) % 1000) as f64 / 1000.0).collect()
}

fn prepare(info: &MethodInfo) -> Work {
    let count = match info.spec.max_teachers {
        Some(most) => most.min(3),
        None => 3,
    };
    let mut method = info.with_defaults();
    let probe = network(10);
    let there = |tap: &Tap| tap.value(probe.graph()).is_some();
    let taps: Vec<Tap> = method.needs(EPOCH).teacher_taps.into_iter().filter(there).collect();
    let ids = ids();
    let images = images();
    let batch = TeacherBatch { ids: &ids, view: View::Train(0), inputs: (&images).into() };
    let (mut outputs, mut traits) = (Vec::new(), Vec::new());
    for k in 0..count {
        let mut teacher = NetworkTeacher::new(&network(10 + k as u64), None, &taps);
        outputs.push(teacher.outputs(&batch, &taps).expect("networks in process do not fail"));
        traits.push(traits_of(&teacher, &taps));
    }
    method.prepare(Facts::Profiles(&profiles(count)));
    let cost = || ClassCost::new(CLASSES, class_cost(), &vec![Vec::new(); CLASSES]);
    method.prepare(Facts::ClassCosts(&(0..count).map(|_| cost()).collect::<Vec<_>>()));
    let student = method.student(network(1), &traits, 1).expect("made of these networks");
    // As many samples as CIFAR-100 has.
    let samples = TrainingSamples::new((0..50_000).map(|id| (SampleId(id), id as u32 % 100)));
    let learner =
        Learner::new(student, method, &traits, BATCH, 1, &Compute::Kernels).with_samples(samples);
    Work { name: info.spec.name, learner, outputs, times: Vec::new() }
}

/// Milliseconds of a step.
fn measure(work: &mut Work, images: &[f32], labels: &[u32], steps: usize) -> f64 {
    let ids = ids();
    let started = Instant::now();
    for step in 0..steps {
        let batch = LearnerBatch {
            epoch: EPOCH,
            step_seed: step as u64,
            ids: &ids,
            inputs: images.into(),
            labels,
            mixed: None,
            teachers: &work.outputs,
        };
        work.learner.gradients(&batch);
        work.learner.update(&SGD, 0.01, Some(1.0), EPOCH);
        work.learner.after_step(&batch, &SGD, 0.01, Some(1.0));
    }
    started.elapsed().as_secs_f64() * 1e3 / steps as f64
}

fn main() {
    let (images, labels) = (images(), labels());
    // A method that trains its teachers runs them as well, whatever is given.
    let fixed = METHODS.iter().filter(|info| !info.with_defaults().needs(EPOCH).learning_teachers);
    let names: Vec<String> =
        std::env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    let selected = |info: &&MethodInfo| {
        let name = info.spec.name;
        names.is_empty() || name == "ce" || names.iter().any(|own| own == name)
    };
    let mut works: Vec<Work> = fixed.filter(selected).map(prepare).collect();
    for round in 0..=ROUNDS {
        for work in &mut works {
            // The first round warms up.
            let time = measure(work, &images, &labels, if round == 0 { 2 } else { STEPS });
            if round > 0 {
                work.times.push(time);
            }
        }
        eprintln!("round {round} of {ROUNDS}");
    }
    let median = |times: &[f64]| {
        let mut times = times.to_vec();
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let plain = works.iter().find(|work| work.name == "ce").map(|work| median(&work.times));
    let plain = plain.expect("plain training is a method");
    println!("// ce: {plain:.1} ms a step");
    for work in &works {
        println!("    (\"{}\", {:.2}),", work.name, median(&work.times) / plain);
    }
}
