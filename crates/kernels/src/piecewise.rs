//! Functions made of a few simple pieces, elementwise, forward and backward.
//!
//! ```text
//! ReLU          max(x, 0)                       slope 1 where x > 0
//! clip          min(max(x, low), high)          ReLU6 is 0 to 6; slope 1 where low < x < high
//! leaky ReLU    x where x >= 0, else slope · x  Maas, Hannun, Ng, 2013
//! hard sigmoid  min(max(slope · x + offset, 0), 1)
//! hard swish    x min(max(x + 3, 0), 6) / 6     Howard et al., 2019, arXiv:1905.02244
//! affine        scale · x + offset
//! ```
//! Which piece a value lies on is decided by a second value, which is `x` itself but where an
//! activation pattern is held: there the function is the piece that another pass was on. A NaN stays NaN.
//!
//! # Threads
//! Elementwise, in tasks of 16 Ki elements: the same for any number of threads.

use rayon::prelude::*;

use crate::elementwise::{map, zip};
use crate::parallel::ELEMENTS_PER_TASK;

/// Which function; see the [module](self).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Piecewise {
    /// `max(x, 0)`
    Relu,
    /// `x` between two bounds.
    Clip {
        /// The least value.
        low: f32,
        /// The largest value.
        high: f32,
    },
    /// `x`, or a share of it below 0.
    LeakyRelu {
        /// That share.
        slope: f32,
    },
    /// A straight line between 0 and 1.
    HardSigmoid {
        /// Its slope.
        slope: f32,
        /// Its value at 0.
        offset: f32,
    },
    /// `x` times the hard sigmoid of slope 1/6 and offset 1/2.
    HardSwish,
    /// A straight line.
    Affine {
        /// Its slope.
        scale: f32,
        /// Its value at 0.
        offset: f32,
    },
}

impl Piecewise {
    /// Value and slope at `x` of the piece that `by` lies on.
    #[inline(always)]
    fn at(self, by: f32, x: f32) -> (f32, f32) {
        match self {
            Self::Relu if by <= 0.0 => (0.0, 0.0),
            Self::Clip { low, .. } if by <= low => (low, 0.0),
            Self::Clip { high, .. } if by >= high => (high, 0.0),
            Self::Relu | Self::Clip { .. } => (x, 1.0),
            Self::LeakyRelu { slope } if by < 0.0 => (slope * x, slope),
            Self::LeakyRelu { .. } => (x, 1.0),
            Self::HardSigmoid { slope, offset } => match slope * by + offset {
                line if line <= 0.0 => (0.0, 0.0),
                line if line >= 1.0 => (1.0, 0.0),
                _ => (slope * x + offset, slope),
            },
            Self::HardSwish if by <= -3.0 => (0.0, 0.0),
            Self::HardSwish if by >= 3.0 => (x, 1.0),
            Self::HardSwish => (x * (x + 3.0) / 6.0, (2.0 * x + 3.0) / 6.0),
            Self::Affine { scale, offset } => (scale * x + offset, scale),
        }
    }
}

/// `$body` with `$f` as one function's formula: the choice stands outside the loop.
macro_rules! each_kind {
    ($function:expr, $f:ident => $body:expr) => {
        match $function {
            Piecewise::Relu => {
                let $f = |by: f32, x: f32| Piecewise::Relu.at(by, x);
                $body
            }
            Piecewise::Clip { low, high } => {
                let $f = move |by: f32, x: f32| Piecewise::Clip { low, high }.at(by, x);
                $body
            }
            Piecewise::LeakyRelu { slope } => {
                let $f = move |by: f32, x: f32| Piecewise::LeakyRelu { slope }.at(by, x);
                $body
            }
            Piecewise::HardSigmoid { slope, offset } => {
                let $f = move |by: f32, x: f32| Piecewise::HardSigmoid { slope, offset }.at(by, x);
                $body
            }
            Piecewise::HardSwish => {
                let $f = |by: f32, x: f32| Piecewise::HardSwish.at(by, x);
                $body
            }
            Piecewise::Affine { scale, offset } => {
                let $f = move |by: f32, x: f32| Piecewise::Affine { scale, offset }.at(by, x);
                $body
            }
        }
    };
}

/// `output = f(input)`; the pieces are those of `decided`, if given.
///
/// # Panics
/// If the lengths differ.
pub fn piecewise(function: Piecewise, decided: Option<&[f32]>, input: &[f32], output: &mut [f32]) {
    match decided {
        None => each_kind!(function, f => map(input, output, move |x| f(x, x).0)),
        Some(decided) => {
            each_kind!(function, f => zip(decided, input, output, move |by, x| f(by, x).0));
        }
    }
}

