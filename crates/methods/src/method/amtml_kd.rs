//! AMTML-KD: adaptive multi-teacher multi-level distillation, with learnt weights per sample.
//!
//! Liu, Zhang, Wang, Neurocomputing 2020, <https://arxiv.org/abs/2103.04062>.
//!
//! ```text
//! w[k,b] = softmax_k( Wᵀ(θ_k ∘ β_b) )         θ_k, W learnt; β_b the student's pooled vector
//! p[b]   = Σ_k w[k,b] σ(z_k/τ)
//! L_kd   = mean_b τ² KL(p ‖ σ(z_S/τ))
//! L_rel  = distances and angles of `rkd`, between the student's logits and p
//! L_hint = Σ_j mean (R_j(n(F_S,j)) - n(f_j))²        n: length 1 over the channels at each position
//! L      = (1 - α) mean_b CE_b(z_S) + α L_kd + w_d L_d + w_a L_a + γ L_hint + λ (‖θ‖² + ‖W‖²)
//! ```
//! Hints: F_S,j is f2, f3 and the pooled vector of the student in turn, f_j the pooled vector of teacher
//! j = 1 … K, which is compared with every position; R_j is a trained 1×1 convolution without bias.
//! # Shapes
//! student logits `[batch, classes]`, teacher logits `[teachers, batch, classes]`, pooled vectors
//! `[batch, channels, 1, 1]`, maps `[batch, channels, height, width]`, labels `[batch]`.
//! # Gradient
//! through the student, θ, W and R. The divergence lets it through the target p as well, since this is
//! how the weights learn; the relations take p as a constant.
//! # Paper and code
//! weights of relations and hints (1 each), λ = 0.1, normalisation and pooled hints are the release's;
//! θ and W start standard normal and R uniform in ±0.005, as there. Corrected slips of it: KL is a mean
//! over the batch only, where the release divides by the classes too and doubles it; CE and relations
//! see the student's logits, where the release gives them its softened log-probabilities. Choices: each
//! of K teachers gives a hint (the release's notebooks differ: K - 1 of these, or one of every teacher's
//! f2 for the student's f2), and a fourth teacher and those after it give none.
//!
//! The paper trains twice: first θ and W together with a student, then a new student with them fixed.
//! `learn_epochs` is the length of the first training and the rest of the epochs that of the second;
//! student, R, their optimiser and the learning rate then begin anew, the student with the weights
//! that it began with. By default there is one training, so that the method costs what others do.
//! # Limits
//! α = 0.7, τ = 5, batches of 128, learning rate 0.1 in the paper. With one teacher its weight is 1.
//! Relations belong to the whole batch. Weight decay acts on θ and W beside λ.

use burn::Tensor;
use burn::tensor::activation::log_softmax;
use faculty_nets::{Conv2dConfig, GraphBuilder, Init, ParameterSpec};

use crate::method::rkd::{COPIES, angle_difference, distance_difference, relation_temporaries};
use crate::shared::features::rows;
use crate::shared::layers::{Parameters, parameter};
use crate::shared::options::{OURS, count, number, option, temperature};
use crate::shared::output_layer::task;
use crate::{Loss, Method, MethodInfo, Needs, Parts, Projector, Shapes, Status, Step, Term};
use faculty_contract::Setup;
use faculty_contract::losses::{kl_from_log_target, log_mixture};
use faculty_nets::Tap;
use faculty_recipe::{MethodSpec, OptionSpec, OptionValue, Range};

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
    /// Most levels of the student with a hint, 0 to 3; never more than teachers. Default 3.
    pub hint_stages: usize,
    /// Weight λ of the squares of θ and W, ≥ 0. Default 0.1 (released code).
    pub l2: f64,
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
            l2: 0.1,
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

    /// The student's levels that learn from a hint, as far as there are teachers.
    fn levels(&self) -> &'static [Tap] {
        const LEVELS: [Tap; 3] = [Tap::Feature(2), Tap::Feature(3), Tap::Pooled];
        &LEVELS[..self.config.hint_stages.min(LEVELS.len())]
    }

    /// Whether θ and W learn in this epoch.
    fn learns(&self, epoch: usize) -> bool {
        let AmtmlKdConfig { learn_epochs, .. } = self.config;
        learn_epochs == 0 || epoch <= learn_epochs
    }
}

/// Largest value of R at the start (released code).
const HINT_START: f64 = 0.005;

const AMTML_KD_CODE: &str = "AMTML-KD released code";

const fn weight_option(key: &'static str, help: &'static str) -> OptionSpec {
    option(key, OptionValue::Number(1.0), Range::at_least(0.0), AMTML_KD_CODE, help)
}

