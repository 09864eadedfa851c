//! Cross-entropy and distillation loss of a head with many classes, from the values before the
//! head, in memory that does not grow with the classes.
//!
//! ```text
//! z[r] = weight hidden[r]      t[r] = the teacher's likewise
//! CE[r] = -log softmax(z[r])[label[r]]      KD[r] = T² KL(softmax(t[r] / T) || softmax(z[r] / T))
//! L     = sum_r ce_factor[r] CE[r] + kd_factor[r] KD[r]
//! d[r]  = ce_factor[r] (softmax(z[r]) - onehot(label[r])) + kd_factor[r] T (softmax(z[r] / T) - softmax(t[r] / T))
//! hidden_grad[r] = weightᵀ d[r]      weight_grad += sum_r d[r] hidden[r]ᵀ
//! ```
//! Means and masks are the factors: `1 / valid tokens` where a token counts, 0 elsewhere.
//!
//! # Shapes
//! hidden `[rows, width]` and weight `[classes, width]`, the teacher's with a width of its own,
//! labels and factors `[rows]`.
//!
//! # Algorithm
//! Blocks of 512 rows and 2048 classes: logits are made twice, once for the sums of their exponentials, once
//! for the gradient, so that at most 4 MiB of them are there, and as much of the teacher's. A third
//! more products than with all logits kept.
//!
//! # Error
//! Logits as [`matmul`](crate::matmul)'s products. Exponentials to 2e-7, 128 of them summed in
//! `f32`, those sums in `f64`: losses to 1e-6 of the largest logit. Finite at any finite logits.
//!
//! # Threads
//! Blocks in order, rows within them in parallel: the same for any number of threads.

pub mod scalar;
#[cfg(test)]
mod tests;

use rayon::prelude::*;

use crate::isa::{Isa, Kernel};
use crate::matmul::{Finish, Matrix, MatrixMut, matmul};
use crate::scratch::Scratch;
use crate::simd::Simd;
use crate::sizes;
use crate::special::exp;

/// Rows of a block.
const ROWS: usize = 512;
/// Classes of a block.
const CLASSES: usize = 2048;
/// Independent sums, so that a reduction can use whole vectors.
const LANES: usize = 16;

/// The values before a head, and the head.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    /// `[rows, width]`
    pub hidden: &'a [f32],
    /// `[classes, width]`
    pub weight: &'a [f32],
    /// Values of a row.
    pub width: usize,
}

impl Head<'_> {
    fn check(&self, whose: &str, rows: usize, classes: usize) {
        let (width, hidden, weight) = (self.width, self.hidden.len(), self.weight.len());
        let want = [rows, classes].map(|n| sizes::elements([n, width]));
        assert!(width > 0, "the {whose}'s head has a width of 0");
        assert!(
            [hidden, weight] == want,
            "the {whose}'s head has {hidden} and {weight} values, {want:?} expected for {rows} \
             rows, {classes} classes and a width of {width}"
        );
    }

    /// The logits of a block of rows and classes.
    fn logits(&self, rows: [usize; 2], classes: [usize; 2], logits: &mut [f32]) {
        let ([row, rows], [class, classes]) = (rows, classes);
        let width = self.width;
        let hidden = Matrix::new(&self.hidden[row * width..][..rows * width], [rows, width]);
        let weight = &self.weight[class * width..][..classes * width];
        let weight = Matrix::new(weight, [classes, width]).transposed();
        matmul(hidden, weight, Finish::Store, MatrixMut::new(logits, [rows, classes]));
    }
}

/// What the loss compares with, and how much each row counts.
#[derive(Clone, Copy)]
pub struct Targets<'a> {
    /// `[rows]`; also where `ce_factor` is 0 they must be below the classes.
    pub labels: &'a [u32],
    /// Factor of a row's cross-entropy, `[rows]`.
    pub ce_factor: &'a [f32],
    /// The teacher and the factor of a row's distillation term, `[rows]`.
    pub teacher: Option<(Head<'a>, &'a [f32])>,
    /// Softens the distributions of the distillation term; greater than 0.
    pub temperature: f32,
}

