//! The first pass: what a row's logits sum up to, of the student and of each teacher.

use super::reductions::{largest, sum};
use crate::isa::Kernel;
use crate::simd::Simd;
use crate::special::exp;

/// What one row of the student's logits comes to; sums are of exponentials of differences from the
/// largest logit.
#[derive(Clone, Copy)]
pub(super) struct Own {
    pub(super) max: f32,
    /// Plain, and softened.
    pub(super) sum: [f64; 2],
    pub(super) label: f32,
}

impl Default for Own {
    fn default() -> Self {
        Self { max: f32::NEG_INFINITY, sum: [0.0; 2], label: 0.0 }
    }
}

impl Own {
    pub(super) fn ce(&self) -> f64 {
        f64::from(self.max) + self.sum[0].ln() - f64::from(self.label)
    }
}

/// The same of a teacher's logits, all softened.
#[derive(Clone, Copy)]
pub(super) struct Given {
    pub(super) max: f32,
    pub(super) sum: f64,
    /// The sum of the exponentials times (teacher - student) / T.
    cross: f64,
    /// Of the teacher in this row.
    pub(super) weight: f32,
}

impl Given {
    pub(super) fn new(weight: f32) -> Self {
        Self { max: f32::NEG_INFINITY, sum: 0.0, cross: 0.0, weight }
    }

    /// `T² KL(teacher || student)`
    pub(super) fn kd(&self, own: &Own, temperature: f64) -> f64 {
        let student = f64::from(own.max) / temperature + own.sum[1].ln();
        let teacher = f64::from(self.max) / temperature + self.sum.ln();
        temperature * temperature * (self.cross / self.sum - teacher + student)
    }
}

/// Over the student's logits of some classes.
pub(super) struct MeasureOwn<'a> {
    pub(super) logits: &'a [f32],
    pub(super) label: Option<usize>,
    /// `1 / T`; without one there is nobody to be softened for.
    pub(super) inverse: Option<f32>,
    pub(super) sums: &'a mut Own,
}

impl Kernel for MeasureOwn<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let Self { logits, label, inverse, sums } = self;
        let max = sums.max.max(largest(logits));
        // Before the first block there is nothing to shrink, and no difference.
        if sums.max > f32::NEG_INFINITY {
            let fall = f64::from(sums.max) - f64::from(max);
            sums.sum[0] *= fall.exp();
            sums.sum[1] *= (fall * f64::from(inverse.unwrap_or(1.0))).exp();
        }
        sums.max = max;
        let [plain, soft] = sum(logits.len(), |i| {
            let z = logits[i] - max;
            [exp::<S>(z), inverse.map_or(0.0, |inverse| exp::<S>(z * inverse))]
        });
        sums.sum[0] += plain;
        sums.sum[1] += soft;
        if let Some(label) = label {
            sums.label = logits[label];
        }
    }
}

/// Over a teacher's logits of some classes.
pub(super) struct MeasureGiven<'a> {
    pub(super) own: &'a [f32],
    pub(super) teacher: &'a [f32],
    /// `1 / T`
    pub(super) inverse: f32,
    pub(super) sums: &'a mut Given,
}

impl Kernel for MeasureGiven<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let Self { own, teacher, inverse, sums } = self;
        let max = sums.max.max(largest(teacher));
        if sums.max > f32::NEG_INFINITY {
            let fall = f64::from(sums.max) - f64::from(max);
            let factor = (fall * f64::from(inverse)).exp();
            sums.sum *= factor;
            sums.cross *= factor;
        }
        sums.max = max;
        let own = &own[..teacher.len()];
        let [all, cross] = sum(teacher.len(), |i| {
            let p = exp::<S>((teacher[i] - max) * inverse);
            // What has no weight adds nothing, however far apart the two are.
            [p, if p == 0.0 { 0.0 } else { p * ((teacher[i] - own[i]) * inverse) }]
        });
        sums.sum += all;
        sums.cross += cross;
    }
}
