//! RKD: relational distillation, the distances and angles between the samples of a batch.
//!
//! Park, Kim, Lu, Cho, CVPR 2019, <https://arxiv.org/abs/1904.05068>.
//!
//! ```text
//! d(f)[i,j]   = ‖f_i - f_j‖ / mean of the distances between different samples
//! a(f)[i,j,k] = ⟨ (f_j - f_i)/‖·‖, (f_k - f_i)/‖·‖ ⟩
//! L           = mean_b CE_b(z_S) + w_d mean_ij h(d(f_S) - d(f_T)) + w_a mean_ijk h(a(f_S) - a(f_T)) [+ α τ² KL]
//! h(x)        = x²/2 where |x| < 1, else |x| - 1/2
//! ```
//! # Shapes
//! pooled vectors `[batch, channels]`, which need not agree in channels; labels `[batch]`.
//! # Gradient
//! through the student only.
//! # Paper and code
//! means over all pairs and triples, the equal ones included, as in the released code; weights 25
//! and 50.
//! # Limits
//! the values belong to the whole batch, at a cost of `batch² · channels` and `batch³` numbers; two
//! samples at least. Above 2^21 angles (128 samples) they are computed, and their gradient taken, for
//! some samples at a time, so that memory grows with `batch²` alone. With several teachers, the mean
//! over them.

use burn::Tensor;

use crate::shared::features::{
    KD_ALPHA, LOGIT_TERM_TEMPERATURE, LogitTermConfig, matched, mean_k, over_teachers, rows,
    sample_means,
};
use crate::shared::options::{BENCHMARKS, number, option};
use crate::{Loss, Method, MethodInfo, Needs, Parts, Setup, Shapes, Status, Step, TapShapes};
use faculty_nets::Tap;
use faculty_recipe::{MethodSpec, OptionValue, Range};

/// Keeps root and quotient defined at equal samples.
const EPSILON: f32 = 1e-12;

/// Constants of [`Rkd`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RkdConfig {
    /// Weight of the distances, ≥ 0. Default 25.
    pub distance: f64,
    /// Weight of the angles, ≥ 0. Default 50.
    pub angle: f64,
    /// Output term beside them. Default none.
    pub logit_term: LogitTermConfig,
}

impl Default for RkdConfig {
    fn default() -> Self {
        Self { distance: 25.0, angle: 50.0, logit_term: LogitTermConfig::default() }
    }
}

/// Relational distillation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rkd {
    config: RkdConfig,
}

impl Rkd {
    /// With these constants.
    #[must_use]
    pub const fn new(config: RkdConfig) -> Self {
        Self { config }
    }
}

/// Row of this method.
pub(crate) const ROW: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "rkd",
        help: "distances and angles between the samples of a batch",
        options: &[
            option(
                "distance",
                OptionValue::Number(25.0),
                Range::at_least(0.0),
                BENCHMARKS,
                "weight of the distances",
            ),
            option(
                "angle",
                OptionValue::Number(50.0),
                Range::at_least(0.0),
                BENCHMARKS,
                "weight of the angles",
            ),
            KD_ALPHA,
            LOGIT_TERM_TEMPERATURE,
        ],
        min_teachers: 1,
        max_teachers: None,
    },
    paper: "Park, Kim, Lu, Cho, CVPR 2019, arXiv 1904.05068",
    status: Status::Exact,
    build: |options| {
        Box::new(Rkd::new(RkdConfig {
            distance: number(options, "distance"),
            angle: number(options, "angle"),
            logit_term: LogitTermConfig::of(options),
        }))
    },
};

impl Method for Rkd {
    fn setup(&self) -> Setup {
        Setup::label_free()
    }

    fn needs(&self, _epoch: usize) -> Needs {
        let needs = matched(vec![Tap::Pooled]).union(self.config.logit_term.needs());
        Needs { min_batch: 2, ..needs }
    }

    fn parts(&self, shapes: &Shapes) -> Parts {
        let Shapes { student, teachers, .. } = shapes;
        let of_teacher = |(at, teacher)| {
            let copies = if at == 0 { COPIES } else { COPIES_OF_MORE };
            relation_temporaries(shapes, [student, teacher], copies)
        };
        let temporaries =
            teachers.iter().enumerate().map(of_teacher).fold(0, usize::saturating_add);
        Parts { temporaries, ..Parts::default() }
    }

    fn loss(&self, step: &Step) -> Loss {
        let RkdConfig { distance, angle, logit_term } = self.config;
        let student = rows(step.student_maps[0].clone());
        let of_teachers = |difference: fn(Tensor<2>, Tensor<2>) -> Tensor<1>| {
            let teachers = step.teacher_maps.iter().map(|maps| rows(maps[0].clone()));
            teachers.map(|teacher| difference(student.clone(), teacher)).collect()
        };
        let mut loss = logit_term.loss(step);
        let distances = of_teachers(distance_difference);
        loss.terms.push(over_teachers(step, "distance", distance, distances));
        loss.terms.push(over_teachers(step, "angle", angle, of_teachers(angle_difference)));
        loss
    }

