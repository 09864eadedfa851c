//! AMTML-KD: adaptive multi-teacher multi-level distillation, with learnt weights per sample.
//!
//! Liu, Zhang, Wang, Neurocomputing 2020, <https://arxiv.org/abs/2103.04062>.
//!
//! ```text
//! w[k,b] = softmax_k( Wᵀ(θ_k ∘ β_b) )         θ_k, W learnt; β_b the student's pooled vector
//! p[b]   = Σ_k w[k,b] σ(z_k/τ)
//! L_kd   = mean_b τ² KL(p ‖ σ(z_S/τ))
//! L_rel  = distances and angles of `rkd`, between the student's logits and p
//! L_hint = Σ_j mean (R_j(n(F_S,j)) - n(F_k(j),j))²   n: length 1 over the channels at each position
//! L      = (1 - α) mean_b CE_b(z_S) + α L_kd + w_d L_d + w_a L_a + γ L_hint
//! ```
//! Hints: stage j = 1 … K-1 of the student learns from teacher j's, through a trained 1×1
//! convolution R.
//! # Shapes
//! student logits `[batch, classes]`, teacher logits `[teachers, batch, classes]`, student's pooled
//! vector `[batch, channels]`, maps `[batch, channels, height, width]`, labels `[batch]`.
//! # Gradient
//! through the student, θ, W and R. The divergence lets it through the target p as well, since this is
//! how the weights learn; the relations take p as a constant.
//! # Paper and code
//! corrected slips of the released code: KL is a mean over the batch only, where the release divides
//! by the classes too. Choices where the paper leaves them open: the normalisation n, the weights
//! of relations and hints (1 each), R without bias, θ and W uniform in ±1/√channels at the start.
//!
//! The paper trains twice: first θ and W together with a student, then a new student with them fixed.
//! `learn_epochs` is the length of the first training and the rest of the epochs that of the second;
//! student, R, their optimiser and the learning rate then begin anew, the student with the weights
//! that it began with. By default there is one training, so that the method costs what others do.
//! # Limits
//! α = 0.7, τ = 5, batches of 128, learning rate 0.1 in the paper. With one teacher its weight is 1
//! and there are no hints. Relations belong to the whole batch.

use burn::Tensor;
use burn::tensor::activation::log_softmax;
use faculty_nets::{Conv2dConfig, GraphBuilder, Initial, ParameterSpec};

use super::features::rows;
use super::layers::{Parameters, parameter, resize};
use super::options::{OURS, count, number, option, temperature};
use super::output_layer::task;
use super::rkd::{COPIES, angle_difference, distance_difference, relation_temporaries};
use super::{
    Connector, Loss, Method, MethodInfo, Needs, Shapes, Status, Step, TeacherWeights, Term,
};
use crate::losses::{kl_from_log_target, log_mixture};
use crate::recipe::{MethodSpec, OptionSpec, OptionValue, Range};
use crate::tap::Tap;

/// Constants of [`AmtmlKd`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AmtmlKdConfig {
    /// Softening of all distributions, > 0. Default 5 (paper).
    pub temperature: f32,
    /// Weight of the divergence, 0 to 1; the task term gets the rest. Default 0.7 (paper).
    pub alpha: f64,
    /// Weight of the distances, ≥ 0. Default 1.
    pub distance: f64,
    /// Weight of the angles, ≥ 0. Default 1.
    pub angle: f64,
    /// Weight of the hints, ≥ 0. Default 1.
    pub gamma: f64,
    /// Most stages with a hint; never more than one fewer than teachers. Default 3.
    pub hint_stages: usize,
    /// Epochs that a first student learns θ and W in, before another one is trained with them as they
    /// are then; 0 = one training of both. Default 0.
    pub learn_epochs: usize,
}

impl Default for AmtmlKdConfig {
    fn default() -> Self {
        Self {
            temperature: 5.0,
            alpha: 0.7,
            distance: 1.0,
            angle: 1.0,
            gamma: 1.0,
            hint_stages: 3,
            learn_epochs: 0,
        }
    }
}

