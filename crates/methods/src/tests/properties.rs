//! Properties that the methods' documentation promises.

use std::sync::Arc;

use burn::Tensor;
use burn::tensor::{Device, Int, TensorData};
use faculty_nets::{MapShape, Tap};

use crate::method::amtml_kd::learnt_log_weights;
use crate::method::ca_mkd::map_errors;
use crate::method::ckd::{
    all_pairs_difference, drawn_tuples, tuple_coefficients, tuple_difference,
};
use crate::method::pkt::likeness_divergence;
use crate::method::reviewkd::hierarchical_difference;
use crate::shared::features::unit_rows;
use crate::weighting;
use crate::weighting::{
    Confidence, DrawPer, Entropy, OneAtRandom, Uniform, Weighting, agreement_weights,
    logit_gradients,
};
use crate::{
    Aekd, At, AtConfig, Aver, CaMkd, CaMkdConfig, Ce, Ckd, CkdConfig, Dih, Dist, Dkd, Ebkd, Facts,
    InterWeight, Kd, MapScale, MapStep, MaxProbability, MeanOfLogits, MeanOfProbabilities, Method,
    MtBert, OutputConfig, OutputWeight, Pkt, RandomTeacher, Rkd, Shapes, SimKd, Sp, Stages, Step,
    TapShapes, Tuples,
};
use faculty_contract::losses::maps::MapValues;

const CLASSES: usize = 7;
const BATCH: usize = 5;

fn device() -> Device {
    Device::flex().autodiff()
}

/// Logits in ±4 that look random.
fn numbers(len: usize, seed: u64) -> Vec<f32> {
    (0..len as u64)
        .map(|i| {
            let mixed = (i + 1 + seed * 7919).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            ((mixed ^ (mixed >> 29)) >> 40) as f32 / (1 << 21) as f32 - 4.0
        })
        .collect()
}

fn teachers(count: usize, seed: u64) -> Tensor<3> {
    let data = TensorData::new(numbers(count * BATCH * CLASSES, seed), [count, BATCH, CLASSES]);
    Tensor::from_data(data, &device())
}

fn student(values: Vec<f32>) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values, [BATCH, CLASSES]), &device()).require_grad()
}

fn labels() -> Tensor<1, Int> {
    Tensor::from_data(TensorData::new(vec![0, 3, 6, 1, 3], [BATCH]), &device())
}

fn step(student: Tensor<2>, teachers: Tensor<3>) -> Step {
    Step::of_logits(labels(), student, teachers)
}

fn methods() -> Vec<Box<dyn Method>> {
    vec![
        Box::new(Kd::default()),
        Box::new(Aver::default()),
        Box::new(CaMkd::new(CaMkdConfig { intermediate: false, ..CaMkdConfig::default() })),
        Box::new(Ebkd::default()),
        Box::new(MaxProbability::default()),
        Box::new(RandomTeacher::default()),
        Box::new(MeanOfProbabilities::default()),
        Box::new(MeanOfLogits::default()),
        Box::new(Aekd::default()),
        Box::new(Dih::default()),
        Box::new(Dkd::default()),
        Box::new(Dist::default()),
    ]
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec::<f32>().unwrap()
}

/// Everything but the task term.
fn kd_term(method: &dyn Method, step: &Step) -> f32 {
    let loss = method.loss(step);
    let terms = loss.terms.iter().filter(|term| term.name != "task");
    terms.map(|term| values(term.value.clone())[0] * term.weight as f32).sum()
}

fn rules() -> Vec<Box<dyn Weighting>> {
    vec![
        Box::new(Uniform),
        Box::new(Confidence),
        Box::new(Entropy),
        Box::new(weighting::MaxProbability),
        Box::new(OneAtRandom { step_seed: 5, per: DrawPer::Sample }),
    ]
}

#[test]
fn weights_sum_to_one_for_every_sample() {
    for rule in rules() {
        for count in 1..=5 {
            let weights = rule.weights(&teachers(count, 3), &labels());
            assert_eq!(weights.dims(), [count, BATCH]);
            for sum in values(weights.sum_dim(0)) {
                assert!((sum - 1.0).abs() < 1e-6, "{rule:?} with {count} teachers: {sum}");
            }
        }
    }
}

