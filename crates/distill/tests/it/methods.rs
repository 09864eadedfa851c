//! Every row of the table of methods, built from a recipe's defaults, on a small student.

use faculty_distill::learner::LearnerBatch;
use faculty_distill::methods::{METHODS, MethodInfo};
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
    method.prepare(&profiles(classes, count));
    method.prepare_classes(class_costs(classes, count));
    let mut learner = setup.learner(method);
    for epoch in 1..=3 {
        let own = learner.method().needs(epoch).teacher_taps;
        let outputs = setup.outputs_at(count as u64, &own);
        let batch = LearnerBatch { epoch, draw: epoch as u64, teachers: &outputs, ..setup.batch() };
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
