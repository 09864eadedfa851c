//! SemCKD: every stage of the student learns from every stage of the teacher, weighted per sample by
//! attention.
//!
//! Chen, Mei, Zhang, Wang, Feng, Chen, "Cross-layer distillation with semantic calibration", AAAI 2021,
//! <https://arxiv.org/abs/2012.03236>.
//!
//! ```text
//! A(F)      = Q Qᵀ,  Q = F as [batch, c h w]                     similarities of the batch, [batch, batch]
//! q_i, k_j  = unit rows of a two-layer network on A(F_S,i), A(F_T,j)       to batch/4 values a sample
//! a[b,i,j]  = softmax_j ⟨q_i[b], k_j[b]⟩
//! e[b,i,j]  = mean (R_ij(F_S,i) - F_T,j)²                        the larger map pooled to the smaller one
//! L         = mean_b CE_b(z_S) + β mean_b (1/stages) Σ_ij a e + α τ² KL
//! R_ij      = Conv1×1, BN, ReLU, Conv3×3, BN, ReLU, Conv1×1      twice the teacher's channels inside
//! ```
//! # Shapes
//! maps `[batch, channels, height, width]` of f1 and all after it, as far as all networks have them;
//! labels `[batch]`.
//! # Gradient
//! through the student, the regressors R, and the two-layer networks (the student's similarities
//! included).
//! # Paper and code
//! sizes, β = 400 and the output term (α = 1) are those of the authors' first release; a later one
//! divides the attention's products by a constant, which we leave out. All trained parts start as there:
//! PyTorch's default, weights (and the linear layers' biases) uniform in ±1/√fan-in.
//! # Limits
//! released for a learning rate of 0.05. Its networks are as wide as the batch, so every batch must be full (`train.drop_last`). Nine
//! regressors for three stages cost more than a small student. With several teachers, the mean over
//! them, each with networks of its own.

use burn::Tensor;
use burn::tensor::activation::{relu, softmax};
use faculty_nets::{Conv2dConfig, Graph, GraphBuilder, MapShape, ParameterSpec};

use crate::shared::features::{
    FIRST_STAGE, LOGIT_TERM_TEMPERATURE, LogitTermConfig, STAGES, Stages, mean_k, over_teachers,
    rows, sample_means, unit_rows,
};
use crate::shared::layers::{Parameters, resize};
use crate::shared::options::{BENCHMARKS, number, option};
use crate::shared::transformer::linear_parameters;
use crate::{
    Facts, Loss, Method, MethodInfo, Needs, Parts, Projector, Setup, Shapes, Status, Step,
};
use faculty_nets::Tap;
use faculty_recipe::{MethodSpec, OptionValue, Range};

/// Constants of [`SemCkd`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SemCkdConfig {
    /// Weight of the feature term, ≥ 0. Default 400.
    pub beta: f64,
    /// The maps that are matched. Default f1 and all after it.
    pub stages: Stages,
    /// Output term beside it. Default weight 1.
    pub logit_term: LogitTermConfig,
}

impl Default for SemCkdConfig {
    fn default() -> Self {
        let logit_term = LogitTermConfig { alpha: 1.0, ..LogitTermConfig::default() };
        Self { beta: 400.0, stages: Stages::default(), logit_term }
    }
}

/// Cross-layer distillation.
#[derive(Clone, Copy, Debug, Default)]
pub struct SemCkd {
    config: SemCkdConfig,
}

impl SemCkd {
    /// With these constants.
    #[must_use]
    pub const fn new(config: SemCkdConfig) -> Self {
        Self { config }
    }
}

/// Row of this method.
pub(crate) const ROW: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "semckd",
        help: "every stage from every stage, weighted per sample by attention",
        options: &[
            option(
                "beta",
                OptionValue::Number(400.0),
                Range::at_least(0.0),
                BENCHMARKS,
                "weight of the feature term",
            ),
            FIRST_STAGE,
            STAGES,
            option(
                "alpha",
                OptionValue::Number(1.0),
                Range::at_least(0.0),
                "released code",
                "weight of a distillation term at the output beside the feature term",
            ),
            LOGIT_TERM_TEMPERATURE,
        ],
        min_teachers: 1,
        max_teachers: None,
    },
    paper: "Chen et al., AAAI 2021, arXiv 2012.03236",
    status: Status::Exact,
    build: |options| {
        Box::new(SemCkd::new(SemCkdConfig {
            beta: number(options, "beta"),
            stages: Stages::of(options),
            logit_term: LogitTermConfig::of(options),
        }))
    },
};

/// Values of a query or key; a row of one value would be ±1 at length 1 and learn nothing.
fn embedding_width(batch: usize) -> usize {
    (batch / 4).max(2)
}

impl SemCkd {
    fn projectors(&self, shapes: &Shapes) -> Vec<Projector> {
        let taps = self.config.stages.taps();
        let mut projectors = Vec::new();
        for teacher in &shapes.teachers {
            for &student_tap in &taps {
                for other in &taps {
                    let graph = regressor(shapes.student[&student_tap], teacher[other]);
                    projectors.push(Projector { tap: student_tap, graph });
                }
            }
        }
        projectors
    }