/// Distillation with learnt teacher weights.
#[derive(Clone, Copy, Debug, Default)]
pub struct AmtmlKd {
    config: AmtmlKdConfig,
}

impl AmtmlKd {
    /// With these constants.
    #[must_use]
    pub const fn new(config: AmtmlKdConfig) -> Self {
        Self { config }
    }

    /// Taps with a hint, given the number of teachers.
    fn hint_taps(&self, teachers: usize) -> impl Iterator<Item = Tap> {
        (1..=self.config.hint_stages.min(teachers.saturating_sub(1))).map(Tap::Feature)
    }
}

const fn weight_option(key: &'static str, help: &'static str) -> OptionSpec {
    option(key, OptionValue::Number(1.0), Range::at_least(0.0), OURS, help)
}

/// Row of this method.
pub(super) const ROW: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "amtml-kd",
        help: "teacher weights per sample that are learnt with the student",
        options: &[
            option(
                "temperature",
                OptionValue::Number(5.0),
                Range::above(0.0),
                "paper",
                "softening τ of teacher and student outputs in the distillation term",
            ),
            option(
                "alpha",
                OptionValue::Number(0.7),
                Range::between(0.0, 1.0),
                "paper",
                "weight of the divergence; the task term gets 1 - alpha",
            ),
            weight_option("distance", "weight of the distances between samples"),
            weight_option("angle", "weight of the angles between samples"),
            weight_option("gamma", "weight of the hints"),
            option(
                "hint_stages",
                OptionValue::Integer(3),
                Range::between(0.0, 100.0),
                "paper",
                "most stages with a hint, from f1 on; one fewer than teachers at most",
            ),
            option(
                "learn_epochs",
                OptionValue::Integer(0),
                Range::at_least(0.0),
                OURS,
                "epochs of a first training, of the weights; then a new student; 0 = one training",
            ),
        ],
        min_teachers: 1,
        max_teachers: None,
    },
    paper: "Liu, Zhang, Wang, Neurocomputing 2020, arXiv 2103.04062",
    status: Status::Reimplementation,
    build: |options| {
        Box::new(AmtmlKd::new(AmtmlKdConfig {
            temperature: temperature(options),
            alpha: number(options, "alpha"),
            distance: number(options, "distance"),
            angle: number(options, "angle"),
            gamma: number(options, "gamma"),
            hint_stages: count(options, "hint_stages"),
            learn_epochs: count(options, "learn_epochs"),
        }))
    },
};

impl Method for AmtmlKd {
    fn needs(&self, epoch: usize) -> Needs {
        let AmtmlKdConfig { hint_stages, learn_epochs, .. } = self.config;
        let stages: Vec<Tap> = (1..=hint_stages).map(Tap::Feature).collect();
        let mut student_taps = stages.clone();
        student_taps.push(Tap::Pooled);
        Needs {
            teacher_logits: true,
            teacher_taps: stages.clone(),
            student_taps,
            connector_taps: stages,
            trained_parts: true,
            min_batch: 2,
            frozen_parameters: learn_epochs > 0 && epoch > learn_epochs,
            ..Needs::default()
        }
    }

    fn restart_after(&self) -> Option<usize> {
        (self.config.learn_epochs > 0).then_some(self.config.learn_epochs)
    }

    fn connectors(&self, shapes: &Shapes) -> Vec<Connector> {
        let taps = self.hint_taps(shapes.teachers.len());
        taps.zip(&shapes.teachers)
            .map(|(tap, teacher)| {
                let (mut graph, input) = GraphBuilder::new(shapes.student[&tap]);
                let resized = graph.resize(input, teacher[&tap].height, teacher[&tap].width);
                graph
                    .conv2d("conv", resized, Conv2dConfig::new(teacher[&tap].channels, 1, 1))
                    .expect("a 1×1 kernel fits every map with at least one position");
                Connector { tap, graph: graph.finish() }
            })
            .collect()
    }

