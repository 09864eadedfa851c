//! What rules of weighting want to know of a head's distributions, in memory that does not grow with
//! the classes.

use rayon::prelude::*;

use super::head::{CLASSES, Head, ROWS, check_labels};
use super::reductions::{largest, sum};
use crate::isa::{Isa, Kernel};
use crate::scratch::Scratch;
use crate::simd::Simd;
use crate::special::exp;

/// A row's distribution `softmax(z / T)`, in nats.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RowStatistics {
    /// `-log softmax(z / T)[label]`
    pub ce: f64,
    /// `log Σ exp(z / T)`
    pub log_sum_exp: f64,
    /// `-Σ p log p`, 0 or more.
    pub entropy: f64,
    /// Above 0, at most 1.
    pub largest_probability: f64,
}

/// Statistics of every row.
///
/// # Shapes
/// As in [`head_loss`](super::head_loss): labels `[rows]`, also below the classes where nobody asks
/// for their cross-entropy. Logits are made once, in blocks of at most 4 MiB.
///
/// # Panics
/// If a length does not match, the width is 0, a label is not below `classes`, or the temperature is
/// not greater than 0.
#[must_use]
pub fn head_statistics(
    classes: usize,
    head: Head<'_>,
    labels: &[u32],
    temperature: f32,
) -> Vec<RowStatistics> {
    let rows = labels.len();
    head.check("the statistics", rows, classes);
    assert!(temperature > 0.0, "`temperature` is {temperature}, it must be greater than 0");
    check_labels(classes, labels);
    let isa = Isa::active();
    let mut all = vec![Sums::default(); rows];
    let mut logits = Scratch::take(ROWS.min(rows) * CLASSES.min(classes));
    for (block, sums) in all.chunks_mut(ROWS).enumerate() {
        let (first_row, count) = (block * ROWS, sums.len());
        for first in (0..classes).step_by(CLASSES) {
            let some = [first, CLASSES.min(classes - first)];
            let logits = &mut logits[..count * some[1]];
            head.logits([first_row, count], some, logits);
            let rows = sums.par_iter_mut().zip(logits.par_chunks(some[1])).with_min_len(4);
            rows.enumerate().for_each(|(row, (sums, logits))| {
                let label = (labels[first_row + row] as usize).checked_sub(first);
                let label = label.filter(|&label| label < logits.len());
                isa.run(Measure { logits, label, inverse: 1.0 / temperature, sums });
            });
        }
    }
    all.iter().map(|sums| sums.statistics(f64::from(temperature))).collect()
}

#[derive(Clone, Copy)]
struct Sums {
    max: f32,
    /// Of the exponentials of differences from the largest, and of those times the differences.
    sum: [f64; 2],
    label: f32,
}

impl Default for Sums {
    fn default() -> Self {
        Self { max: f32::NEG_INFINITY, sum: [0.0; 2], label: 0.0 }
    }
}

impl Sums {
    fn statistics(&self, temperature: f64) -> RowStatistics {
        let [sum, cross] = self.sum;
        let log_sum_exp = f64::from(self.max) / temperature + sum.ln();
        RowStatistics {
            ce: log_sum_exp - f64::from(self.label) / temperature,
            log_sum_exp,
            // Rounding may leave it a little below 0.
            entropy: (sum.ln() - cross / sum).max(0.0),
            largest_probability: 1.0 / sum,
        }
    }
}

struct Measure<'a> {
    logits: &'a [f32],
    label: Option<usize>,
    /// `1 / T`
    inverse: f32,
    sums: &'a mut Sums,
}

impl Kernel for Measure<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let Self { logits, label, inverse, sums } = self;
        let max = sums.max.max(largest(logits));
        // Before the first block there is nothing to shrink, and no difference.
        if sums.max > f32::NEG_INFINITY {
            let fall = (f64::from(sums.max) - f64::from(max)) * f64::from(inverse);
            let [sum, cross] = sums.sum;
            sums.sum = [sum, cross + sum * fall].map(|sum| sum * fall.exp());
        }
        sums.max = max;
        let own = sum(logits.len(), |i| {
            let z = (logits[i] - max) * inverse;
            let e = exp::<S>(z);
            // What has no weight adds nothing, however far away it is.
            [e, if e == 0.0 { 0.0 } else { e * z }]
        });
        for (sum, own) in sums.sum.iter_mut().zip(own) {
            *sum += own;
        }
        if let Some(label) = label {
            sums.label = logits[label];
        }
    }
}
