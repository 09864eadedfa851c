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
//! samples at least. With several teachers, the mean over them.

use burn::Tensor;

use crate::shared::features::{
    KD_ALPHA, LogitTermConfig, TEMPERATURE_BESIDE, matched, mean_k, over_teachers, rows,
    sample_means,
};
use crate::shared::options::{BENCHMARKS, number, option};
use crate::{Loss, Method, MethodInfo, Needs, Shapes, Status, Step, TapShapes};
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
    pub beside: LogitTermConfig,
}

impl Default for RkdConfig {
    fn default() -> Self {
        Self { distance: 25.0, angle: 50.0, beside: LogitTermConfig::default() }
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
            TEMPERATURE_BESIDE,
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
            beside: LogitTermConfig::of(options),
        }))
    },
};

impl Method for Rkd {
    fn needs(&self, _epoch: usize) -> Needs {
        let needs = matched(vec![Tap::Pooled]).union(self.config.beside.needs());
        Needs { min_batch: 2, ..needs }
    }

    fn loss(&self, step: &Step) -> Loss {
        let RkdConfig { distance, angle, beside } = self.config;
        let student = rows(step.student_maps[0].clone());
        let of_teachers = |difference: fn(Tensor<2>, Tensor<2>) -> Tensor<1>| {
            let teachers = step.teacher_maps.iter().map(|maps| rows(maps[0].clone()));
            teachers.map(|teacher| difference(student.clone(), teacher)).collect()
        };
        let mut loss = beside.loss(step);
        let distances = of_teachers(distance_difference);
        loss.terms.push(over_teachers(step, "distance", distance, distances));
        loss.terms.push(over_teachers(step, "angle", angle, of_teachers(angle_difference)));
        loss
    }

    fn temporaries(&self, shapes: &Shapes) -> usize {
        let Shapes { student, teachers, .. } = shapes;
        let of_teacher = |(at, own)| {
            let copies = if at == 0 { COPIES } else { COPIES_OF_MORE };
            relation_temporaries(shapes, [student, own], copies)
        };
        teachers.iter().enumerate().map(of_teacher).fold(0, usize::saturating_add)
    }

    fn objective(&self, teachers: usize) -> String {
        let RkdConfig { distance, angle, beside } = self.config;
        let (d, a) = (mean_k("distances", teachers), mean_k("angles", teachers));
        format!("{} + {distance} {d} + {angle} {a}", beside.objective())
    }
}

/// Copies of the cosines, and of the differences that they are made of, which the tape and the
/// gradient hold at a time: measured at batches of 256 and 384 as 7.2, and 5.2 more for each further
/// teacher.
pub(crate) const COPIES: usize = 8;
const COPIES_OF_MORE: usize = 6;

/// [`Method::temporaries`] of both terms for the pooled vectors of two networks.
pub(crate) fn relation_temporaries(
    shapes: &Shapes,
    networks: [&TapShapes; 2],
    copies: usize,
) -> usize {
    let batch = shapes.batch_size;
    let channels = networks.iter().filter_map(|taps| taps.get(&Tap::Pooled));
    let channels = channels.map(|shape| shape.elements()).max().unwrap_or(0);
    let pairs = batch.saturating_mul(batch);
    let each = pairs.saturating_mul(batch.saturating_add(channels));
    each.saturating_mul(copies)
}

/// `mean_j h(d(f_S) - d(f_T))` of each sample i, `[batch]`, of rows `[batch, channels]`.
pub(crate) fn distance_difference(student: Tensor<2>, teacher: Tensor<2>) -> Tensor<1> {
    sample_means(smooth(distances(student) - distances(teacher)))
}

/// `mean_jk h(a(f_S) - a(f_T))` of each sample i, `[batch]`, of rows `[batch, channels]`.
pub(crate) fn angle_difference(student: Tensor<2>, teacher: Tensor<2>) -> Tensor<1> {
    sample_means(smooth(angles(student) - angles(teacher)))
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

fn smooth<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let size = x.abs();
    let within = size.clone().clamp_max(1.0);
    within.clone().square() * 0.5 + (size - within)
}