/// The gradients.
pub struct HeadGrads<'a> {
    /// `[rows, width]`; overwritten.
    pub hidden: &'a mut [f32],
    /// `[classes, width]`; added to.
    pub weight: &'a mut [f32],
}

/// The terms of a row, without their factors, in nats.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RowLoss {
    /// Cross-entropy.
    pub ce: f64,
    /// Distillation term; 0 without a teacher.
    pub kd: f64,
}

/// The terms of every row, and the gradients of the loss if there is room for them.
///
/// # Panics
/// If a length does not match, a width is 0, a label is not below `classes`, or the temperature is
/// not greater than 0.
pub fn head_loss(
    classes: usize,
    student: Head<'_>,
    targets: &Targets<'_>,
    mut grads: Option<HeadGrads<'_>>,
) -> Vec<RowLoss> {
    let &Targets { labels, ce_factor, teacher, temperature } = targets;
    let rows = labels.len();
    student.check("student", rows, classes);
    assert!(ce_factor.len() == rows, "{} `ce_factor`, {rows} labels", ce_factor.len());
    if let Some((teacher, factor)) = teacher {
        teacher.check("teacher", rows, classes);
        assert!(factor.len() == rows, "{} factors of the teacher, {rows} labels", factor.len());
    }
    assert!(temperature > 0.0, "`temperature` is {temperature}, it must be greater than 0");
    if let Some(grads) = &grads {
        let (got, want) = (
            [grads.hidden.len(), grads.weight.len()],
            [student.hidden.len(), student.weight.len()],
        );
        assert!(got == want, "gradients of {got:?} values, {want:?} expected");
    }
    for (row, &label) in labels.iter().enumerate() {
        assert!(
            (label as usize) < classes,
            "label {label} of row {row} is not below {classes} classes"
        );
    }
    let mut losses = Vec::with_capacity(rows);
    let block = ROWS.min(rows) * CLASSES.min(classes);
    let mut logits =
        [Scratch::take(block), Scratch::take(if teacher.is_some() { block } else { 0 })];
    for first in (0..rows).step_by(ROWS) {
        let count = ROWS.min(rows - first);
        let block = Block { classes, student, targets, rows: [first, count] };
        let sums = block.sums(&mut logits);
        losses.extend(sums.iter().map(|sums| sums.loss(f64::from(temperature))));
        if let Some(grads) = &mut grads {
            block.gradients(&sums, grads, &mut logits);
        }
    }
    losses
}

/// Some rows.
#[derive(Clone, Copy)]
struct Block<'a> {
    classes: usize,
    student: Head<'a>,
    targets: &'a Targets<'a>,
    /// The first, and how many.
    rows: [usize; 2],
}