#[test]
fn permuting_teachers_permutes_the_weights() {
    // A drawn teacher is the draw's, whatever stands in its place.
    for rule in rules().into_iter().filter(|rule| !format!("{rule:?}").contains("Random")) {
        let all = teachers(3, 4);
        let part = |k: usize| all.clone().slice([k..k + 1, 0..BATCH, 0..CLASSES]);
        let permuted = Tensor::cat(vec![part(2), part(0), part(1)], 0);
        let weights = values(rule.weights(&all, &labels()));
        let of_permuted = values(rule.weights(&permuted, &labels()));
        for (row, from) in [2, 0, 1].into_iter().enumerate() {
            let got = &of_permuted[row * BATCH..(row + 1) * BATCH];
            for (got, want) in got.iter().zip(&weights[from * BATCH..]) {
                assert!((got - want).abs() < 1e-6, "{rule:?}: {got} and {want}");
            }
        }
    }
}

#[test]
fn weights_stay_finite_and_sum_to_one_at_huge_logits() {
    for rule in rules() {
        let weights = rule.weights(&(teachers(3, 3) * 2500.0), &labels());
        for sum in values(weights.sum_dim(0)) {
            assert!((sum - 1.0).abs() < 1e-6, "{rule:?}: {sum}");
        }
    }
}

#[test]
fn a_sure_teacher_outweighs_an_unsure_one() {
    let sure = teachers(1, 3) * 3.0;
    let all = Tensor::cat(vec![sure.clone(), sure / 10.0], 0);
    for rule in [&Entropy as &dyn Weighting, &weighting::MaxProbability] {
        let weights = values(rule.weights(&all, &labels()));
        assert!(weights[..BATCH].iter().all(|&w| w > 0.5), "{rule:?}: {weights:?}");
    }
}

#[test]
fn draws_fall_on_every_teacher_and_are_the_same_again() {
    let all = teachers(3, 3);
    let mut drawn = [0_u32; 3];
    for draw in 0..300 {
        for per in [DrawPer::Batch, DrawPer::Sample] {
            let rule = OneAtRandom { step_seed: draw, per };
            let weights = values(rule.weights(&all, &labels()));
            assert_eq!(weights, values(rule.weights(&all, &labels())));
            assert!(weights.iter().all(|&w| w == 0.0 || w == 1.0));
            let first_row = &weights[..BATCH];
            assert!(per == DrawPer::Sample || first_row.iter().all(|w| *w == first_row[0]));
            for (drawn, row) in drawn.iter_mut().zip(weights.chunks(BATCH)) {
                *drawn += u32::from(row[0] == 1.0);
            }
        }
    }
    assert!(drawn.iter().all(|&n| n > 150), "{drawn:?}");
}

#[test]
fn mean_of_probabilities_has_the_gradient_of_aver() {
    let gradient = |method: &dyn Method| {
        let step = step(student(numbers(BATCH * CLASSES, 15)), teachers(3, 16));
        let loss = method.loss(&step);
        values(step.student_logits.grad(&loss.terms[1].value.clone().backward()).unwrap())
    };
    let own = gradient(&MeanOfProbabilities::default());
    for (got, want) in own.iter().zip(gradient(&Aver::default())) {
        assert!((got - want).abs() < 1e-6, "{got} and {want}");
    }
}

#[test]
fn aekd_pulls_where_the_teachers_agree() {
    let (own, all) = (student(numbers(BATCH * CLASSES, 17)), teachers(4, 18));
    let pulls = logit_gradients(&all, &own, 4.0);
    let length = |weights: &[f64]| -> f64 {
        let along = |c: usize| pulls.iter().zip(weights).map(|(v, w)| v[c] * w).sum::<f64>();
        (0..CLASSES).map(|c| along(c).powi(2)).sum()
    };
    let weights = agreement_weights(&pulls, 0.6);
    assert!(length(&weights) <= length(&[0.25; 4]));
    let loss = Aekd::new(OutputConfig::default(), 0.6).loss(&step(own, all));
    for sum in values(loss.teacher_weights[0].weights.clone().sum_dim(0)) {
        assert!((sum - 1.0).abs() < 1e-6);
    }
}

