//! Methods that weigh teachers by what was measured beforehand: numbers worked out by hand, and
//! the properties that their documentation promises.

use burn::Tensor;
use burn::tensor::{Device, Int, TensorData};

use crate::{
    BestTeacher, CaMkd, CaMkdConfig, CalibratedConfidence, CalibratedConfidenceConfig,
    ClassReliability, ClassReliabilityConfig, Method, Step,
};
use faculty_contract::{Facts, TeacherProfile};

fn device() -> Device {
    Device::flex().autodiff()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec::<f32>().unwrap()
}

fn tensor<const D: usize>(values: &[f32], shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), &device())
}

fn profile(
    name: &str,
    top1: f64,
    temperature: f64,
    class: &[f64],
    samples: &[usize],
) -> TeacherProfile {
    TeacherProfile {
        name: name.to_owned(),
        top1,
        nll: 1.0,
        calibrated_nll: 1.0,
        temperature,
        class_accuracy: class.to_vec(),
        class_samples: samples.to_vec(),
    }
}

/// Three teachers, two classes.
fn profiles() -> Vec<TeacherProfile> {
    vec![
        profile("a", 60.0, 1.0, &[90.0, 20.0], &[5, 5]),
        profile("b", 80.0, 2.0, &[60.0, 100.0], &[5, 5]),
        profile("c", 80.0, 4.0, &[30.0, 40.0], &[5, 5]),
    ]
}

const LOGITS: [f32; 12] = [2.0, 0.0, 0.0, 2.0, 1.0, -1.0, -3.0, 3.0, 0.5, 4.0, 1.5, -2.0];

/// Two samples of the two classes.
fn step(teachers: &[f32]) -> Step {
    let labels: Tensor<1, Int> = Tensor::from_data(TensorData::new(vec![0_i32, 1], [2]), &device());
    let student = tensor(&[0.3, -0.2, 0.1, 0.8], [2, 2]).require_grad();
    Step::of_logits(labels, student, tensor(teachers, [teachers.len() / 4, 2, 2]))
}

fn prepared(mut method: impl Method + 'static, teachers: &[TeacherProfile]) -> Box<dyn Method> {
    method.prepare(Facts::Profiles(teachers));
    Box::new(method)
}

fn all(teachers: &[TeacherProfile]) -> [Box<dyn Method>; 3] {
    [
        prepared(BestTeacher::default(), teachers),
        prepared(CalibratedConfidence::default(), teachers),
        prepared(ClassReliability::default(), teachers),
    ]
}

fn weights(method: &dyn Method, step: &Step) -> Vec<f32> {
    values(method.loss(step).teacher_weights[0].weights.clone())
}

/// The `kd` term by its definition in f64: two classes, τ = 4.
fn kd_by_hand(targets: &[f32], weights: &[f32], step: &Step) -> f64 {
    let student = values(step.student_logits.clone());
    let soft = |z: &[f32]| {
        let (a, b) = ((f64::from(z[0]) / 4.0).exp(), (f64::from(z[1]) / 4.0).exp());
        [a / (a + b), b / (a + b)]
    };
    let mut sum = 0.0;
    for (row, w) in weights.iter().enumerate() {
        let (k, b) = (row / 2, row % 2);
        let p = soft(&targets[4 * k + 2 * b..]);
        let q = soft(&student[2 * b..]);
        let kl: f64 = p.iter().zip(q).map(|(p, q)| p * (p / q).ln()).sum();
        sum += f64::from(*w) * 16.0 * kl;
    }
    sum / 2.0
}

fn check(method: &dyn Method, targets: &[f32], expected: &[f64]) {
    let step = step(&LOGITS);
    let got = weights(method, &step);
    for (got, want) in got.iter().zip(expected) {
        assert!((f64::from(*got) - want).abs() < 1e-6, "{method:?}: {got} instead of {want}");
    }
    let loss = method.loss(&step);
    let term = values(loss.terms[1].value.clone())[0];
    let want = kd_by_hand(targets, &got, &step);
    assert!((f64::from(term) - want).abs() < 1e-5, "{method:?}: {term} instead of {want}");
}