impl Block<'_> {
    /// Makes the logits of some classes, of the student and the teacher.
    fn logits(&self, classes: [usize; 2], [own, teacher]: &mut [Scratch; 2]) {
        let len = self.rows[1] * classes[1];
        self.student.logits(self.rows, classes, &mut own[..len]);
        if let Some((head, _)) = self.targets.teacher {
            head.logits(self.rows, classes, &mut teacher[..len]);
        }
    }

    /// Where the label of a row of the block stands among the classes from `first` on.
    fn label(&self, row: usize, [first, count]: [usize; 2]) -> Option<usize> {
        let label = self.targets.labels[self.rows[0] + row] as usize;
        label.checked_sub(first).filter(|&label| label < count)
    }

    /// The first pass.
    fn sums(&self, logits: &mut [Scratch; 2]) -> Vec<Sums> {
        let isa = Isa::active();
        let mut all = vec![Sums::default(); self.rows[1]];
        for first in (0..self.classes).step_by(CLASSES) {
            let classes = [first, CLASSES.min(self.classes - first)];
            self.logits(classes, logits);
            let [own, teacher] = &*logits;
            all.par_iter_mut().with_min_len(4).enumerate().for_each(|(row, sums)| {
                let part = |logits: &'_ [f32]| -> std::ops::Range<usize> {
                    if logits.is_empty() { 0..0 } else { row * classes[1]..(row + 1) * classes[1] }
                };
                isa.run(Measure {
                    own: &own[part(own)],
                    teacher: &teacher[part(teacher)],
                    label: self.label(row, classes),
                    inverse: 1.0 / self.targets.temperature,
                    sums,
                });
            });
        }
        all
    }

    /// The second pass.
    fn gradients(&self, sums: &[Sums], grads: &mut HeadGrads<'_>, logits: &mut [Scratch; 2]) {
        let isa = Isa::active();
        let (width, [first_row, rows]) = (self.student.width, self.rows);
        let hidden = &self.student.hidden[first_row * width..][..rows * width];
        let hidden_grad = &mut grads.hidden[first_row * width..][..rows * width];
        for first in (0..self.classes).step_by(CLASSES) {
            let classes = [first, CLASSES.min(self.classes - first)];
            let count = classes[1];
            // With one block of classes those of the first pass are still there.
            if self.classes > CLASSES {
                self.logits(classes, logits);
            }
            let [own, teacher] = &mut *logits;
            let own = &mut own[..rows * count];
            let teacher = &*teacher;
            own.par_chunks_mut(count).with_min_len(4).enumerate().for_each(|(row, own)| {
                let teacher: &[f32] =
                    if teacher.is_empty() { &[] } else { &teacher[row * count..][..count] };
                let at = first_row + row;
                isa.run(Differences {
                    own,
                    teacher,
                    label: self.label(row, classes),
                    ce_factor: self.targets.ce_factor[at],
                    kd_factor: self.targets.teacher.map_or(0.0, |(_, factor)| factor[at]),
                    temperature: self.targets.temperature,
                    sums: &sums[row],
                });
            });
            let differences = Matrix::new(own, [rows, count]);
            let weight = &self.student.weight[first * width..][..count * width];
            let finish = if first == 0 { Finish::Store } else { Finish::Add };
            matmul(
                differences,
                Matrix::new(weight, [count, width]),
                finish,
                MatrixMut::new(hidden_grad, [rows, width]),
            );
            matmul(
                differences.transposed(),
                Matrix::new(hidden, [rows, width]),
                Finish::Add,
                MatrixMut::new(&mut grads.weight[first * width..][..count * width], [count, width]),
            );
        }
    }
}

/// What one row's logits come to; sums are of exponentials of differences from the largest logit.
#[derive(Clone, Copy)]
struct Sums {
    max: f32,
    /// Plain, and softened.
    sum: [f64; 2],
    label: f32,
    teacher_max: f32,
    teacher_sum: f64,
    /// The sum of the teacher's softened exponentials times (teacher - student) / T.
    cross: f64,
}

impl Default for Sums {
    fn default() -> Self {
        let max = f32::NEG_INFINITY;
        Self { max, sum: [0.0; 2], label: 0.0, teacher_max: max, teacher_sum: 0.0, cross: 0.0 }
    }
}

impl Sums {
    fn loss(&self, temperature: f64) -> RowLoss {
        let max = f64::from(self.max);
        let ce = max + self.sum[0].ln() - f64::from(self.label);
        if self.teacher_sum == 0.0 {
            return RowLoss { ce, kd: 0.0 };
        }
        let own = max / temperature + self.sum[1].ln();
        let teacher = f64::from(self.teacher_max) / temperature + self.teacher_sum.ln();
        let kl = self.cross / self.teacher_sum - teacher + own;
        RowLoss { ce, kd: temperature * temperature * kl }
    }
}

/// The first pass over a row's logits of some classes.
struct Measure<'a> {
    own: &'a [f32],
    /// Empty without a teacher.
    teacher: &'a [f32],
    label: Option<usize>,
    /// `1 / T`
    inverse: f32,
    sums: &'a mut Sums,
}