#[test]
fn a_teacher_that_is_right_outweighs_one_that_is_wrong() {
    let mut logits = vec![0.0; 2 * BATCH * CLASSES];
    for (b, label) in [0, 3, 6, 1, 3].into_iter().enumerate() {
        logits[b * CLASSES + label] = 5.0;
        logits[(BATCH + b) * CLASSES + (label + 1) % CLASSES] = 5.0;
    }
    let data = TensorData::new(logits, [2, BATCH, CLASSES]);
    let weights = values(Confidence.weights(&Tensor::from_data(data, &device()), &labels()));
    assert!(weights[..BATCH].iter().all(|&w| w > 0.95), "{weights:?}");
}

#[test]
fn a_teacher_sure_of_the_wrong_class_misleads_entropy_but_not_confidence() {
    // Right with a doubt, right with more doubt, and sure of another class.
    let mut logits = vec![0.0; 3 * BATCH * CLASSES];
    for (b, label) in [0, 3, 6, 1, 3].into_iter().enumerate() {
        for (k, (class, value)) in
            [(label, 4.0), (label, 3.0), ((label + 1) % CLASSES, 12.0)].into_iter().enumerate()
        {
            logits[(k * BATCH + b) * CLASSES + class] = value;
        }
    }
    let data = TensorData::new(logits, [3, BATCH, CLASSES]);
    let all = Tensor::from_data(data, &device());
    let of = |rule: &dyn Weighting| values(rule.weights(&all, &labels()));
    let (entropy, confidence) = (of(&Entropy), of(&Confidence));
    for b in 0..BATCH {
        let row = |weights: &[f32]| [0, 1, 2].map(|k| weights[k * BATCH + b]);
        let [a, c, wrong] = row(&entropy);
        assert!(wrong > a && wrong > c, "entropy: {a} {c} {wrong}");
        let [a, c, wrong] = row(&confidence);
        assert!(wrong < 0.01 && a > 0.3 && c > 0.3, "confidence: {a} {c} {wrong}");
    }
}

#[test]
fn the_kd_term_is_zero_when_the_student_agrees_and_positive_otherwise() {
    for method in methods() {
        let same = numbers(BATCH * CLASSES, 5);
        let data = TensorData::new(same.clone(), [1, BATCH, CLASSES]);
        let teacher: Tensor<3> = Tensor::from_data(data, &device());
        let agreeing = kd_term(method.as_ref(), &step(student(same), teacher.clone()));
        assert!(agreeing.abs() < 1e-5, "{method:?}: {agreeing}");
        let other = student(numbers(BATCH * CLASSES, 6));
        assert!(kd_term(method.as_ref(), &step(other, teacher)) > 0.1, "{method:?}");
    }
}

#[test]
fn a_constant_added_to_the_logits_changes_nothing() {
    for method in methods() {
        let own = numbers(BATCH * CLASSES, 7);
        let shifted = own.iter().map(|v| v + 3.0).collect();
        let a = kd_term(method.as_ref(), &step(student(own), teachers(1, 8)));
        let b = kd_term(method.as_ref(), &step(student(shifted), teachers(1, 8) + 5.0));
        assert!((a - b).abs() < 1e-4 * a.abs(), "{method:?}: {a} and {b}");
    }
}

#[test]
fn losses_and_gradients_stay_finite_at_huge_logits() {
    for method in methods() {
        let own = numbers(BATCH * CLASSES, 9).iter().map(|v| v * 2500.0).collect();
        let step = step(student(own), teachers(1, 10) * 2500.0);
        let loss = method.loss(&step);
        let total = loss.terms.iter().map(|t| t.value.clone()).reduce(|a, b| a + b).unwrap();
        assert!(values(total.clone()).iter().all(|v| v.is_finite()), "{method:?}");
        let gradients = total.backward();
        let gradient = values(step.student_logits.grad(&gradients).unwrap());
        assert!(gradient.iter().all(|v| v.is_finite()), "{method:?}");
    }
}

#[test]
fn teachers_get_no_gradient() {
    for method in methods() {
        let teachers = teachers(1, 11).require_grad();
        let step = step(student(numbers(BATCH * CLASSES, 12)), teachers.clone().detach());
        let loss = method.loss(&step);
        let total = loss.terms.iter().map(|t| t.value.clone()).reduce(|a, b| a + b).unwrap();
        assert!(teachers.grad(&total.backward()).is_none(), "{method:?}");
    }
}

