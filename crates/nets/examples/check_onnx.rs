//! Reads an ONNX file as a network and compares it with a reference made by `bench/onnx_networks.py`.
//!
//! ```text
//! cargo run --release -p faculty-nets --example check_onnx -- NET.onnx NET.safetensors
//! ```
//! The reference holds `input`, the `logits` of another runtime for it (or `centred`), and perhaps `direction` with
//! the gradients `grad.NAME` of PyTorch in training mode for the loss `Σ logits · direction`.
#![expect(clippy::print_stdout, reason = "an example shows its results")]

use std::path::Path;

use faculty_nets::{Inference, MapShape, OnnxNetwork, TrainingRun, weights};

type Failure = Box<dyn std::error::Error>;

/// Largest difference as a share of the largest value.
fn difference(got: &[f32], want: &[f32]) -> f32 {
    let largest = want.iter().fold(1e-12_f32, |largest, x| largest.max(x.abs()));
    got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let (Some(file), Some(reference)) = (arguments.next(), arguments.next()) else {
        return Err("give an ONNX file and a reference".into());
    };
    let mut reference = weights::read(Path::new(&reference))?;
    let mut take = |name: &str| reference.remove(name).ok_or(format!("no `{name}`"));
    let input = take("input")?;
    // Of a file that ends in softmax, the logarithms of its output less their mean over the classes.
    let (logits, centred) = match take("centred") {
        Ok(logits) => (logits, true),
        Err(_) => (take("logits")?, false),
    };
    let &[batch, channels, height, width] = input.shape.as_slice() else {
        return Err("`input` is no batch of images".into());
    };
    let onnx = OnnxNetwork::open(Path::new(&file), None)?;
    let shape = MapShape::new(channels, height, width);
    let (mut network, notes) = onnx.network(shape, None, 0)?;
    let graph = network.graph().clone();
    println!("{file}: {} parameters", graph.parameter_count());
    notes.iter().for_each(|note| println!("  note: {note}"));
    for (tap, &value) in graph.features().iter().enumerate() {
        println!("  tap {tap}: {}", graph.shape(value));
    }
    println!("  classifier on the pooled map: {}", graph.classifier().is_some());
    let mut got = Inference::new(&network, &[]).run(&input.values, batch).to_vec();
    if centred {
        let classes = got.len() / batch;
        for row in got.chunks_mut(classes) {
            let mean = row.iter().sum::<f32>() / classes as f32;
            row.iter_mut().for_each(|logit| *logit -= mean);
        }
    }
    println!("  logits differ by {:.1e}", difference(&got, &logits.values));
    let Some(direction) = reference.remove("direction") else { return Ok(()) };
    let mut run = TrainingRun::new();
    run.forward(&mut network, &input.values, batch);
    run.backward(&network, [(graph.output(), &direction.values)], false);
    let mut worst = (0.0_f32, String::new());
    let mut compared = 0;
    // A bias in front of batch norm has the gradient 0 but for rounding: as a share of the largest.
    let norm = |values: &[f32]| values.iter().map(|x| x * x).sum::<f32>().sqrt();
    let longest = reference.values().map(|array| norm(&array.values)).fold(0.0, f32::max);
    for (spec, gradient) in graph.parameters().iter().zip(run.gradients()) {
        let Some(want) = reference.get(&format!("grad.{}", spec.name)) else { continue };
        let distance: Vec<f32> = gradient.iter().zip(&want.values).map(|(a, b)| a - b).collect();
        let share = norm(&distance) / norm(&want.values).max(1e-3 * longest);
        if share > worst.0 {
            worst = (share, spec.name.clone());
        }
        compared += 1;
    }
    println!("  {compared} gradients differ by {:.1e} at most (`{}`)", worst.0, worst.1);
    Ok(())
}
