//! Networks read from ONNX files, against what onnxruntime and PyTorch make of them
//! (`bench/onnx_networks.py OUT small`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use faculty_nets::weights::{self, Array, StateDict};
use faculty_nets::{
    BurnRun, Error, Inference, MapShape, Network, OnnxNetwork, OnnxOptions, Tap, TrainingRun,
    graph_of, lasting_name,
};

use crate::gradients::check_gradients_at;
use crate::onnx::run;

/// Of the largest logit.
const LOGITS: f32 = 1e-4;
/// Of the length of a gradient.
const GRADIENT: f32 = 1e-3;

struct Case {
    name: String,
    file: PathBuf,
    reference: StateDict,
    input: Array,
}

impl Case {
    fn shape(&self) -> MapShape {
        let [_, channels, height, width] = self.input.shape[..] else { panic!("images") };
        MapShape::new(channels, height, width)
    }

    fn batch(&self) -> usize {
        self.input.shape[0]
    }

    fn network(&self) -> Network {
        let onnx = OnnxNetwork::open(&self.file, None).unwrap();
        onnx.network(self.shape(), None, 1).unwrap_or_else(|e| panic!("{}: {e}", self.name)).0
    }
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnx_networks");
    let mut cases: Vec<Case> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "onnx"))
        .map(|file| {
            let mut reference = weights::read(&file.with_extension("safetensors")).unwrap();
            let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
            let input = reference.remove("input").unwrap();
            Case { name, file, reference, input }
        })
        .collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(cases.len() > 25, "{} networks", cases.len());
    cases
}

fn difference(got: &[f32], want: &[f32]) -> f32 {
    assert_eq!(got.len(), want.len());
    let largest = want.iter().fold(1e-12_f32, |largest, x| largest.max(x.abs()));
    let differences = got.iter().zip(want).map(|(a, b)| (a - b).abs());
    differences
        .fold(0.0_f32, |largest, d| if d.is_finite() { largest.max(d) } else { f32::INFINITY })
        / largest
}

fn length(values: impl Iterator<Item = f32>) -> f32 {
    values.map(|x| x * x).sum::<f32>().sqrt()
}

/// Distances as a share of the length of each gradient, or of a thousandth of the longest where that
/// is longer: a bias in front of batch norm has the gradient 0 but for rounding.
fn compare_gradients<'a>(
    what: &str,
    pairs: impl Iterator<Item = (&'a str, &'a [f32], &'a [f32])>,
    tolerance: f32,
) {
    let pairs: Vec<_> = pairs.collect();
    let longest = pairs.iter().map(|(.., want)| length(want.iter().copied())).fold(0.0, f32::max);
    for (name, got, want) in pairs {
        assert_eq!(got.len(), want.len(), "{what}, {name}");
        let distance = length(got.iter().zip(want).map(|(a, b)| a - b));
        let share = distance / length(want.iter().copied()).max(1e-3 * longest);
        assert!(share < tolerance, "{what}, {name}: gradients differ by {share}");
    }
}

#[test]
fn logits_are_those_of_onnxruntime() {
    for case in cases() {
        let network = case.network();
        let got = Inference::new(&network, &[]).run(&case.input.values, case.batch()).to_vec();
        let error = difference(&got, &case.reference["logits"].values);
        assert!(error < LOGITS, "{}: {error}", case.name);
    }
}

#[test]
fn gradients_are_those_of_pytorch_and_of_burn() {
    for case in cases() {
        let mut network = case.network();
        let mut other = network.clone();
        let graph = network.graph().clone();
        let direction = &case.reference["direction"].values;
        let mut run = TrainingRun::new();
        run.forward(&mut network, &case.input.values, case.batch());
        run.backward(&network, [(graph.output(), direction)], false);
        let names = graph.parameters().iter().map(|spec| spec.name.as_str());
        let ours: BTreeMap<&str, &[f32]> =
            names.zip(run.gradients().iter().map(Vec::as_slice)).collect();
        let theirs = case.reference.iter().filter_map(|(name, array)| {
            let name = name.strip_prefix("grad.")?;
            let ours = ours.get(name).unwrap_or_else(|| panic!("{}: no `{name}`", case.name));
            Some((name, *ours, array.values.as_slice()))
        });
        compare_gradients(&case.name, theirs, GRADIENT);

        let mut plain = BurnRun::new(&Device::default());
        plain.forward(&mut other, &case.input.values, case.batch());
        let logits = difference(plain.value(graph.output()), run.value(graph.output()));
        assert!(logits < LOGITS, "{}: burn's logits differ by {logits}", case.name);
        plain.backward(&other, [(graph.output(), direction)], false);
        let burn = graph.parameters().iter().zip(plain.gradients()).map(|(spec, gradient)| {
            (spec.name.as_str(), gradient.as_slice(), ours[spec.name.as_str()])
        });
        compare_gradients(&format!("{} in burn", case.name), burn, GRADIENT);
        for (a, b) in network.buffers().iter().zip(other.buffers()) {
            assert!(difference(a, b) < 1e-4, "{}: running statistics", case.name);
        }
    }
}

/// What has no kink, and so can be followed by differences with the tolerance of the other networks.
#[test]
fn gradients_match_finite_differences() {
    let smooth =
        ["sigmoid", "tanh", "silu", "gelu", "affine", "asymmetric", "dilated", "average_pooling"];
    let more = ["convnext_block", "excite_by_layers", "twice", "prelu_of_channels", "hard_swish"];
    let all = cases();
    for name in smooth.iter().chain(&more) {
        println!("{name}");
        let case = all.iter().find(|case| case.name == *name).unwrap();
        let network = case.network();
        let taps = [network.graph().map().unwrap(), network.graph().output()];
        check_gradients_at(&network, &taps, case.batch(), 2e-3);
    }
}