    fn objective(&self, teachers: usize) -> String {
        let RkdConfig { distance, angle, logit_term } = self.config;
        let (d, a) = (mean_k("distances", teachers), mean_k("angles", teachers));
        format!("{} + {distance} {d} + {angle} {a}", logit_term.objective())
    }
}

/// Copies of the cosines, and of the differences that they are made of, which the tape and the
/// gradient hold at a time: measured at batches of 256 and 384 as 7.2, and 5.2 more for each further
/// teacher.
pub(crate) const COPIES: usize = 8;
const COPIES_OF_MORE: usize = 6;

/// Most angles of a batch that are computed at once.
const MOST_ANGLES: usize = 1 << 21;
/// Copies of `[batch, batch, channels]`, of differences and of the gradients of single samples, that are
/// held at a time where there are more: measured at a batch of 1,000 as 6.1.
const COPIES_IN_PARTS: usize = 7;

/// Samples whose angles are computed at once: all of a small batch.
fn anchors_at_once(batch: usize) -> usize {
    (MOST_ANGLES / batch.saturating_mul(batch).max(1)).clamp(1, batch.max(1))
}

/// [`Parts::temporaries`] of both terms for the pooled vectors of two networks.
pub(crate) fn relation_temporaries(
    shapes: &Shapes,
    networks: [&TapShapes; 2],
    copies: usize,
) -> usize {
    let batch = shapes.batch_size;
    let channels = networks.iter().filter_map(|taps| taps.get(&Tap::Pooled));
    let channels = channels.map(|shape| shape.elements()).max().unwrap_or(0);
    let pairs = batch.saturating_mul(batch);
    let differences = pairs.saturating_mul(channels);
    let anchors = anchors_at_once(batch);
    let angles = match anchors < batch {
        false => pairs.saturating_mul(batch),
        // Of the samples at work, each with a copy of all vectors.
        true => anchors.saturating_mul(pairs.saturating_add(batch.saturating_mul(channels))),
    };
    let of_differences = if anchors < batch { COPIES_IN_PARTS } else { copies };
    let differences = differences.saturating_mul(of_differences);
    angles.saturating_mul(copies).saturating_add(differences)
}

/// `mean_j h(d(f_S) - d(f_T))` of each sample i, `[batch]`, of rows `[batch, channels]`.
pub(crate) fn distance_difference(student: Tensor<2>, teacher: Tensor<2>) -> Tensor<1> {
    sample_means(smooth(distances(student) - distances(teacher)))
}

/// `mean_jk h(a(f_S) - a(f_T))` of each sample i, `[batch]`, of rows `[batch, channels]`.
pub(crate) fn angle_difference(student: Tensor<2>, teacher: Tensor<2>) -> Tensor<1> {
    let batch = student.dims()[0];
    let anchors = anchors_at_once(batch);
    match anchors < batch {
        false => sample_means(smooth(angles(student) - angles(teacher))),
        true => angle_difference_in_parts(student, &teacher, anchors),
    }
}

/// The same for `anchors` samples at a time: of each its value and its gradient by all rows, which
/// then stands on the tape in place of the angles.
fn angle_difference_in_parts(student: Tensor<2>, teacher: &Tensor<2>, anchors: usize) -> Tensor<1> {
    let [batch, channels] = student.dims();
    let fixed = student.clone().detach();
    let (mut values, mut gradients) = (Vec::new(), Vec::new());
    for first in (0..batch).step_by(anchors) {
        let count = anchors.min(batch - first);
        // Each sample has rows of its own, so that its gradient is apart from those of the others.
        let copies =
            |rows: &Tensor<2>| rows.clone().unsqueeze_dim::<3>(0).repeat_dim(0, count).detach();
        let rows = copies(&fixed).require_grad();
        let difference = angles_at(rows.clone(), first) - angles_at(copies(teacher), first);
        let value = sample_means(smooth(difference));
        let gradient = value.clone().sum().backward();
        let gradient = rows.grad(&gradient).expect("the angles read the rows");
        gradients.push(Tensor::<3>::from_data(gradient.into_data(), &fixed.device()));
        values.push(value.detach());
    }
    let gradients = Tensor::cat(gradients, 0).reshape([batch, batch * channels]);
    // 0, with the gradients of the values.
    let moved = (student - fixed).reshape([batch * channels, 1]);
    Tensor::cat(values, 0) + gradients.matmul(moved).reshape([batch])
}

