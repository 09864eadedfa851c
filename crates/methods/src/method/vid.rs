//! VID: variational information distillation, how well the teacher's maps can be told from the
//! student's.
//!
//! Ahn, Hu, Damianou, Lawrence, Dai, CVPR 2019, <https://arxiv.org/abs/1904.05835>.
//!
//! ```text
//! μ       = three 1×1 convolutions without bias, ReLU between them
//! σ²_c    = softplus(s_c) + 1e-5, one learnt value a channel, 5 at the start
//! L       = mean_b CE_b(z_S) + β Σ_stages mean ½ ((μ(F_S) - F_T)² / σ² + log σ²) [+ α τ² KL]
//! ```
//! # Shapes
//! maps `[batch, channels, height, width]`; the larger of two maps is average-pooled to the size of
//! the smaller. Labels `[batch]`.
//! # Gradient
//! through the student, the convolutions and the variances.
//! # Paper and code
//! the maps (f1 and all after it, as far as all networks have them), the networks μ and the start of
//! the variance are those of the distillation benchmarks (as many
//! channels inside as the teacher has); the paper gives the convolutions twice as many and batch
//! norm. The convolutions start as PyTorch's do by default: uniform in ±1/√channels of their input.
//! # Limits
//! the term can be negative (a log density). With several teachers, the mean over them. In a short run it
//! gives little or nothing over plain training: in 6 epochs on the demo's data, three teachers, 85.2 and
//! 83.8 in PyTorch, 84.35 and 84.1 here, against 84.8 and 84.95.

use burn::Tensor;
use burn::tensor::activation::{relu, softplus};
use faculty_nets::Init;

use crate::shared::features::{
    FIRST_STAGE, KD_ALPHA, LOGIT_TERM_TEMPERATURE, LogitTermConfig, STAGES, Stages, mean_k,
    over_teachers, sample_means,
};
use crate::shared::layers::{Parameters, conv1x1, parameter, resize};
use crate::shared::options::{BENCHMARKS, number, option};
use crate::{Facts, Loss, Method, MethodInfo, Needs, Parts, Setup, Shapes, Status, Step};
use faculty_nets::Tap;
use faculty_recipe::{MethodSpec, OptionValue, Range};

/// Added to variances (released benchmarks).
const EPSILON: f32 = 1e-5;
/// Variance at the start (released benchmarks).
const START: f32 = 5.0;

/// Constants of [`Vid`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VidConfig {
    /// Weight of the term, ≥ 0. Default 1.
    pub beta: f64,
    /// The maps that are matched. Default f1 and all after it.
    pub stages: Stages,
    /// Output term beside it. Default none.
    pub logit_term: LogitTermConfig,
}

impl Default for VidConfig {
    fn default() -> Self {
        Self { beta: 1.0, stages: Stages::default(), logit_term: LogitTermConfig::default() }
    }
}

/// Variational information distillation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Vid {
    config: VidConfig,
}

impl Vid {
    /// With these constants.
    #[must_use]
    pub const fn new(config: VidConfig) -> Self {
        Self { config }
    }
}

/// Row of this method.
pub(crate) const ROW: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "vid",
        help: "how well the teacher's maps can be told from the student's",
        options: &[
            option(
                "beta",
                OptionValue::Number(1.0),
                Range::at_least(0.0),
                BENCHMARKS,
                "weight of the term",
            ),
            FIRST_STAGE,
            STAGES,
            KD_ALPHA,
            LOGIT_TERM_TEMPERATURE,
        ],
        min_teachers: 1,
        max_teachers: None,
    },
    paper: "Ahn et al., CVPR 2019, arXiv 1904.05835",
    status: Status::Exact,
    build: |options| {
        Box::new(Vid::new(VidConfig {
            beta: number(options, "beta"),
            stages: Stages::of(options),
            logit_term: LogitTermConfig::of(options),
        }))
    },
};

impl Method for Vid {
    fn setup(&self) -> Setup {
        Setup { averages_samples: true, ..Setup::label_free() }
    }

    fn needs(&self, _epoch: usize) -> Needs {
        let needs = self.config.stages.needs().union(self.config.logit_term.needs());
        Needs { trained_parts: true, ..needs }
    }

    fn prepare(&mut self, facts: Facts<'_>) {
        if let Facts::Maps(shapes) = facts {
            self.config.stages.choose(shapes, Tap::Feature);
        }
    }

    fn parts(&self, shapes: &Shapes) -> Parts {
        let mut specs = Vec::new();
        // softplus(s) + EPSILON = START
        let start = Init::Constant(((START - EPSILON).exp() - 1.0).ln());
        for (k, teacher) in shapes.teachers.iter().enumerate() {
            for tap in self.config.stages.taps() {
                let (from, to) = (shapes.student[&tap].channels, teacher[&tap].channels);
                for (layer, inputs) in [from, to, to].into_iter().enumerate() {
                    let name = format!("mean.{k}.{tap}.{layer}.weight");
                    let initial = Init::UniformFanIn { fan_in: inputs };
                    specs.push(parameter(name, &[to, inputs], initial));
                }
                specs.push(parameter(format!("variance.{k}.{tap}"), &[to], start));
            }
        }
        Parts { parameters: specs, ..Parts::default() }
    }

    fn loss(&self, step: &Step) -> Loss {
        let mut parameters = Parameters::new(&step.parameters);
        let mut values = Vec::new();
        for maps in &step.teacher_maps {
            let mut sum: Option<Tensor<1>> = None;
            for (student, teacher) in step.student_maps.iter().zip(maps) {
                let (from, to) = (student.dims()[1], teacher.dims()[1]);
                let layers = [from, to, to].map(|inputs| parameters.next([to, inputs]));
                let raw_variance = parameters.next([to]);
                let value =
                    negative_log_density(student.clone(), teacher.clone(), layers, raw_variance);
                sum = Some(match sum {
                    Some(sum) => sum + value,
                    None => value,
                });
            }
            values.push(sum.expect("at least one stage"));
        }
        let mut loss = self.config.logit_term.loss(step);
        loss.terms.push(over_teachers(step, "information", self.config.beta, values));
        loss
    }

    fn objective(&self, teachers: usize) -> String {
        let VidConfig { beta, stages, logit_term } = self.config;
        let term = mean_k("Σ ½ (MSE/σ² + log σ²)", teachers);
        format!("{} + {beta} {term}, {stages}", logit_term.objective())
    }
}

/// `mean_chw ½ ((μ(F_S) - F_T)² / σ² + log σ²)`, `[batch]`.
fn negative_log_density(
    student: Tensor<4>,
    teacher: Tensor<4>,
    [first, second, third]: [Tensor<2>; 3],
    raw_variance: Tensor<1>,
) -> Tensor<1> {
    let ([_, _, rows_s, columns_s], [_, to, rows_t, columns_t]) = (student.dims(), teacher.dims());
    let (height, width) = (rows_s.min(rows_t), columns_s.min(columns_t));
    let (student, teacher) = (resize(student, height, width), resize(teacher, height, width));
    let hidden = relu(conv1x1(student, first, None));
    let mean = conv1x1(relu(conv1x1(hidden, second, None)), third, None);
    let variance = (softplus(raw_variance, 1.0) + EPSILON).reshape([1, to, 1, 1]);
    let squares = (mean - teacher).square();
    sample_means((squares / variance.clone() + variance.log()) * 0.5)
}
