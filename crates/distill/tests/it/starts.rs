//! Where the trained parts of every method begin: the values that a learner has before its first step
//! against the released codes.
//!
//! Nearly all releases leave their convolutions and linear layers as PyTorch makes them: weight and bias
//! uniform in `±1/sqrt(fan_in)`, the fan-in being the product of the weight's dimensions after the first
//! (of a transposed convolution as well), and batch norms at 1 and 0. What differs is named below.

use std::collections::BTreeMap;

use faculty_distill::compute::Compute;
use faculty_distill::learner::{Learner, TeacherTraits, TrainingSamples};
use faculty_distill::methods::{METHODS, MethodInfo};
use faculty_distill::tap::Tap;
use faculty_nets::weights::StateDict;
use faculty_nets::{GraphBuilder, MapShape, Network};
use faculty_teachers::NetworkTeacher;
use faculty_teachers::traits_of;

const BATCH: usize = 64;
const IMAGE: MapShape = MapShape::new(1, 16, 16);

/// Methods whose trained parts are of another make than the releases'.
const OTHERWISE: [&str; 3] = ["amtml-kd", "reviewkd", "dpk"];

/// How an array begins.
#[derive(Clone, Copy, Debug)]
enum Start {
    Uniform(f64),
    Constant(f64),
}

/// What the release of `method` does for `name` of this shape; of a bias, `weight` is the shape of the
/// layer's weight.
fn released(method: &str, name: &str, shape: &[usize], weight: Option<&[usize]>) -> Start {
    let default = |weight: &[usize]| {
        let fan_in: usize = weight[1..].iter().product();
        Start::Uniform(1.0 / (fan_in as f64).sqrt())
    };
    match (method, name.split('.').next().unwrap()) {
        // RepDistiller: softplus of it and 1e-5 make 5.
        ("vid", "variance") => Start::Constant(((5.0_f64 - 1e-5).exp() - 1.0).ln()),
        // RepDistiller: `stdv = 1/sqrt(width/3)`, uniform between both signs of it.
        ("crd", "bank") => Start::Uniform((3.0 / shape[1] as f64).sqrt()),
        // Sums and constants that begin with the first batch.
        ("crd", "normalisers") | ("ckd", "mean" | "seen") => Start::Constant(0.0),
        _ if name.ends_with(".weight") && shape.len() == 1 => Start::Constant(1.0),
        _ if name.ends_with(".weight") => default(shape),
        _ if name.ends_with(".bias") => match weight.expect("a layer of weight and bias") {
            [_] => Start::Constant(0.0),
            weight => default(weight),
        },
        _ => panic!("{method}: how does `{name}` begin in the release?"),
    }
}

fn check(method: &str, arrays: &StateDict) {
    for (name, array) in arrays.iter().filter(|(name, _)| !name.contains("running_")) {
        let layer = name.rsplit_once('.').map_or("", |(layer, _)| layer);
        let weight = arrays.get(&format!("{layer}.weight")).map(|own| own.shape.as_slice());
        let values: Vec<f64> = array.values.iter().map(|&v| f64::from(v)).collect();
        let n = values.len() as f64;
        let largest = values.iter().fold(0.0_f64, |largest, v| largest.max(v.abs()));
        match released(method, name, &array.shape, weight) {
            Start::Constant(expected) => {
                let same = values.iter().all(|v| (v - expected).abs() < 1e-6);
                assert!(same, "{method}, `{name}`: all {expected}");
            }
            Start::Uniform(bound) => {
                assert!(
                    largest <= bound * (1.0 + 1e-6),
                    "{method}, `{name}`: {largest} of {bound}"
                );
                // The standard error of a uniform variance is sqrt(4/5n) of it; four of them.
                let variance = values.iter().map(|v| v * v).sum::<f64>() / n;
                let error = (variance / (bound * bound / 3.0) - 1.0).abs();
                assert!(error < 4.0 * (0.8 / n).sqrt(), "{method}, `{name}`: {variance}, {bound}");
            }
        }
    }
}

/// Teachers wider than the student: one with maps of its size, one with larger ones.
fn traits(info: &MethodInfo, count: usize) -> Vec<TeacherTraits> {
    let needs = (1..=3).map(|epoch| info.with_defaults().needs(epoch));
    let taps = needs.reduce(|a, b| a.union(b)).unwrap().teacher_taps;
    let teacher = Network::new("resnet8x4", IMAGE, 10, 9).unwrap();
    let source = NetworkTeacher::new(&teacher, None, &taps);
    let mut all = vec![traits_of(&source, &taps); count];
    for (tap, shape) in all.iter_mut().skip(1).flat_map(|own| &mut own.taps) {
        if *tap != Tap::Pooled {
            (shape.height, shape.width) = (2 * shape.height, 2 * shape.width);
        }
    }
    all
}

#[test]
fn every_trained_part_begins_as_in_the_release() {
    let mut with_parts = Vec::new();
    for info in METHODS.iter().filter(|info| !OTHERWISE.contains(&info.spec.name)) {
        let name = info.spec.name;
        let count = [2, 1, 0].into_iter().find(|&count| info.spec.takes(count)).unwrap();
        let traits = traits(info, count);
        let method = info.with_defaults();
        let student = Network::new("resnet8", IMAGE, 10, 5).unwrap();
        let student = method.student(student, &traits, 5).unwrap();
        let samples = TrainingSamples::new((0..100).map(|i| (faculty_data::SampleId(i), 0)));
        let learner = Learner::new(student, method, &traits, BATCH, 5, &Compute::Kernels)
            .with_samples(samples);
        let mut parts: Vec<StateDict> = learner
            .trained()
            .map(|(part, trained)| (part, trained.network.state_dict()))
            // Of the student what the method has put there.
            .map(|(part, arrays)| match part.as_str() {
                "student" => arrays.into_iter().filter(|(n, _)| n.contains("projector")).collect(),
                _ => arrays,
            })
            .collect();
        parts.push(learner.memory());
        parts.iter().for_each(|arrays| check(name, arrays));
        if parts.iter().any(|arrays| !arrays.is_empty()) {
            with_parts.push(name);
        }
    }
    let expected = [
        "ca-mkd",
        "aekd-f",
        "fitnet-mkd",
        "mmkd",
        "mt-bert",
        "fitnet",
        "crd",
        "vid",
        "semckd",
        "simkd",
        "ckd",
    ];
    assert_eq!(with_parts, expected);
}

#[test]
fn mounted_heads_begin_as_linear_layers_do() {
    // DIH: one linear layer on the flattened map.
    let (mut graph, map) = GraphBuilder::new(MapShape::new(8, 4, 4));
    graph.linear("head", map, 10);
    check("dih", &Network::from_graph("head", graph.finish(), 1).state_dict());
}

#[test]
fn another_start_is_noticed() {
    let array = |shape: &[usize], value: f32| faculty_nets::weights::Array {
        shape: shape.to_vec(),
        values: vec![value; shape.iter().product()],
    };
    // Too small, too large, not at 1.
    for (name, shape, value) in [
        ("conv.weight", &[8, 16, 1, 1][..], 0.01),
        ("conv.weight", &[8, 16, 1, 1], 0.3),
        ("bn.weight", &[8], 0.9),
    ] {
        let arrays = BTreeMap::from([(name.to_owned(), array(shape, value))]);
        let checked = std::panic::catch_unwind(|| check("fitnet", &arrays));
        assert!(checked.is_err(), "{name} of {value}");
    }
}