#[test]
fn the_best_teacher_is_the_first_of_the_most_accurate() {
    let [best, ..] = all(&profiles());
    check(best.as_ref(), &LOGITS, &[0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
    assert!(best.objective(3).contains("`b`"), "{}", best.objective(3));
    // What the others say does not matter, whatever it is.
    let mut other = LOGITS;
    other[..4].fill(f32::NAN);
    let loss = values(best.loss(&step(&other)).terms[1].value.clone());
    assert_eq!(loss, values(best.loss(&step(&LOGITS)).terms[1].value.clone()));
}

#[test]
fn calibrated_confidence_compares_divided_logits() {
    let temperatures = [1.0, 2.0, 4.0];
    let divided: Vec<f32> =
        LOGITS.iter().enumerate().map(|(i, z)| z / temperatures[i / 4]).collect();
    // Two classes: the cross-entropy is ln(1 + exp(other - own)).
    let cost = |k: usize, b: usize| {
        let own = f64::from(divided[4 * k + 2 * b + b]);
        let other = f64::from(divided[4 * k + 2 * b + 1 - b]);
        (other - own).exp().ln_1p()
    };
    let expected: Vec<f64> = (0..6)
        .map(|row| {
            let (k, b) = (row / 2, row % 2);
            let whole: f64 = (0..3).map(|j| cost(j, b).exp()).sum();
            (1.0 - cost(k, b).exp() / whole) / 2.0
        })
        .collect();
    let method = prepared(CalibratedConfidence::default(), &profiles());
    check(method.as_ref(), &LOGITS, &expected);
    let config = CalibratedConfidenceConfig {
        calibrate_targets: true,
        ..CalibratedConfidenceConfig::default()
    };
    check(prepared(CalibratedConfidence::new(config), &profiles()).as_ref(), &divided, &expected);
}

#[test]
fn calibrated_confidence_at_temperature_1_is_ca_mkd() {
    let honest: Vec<TeacherProfile> =
        profiles().into_iter().map(|p| TeacherProfile { temperature: 1.0, ..p }).collect();
    let own = prepared(CalibratedConfidence::default(), &honest);
    let config = CaMkdConfig { intermediate: false, ..CaMkdConfig::default() };
    let step = step(&LOGITS);
    assert_eq!(weights(own.as_ref(), &step), weights(&CaMkd::new(config), &step));
}

#[test]
fn class_reliability_is_smoothed_towards_the_teachers_accuracy() {
    // Five samples a class and five more at the teacher's accuracy: the mean of the two.
    // Class 0: 0.75, 0.70, 0.55 (sum 2.0); class 1: 0.40, 0.90, 0.60 (sum 1.9).
    let expected = [0.375, 0.4 / 1.9, 0.35, 0.9 / 1.9, 0.275, 0.6 / 1.9];
    let method = prepared(ClassReliability::default(), &profiles());
    check(method.as_ref(), &LOGITS, &expected);
    // Without smoothing: 0.9, 0.6, 0.3 and 0.2, 1.0, 0.4.
    let config = ClassReliabilityConfig { smoothing: 0.0, ..ClassReliabilityConfig::default() };
    let method = prepared(ClassReliability::new(config), &profiles());
    let expected = [0.5, 0.125, 1.0 / 3.0, 0.625, 1.0 / 6.0, 0.25];
    check(method.as_ref(), &LOGITS, &expected);
    // A class that nobody knows, and one without samples.
    let unknown = [
        profile("a", 40.0, 1.0, &[0.0, 40.0], &[5, 0]),
        profile("b", 60.0, 1.0, &[0.0, 60.0], &[5, 0]),
    ];
    let method = prepared(ClassReliability::new(config), &unknown);
    let got = weights(method.as_ref(), &step(&LOGITS[..8]));
    for (got, want) in got.iter().zip([0.5, 0.4, 0.5, 0.6]) {
        assert!((got - want).abs() < 1e-6, "{got} instead of {want}");
    }
}

#[test]
fn weights_sum_to_one_and_follow_the_teachers_around() {
    let own = profiles();
    let turned = [own[2].clone(), own[0].clone(), TeacherProfile { top1: 79.0, ..own[1].clone() }];
    let from = [2, 0, 1];
    let logits: Vec<f32> = from.iter().flat_map(|&k| LOGITS[4 * k..4 * k + 4].to_vec()).collect();
    // One of two equals would win by its place: let `c` be the better one.
    let mut straight = own;
    straight[1].top1 = 79.0;
    for (a, b) in all(&straight).iter().zip(&all(&turned)) {
        let (a, b) = (weights(a.as_ref(), &step(&LOGITS)), weights(b.as_ref(), &step(&logits)));
        for (row, &k) in from.iter().enumerate() {
            for sample in 0..2 {
                let (got, want) = (b[2 * row + sample], a[2 * k + sample]);
                assert!((got - want).abs() < 1e-6, "{got} instead of {want}");
            }
        }
        for sample in 0..2 {
            let sum: f32 = (0..3).map(|k| a[2 * k + sample]).sum();
            assert!((sum - 1.0).abs() < 1e-6, "{sum}");
        }
    }
}

#[test]
fn one_teacher_has_all_the_weight() {
    let one = &profiles()[..1];
    for method in all(one) {
        assert_eq!(weights(method.as_ref(), &step(&LOGITS[..4])), [1.0, 1.0], "{method:?}");
    }
}

#[test]
fn only_the_student_gets_a_gradient_and_it_is_finite_at_huge_logits() {
    for method in all(&profiles()) {
        let huge: Vec<f32> = LOGITS.iter().map(|z| z * 2500.0).collect();
        let step = step(&huge);
        let loss = method.loss(&step);
        let total = loss.terms.iter().map(|t| t.value.clone()).reduce(|a, b| a + b).unwrap();
        assert!(values(total.clone()).iter().all(|v| v.is_finite()), "{method:?}");
        let gradient = values(step.student_logits.grad(&total.backward()).unwrap());
        assert!(gradient.iter().all(|v| v.is_finite()), "{method:?}");
        assert!(gradient.iter().any(|v| *v != 0.0), "{method:?}");
    }
}
