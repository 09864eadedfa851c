//! Dropout (Srivastava et al., JMLR 2014) whose mask is a hash, so that it is nowhere kept.
//!
//! ```text
//! word(key, j) = the j-th value of SplitMix64 from `key`, see `faculty_random::splitmix64`
//! draw(key, i) = the low (i even) or high (i odd) 32 bits of word(key, i / 2)
//! y[r,i]       = x[r,i] / (1 - p) if draw(keys[r], i) >= p 2^32, else 0
//! ```
//! The caller makes a row's key from all that the mask is to depend on: seed, step, sample, layer,
//! position. The mask is then the same whatever batch the row is in, for any number of threads, and
//! after a resume. The gradient by `x` is the same function of the gradient by `y`.

use faculty_random::splitmix64;
use rayon::prelude::*;

use crate::isa::{Isa, Kernel};
use crate::parallel::ELEMENTS_PER_TASK;
use crate::simd::Simd;

/// Draws that share the loop's overhead.
const BLOCK: usize = 16;

/// One task's rows.
struct Rows<'a> {
    width: usize,
    keys: &'a [u64],
    /// Draws below it drop.
    threshold: u32,
    factor: f32,
    values: &'a mut [f32],
}

impl Kernel for Rows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let Self { width, keys, threshold, factor, values } = self;
        for (values, &key) in values.chunks_mut(width).zip(keys) {
            let mut index = 0;
            for block in values.chunks_mut(BLOCK) {
                let mut factors = [0.0_f32; BLOCK];
                for i in 0..BLOCK / 2 {
                    let word = splitmix64(key, index + i as u64);
                    let keep = |draw: u32| if draw >= threshold { factor } else { 0.0 };
                    factors[2 * i] = keep(word as u32);
                    factors[2 * i + 1] = keep((word >> 32) as u32);
                }
                index += (BLOCK / 2) as u64;
                for (x, factor) in block.iter_mut().zip(&factors) {
                    // Not a product: what is dropped is 0, also where it was infinite or NaN.
                    *x = if *factor == 0.0 { 0.0 } else { *x * factor };
                }
            }
        }
    }
}

/// Drops and scales `values` `[keys, width]` in place; forward, and backward on the gradient.
///
/// # Panics
/// If `values` is not a row for each key, or `probability` is not in `0..1`.
///
/// ```
/// let (mut values, mut again) = ([1.0; 8], [1.0; 8]);
/// faculty_kernels::dropout::dropout(4, &[7, 8], 0.5, &mut values);
/// faculty_kernels::dropout::dropout(4, &[7, 8], 0.5, &mut again);
/// assert_eq!(values, again);
/// assert!(values.iter().all(|&x| x == 0.0 || x == 2.0));
/// ```
pub fn dropout(width: usize, keys: &[u64], probability: f32, values: &mut [f32]) {
    let want = crate::sizes::elements([keys.len(), width]);
    assert!(values.len() == want, "`values` has {} elements, {want} expected", values.len());
    assert!(
        (0.0..1.0).contains(&probability),
        "`probability` is {probability}, it must be at least 0 and below 1"
    );
    if probability == 0.0 || width == 0 {
        return;
    }
    // Exact: a float's 24 bits fit, and the largest below 1 gives less than 2^32.
    let threshold = (f64::from(probability) * 2_f64.powi(32)) as u32;
    let factor = 1.0 / (1.0 - probability);
    let isa = Isa::active();
    let rows = (ELEMENTS_PER_TASK / width).max(1);
    (values.par_chunks_mut(rows * width)).zip(keys.par_chunks(rows)).for_each(|(values, keys)| {
        isa.run(Rows { width, keys, threshold, factor, values });
    });
}