#[test]
fn an_export_computes_the_same_and_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    for case in cases() {
        let network = case.network();
        let plan = Inference::new(&network, &[]);
        let bytes = plan.to_onnx("net", &OnnxOptions::default()).unwrap();
        let want = &case.reference["logits"].values;
        let (shape, got) = run(bytes.clone(), &case.input.values, case.batch(), case.shape());
        assert_eq!(shape, [case.batch(), network.classes()], "{}", case.name);
        let error = difference(&got, want);
        assert!(error < LOGITS, "{}: exported {error}", case.name);

        let path = folder.path().join("again.onnx");
        std::fs::write(&path, bytes).unwrap();
        let again = OnnxNetwork::open(&path, None).unwrap();
        let (again, _) =
            again.network(case.shape(), None, 1).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        let got = Inference::new(&again, &[]).run(&case.input.values, case.batch()).to_vec();
        let error = difference(&got, want);
        assert!(error < LOGITS, "{}: read again {error}", case.name);
    }
}

#[test]
fn taps_are_the_ends_of_stages() {
    // Channels and side of the maps, channels of the vector, whether a classifier stands on the map.
    type Want = (&'static [(usize, usize)], usize, bool);
    let expected: [(&str, Want); 5] = [
        ("mobilenet_v3", (&[(8, 16), (8, 8), (96, 4)], 24, false)),
        ("efficientnet", (&[(8, 16), (24, 8)], 24, true)),
        ("shufflenet_v2", (&[(8, 16), (8, 8), (8, 4), (12, 2), (16, 1)], 16, true)),
        ("densenet", (&[(8, 16), (8, 8), (16, 4)], 16, true)),
        ("convnext", (&[(8, 8), (12, 4)], 12, false)),
    ];
    let all = cases();
    for (name, (maps, vector, classifier)) in expected {
        let network = all.iter().find(|case| case.name == name).unwrap().network();
        let graph = network.graph();
        let shape = |tap: Tap| tap.value(graph).map(|value| graph.shape(value));
        let found: Vec<(usize, usize)> =
            Tap::features(graph).filter_map(shape).map(|map| (map.channels, map.height)).collect();
        assert_eq!(found, maps, "{name}");
        assert_eq!(shape(Tap::Pooled), Some(MapShape::new(vector, 1, 1)), "{name}");
        assert_eq!(graph.classifier().is_some(), classifier, "{name}");
        assert!(graph.map().is_some(), "{name}");
    }
}

#[test]
fn other_classes_get_a_new_last_layer_and_a_name_stands_for_one_content() {
    for case in cases()
        .iter()
        .filter(|case| ["residual", "without_classifier", "convnext"].contains(&case.name.as_str()))
    {
        let onnx = OnnxNetwork::open(&case.file, None).unwrap();
        let (own, notes) = onnx.network(case.shape(), Some(5), 3).unwrap();
        assert!(notes.is_empty(), "{}: {notes:?}", case.name);
        let (other, notes) = onnx.network(case.shape(), Some(7), 3).unwrap();
        assert_eq!(other.classes(), 7);
        assert_eq!(notes.len(), 1, "{}: {notes:?}", case.name);
        let equal = own.parameters().iter().zip(other.parameters()).filter(|(a, b)| a == b).count();
        let all = own.parameters().len();
        assert_eq!(all - equal, 2, "{}: weight and bias of the last layer", case.name);

        let path = case.file.to_str().unwrap();
        let name = lasting_name(path).unwrap();
        let [by_path, by_name] =
            [path, &name].map(|name| graph_of(name, case.shape(), 7).unwrap().parameter_count());
        assert_eq!(by_path, by_name);
        assert_eq!(Network::new(path, case.shape(), 7, 3).unwrap().name(), name);
        // A fresh start has other weights, and the same names and shapes.
        let mut fresh = Network::new(&name, case.shape(), 5, 3).unwrap();
        assert_ne!(fresh.parameters()[0], own.parameters()[0]);
        fresh.set_state_dict(&own.state_dict(), Path::new("same")).unwrap();
    }
}

#[test]
fn what_cannot_be_read_is_named_node_by_node() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnx_networks");
    let onnx = OnnxNetwork::open(&folder.join("flattened.onnx"), None).unwrap();
    // Its first linear layer is for maps of another size.
    let error = onnx.network(MapShape::new(3, 16, 16), None, 1).unwrap_err();
    let Error::OnnxNodes { problems, .. } = &error else { panic!("{error}") };
    assert_eq!(problems.len(), 1, "{error}");
    assert!(problems[0].contains("Gemm"), "{error}");
    assert!(error.hint().is_some());
}

#[test]
fn a_damaged_file_is_an_error_not_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.onnx");
    let mut state = 5_u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        (state >> 33) as usize % below
    };
    let mut read = 0;
    for case in cases()
        .iter()
        .filter(|case| ["shuffle", "convnext_block", "gelu"].contains(&case.name.as_str()))
    {
        let whole = std::fs::read(&case.file).unwrap();
        for round in 0..150 {
            let mut bytes = whole.clone();
            if round % 3 == 0 {
                bytes.truncate(next(whole.len()));
            } else {
                for _ in 0..1 + next(3) {
                    let at = next(bytes.len());
                    bytes[at] = next(256) as u8;
                }
            }
            std::fs::write(&path, bytes).unwrap();
            if let Ok(onnx) = OnnxNetwork::open(&path, None) {
                for classes in [None, Some(3)] {
                    read += usize::from(onnx.network(case.shape(), classes, 1).is_ok());
                }
            }
        }
    }
    assert!(read > 0, "some damages are of weights alone");
}
