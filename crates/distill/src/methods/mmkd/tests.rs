use faculty_data::rng::{Purpose, draw};
use faculty_nets::Network;

use super::*;
use crate::compute::Compute;
use crate::learner::Between;
use crate::learner::{Learner, LearnerBatch, TeacherTraits};
use crate::methods::probe_step;
use crate::teacher::{NetworkTeacher, TeacherBatch, TeacherOutputs, TeacherSource as _};

// Small maps in small batches bend at every ReLU: differences of the meta loss are then mostly jumps.
const BATCH: usize = 32;
const CLASSES: usize = 3;
const SHAPE: MapShape = MapShape { channels: 1, height: 28, width: 28 };

fn numbers_of(len: usize, seed: u64) -> Vec<f32> {
    let unit = |i: u64| faculty_data::rng::unit(draw(Purpose::Method, seed, i, 0, 0));
    (0..len as u64).map(|i| (2.0 * unit(i) - 1.0) as f32).collect()
}

/// A student, what its teachers say, and samples for the meta loss.
struct Setup {
    learner: Learner,
    images: Vec<f32>,
    labels: Vec<u32>,
    outputs: Vec<TeacherOutputs>,
    meta_images: Vec<f32>,
    meta_labels: Vec<u32>,
}

fn network_of(seed: u64) -> Network {
    Network::new("resnet8x0.5", SHAPE, CLASSES, seed).unwrap()
}

fn setup(method: Mmkd) -> Setup {
    let images = numbers_of(BATCH * SHAPE.elements(), 1);
    let ids: Vec<_> = (0..BATCH as u64).map(faculty_data::SampleId).collect();
    let batch = TeacherBatch { ids: &ids, view: 0, images: &images };
    let (mut outputs, mut traits) = (Vec::new(), Vec::new());
    for seed in [11, 12] {
        let mut network = network_of(seed);
        let names = network.graph().parameters().iter().map(|p| p.name.clone());
        let place = names.into_iter().position(|name| name == "fc.weight").unwrap();
        network.parameters_mut()[place].iter_mut().for_each(|w| *w *= 8.0);
        let mut teacher = NetworkTeacher::new(&network, None, &[Tap::Map]);
        outputs.push(teacher.outputs(&batch, &[Tap::Map]).unwrap());
        traits.push(TeacherTraits::of(&teacher, &[Tap::Map]));
    }
    let labels = |shift: usize| (0..BATCH).map(|i| ((i + shift) % CLASSES) as u32).collect();
    let compute = Compute::Kernels;
    Setup {
        learner: Learner::new(network_of(5), Box::new(method), &traits, BATCH, 5, &compute),
        images,
        labels: labels(0),
        outputs,
        meta_images: numbers_of(BATCH * SHAPE.elements(), 2),
        meta_labels: labels(1),
    }
}

/// Gradient of the meta loss by the networks' parameters, and that loss.
fn meta(setup: &mut Setup, method: &Mmkd, rate: f32, gradients: bool) -> (f64, Vec<Vec<f32>>) {
    let batch = LearnerBatch {
        epoch: 1,
        draw: 7,
        ids: &[],
        images: &setup.images,
        labels: &setup.labels,
        teachers: &setup.outputs,
    };
    setup.learner.gradients(&batch);
    let mut between = Between::new(&mut setup.learner, batch, rate, None);
    let meta = method.meta_gradient(&mut between, &setup.meta_images, &setup.meta_labels);
    let by_weights = meta.by_weights.expect("the student learns");
    let gradients =
        if gradients { method.network_gradients(&mut between, &by_weights) } else { Vec::new() };
    (meta.loss, gradients)
}

#[test]
fn meta_gradients_match_differences_of_the_loss_after_the_inner_steps() {
    for (alpha, beta) in [(1.0, 0.0), (0.0, 100.0), (1.0, 100.0)] {
        let output = OutputConfig { alpha, ..OutputConfig::default() };
        let method = Mmkd::new(MmkdConfig { output, beta, ..MmkdConfig::default() });
        let rate = 1e-3;
        let (_, gradients) = meta(&mut setup(method), &method, rate, true);
        let norm: f64 =
            gradients.iter().flatten().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
        assert!(norm > 1e-5, "α = {alpha}, β = {beta}: {norm}");
        let loss_at = |step: f64| {
            let mut moved = setup(method);
            let (_, own) = moved.learner.trained_mut().find(|(name, _)| name == "method").unwrap();
            let own = own.network.parameters_mut().iter_mut().flatten();
            own.zip(gradients.iter().flatten())
                .for_each(|(w, g)| *w += (step * f64::from(*g) / norm) as f32);
            meta(&mut moved, &method, rate, false).0
        };
        let step = 0.03;
        let difference = (loss_at(step) - loss_at(-step)) / (2.0 * step);
        assert!(
            (difference - norm).abs() < 0.1 * norm,
            "α = {alpha}, β = {beta}: gradient norm {norm}, difference {difference}"
        );
    }
}