/// Stochastic depth (Huang et al., ECCV 2016) by samples: drops whole rows of `values`
/// `[keys, width]` and scales the others, in place. A row's draw is the first one that [`dropout`]
/// makes of its key.
///
/// # Panics
/// As [`dropout`].
pub fn drop_rows(width: usize, keys: &[u64], probability: f32, values: &mut [f32]) {
    let want = crate::sizes::elements([keys.len(), width]);
    assert!(values.len() == want, "`values` has {} elements, {want} expected", values.len());
    let mut factors = vec![1.0; keys.len()];
    dropout(1, keys, probability, &mut factors);
    if width == 0 {
        return;
    }
    (values.par_chunks_mut(width)).zip(&factors).for_each(|(row, &factor)| {
        if factor == 0.0 {
            // Not a product, as there.
            row.fill(0.0);
        } else {
            row.iter_mut().for_each(|x| *x *= factor);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::assert_same_for_any_threads;

    #[test]
    fn the_mask_is_the_hash_of_key_and_position() {
        for width in [1, 2, 15, 16, 17, 100] {
            let keys: Vec<u64> = (0..7).map(|row| row * row).collect();
            for isa in Isa::available() {
                let mut values = vec![3.0; 7 * width];
                let (threshold, factor) = (1 << 30, 4.0 / 3.0);
                isa.run(Rows { width, keys: &keys, threshold, factor, values: &mut values });
                for (i, &y) in values.iter().enumerate() {
                    let (row, column) = (i / width, i % width);
                    let draw = splitmix64(keys[row], column as u64 / 2) >> (32 * (column % 2));
                    let want = if (draw as u32) < 1 << 30 { 0.0 } else { 4.0 };
                    assert_eq!(y, want, "{row}, {column}");
                }
            }
        }
    }

    #[test]
    fn the_share_that_is_dropped_is_the_probability() {
        let keys: Vec<u64> = (0..1000).collect();
        for probability in [0.1_f32, 0.5, 0.9] {
            let mut values = vec![1.0; 1000 * 100];
            dropout(100, &keys, probability, &mut values);
            let zeros = values.iter().filter(|&&x| x == 0.0).count() as f64;
            let p = f64::from(probability);
            // Binomial; six standard deviations.
            let deviation = (1e5 * p * (1.0 - p)).sqrt();
            assert!((zeros - 1e5 * p).abs() < 6.0 * deviation, "{zeros} at {probability}");
            let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / 1e5;
            assert!((mean - 1.0).abs() < 6.0 * deviation / 1e5 / (1.0 - p), "{mean}");
        }
    }

    #[test]
    fn nothing_is_dropped_at_zero_and_what_is_dropped_is_zero() {
        let mut values = [f32::NAN, 1.0, f32::INFINITY];
        dropout(3, &[1], 0.0, &mut values);
        assert!(values[0].is_nan() && values[1] == 1.0);
        let mut values = [f32::NAN; 1000];
        dropout(1000, &[1], 0.5, &mut values);
        assert!(values.contains(&0.0));
    }

    #[test]
    fn whole_rows_are_dropped_as_their_keys_say() {
        let keys: Vec<u64> = (0..1000).collect();
        let mut values: Vec<f32> = (0..3000).map(|i| 1.0 + (i % 3) as f32).collect();
        values[..3].fill(f32::NAN);
        drop_rows(3, &keys, 0.25, &mut values);
        let mut factors = vec![1.0; 1000];
        dropout(1, &keys, 0.25, &mut factors);
        let dropped = factors.iter().filter(|&&factor| factor == 0.0).count();
        assert!((150..350).contains(&dropped), "{dropped}");
        for (row, &factor) in values.chunks(3).zip(&factors).skip(1) {
            assert_eq!(row, [factor, 2.0 * factor, 3.0 * factor]);
        }
        assert!(values[..3].iter().all(|x| if factors[0] == 0.0 { *x == 0.0 } else { x.is_nan() }));
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        let keys: Vec<u64> = (0..500).collect();
        assert_same_for_any_threads("dropout", || {
            let mut values = vec![1.0; 500 * 100];
            dropout(100, &keys, 0.3, &mut values);
            values
        });
    }
}
