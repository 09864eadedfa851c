//! One step of every method on pairs of ResNets, wide ResNets, VGGs and MobileNetV2 against float64
//! references from the formulas (`bench/methods/gradients.py`): the loss, and the gradient of every
//! trained array.
//!
//! A reference holds of each array, in the order of the names, the gradient's norm and its products with
//! four directions of ±1. What the networks, trained parts, images and costs are is a function of their
//! names, here and there.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use faculty_comm::{Group, Share, Threads};
use faculty_data::rng::Stream;
use faculty_data::{SampleId, View};
use faculty_distill::class_cost::ClassCost;
use faculty_distill::compute::Compute;
use faculty_distill::learner::{Learner, LearnerBatch, TrainingSamples};
use faculty_distill::methods::{Facts, METHODS, MethodInfo};
use faculty_distill::tap::Tap;
use faculty_nets::weights::Array;
use faculty_nets::{MapShape, Network, Precision};
use faculty_teachers::{NetworkTeacher, TeacherBatch, TeacherOutputs, TeacherSource, traits_of};
use faculty_testkit::Case;

use crate::finite_differences::profiles;

/// Methods whose gradients are held to golden cases and finite differences alone.
const WITHOUT_REFERENCE: [&str; 1] = ["mt-bert"];
const BATCH: usize = 8;
const CLASSES: usize = 10;
const EPOCH: usize = 2;
const DRAW: u64 = 77;
/// Norm and four products.
const FIGURES: usize = 5;

