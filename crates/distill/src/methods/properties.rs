//! Properties that the methods' documentation promises.

use burn::Tensor;
use burn::tensor::{Device, Int, TensorData};

use super::{
    Aekd, Aver, CaMkd, CaMkdConfig, Ce, Ebkd, Kd, MaxProbability, MeanOfLogits,
    MeanOfProbabilities, Method, OutputConfig, RandomTeacher, Step,
};
use crate::weighting;
use crate::weighting::{
    Confidence, DrawPer, Entropy, OneAtRandom, Uniform, Weighting, agreement_weights,
    logit_gradients,
};

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
    ]
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec::<f32>().unwrap()
}

fn kd_term(method: &dyn Method, step: &Step) -> f32 {
    let loss = method.loss(step);
    values(loss.terms.iter().find(|t| t.name == "kd").unwrap().value.clone())[0]
}

fn rules() -> Vec<Box<dyn Weighting>> {
    vec![
        Box::new(Uniform),
        Box::new(Confidence),
        Box::new(Entropy),
        Box::new(weighting::MaxProbability),
        Box::new(OneAtRandom { draw: 5, per: DrawPer::Sample }),
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
            let rule = OneAtRandom { draw, per };
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
    // The weights of AEKD belong to the batch, so it is not here.
    let per_sample = methods().into_iter().filter(|m| !format!("{m:?}").contains("Aekd"));
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
