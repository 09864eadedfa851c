//! Every row of the table of methods, built from a recipe's defaults, on a small student.

use faculty_data::{MixedLabels, UNLABELLED};
use faculty_distill::learner::{LearnerBatch, StepRecord};
use faculty_distill::methods::{Facts, METHODS, MethodInfo};
use faculty_distill::optimizer::OptimizerConfig;

use crate::data::CLASSES;
use crate::finite_differences::{Setup, class_costs, profiles};

#[test]
fn every_method_trains_with_its_defaults() {
    for info in METHODS {
        for count in [0, 1, 2, 4].into_iter().filter(|&count| info.spec.takes(count)) {
            trains(info, CLASSES, count);
        }
    }
}

#[test]
fn every_method_trains_on_two_three_and_a_thousand_classes() {
    for classes in [2, 3, 1000] {
        for info in METHODS {
            let count = [2, 1, 0].into_iter().find(|&count| info.spec.takes(count)).unwrap();
            trains(info, classes, count);
        }
    }
}

/// Three steps: losses, gradients and weights are finite.
fn trains(info: &MethodInfo, classes: usize, count: usize) {
    let optimizer = OptimizerConfig::Sgd { momentum: 0.9, nesterov: true, weight_decay: 5e-4 };
    let name = info.spec.name;
    // Whatever is asked for in any epoch.
    let needs = (1..=3).map(|epoch| info.with_defaults().needs(epoch));
    let needs = needs.reduce(|a, b| a.union(b)).unwrap();
    let setup = Setup::of_classes(classes, count as u64, &needs.teacher_taps);
    let mut method = info.with_defaults();
    method.prepare(Facts::Profiles(&profiles(classes, count)));
    method.prepare(Facts::ClassCosts(&class_costs(classes, count)));
    let mut learner = setup.learner(method);
    for epoch in 1..=3 {
        let own = learner.method().needs(epoch).teacher_taps;
        let outputs = setup.outputs_at(count as u64, &own);
        let batch =
            LearnerBatch { epoch, step_seed: epoch as u64, teachers: &outputs, ..setup.batch() };
        let record = learner.gradients(&batch);
        assert!(record.loss.is_finite(), "{name}, {classes} classes: {record:?}");
        for (part, trained) in learner.trained() {
            let finite = trained.gradients().iter().flatten().all(|g| g.is_finite());
            assert!(finite, "{name}, {classes} classes: gradients of the {part}");
        }
        for (level, weights) in &record.teacher_weights {
            assert_eq!(weights.len(), count, "{name}, {level}");
            let sum: f64 = weights.iter().sum();
            assert!((sum - 1.0).abs() < 1e-5, "{name}, {level}: {weights:?}");
        }
        learner.update(&optimizer, 0.01, Some(1.0), epoch);
        let numbers = learner.after_step(&batch, &optimizer, 0.01, Some(1.0));
        assert!(numbers.iter().all(|(_, v)| v.is_finite()), "{name}: {numbers:?}");
    }
    for (part, trained) in learner.trained() {
        let values = trained.network.parameters().iter().flatten();
        assert!(values.copied().all(f32::is_finite), "{name}, {part}");
    }
}

#[test]
fn methods_that_need_no_labels_learn_from_samples_without_any() {
    let labelled: Vec<u32> = Setup::of_classes(CLASSES, 2, &[]).batch().labels.to_vec();
    let mut half = labelled.clone();
    half.iter_mut().step_by(2).for_each(|label| *label = UNLABELLED);
    let none = vec![UNLABELLED; labelled.len()];
    let mut need_labels = Vec::new();
    for info in METHODS {
        let name = info.spec.name;
        if info.with_defaults().setup().needs_labels {
            need_labels.push(name);
            continue;
        }
        let count = [2, 1, 0].into_iter().find(|&count| info.spec.takes(count)).unwrap();
        let whole = record(info, count, &labelled);
        for labels in [&half, &none] {
            let own = record(info, count, labels);
            assert!(own.loss.is_finite(), "{name}: {own:?}");
            let unlabelled = labels.iter().filter(|&&label| label == UNLABELLED).count();
            assert_eq!(own.unlabelled, unlabelled);
            assert!(own.correct + unlabelled <= labels.len(), "{name}: {own:?}");
            for (term, known) in own.terms.iter().zip(&whole.terms) {
                if term.name == "task" {
                    assert!(labels == &half || term.value == 0.0, "{name}: {own:?}");
                } else if !BY_LABEL.contains(&name) {
                    let apart = (term.value - known.value).abs();
                    assert!(apart <= 1e-6 * known.value.abs().max(1.0), "{name}: {own:?}");
                }
            }
            // What teachers count where there is no label is known, not learnt.
            for (level, weights) in own.teacher_weights.iter().filter(|_| labels == &none) {
                if let ("ca-mkd" | "calibrated-confidence", [a, b]) = (name, &weights[..]) {
                    let [own, other] = costs(name);
                    let want = 1.0 / (1.0 + (own - other).exp());
                    assert!((a - want).abs() < 1e-6 && (a + b - 1.0).abs() < 1e-6, "{level}");
                }
            }
        }
    }
    assert_eq!(need_labels, ["mmkd", "dkd", "crd", "ckd"]);
}

