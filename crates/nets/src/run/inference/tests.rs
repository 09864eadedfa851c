//! The frozen plan against the training graph run operation by operation with its running
//! statistics, for every network.

use faculty_testkit::{Tolerance, assert_close};

use super::*;
use crate::dropout_keys::DropoutKeys;
use crate::networks::{NETWORKS, NetworkInfo};
use crate::op::{ForwardStep, OpState};
use crate::pattern::ActivationPattern;
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

/// A network whose batch norms are not at their start values.
fn network(info: &NetworkInfo, input: MapShape, classes: usize) -> Network {
    let mut network = Network::new(info.name, input, classes, 3).unwrap();
    let graph = network.graph().clone();
    for (index, (spec, values)) in graph.parameters.iter().zip(&mut network.parameters).enumerate()
    {
        let random = numbers(values.len(), index as u64);
        if spec.shape.len() == 1 {
            let centre = if spec.name.ends_with("weight") { 1.0 } else { 0.0 };
            values.iter_mut().zip(random).for_each(|(v, r)| *v = centre + 0.3 * r);
        }
    }
    for (index, (spec, values)) in graph.buffers.iter().zip(&mut network.buffers).enumerate() {
        let random = numbers(values.len(), 1000 + index as u64);
        values.iter_mut().zip(random).for_each(|(v, r)| *v = spec.initial + 0.3 * r);
    }
    network
}

/// Every value of the graph, nothing fused, folded or shared.
fn evaluate(network: &Network, input: &[f32], batch: usize) -> Vec<Vec<f32>> {
    let mut network = network.clone();
    let graph = network.graph().clone();
    let mut values: Vec<Vec<f32>> = Vec::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        let mut read = node.inputs.iter().map(|id| values[id.0].as_slice());
        let first = read.next().unwrap_or(input);
        let mut output = vec![f32::NAN; batch * node.shape.elements()];
        let step = ForwardStep {
            inputs: [first, read.next().unwrap_or_default()],
            output: &mut output,
            parameters: &network.parameters,
            buffers: &mut network.buffers,
            state: &mut OpState::default(),
            frozen_statistics: true,
            pattern: ActivationPattern::Free,
            precision: Precision::F32,
            tokens: &Tokens::default(),
            dropout: DropoutKeys::default(),
            together: &crate::Together::default(),
        };
        node.op.forward(&graph.site(index, BatchSize { samples: batch, tokens: 0 }), step);
        values.push(output);
    }
    values
}

/// The plan folds and reorders, so it rounds differently: 1e-4 of the largest value.
const TOLERANCE: Tolerance = Tolerance { relative: 0.0, of_largest: 1e-4, absolute: 0.0 };

fn check(info: &NetworkInfo, shape: MapShape, classes: usize, batch: usize) {
    let network = network(info, shape, classes);
    let graph = network.graph().clone();
    let input = numbers(batch * shape.elements(), 5);
    let want = evaluate(&network, &input, batch);
    let mut kept = graph.features().to_vec();
    kept.extend(graph.map());
    // With taps read and without, which folds and shares differently.
    for kept in [kept, Vec::new()] {
        let mut plan = Inference::new(&network, &kept);
        let logits = plan.run(&input, batch).to_vec();
        let output = want.last().unwrap();
        let what = format!("{} on {shape}: ", info.name);
        assert!(output.iter().any(|v| v.abs() > 1e-3), "{what} nothing but zeros");
        assert_close(&format!("{what} logits"), &logits, output, TOLERANCE);
        for id in kept {
            let what = format!("{what} value {}", id.0);
            assert_close(&what, plan.value(id), &want[id.0], TOLERANCE);
        }
    }
}

#[test]
fn every_network_is_the_training_graph_with_its_running_statistics() {
    for info in NETWORKS {
        check(info, MapShape::new(3, 32, 32), 100, 2);
    }
}