#[test]
fn two_half_batches_average_to_the_whole() {
    let own = numbers(4 * CLASSES, 13);
    let teacher = numbers(3 * 4 * CLASSES, 14);
    let labels = [2, 0, 5, 6];
    let part = |range: std::ops::Range<usize>| {
        let n = range.len();
        let rows = |all: &[f32], from: usize| {
            all[(from + range.start) * CLASSES..(from + range.end) * CLASSES].to_vec()
        };
        let teachers: Vec<f32> = (0..3).flat_map(|k| rows(&teacher, 4 * k)).collect();
        Step::of_logits(
            Tensor::from_data(TensorData::new(labels[range.clone()].to_vec(), [n]), &device()),
            Tensor::from_data(TensorData::new(rows(&own, 0), [n, CLASSES]), &device()),
            Tensor::from_data(TensorData::new(teachers, [3, n, CLASSES]), &device()),
        )
    };
    // The weights of AEKD and the correlations of DIST belong to the batch.
    let per_sample = methods().into_iter().filter(|method| {
        let name = format!("{method:?}");
        !["Aekd", "Dist"].iter().any(|of_batch| name.starts_with(of_batch))
    });
    // KD is of one teacher.
    let per_sample = per_sample.filter(|m| !format!("{m:?}").starts_with("Kd"));
    for method in per_sample.chain([Box::new(Ce) as Box<dyn Method>]) {
        let total = |step: &Step| -> f32 {
            method.loss(step).terms.iter().map(|t| values(t.value.clone())[0]).sum()
        };
        let whole = total(&part(0..4));
        let halves = (total(&part(0..2)) + total(&part(2..4))) / 2.0;
        assert!((whole - halves).abs() < 1e-5 * whole.abs(), "{method:?}: {whole} and {halves}");
    }
}

/// A step with maps of a student and of two teachers.
fn feature_step(student_maps: Vec<Tensor<4>>, teacher_maps: Vec<Vec<Tensor<4>>>) -> Step {
    let count = teacher_maps.len();
    let own = step(student(numbers(BATCH * CLASSES, 19)), teachers(count, 20));
    Step { student_maps, teacher_maps, ..own }
}

fn map(channels: usize, side: usize, seed: u64, size: f32) -> Tensor<4> {
    let numbers = numbers(BATCH * channels * side * side, seed);
    let data = numbers.iter().map(|v| v * size).collect::<Vec<f32>>();
    Tensor::from_data(TensorData::new(data, [BATCH, channels, side, side]), &device())
}

/// Methods of maps without trained parts, all on one map (pooled vectors are maps of side 1).
fn feature_methods() -> Vec<(Box<dyn Method>, usize)> {
    let stages = Stages { first: 1, count: Some(1) };
    vec![
        (Box::new(At::new(AtConfig { stages, ..AtConfig::default() })), 4),
        (Box::new(Sp::default()), 4),
        (Box::new(Rkd::default()), 1),
        (Box::new(Pkt::default()), 1),
    ]
}

#[test]
fn feature_terms_are_zero_between_equal_maps_and_positive_otherwise() {
    for (method, side) in feature_methods() {
        let own = map(6, side, 21, 1.0);
        let equal = feature_step(vec![own.clone()], vec![vec![own.clone()], vec![own.clone()]]);
        let agreeing = kd_term(method.as_ref(), &equal);
        assert!(agreeing.abs() < 1e-2, "{method:?}: {agreeing}");
        let other = feature_step(vec![own], vec![vec![map(6, side, 22, 1.0)]]);
        assert!(kd_term(method.as_ref(), &other) > 0.05, "{method:?}");
    }
}

#[test]
fn feature_terms_take_maps_of_other_channels_and_count_teachers_alike() {
    for (method, side) in feature_methods() {
        let own = map(6, side, 23, 1.0);
        let (a, b) = (vec![map(9, side, 24, 1.0)], vec![map(3, side.div_ceil(2), 25, 1.0)]);
        let of = |teachers: Vec<Vec<Tensor<4>>>| {
            kd_term(method.as_ref(), &feature_step(vec![own.clone()], teachers))
        };
        let (both, first, second) = (of(vec![a.clone(), b.clone()]), of(vec![a]), of(vec![b]));
        let mean = (first + second) / 2.0;
        assert!((both - mean).abs() < 1e-4 * mean, "{method:?}: {both} and {mean}");
    }
}

