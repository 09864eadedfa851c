//! Smooth activations, forward and backward, and their gated products.
//!
//! ```text
//! GELU         x Φ(x), Φ the standard normal distribution function        Hendrycks, Gimpel, 2016, arXiv:1606.08415
//! GELU (tanh)  x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2                 the same paper's approximation
//! sigmoid      σ(x) = 1 / (1 + e^-x)
//! SiLU         x σ(x)                                                     Elfwing, Uchibe, Doya, 2018; Swish
//! ReLU         max(x, 0)
//! gated        f(gate) · up                                               Shazeer, 2020, arXiv:2002.05202; SwiGLU with SiLU
//! ```
//!
//! # Error
//! Values: below `(5 + x²) 1e-7` of the value for the exact GELU, below `(6 + |u|) 1e-7` for its
//! approximation (`u` is twice the argument of its tanh), below 5e-7 for SiLU, sigmoid and tanh. Slopes:
//! below 1e-6 absolute.
//!
//! # Threads
//! Elementwise, in tasks of 16 Ki elements: the same for any number of threads.

#[cfg(test)]
mod tests;

use rayon::prelude::*;

use crate::isa::{Isa, Kernel};
use crate::parallel::ELEMENTS_PER_TASK;
use crate::simd::Simd;
use crate::special;

/// Which function; see the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// GELU with the normal distribution function itself.
    Gelu,
    /// GELU by its tanh approximation.
    GeluTanh,
    /// `x σ(x)`
    Silu,
    /// Hyperbolic tangent.
    Tanh,
    /// `max(x, 0)`, with slope 0 at 0.
    Relu,
    /// The logistic function.
    Sigmoid,
}

/// `√(2/π)`
const GELU_SLOPE: f32 = 0.797_884_6;
/// The factor of `x³`.
const GELU_CUBE: f32 = 0.044_715;

impl Activation {
    /// The function's value and slope. What the caller does not use is not computed: all is
    /// inlined.
    #[inline(always)]
    pub(crate) fn at<S: Simd>(self, x: f32) -> (f32, f32) {
        match self {
            Self::Gelu => {
                let (distribution, density) = special::normal::<S>(x);
                (x * distribution, S::fused(x, density, distribution))
            }
            Self::GeluTanh => {
                // Beyond 30 the sigmoid is 0 or 1, and cubes would overflow.
                let near = x.clamp(-30.0, 30.0);
                let square = near * near;
                let inner = S::fused(GELU_CUBE * square, near, near);
                let s = special::sigmoid::<S>(2.0 * GELU_SLOPE * inner);
                let inner_slope = 2.0 * GELU_SLOPE * S::fused(3.0 * GELU_CUBE, square, 1.0);
                (x * s, S::fused(near * inner_slope, s * (1.0 - s), s))
            }
            Self::Silu => {
                let s = special::sigmoid::<S>(x);
                (x * s, S::fused(x, s * (1.0 - s), s))
            }
            Self::Tanh => {
                let y = special::tanh::<S>(x);
                (y, S::fused(-y, y, 1.0))
            }
            // A NaN stays one, as in PyTorch.
            Self::Relu => {
                let slope = if x > 0.0 { 1.0 } else { x * 0.0 };
                (if x < 0.0 { 0.0 } else { x }, if x < 0.0 { 0.0 } else { slope })
            }
            Self::Sigmoid => {
                let s = special::sigmoid::<S>(x);
                (s, s * (1.0 - s))
            }
        }
    }
}

/// `$body` with `$name` as a constant: one loop for each function, since a choice inside a loop
/// would keep it from becoming vector code.
macro_rules! with_constant {
    ($activation:expr, $name:ident => $body:expr) => {
        match $activation {
            Activation::Gelu => {
                const $name: Activation = Activation::Gelu;
                $body
            }
            Activation::GeluTanh => {
                const $name: Activation = Activation::GeluTanh;
                $body
            }
            Activation::Silu => {
                const $name: Activation = Activation::Silu;
                $body
            }
            Activation::Tanh => {
                const $name: Activation = Activation::Tanh;
                $body
            }
            Activation::Relu => {
                const $name: Activation = Activation::Relu;
                $body
            }
            Activation::Sigmoid => {
                const $name: Activation = Activation::Sigmoid;
                $body
            }
        }
    };
}

impl Activation {
    /// Replaces every value by the function's.
    #[inline(always)]
    pub(crate) fn replace<S: Simd>(self, values: &mut [f32]) {
        with_constant!(self, F => {
            for x in values {
                *x = F.at::<S>(*x).0;
            }
        });
    }
}

/// One task of [`activate`].
struct Values<'a>(Activation, &'a [f32], &'a mut [f32]);

