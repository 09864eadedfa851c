use super::*;
use crate::isa::{Isa, Kernel};
use crate::simd::portable::Portable;

/// A function over values, as vector code.
struct Apply<'a, F>(&'a [f32], &'a mut [f32], F);

/// One of the functions under test.
trait Function: Copy {
    fn at<S: Simd>(self, x: f32) -> f32;
}

macro_rules! function {
    ($name:ident, $body:expr) => {
        #[derive(Clone, Copy)]
        struct $name;
        impl Function for $name {
            #[inline(always)]
            fn at<S: Simd>(self, x: f32) -> f32 {
                #[inline(always)]
                fn call<S: Simd>(x: f32) -> f32 {
                    let body: fn(f32) -> f32 = $body;
                    body(x)
                }
                call::<S>(x)
            }
        }
    };
}
function!(Exp, exp::<S>);
function!(Ln, ln::<S>);
function!(Sigmoid, sigmoid::<S>);
function!(Tanh, tanh::<S>);
function!(Distribution, |x| normal::<S>(x).0);
function!(Density, |x| normal::<S>(x).1);

impl<F: Function> Kernel for Apply<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        for (to, &x) in self.1.iter_mut().zip(self.0) {
            *to = self.2.at::<S>(x);
        }
    }
}

/// Both signs of all exponents, and a fine grid where the functions change.
fn samples() -> Vec<f32> {
    let exponents =
        (-126..=7).flat_map(|e| (0..64).map(move |i| (1.0 + i as f32 / 64.0) * 2_f32.powi(e)));
    let grid = (0..200_000).map(|i| i as f32 * 1e-3 * 0.5);
    exponents.chain(grid).flat_map(|x| [x, -x]).collect()
}

fn check(
    name: &str,
    function: impl Function,
    range: std::ops::Range<f32>,
    want: impl Fn(f64) -> f64,
    bound: impl Fn(f64) -> f64,
) {
    let x: Vec<f32> = samples().into_iter().filter(|x| range.contains(x)).collect();
    for isa in Isa::available() {
        let mut got = vec![f32::NAN; x.len()];
        isa.run(Apply(&x, &mut got, function));
        let mut worst = (0.0, 0.0);
        for (&x, &got) in x.iter().zip(&got) {
            let want = want(f64::from(x));
            let got = f64::from(got);
            // Both may be zero.
            let error =
                if got == want { 0.0 } else { (got / want - 1.0).abs() / bound(f64::from(x)) };
            if error.is_nan() || error > worst.0 {
                worst = (error, x);
            }
        }
        assert!(worst.0 <= 1.0, "{name}({}): {} times its bound", worst.1, worst.0);
    }
}

/// `erfc(z)` for `z >= 0`, relative error 1e-12: the series of `erf` near 0, a continued fraction
/// (Abramowitz and Stegun 7.1.6 and 7.1.14) beyond.
fn erfc(z: f64) -> f64 {
    if z < 2.5 {
        let (mut term, mut sum) = (z, z);
        for n in 1..100 {
            term *= 2.0 * z * z / f64::from(2 * n + 1);
            sum += term;
        }
        return 1.0 - sum * (-z * z).exp() * std::f64::consts::FRAC_2_SQRT_PI;
    }
    let mut fraction = z;
    for k in (1..200).rev() {
        fraction = z + f64::from(k) / 2.0 / fraction;
    }
    (-z * z).exp() / fraction / std::f64::consts::PI.sqrt()
}

fn distribution(x: f64) -> f64 {
    let tail = 0.5 * erfc(x.abs() / std::f64::consts::SQRT_2);
    if x > 0.0 { 1.0 - tail } else { tail }
}

#[test]
fn errors_stay_below_the_stated_bounds() {
    check("exp", Exp, -87.3..88.37, f64::exp, |_| 2e-7);
    check("ln", Ln, f32::MIN_POSITIVE..f32::MAX, f64::ln, |_| 2e-7);
    check("sigmoid", Sigmoid, -87.0..100.0, |x| 1.0 / (1.0 + (-x).exp()), |_| 4e-7);
    check("tanh", Tanh, -100.0..100.0, f64::tanh, |_| 3e-7);
    check("distribution", Distribution, 0.0..100.0, distribution, |_| 4e-7);
    check("distribution", Distribution, -12.9..0.0, distribution, |x| (4.0 + x * x) * 1e-7);
    let density = |x: f64| (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
    check("density", Density, -12.9..12.9, density, |x| (2.0 + 0.5 * x * x) * 1e-7);
}

#[test]
fn ends_and_nan() {
    assert!(exp::<Portable>(-88.0) == 0.0 && exp::<Portable>(f32::NEG_INFINITY) == 0.0);
    assert!(
        exp::<Portable>(89.0) == f32::INFINITY && exp::<Portable>(f32::INFINITY) == f32::INFINITY
    );
    assert!(tanh::<Portable>(f32::INFINITY) == 1.0 && tanh::<Portable>(f32::NEG_INFINITY) == -1.0);
    assert!(sigmoid::<Portable>(f32::INFINITY) == 1.0);
    assert!(sigmoid::<Portable>(f32::NEG_INFINITY) == 0.0);
    assert!(normal::<Portable>(f32::INFINITY) == (1.0, 0.0));
    assert!(normal::<Portable>(f32::NEG_INFINITY) == (0.0, 0.0));
    assert!(tanh::<Portable>(-0.0).is_sign_negative());
    for nan in
        [exp::<Portable>(f32::NAN), tanh::<Portable>(f32::NAN), sigmoid::<Portable>(f32::NAN)]
    {
        assert!(nan.is_nan());
    }
    assert!(normal::<Portable>(f32::NAN).0.is_nan());
}
