use faculty_data::rng::{Purpose, draw};
use faculty_nets::Network;
use faculty_nets::weights::StateDict;

use super::buffer::{Buffer, Samples};
use super::meta_steps::MetaGradient;
use super::*;
use crate::shared::bilevel::held_probe_step;
use faculty_contract::Sandbox;
use faculty_contract::losses::{kl_divergence, numbers};
use faculty_contract::{LearnerBatch, TeacherTraits};
use faculty_learner::Compute;
use faculty_learner::{Learner, LearnerSandbox};
use faculty_nets::OptimizerConfig;
use faculty_nets::{Inference, TeacherOutputs};

// Small maps in small batches bend at every ReLU: differences of the meta loss are then mostly jumps.
const BATCH: usize = 32;
const CLASSES: usize = 3;
const SHAPE: MapShape = MapShape { channels: 1, height: 28, width: 28 };

pub(super) fn numbers_of(len: usize, seed: u64) -> Vec<f32> {
    let unit = |i: u64| faculty_data::rng::unit(draw(Purpose::Method, seed, i, 0, 0));
    (0..len as u64).map(|i| (2.0 * unit(i) - 1.0) as f32).collect()
}

/// A student, and samples with what its teachers say.
struct Setup {
    learner: Learner,
    images: Vec<f32>,
    labels: Vec<u32>,
    outputs: Vec<TeacherOutputs>,
}

impl Setup {
    fn batch(&self) -> LearnerBatch<'_> {
        LearnerBatch {
            epoch: 1,
            step_seed: 7,
            ids: &[],
            inputs: (&self.images).into(),
            labels: &self.labels,
            mixed: None,
            teachers: &self.outputs,
        }
    }
}

fn network_of(seed: u64) -> Network {
    Network::new("resnet8x0.5", SHAPE, CLASSES, seed).unwrap()
}

fn setup(method: Mmkd) -> Setup {
    let images = numbers_of(BATCH * SHAPE.elements(), 1);
    let (mut outputs, mut traits) = (Vec::new(), Vec::new());
    for seed in [11, 12] {
        let mut network = network_of(seed);
        let names = network.graph().parameters().iter().map(|p| p.name.clone());
        let place = names.into_iter().position(|name| name == "fc.weight").unwrap();
        network.parameters_mut()[place].iter_mut().for_each(|w| *w *= 8.0);
        let map = network.graph().map().unwrap();
        let mut plan = Inference::new(&network, &[map]);
        let logits = plan.run(&images, BATCH).to_vec();
        outputs.push(TeacherOutputs { logits, maps: vec![plan.value(map).to_vec()] });
        traits.push(TeacherTraits::of_network(&network, &[Tap::Map]));
    }
    let labels = (0..BATCH).map(|i| (i % CLASSES) as u32).collect();
    let compute = Compute::Kernels;
    Setup {
        learner: Learner::new(network_of(5), Box::new(method), &traits, BATCH, 5, &compute),
        images,
        labels,
        outputs,
    }
}

const OPTIMIZER: OptimizerConfig =
    OptimizerConfig::Sgd { momentum: 0.9, nesterov: true, weight_decay: 5e-4 };

/// Gradient of the meta loss by the networks' parameters, and that loss.
fn meta(setup: &mut Setup, method: &Mmkd, rate: f32) -> MetaGradient {
    let Setup { learner, images, labels, outputs } = setup;
    let batch = LearnerBatch {
        epoch: 1,
        step_seed: 7,
        ids: &[],
        inputs: (&*images).into(),
        labels,
        mixed: None,
        teachers: outputs,
    };
    learner.gradients(&batch);
    let mut sandbox = LearnerSandbox::new(learner, batch, &OPTIMIZER, rate, Some(5.0));
    method.meta_gradient(&mut sandbox, &batch)
}