#[test]
fn feature_terms_stay_finite_at_huge_zero_and_equal_maps() {
    for (method, side) in feature_methods() {
        let equal_samples = map(6, side, 27, 0.0) + 1.0;
        for own in [map(6, side, 26, 2500.0), map(6, side, 26, 0.0), equal_samples] {
            let own = own.require_grad();
            let step = feature_step(vec![own.clone()], vec![vec![map(6, side, 28, 2500.0)]]);
            let loss = method.loss(&step);
            let total = loss.terms.iter().map(|t| t.value.clone()).reduce(|a, b| a + b).unwrap();
            assert!(values(total.clone()).iter().all(|v| v.is_finite()), "{method:?}");
            let gradient = values(own.grad(&total.backward()).unwrap());
            assert!(gradient.iter().all(|v| v.is_finite()), "{method:?}");
        }
    }
}

#[test]
fn rows_of_any_size_get_length_one_and_a_finite_gradient() {
    for size in [1e-30, 1e-12, 1.0, 1e12, 1e30] {
        let own = (student(numbers(BATCH * CLASSES, 51)) * size).detach().require_grad();
        let unit = unit_rows(own.clone());
        for length in values(unit.clone().square().sum_dim(1)) {
            assert!((length - 1.0).abs() < 1e-5, "{size}: {length}");
        }
        let ahead = student(numbers(BATCH * CLASSES, 52)).detach();
        let gradient = values(own.grad(&(unit * ahead).sum().backward()).unwrap());
        // A row that grows by a factor keeps its direction: the gradient is at right angles to it.
        for (g, row) in gradient.chunks(CLASSES).zip(values(own.clone()).chunks(CLASSES)) {
            let along: f32 = g.iter().zip(row).map(|(g, x)| g * x).sum();
            assert!(along.abs() < 1e-4 && g.iter().all(|g| g.is_finite()), "{size}: {along}");
        }
    }
    let none = (student(numbers(BATCH * CLASSES, 51)) * 0.0).detach().require_grad();
    let unit = unit_rows(none.clone());
    assert!(values(unit.clone()).iter().all(|&x| x == 0.0));
    let gradient = values(none.grad(&unit.sum().backward()).unwrap());
    assert!(gradient.iter().all(|g| g.is_finite()), "{gradient:?}");
}

#[test]
fn dist_leaves_out_the_classes_correlation_of_two_classes_and_says_so() {
    let of = |classes: usize| {
        let logits = |seed| TensorData::new(numbers(BATCH * classes, seed), [BATCH, classes]);
        let labels = Tensor::from_data(TensorData::new(vec![0, 1, 1, 0, 1], [BATCH]), &device());
        let own: Tensor<2> = Tensor::from_data(logits(53), &device());
        let teacher: Tensor<2> = Tensor::from_data(logits(54), &device());
        let step = Step::of_logits(labels, own, teacher.unsqueeze::<3>());
        let loss = Dist::default().loss(&step);
        let mut method = Dist::default();
        let (student, teachers) = (TapShapes::new(), Vec::new());
        method.prepare(Facts::Shapes(&Shapes {
            classes,
            batch_size: BATCH,
            samples: 0,
            student,
            teachers,
        }));
        let names: Vec<&str> = loss.terms.iter().map(|term| term.name).collect();
        (names, method.objective(1))
    };
    let (names, objective) = of(2);
    assert_eq!(names, ["task", "intra"]);
    assert!(objective.contains("without ρ_classes"), "{objective}");
    let (names, objective) = of(3);
    assert_eq!(names, ["task", "inter", "intra"]);
    assert!(objective.contains("(1 - ρ_classes)"), "{objective}");
}

#[test]
fn pkt_is_its_formula() {
    // Vectors of two samples: cosines 1 and 0 for the teacher, 1 and 0.6 for the student.
    let of = |data: [f32; 4]| Tensor::from_data(TensorData::new(data.to_vec(), [2, 2]), &device());
    let got = likeness_divergence(of([1.0, 0.0, 0.6, 0.8]), of([2.0, 0.0, 0.0, 3.0]));
    let (teacher, student) = ([1.0 / 1.5, 0.5 / 1.5], [1.0 / 1.8, 0.8 / 1.8]);
    let term = |i: usize| teacher[i] * f64::ln(teacher[i] / student[i]);
    let want = (term(0) + term(1)) / 2.0;
    assert!((f64::from(values(got.mean())[0]) - want).abs() < 1e-5, "{want}");
}

