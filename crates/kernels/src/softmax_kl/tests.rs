//! The fused loss against its formula in `f64` and the gradient against finite differences.

use super::*;
use crate::testing::{Seeded, assert_close, assert_same_for_any_threads, wide};

struct Data {
    loss: SoftmaxKl,
    student: Vec<f32>,
    labels: Vec<u32>,
    teachers: Vec<f32>,
    weights: Vec<f32>,
}

fn data(batch: usize, classes: usize, teachers: usize, temperature: f32) -> Data {
    let mut seeded = Seeded((batch * 100 + classes * 10 + teachers) as u64);
    let loss = SoftmaxKl { batch, classes, teachers, temperature, ce_weight: 0.3, kd_weight: 0.7 };
    let mut logits = |len: usize| seeded.values(len).iter().map(|z| 5.0 * z).collect::<Vec<_>>();
    let student = logits(batch * classes);
    let all = logits(teachers * batch * classes);
    let labels = (0..batch).map(|_| (seeded.next_u64() % classes as u64) as u32).collect();
    let weights = seeded.values(teachers * batch).iter().map(|w| w.abs()).collect();
    Data { loss, student, labels, teachers: all, weights }
}

impl Data {
    fn run(&self) -> (SoftmaxKlLoss, Vec<f32>) {
        let mut grad = vec![f32::NAN; self.student.len()];
        let loss = softmax_kl(
            &self.loss,
            &self.student,
            &self.labels,
            &self.teachers,
            &self.weights,
            &mut grad,
        );
        (loss, grad)
    }

    fn formula(&self, student: &[f64]) -> SoftmaxKlLoss {
        let (teachers, weights) = (wide(&self.teachers), wide(&self.weights));
        scalar::loss(&self.loss, student, &self.labels, &teachers, &weights)
    }
}

#[test]
fn loss_and_gradient_agree_with_the_formula() {
    for (batch, classes) in [(1, 1), (1, 2), (3, 10), (5, 100), (2, 17)] {
        for teachers in [0, 1, 3] {
            for temperature in [1.0, 4.0, 0.5] {
                let data = data(batch, classes, teachers, temperature);
                let (loss, grad) = data.run();
                let student = wide(&data.student);
                let want = data.formula(&student);
                for (got, want) in
                    [(loss.ce, want.ce), (loss.kd, want.kd), (loss.total, want.total)]
                {
                    assert!((got - want).abs() < 1e-9, "{:?}: {got}, {want}", data.loss);
                }
                let slopes: Vec<f64> = (0..student.len())
                    .map(|i| {
                        let at = |step: f64| {
                            let mut changed = student.clone();
                            changed[i] += step;
                            data.formula(&changed).total
                        };
                        (at(1e-5) - at(-1e-5)) / 2e-5
                    })
                    .collect();
                assert_close(&format!("{:?}", data.loss), &grad, &slopes, 1e-6, 1e-8);
            }
        }
    }
}

#[test]
fn is_zero_when_the_student_is_the_teacher() {
    let mut data = data(4, 10, 2, 3.0);
    data.teachers = data.student.repeat(2);
    data.loss.ce_weight = 0.0;
    let (loss, grad) = data.run();
    assert!(loss.kd.abs() < 1e-12, "{loss:?}");
    assert_close("gradient", &grad, &vec![0.0; grad.len()], 0.0, 1e-9);
}

#[test]
fn stays_finite_at_huge_logits_and_carries_nan() {
    let mut data = data(3, 10, 2, 1.0);
    for z in data.student.iter_mut().chain(&mut data.teachers) {
        *z *= 2e3;
    }
    let (loss, grad) = data.run();
    assert!(loss.total.is_finite() && grad.iter().all(|g| g.is_finite()), "{loss:?}");
    data.student[12] = f32::NAN;
    let (loss, grad) = data.run();
    assert!(loss.total.is_nan() && grad[10..20].iter().all(|g| g.is_nan()));
    assert!(grad[..10].iter().chain(&grad[20..]).all(|g| g.is_finite()));
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let data = data(33, 10, 2, 4.0);
    assert_same_for_any_threads("loss", || {
        let (loss, mut grad) = data.run();
        grad.push(loss.total as f32);
        grad
    });
}

#[test]
fn row_costs_are_the_cross_entropies_of_each_batch() {
    let data = data(20, 13, 3, 1.0);
    let costs = cross_entropy_rows(13, &data.teachers, &data.labels);
    assert_eq!(costs.len(), 60);
    for (k, costs) in costs.chunks(20).enumerate() {
        let own = &data.teachers[k * 20 * 13..][..20 * 13];
        let plain = SoftmaxKl { teachers: 0, kd_weight: 0.0, ..data.loss };
        let loss = scalar::loss(&plain, &wide(own), &data.labels, &[], &[]);
        let mean = costs.iter().sum::<f64>() / 20.0;
        assert!((mean - loss.ce).abs() < 1e-9, "{mean} instead of {}", loss.ce);
    }
    assert!(cross_entropy_rows(5, &[], &[]).is_empty());
}
