//! The training run against finite differences, and inference against training.

use faculty_nets::{
    Conv2dConfig, GraphBuilder, Inference, MapShape, Network, TrainingRun, ValueId,
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
    let input = numbers(BATCH * network.graph().input_shape().elements(), 1);
    let taps: Vec<(ValueId, Vec<f32>)> = taps
        .iter()
        .enumerate()
        .map(|(i, &id)| {
            let len = BATCH * network.graph().shape(id).elements();
            (id, numbers(len, 10 + i as u64).iter().map(|v| v / (len as f32).sqrt()).collect())
        })
        .collect();
    let mut run = TrainingRun::new();
    let mut network = network.clone();
    run.forward(&mut network, &input, BATCH);
    let by_input = run.backward(&network, taps.clone(), true).unwrap();
    let gradients = run.gradients().to_vec();
    let names: Vec<String> = network.graph().parameters().iter().map(|p| p.name.clone()).collect();
    for (index, gradient) in gradients.iter().enumerate() {
        let norm = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        // A convolution's bias before batch norm has no effect; then both sides are rounding.
        if norm < 1e-4 {
            continue;
        }
        let mut moved = |step: f64| {
            let mut other = network.clone();
            for (w, g) in other.parameters_mut()[index].iter_mut().zip(gradient) {
                *w += (step * f64::from(*g) / norm) as f32;
            }
            run.forward(&mut other, &input, BATCH);
            loss(&run, &taps)
        };
        let step = 2e-3;
        let difference = (moved(step) - moved(-step)) / (2.0 * step);
        assert!(
            (difference - norm).abs() <= 0.02 * norm + 2e-3,
            "{}: gradient {norm}, finite difference {difference}",
            names[index]
        );
    }
    let norm = by_input.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
    let mut moved = |step: f64| {
        let input: Vec<f32> = input
            .iter()
            .zip(&by_input)
            .map(|(x, g)| x + (step * f64::from(*g) / norm) as f32)
            .collect();
        run.forward(&mut network.clone(), &input, BATCH);
        loss(&run, &taps)
    };
    let difference = (moved(2e-3) - moved(-2e-3)) / 4e-3;
    assert!((difference - norm).abs() <= 0.02 * norm + 2e-3, "input: {norm} and {difference}");
}

#[test]
fn gradients_of_a_resnet_match_finite_differences() {
    let network = Network::new("resnet8x0.5", MapShape::new(2, 9, 9), 5, 3).unwrap();
    let mut taps = network.graph().features().to_vec();
    taps.push(network.graph().output());
    check_gradients(&network, &taps);
}

#[test]
fn gradients_of_connectors_match_finite_differences() {
    for (from, to) in [((8, 8), (4, 4)), ((4, 4), (8, 8)), ((5, 7), (3, 3)), ((4, 4), (4, 4))] {
        let (mut graph, input) = GraphBuilder::new(MapShape::new(3, from.0, from.1));
        let resized = graph.resize(input, to.0, to.1);
        let config = Conv2dConfig::new(5, 1, 1).with_bias();
        let projected = graph.conv2d("conv", resized, config).unwrap();
        graph.batch_norm("bn", projected, None, true);
        let network = Network::from_graph("connector", graph.finish(), 4);
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