#[test]
fn ablations_of_ca_mkd_change_the_weights_alone() {
    let uniform = CaMkdConfig {
        intermediate: false,
        weights: OutputWeight::Uniform,
        ..CaMkdConfig::default()
    };
    let own = || step(student(numbers(BATCH * CLASSES, 29)), teachers(3, 30));
    let (got, want) = (kd_term(&CaMkd::new(uniform), &own()), kd_term(&Aver::default(), &own()));
    assert!((got - want).abs() < 1e-5, "{got} and {want}");

    let maps = [31, 32, 33, 34].map(|seed| values(map(6, 2, seed, 1.0)));
    let shape = MapShape::new(6, 2, 2);
    let logits = values(teachers(2, 30));
    let of_weight = |inter_weight| {
        let method = CaMkd::new(CaMkdConfig { inter_weight, ..CaMkdConfig::default() });
        assert!(!method.needs(2).teacher_classifiers);
        let terms = method.map_terms(
            &MapStep {
                epoch: 2,
                labels: &[0, 3, 6, 1, 3],
                mixed: None,
                projected: maps[..2].iter().map(|values| MapValues { values, shape }).collect(),
                teachers: maps[2..].iter().map(|values| vec![values.as_slice()]).collect(),
                teacher_logits: logits.chunks(BATCH * CLASSES).collect(),
                classifiers: &[],
            },
            &mut Vec::new(),
        );
        terms[0].teacher_weights.clone()
    };
    assert_eq!(of_weight(InterWeight::Uniform), [0.5; 2 * BATCH]);
    let at_output = Confidence.weights(&teachers(2, 30), &labels());
    let inter: Vec<f32> =
        of_weight(InterWeight::TeacherConfidence).iter().map(|&w| w as f32).collect();
    assert_eq!(values(at_output), inter);
}

#[test]
fn second_moments_make_ca_mkds_maps_of_any_scale_alike() {
    let shape = MapShape::new(6, 2, 2);
    let logits = values(teachers(2, 30));
    let of = |map_scale, scales: [f32; 2]| {
        let maps: Vec<Vec<f32>> = [31, 32, 33, 34]
            .into_iter()
            .enumerate()
            .map(|(i, seed)| values(map(6, 2, seed, 1.0) * scales[i % 2]))
            .collect();
        let inter_weight = InterWeight::TeacherConfidence;
        let config = CaMkdConfig { inter_weight, map_scale, ..CaMkdConfig::default() };
        let terms = CaMkd::new(config).map_terms(
            &MapStep {
                epoch: 2,
                labels: &[0, 3, 6, 1, 3],
                mixed: None,
                projected: maps[..2].iter().map(|values| MapValues { values, shape }).collect(),
                teachers: maps[2..].iter().map(|values| vec![values.as_slice()]).collect(),
                teacher_logits: logits.chunks(BATCH * CLASSES).collect(),
                classifiers: &[],
            },
            &mut Vec::new(),
        );
        let term = terms.into_iter().next().unwrap();
        (term.value, term.gradients, term.teacher_weights)
    };
    let (value, gradients, weights) = of(MapScale::SecondMoment, [1.0, 1.0]);
    let (scaled, scaled_gradients, scaled_weights) = of(MapScale::SecondMoment, [4.0, 0.25]);
    assert_eq!(weights, scaled_weights);
    assert!((value - scaled).abs() < 1e-6 * value, "{value} and {scaled}");
    // By the map itself: a map four times as large has a quarter of the gradient.
    for (index, factor) in [4.0, 0.25].into_iter().enumerate() {
        for (one, other) in gradients[index].iter().zip(&scaled_gradients[index]) {
            assert!((one - factor * other).abs() <= 1e-5 * one.abs(), "{one} and {other}");
        }
    }
    let raw = |scales| of(MapScale::Raw, scales).0;
    assert!(raw([4.0, 4.0]) > 15.9 * raw([1.0, 1.0]));
    // On the tape, as off it; a map of zeros is 1 away.
    let of_zeros =
        CaMkd::new(CaMkdConfig { map_scale: MapScale::SecondMoment, ..CaMkdConfig::default() });
    let teacher = [map(6, 2, 33, 3.0), map(6, 2, 34, 0.1)];
    let zeros = [map(6, 2, 31, 0.0), map(6, 2, 32, 0.0)];
    let errors = of_zeros.in_units(map_errors(&zeros, &teacher), &teacher);
    for mean in values(errors.mean_dim(1)) {
        assert!((mean - 1.0).abs() < 1e-5, "{mean}");
    }
}