    fn parameters(&self, shapes: &Shapes) -> Vec<ParameterSpec> {
        let width = shapes.student[&Tap::Pooled].channels;
        let initial = Initial::UniformFanIn { fan_in: width };
        vec![
            parameter("theta".to_owned(), &[shapes.teachers.len(), width], initial),
            parameter("score".to_owned(), &[width], initial),
        ]
    }

    fn loss(&self, step: &Step) -> Loss {
        let AmtmlKdConfig { temperature, alpha, distance, angle, gamma, .. } = self.config;
        let teachers = step.teacher_logits();
        let student = &step.student_logits;
        let pooled = rows(step.student_maps[self.config.hint_stages].clone());
        let mut parameters = Parameters::new(&step.parameters);
        let (count, width) = (teachers.dims()[0], pooled.dims()[1]);
        let (theta, score) = (parameters.next([count, width]), parameters.next([width]));
        let log_weights = learnt_log_weights(theta, score, pooled);
        let target = log_mixture(teachers.clone(), log_weights.clone(), temperature);
        let kd = kl_from_log_target(target.clone(), student.clone(), temperature).mean();
        let constant = target.detach().exp();
        let mut terms = vec![
            task(step, 1.0 - alpha),
            Term { name: "kd", weight: alpha, value: kd },
            Term {
                name: "distance",
                weight: distance,
                value: distance_difference(student.clone(), constant.clone()).mean(),
            },
            Term {
                name: "angle",
                weight: angle,
                value: angle_difference(student.clone(), constant).mean(),
            },
        ];
        let hints = self.hint_taps(count).enumerate().map(|(j, _)| {
            let (own, connected) = (&step.student_maps[j], &step.connected_maps[j]);
            hint_error(own.clone(), connected.clone(), step.teacher_maps[j][j].clone())
        });
        if let Some(value) = hints.reduce(|sum, hint| sum + hint) {
            terms.push(Term { name: "hint", weight: gamma, value });
        }
        let weights = log_weights.detach().exp();
        Loss { terms, teacher_weights: vec![TeacherWeights { level: "kd", weights }] }
    }

    fn temporaries(&self, shapes: &Shapes) -> usize {
        relation_temporaries(shapes, [&shapes.student, &shapes.student], COPIES)
    }

    fn objective(&self, teachers: usize) -> String {
        let AmtmlKdConfig { temperature, alpha, distance, angle, gamma, learn_epochs, .. } =
            self.config;
        let mut line = format!(
            "{:.4} CE + {alpha} τ² KL(Σ_k w p_k ‖ q) + {distance} distances + {angle} angles",
            1.0 - alpha
        );
        let hints = self.hint_taps(teachers).count();
        if hints > 0 {
            line += &format!(" + {gamma} Σ MSE of {hints} hints");
        }
        if learn_epochs > 0 {
            line += &format!(", a new student with w as learnt in {learn_epochs} epochs");
        }
        line + &format!(", w learnt, τ = {temperature}, K = {teachers}, Σ_k w = 1")
    }
}

/// `log softmax_k( Wᵀ(θ_k ∘ β_b) )`, `[teachers, batch]`; θ `[teachers, width]`, W `[width]`, β
/// `[batch, width]`.
pub(crate) fn learnt_log_weights(
    theta: Tensor<2>,
    score: Tensor<1>,
    pooled: Tensor<2>,
) -> Tensor<2> {
    let scored = theta * score.unsqueeze::<2>();
    log_softmax(scored.matmul(pooled.transpose()), 0)
}

/// `mean (R(n(F_S)) - n(F_T))²`; `connected` is `R(F_S)`. Since R mixes channels at each position and
/// has no bias, dividing by the length before and after it is the same.
fn hint_error(student: Tensor<4>, connected: Tensor<4>, teacher: Tensor<4>) -> Tensor<1> {
    let [_, _, height, width] = teacher.dims();
    let length = |map: Tensor<4>| (map.square().sum_dim(1) + 1e-12).sqrt();
    let own = connected / length(resize(student, height, width));
    let other = teacher.clone() / length(teacher);
    (own - other).square().mean()
}