/// `input_grad = output_grad · f'(input)`, with the pieces of `decided`, if given.
///
/// # Panics
/// If the lengths differ.
pub fn piecewise_backward(
    function: Piecewise,
    decided: Option<&[f32]>,
    input: &[f32],
    output_grad: &[f32],
    input_grad: &mut [f32],
) {
    let Some(decided) = decided else {
        each_kind!(function, f => {
            zip(input, output_grad, input_grad, move |x, grad| grad * f(x, x).1);
        });
        return;
    };
    assert_eq!(decided.len(), input.len(), "what decided and input have different lengths");
    assert_eq!(output_grad.len(), input.len(), "gradient and input have different lengths");
    assert_eq!(input_grad.len(), input.len(), "both gradients have different lengths");
    let sources = (decided.par_chunks(ELEMENTS_PER_TASK))
        .zip(input.par_chunks(ELEMENTS_PER_TASK))
        .zip(output_grad.par_chunks(ELEMENTS_PER_TASK));
    (input_grad.par_chunks_mut(ELEMENTS_PER_TASK).zip(sources)).for_each(
        |(to, ((decided, input), grad))| {
            let sources = decided.iter().zip(input).zip(grad);
            for (to, ((&by, &x), &grad)) in to.iter_mut().zip(sources) {
                *to = grad * function.at(by, x).1;
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Seeded, assert_same_for_any_threads};

    const ALL: [Piecewise; 6] = [
        Piecewise::Relu,
        Piecewise::Clip { low: -0.5, high: 1.5 },
        Piecewise::LeakyRelu { slope: 0.1 },
        Piecewise::HardSigmoid { slope: 0.25, offset: 0.4 },
        Piecewise::HardSwish,
        Piecewise::Affine { scale: -1.5, offset: 2.0 },
    ];

    fn formula(function: Piecewise, x: f32) -> f32 {
        match function {
            Piecewise::Relu => x.max(0.0),
            Piecewise::Clip { low, high } => x.max(low).min(high),
            Piecewise::LeakyRelu { slope } => x.max(0.0) + slope * x.min(0.0),
            Piecewise::HardSigmoid { slope, offset } => (slope * x + offset).clamp(0.0, 1.0),
            Piecewise::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
            Piecewise::Affine { scale, offset } => scale * x + offset,
        }
    }

    fn values(len: usize) -> Vec<f32> {
        let mut seeded = Seeded(5);
        (0..len).map(|_| 6.0 * seeded.value()).collect()
    }

    #[test]
    fn values_and_slopes_are_the_formulas() {
        let x = values(ELEMENTS_PER_TASK + 5);
        let ones = vec![1.0; x.len()];
        for function in ALL {
            let (mut y, mut slopes) = (vec![f32::NAN; x.len()], vec![f32::NAN; x.len()]);
            piecewise(function, None, &x, &mut y);
            piecewise_backward(function, None, &x, &ones, &mut slopes);
            for ((&x, &y), &slope) in x.iter().zip(&y).zip(&slopes) {
                assert!((y - formula(function, x)).abs() < 1e-6, "{function:?} at {x}: {y}");
                let step = 1e-2;
                let [low, high] = [x - step, x + step].map(|x| formula(function, x));
                let [left, right] = [formula(function, x) - low, high - formula(function, x)];
                // Not across a kink.
                if (left - right).abs() < 1e-4 {
                    let difference = (high - low) / (2.0 * step);
                    assert!((slope - difference).abs() < 1e-2, "{function:?}' at {x}: {slope}");
                }
            }
        }
    }

    #[test]
    fn a_held_piece_goes_on_beyond_its_end() {
        let decided = [1.0, -1.0, 1.0];
        let (x, mut y, mut grad) = ([-2.0, 5.0, 5.0], [0.0; 3], [0.0; 3]);
        let clip = Piecewise::Clip { low: 0.0, high: 3.0 };
        piecewise(clip, Some(&decided), &x, &mut y);
        assert_eq!(y, [-2.0, 0.0, 5.0]);
        piecewise_backward(clip, Some(&decided), &x, &[2.0; 3], &mut grad);
        assert_eq!(grad, [2.0, 0.0, 2.0]);
    }

    #[test]
    fn nan_stays_nan_and_threads_do_not_matter() {
        for function in ALL {
            let mut y = [0.0];
            piecewise(function, None, &[f32::NAN], &mut y);
            assert!(y[0].is_nan(), "{function:?}");
            let x = values(3 * ELEMENTS_PER_TASK);
            assert_same_for_any_threads("piecewise", || {
                let mut y = vec![0.0; x.len()];
                piecewise(function, None, &x, &mut y);
                y
            });
        }
    }
}