#[test]
fn meta_gradients_match_differences_of_the_loss_after_the_inner_steps() {
    // On noise and at β = 100 longer steps lead anywhere: differences over 0.01 and 0.03 then have
    // different signs.
    let cases = [
        (1.0, 0.0, 1e-3, 0.02),
        (1.0, 0.0, 1e-2, 0.02),
        (1.0, 0.0, 4e-2, 0.02),
        (0.0, 100.0, 1e-3, 0.1),
        (1.0, 100.0, 1e-3, 0.1),
    ];
    for (alpha, beta, rate, bound) in cases {
        let output = OutputConfig { alpha, ..OutputConfig::default() };
        let method = Mmkd::new(MmkdConfig { output, beta, ..MmkdConfig::default() });
        let gradients = meta(&mut setup(method), &method, rate).by_networks;
        let norm: f64 =
            gradients.iter().flatten().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
        assert!(norm > 1e-5, "α = {alpha}, β = {beta}: {norm}");
        let loss_at = |step: f64| {
            let mut moved = setup(method);
            let (_, own) = moved.learner.trained_mut().find(|(name, _)| name == "method").unwrap();
            let own = own.network.parameters_mut().iter_mut().flatten();
            own.zip(gradients.iter().flatten())
                .for_each(|(w, g)| *w += (step * f64::from(*g) / norm) as f32);
            meta(&mut moved, &method, rate).loss
        };
        let step = 0.01;
        let difference = (loss_at(step) - loss_at(-step)) / (2.0 * step);
        assert!(
            (difference - norm).abs() < bound * norm,
            "α = {alpha}, β = {beta}, rate {rate}: gradient norm {norm}, difference {difference}"
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
        let Setup { learner, images, labels, outputs } = &mut own;
        let batch = LearnerBatch {
            epoch: 1,
            step_seed: 7,
            ids: &[],
            inputs: (&*images).into(),
            labels,
            mixed: None,
            teachers: outputs,
        };
        learner.gradients(&batch);
        let mut sandbox = LearnerSandbox::new(learner, batch, &OPTIMIZER, 1e-3, None);
        let direction = sandbox.gradient(&batch, &mut |step| {
            faculty_contract::losses::mean_cross_entropy(&step.student_logits, &step.labels)
        });
        sandbox.restore();
        let value = |step: &Step, k: usize, b: usize| {
            if kind == 1 {
                return Mmkd::map_errors(step).slice([k..k + 1, b..b + 1]).sum();
            }
            let [_, batch, classes] = step.given_logits().dims();
            let own = step.given_logits().clone().slice([k..k + 1, 0..batch, 0..classes]);
            let own = own.reshape([batch, classes]);
            let all = kl_divergence(own, step.student_logits.clone(), output.temperature);
            all.narrow(0, b, 1).sum()
        };
        let samples = 8;
        let along = |k: usize, b: usize, sandbox: &mut LearnerSandbox<'_>| -> f64 {
            let gradient = sandbox.gradient(&batch, &mut |step| value(step, k, b));
            sandbox.restore();
            let pairs = gradient.iter().flatten().zip(direction.iter().flatten());
            pairs.map(|(g, v)| f64::from(*g) * f64::from(*v)).sum()
        };
        let point = sandbox.point();
        let parameters = point.0.iter().flat_map(|(network, _)| network.parameters()).flatten();
        let probe = held_probe_step(parameters, direction.iter().flatten());
        assert_eq!(held_probe_step([1.0].iter(), [0.0].iter()), 0.0, "a direction of no length");
        sandbox.hold_pattern(&batch);
        let mut at = |step: f64| {
            sandbox.shift(&direction, step as f32);
            let [outputs, maps] = method.weighted_values(&sandbox.step(&batch));
            sandbox.go_to(&point);
            [outputs, maps].into_iter().nth(kind).unwrap()
        };
        let (above, below) = (at(probe), at(-probe));
        // Behind the softmax over teachers only their difference counts.
        let (mut error, mut length) = (0.0, 0.0);
        for b in 0..samples {
            let want = along(0, b, &mut sandbox) - along(1, b, &mut sandbox);
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
        let Setup { mut learner, images, labels, outputs } = own;
        let (images, labels, outputs) = (&images, &labels, &outputs);
        let batch = LearnerBatch {
            epoch: 1,
            step_seed: 7,
            ids: &[],
            inputs: images.into(),
            labels,
            mixed: None,
            teachers: outputs,
        };
        let record = learner.gradients(&batch);
        assert!(record.loss.is_finite(), "{record:?}");
        for (level, weights) in &record.teacher_weights {
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{level}: {weights:?}");
        }
        for (name, trained) in learner.trained() {
            let gradients = trained.gradients().iter().flatten();
            assert!(gradients.copied().all(f32::is_finite), "{name}");
        }
        // Weights are at the networks' parameters what they are at the next step.
        let mut sandbox = LearnerSandbox::new(&mut learner, batch, &OPTIMIZER, 1e-3, None);
        let step = sandbox.step(&batch);
        let weights = method.weights(&step);
        for weights in [weights.logits, weights.maps] {
            assert!(numbers(&weights).iter().all(|w| (0.0..=1.0).contains(w)));
        }
    }
}

/// A batch of samples from number `first` on: every value of a sample is its number.
fn numbered(first: u32, count: u32) -> Samples {
    let labels: Vec<u32> = (first..first + count).collect();
    let values = |width: usize| -> Vec<f32> {
        labels.iter().flat_map(|&label| vec![label as f32; width]).collect()
    };
    let teacher = || TeacherOutputs { logits: values(2), maps: vec![values(3)] };
    Samples { images: values(6), teachers: vec![teacher(), teacher()], labels }
}

#[test]
fn the_buffer_takes_whole_batches_and_then_each_missed_sample_in_the_place_of_another() {
    let setup = setup(Mmkd::default());
    let other = setup.batch();
    let keep = |buffer: &mut Buffer, number: u32, misclassified: &[usize]| {
        let samples = numbered(4 * number, 4);
        buffer.keep(
            &LearnerBatch { step_seed: number.into(), ..samples.batch(&other) },
            misclassified,
        );
    };
    let mut buffer = Buffer::new(8, 2);
    keep(&mut buffer, 0, &[]);
    keep(&mut buffer, 1, &[2]);
    assert_eq!(buffer.labels(), [0, 1, 2, 3, 4, 5, 6, 7], "hard or not");
    keep(&mut buffer, 2, &[]);
    assert_eq!(buffer.labels(), [0, 1, 2, 3, 4, 5, 6, 7], "nothing was misclassified");
    for number in 3..40 {
        let before = buffer.labels().to_vec();
        keep(&mut buffer, number, &[0, 1, 3]);
        let after = buffer.labels().to_vec();
        let changed = before.iter().zip(&after).filter(|(a, b)| a != b).count();
        assert_eq!(changed, 3, "each in a place of its own: {before:?}, {after:?}");
        assert!([0, 1, 3].iter().all(|b| after.contains(&(4 * number + b))), "{after:?}");
    }
    // Everything of a sample is in its place.
    let drawn = buffer.drawn(9, 5);
    let mut labels = drawn.labels.clone();
    labels.sort_unstable();
    labels.dedup();
    assert_eq!(labels.len(), 5, "different ones");
    for teacher in [TeacherOutputs { logits: drawn.images.clone(), maps: Vec::new() }]
        .iter()
        .chain(&drawn.teachers)
    {
        for values in std::iter::once(&teacher.logits).chain(&teacher.maps) {
            let rows = values.chunks(values.len() / 5).zip(&drawn.labels);
            assert!(rows.clone().all(|(row, &label)| row.iter().all(|&v| v == label as f32)));
        }
    }
    let restored = |state: StateDict| {
        let mut buffer = Buffer::new(8, 2);
        let mut state = state;
        buffer.set_state(|name| state.remove(name).ok_or_else(|| format!("no `{name}`")))?;
        Ok::<_, String>(buffer)
    };
    assert_eq!(restored(buffer.state()).unwrap().drawn(10, 8), buffer.drawn(10, 8));
    let mut state = buffer.state();
    state.remove("buffer.1.map");
    assert_eq!(restored(state).unwrap_err(), "no `buffer.1.map`");
    let mut state = buffer.state();
    state.get_mut("buffer.images").unwrap().shape = vec![4, 12];
    assert!(restored(state).unwrap_err().contains("`buffer.images` has shape [4, 12]"));
}

#[test]
fn meta_steps_come_with_every_fifth_batch_from_the_first_on_and_go_through_their_state() {
    let method = Mmkd::new(MmkdConfig { buffer: 40, ..MmkdConfig::default() });
    let Setup { mut learner, images, labels, outputs } = setup(method);
    let (images, labels, outputs) = (&images, &labels, &outputs);
    let mut due = Vec::new();
    for draw in 0..7 {
        let batch = LearnerBatch {
            epoch: 1,
            step_seed: draw,
            ids: &[],
            inputs: images.into(),
            labels,
            mixed: None,
            teachers: outputs,
        };
        learner.gradients(&batch);
        learner.update(&OPTIMIZER, 0.01, None, 1);
        due.push(!learner.after_step(&batch, &OPTIMIZER, 0.01, None).is_empty());
    }
    assert_eq!(due, [true, false, false, false, false, true, false]);
    let state = learner.method_after_step().unwrap().state();
    assert_eq!(state["batches"].values, [0.0, 7.0]);
    assert_eq!(state["adam.steps"].values, [0.0, 2.0]);
    assert_eq!(state["buffer.0.map"].shape[0], 40);
    let mut other = setup(method).learner;
    let other = other.method_after_step_mut().unwrap();
    other.set_state(state.clone()).unwrap();
    assert!(other.state() == state);
    let mut broken = state.clone();
    broken.remove("adam.first_moment.logits.0.weight");
    let error = other.set_state(broken).unwrap_err();
    assert_eq!(error, "no tensor `adam.first_moment.logits.0.weight`");
}

#[test]
fn trained_parts_start_as_the_released_ones() {
    // PyTorch's default for Linear and Conv2d: uniform up to 1/√fan-in, weight and bias.
    let setup = setup(Mmkd::default());
    for (name, trained) in setup.learner.trained().filter(|(name, _)| name != "student") {
        let specs = trained.network.graph().parameters().iter();
        for pair in specs.zip(trained.network.parameters()).collect::<Vec<_>>().chunks(2) {
            let [(weight, values), (_, bias)] = pair else { panic!("{name}: weight and bias") };
            let part = format!("{name}, {}", weight.name);
            if weight.name.starts_with("bn") {
                assert!(
                    values.iter().all(|&w| w == 1.0) && bias.iter().all(|&b| b == 0.0),
                    "{part}"
                );
                continue;
            }
            let bound = 1.0 / (weight.shape[1..].iter().product::<usize>() as f64).sqrt();
            let largest =
                |values: &[f32]| values.iter().fold(0.0_f64, |m, v| m.max(v.abs().into()));
            assert!(largest(values) <= bound && largest(bias) <= bound, "{part}");
            let squares: f64 = values.iter().map(|&w| f64::from(w).powi(2)).sum();
            let deviation = (squares / values.len() as f64).sqrt() * 3.0_f64.sqrt() / bound;
            let spread = 4.0 / (values.len() as f64).sqrt();
            assert!((deviation - 1.0).abs() < spread, "{part}: {deviation} of a uniform one's");
        }
    }
}