#[test]
fn drawn_tuples_hold_different_samples_and_use_up_the_batch_before_any_comes_again() {
    for size in [2, 3] {
        for (batch, number) in [3, 4, 9, 10].into_iter().flat_map(|b| (0..20).map(move |n| (b, n)))
        {
            let tuples = drawn_tuples(number, batch, size, 20);
            assert_eq!(tuples.len(), 20);
            for turn in tuples.chunks(batch / size) {
                let mut all: Vec<usize> = turn.iter().flat_map(|t| t[..size].to_vec()).collect();
                all.sort_unstable();
                all.dedup();
                assert_eq!(all.len(), turn.len() * size, "{turn:?}");
                assert!(all.iter().all(|&own| own < batch), "{turn:?}");
            }
        }
    }
    // The released step: 64 tuples of fresh samples.
    for (batch, size) in [(128, 2), (192, 3)] {
        let tuples = drawn_tuples(7, batch, size, 64);
        let mut all: Vec<usize> = tuples.iter().flat_map(|t| t[..size].to_vec()).collect();
        assert!(!all.is_sorted());
        all.sort_unstable();
        assert!(all.into_iter().eq(0..batch));
    }
    assert_ne!(drawn_tuples(1, 9, 3, 3), drawn_tuples(2, 9, 3, 3));
    // Fewer samples than a tuple: a last batch.
    assert_eq!(drawn_tuples(1, 1, 3, 1), [[0, 0, 0]]);
}

#[test]
fn all_pairs_are_what_pairs_are_on_average() {
    let r: Tensor<2> = student(numbers(BATCH * CLASSES, 35));
    let tuples: Vec<[usize; 3]> = (0..BATCH * BATCH).map(|i| [i / BATCH, i % BATCH, 0]).collect();
    let matrix = tuple_coefficients(&tuples, BATCH, false);
    let matrix = Tensor::from_data(TensorData::new(matrix, [tuples.len(), BATCH]), &device());
    let by_tuples = values(tuple_difference(&matrix, r.clone()))[0];
    let closed = values(all_pairs_difference(r))[0];
    assert!((by_tuples - closed).abs() < 1e-4 * closed, "{by_tuples} and {closed}");
}

#[test]
fn the_hierarchical_difference_of_equal_maps_is_zero() {
    let map = map(3, 8, 36, 1.0);
    assert_eq!(values(hierarchical_difference(map.clone(), map.clone())), [0.0; BATCH]);
    // A difference that is the same everywhere is the same at every size.
    let got = values(hierarchical_difference(map.clone(), map + 0.5))[0];
    assert!((got - 0.25).abs() < 1e-5, "{got}");
}

#[test]
fn learnt_weights_sum_to_one_and_ckd_is_finite() {
    let of = |len: usize, seed: u64| numbers(len, seed).iter().map(|v| v * 100.0).collect();
    let tensor2 = |values: Vec<f32>, shape: [usize; 2]| -> Tensor<2> {
        Tensor::from_data(TensorData::new(values, shape), &device())
    };
    let theta = tensor2(of(3 * 4, 37), [3, 4]);
    let score = Tensor::from_data(TensorData::new(numbers(4, 38), [4]), &device());
    let weights = learnt_log_weights(theta, score, tensor2(of(BATCH * 4, 39), [BATCH, 4])).exp();
    for sum in values(weights.sum_dim(0)) {
        assert!((sum - 1.0).abs() < 1e-5, "{sum}");
    }
    for tuples in [Tuples::Pairs, Tuples::Groups, Tuples::AllPairs] {
        let method = Ckd::new(CkdConfig { tuples, ..CkdConfig::default() });
        let same = numbers(BATCH * CLASSES, 40);
        let data = TensorData::new(same.clone(), [1, BATCH, CLASSES]);
        let teacher: Tensor<3> = Tensor::from_data(data, &device());
        let of = |own: Vec<f32>| {
            let memory = vec![Arc::new(vec![0.0; CLASSES]), Arc::new(vec![0.0])];
            kd_term(&method, &Step { memory, ..step(student(own), teacher.clone()) })
        };
        let agreeing = of(same.clone());
        assert!(agreeing.abs() < 1e-6, "{agreeing}");
        assert!(of(same.iter().map(|v| v * 2500.0).collect()).is_finite());
    }
}