impl Kernel for Values<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        with_constant!(self.0, F => {
            for (y, &x) in self.2.iter_mut().zip(self.1) {
                *y = F.at::<S>(x).0;
            }
        });
    }
}

/// One task of [`activate_backward`].
struct Slopes<'a>(Activation, &'a [f32], &'a [f32], &'a mut [f32]);

impl Kernel for Slopes<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        with_constant!(self.0, F => {
            for ((to, &x), &grad) in self.3.iter_mut().zip(self.1).zip(self.2) {
                *to = grad * F.at::<S>(x).1;
            }
        });
    }
}

/// One task of [`gated`].
struct Products<'a>(Activation, [&'a [f32]; 2], &'a mut [f32]);

impl Kernel for Products<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let [gate, up] = self.1;
        with_constant!(self.0, F => {
            for ((y, &x), &up) in self.2.iter_mut().zip(gate).zip(up) {
                *y = F.at::<S>(x).0 * up;
            }
        });
    }
}

/// One task of [`gated_backward`].
struct ProductSlopes<'a>(Activation, [&'a [f32]; 3], [&'a mut [f32]; 2]);

impl Kernel for ProductSlopes<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let [gate, up, grad] = self.1;
        let [by_gate, by_up] = self.2;
        let sources = gate.iter().zip(up).zip(grad);
        with_constant!(self.0, F => {
            for ((by_gate, by_up), ((&x, &up), &grad)) in by_gate.iter_mut().zip(by_up).zip(sources) {
                let (value, slope) = F.at::<S>(x);
                *by_gate = grad * up * slope;
                *by_up = grad * value;
            }
        });
    }
}

#[track_caller]
fn check(name: &str, got: usize, want: usize) {
    assert!(got == want, "`{name}` has {got} elements, {want} expected");
}

/// `output = f(input)`
///
/// # Panics
/// If the lengths differ.
pub fn activate(activation: Activation, input: &[f32], output: &mut [f32]) {
    check("output", output.len(), input.len());
    let isa = Isa::active();
    (output.par_chunks_mut(ELEMENTS_PER_TASK).zip(input.par_chunks(ELEMENTS_PER_TASK)))
        .for_each(|(output, input)| isa.run(Values(activation, input, output)));
}

/// `input_grad = output_grad · f'(input)`
///
/// # Panics
/// If the lengths differ.
pub fn activate_backward(
    activation: Activation,
    input: &[f32],
    output_grad: &[f32],
    input_grad: &mut [f32],
) {
    check("output_grad", output_grad.len(), input.len());
    check("input_grad", input_grad.len(), input.len());
    let isa = Isa::active();
    let sources =
        input.par_chunks(ELEMENTS_PER_TASK).zip(output_grad.par_chunks(ELEMENTS_PER_TASK));
    (input_grad.par_chunks_mut(ELEMENTS_PER_TASK).zip(sources))
        .for_each(|(to, (input, grad))| isa.run(Slopes(activation, input, grad, to)));
}

/// `output = f(gate) · up`
///
/// # Panics
/// If the lengths differ.
pub fn gated(activation: Activation, gate: &[f32], up: &[f32], output: &mut [f32]) {
    check("up", up.len(), gate.len());
    check("output", output.len(), gate.len());
    let isa = Isa::active();
    let sources = gate.par_chunks(ELEMENTS_PER_TASK).zip(up.par_chunks(ELEMENTS_PER_TASK));
    (output.par_chunks_mut(ELEMENTS_PER_TASK).zip(sources))
        .for_each(|(output, (gate, up))| isa.run(Products(activation, [gate, up], output)));
}

/// The gradients of [`gated`] by both factors; overwritten.
///
/// # Panics
/// If the lengths differ.
pub fn gated_backward(
    activation: Activation,
    gate: &[f32],
    up: &[f32],
    output_grad: &[f32],
    gate_grad: &mut [f32],
    up_grad: &mut [f32],
) {
    check("up", up.len(), gate.len());
    check("output_grad", output_grad.len(), gate.len());
    check("gate_grad", gate_grad.len(), gate.len());
    check("up_grad", up_grad.len(), gate.len());
    let isa = Isa::active();
    let sources = gate.par_chunks(ELEMENTS_PER_TASK).zip(up.par_chunks(ELEMENTS_PER_TASK));
    let sources = sources.zip(output_grad.par_chunks(ELEMENTS_PER_TASK));
    let targets = gate_grad.par_chunks_mut(ELEMENTS_PER_TASK);
    targets.zip(up_grad.par_chunks_mut(ELEMENTS_PER_TASK)).zip(sources).for_each(
        |((by_gate, by_up), ((gate, up), grad))| {
            isa.run(ProductSlopes(activation, [gate, up, grad], [by_gate, by_up]));
        },
    );
}
