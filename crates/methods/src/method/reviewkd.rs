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
//! HCL(out, F_T) = mean of squared differences at full size (weight 1) and averaged to those of 4×4,
//!                 2×2 and 1×1 that are smaller (½, ¼, ⅛ in turn), divided by the sum of the weights
//! L             = mean_b CE_b(z_S) + min(epoch/warm-up, 1) β Σ HCL
//! ```
//! # Shapes
//! maps `[batch, channels, height, width]` of f1 and all after it, and the pooled vector: four levels,
//! five on VGG, MobileNetV2 and ResNets of four stages; labels `[batch]`.
//! # Gradient
//! through the student and the layers named above.
//! # Paper and code
//! F_T is the teacher's map before the last activation of its stage, F_S the student's after it, as
//! released. A wide ResNet's is what the next batch norm makes of it; MobileNetV2's maps and those of
//! ShuffleNetV2, half of whose channels pass the last block as they are, stand for themselves.
//! The release's β is that of the student's network: 0.6 for resnet20, 1 for resnet32, 8 for
//! ShuffleV2, and 5 for its ResNets four times as wide, wide ResNets and ShuffleV1; ours is 5 for all
//! others. 20 epochs of warm-up and `width`, that of the student's pooled vector but 512 at most, are
//! the release's. Conv1×1 to `width` and Conv3×3 start uniform in ±√(3/fan-in), the convolution of the
//! shares in ±1/√fan-in, as released. Where a student's map is larger than the teacher's it is
//! average-pooled (the release repeats positions, which drops some).
//! # Limits
//! slow: its 3×3 convolutions at the first stages cost several times a small student's, and they run
//! on the tape, not on the kernels. With several teachers, the mean over them, each with layers of
//! its own.

use burn::Tensor;
use burn::tensor::activation::sigmoid;
use faculty_nets::{Init, ParameterSpec};

use crate::shared::features::{
    FIRST_STAGE, KD_ALPHA, LOGIT_TERM_TEMPERATURE, LogitTermConfig, STAGES, Stages, mean_k,
    over_teachers, sample_means,
};
use crate::shared::layers::{
    Parameters, batch_norm, conv1x1, conv3x3, parameter, repeat_to, resize,
};
use crate::shared::options::{BENCHMARKS, count, number, option};
use crate::{
    Facts, Loss, Method, MethodInfo, Needs, Parts, Setup, Shapes, Status, Step, TapShapes,
};
use faculty_nets::{MapShape, Tap};
use faculty_recipe::{Exception, MethodSpec, OptionSpec, OptionValue, Range};

/// Constants of [`ReviewKd`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReviewKdConfig {
    /// Weight of the term, ≥ 0. Default 5; recipes have the release's for the student's network.
    pub beta: f64,
    /// Epochs over which it grows to its full weight. Default 20.
    pub warmup_epochs: usize,
    /// The maps that are matched, beside the pooled vector. Default f1 and all after it.
    pub stages: Stages,
    /// Output term beside it. Default none.
    pub logit_term: LogitTermConfig,
}

impl Default for ReviewKdConfig {
    fn default() -> Self {
        let (stages, logit_term) = (Stages::default(), LogitTermConfig::default());
        Self { beta: 5.0, warmup_epochs: 20, stages, logit_term }
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

    /// From the first stage to the pooled vector: the student's and the teacher's.
    fn levels(&self) -> Vec<(Tap, Tap)> {
        let stages = self.config.stages.numbers();
        let stages = stages.map(|stage| (Tap::Feature(stage), Tap::BeforeActivation(stage)));
        stages.chain([(Tap::Pooled, Tap::Pooled)]).collect()
    }
}

const REVIEWKD_CODE: &str = "ReviewKD released code";

/// The released weight for a student's network.
const fn beta_of(student: &'static str, beta: f64) -> Exception {
    Exception {
        student: Some(student),
        option: None,
        default: OptionValue::Number(beta),
        source: REVIEWKD_CODE,
    }
}

/// Row of this method.
pub(crate) const ROW: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "reviewkd",
        help: "each teacher stage teaches the student's stage and those before it",
        options: &[
            OptionSpec {
                exceptions: &[
                    beta_of("resnet20", 0.6),
                    beta_of("resnet32", 1.0),
                    beta_of("ShuffleV2", 8.0),
                ],
                ..option(
                    "beta",
                    OptionValue::Number(5.0),
                    Range::at_least(0.0),
                    REVIEWKD_CODE,
                    "weight of the term; by default the released one of the student's network",
                )
            },
            option(
                "warmup_epochs",
                OptionValue::Integer(20),
                Range::at_least(0.0),
                BENCHMARKS,
                "epochs over which the term grows to its full weight",
            ),
            FIRST_STAGE,
            STAGES,
            KD_ALPHA,
            LOGIT_TERM_TEMPERATURE,
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
            logit_term: LogitTermConfig::of(options),
        }))
    },
};

