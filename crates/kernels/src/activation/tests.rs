use super::*;
use crate::testing::{Seeded, assert_close, assert_same_for_any_threads};

const ALL: [Activation; 6] = [
    Activation::Gelu,
    Activation::GeluTanh,
    Activation::Silu,
    Activation::Tanh,
    Activation::Relu,
    Activation::Sigmoid,
];

/// The error function: its series, which needs 40 digits less than it cancels below 3.5.
fn erf(z: f64) -> f64 {
    let a = z.abs().min(6.0);
    let (mut term, mut sum) = (a, a);
    for n in 1..300 {
        term *= 2.0 * a * a / f64::from(2 * n + 1);
        sum += term;
    }
    (sum * (-a * a).exp() * std::f64::consts::FRAC_2_SQRT_PI).copysign(z)
}

fn formula(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Gelu => 0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2)),
        Activation::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            0.5 * x * (1.0 + inner.tanh())
        }
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Tanh => x.tanh(),
        Activation::Relu => x.max(0.0),
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
    }
}

fn slope(activation: Activation, x: f64) -> f64 {
    if activation == Activation::Relu {
        return f64::from(u8::from(x > 0.0));
    }
    (formula(activation, x + 1e-5) - formula(activation, x - 1e-5)) / 2e-5
}

/// Lengths around the vectors and a task; values around 0 and far out.
fn values(len: usize, seed: u64) -> Vec<f32> {
    let mut seeded = Seeded(seed);
    (0..len).map(|i| seeded.value() * [1e-3, 1.0, 4.0, 12.0][i % 4]).collect()
}

const LENGTHS: [usize; 9] = [0, 1, 7, 8, 9, 16, 17, 1000, ELEMENTS_PER_TASK + 3];

#[test]
fn values_and_slopes_are_the_formulas() {
    for activation in ALL {
        for len in LENGTHS {
            let (x, grad) = (values(len, 1), values(len, 2));
            let mut y = vec![f32::NAN; len];
            activate(activation, &x, &mut y);
            let want: Vec<f64> = x.iter().map(|&x| formula(activation, f64::from(x))).collect();
            assert_close(&format!("{activation:?}"), &y, &want, 4e-7, 4e-7);
            let mut x_grad = vec![f32::NAN; len];
            activate_backward(activation, &x, &grad, &mut x_grad);
            let want: Vec<f64> = x
                .iter()
                .zip(&grad)
                .map(|(&x, &g)| f64::from(g) * slope(activation, f64::from(x)))
                .collect();
            // Slopes to 1e-6, times gradients of up to 12.
            assert_close(&format!("slope of {activation:?}"), &x_grad, &want, 1e-6, 1.2e-5);
        }
    }
}

#[test]
fn every_path_gives_the_formula() {
    let x = values(1003, 3);
    for activation in ALL {
        let want: Vec<f64> = x.iter().map(|&x| formula(activation, f64::from(x))).collect();
        for isa in Isa::available() {
            let mut y = vec![f32::NAN; x.len()];
            isa.run(Values(activation, &x, &mut y));
            assert_close(&format!("{activation:?}, {} lanes", isa.lanes()), &y, &want, 4e-7, 4e-7);
        }
    }
}

#[test]
fn gated_products_and_their_gradients_are_the_formulas() {
    for activation in ALL {
        for len in LENGTHS {
            let (gate, up, grad) = (values(len, 4), values(len, 5), values(len, 6));
            let mut y = vec![f32::NAN; len];
            gated(activation, &gate, &up, &mut y);
            let (mut by_gate, mut by_up) = (vec![f32::NAN; len], vec![f32::NAN; len]);
            gated_backward(activation, &gate, &up, &grad, &mut by_gate, &mut by_up);
            let all = |f: &dyn Fn(f64, f64, f64) -> f64| -> Vec<f64> {
                (0..len).map(|i| f(gate[i].into(), up[i].into(), grad[i].into())).collect()
            };
            let value = all(&|gate, up, _| formula(activation, gate) * up);
            assert_close("product", &y, &value, 1e-6, 6e-6);
            let want = all(&|gate, up, grad| grad * up * slope(activation, gate));
            // Slopes to 1e-6, times two values of up to 12.
            assert_close("gate gradient", &by_gate, &want, 1e-6, 1.5e-4);
            let want = all(&|gate, _, grad| grad * formula(activation, gate));
            assert_close("up gradient", &by_up, &want, 1e-6, 6e-6);
        }
    }
}

#[test]
fn far_values_stay_finite_and_nan_stays_nan() {
    let x = [1e30, -1e30, 100.0, -100.0, 0.0, -0.0, f32::NAN];
    for activation in ALL {
        let (mut y, mut by_x) = ([0.0; 7], [0.0; 7]);
        activate(activation, &x, &mut y);
        activate_backward(activation, &x, &[1.0; 7], &mut by_x);
        assert!(y[..6].iter().all(|y| y.is_finite()), "{activation:?}: {y:?}");
        assert!(by_x[..6].iter().all(|y| y.is_finite()), "{activation:?}: {by_x:?}");
        assert!(y[6].is_nan() && by_x[6].is_nan());
        assert_eq!(y[4], if activation == Activation::Sigmoid { 0.5 } else { 0.0 });
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let x = values(3 * ELEMENTS_PER_TASK + 5, 7);
    assert_same_for_any_threads("gelu", || {
        let mut y = vec![0.0; x.len()];
        activate(Activation::Gelu, &x, &mut y);
        y
    });
}

#[test]
#[should_panic(expected = "`output` has 2 elements, 3 expected")]
fn a_wrong_length_names_the_slice() {
    activate(Activation::Silu, &[0.0; 3], &mut [0.0; 2]);
}
