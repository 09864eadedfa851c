//! Divergences between the student and the mixture of its teachers, `p = Σ_k w_k p_k`: logits become
//! logarithms of probabilities, these two sums, these the gradient.
//!
//! ```text
//! m = β p + (1 - β) q        D = β KL(p || m) + (1 - β) KL(q || m)
//! dD/dz = (1 - β) q (ln q - ln m - KL(q || m))
//! ```
//! At the ends of β, where this would be 0, `D` is what it tends to in proportion: at 0
//! `KL(p || q)` with the gradient `q - p`, at 1 `KL(q || p)` with `q (ln q - ln p - KL(q || p))`.

use super::reductions::{LANES, sum};
use super::sums::{Given, Own};
use crate::isa::Kernel;
use crate::simd::Simd;
use crate::special::{exp, ln};

/// How two distributions are compared.
#[derive(Clone, Copy)]
pub(super) enum Between {
    /// `KL(p || q)`
    Forward,
    /// With `ln β` and `ln (1 - β)`, and the two themselves.
    Middle { logs: [f32; 2], shares: [f64; 2] },
    /// `KL(q || p)`
    Reverse,
}

impl Between {
    pub(super) fn new(beta: f64) -> Self {
        if beta <= 0.0 {
            Self::Forward
        } else if beta >= 1.0 {
            Self::Reverse
        } else {
            let shares = [beta, 1.0 - beta];
            Self::Middle { logs: shares.map(|share| share.ln() as f32), shares }
        }
    }

    /// `D` of the two terms.
    pub(super) fn divergence(self, terms: Terms) -> f64 {
        match self {
            Self::Forward => terms.of_mixture,
            Self::Middle { shares, .. } => {
                shares[0] * terms.of_mixture + shares[1] * terms.of_student
            }
            Self::Reverse => terms.of_student,
        }
    }
}

/// `KL(p || m)` and `KL(q || m)`; at the ends of β the one that counts.
#[derive(Clone, Copy, Default)]
pub(super) struct Terms {
    of_mixture: f64,
    of_student: f64,
}

/// `ln (e^a + e^b)`
#[inline(always)]
fn add_logarithms<S: Simd>(a: f32, b: f32) -> f32 {
    let (high, low) = if a > b { (a, b) } else { (b, a) };
    high + ln::<S>(1.0 + exp::<S>(low - high))
}

/// A row's logits of some classes become logarithms of probabilities, of the student and of the
/// mixture; `others` are the logits of those behind the first.
pub(super) struct Logarithms<'a> {
    pub(super) own: &'a mut [f32],
    /// Logits of the first teacher before, of the mixture behind.
    pub(super) mixture: &'a mut [f32],
    pub(super) others: &'a [&'a [f32]],
    pub(super) sums: &'a Own,
    /// Of each teacher, one at least.
    pub(super) given: &'a [Given],
}

impl Kernel for Logarithms<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let Self { own, mixture, others, sums, given } = self;
        let (max, normaliser) = (sums.max, sums.sum[0].ln() as f32);
        own.iter_mut().for_each(|z| *z = (*z - max) - normaliser);
        // Nobody to compare with: the student is its own aim.
        if given.iter().all(|given| given.weight == 0.0) {
            mixture.copy_from_slice(own);
            return;
        }
        // A weight of 0 gives -∞, whose exponential is 0.
        let offset = |given: &Given| (f64::from(given.weight).ln() - given.sum.ln()) as f32;
        let (max, first) = (given[0].max, offset(&given[0]));
        mixture.iter_mut().for_each(|z| *z = (*z - max) + first);
        if given.len() == 1 {
            return;
        }
        for start in (0..mixture.len()).step_by(LANES) {
            let mixed = &mut mixture[start..];
            let len = mixed.len().min(LANES);
            let mixed = &mut mixed[..len];
            let mut max = [f32::NEG_INFINITY; LANES];
            max[..len].copy_from_slice(mixed);
            for (given, logits) in given[1..].iter().zip(others) {
                let shift = offset(given);
                let logits = &logits[start..][..len];
                for (max, &t) in max.iter_mut().zip(logits) {
                    let value = (t - given.max) + shift;
                    *max = if value > *max { value } else { *max };
                }
            }
            let mut total = [0.0_f32; LANES];
            for (i, &value) in mixed.iter().enumerate() {
                total[i] = exp::<S>(value - max[i]);
            }
            for (given, logits) in given[1..].iter().zip(others) {
                let shift = offset(given);
                let logits = &logits[start..][..len];
                for (i, &t) in logits.iter().enumerate() {
                    total[i] += exp::<S>(((t - given.max) + shift) - max[i]);
                }
            }
            for (i, value) in mixed.iter_mut().enumerate() {
                *value = max[i] + ln::<S>(total[i]);
            }
        }
    }
}

