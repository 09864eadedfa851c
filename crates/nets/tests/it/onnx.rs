//! Every network as an ONNX file, run by other programs.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use faculty_nets::{
    Conv2dConfig, GraphBuilder, Inference, MapShape, NETWORKS, Network, OnnxOptions, Window,
};
use rten::{Model, ModelOptions, Value};
use rten_tensor::Layout as _;

/// Of the largest logit.
const TOLERANCE: f32 = 1e-4;

fn numbers(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919 + 13) % 1009) as f32 / 504.0 - 1.0).collect()
}

/// With running statistics as after some training: those of the start would hide a wrong folding.
fn network(name: &str, input: MapShape, classes: usize) -> Network {
    let mut network = Network::new(name, input, classes, 5).unwrap();
    let mut state = network.state_dict();
    for (name, array) in &mut state {
        let wave = |i: usize| (i as f32 * 0.7).sin();
        for (i, value) in array.values.iter_mut().enumerate() {
            if name.ends_with("running_mean") {
                *value = 0.1 * wave(i);
            } else if name.ends_with("running_var") {
                *value = 1.0 + 0.3 * wave(i);
            }
        }
    }
    network.set_state_dict(&state, Path::new("made up")).unwrap();
    network
}

pub(crate) fn run(
    onnx: Vec<u8>,
    images: &[f32],
    batch: usize,
    shape: MapShape,
) -> (Vec<usize>, Vec<f32>) {
    let model = ModelOptions::with_all_ops().load(onnx).unwrap();
    run_model(&model, images, batch, shape)
}

fn run_model(
    model: &Model,
    images: &[f32],
    batch: usize,
    shape: MapShape,
) -> (Vec<usize>, Vec<f32>) {
    let shape = [batch, shape.channels, shape.height, shape.width];
    let image = Value::from_shape(shape.as_slice(), images.to_vec()).unwrap();
    let [input, output] = ["input", "logits"].map(|name| model.find_node(name).unwrap());
    let mut values = model.run(vec![(input, image.into())], &[output], None).unwrap();
    let Value::FloatTensor(tensor) = values.remove(0) else { panic!("logits are floats") };
    (tensor.shape().to_vec(), tensor.into_data())
}

/// Largest difference as a share of the largest value; infinite if a value is not finite.
fn difference(got: &[f32], want: &[f32]) -> f32 {
    assert_eq!(got.len(), want.len());
    let largest = want.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
    let differences = got.iter().zip(want).map(|(a, b)| (a - b).abs());
    let worst = differences.fold(0.0, |a, b| if b > a || b.is_nan() { b } else { a });
    if worst.is_nan() || largest == 0.0 { f32::INFINITY } else { worst / largest }
}

