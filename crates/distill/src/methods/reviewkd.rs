//! ReviewKD: each teacher stage teaches the student's stage and those before it.
//!
//! Chen, Liu, Zhao, Jia, "Distilling knowledge via knowledge review", CVPR 2021,
//! <https://arxiv.org/abs/2104.09044>.
//!
//! ```text
//! from the pooled vector up to the first stage, with y the fused map of the stage after:
//!   x   = BN(Conv1×1(F_S))                                                    to `width` channels
//!   x   = a₀ x + a₁ y,  (a₀, a₁) = sigmoid(Conv1×1([x, y])),  y repeated to x's size; not at the first
//!   out = BN(Conv3×3(x repeated to the teacher's size))                       compared with F_T
//! HCL(out, F_T) = mean of squared differences at full size (weight 1) and averaged to 4×4, 2×2, 1×1
//!                 (½, ¼, ⅛), as far as they are smaller, divided by the sum of the weights
//! L             = mean_b CE_b(z_S) + min(epoch/warm-up, 1) β Σ HCL
//! ```
//! # Shapes
//! maps `[batch, channels, height, width]` of f1 to f3 and the pooled vector; labels `[batch]`.
//! # Gradient
//! through the student and the layers named above.
//! # Paper and code
//! β = 5 and 20 epochs of warm-up as in the released constants for ResNet32x4 → ResNet8x4; `width` is
//! that of the student's pooled vector, 512 at most, as released. The release compares maps before
//! their last ReLU; **ours are after it**. Where a student's map is larger than the teacher's it is
//! average-pooled (the release repeats positions, which drops some).
//! # Limits
//! slow: its 3×3 convolutions at the first stages cost several times a small student's, and they run
//! on the tape, not on the kernels. With several teachers, the mean over them, each with layers of
//! its own.

use burn::Tensor;
use burn::tensor::activation::sigmoid;
use faculty_nets::{Initial, ParameterSpec};

use super::features::{
    ALPHA_BESIDE, BesideConfig, FIRST_STAGE, STAGES, Stages, TEMPERATURE_BESIDE, matched, mean_k,
    over_teachers, sample_means,
};
use super::layers::{Parameters, batch_norm, conv1x1, conv3x3, parameter, repeat_to, resize};
use super::options::{BENCHMARKS, count, number, option};
use super::{Loss, Method, MethodInfo, Needs, Shapes, Status, Step};
use crate::recipe::{MethodSpec, OptionValue, Range};
use crate::tap::Tap;

/// Constants of [`ReviewKd`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReviewKdConfig {
    /// Weight of the term, ≥ 0. Default 5.
    pub beta: f64,
    /// Epochs over which it grows to its full weight. Default 20.
    pub warmup_epochs: usize,
    /// The maps that are matched, beside the pooled vector. Default f1 to f3.
    pub stages: Stages,
    /// Output term beside it. Default none.
    pub beside: BesideConfig,
}

impl Default for ReviewKdConfig {
    fn default() -> Self {
        let (stages, beside) = (Stages::default(), BesideConfig::default());
        Self { beta: 5.0, warmup_epochs: 20, stages, beside }
    }
}

/// Knowledge review.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReviewKd {
    config: ReviewKdConfig,
}

impl ReviewKd {
    /// With these constants.
    #[must_use]
    pub const fn new(config: ReviewKdConfig) -> Self {
        Self { config }
    }

    /// From the first stage to the pooled vector.
    fn taps(&self) -> Vec<Tap> {
        let mut taps = self.config.stages.taps();
        taps.push(Tap::Pooled);
        taps
    }
}

/// Row of this method.
pub(super) const ROW: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "reviewkd",
        help: "each teacher stage teaches the student's stage and those before it",
        options: &[
            option(
                "beta",
                OptionValue::Number(5.0),
                Range::at_least(0.0),
                BENCHMARKS,
                "weight of the term",
            ),
            option(
                "warmup_epochs",
                OptionValue::Integer(20),
                Range::at_least(0.0),
                BENCHMARKS,
                "epochs over which the term grows to its full weight",
            ),
            FIRST_STAGE,
            STAGES,
            ALPHA_BESIDE,
            TEMPERATURE_BESIDE,
        ],
        min_teachers: 1,
        max_teachers: None,
    },
    paper: "Chen, Liu, Zhao, Jia, CVPR 2021, arXiv 2104.09044",
    status: Status::Reimplementation,
    build: |options| {
        Box::new(ReviewKd::new(ReviewKdConfig {
            beta: number(options, "beta"),
            warmup_epochs: count(options, "warmup_epochs"),
            stages: Stages::of(options),
            beside: BesideConfig::of(options),
        }))
    },
};

/// Channels inside, from those of the student's pooled vector.
fn inner_width(pooled: usize) -> usize {
    pooled.min(512)
}

impl Method for ReviewKd {
    fn needs(&self, _epoch: usize) -> Needs {
        let needs = matched(self.taps()).union(self.config.beside.needs());
        Needs { trained_parts: true, ..needs }
    }