/// Row of this method.
pub(crate) const ROW: MethodInfo = MethodInfo {
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
                Range::between(0.0, 3.0),
                AMTML_KD_CODE,
                "most of f2, f3 and the pooled vector with a hint, as many as teachers at most",
            ),
            option(
                "l2",
                OptionValue::Number(0.1),
                Range::at_least(0.0),
                AMTML_KD_CODE,
                "weight of the squares of what the teacher weights are made of, while it learns",
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
            l2: number(options, "l2"),
            learn_epochs: count(options, "learn_epochs"),
        }))
    },
};

impl AmtmlKd {
    fn projectors(&self, shapes: &Shapes) -> Vec<Projector> {
        self.levels()
            .iter()
            .zip(&shapes.teachers)
            .map(|(&tap, teacher)| {
                let (mut graph, input) = GraphBuilder::new(shapes.student[&tap]);
                let config = Conv2dConfig::new(teacher[&Tap::Pooled].channels, 1, 1);
                graph.conv2d("conv", input, config).expect("a 1×1 kernel fits every map");
                let initial = Init::Uniform { bound: HINT_START };
                Projector { tap, graph: graph.finish().starting("conv.weight", initial) }
            })
            .collect()
    }

    fn parameters(&self, shapes: &Shapes) -> Vec<ParameterSpec> {
        let width = shapes.student[&Tap::Pooled].channels;
        let initial = Init::Normal { deviation: 1.0 };
        vec![
            parameter("theta".to_owned(), &[shapes.teachers.len(), width], initial),
            parameter("score".to_owned(), &[width], initial),
        ]
    }
}

impl Method for AmtmlKd {
    fn setup(&self) -> Setup {
        Setup {
            restart_after: (self.config.learn_epochs > 0).then_some(self.config.learn_epochs),
            ..Setup::label_free()
        }
    }

    fn needs(&self, epoch: usize) -> Needs {
        let levels = self.levels();
        let pooled = Needs { student_taps: vec![Tap::Pooled], ..Needs::default() };
        let needs = Needs {
            teacher_logits: true,
            teacher_taps: if levels.is_empty() { Vec::new() } else { vec![Tap::Pooled] },
            student_taps: levels.to_vec(),
            projector_taps: levels.to_vec(),
            trained_parts: true,
            min_batch: 2,
            frozen_parameters: !self.learns(epoch),
            ..Needs::default()
        };
        needs.union(pooled)
    }

    fn parts(&self, shapes: &Shapes) -> Parts {
        Parts {
            projectors: self.projectors(shapes),
            parameters: self.parameters(shapes),
            temporaries: relation_temporaries(shapes, [&shapes.student, &shapes.student], COPIES),
            ..Parts::default()
        }
    }

    fn loss(&self, step: &Step) -> Loss {
        let AmtmlKdConfig { temperature, alpha, distance, angle, gamma, l2, .. } = self.config;
        let teachers = step.given_logits();
        let student = &step.student_logits;
        let pooled = rows(step.student_maps.last().expect("the pooled vector at least").clone());
        let mut parameters = Parameters::new(&step.parameters);
        let (count, width) = (teachers.dims()[0], pooled.dims()[1]);
        let (theta, score) = (parameters.next([count, width]), parameters.next([width]));
        let squares = theta.clone().square().sum() + score.clone().square().sum();
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
        // The levels are the first of the student's taps.
        let hints = step.projected_maps.iter().zip(&step.student_maps).zip(&step.teacher_maps);
        let hints = hints.map(|((projected, level), teacher)| {
            hint_error(level.clone(), projected.clone(), teacher[0].clone())
        });
        if let Some(value) = hints.reduce(|sum, hint| sum + hint) {
            terms.push(Term { name: "hint", weight: gamma, value });
        }
        if self.learns(step.epoch) {
            terms.push(Term { name: "l2", weight: l2, value: squares });
        }
        let weights = log_weights.detach().exp();
        Loss::new(terms).with_teacher_weights("kd", weights)
    }

    fn objective(&self, teachers: usize) -> String {
        let AmtmlKdConfig { temperature, alpha, distance, angle, gamma, l2, learn_epochs, .. } =
            self.config;
        let mut line = format!(
            "{:.4} CE + {alpha} τ² KL(Σ_k w p_k ‖ q) + {distance} distances + {angle} angles",
            1.0 - alpha
        );
        let hints = self.levels().len().min(teachers);
        if hints > 0 {
            line += &format!(" + {gamma} Σ MSE of {hints} hints");
        }
        line += &format!(" + {l2} (‖θ‖² + ‖W‖²)");
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

/// `mean (R(n(F_S)) - n(f))²`, the pooled vector f at every position; `projected` is `R(F_S)`. Since R
/// mixes channels at each position and has no bias, dividing by the length before and after it is the
/// same.
pub(crate) fn hint_error(student: Tensor<4>, projected: Tensor<4>, pooled: Tensor<4>) -> Tensor<1> {
    let length = |map: Tensor<4>| (map.square().sum_dim(1) + 1e-12).sqrt();
    let direction = projected / length(student);
    let other = pooled.clone() / length(pooled);
    (direction - other).square().mean()
}
