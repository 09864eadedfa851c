//! Passes against the obvious loops, at sizes round the vector and the task.

use super::*;
use crate::testing::{Seeded, assert_same_for_any_threads};

const SIZES: [usize; 9] = [
    0,
    1,
    7,
    8,
    33,
    ELEMENTS_PER_TASK - 1,
    ELEMENTS_PER_TASK,
    ELEMENTS_PER_TASK + 1,
    3 * ELEMENTS_PER_TASK + 5,
];

#[test]
fn passes_equal_the_obvious_loops() {
    for len in SIZES {
        let mut seeded = Seeded(len as u64);
        let (a, b) = (seeded.values(len), seeded.values(len));
        let mut got = vec![f32::NAN; len];
        let want = |f: &dyn Fn(f32, f32) -> f32| -> Vec<f32> {
            a.iter().zip(&b).map(|(&a, &b)| f(a, b)).collect()
        };
        relu(&a, &mut got);
        assert_eq!(got, want(&|a, _| a.max(0.0)));
        relu_backward(&a, &b, &mut got);
        assert_eq!(got, want(&|a, b| if a > 0.0 { b } else { 0.0 }));
        add(&a, &b, &mut got);
        assert_eq!(got, want(&|a, b| a + b));
        multiply(&a, &b, &mut got);
        assert_eq!(got, want(&|a, b| a * b));
        add_relu(&a, &b, &mut got);
        assert_eq!(got, want(&|a, b| (a + b).max(0.0)));
        scale(&a, 0.5, &mut got);
        assert_eq!(got, want(&|a, _| 0.5 * a));
        got.copy_from_slice(&a);
        add_scaled(&mut got, 0.5, &b);
        assert_eq!(got, want(&|a, b| a + 0.5 * b));
    }
}

#[test]
fn nan_passes_relu_both_ways() {
    let mut got = [0.0; 2];
    relu(&[f32::NAN, -1.0], &mut got);
    assert!(got[0].is_nan() && got[1] == 0.0);
    relu_backward(&[f32::NAN, 0.0], &[3.0, 4.0], &mut got);
    assert_eq!(got, [3.0, 0.0]);
}

#[test]
fn sgd_follows_pytorch() {
    // By hand from the rule of torch.optim.SGD(lr=0.1, momentum=0.9, weight_decay=0.01), two steps with gradient 0.5 from
    // w = 1: g = 0.51, v = 0.51, w = 0.949; g = 0.50949, v = 0.96849, w = 0.852151.
    let mut settings =
        Sgd { learning_rate: 0.1, momentum: 0.9, weight_decay: 0.01, nesterov: false };
    let (mut weight, mut velocity) = ([1.0], [0.0]);
    sgd_step(&settings, &mut weight, &[0.5], &mut velocity);
    assert!((weight[0] - 0.949).abs() < 1e-6, "{weight:?}");
    sgd_step(&settings, &mut weight, &[0.5], &mut velocity);
    assert!((weight[0] - 0.852_151).abs() < 1e-6, "{weight:?}");
    // Nesterov's first step: w -= 0.1 * (0.51 + 0.9 * 0.51).
    settings.nesterov = true;
    let (mut weight, mut velocity) = ([1.0], [0.0]);
    sgd_step(&settings, &mut weight, &[0.5], &mut velocity);
    assert!((weight[0] - 0.9031).abs() < 1e-6, "{weight:?}");
}

#[test]
fn sum_is_close_to_the_exact_sum_and_independent_of_threads() {
    for len in [0, 1, 31, 32, 33, 1000] {
        let values = Seeded(3).values(len);
        let want: f64 = values.iter().map(|&x| f64::from(x)).sum();
        assert!((f64::from(sum(&values)) - want).abs() < 1e-5, "{len} values");
    }
    assert_same_for_any_threads("add", || {
        let values = Seeded(4).values(3 * ELEMENTS_PER_TASK + 1);
        let mut output = vec![0.0; values.len()];
        add(&values, &values, &mut output);
        output
    });
}

#[test]
fn squares_are_summed_in_tasks() {
    let values = Seeded(4).values(3 * ELEMENTS_PER_TASK + 17);
    let want: f64 = values.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
    assert!((sum_of_squares(&values) - want).abs() < 1e-5 * want);
    assert_eq!(sum_of_squares(&[]), 0.0);
}
