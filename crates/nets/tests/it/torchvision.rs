//! Networks under torchvision's names against torchvision itself
//! (`bench/torchvision_networks.py`), with weights that both sides compute from names and places.

use std::collections::BTreeMap;
use std::path::Path;

use faculty_nets::weights::{Array, StateDict};
use faculty_nets::{Inference, MapShape, Network, TrainingRun};
use faculty_testkit::{Case, Tolerance};

const CLASSES: usize = 10;
const LOGITS: Tolerance = Tolerance { relative: 0.0, of_largest: 1e-4, absolute: 0.0 };
/// Of a gradient's length. Both sides round; behind hard swish and ReLU a rounding decides some of
/// the gradients' terms, which the smooth EfficientNet does not show.
const SMOOTH: f32 = 1e-3;
const KINKED: f32 = 2e-2;

fn crc32(text: &str) -> u32 {
    !text.bytes().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    })
}

/// Numbers in -1 .. 1 from a name and places.
fn noise(name: &str, count: usize) -> Vec<f64> {
    let seed = u64::from(crc32(name)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = |place: u64| {
        let mixed = place.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed;
        let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 40) as f64 / f64::from(1 << 23) - 1.0
    };
    (1..=count as u64).map(number).collect()
}

fn values(name: &str, shape: &[usize]) -> Vec<f32> {
    let (scale, offset) = match name.rsplit('.').next() {
        Some("running_var") => (0.3, 1.0),
        _ if shape.len() > 1 => ((6.0 / shape[1..].iter().product::<usize>() as f64).sqrt(), 0.0),
        Some("weight") => (0.3, 1.0),
        _ => (0.2, 0.0),
    };
    let numbers = noise(name, shape.iter().product());
    numbers.into_iter().map(|x| (offset + scale * x) as f32).collect()
}

fn length(values: impl Iterator<Item = f32>) -> f32 {
    values.map(|x| x * x).sum::<f32>().sqrt()
}

fn check(name: &str, tolerance: f32) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torchvision");
    let case = Case::read(&folder.join(format!("{name}.safetensors")));
    let state: BTreeMap<String, Vec<usize>> =
        serde_json::from_str(&case.metadata["state"]).unwrap();
    let (batch, image) = (2, MapShape::new(3, 96, 96));
    let mut network = Network::new(name, image, CLASSES, 1).unwrap();
    let own: BTreeMap<String, Vec<usize>> =
        network.state_dict().into_iter().map(|(name, array)| (name, array.shape)).collect();
    assert_eq!(own, state, "{name}: names and shapes");
    let weights: StateDict = state
        .into_iter()
        .map(|(name, shape)| {
            let values = values(&name, &shape);
            (name, Array { shape, values })
        })
        .collect();
    network.set_state_dict(&weights, Path::new(name)).unwrap();
    let input: Vec<f32> =
        noise("input", batch * image.elements()).into_iter().map(|x| x as f32).collect();

    let taps = network.graph().features().to_vec();
    assert_eq!(taps.len(), 6, "{name}");
    let mut plan = Inference::new(&network, &taps);
    let logits = plan.run(&input, batch).to_vec();
    case.compare("logits", &logits, LOGITS).unwrap();
    for (at, &tap) in taps.iter().enumerate() {
        let positions = network.graph().shape(tap).positions();
        let means: Vec<f32> = plan
            .value(tap)
            .chunks(positions)
            .map(|plane| plane.iter().sum::<f32>() / positions as f32)
            .collect();
        case.compare(&format!("tap.{at}"), &means, LOGITS).unwrap();
    }

    // Dropout and stochastic depth draw only where a step asks for it.
    let direction: Vec<f32> =
        noise("direction", batch * CLASSES).into_iter().map(|x| x as f32).collect();
    let graph = network.graph().clone();
    assert!(graph.drops(), "{name}");
    let mut run = TrainingRun::new();
    run.forward(&mut network, &input, batch);
    run.backward(&network, [(graph.output(), &direction)], false);
    // Of what a norm behind it takes out again, the gradient is 0 but for rounding.
    let gradients = case.tensors.iter().filter(|(name, _)| name.starts_with("grad."));
    let longest =
        gradients.map(|(_, want)| length(want.values.iter().copied())).fold(0.0, f32::max);
    let mut compared = 0;
    for (spec, got) in graph.parameters().iter().zip(run.gradients()) {
        let Some(want) = case.tensors.get(&format!("grad.{}", spec.name)) else { continue };
        assert_eq!(got.len(), want.values.len(), "{name}: {}", spec.name);
        let distance = length(got.iter().zip(&want.values).map(|(a, b)| a - b));
        let share = distance / length(want.values.iter().copied()).max(1e-3 * longest);
        assert!(share < tolerance, "{name}, {}: gradients differ by {share}", spec.name);
        compared += 1;
    }
    assert!(compared > 10, "{name}: {compared} gradients");
}

#[test]
fn mobilenet_v3_is_torchvisions() {
    check("mobilenet_v3_small", KINKED);
    check("mobilenet_v3_large", KINKED);
}

#[test]
fn efficientnet_b0_is_torchvisions() {
    check("efficientnet_b0", SMOOTH);
}