/// The largest of some logits; NaN only if all are.
#[inline(always)]
fn largest(logits: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = logits.as_chunks::<LANES>();
    for chunk in chunks {
        for i in 0..LANES {
            lanes[i] = if chunk[i] > lanes[i] { chunk[i] } else { lanes[i] };
        }
    }
    for (lane, &z) in lanes.iter_mut().zip(rest) {
        *lane = if z > *lane { z } else { *lane };
    }
    lanes.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

/// Sums of `f` of each index: 128 a lane in `f32`, those in `f64`.
#[inline(always)]
fn sum<const N: usize>(len: usize, f: impl Fn(usize) -> [f32; N]) -> [f64; N] {
    let mut lanes = [[0.0_f32; LANES]; N];
    let whole = len / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        for i in 0..LANES {
            let terms = f(start + i);
            for n in 0..N {
                lanes[n][i] += terms[n];
            }
        }
    }
    for i in whole..len {
        let terms = f(i);
        for n in 0..N {
            lanes[n][i - whole] += terms[n];
        }
    }
    let mut sums = [0.0; N];
    for n in 0..N {
        sums[n] = lanes[n].iter().map(|&x| f64::from(x)).sum();
    }
    sums
}

impl Kernel for Measure<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let Self { own, teacher, label, inverse, sums } = self;
        let max = sums.max.max(largest(own));
        let fall = f64::from(sums.max) - f64::from(max);
        // Before the first block there is nothing to shrink, and no difference.
        if sums.max > f32::NEG_INFINITY {
            sums.sum[0] *= fall.exp();
            sums.sum[1] *= (fall * f64::from(inverse)).exp();
        }
        sums.max = max;
        let [plain, soft] = sum(own.len(), |i| {
            let z = own[i] - max;
            [exp::<S>(z), if teacher.is_empty() { 0.0 } else { exp::<S>(z * inverse) }]
        });
        sums.sum[0] += plain;
        sums.sum[1] += soft;
        if let Some(label) = label {
            sums.label = own[label];
        }
        if teacher.is_empty() {
            return;
        }
        let max = sums.teacher_max.max(largest(teacher));
        if sums.teacher_max > f32::NEG_INFINITY {
            let fall = f64::from(sums.teacher_max) - f64::from(max);
            let factor = (fall * f64::from(inverse)).exp();
            sums.teacher_sum *= factor;
            sums.cross *= factor;
        }
        sums.teacher_max = max;
        let own = &own[..teacher.len()];
        let [all, cross] = sum(teacher.len(), |i| {
            let p = exp::<S>((teacher[i] - max) * inverse);
            // What has no weight adds nothing, however far apart the two are.
            [p, if p == 0.0 { 0.0 } else { p * ((teacher[i] - own[i]) * inverse) }]
        });
        sums.teacher_sum += all;
        sums.cross += cross;
    }
}

/// The second pass: a row's logits of some classes become the gradient by them.
struct Differences<'a> {
    own: &'a mut [f32],
    /// Empty without a teacher.
    teacher: &'a [f32],
    label: Option<usize>,
    ce_factor: f32,
    kd_factor: f32,
    temperature: f32,
    sums: &'a Sums,
}

impl Kernel for Differences<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let Self { own, teacher, label, ce_factor, kd_factor, temperature, sums } = self;
        let max = sums.max;
        // Of the label's own class the difference is rounded once.
        let own_class = label.map(|label| {
            let p = (f64::from(own[label]) - f64::from(max)).exp() / sums.sum[0];
            (label, f64::from(ce_factor) * (p - 1.0))
        });
        let plain = (f64::from(ce_factor) / sums.sum[0]) as f32;
        if teacher.is_empty() {
            for z in own.iter_mut() {
                *z = plain * exp::<S>(*z - max);
            }
            if let Some((label, difference)) = own_class {
                own[label] = difference as f32;
            }
            return;
        }
        let inverse = 1.0 / temperature;
        let factor = f64::from(kd_factor) * f64::from(temperature);
        let soft = (factor / sums.sum[1]) as f32;
        let given = (factor / sums.teacher_sum) as f32;
        let teacher_max = sums.teacher_max;
        let distilled = |z: f32, t: f32| {
            soft * exp::<S>((z - max) * inverse) - given * exp::<S>((t - teacher_max) * inverse)
        };
        let own_class = own_class
            .map(|(label, ce)| (label, ce + f64::from(distilled(own[label], teacher[label]))));
        for (z, &t) in own.iter_mut().zip(teacher) {
            *z = plain * exp::<S>(*z - max) + distilled(*z, t);
        }
        if let Some((label, difference)) = own_class {
            own[label] = difference as f32;
        }
    }
}