#[test]
fn probes_give_each_weight_the_gradient_of_a_backward_pass_of_its_own() {
    let only_maps = OutputConfig { alpha: 0.0, ..OutputConfig::default() };
    for (kind, output) in [OutputConfig::default(), only_maps].into_iter().enumerate() {
        let beta = kind as f64;
        let method = Mmkd::new(MmkdConfig { output, beta, ..MmkdConfig::default() });
        let mut own = setup(method);
        let batch = LearnerBatch {
            epoch: 1,
            draw: 7,
            ids: &[],
            images: &own.images,
            labels: &own.labels,
            teachers: &own.outputs,
        };
        own.learner.gradients(&batch);
        let mut between = Between::new(&mut own.learner, batch, 1e-3, None);
        let (_, direction) = between.cross_entropy(&own.meta_images, &own.meta_labels);
        between.restore();
        let value = |step: &Step, k: usize, b: usize| {
            if kind == 1 {
                return Mmkd::map_errors(step).slice([k..k + 1, b..b + 1]).sum();
            }
            let [_, batch, classes] = step.teacher_logits().dims();
            let own = step.teacher_logits().clone().slice([k..k + 1, 0..batch, 0..classes]);
            let own = own.reshape([batch, classes]);
            let all = kl_divergence(own, step.student_logits.clone(), output.temperature);
            all.narrow(0, b, 1).sum()
        };
        let samples = 8;
        let along = |k: usize, b: usize, between: &mut Between<'_>| -> f64 {
            let gradient = between.gradient(|step| value(step, k, b));
            between.restore();
            let pairs = gradient.iter().flatten().zip(direction.iter().flatten());
            pairs.map(|(g, v)| f64::from(*g) * f64::from(*v)).sum()
        };
        let probe = probe_step(&direction.concat());
        let mut at = |step: f64| {
            between.shift(&direction, step as f32);
            let [outputs, maps] = method.weighted_values(&between.step());
            between.restore();
            [outputs, maps].into_iter().nth(kind).unwrap()
        };
        let (above, below) = (at(probe), at(-probe));
        // Behind the softmax over teachers only their difference counts.
        let (mut error, mut length) = (0.0, 0.0);
        for b in 0..samples {
            let want = along(0, b, &mut between) - along(1, b, &mut between);
            let change = |k: usize| (above[k * BATCH + b] - below[k * BATCH + b]) / (2.0 * probe);
            error += (change(0) - change(1) - want).powi(2);
            length += want.powi(2);
        }
        assert!(error < 0.05_f64.powi(2) * length, "{kind}: {}", (error / length).sqrt());
    }
}

#[test]
fn weights_sum_to_one_and_stay_finite_at_huge_outputs() {
    for raw_products in [false, true] {
        let method = Mmkd::new(MmkdConfig { raw_products, ..MmkdConfig::default() });
        let mut own = setup(method);
        for output in &mut own.outputs {
            output.logits.iter_mut().for_each(|z| *z *= 1e4);
            output.maps[0].iter_mut().for_each(|z| *z *= 1e4);
        }
        let batch = LearnerBatch {
            epoch: 1,
            draw: 7,
            ids: &[],
            images: &own.images,
            labels: &own.labels,
            teachers: &own.outputs,
        };
        let record = own.learner.gradients(&batch);
        assert!(record.loss.is_finite(), "{record:?}");
        for (level, weights) in &record.teacher_weights {
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{level}: {weights:?}");
        }
        for (name, trained) in own.learner.trained() {
            let gradients = trained.gradients().iter().flatten();
            assert!(gradients.copied().all(f32::is_finite), "{name}");
        }
        // Weights are at the networks' parameters what they are at the next step.
        let mut between = Between::new(&mut own.learner, batch, 1e-3, None);
        let step = between.step();
        let weights = method.weights(&step);
        for weights in [weights.logits, weights.maps] {
            assert!(numbers(&weights).iter().all(|w| (0.0..=1.0).contains(w)));
        }
    }
}

#[test]
fn the_buffer_keeps_so_many_samples_and_goes_through_its_state() {
    let config = MmkdConfig { buffer: 4, meta_samples: 3, ..MmkdConfig::default() };
    let fresh = || MetaSteps::new(Mmkd::new(config), Vec::new());
    let mut first = fresh();
    let sample = |n: u32| vec![n as f32; 6];
    for n in 0..7 {
        first.keep(&sample(n), n, draw(Purpose::Method, 1, u64::from(n), 0, 0));
    }
    first.batches = (3 << 24) + 5;
    assert_eq!((first.labels.len(), first.images.len()), (4, 24));
    for (image, &label) in first.images.chunks(6).zip(&first.labels) {
        assert_eq!(image, sample(label));
    }
    let (images, labels) = first.drawn(9);
    let mut different = labels.clone();
    different.sort_unstable();
    different.dedup();
    assert_eq!((labels.len(), different.len(), images.len()), (3, 3, 18));
    let mut second = fresh();
    second.set_state(first.state()).unwrap();
    assert_eq!(second.batches, first.batches);
    assert_eq!(second.drawn(10), first.drawn(10));
    assert_eq!(second.state().keys().count(), first.state().keys().count());
    let mut state = first.state();
    state.remove("buffer.labels");
    assert!(fresh().set_state(state).unwrap_err().contains("`buffer.labels`"));
}