/// Copies of the maps inside and of those that are compared, which the tape and the gradient hold at a
/// time: measured with resnet8x0.5, resnet8 and resnet20 at batches of 64 and 128, rounded up.
const COPIES: [usize; 2] = [8, 12];

/// Channels inside, from those of the student's pooled vector.
fn inner_width(pooled: usize) -> usize {
    pooled.min(512)
}

impl ReviewKd {
    fn parameters(&self, shapes: &Shapes) -> Vec<ParameterSpec> {
        let width = inner_width(shapes.student[&Tap::Pooled].channels);
        // PyTorch's `kaiming_uniform_` with `a = 1`.
        let wide = |fan_in: usize| Init::Uniform { bound: (3.0 / fan_in as f64).sqrt() };
        let mut specs = Vec::new();
        for (k, teacher) in shapes.teachers.iter().enumerate() {
            for (level, (tap, other)) in self.levels().into_iter().rev().enumerate() {
                let (from, to) = (shapes.student[&tap].channels, teacher[&other].channels);
                let name = |part: &str| format!("review.{k}.{tap}.{part}");
                specs.push(parameter(name("conv1.weight"), &[width, from], wide(from)));
                specs.push(parameter(name("bn1.weight"), &[width], Init::Ones));
                specs.push(parameter(name("bn1.bias"), &[width], Init::Zeros));
                if level > 0 {
                    let initial = Init::UniformFanIn { fan_in: 2 * width };
                    specs.push(parameter(name("attention.weight"), &[2, 2 * width], initial));
                    specs.push(parameter(name("attention.bias"), &[2], initial));
                }
                let shape = [to, width, 3, 3];
                specs.push(parameter(name("conv2.weight"), &shape, wide(9 * width)));
                specs.push(parameter(name("bn2.weight"), &[to], Init::Ones));
                specs.push(parameter(name("bn2.bias"), &[to], Init::Zeros));
            }
        }
        specs
    }

    /// Its layers run on the tape, which keeps what each of them gives, and the gradients of that.
    fn temporaries(&self, shapes: &Shapes) -> usize {
        let width = inner_width(shapes.student[&Tap::Pooled].channels);
        let positions = |shape: &MapShape| shape.height * shape.width;
        let of_level = |teacher: &TapShapes, (tap, other): (Tap, Tap)| {
            let (from, to) = (&shapes.student[&tap], &teacher[&other]);
            let inner = width.saturating_mul(positions(from).max(positions(to)));
            let outer = to.channels.saturating_mul(positions(to));
            COPIES[0].saturating_mul(inner).saturating_add(COPIES[1].saturating_mul(outer))
        };
        let levels = || self.levels().into_iter();
        let each = shapes
            .teachers
            .iter()
            .flat_map(|teacher| levels().map(move |level| of_level(teacher, level)));
        each.fold(0, usize::saturating_add).saturating_mul(shapes.batch_size)
    }
}

impl Method for ReviewKd {
    fn setup(&self) -> Setup {
        Setup::label_free()
    }

    fn needs(&self, _epoch: usize) -> Needs {
        let (student_taps, teacher_taps) = self.levels().into_iter().unzip();
        let needs = Needs { student_taps, teacher_taps, trained_parts: true, ..Needs::default() };
        needs.union(self.config.logit_term.needs())
    }

    fn prepare(&mut self, facts: Facts<'_>) {
        if let Facts::Maps(shapes) = facts {
            self.config.stages.choose(shapes, Tap::BeforeActivation);
        }
    }

    fn parts(&self, shapes: &Shapes) -> Parts {
        Parts {
            parameters: self.parameters(shapes),
            temporaries: self.temporaries(shapes),
            ..Parts::default()
        }
    }

    fn loss(&self, step: &Step) -> Loss {
        let ReviewKdConfig { beta, warmup_epochs, logit_term, .. } = self.config;
        let share = (step.epoch as f64 / warmup_epochs.max(1) as f64).min(1.0);
        let mut parameters = Parameters::new(&step.parameters);
        let of_teacher =
            |maps: &Vec<Tensor<4>>| reviewed(&step.student_maps, maps, &mut parameters);
        let values = step.teacher_maps.iter().map(of_teacher).collect();
        let mut loss = logit_term.loss(step);
        loss.terms.push(over_teachers(step, "review", share * beta, values));
        loss
    }

    fn objective(&self, teachers: usize) -> String {
        let ReviewKdConfig { beta, warmup_epochs, stages, logit_term } = self.config;
        let term = mean_k("Σ HCL", teachers);
        format!(
            "{} + {beta} {term}, {stages} and pooled, full after {warmup_epochs} epochs",
            logit_term.objective()
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
    for (map, other) in student.iter().zip(teacher).rev() {
        let ([_, from, height, width], [_, to, rows, columns]) = (map.dims(), other.dims());
        let mixed = conv1x1(map.clone(), parameters.next([inner, from]), None);
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
