//! The training run against finite differences, and inference against training.

use faculty_nets::{
    Conv2dConfig, GraphBuilder, Inference, MapShape, Network, TrainingRun, ValueId, Window,
};

const BATCH: usize = 3;

/// Numbers in ±1 that look random, the same on every machine.
fn numbers(len: usize, seed: u64) -> Vec<f32> {
    (0..len as u64)
        .map(|i| {
            let mixed = (i + 1 + seed * 7919).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            ((mixed ^ (mixed >> 29)) >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// `Σ_taps <value, direction>`: a loss whose gradient by each tap is its direction.
fn loss(run: &TrainingRun, taps: &[(ValueId, Vec<f32>)]) -> f64 {
    taps.iter()
        .flat_map(|(id, direction)| run.value(*id).iter().zip(direction))
        .map(|(v, d)| f64::from(*v) * f64::from(*d))
        .sum()
}

/// Directional derivative along each parameter's own gradient, against central differences.
fn check_gradients(network: &Network, taps: &[ValueId]) {
    check_gradients_at(network, taps, BATCH, 2e-3);
}

pub(crate) fn check_gradients_at(network: &Network, taps: &[ValueId], batch: usize, largest: f64) {
    check_gradients_of(TrainingRun::new(), network, taps, batch, largest);
}

/// The same with a batch of one's own, and steps of at most `largest` that change the loss by a
/// small number: deep networks bend much.
fn check_gradients_of(
    mut run: TrainingRun,
    network: &Network,
    taps: &[ValueId],
    batch: usize,
    largest: f64,
) {
    // Noise of a deep network in float32; the operations themselves are held to 2 %.
    let (tolerance, noise) = if batch > BATCH { (0.06, 0.03) } else { (0.02, 2e-3) };
    let input = numbers(batch * network.graph().input_shape().elements(), 1);
    let taps: Vec<(ValueId, Vec<f32>)> = taps
        .iter()
        .enumerate()
        .map(|(i, &id)| {
            let len = batch * network.graph().shape(id).elements();
            (id, numbers(len, 10 + i as u64).iter().map(|v| v / (len as f32).sqrt()).collect())
        })
        .collect();
    let mut network = network.clone();
    run.forward(&mut network, &input, batch);
    let by_input = run.backward(&network, taps.clone(), true).unwrap();
    let gradients = run.gradients().to_vec();
    let names: Vec<String> = network.graph().parameters().iter().map(|p| p.name.clone()).collect();
    // In large networks every fifth parameter, which still meets every kind of layer.
    let each = if batch > BATCH { 5 } else { 1 };
    for (index, gradient) in gradients.iter().enumerate().step_by(each) {
        let norm = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        // A convolution's bias before batch norm has no effect; then both sides are rounding.
        if norm < 1e-4 {
            continue;
        }
        let mut moved = |by: f64| {
            let mut other = network.clone();
            for (w, g) in other.parameters_mut()[index].iter_mut().zip(gradient) {
                *w += (by * f64::from(*g) / norm) as f32;
            }
            run.forward(&mut other, &input, batch);
            loss(&run, &taps)
        };
        let step = largest.min(0.005 / norm);
        let difference = (moved(step) - moved(-step)) / (2.0 * step);
        assert!(
            (difference - norm).abs() <= tolerance * norm + noise,
            "{}: gradient {norm}, finite difference {difference}",
            names[index]
        );
    }
    let norm = by_input.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
    let mut moved = |by: f64| {
        let input: Vec<f32> = input
            .iter()
            .zip(&by_input)
            .map(|(x, g)| x + (by * f64::from(*g) / norm) as f32)
            .collect();
        run.forward(&mut network.clone(), &input, batch);
        loss(&run, &taps)
    };
    let step = largest.min(0.005 / norm);
    let difference = (moved(step) - moved(-step)) / (2.0 * step);
    assert!(
        (difference - norm).abs() <= tolerance * norm + noise,
        "input: {norm} and {difference}"
    );
}

#[test]
fn gradients_of_a_resnet_match_finite_differences() {
    let network = Network::new("resnet8x0.5", MapShape::new(2, 9, 9), 5, 3).unwrap();
    let mut taps = network.graph().features().to_vec();
    taps.push(network.graph().output());
    check_gradients(&network, &taps);
}

/// The bend of ReLU and the switch of a maximum spoil finite differences of a deep network at a
/// step of 2e-3, so each operation is checked in a small graph of its own; see below for families.
#[test]
fn gradients_of_operations_match_finite_differences() {
    let shape = MapShape::new(4, 7, 6);
    let window = Window { kernel: 3, stride: 2, padding: 1 };
    type Build = fn(&mut GraphBuilder, ValueId, Window) -> ValueId;
    let operations: [(&str, Build); 8] = [
        ("max pooling", |g, x, window| g.max_pool("pool", x, window).unwrap()),
        ("small max pooling", |g, x, _| {
            g.max_pool("pool", x, Window { kernel: 2, stride: 2, padding: 0 }).unwrap()
        }),
        ("average pooling", |g, x, window| g.avg_pool("pool", x, window).unwrap()),
        ("shuffle", |g, x, _| g.channel_shuffle(x, 2)),
        ("join", |g, x, _| {
            let y = g.conv2d("other", x, Conv2dConfig::new(2, 1, 1)).unwrap();
            g.concat_channels(x, y, 1, 0..6)
        }),
        ("halves of a shuffled join", |g, x, _| {
            let y = g.conv2d("other", x, Conv2dConfig::new(4, 1, 1)).unwrap();
            let (left, right) =
                (g.concat_channels(x, y, 2, 0..4), g.concat_channels(x, y, 2, 4..8));
            let right = g.conv2d("right", right, Conv2dConfig::new(2, 3, 1)).unwrap();
            g.concat_channels(left, right, 2, 1..6)
        }),
        ("convolution plus shortcut", |g, x, _| {
            let y = g.conv2d("other", x, Conv2dConfig::new(4, 1, 1)).unwrap();
            g.conv2d_plus("plus", y, Some(x), Conv2dConfig::new(4, 3, 1)).unwrap()
        }),
        ("depthwise and grouped", |g, x, _| {
            let y = g.conv2d("depth", x, Conv2dConfig::new(4, 3, 2).with_groups(4)).unwrap();
            g.conv2d("grouped", y, Conv2dConfig::new(6, 1, 1).with_groups(2)).unwrap()
        }),
    ];
    for (what, build) in operations {
        println!("{what}");
        let (mut g, input) = GraphBuilder::new(shape);
        let x = g.conv2d("first", input, Conv2dConfig::new(4, 3, 1).with_bias()).unwrap();
        let y = build(&mut g, x, window);
        g.feature(y);
        g.pooled_classifier("last", y, 3);
        let network = Network::from_graph("operation", g.finish(), 4);
        let mut taps = network.graph().features()[..1].to_vec();
        taps.push(network.graph().output());
        check_gradients(&network, &taps);
    }
}

#[test]
fn gradients_of_families_match_finite_differences() {
    for name in ["wrn_16_1", "vgg8", "MobileNetV2", "ShuffleV1", "ShuffleV2"] {
        println!("{name}");
        let network = Network::new(name, MapShape::new(2, 17, 17), 5, 3).unwrap();
        let mut taps = network.graph().features().to_vec();
        taps.push(network.graph().output());
        check_gradients_at(&network, &taps, 16, 5e-4);
    }
}

#[test]
fn gradients_of_projectors_match_finite_differences() {
    for (from, to) in [((8, 8), (4, 4)), ((4, 4), (8, 8)), ((5, 7), (3, 3)), ((4, 4), (4, 4))] {
        let (mut graph, input) = GraphBuilder::new(MapShape::new(3, from.0, from.1));
        let resized = graph.resize(input, to.0, to.1);
        let config = Conv2dConfig::new(5, 1, 1).with_bias();
        let projected = graph.conv2d("conv", resized, config).unwrap();
        graph.batch_norm("bn", projected, None, true);
        let network = Network::from_graph("projector", graph.finish(), 4);
        check_gradients(&network, &[network.graph().output()]);
    }
}

#[test]
fn running_statistics_are_pytorchs_unbiased_ones() {
    let (mut graph, input) = GraphBuilder::new(MapShape::new(1, 1, 2));
    graph.batch_norm("bn", input, None, false);
    let mut network = Network::from_graph("norm", graph.finish(), 1);
    TrainingRun::new().forward(&mut network, &[1.0, 2.0, 3.0, 6.0], 2);
    // Mean 3, biased variance 3.5, unbiased 14/3; a tenth of each enters, beside 0.9 of 0 and 1.
    let expected = [0.3, 0.9 + 0.1 * 14.0 / 3.0];
    for (got, want) in network.buffers().iter().zip(expected) {
        assert!((got[0] - want).abs() < 1e-6, "{} instead of {want}", got[0]);
    }
}

#[test]
fn inference_equals_the_training_graph_with_the_same_statistics() {
    // Running statistics become those of one batch when the momentum has had its time; then the
    // folded plan must agree with the training run on that batch, up to the unbiased variance.
    let mut network = Network::new("resnet8", MapShape::new(3, 16, 16), 10, 5).unwrap();
    let batch = 16;
    let input = numbers(batch * network.graph().input_shape().elements(), 6);
    let mut run = TrainingRun::new();
    for _ in 0..200 {
        run.forward(&mut network, &input, batch);
    }
    let map = network.graph().map().unwrap();
    let mut plan = Inference::new(&network, &[map]);
    let logits = plan.run(&input, batch).to_vec();
    for (id, got) in [(network.graph().output(), logits.as_slice()), (map, plan.value(map))] {
        let want = run.value(id);
        let largest = want.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        for (got, want) in got.iter().zip(want) {
            assert!((got - want).abs() < 0.02 * largest, "{got} instead of {want}");
        }
    }
}

#[test]
fn with_frozen_statistics_a_run_is_inference_with_gradients() {
    let mut network = Network::new("resnet8x0.5", MapShape::new(2, 9, 9), 5, 3).unwrap();
    let input = numbers(BATCH * network.graph().input_shape().elements(), 6);
    let mut run = TrainingRun::new();
    (0..30).for_each(|_| run.forward(&mut network, &input, BATCH));
    let before = network.clone();
    let mut frozen = TrainingRun::with_frozen_statistics();
    frozen.forward(&mut network, &input, BATCH);
    assert_eq!(network.state_dict(), before.state_dict(), "the running statistics stay");
    let output = network.graph().output();
    let mut plan = Inference::new(&network, &[]);
    for (got, want) in frozen.value(output).iter().zip(plan.run(&input, BATCH)) {
        assert!((got - want).abs() < 1e-4, "{got} instead of {want}");
    }
    let mut taps = network.graph().features().to_vec();
    taps.push(output);
    // Longer steps cross kinks of ReLU here.
    check_gradients_of(frozen, &network, &taps, BATCH, 5e-4);
}

#[test]
fn inference_of_one_sample_does_not_depend_on_the_batch_around_it() {
    let network = Network::new("resnet8", MapShape::new(3, 16, 16), 10, 5).unwrap();
    let sample = network.graph().input_shape().elements();
    let input = numbers(7 * sample, 8);
    let mut plan = Inference::new(&network, &[]);
    let all = plan.run(&input, 7).to_vec();
    for i in 0..7 {
        let alone = plan.run(&input[i * sample..(i + 1) * sample], 1).to_vec();
        assert_eq!(alone, all[i * 10..(i + 1) * 10], "sample {i}");
    }
}