    fn parameters(&self, shapes: &Shapes) -> Vec<ParameterSpec> {
        let width = inner_width(shapes.student[&Tap::Pooled].channels);
        let uniform = |fan_in: usize| Initial::UniformFanIn { fan_in };
        let mut specs = Vec::new();
        for (k, teacher) in shapes.teachers.iter().enumerate() {
            for (level, tap) in self.taps().into_iter().rev().enumerate() {
                let (from, to) = (shapes.student[&tap].channels, teacher[&tap].channels);
                let name = |part: &str| format!("review.{k}.{tap}.{part}");
                specs.push(parameter(name("conv1.weight"), &[width, from], uniform(from)));
                specs.push(parameter(name("bn1.weight"), &[width], Initial::Ones));
                specs.push(parameter(name("bn1.bias"), &[width], Initial::Zeros));
                if level > 0 {
                    let initial = uniform(2 * width);
                    specs.push(parameter(name("attention.weight"), &[2, 2 * width], initial));
                    specs.push(parameter(name("attention.bias"), &[2], initial));
                }
                let shape = [to, width, 3, 3];
                specs.push(parameter(name("conv2.weight"), &shape, uniform(9 * width)));
                specs.push(parameter(name("bn2.weight"), &[to], Initial::Ones));
                specs.push(parameter(name("bn2.bias"), &[to], Initial::Zeros));
            }
        }
        specs
    }

    fn loss(&self, step: &Step) -> Loss {
        let ReviewKdConfig { beta, warmup_epochs, beside, .. } = self.config;
        let share = (step.epoch as f64 / warmup_epochs.max(1) as f64).min(1.0);
        let mut parameters = Parameters::new(&step.parameters);
        let of_teacher =
            |maps: &Vec<Tensor<4>>| reviewed(&step.student_maps, maps, &mut parameters);
        let values = step.teacher_maps.iter().map(of_teacher).collect();
        let mut loss = beside.loss(step);
        loss.terms.push(over_teachers(step, "review", share * beta, values));
        loss
    }

    fn objective(&self, teachers: usize) -> String {
        let ReviewKdConfig { beta, warmup_epochs, stages, beside } = self.config;
        let term = mean_k("Σ HCL", teachers);
        format!(
            "{} + {beta} {term}, {stages} and pooled, full after {warmup_epochs} epochs",
            beside.objective()
        )
    }
}

/// `Σ HCL` over the levels, `[batch]`; maps from the first stage to the pooled vector.
fn reviewed(
    student: &[Tensor<4>],
    teacher: &[Tensor<4>],
    parameters: &mut Parameters<'_>,
) -> Tensor<1> {
    let pooled = student.last().expect("the pooled vector at least");
    let inner = inner_width(pooled.dims()[1]);
    let mut fused: Option<Tensor<4>> = None;
    let mut sum: Option<Tensor<1>> = None;
    for (own, other) in student.iter().zip(teacher).rev() {
        let ([_, from, height, width], [_, to, rows, columns]) = (own.dims(), other.dims());
        let mixed = conv1x1(own.clone(), parameters.next([inner, from]), None);
        let mut x = batch_norm(mixed, parameters.next([inner]), parameters.next([inner]));
        if let Some(above) = fused {
            let y = if height >= above.dims()[2] && width >= above.dims()[3] {
                repeat_to(above, height, width)
            } else {
                resize(above, height, width)
            };
            let both = Tensor::cat(vec![x.clone(), y.clone()], 1);
            let (weight, bias) = (parameters.next([2, 2 * inner]), parameters.next([2]));
            let shares = sigmoid(conv1x1(both, weight, Some(bias)));
            x = x * shares.clone().narrow(1, 0, 1) + y * shares.narrow(1, 1, 1);
        }
        if height <= rows && width <= columns {
            x = repeat_to(x, rows, columns);
        } else {
            x = resize(x, rows, columns);
        }
        let out = conv3x3(x.clone(), parameters.next([to, inner, 3, 3]));
        let out = batch_norm(out, parameters.next([to]), parameters.next([to]));
        let value = hierarchical_difference(out, other.clone());
        fused = Some(x);
        sum = Some(match sum {
            Some(sum) => sum + value,
            None => value,
        });
    }
    sum.expect("the pooled vector at least")
}

/// HCL of each sample, `[batch]`, of two maps of one shape.
pub(crate) fn hierarchical_difference(a: Tensor<4>, b: Tensor<4>) -> Tensor<1> {
    let height = a.dims()[2];
    let mut sum = sample_means((a.clone() - b.clone()).square());
    let (mut weight, mut total) = (1.0, 1.0);
    for side in [4, 2, 1].into_iter().filter(|side| *side < height) {
        weight /= 2.0;
        total += weight;
        let difference = resize(a.clone(), side, side) - resize(b.clone(), side, side);
        sum = sum + sample_means(difference.square()) * weight;
    }
    sum / total
}