#[test]
fn simkd_is_the_difference_of_the_maps_alone() {
    let method = SimKd::default();
    let own = map(6, 4, 41, 1.0);
    let of = |own: &Tensor<4>, other: &Tensor<4>| {
        let loss = method.loss(&feature_step(vec![own.clone()], vec![vec![other.clone()]]));
        assert_eq!(loss.terms.len(), 1);
        values(loss.terms[0].value.clone())[0]
    };
    assert_eq!(of(&own, &own), 0.0);
    assert!((of(&own, &(own.clone() + 0.5)) - 0.25).abs() < 1e-5);
    // A larger map of the teacher is pooled to the student's: each value four times.
    let larger = own.clone().reshape([BATCH, 6, 4, 1, 4, 1]).repeat(&[1, 1, 1, 2, 1, 2]);
    assert!(of(&own, &larger.reshape([BATCH, 6, 8, 8])) < 1e-10);
    // Neither labels nor outputs take part.
    let step = feature_step(vec![own.clone().require_grad()], vec![vec![map(6, 4, 42, 1.0)]]);
    let gradients = method.loss(&step).terms[0].value.clone().backward();
    assert!(step.student_logits.grad(&gradients).is_none());
    assert!(step.student_maps[0].grad(&gradients).is_some());
}

#[test]
fn mt_berts_layers_follow_the_teachers_last_ones() {
    let taps = |count: usize, channels: usize| -> TapShapes {
        (0..=count).map(|index| (Tap::Feature(index), MapShape::new(channels, 1, 1))).collect()
    };
    let shapes = |student: usize, teachers: &[usize]| Shapes {
        classes: CLASSES,
        batch_size: BATCH,
        samples: 0,
        student: taps(student, 3),
        teachers: teachers.iter().map(|&count| taps(count, 4)).collect(),
    };
    for (student, teachers, want) in [
        (2, &[4, 4][..], &[(1, 2), (2, 4)][..]),
        (2, &[3, 4], &[(1, 2), (2, 3)]),
        (4, &[2], &[(1, 1), (2, 1), (3, 2), (4, 2)]),
        (3, &[4], &[(1, 2), (2, 3), (3, 4)]),
    ] {
        let mut method = MtBert::default();
        let shapes = shapes(student, teachers);
        method.prepare(Facts::Maps(&shapes));
        let pairs: Vec<String> = want.iter().map(|(s, t)| format!("f{s}←f{t}")).collect();
        let objective = method.objective(teachers.len());
        assert!(objective.contains(&pairs.join(", ")), "{objective}, {pairs:?}");
        assert_eq!(method.parts(&shapes).parameters.len(), student * teachers.len());
        // The learner says it again, with those of the maps that were asked for.
        let asked = method.needs(1).teacher_taps;
        let mut fewer = shapes.clone();
        fewer.teachers.iter_mut().for_each(|taps| taps.retain(|tap, _| asked.contains(tap)));
        method.prepare(Facts::Maps(&fewer));
        assert_eq!(method.objective(teachers.len()), objective);
        assert_eq!(method.parts(&fewer).parameters.len(), student * teachers.len());
    }

    // One layer, a matrix of ones: W v is the sum of the teacher's values.
    let mut method = MtBert::default();
    method.prepare(Facts::Maps(&shapes(1, &[1])));
    let (own, teacher) = (map(3, 1, 40, 1.0), map(4, 2, 41, 1.0));
    let ones = Tensor::<1>::ones([3 * 4], &device());
    let own_step = feature_step(vec![own.clone()], vec![vec![teacher.clone()]]);
    let step = Step { parameters: vec![ones], ..own_step };
    let (own, teacher) = (values(own), values(teacher));
    let mut want = 0.0;
    for sample in 0..BATCH {
        let sum: f32 = teacher[sample * 16..(sample + 1) * 16].iter().sum::<f32>() / 4.0;
        want += own[sample * 3..(sample + 1) * 3].iter().map(|v| (v - sum).powi(2)).sum::<f32>();
    }
    let loss = method.loss(&step);
    let term = loss.terms.iter().find(|term| term.name == "layers").unwrap();
    let got = values(term.value.clone())[0];
    want /= (BATCH * 3) as f32;
    assert!((got - want).abs() < 1e-4 * want, "{got} instead of {want}");
}