#[test]
fn every_network_agrees_in_another_runtime() {
    let image = MapShape::new(3, 32, 32);
    let composed = ["resnet8+simkd40", "vgg8+simkd24@3x2", "ShuffleV2+simkd16"];
    let names = NETWORKS.iter().map(|info| info.name).chain(composed);
    let mut failures = Vec::new();
    for name in names {
        let network = network(name, image, 7);
        let images = numbers(2 * image.elements());
        let mut plan = Inference::new(&network, &[]);
        let want = plan.run(&images, 2).to_vec();
        let onnx = plan.to_onnx(name, &OnnxOptions::default()).unwrap();
        let (shape, got) = run(onnx, &images, 2, image);
        assert_eq!(shape, [2, 7], "{name}");
        let worst = difference(&got, &want);
        if worst > TOLERANCE {
            failures.push(format!("{name}: {worst:e}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn maps_of_odd_sizes_are_resized_as_the_kernels_do() {
    let from = MapShape::new(2, 5, 7);
    for to in [(3, 4), (5, 7), (1, 1), (11, 9), (3, 10), (8, 2)] {
        let (mut builder, input) = GraphBuilder::new(from);
        let conv = builder.conv2d("conv", input, Conv2dConfig::new(3, 3, 1)).unwrap();
        let resized = builder.resize(conv, to.0, to.1);
        builder.linear("fc", resized, 4);
        let network = Network::from_graph("odd", builder.finish(), 3);
        let images = numbers(3 * from.elements());
        let mut plan = Inference::new(&network, &[]);
        let want = plan.run(&images, 3).to_vec();
        let onnx = plan.to_onnx("odd", &OnnxOptions::default()).unwrap();
        let (_, got) = run(onnx, &images, 3, from);
        assert!(difference(&got, &want) < 1e-5, "{to:?}: {got:?} {want:?}");
    }
}

#[test]
fn padding_counts_as_zero_in_means_and_never_in_maxima() {
    let from = MapShape::new(2, 6, 6);
    for average in [false, true] {
        let (mut builder, input) = GraphBuilder::new(from);
        let window = Window { kernel: 3, stride: 2, padding: 1 };
        let pooled = match average {
            true => builder.avg_pool("pool", input, window),
            false => builder.max_pool("pool", input, window),
        };
        builder.linear("fc", pooled.unwrap(), 4);
        let network = Network::from_graph("pooled", builder.finish(), 3);
        // All negative: a padding of zeros would be the largest.
        let images: Vec<f32> = numbers(2 * from.elements()).iter().map(|x| x - 2.0).collect();
        let mut plan = Inference::new(&network, &[]);
        let want = plan.run(&images, 2).to_vec();
        let onnx = plan.to_onnx("pooled", &OnnxOptions::default()).unwrap();
        let (_, got) = run(onnx, &images, 2, from);
        assert!(difference(&got, &want) < 1e-5, "average {average}: {got:?} {want:?}");
    }
}

#[test]
fn normalisation_batch_and_metadata_are_in_the_file() {
    let image = MapShape::new(3, 16, 16);
    let network = network("resnet8", image, 5);
    let mut plan = Inference::new(&network, &[]);
    let (mean, std) = (vec![0.5, 0.4, 0.3], vec![0.25, 0.2, 0.5]);
    let pixels: Vec<f32> = numbers(4 * image.elements()).iter().map(|x| x.abs()).collect();
    let normalised: Vec<f32> = pixels
        .iter()
        .enumerate()
        .map(|(i, x)| {
            let channel = i / image.positions() % 3;
            (x - mean[channel]) / std[channel]
        })
        .collect();
    let want = plan.run(&normalised, 4).to_vec();
    let metadata = BTreeMap::from([("class_names".to_owned(), "[\"a\"]".to_owned())]);
    let options = OnnxOptions { batch: Some(4), normalisation: Some([mean, std]), metadata };
    let onnx = plan.to_onnx("resnet8", &options).unwrap();
    assert_eq!(onnx, plan.to_onnx("resnet8", &options).unwrap());
    let model = rten_onnx::onnx::ModelProto::parse_buf(&onnx).unwrap();
    assert_eq!(model.metadata_props[0].value.as_deref(), Some("[\"a\"]"));
    let graph = model.graph.unwrap();
    let kind = graph.input[0].r#type.as_ref().unwrap().tensor_type.as_ref().unwrap();
    let sizes = kind.shape.as_ref().unwrap().dim.iter().map(|dim| dim.dim_value.unwrap());
    assert_eq!(sizes.collect::<Vec<_>>(), [4, 3, 16, 16]);
    let (_, got) = run(onnx, &pixels, 4, image);
    assert!(difference(&got, &want) < TOLERANCE);
}

/// Reads one JSON line a network: file, images, shape; prints the logits.
const PYTHON: &str = "
import json, sys
import numpy, onnxruntime
try:
    import onnx
except ImportError:
    onnx = None
for line in sys.stdin:
    case = json.loads(line)
    if onnx:
        onnx.checker.check_model(case['file'], full_check=True)
    session = onnxruntime.InferenceSession(case['file'], providers=['CPUExecutionProvider'])
    image = numpy.array(case['images'], numpy.float32).reshape(case['shape'])
    print(json.dumps(session.run(['logits'], {'input': image})[0].ravel().tolist()), flush=True)
";

/// A second independent runtime. `FACULTY_PYTHON` names a Python that has `onnxruntime`.
#[test]
fn every_network_agrees_in_onnxruntime() {
    let python = std::env::var("FACULTY_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let probe = Command::new(&python).args(["-c", "import onnxruntime, numpy"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: `{python}` has no onnxruntime; name one that has as FACULTY_PYTHON");
        return;
    }
    let mut program = Command::new(&python)
        .args(["-c", PYTHON])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut cases = program.stdin.take().unwrap();
    let mut answers = BufReader::new(program.stdout.take().unwrap()).lines();
    let folder = tempfile::tempdir().unwrap();
    // One after another: all together they have most of a gigabyte.
    let file = folder.path().join("network.onnx");
    let image = MapShape::new(3, 32, 32);
    let images = numbers(2 * image.elements());
    for name in NETWORKS.iter().map(|info| info.name).chain(["vgg8+simkd24@3x2"]) {
        let network = network(name, image, 7);
        let mut plan = Inference::new(&network, &[]);
        let want = plan.run(&images, 2).to_vec();
        std::fs::write(&file, plan.to_onnx(name, &OnnxOptions::default()).unwrap()).unwrap();
        let case = serde_json::json!({"file": file, "images": images, "shape": [2, 3, 32, 32]});
        writeln!(cases, "{case}").unwrap();
        let answer = answers.next().unwrap_or_else(|| panic!("{name}: see stderr")).unwrap();
        let got: Vec<f32> = serde_json::from_str(&answer).unwrap();
        let worst = difference(&got, &want);
        assert!(worst <= TOLERANCE, "{name}: {worst:e}");
    }
    drop(cases);
    assert!(program.wait().unwrap().success());
}