/// Methods that weigh teachers by labels where there are any.
const BY_LABEL: [&str; 4] = ["ca-mkd", "calibrated-confidence", "class-reliability", "mt-bert"];

/// Mean cross-entropies of two teachers.
fn costs(method: &str) -> [f64; 2] {
    let profiles = profiles(CLASSES, 2);
    let cost = |own: &faculty_methods::TeacherProfile| match method {
        "ca-mkd" => own.nll,
        _ => own.calibrated_nll,
    };
    [cost(&profiles[0]), cost(&profiles[1])]
}

/// What a step of the second epoch shows, with these labels.
fn record(info: &MethodInfo, count: usize, labels: &[u32]) -> StepRecord {
    let needs = (1..=2).map(|epoch| info.with_defaults().needs(epoch));
    let needs = needs.reduce(|a, b| a.union(b)).unwrap();
    let setup = Setup::of_classes(CLASSES, count as u64, &needs.teacher_taps);
    let mut method = info.with_defaults();
    method.prepare(Facts::Profiles(&profiles(CLASSES, count)));
    method.prepare(Facts::ClassCosts(&class_costs(CLASSES, count)));
    let mut learner = setup.learner(method);
    let own = learner.method().needs(2).teacher_taps;
    let outputs = setup.outputs_at(count as u64, &own);
    let batch =
        LearnerBatch { epoch: 2, step_seed: 2, teachers: &outputs, labels, ..setup.batch() };
    let record = learner.gradients(&batch);
    for (part, trained) in learner.trained() {
        let finite = trained.gradients().iter().flatten().all(|g| g.is_finite());
        assert!(finite, "{}: gradients of the {part}", info.spec.name);
    }
    record
}

#[test]
fn samples_mixed_from_two_count_with_both_labels_in_every_loss() {
    let (own, other) = ([0, 1, 2, 0, 1, 2], [1, 1, 0, 2, 2, 0]);
    let mixed = |partners: &[u32], share: f32| MixedLabels {
        partners: partners.to_vec(),
        shares: vec![share; partners.len()],
    };
    let mut refused = Vec::new();
    for info in METHODS {
        let name = info.spec.name;
        if info.with_defaults().setup().needs_one_label {
            refused.push(name);
            continue;
        }
        let count = [2, 1, 0].into_iter().find(|&count| info.spec.takes(count)).unwrap();
        let needs = info.with_defaults().needs(3);
        let setup = Setup::of_classes(CLASSES, count as u64, &needs.teacher_taps);
        // Loss and the student's gradient.
        let of = |labels: &[u32], mixed: Option<&MixedLabels>| {
            let mut method = info.with_defaults();
            method.prepare(Facts::Profiles(&profiles(CLASSES, count)));
            method.prepare(Facts::ClassCosts(&class_costs(CLASSES, count)));
            let mut learner = setup.learner(method);
            let batch = LearnerBatch { epoch: 3, labels, mixed, ..setup.batch() };
            let loss = learner.gradients(&batch).loss;
            let gradient = learner.student.gradients().iter().flatten().copied().collect();
            (loss, gradient)
        };
        let distance = |(a, by_a): &(f64, Vec<f32>), (b, by_b): &(f64, Vec<f32>)| {
            let square = |x: f64| x * x;
            let of = by_a.iter().zip(by_b).map(|(a, b)| square(f64::from(a - b))).sum::<f64>();
            let size: f64 = by_b.iter().map(|b| square(f64::from(*b))).sum();
            ((a - b) / (1.0 + b.abs())).abs() + (of / size).sqrt()
        };
        let [plain, swapped] = [of(&own, None), of(&other, None)];
        let left = of(&own, Some(&mixed(&other, 1.0)));
        assert!(distance(&left, &plain) < 1e-5, "{name}: one label of two left");
        let left = of(&own, Some(&mixed(&other, 0.0)));
        assert!(distance(&left, &swapped) < 1e-5, "{name}: the other label of two left");
        if info.with_defaults().setup().has_task_loss {
            let middle = of(&own, Some(&mixed(&other, 0.4)));
            assert!(distance(&middle, &plain).min(distance(&middle, &swapped)) > 1e-3, "{name}");
        }
    }
    refused.sort_unstable();
    assert_eq!(refused, ["ckd", "crd", "dkd", "ikd", "mmkd"]);
}
