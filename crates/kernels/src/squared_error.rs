//! Mean squared difference of two batches of maps, per sample, fused with its gradient.
//!
//! ```text
//! error[b]   = mean_i (a[b,i] - t[b,i])^2
//! grad[b,i]  = factor[b] * 2 / elements * (a[b,i] - t[b,i])       gradient of sum_b factor[b] error[b] by a
//! ```
//!
//! # Shapes
//! maps and gradient `[batch, elements]`, factors and errors `[batch]`.
//!
//! # Error
//! Sums of up to 4096 squares in `f32` in 16 lanes each, those in `f64`.
//!
//! # Threads
//! One task a sample: the same for any number of threads.

use rayon::prelude::*;

use crate::isa::{Isa, Kernel};
use crate::simd::Simd;

/// Independent sums, so that the reduction can use whole vectors.
const LANES: usize = 16;
/// Elements that are added in `f32` before the sums are widened.
const BLOCK: usize = 4096;

/// One sample.
struct Sample<'a> {
    own: &'a [f32],
    target: &'a [f32],
    factor: f32,
    grad: &'a mut [f32],
}

impl Kernel for Sample<'_> {
    type Output = f64;
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> f64 {
        let factor = self.factor * 2.0 / self.own.len() as f32;
        let mut whole = 0.0;
        let blocks = self.own.chunks(BLOCK).zip(self.target.chunks(BLOCK));
        for ((own, target), grad) in blocks.zip(self.grad.chunks_mut(BLOCK)) {
            let mut sums = [0.0_f32; LANES];
            // Whole chunks have a constant length: vector code.
            let (own, own_rest) = own.as_chunks::<LANES>();
            let (target, target_rest) = target.as_chunks::<LANES>();
            let (grad, grad_rest) = grad.as_chunks_mut::<LANES>();
            for ((own, target), grad) in own.iter().zip(target).zip(grad) {
                for i in 0..LANES {
                    let difference = own[i] - target[i];
                    sums[i] += difference * difference;
                    grad[i] = factor * difference;
                }
            }
            for (i, grad) in grad_rest.iter_mut().enumerate() {
                let difference = own_rest[i] - target_rest[i];
                sums[i] += difference * difference;
                *grad = factor * difference;
            }
            whole += sums.iter().map(|&sum| f64::from(sum)).sum::<f64>();
        }
        whole / self.own.len() as f64
    }
}

/// The errors, and the gradient of `Σ_b factors[b] error[b]` by `own` (overwritten).
///
/// # Panics
/// If a length does not match the others.
pub fn squared_error(own: &[f32], target: &[f32], factors: &[f32], grad: &mut [f32]) -> Vec<f64> {
    let batch = factors.len();
    assert!(
        own.len() == target.len() && own.len() == grad.len() && (batch > 0 || own.is_empty()),
        "maps of {} and {} values, a gradient of {}, {batch} factors",
        own.len(),
        target.len(),
        grad.len()
    );
    let elements = own.len() / batch.max(1);
    assert!(elements * batch == own.len(), "{} values do not divide by {batch}", own.len());
    if elements == 0 {
        return vec![0.0; batch];
    }
    let isa = Isa::active();
    (own.par_chunks(elements))
        .zip(target.par_chunks(elements))
        .zip(grad.par_chunks_mut(elements))
        .zip(factors)
        .map(|(((own, target), grad), &factor)| isa.run(Sample { own, target, factor, grad }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Seeded, assert_close, assert_same_for_any_threads};

    #[test]
    fn errors_and_gradients_are_those_of_the_formula() {
        for (batch, elements) in
            [(1, 1), (3, 15), (2, 16), (2, 17), (2, 4095), (1, 4097), (2, 9000)]
        {
            let mut seeded = Seeded((batch * 10_000 + elements) as u64);
            let own = seeded.values(batch * elements);
            let target = seeded.values(batch * elements);
            let factors = seeded.values(batch);
            let mut grad = vec![f32::NAN; own.len()];
            let errors = squared_error(&own, &target, &factors, &mut grad);
            let differences: Vec<f64> =
                own.iter().zip(&target).map(|(&a, &t)| f64::from(a) - f64::from(t)).collect();
            for (b, error) in errors.iter().enumerate() {
                let row = &differences[b * elements..][..elements];
                let want = row.iter().map(|d| d * d).sum::<f64>() / elements as f64;
                assert!((error - want).abs() < 1e-5 * want, "{batch}×{elements}: {error}, {want}");
            }
            let expected: Vec<f64> = differences
                .iter()
                .enumerate()
                .map(|(i, d)| f64::from(factors[i / elements]) * 2.0 / elements as f64 * d)
                .collect();
            assert_close(&format!("{batch}×{elements}"), &grad, &expected, 1e-5, 1e-9);
        }
    }

    #[test]
    fn nothing_is_no_error_and_nan_stays_in_its_sample() {
        assert!(squared_error(&[], &[], &[], &mut []).is_empty());
        let mut grad = [0.0; 4];
        let errors = squared_error(&[f32::NAN, 1.0, 2.0, 3.0], &[0.0; 4], &[1.0; 2], &mut grad);
        assert!(errors[0].is_nan() && errors[1] == 6.5 && grad[0].is_nan() && grad[3] == 3.0);
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        let mut seeded = Seeded(5);
        let (own, target) = (seeded.values(7 * 5000), seeded.values(7 * 5000));
        assert_same_for_any_threads("squared error", || {
            let mut grad = vec![0.0; own.len()];
            let errors = squared_error(&own, &target, &[0.5; 7], &mut grad);
            grad.extend(errors.iter().map(|&e| e as f32));
            grad
        });
    }
}
