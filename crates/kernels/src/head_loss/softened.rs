//! The last pass of [`Divergence::Forward`](super::Divergence::Forward): a row's logits of some
//! classes become the gradient by them.

use super::sums::{Given, Own};
use crate::isa::Kernel;
use crate::simd::Simd;
use crate::special::exp;

/// The student's logits alone.
pub(super) struct Plain<'a> {
    pub(super) own: &'a mut [f32],
    pub(super) label: Option<usize>,
    pub(super) ce_factor: f32,
    pub(super) sums: &'a Own,
}

/// Of the label's own class the difference, to be rounded once.
fn own_class(
    logits: &[f32],
    label: Option<usize>,
    factor: f32,
    sums: &Own,
) -> Option<(usize, f64)> {
    label.map(|label| {
        let p = (f64::from(logits[label]) - f64::from(sums.max)).exp() / sums.sum[0];
        (label, f64::from(factor) * (p - 1.0))
    })
}

impl Kernel for Plain<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let Self { own, label, ce_factor, sums } = self;
        let own_class = own_class(own, label, ce_factor, sums);
        let plain = (f64::from(ce_factor) / sums.sum[0]) as f32;
        for z in own.iter_mut() {
            *z = plain * exp::<S>(*z - sums.max);
        }
        if let Some((label, difference)) = own_class {
            own[label] = difference as f32;
        }
    }
}

/// With teachers; `others` are the logits of those behind the first.
pub(super) struct Differences<'a> {
    pub(super) own: &'a mut [f32],
    /// Of the first teacher; overwritten.
    pub(super) mixture: &'a mut [f32],
    pub(super) others: &'a [&'a [f32]],
    pub(super) label: Option<usize>,
    pub(super) ce_factor: f32,
    pub(super) kd_factor: f32,
    pub(super) temperature: f32,
    pub(super) sums: &'a Own,
    /// Of each teacher, one at least.
    pub(super) given: &'a [Given],
}

impl Kernel for Differences<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let Self { own, mixture, others, label, ce_factor, kd_factor, temperature, sums, given } =
            self;
        let inverse = 1.0 / temperature;
        let scale = f64::from(kd_factor) * f64::from(temperature);
        let factor = |given: &Given| (scale * f64::from(given.weight) / given.sum) as f32;
        let (first, max) = (factor(&given[0]), given[0].max);
        for p in mixture.iter_mut() {
            *p = first * exp::<S>((*p - max) * inverse);
        }
        for (given, logits) in given[1..].iter().zip(others) {
            let (factor, max) = (factor(given), given.max);
            for (p, &t) in mixture.iter_mut().zip(*logits) {
                *p += factor * exp::<S>((t - max) * inverse);
            }
        }
        let own_class = own_class(own, label, ce_factor, sums);
        let max = sums.max;
        let plain = (f64::from(ce_factor) / sums.sum[0]) as f32;
        let weights: f64 = given.iter().map(|given| f64::from(given.weight)).sum();
        let soft = (scale * weights / sums.sum[1]) as f32;
        let distilled = |z: f32, p: f32| soft * exp::<S>((z - max) * inverse) - p;
        let own_class = own_class
            .map(|(label, ce)| (label, ce + f64::from(distilled(own[label], mixture[label]))));
        for (z, &p) in own.iter_mut().zip(&*mixture) {
            *z = plain * exp::<S>(*z - max) + distilled(*z, p);
        }
        if let Some((label, difference)) = own_class {
            own[label] = difference as f32;
        }
    }
}