#[test]
fn odd_sizes_channels_and_classes_are_fine() {
    for (shape, classes, batch) in [
        (MapShape::new(1, 28, 28), 10, 3),
        (MapShape::new(3, 37, 41), 1, 1),
        (MapShape::new(4, 64, 65), 2, 1),
        (MapShape::new(3, 16, 16), 3, 17),
    ] {
        for name in
            ["resnet8", "wrn_16_1", "vgg8", "MobileNetV2", "ShuffleV1", "ShuffleV2", "ResNet18"]
        {
            check(crate::find(name).unwrap(), shape, classes, batch);
        }
    }
    for size in [33, 49, 112] {
        for name in ["resnet18_imagenet", "resnet50_imagenet"] {
            check(crate::find(name).unwrap(), MapShape::new(3, size, size + 2), 7, 2);
        }
    }
}

#[test]
fn a_smaller_batch_after_a_larger_one_is_right() {
    let info = crate::find("ShuffleV2").unwrap();
    let network = network(info, MapShape::new(3, 16, 16), 5);
    let sample = network.graph().input_shape().elements();
    let input = numbers(8 * sample, 9);
    let mut plan = Inference::new(&network, &[]);
    plan.run(&input, 8);
    let small = plan.run(&input[..3 * sample], 3).to_vec();
    assert_eq!(small, Inference::new(&network, &[]).run(&input[..3 * sample], 3));
}

#[test]
fn maps_before_their_activation_are_those_of_the_graph_and_change_no_other_bit() {
    let (shape, batch) = (MapShape::new(3, 32, 32), 2);
    // How many of a family's maps have an activation of their own, and in which layer that is.
    let own = [
        ("resnet8", &["bn1", "layer1.0.bn2", "layer2.0.bn2", "layer3.0.bn2"][..]),
        ("wrn_16_1", &["block1.layer.0.bn1", "block2.layer.0.bn1", "block3.layer.0.bn1", "bn1"]),
        ("vgg8", &["block0.1", "block1.1", "block2.1", "block3.1", "block4.1"]),
        ("MobileNetV2", &["conv1.1"]),
        ("ShuffleV1", &["bn1", "layer1.3.bn3", "layer2.7.bn3", "layer3.3.bn3"]),
        ("ShuffleV2", &["bn1"]),
        ("ResNet18", &["bn1", "layer1.1.bn2", "layer2.1.bn2", "layer3.1.bn2", "layer4.1.bn2"]),
    ];
    for (name, layers) in own {
        let network = network(crate::find(name).unwrap(), shape, 10);
        let graph = network.graph().clone();
        let taps = &graph.features()[..graph.features().len() - 1];
        let held: Vec<ValueId> = taps.iter().filter_map(|tap| graph.activated_by(*tap)).collect();
        let names = held.iter().map(|id| {
            let op = &graph.nodes[id.0].op;
            assert!(op.is_norm(), "{name}: {op:?}");
            graph.parameter(op.parameters()[0]).name.clone()
        });
        let expected: Vec<String> = layers.iter().map(|layer| format!("{layer}.weight")).collect();
        assert_eq!(names.collect::<Vec<_>>(), expected, "{name}");

        let input = numbers(batch * shape.elements(), 5);
        let mut plain = Inference::new(&network, &held);
        let mut plan = Inference::holding(&network, &held, &held);
        assert_eq!(plain.run(&input, batch), plan.run(&input, batch), "{name}");
        for &id in &held {
            let want = &without_activation(&network, &input, batch, id);
            let before = plan.value_before_activation(id);
            assert!(before.iter().any(|v| *v < 0.0), "{name}: nothing that an activation cuts off");
            assert_close(&format!("{name}, value {}", id.0), before, want, TOLERANCE);
            assert_eq!(plan.value(id), plain.value(id), "{name}");
        }
    }
}