/// Adds a row's terms of some classes.
pub(super) struct Compare<'a> {
    /// Logarithms of probabilities.
    pub(super) own: &'a [f32],
    /// Likewise.
    pub(super) mixture: &'a [f32],
    pub(super) between: Between,
    pub(super) terms: &'a mut Terms,
}

/// `e^a (a - b)`; what has no weight adds nothing, however far apart the two are.
#[inline(always)]
fn term<S: Simd>(a: f32, b: f32) -> f32 {
    let p = exp::<S>(a);
    if p == 0.0 { 0.0 } else { p * (a - b) }
}

impl Kernel for Compare<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let Self { own, mixture, between, terms } = self;
        let mixture = &mixture[..own.len()];
        let [of_mixture, of_student] = match between {
            Between::Forward => sum(own.len(), |i| [term::<S>(mixture[i], own[i]), 0.0]),
            Between::Middle { logs: [p, q], .. } => sum(own.len(), |i| {
                let middle = add_logarithms::<S>(p + mixture[i], q + own[i]);
                [term::<S>(mixture[i], middle), term::<S>(own[i], middle)]
            }),
            Between::Reverse => sum(own.len(), |i| [0.0, term::<S>(own[i], mixture[i])]),
        };
        terms.of_mixture += of_mixture;
        terms.of_student += of_student;
    }
}

/// The gradient in place of the student's logarithms.
pub(super) struct Differences<'a> {
    pub(super) own: &'a mut [f32],
    pub(super) mixture: &'a [f32],
    pub(super) between: Between,
    pub(super) label: Option<usize>,
    pub(super) ce_factor: f32,
    pub(super) kd_factor: f32,
    /// Of all classes.
    pub(super) terms: Terms,
}

impl Kernel for Differences<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let kd = self.kd_factor;
        let mean = self.terms.of_student as f32;
        match self.between {
            Between::Forward => self.with(simd, |q, p, _| kd * (q - exp::<S>(p))),
            Between::Middle { logs: [to_p, to_q], shares } => {
                let factor = kd * shares[1] as f32;
                self.with(simd, |q, p, log| {
                    let middle = add_logarithms::<S>(to_p + p, to_q + log);
                    factor * q * ((log - middle) - mean)
                });
            }
            Between::Reverse => self.with(simd, |q, p, log| kd * q * ((log - p) - mean)),
        }
    }
}

impl Differences<'_> {
    /// `distilled(q, ln p, ln q)`
    #[inline(always)]
    fn with<S: Simd>(self, _simd: S, distilled: impl Fn(f32, f32, f32) -> f32) {
        let Self { own, mixture, label, ce_factor, .. } = self;
        // Of the label's own class the difference is rounded once.
        let own_class = label.map(|label| {
            let log = own[label];
            let ce = f64::from(ce_factor) * f64::from(log).exp_m1();
            (label, ce + f64::from(distilled(exp::<S>(log), mixture[label], log)))
        });
        for (log, &p) in own.iter_mut().zip(mixture) {
            let q = exp::<S>(*log);
            *log = ce_factor * q + distilled(q, p, *log);
        }
        if let Some((label, difference)) = own_class {
            own[label] = difference as f32;
        }
    }
}
