//! A step in bfloat16 against the same in `f32`.

use super::*;
use crate::networks::NETWORKS;
use crate::shape::MapShape;

/// Numbers in ±1 that look random, the same on every machine.
fn numbers(len: usize, seed: u64) -> Vec<f32> {
    (0..len as u64)
        .map(|i| {
            let mixed = (i + 1 + seed * 7919).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            ((mixed ^ (mixed >> 29)) >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// What a step gives: logits, taps, gradients by all parameters one after the other, and by the input.
struct Step {
    logits: Vec<f32>,
    taps: Vec<Vec<f32>>,
    gradients: Vec<f32>,
    by_input: Vec<f32>,
}

const BATCH: usize = 6;

fn step(run: &mut TrainingRun, network: &mut Network) -> Step {
    let graph = network.graph().clone();
    let input = numbers(BATCH * graph.input_shape().elements(), 5);
    run.forward(network, &input, BATCH);
    let logits = run.value(graph.output()).to_vec();
    let taps: Vec<Vec<f32>> = graph.features().iter().map(|id| run.value(*id).to_vec()).collect();
    let mut losses = vec![(graph.output(), numbers(logits.len(), 1))];
    // Of the same order whatever the size of a map.
    let by_taps = graph.features().iter().zip(&taps).enumerate().map(|(index, (id, tap))| {
        let scale = 1.0 / (tap.len() as f32).sqrt();
        let gradient = numbers(tap.len(), 10 + index as u64);
        (*id, gradient.into_iter().map(|v| v * scale).collect())
    });
    losses.extend(by_taps);
    let by_input = run.backward(network, losses, true).expect("it was asked for");
    Step { logits, taps, gradients: run.gradients().concat(), by_input }
}

/// The length of the difference, of that of `want`.
fn relative(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len());
    let off: f64 = got.iter().zip(want).map(|(g, w)| f64::from(g - w).powi(2)).sum();
    (off / want.iter().map(|w| f64::from(*w).powi(2)).sum::<f64>()).sqrt()
}

#[test]
fn a_step_in_bf16_is_that_in_f32_but_for_rounding() {
    for info in NETWORKS {
        let network = Network::new(info.name, MapShape::new(3, 16, 16), 20, 3).unwrap();
        let of = |precision| {
            let (mut run, mut network) = (TrainingRun::with_frozen_statistics(), network.clone());
            run.set_precision(precision);
            step(&mut run, &mut network)
        };
        let (want, got) = (of(Precision::F32), of(Precision::Bf16));
        let name = info.name;
        let off = relative(&got.logits, &want.logits);
        assert!(off > 0.0 && off < 0.05, "{name}: logits {off}");
        for (index, (got, want)) in got.taps.iter().zip(&want.taps).enumerate() {
            let off = relative(got, want);
            assert!(off < 0.05, "{name}: tap {index} {off}");
        }
        // Where rounding moves a value over a kink, its whole gradient comes or goes; so the deepest
        // networks are off by a quarter.
        let off = relative(&got.gradients, &want.gradients);
        assert!(off > 1e-5 && off < 0.35, "{name}: gradients {off}");
        let off = relative(&got.by_input, &want.by_input);
        assert!(off < 0.6, "{name}: gradient by the input {off}");
    }
}

#[test]
fn batch_statistics_and_every_gradient_in_bf16_are_those_in_f32_but_for_rounding() {
    for name in ["resnet8", "wrn_16_1", "vgg8"] {
        let network = Network::new(name, MapShape::new(3, 16, 16), 20, 3).unwrap();
        let of = |precision| {
            let (mut run, mut network) = (TrainingRun::new(), network.clone());
            run.set_precision(precision);
            let step = step(&mut run, &mut network);
            (step, network.buffers.concat())
        };
        let ((want, want_buffers), (got, got_buffers)) = (of(Precision::F32), of(Precision::Bf16));
        assert!(relative(&got.logits, &want.logits) < 0.1, "{name}");
        assert!(relative(&got_buffers, &want_buffers) < 0.01, "{name}");
        let mut start = 0;
        let length =
            |values: &[f32]| values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        let all = length(&want.gradients);
        for (spec, values) in network.graph().parameters().iter().zip(&network.parameters) {
            let end = start + values.len();
            let [got, want] = [&got, &want].map(|step| &step.gradients[start..end]);
            let differences: Vec<f32> = got.iter().zip(want).map(|(g, w)| g - w).collect();
            // The gradient by a bias in front of batch norm is zero, but for rounding.
            let off = length(&differences) / length(want).max(0.01 * all);
            assert!(off < 0.5, "{name}: {} {off}", spec.name);
            start = end;
        }
    }
}

#[test]
fn a_run_may_change_its_precision_and_its_threads() {
    let network = Network::new("resnet8", MapShape::new(3, 16, 16), 10, 3).unwrap();
    let alone = |precision| {
        let (mut run, mut network) = (TrainingRun::new(), network.clone());
        run.set_precision(precision);
        step(&mut run, &mut network).gradients
    };
    let mut run = TrainingRun::new();
    for precision in [Precision::F32, Precision::Bf16, Precision::F32, Precision::Bf16] {
        run.set_precision(precision);
        let got = step(&mut run, &mut network.clone()).gradients;
        assert!(got == alone(precision), "{precision:?}");
    }
    let want = alone(Precision::Bf16);
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert!(pool.install(|| alone(Precision::Bf16)) == want, "{threads} threads");
    }
}

#[test]
fn a_text_encoder_in_bf16_is_that_in_f32_but_for_rounding() {
    use crate::encoder_config::{EncoderConfig, EncoderFamily};
    let config = EncoderConfig::new(EncoderFamily::Bert, 100, 2, 64);
    let network = Network::from_graph("bert", config.graph(3).unwrap(), 1);
    let mut tokens = Tokens::default();
    for length in [5, 1, 17] {
        let ids: Vec<u32> = (0..length).map(|i| (i * 37 + length) % 100).collect();
        tokens.push(&ids, &vec![0; ids.len()]);
    }
    let texts = faculty_inputs::Texts { texts: Vec::new(), tokens };
    let step = |precision| {
        let (mut run, mut network) = (TrainingRun::new(), network.clone());
        run.set_precision(precision);
        run.forward(&mut network, &texts, 3);
        let output = network.graph().output();
        let logits = run.value(output).to_vec();
        run.backward(&network, [(output, numbers(logits.len(), 1))], false);
        let mut plan = crate::Inference::with_precision(&network, &[], &[], precision);
        assert_eq!(plan.run(&texts, 3), logits, "{precision:?}");
        (logits, run.gradients().concat())
    };
    let (want, got) = (step(Precision::F32), step(Precision::Bf16));
    let off = relative(&got.0, &want.0);
    assert!(off > 1e-5 && off < 0.05, "logits {off}");
    let off = relative(&got.1, &want.1);
    assert!(off > 1e-5 && off < 0.05, "gradients {off}");
}
