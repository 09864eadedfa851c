//! Held activation patterns: nothing changes at their own point, and around it the network is smooth.

use burn::tensor::Device;
use faculty_nets::{ActivationPattern, BurnRun, MapShape, Network, Run, TrainingRun, ValueId};

const BATCH: usize = 8;
/// Shortcuts, max pooling, linear bottlenecks, joined channels, pooling with padding.
const CASES: [(&str, usize); 5] = [
    ("resnet8", 16),
    ("vgg8", 32),
    ("MobileNetV2", 32),
    ("ShuffleV2", 32),
    ("resnet18_imagenet", 32),
];

fn unit(i: usize, seed: u64) -> f32 {
    let mixed = (i as u64 + 1 + seed * 7919).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ (mixed >> 29)) >> 40) as f32 / (1 << 23) as f32 - 1.0
}

/// A loss linear in logits and last map, on one batch.
struct Setup {
    run: Run,
    images: Vec<f32>,
    taps: Vec<(ValueId, Vec<f32>)>,
    network: Network,
}

impl Setup {
    fn new(run: Run, name: &str, side: usize) -> Self {
        let network = Network::new(name, MapShape::new(3, side, side), 7, 3).unwrap();
        let graph = network.graph();
        let taps = [graph.map().unwrap(), graph.output()].map(|id| {
            let count = BATCH * graph.shape(id).elements();
            (id, (0..count).map(|i| unit(i, 5) / (count as f32).sqrt()).collect())
        });
        let images = (0..BATCH * 3 * side * side).map(|i| unit(i, 0)).collect();
        Self { run, images, taps: taps.to_vec(), network }
    }

    fn kernels(name: &str, side: usize) -> Self {
        Self::new(Run::Kernels(TrainingRun::new()), name, side)
    }

    fn at(&mut self, pattern: ActivationPattern, direction: &[Vec<f32>], factor: f32) -> Pass {
        let mut moved = self.network.clone();
        let all = moved.parameters_mut().iter_mut().flatten();
        all.zip(direction.iter().flatten()).for_each(|(w, d)| *w += factor * d);
        self.run.set_pattern(pattern);
        self.run.forward(&mut moved, &self.images, BATCH);
        let values = self.taps.iter().map(|(id, _)| self.run.value(*id).to_vec()).collect();
        self.run.backward(&moved, self.taps.clone(), false);
        Pass { values, gradients: self.run.gradients().to_vec() }
    }

    /// A direction as long as the parameters, each of which moves by a share of its own.
    fn direction(&self, seed: u64) -> Vec<Vec<f32>> {
        let parameters = self.network.parameters().iter().enumerate();
        let all = parameters.map(|(p, own)| {
            let length = own.iter().map(|w| w * w).sum::<f32>().sqrt().max(0.1);
            let scale = length / (own.len() as f32 / 3.0).sqrt();
            (0..own.len()).map(|i| scale * unit(i, seed + p as u64)).collect()
        });
        all.collect()
    }

    /// The difference of gradients between both sides along a direction, for the whole of it.
    fn bend(&mut self, pattern: ActivationPattern, along: &[Vec<f32>], step: f32) -> Vec<Vec<f32>> {
        let (above, below) = (self.at(pattern, along, step), self.at(pattern, along, -step));
        let mut bend = above.gradients;
        for (above, below) in bend.iter_mut().flatten().zip(below.gradients.iter().flatten()) {
            *above = (*above - below) / (2.0 * step);
        }
        bend
    }
}

#[derive(PartialEq)]
struct Pass {
    values: Vec<Vec<f32>>,
    gradients: Vec<Vec<f32>>,
}

fn inner(a: &[Vec<f32>], b: &[Vec<f32>]) -> f64 {
    let pairs = a.iter().flatten().zip(b.iter().flatten());
    pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn distance(a: &[Vec<f32>], b: &[Vec<f32>]) -> f64 {
    let pairs = a.iter().flatten().zip(b.iter().flatten());
    let difference = pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt();
    difference / inner(b, b).sqrt()
}

#[test]
fn a_held_pattern_changes_no_bit_at_its_own_point() {
    for (name, side) in CASES {
        let mut own = Setup::kernels(name, side);
        let free = own.at(ActivationPattern::Free, &[], 0.0);
        assert!(own.at(ActivationPattern::Recorded, &[], 0.0) == free, "{name}, recorded");
        assert!(own.at(ActivationPattern::Held, &[], 0.0) == free, "{name}, held");
        let away = own.direction(1);
        let held = own.at(ActivationPattern::Held, &away, 0.1);
        let moved = own.at(ActivationPattern::Free, &away, 0.1);
        assert!(held.values != moved.values, "{name}: kinks are crossed");
        assert!(own.at(ActivationPattern::Free, &[], 0.0) == free, "{name}, released");
    }
}

#[test]
fn differences_of_gradients_with_a_held_pattern_are_a_symmetric_second_derivative() {
    for (name, side) in CASES {
        let mut own = Setup::kernels(name, side);
        let [u, v] = [1, 100].map(|seed| own.direction(seed));
        own.at(ActivationPattern::Recorded, &[], 0.0);
        let (held, free) = (ActivationPattern::Held, ActivationPattern::Free);
        let [by_u, by_v] = [&u, &v].map(|along| own.bend(held, along, 3e-4));
        // A difference is off by its step squared, and by rounding over its step.
        let finer = distance(&own.bend(held, &v, 1.5e-4), &by_v);
        let (forth, back) = (inner(&u, &by_v), inner(&v, &by_u));
        let size = (inner(&u, &u) * inner(&by_v, &by_v)).sqrt();
        assert!(finer < 0.02, "{name}: another step gives another product, by {finer}");
        // Random directions are nearly at right angles to it: the products are 3e-4 to 1e-3 of that size.
        assert!((forth - back).abs() < 5e-5 * size, "{name}: {forth} and {back} of {size}");
        let jumps = distance(&own.bend(free, &v, 3e-4), &by_v);
        assert!(
            jumps > 1.0,
            "{name}: without it, jumps at kinks are most of a difference: {jumps}"
        );
    }
}

#[test]
fn burn_holds_patterns_as_the_kernels_do() {
    for (name, side) in [("resnet8", 16), ("vgg8", 32), ("resnet18_imagenet", 32)] {
        let plain = Run::Burn(BurnRun::new(&Device::flex()));
        let mut both = [Setup::kernels(name, side), Setup::new(plain, name, side)];
        let away = both[0].direction(1);
        let [ours, theirs] = both.each_mut().map(|own| {
            own.at(ActivationPattern::Recorded, &[], 0.0);
            own.at(ActivationPattern::Held, &away, 0.1)
        });
        let values = distance(&theirs.values, &ours.values);
        let gradients = distance(&theirs.gradients, &ours.gradients);
        // A ReLU or a maximum that rounding decides otherwise moves them by thousandths.
        assert!(values < 0.01 && gradients < 0.02, "{name}: {values}, {gradients}");
    }
}
