//! Passes over whole buffers: ReLU, sums, the optimiser step.
//!
//! Each pass is cut into tasks of 16 Ki elements whatever the number of threads.

#[cfg(test)]
mod tests;

use rayon::prelude::*;

use crate::isa::{Isa, Kernel};
use crate::parallel::ELEMENTS_PER_TASK;

/// `f` of one source, on one task's elements.
struct Map<'a, F> {
    from: &'a [f32],
    to: &'a mut [f32],
    f: F,
}

impl<F: Fn(f32) -> f32> Kernel for Map<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: crate::simd::Simd>(self, _simd: S) {
        for (to, &from) in self.to.iter_mut().zip(self.from) {
            *to = (self.f)(from);
        }
    }
}

/// `f` of two sources, on one task's elements.
struct Zip<'a, F> {
    left: &'a [f32],
    right: &'a [f32],
    to: &'a mut [f32],
    f: F,
}

impl<F: Fn(f32, f32) -> f32> Kernel for Zip<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: crate::simd::Simd>(self, _simd: S) {
        for ((to, &left), &right) in self.to.iter_mut().zip(self.left).zip(self.right) {
            *to = (self.f)(left, right);
        }
    }
}

pub(crate) fn map(from: &[f32], to: &mut [f32], f: impl Fn(f32) -> f32 + Copy + Sync) {
    assert_eq!(from.len(), to.len(), "source and target have different lengths");
    let isa = Isa::active();
    (to.par_chunks_mut(ELEMENTS_PER_TASK).zip(from.par_chunks(ELEMENTS_PER_TASK)))
        .for_each(|(to, from)| isa.run(Map { from, to, f }));
}

pub(crate) fn zip(
    left: &[f32],
    right: &[f32],
    to: &mut [f32],
    f: impl Fn(f32, f32) -> f32 + Copy + Sync,
) {
    assert_eq!(left.len(), to.len(), "first source and target have different lengths");
    assert_eq!(right.len(), to.len(), "second source and target have different lengths");
    let isa = Isa::active();
    let sources = left.par_chunks(ELEMENTS_PER_TASK).zip(right.par_chunks(ELEMENTS_PER_TASK));
    (to.par_chunks_mut(ELEMENTS_PER_TASK).zip(sources))
        .for_each(|(to, (left, right))| isa.run(Zip { left, right, to, f }));
}

/// `output = max(input, 0)`; NaN stays NaN.
///
/// # Panics
/// If the lengths differ.
pub fn relu(input: &[f32], output: &mut [f32]) {
    map(input, output, |x| if x < 0.0 { 0.0 } else { x });
}

/// `input_grad = output_grad` where `output > 0`, else 0, with the output of [`relu`] (a NaN
/// output passes the gradient, as in PyTorch).
///
/// # Panics
/// If the lengths differ.
pub fn relu_backward(output: &[f32], output_grad: &[f32], input_grad: &mut [f32]) {
    zip(output, output_grad, input_grad, |y, grad| if y <= 0.0 { 0.0 } else { grad });
}

/// `output = left + right`
///
/// # Panics
/// If the lengths differ.
pub fn add(left: &[f32], right: &[f32], output: &mut [f32]) {
    zip(left, right, output, |left, right| left + right);
}

/// `output = left * right`
///
/// # Panics
/// If the lengths differ.
pub fn multiply(left: &[f32], right: &[f32], output: &mut [f32]) {
    zip(left, right, output, |left, right| left * right);
}

/// `output = max(left + right, 0)`, the end of a residual block; NaN stays NaN.
///
/// # Panics
/// If the lengths differ.
pub fn add_relu(left: &[f32], right: &[f32], output: &mut [f32]) {
    zip(left, right, output, |left, right| {
        let sum = left + right;
        if sum < 0.0 { 0.0 } else { sum }
    });
}