struct Pair {
    file: &'static str,
    student: &'static str,
    teachers: [&'static str; 2],
    side: usize,
    images: &'static str,
    /// Of an array's norm, what rounding in f32 may make.
    rounding: f64,
}

fn normals(name: &str, count: usize) -> impl Iterator<Item = f64> {
    let mut stream = Stream::new(1, name);
    (0..count).map(move |_| stream.normal())
}

/// The values of an array, as in `filled` of the script.
fn filled(name: &str, shape: &[usize]) -> Vec<f32> {
    let noise = normals(name, shape.iter().product());
    let fan_in = shape[1..].iter().product::<usize>() as f64;
    let variance = match name.split('/').next() {
        Some("memory") => 1.0,
        Some(part) if part.starts_with("teacher.") && shape.len() == 2 => 8.0,
        Some(part) if part.starts_with("teacher.") => 1.0,
        _ => 2.0,
    };
    let scale = if name.ends_with(".weight") { 1.0 } else { 0.0 };
    let value = |noise: f64| match shape.len() {
        _ if name.ends_with("running_var") => 1.0 + 0.1 * noise * noise,
        1 => scale + 0.1 * noise,
        _ => noise * (variance / fan_in).sqrt(),
    };
    noise.map(|noise| value(noise) as f32).collect()
}

/// Gives a network the values of its names under `part`; what training does not move stays.
fn fill(network: &mut Network, part: &str) {
    let graph = network.graph().clone();
    let frozen: Vec<&str> =
        graph.frozen().iter().map(|id| graph.parameters()[id.index()].name.as_str()).collect();
    let mut state = network.state_dict();
    for (name, Array { shape, values }) in &mut state {
        if !frozen.contains(&name.as_str()) {
            *values = filled(&format!("{part}/{name}"), shape);
        }
    }
    network.set_state_dict(&state, Path::new(part)).unwrap();
}

/// Norm of a gradient, and its products with the directions of its name.
fn seen(name: &str, gradient: &[f32]) -> [f64; FIGURES] {
    let mut stream = Stream::new(2, name);
    let mut figures = [0.0; FIGURES];
    for &g in gradient {
        let (g, code) = (f64::from(g), (16.0 * stream.unit()) as u32);
        figures[0] += g * g;
        for (bit, product) in figures[1..].iter_mut().enumerate() {
            *product += if code >> bit & 1 == 0 { g } else { -g };
        }
    }
    figures[0] = figures[0].sqrt();
    figures
}

/// What a step of a method gives: the loss, and each trained array by name.
type Seen = (f64, BTreeMap<String, [f64; FIGURES]>);

/// Of one process.
fn one_step(info: &MethodInfo, pair: &Pair, teachers: &[Network]) -> Seen {
    step_of_rank(info, pair, teachers, Group::default(), Precision::F32).unwrap()
}

/// Of one of several, which has its part of the batch; none where they cannot share it.
fn step_of_rank(
    info: &MethodInfo,
    pair: &Pair,
    teachers: &[Network],
    group: Group,
    precision: Precision,
) -> Option<Seen> {
    let count = [2, 1, 0].into_iter().find(|&count| info.spec.takes(count)).unwrap();
    let student = Network::new(pair.student, shape_of(pair), CLASSES, 1).unwrap();
    let mut method = info.with_defaults();
    method.prepare(Facts::Profiles(&profiles(CLASSES, count)));
    method.prepare(Facts::ClassCosts(&(0..count).map(class_cost).collect::<Vec<_>>()));

    // Maps that not all networks have are not asked for.
    let requested = method.needs(EPOCH).teacher_taps;
    let own = |network: &Network, tap: &Tap| tap.value(network.graph()).is_some();
    let there = |tap: &&Tap| {
        teachers[..count].iter().all(|teacher| own(teacher, tap)) && own(&student, tap)
    };
    let taps: Vec<Tap> = requested.iter().filter(there).copied().collect();
    let mut sources: Vec<NetworkTeacher> =
        teachers[..count].iter().map(|own| NetworkTeacher::new(own, None, &taps)).collect();
    let traits: Vec<_> = sources.iter().map(|source| traits_of(source, &taps)).collect();

    let side = pair.side;
    let scale = (3.0 * (side * side) as f64 / 2.0).sqrt();
    let images: Vec<f32> = filled(pair.images, &[BATCH, 3, side, side])
        .into_iter()
        .map(|v| (f64::from(v) * scale) as f32)
        .collect();
    let labels: Vec<u32> = (0..BATCH).map(|i| (i * i % CLASSES) as u32).collect();
    let ids: Vec<SampleId> = (0..BATCH as u64).map(SampleId).collect();
    let both = (0..2 * BATCH as u64).map(SampleId).zip(labels.iter().chain(&labels).copied());

    let student = method.student(student, &traits, 1).unwrap();
    let mut learner = Learner::new(student, method, &traits, BATCH, 1, &Compute::Kernels)
        .with_samples(TrainingSamples::new(both))
        .with_precision(precision);
    for (part, trained) in learner.trained_mut() {
        fill(&mut trained.network, &part);
    }
    let mut memory = learner.memory();
    for (name, array) in memory.iter_mut().filter(|(name, _)| name.starts_with("bank.")) {
        array.values = filled(&format!("memory/{name}"), &array.shape);
    }
    learner.set_memory(memory).unwrap();

    let share = Share::new(group.rank(), group.size()).unwrap();
    if !group.is_alone() {
        if !learner.averages_samples() {
            return None;
        }
        learner = learner.with_group(group.clone());
    }
    let absent = share.of(BATCH).is_empty();
    learner.set_whole_batch(BATCH, absent);
    // An empty part has a sample that does not count.
    let own = if absent { 0..1 } else { share.of(BATCH) };
    let (ids, labels) = (ids[own.clone()].to_vec(), labels[own.clone()].to_vec());
    let pixels = 3 * side * side;
    let images = images[own.start * pixels..own.end * pixels].to_vec();

    let asked = learner.method().needs(EPOCH).teacher_taps;
    let view = TeacherBatch { ids: &ids, view: View::Train(0), inputs: (&images).into() };
    let outputs: Vec<TeacherOutputs> =
        sources.iter_mut().map(|source| source.outputs(&view, &asked).unwrap()).collect();
    let record = learner.gradients(&LearnerBatch {
        epoch: EPOCH,
        step_seed: DRAW,
        ids: &ids,
        inputs: (&images).into(),
        labels: &labels,
        mixed: None,
        teachers: &outputs,
    });
    group.check().unwrap();
    let mut found = BTreeMap::new();
    for (part, trained) in learner.trained() {
        let graph = trained.network.graph();
        for (index, (spec, gradient)) in
            graph.parameters().iter().zip(trained.gradients()).enumerate()
        {
            if graph.frozen().iter().all(|id| id.index() != index) {
                let name = format!("{part}/{}", spec.name);
                let figures = seen(&name, gradient);
                found.insert(name, figures);
            }
        }
    }
    Some((record.loss, found))
}

fn teachers_of(pair: &Pair) -> Vec<Network> {
    let own = |(k, name): (usize, &&str)| {
        let mut network = Network::new(name, shape_of(pair), CLASSES, 1).unwrap();
        fill(&mut network, &format!("teacher.{k}"));
        network
    };
    pair.teachers.iter().enumerate().map(own).collect()
}

fn shape_of(pair: &Pair) -> MapShape {
    MapShape::new(3, pair.side, pair.side)
}

fn class_cost(k: usize) -> ClassCost {
    let mut stream = Stream::new(1, &format!("cost.{k}"));
    let values = (0..CLASSES * CLASSES).map(|_| stream.unit()).collect();
    ClassCost::new(CLASSES, values, &vec![Vec::new(); CLASSES])
}

fn check(pair: &Pair) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let case = Case::read(&folder.join(format!("gradients_{}.safetensors", pair.file)));
    let teachers = teachers_of(pair);
    let mut problems = Vec::new();
    for info in METHODS.iter().filter(|info| !WITHOUT_REFERENCE.contains(&info.spec.name)) {
        let name = info.spec.name;
        let (loss, found) = one_step(info, pair, &teachers);
        let want = f64::from(case.values(&format!("out.{name}.loss"))[0]);
        if (loss - want).abs() > 1e-4 * want.abs() {
            problems.push(format!("{name}: loss {loss}, expected {want}"));
        }
        let want = case.tensor(&format!("out.{name}"));
        assert_eq!(want.shape, [found.len(), FIGURES], "{name}: {:?}", found.keys());
        let far: Vec<_> = differences(&found, &want.values, pair.rounding)
            // Not a number is no agreement either.
            .filter(|(_, apart)| apart.is_nan() || *apart > 1.0)
            .collect();
        let at_a_corner = far.iter().all(|(_, apart)| apart * pair.rounding <= CORNER);
        if !at_a_corner || far.len() * RARE > found.len() {
            let shown = |(array, apart): &(&str, f64)| {
                format!("{name}: `{array}` is {apart:.1} times too far")
            };
            problems.extend(far.iter().map(shown));
        }
    }
    assert!(problems.is_empty(), "{}:\n{}", pair.file, problems.join("\n"));
}

