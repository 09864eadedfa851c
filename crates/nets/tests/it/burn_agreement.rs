//! The same step on our kernels and in plain burn operations: values, running statistics and
//! gradients agree.

use burn::tensor::Device;
use faculty_nets::{BurnRun, MapShape, NETWORKS, Network, TrainingRun, find};

/// One network of each family, and every kind of operation.
const CASES: [(&str, usize); 9] = [
    ("resnet8", 16),
    ("resnet8x4", 8),
    ("wrn_16_1", 16),
    ("vgg8", 32),
    ("MobileNetV2", 32),
    ("ShuffleV1", 32),
    ("ShuffleV2", 32),
    ("ResNet18", 16),
    ("resnet18_imagenet", 64),
];

/// Most networks agree to 1e-6. Where rounding decides one ReLU or one maximum of N otherwise, the
/// gradient moves by 1/√N, some thousandths in the small last maps.
const GRADIENT: f64 = 0.02;

fn relative(got: &[f32], want: &[f32]) -> f32 {
    assert_eq!(got.len(), want.len());
    let largest = want.iter().fold(1e-6_f32, |m, x| m.max(x.abs()));
    got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest
}

/// Distance of two gradients against their length, or against `floor` where that is longer: a
/// bias in front of batch norm has the gradient 0 but for rounding. See [`GRADIENT`].
fn distance(got: &[f32], want: &[f32], floor: f64) -> f64 {
    assert_eq!(got.len(), want.len());
    let square = |x: f32| f64::from(x).powi(2);
    let difference: f64 = got.iter().zip(want).map(|(a, b)| square(a - b)).sum();
    let length: f64 = want.iter().map(|&b| square(b)).sum();
    difference.sqrt() / length.sqrt().max(floor)
}

fn unit(i: usize) -> f32 {
    let mixed = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ (mixed >> 29)) >> 40) as f32 / (1 << 23) as f32 - 1.0
}

fn agrees(name: &str, side: usize, frozen: &[&str], device: &Device) {
    const BATCH: usize = 16;
    let mut ours = Network::new(name, MapShape::new(3, side, side), 7, 3).unwrap();
    assert!(frozen.iter().all(|prefix| ours.freeze(prefix) > 0));
    let mut theirs = ours.clone();
    let images: Vec<f32> = (0..BATCH * 3 * side * side).map(unit).collect();
    let (mut kernels, mut plain) = (TrainingRun::new(), BurnRun::new(device));
    kernels.forward(&mut ours, &images, BATCH);
    plain.forward(&mut theirs, &images, BATCH);
    let graph = ours.graph().clone();
    let mut read = graph.features().to_vec();
    read.extend([graph.map().unwrap(), graph.output()]);
    let mut gradients = Vec::new();
    for &id in &read {
        let error = relative(plain.value(id), kernels.value(id));
        assert!(error < 1e-4, "{name}: value {id:?}, relative error {error}");
        let gradient: Vec<f32> = (0..kernels.value(id).len()).map(|i| unit(i + 17)).collect();
        gradients.push((id, gradient));
    }
    for (own, other) in ours.buffers().iter().zip(theirs.buffers()) {
        // Means near 0 are compared with the tenth of a standard deviation of 1 that a step moves them by.
        let error = distance(other, own, 0.1 * (own.len() as f64).sqrt());
        assert!(error < 1e-3, "{name}: running statistics, relative distance {error}");
    }
    let by_input = kernels.backward(&ours, gradients.clone(), true).unwrap();
    let by_input_plain = plain.backward(&theirs, gradients, true).unwrap();
    let error = distance(&by_input_plain, &by_input, 0.0);
    assert!(error < GRADIENT, "{name}: gradient by the input, relative distance {error}");
    let all = kernels.gradients().iter().flatten();
    let whole = all.map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
    for (spec, (own, other)) in
        graph.parameters().iter().zip(kernels.gradients().iter().zip(plain.gradients()))
    {
        let error = distance(other, own, 1e-3 * whole);
        assert!(error < GRADIENT, "{name}: gradient by {}, relative distance {error}", spec.name);
    }
}

#[test]
fn kernels_and_plain_burn_agree_for_every_family() {
    for (name, side) in CASES {
        assert!(find(name).is_ok(), "{name} is one of {}", NETWORKS.len());
        agrees(name, side, &[], &Device::flex());
    }
    agrees("resnet8", 16, &["conv1", "bn1", "layer1"], &Device::flex());
    agrees("MobileNetV2", 32, &["conv1", "blocks"], &Device::flex());
}

/// Needs a Vulkan driver, a software one such as Mesa's llvmpipe included.
#[cfg(feature = "vulkan")]
#[test]
fn kernels_and_a_vulkan_device_agree_for_every_family() {
    let device = Device::vulkan(burn::tensor::DeviceKind::DefaultDevice);
    for (name, side) in CASES {
        agrees(name, side, &[], &device);
    }
}