/// The value of a norm before its activation, from the unfused values that it reads.
fn without_activation(network: &Network, input: &[f32], batch: usize, id: ValueId) -> Vec<f32> {
    let graph = network.graph();
    let values = evaluate(network, input, batch);
    let node = &graph.nodes[id.0];
    let mut read = node.inputs.iter().map(|id| values[id.0].as_slice());
    let inputs = [read.next().unwrap(), read.next().unwrap_or_default()];
    let mut output = vec![f32::NAN; batch * node.shape.elements()];
    let frozen = node.op.freeze(Values {
        parameters: &network.parameters,
        buffers: &network.buffers,
        specs: graph.parameters(),
    });
    let (scratch, tokens) = (&mut FrozenScratch::default(), &Tokens::default());
    let (precision, output_step) = (Precision::F32, &mut output);
    let step = FrozenStep {
        inputs,
        activate: false,
        output: output_step,
        scratch,
        precision,
        tokens,
        cache: None,
    };
    frozen.run(&graph.site(id.0, BatchSize { samples: batch, tokens: 0 }), step);
    output
}

/// The length of the difference, of that of `want`.
fn relative(got: &[f32], want: &[f32]) -> f64 {
    let square = |x: f64| x * x;
    let off: f64 = got.iter().zip(want).map(|(g, w)| square(f64::from(g - w))).sum();
    (off / want.iter().map(|w| square(f64::from(*w))).sum::<f64>()).sqrt()
}

#[test]
fn in_bf16_every_network_is_the_same_but_for_rounding() {
    let shape = MapShape::new(3, 32, 32);
    let input = numbers(18 * shape.elements(), 5);
    for info in NETWORKS {
        let network = network(info, shape, 20);
        let graph = network.graph().clone();
        let mut kept = graph.features().to_vec();
        kept.extend(graph.map());
        let want = Inference::new(&network, &[]).run(&input, 18).to_vec();
        let bf16 =
            |kept: &[ValueId]| Inference::with_precision(&network, kept, &[], Precision::Bf16);
        let mut plan = bf16(&kept);
        let got = plan.run(&input, 18).to_vec();
        // Random weights and statistics let deep networks amplify 2^-9 a layer.
        let off = relative(&got, &want);
        assert!(off > 1e-5 && off < 0.1, "{}: {off}", info.name);
        for id in kept {
            assert!(plan.value(id).iter().all(|value| value.is_finite()), "{} {id:?}", info.name);
        }
        // Neither what is kept nor the rest of the batch changes a bit.
        assert_eq!(bf16(&[]).run(&input, 18), got, "{}", info.name);
        let one = &input[17 * shape.elements()..];
        assert_eq!(bf16(&[]).run(one, 1), &got[17 * 20..], "{}", info.name);
    }
}

#[test]
fn in_bf16_maps_before_their_activation_change_no_other_bit() {
    let shape = MapShape::new(3, 32, 32);
    for name in ["resnet8", "wrn_16_1", "vgg8", "MobileNetV2", "ShuffleV1", "ResNet18"] {
        let network = network(crate::find(name).unwrap(), shape, 10);
        let graph = network.graph().clone();
        let taps = &graph.features()[..graph.features().len() - 1];
        let held: Vec<ValueId> = taps.iter().filter_map(|tap| graph.activated_by(*tap)).collect();
        let input = numbers(2 * shape.elements(), 5);
        let bf16 = |held: &[ValueId], kept: &[ValueId]| {
            Inference::with_precision(&network, kept, held, Precision::Bf16)
        };
        let (mut plain, mut plan) = (bf16(&[], &held), bf16(&held, &held));
        assert_eq!(plain.run(&input, 2), plan.run(&input, 2), "{name}");
        for &id in &held {
            assert_eq!(plan.value(id), plain.value(id), "{name}");
            let before = plan.value_before_activation(id);
            assert!(before.iter().any(|v| *v < 0.0), "{name}: nothing that an activation cuts off");
            let cut: Vec<f32> = before.iter().map(|v| v.max(0.0)).collect();
            assert_eq!(cut, plan.value(id), "{name}");
        }
    }
}