/// A ReLU of a trained part whose input is 0 up to rounding may be on its other side in f32, which moves
/// the arrays before it by less than this share of their norms …
const CORNER: f64 = 1e-2;
/// … and is one such case in so many arrays at most. A wrong formula moves nearly all of a part.
const RARE: usize = 25;

/// How far the worst figure of each array is off, in tolerances.
///
/// A product with ±1 is of the size of the norm, and errors of f32 with it: they are held to a share of
/// the norm. Where a gradient is 0 in exact arithmetic (a bias in front of batch norm) rounding of all that
/// is summed up is left, 1e-6 of the part's whole gradient.
fn differences<'a>(
    found: &'a BTreeMap<String, [f64; FIGURES]>,
    want: &'a [f32],
    rounding: f64,
) -> impl Iterator<Item = (&'a str, f64)> {
    let part = |name: &str| name.split('/').next().unwrap().to_owned();
    let mut whole = BTreeMap::<String, f64>::new();
    for (name, want) in found.keys().zip(want.chunks_exact(FIGURES)) {
        *whole.entry(part(name)).or_default() += f64::from(want[0]).powi(2);
    }
    found.iter().zip(want.chunks_exact(FIGURES)).map(move |((name, got), want)| {
        let bound = rounding * f64::from(want[0]) + 1e-6 * whole[&part(name)].sqrt();
        let apart = got.iter().zip(want).map(|(got, want)| (got - f64::from(*want)).abs());
        let worst = |worst: f64, own: f64| if own > worst || own.is_nan() { own } else { worst };
        // A part without any gradient must have none.
        (name.as_str(), apart.fold(0.0, worst) / bound.max(1e-9))
    })
}

const RESNETS: Pair = Pair {
    file: "resnet",
    student: "resnet8x0.5",
    teachers: ["resnet8", "resnet14"],
    side: 16,
    images: "images",
    rounding: 1e-4,
};

#[test]
fn every_method_agrees_on_resnets() {
    check(&RESNETS);
}

/// Methods whose loss is not the mean of the losses of samples: several processes cannot share a batch.
const OF_WHOLE_BATCHES: [&str; 14] = [
    "aekd", "aekd-f", "amtml-kd", "ckd", "crd", "dist", "dpk", "ikd", "mmkd", "pkt", "reviewkd",
    "rkd", "semckd", "sp",
];

/// What is computed on so many threads, each with its part of the batch.
fn steps_of_ranks(
    info: &MethodInfo,
    teachers: &[Network],
    ranks: usize,
    precision: Precision,
) -> Vec<Option<Seen>> {
    let steps = Threads::run(ranks, Duration::from_secs(600), |rank| {
        // A rank that waits for another one must not hold up its work.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let step = || step_of_rank(info, &RESNETS, teachers, Group::new(rank), precision);
        Ok::<_, String>(pool.install(step))
    });
    steps.into_iter().map(|step| step.unwrap_or_else(|failed| panic!("{failed}"))).collect()
}