/// `f_j - f_i` at `[i, j, channels]`.
fn differences(rows: Tensor<2>) -> Tensor<3> {
    rows.clone().unsqueeze_dim::<3>(0) - rows.unsqueeze_dim::<3>(1)
}

fn distances(rows: Tensor<2>) -> Tensor<2> {
    let batch = rows.dims()[0];
    let device = rows.device();
    let squares = differences(rows).square().sum_dim(2).reshape([batch, batch]);
    let different = Tensor::<2>::eye(batch, &device).neg() + 1.0;
    let distances = (squares + EPSILON).sqrt() * different;
    let pairs = (batch * batch.saturating_sub(1)).max(1);
    let mean = distances.clone().sum() / pairs as f32;
    distances / (mean + EPSILON).reshape([1, 1])
}

fn angles(rows: Tensor<2>) -> Tensor<3> {
    let differences = differences(rows);
    let length = (differences.clone().square().sum_dim(2) + EPSILON).sqrt();
    let directions = differences / length;
    directions.clone().matmul(directions.transpose())
}

/// The angles at samples from `first` on, each with rows of its own: `[count, batch, batch]` of
/// `[count, batch, channels]`.
fn angles_at(rows: Tensor<3>, first: usize) -> Tensor<3> {
    let [count, batch, channels] = rows.dims();
    let anchor = |i: usize| rows.clone().slice([i..i + 1, first + i..first + i + 1, 0..channels]);
    let anchors = Tensor::cat((0..count).map(anchor).collect(), 1).reshape([count, 1, channels]);
    let differences = rows.clone() - anchors;
    let length = (differences.clone().square().sum_dim(2) + EPSILON).sqrt();
    let directions = differences / length.reshape([count, batch, 1]);
    directions.clone().matmul(directions.transpose())
}

fn smooth<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let size = x.abs();
    let within = size.clone().clamp_max(1.0);
    within.clone().square() * 0.5 + (size - within)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};
    use faculty_testkit::{Tolerance, assert_close};

    use super::*;

    fn rows(batch: usize, channels: usize, seed: usize) -> Tensor<2> {
        let value = |i: usize| ((i * 37 + seed * 101) as f32 * 0.7).sin();
        let values: Vec<f32> = (0..batch * channels).map(value).collect();
        let device = Device::flex().autodiff();
        Tensor::from_data(TensorData::new(values, [batch, channels]), &device)
    }

    #[test]
    fn angles_in_parts_have_the_values_and_gradients_of_the_whole() {
        let (batch, channels) = (7, 3);
        let teacher = rows(batch, 5, 2);
        let numbers =
            |tensor: Tensor<2>| tensor.into_data().try_to_vec::<f32>().expect("tensors hold f32");
        let of = |anchors: Option<usize>| {
            let student = rows(batch, channels, 1).require_grad();
            let values = match anchors {
                None => angle_difference(student.clone(), teacher.clone()),
                Some(anchors) => angle_difference_in_parts(student.clone(), &teacher, anchors),
            };
            // Samples may count differently.
            let weights = rows(batch, 1, 3).reshape([batch]);
            let gradients = (values.clone() * weights).sum().backward();
            let gradient = student.grad(&gradients).unwrap();
            (numbers(values.reshape([batch, 1])), numbers(gradient))
        };
        let whole = of(None);
        let tolerance = Tolerance { relative: 1e-5, of_largest: 1e-6, absolute: 1e-7 };
        for anchors in [1, 2, 3, 6, 7] {
            let parts = of(Some(anchors));
            let what = format!("{anchors} at a time");
            assert_close(&format!("{what}: values"), &parts.0, &whole.0, tolerance);
            assert_close(&format!("{what}: gradients"), &parts.1, &whole.1, tolerance);
        }
    }

    #[test]
    fn small_batches_are_whole_and_memory_of_large_ones_grows_with_the_square() {
        assert_eq!([2, 64, 128].map(anchors_at_once), [2, 64, 128]);
        assert_eq!([129, 1000, 1_000_000].map(anchors_at_once), [126, 2, 1]);
        let need = |batch_size: usize| {
            let shape = faculty_nets::MapShape::new(64, 1, 1);
            let taps = TapShapes::from([(Tap::Pooled, shape)]);
            let shapes = Shapes {
                classes: 10,
                batch_size,
                samples: 0,
                student: taps.clone(),
                teachers: vec![taps],
            };
            Rkd::default().parts(&shapes).temporaries as f64
        };
        assert!(need(4000) / need(2000) < 4.5, "{} {}", need(4000), need(2000));
        assert!((1.55e9..2.5e9).contains(&(4.0 * need(1000))), "{}", need(1000));
        let small = need(128) / need(64);
        assert!((5.5..6.5).contains(&small), "{small}");
    }
}