/// `output = factor * input`
///
/// # Panics
/// If the lengths differ.
pub fn scale(input: &[f32], factor: f32, output: &mut [f32]) {
    map(input, output, |x| factor * x);
}

/// `target += factor * source`
///
/// # Panics
/// If the lengths differ.
pub fn add_scaled(target: &mut [f32], factor: f32, source: &[f32]) {
    assert_eq!(target.len(), source.len(), "source and target have different lengths");
    (target.par_chunks_mut(ELEMENTS_PER_TASK).zip(source.par_chunks(ELEMENTS_PER_TASK))).for_each(
        |(target, source)| {
            for (target, &source) in target.iter_mut().zip(source) {
                *target += factor * source;
            }
        },
    );
}

/// Settings of [`sgd_step`], with PyTorch's meaning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Step size.
    pub learning_rate: f32,
    /// Share of the velocity kept, 0 to 1; 0 is plain descent.
    pub momentum: f32,
    /// L2 penalty added to the gradient (not decoupled).
    pub weight_decay: f32,
    /// Nesterov's look-ahead.
    pub nesterov: bool,
}

/// One step of stochastic gradient descent as `torch.optim.SGD` with dampening 0 does it:
///
/// ```text
/// g = grad + weight_decay * w;  v = momentum * v + g;  w -= lr * (nesterov ? g + momentum * v : v)
/// ```
/// A zero velocity before the first step gives PyTorch's first step.
///
/// # Panics
/// If the lengths differ.
pub fn sgd_step(settings: &Sgd, weight: &mut [f32], grad: &[f32], velocity: &mut [f32]) {
    assert_eq!(weight.len(), grad.len(), "weight and gradient have different lengths");
    assert_eq!(weight.len(), velocity.len(), "weight and velocity have different lengths");
    let Sgd { learning_rate, momentum, weight_decay, nesterov } = *settings;
    let chunks = weight.par_chunks_mut(ELEMENTS_PER_TASK);
    let chunks = chunks.zip(grad.par_chunks(ELEMENTS_PER_TASK));
    chunks.zip(velocity.par_chunks_mut(ELEMENTS_PER_TASK)).for_each(
        |((weight, grad), velocity)| {
            for ((weight, &grad), velocity) in weight.iter_mut().zip(grad).zip(velocity) {
                let grad = grad + weight_decay * *weight;
                *velocity = momentum * *velocity + grad;
                let step = if nesterov { grad + momentum * *velocity } else { *velocity };
                *weight -= learning_rate * step;
            }
        },
    );
}

/// Sum of squares: tasks of 16 Ki elements in `f32` by 32 lanes, added in order in `f64`.
pub fn sum_of_squares(values: &[f32]) -> f64 {
    struct Squares<'a>(&'a [f32]);
    impl Kernel for Squares<'_> {
        type Output = f32;
        #[inline(always)]
        fn run<S: crate::simd::Simd>(self, _simd: S) -> f32 {
            lane_sum(self.0, |x| x * x)
        }
    }
    let isa = Isa::active();
    let tasks = values.par_chunks(ELEMENTS_PER_TASK).map(|values| isa.run(Squares(values)));
    tasks.collect::<Vec<f32>>().into_iter().map(f64::from).sum()
}

/// Sum by 32 running lanes, which are then added as a tree: the same for every instruction set.
pub(crate) fn sum(values: &[f32]) -> f32 {
    lane_sum(values, |x| x)
}

/// Sum of `f(x)` over a slice by 32 lanes; the last `len % 32` go to the first lanes.
#[inline(always)]
pub(crate) fn lane_sum(values: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0_f32; 32];
    let (chunks, rest) = values.as_chunks::<32>();
    for chunk in chunks {
        for i in 0..32 {
            lanes[i] += f(chunk[i]);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += f(x);
    }
    tree(lanes)
}

/// Adds 32 lanes pairwise.
#[inline(always)]
pub(crate) fn tree(mut lanes: [f32; 32]) -> f32 {
    let mut width = 16;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}