#[test]
fn ranks_with_parts_of_a_batch_get_the_gradients_of_the_whole_batch() {
    let teachers = teachers_of(&RESNETS);
    let mut problems = Vec::new();
    for info in METHODS.iter().filter(|info| !WITHOUT_REFERENCE.contains(&info.spec.name)) {
        let name = info.spec.name;
        let (loss, want) = one_step(info, &RESNETS, &teachers);
        let want: Vec<f32> = want.values().flatten().map(|&value| value as f32).collect();
        // Uneven parts; more ranks than samples.
        let sizes: &[usize] = if name == "ca-mkd" || name == "kd" { &[2, 3, 9] } else { &[3] };
        for &ranks in sizes {
            let steps = steps_of_ranks(info, &teachers, ranks, Precision::F32);
            assert!(steps.windows(2).all(|two| two[0] == two[1]), "{name}: ranks differ");
            let Some((own_loss, found)) = &steps[0] else {
                assert!(OF_WHOLE_BATCHES.contains(&name), "{name} is refused");
                continue;
            };
            if (own_loss - loss).abs() > 1e-5 * loss.abs() {
                problems.push(format!("{name}, {ranks} ranks: loss {own_loss}, not {loss}"));
            }
            let again = steps_of_ranks(info, &teachers, ranks, Precision::F32);
            assert_eq!(steps, again, "{name}: other bytes");
            let far = differences(found, &want, RESNETS.rounding);
            let far = far.filter(|(_, apart)| apart.is_nan() || *apart > 1.0);
            problems.extend(far.map(|(array, apart)| {
                format!("{name}, {ranks} ranks: `{array}` is {apart:.1} times too far")
            }));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// How far all figures together are off, as a share of those that are wanted.
fn apart(found: &Seen, want: &Seen) -> f64 {
    let pairs = found.1.values().flatten().zip(want.1.values().flatten());
    let (off, whole) = pairs.fold((0.0, 0.0), |(off, whole), (own, want)| {
        (off + (own - want).powi(2), whole + want.powi(2))
    });
    f64::sqrt(off / whole)
}

#[test]
fn in_bf16_ranks_are_no_farther_from_exact_gradients_than_one_process() {
    let teachers = teachers_of(&RESNETS);
    for name in ["kd", "aver"] {
        let info = METHODS.iter().find(|info| info.spec.name == name).unwrap();
        let alone = |precision| {
            step_of_rank(info, &RESNETS, &teachers, Group::default(), precision).unwrap()
        };
        let (exact, rounded) = (alone(Precision::F32), alone(Precision::Bf16));
        // Sums of another order are rounded to the neighbouring number of bfloat16 now and then, so that
        // the two differ by as much as each of them from the exact ones.
        let off = apart(&rounded, &exact);
        for ranks in [3, 9] {
            let steps = steps_of_ranks(info, &teachers, ranks, Precision::Bf16);
            assert!(steps.windows(2).all(|two| two[0] == two[1]), "{name}: ranks differ");
            let found = steps[0].as_ref().unwrap();
            let (own, loss) = (apart(found, &exact), (found.0 - exact.0).abs() / exact.0);
            assert!(own < 1.5 * off, "{name}, {ranks} ranks: {own:.4} off, one process {off:.4}");
            assert!(off < 0.1 && loss < 0.01, "{name}, {ranks} ranks: {off:.4}, loss {loss:.4}");
        }
    }
}

#[test]
fn every_method_agrees_on_wide_resnets() {
    check(&Pair {
        file: "wrn",
        student: "wrn_16_1",
        teachers: ["wrn_16_1", "wrn_16_2"],
        side: 16,
        images: "images",
        rounding: 1e-4,
    });
}

#[test]
fn every_method_agrees_on_vggs() {
    check(&Pair {
        file: "vgg",
        student: "vgg8",
        teachers: ["vgg8", "vgg8"],
        side: 16,
        images: "images.5",
        rounding: 1e-4,
    });
}

#[test]
fn every_method_agrees_on_mobilenet_with_a_teacher_of_another_family() {
    check(&Pair {
        file: "mobilenet",
        student: "MobileNetV2",
        teachers: ["MobileNetV2", "resnet8"],
        side: 32,
        images: "images",
        // Fifty batch norms of as few as 32 values each.
        rounding: 1e-3,
    });
}