    fn parameters(&self, shapes: &Shapes) -> Vec<ParameterSpec> {
        let batch = shapes.batch_size;
        let width = embedding_width(batch);
        let mut specs = Vec::new();
        for k in 0..shapes.teachers.len() {
            for side in ["query", "key"] {
                for tap in self.config.stages.taps() {
                    let layers = [("0", batch, 2 * width), ("1", 2 * width, width)];
                    for (layer, inputs, outputs) in layers {
                        let name = format!("{side}.{k}.{tap}.{layer}");
                        specs.extend(linear_parameters(&name, inputs, outputs));
                    }
                }
            }
        }
        specs
    }
}

impl Method for SemCkd {
    fn setup(&self) -> Setup {
        Setup::label_free()
    }

    fn needs(&self, _epoch: usize) -> Needs {
        let needs = self.config.stages.needs().union(self.config.logit_term.needs());
        Needs {
            projector_taps: self.config.stages.taps(),
            trained_parts: true,
            full_batches: true,
            ..needs
        }
    }

    fn prepare(&mut self, facts: Facts<'_>) {
        if let Facts::Maps(shapes) = facts {
            self.config.stages.choose(shapes, Tap::Feature);
        }
    }

    fn parts(&self, shapes: &Shapes) -> Parts {
        Parts {
            projectors: self.projectors(shapes),
            parameters: self.parameters(shapes),
            ..Parts::default()
        }
    }

    fn loss(&self, step: &Step) -> Loss {
        let SemCkdConfig { beta, stages, logit_term } = self.config;
        let count = stages.numbers().len();
        let mut parameters = Parameters::new(&step.parameters);
        let mut projected = step.projected_maps.iter();
        let mut values = Vec::new();
        for maps in &step.teacher_maps {
            let embedded = |maps: &[Tensor<4>], parameters: &mut Parameters<'_>| {
                let all = maps.iter().map(|map| embedding(map.clone(), parameters)).collect();
                Tensor::stack::<3>(all, 1)
            };
            // [batch, stages, width] each.
            let queries = embedded(&step.student_maps, &mut parameters);
            let keys = embedded(maps, &mut parameters);
            let attention = softmax(queries.matmul(keys.transpose()), 2);
            let mut errors = Vec::new();
            for _ in 0..count {
                for map in maps {
                    let regressed =
                        projected.next().expect("one projector for each pair of stages");
                    errors.push(error(regressed.clone(), map.clone()));
                }
            }
            let batch = step.student_logits.dims()[0];
            let errors = Tensor::cat(errors, 1).reshape([batch, count, count]);
            values.push(sample_means(attention * errors) * count as f32);
        }
        let mut loss = logit_term.loss(step);
        loss.terms.push(over_teachers(step, "semantic", beta, values));
        loss
    }

    fn objective(&self, teachers: usize) -> String {
        let SemCkdConfig { beta, stages, logit_term } = self.config;
        let term = mean_k("Σ a MSE", teachers);
        format!("{} + {beta} {term}, a by attention, {stages}", logit_term.objective())
    }
}

fn regressor(student: MapShape, teacher: MapShape) -> Graph {
    let (mut graph, input) = GraphBuilder::new(student);
    let (height, width) = (student.height.min(teacher.height), student.width.min(teacher.width));
    let inner = 2 * teacher.channels;
    let mut value = graph.resize(input, height, width);
    for (layer, (out, kernel)) in
        [(inner, 1), (inner, 3), (teacher.channels, 1)].into_iter().enumerate()
    {
        value = graph
            .conv2d(&format!("conv{layer}"), value, Conv2dConfig::new(out, kernel, 1))
            .expect("padded kernels fit every map with at least one position");
        if layer < 2 {
            value = graph.batch_norm(&format!("bn{layer}"), value, None, true);
        }
    }
    graph.finish()
}

/// Unit rows `[batch, width]` from the similarities of the batch.
fn embedding(map: Tensor<4>, parameters: &mut Parameters<'_>) -> Tensor<2> {
    let rows = rows(map);
    let batch = rows.dims()[0];
    let width = embedding_width(batch);
    let mut linear = |x: Tensor<2>, inputs: usize, outputs: usize| {
        let weight = parameters.next([outputs, inputs]);
        x.matmul(weight.transpose()) + parameters.next([outputs]).unsqueeze::<2>()
    };
    let similarities = rows.clone().matmul(rows.transpose());
    let hidden = relu(linear(similarities, batch, 2 * width));
    unit_rows(linear(hidden, 2 * width, width))
}

/// `e[·,i,j]`, `[batch, 1]`.
fn error(projected: Tensor<4>, teacher: Tensor<4>) -> Tensor<2> {
    let [_, _, height, width] = projected.dims();
    rows(projected - resize(teacher, height, width)).square().mean_dim(1)
}
