//! DKD: decoupled distillation, the target class and the other classes apart.
//!
//! Zhao, Cui, Song, Qiu, Liang, CVPR 2022, <https://arxiv.org/abs/2203.08679>.
//!
//! ```text
//! p, q  = σ(z_T/τ), σ(z_S/τ)
//! TCKD  = τ² KL( (p_y, 1 - p_y) ‖ (q_y, 1 - q_y) )
//! NCKD  = τ² KL( p without y, renormalised ‖ q without y, renormalised )
//! L     = mean_b CE_b(z_S) + min(epoch/warm-up, 1) mean_b (α TCKD + β NCKD)
//! ```
//! # Shapes
//! student logits `[batch, classes]`, teacher logits `[teachers, batch, classes]`, labels `[batch]`.
//! # Gradient
//! through the student only.
//! # Paper and code
//! the released code takes the label out by subtracting 1000 from its logit, ours exactly, so that
//! it holds for logits of any size. 20 epochs of linear warm-up, as released.
//! # Limits
//! β = 8 suits ResNets with CIFAR-100; the paper tunes it for each pair. With several teachers, the
//! mean over them.

use burn::Tensor;
use burn::tensor::Int;
use burn::tensor::activation::log_softmax;

use crate::shared::features::{mean_k, mean_over_teachers};
use crate::shared::options::{BENCHMARKS, TEMPERATURE, count, number, option, temperature};
use crate::shared::output_layer::task;
use crate::{Loss, Method, MethodInfo, Needs, Setup, Status, Step};
use faculty_contract::losses::log_sum_exp;
use faculty_recipe::{MethodSpec, OptionValue, Range};

/// Constants of [`Dkd`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DkdConfig {
    /// Softening of both distributions, > 0. Default 4.
    pub temperature: f32,
    /// Weight of the target-class term, ≥ 0. Default 1.
    pub alpha: f64,
    /// Weight of the other classes' term, ≥ 0. Default 8.
    pub beta: f64,
    /// Epochs over which both terms grow to their full weight. Default 20.
    pub warmup_epochs: usize,
}

impl Default for DkdConfig {
    fn default() -> Self {
        Self { temperature: 4.0, alpha: 1.0, beta: 8.0, warmup_epochs: 20 }
    }
}

/// Decoupled distillation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dkd {
    config: DkdConfig,
}

impl Dkd {
    /// With these constants.
    #[must_use]
    pub const fn new(config: DkdConfig) -> Self {
        Self { config }
    }
}

/// Row of this method.
pub(crate) const ROW: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "dkd",
        help: "the target class and the other classes apart",
        options: &[
            TEMPERATURE,
            option(
                "alpha",
                OptionValue::Number(1.0),
                Range::at_least(0.0),
                "paper",
                "weight of the target-class term",
            ),
            option(
                "beta",
                OptionValue::Number(8.0),
                Range::at_least(0.0),
                "paper",
                "weight of the other classes' term",
            ),
            option(
                "warmup_epochs",
                OptionValue::Integer(20),
                Range::at_least(0.0),
                BENCHMARKS,
                "epochs over which both terms grow to their full weight",
            ),
        ],
        min_teachers: 1,
        max_teachers: None,
    },
    paper: "Zhao et al., CVPR 2022, arXiv 2203.08679",
    status: Status::Exact,
    build: |options| {
        Box::new(Dkd::new(DkdConfig {
            temperature: temperature(options),
            alpha: number(options, "alpha"),
            beta: number(options, "beta"),
            warmup_epochs: count(options, "warmup_epochs"),
        }))
    },
};

impl Method for Dkd {
    /// What is told apart is one true class and the others.
    fn setup(&self) -> Setup {
        Setup { needs_one_label: true, averages_samples: true, ..Setup::default() }
    }

    fn needs(&self, _epoch: usize) -> Needs {
        Needs { teacher_logits: true, ..Needs::default() }
    }

    fn loss(&self, step: &Step) -> Loss {
        let DkdConfig { temperature, alpha, beta, warmup_epochs } = self.config;
        let share = (step.epoch as f64 / warmup_epochs.max(1) as f64).min(1.0);
        let (mut of_target, mut of_others) = (Vec::new(), Vec::new());
        for teacher in step.given_logits().clone().iter_dim(0) {
            let teacher = teacher.squeeze_dim::<2>(0);
            let student = step.student_logits.clone();
            let (target, others) = decoupled(teacher, student, &step.labels, temperature);
            of_target.push(target.mean());
            of_others.push(others.mean());
        }
        let terms = vec![
            task(step, 1.0),
            mean_over_teachers("target", share * alpha, of_target),
            mean_over_teachers("others", share * beta, of_others),
        ];
        Loss::new(terms)
    }

    fn objective(&self, teachers: usize) -> String {
        let DkdConfig { temperature, alpha, beta, warmup_epochs } = self.config;
        let (target, others) = (mean_k("TCKD", teachers), mean_k("NCKD", teachers));
        format!(
            "CE + {alpha} {target} + {beta} {others}, full after {warmup_epochs} epochs, \
             τ = {temperature}"
        )
    }
}

/// TCKD and NCKD, `[batch]` each, both with τ². Logits `[batch, classes]`, labels `[batch]`.
pub(crate) fn decoupled(
    teacher: Tensor<2>,
    student: Tensor<2>,
    labels: &Tensor<1, Int>,
    temperature: f32,
) -> (Tensor<1>, Tensor<1>) {
    let [batch, classes] = student.dims();
    let column = labels.clone().reshape([batch, 1]);
    let numbers = Tensor::<1, Int>::arange(0..classes as i64, &student.device());
    let is_label = numbers
        .reshape([1, classes])
        .repeat_dim(0, batch)
        .equal(column.clone().repeat_dim(1, classes));
    // Logarithms of: the label's share, the others' share, and the others among themselves.
    let parts = |logits: Tensor<2>| {
        let scaled = logits / temperature;
        // Below every logit, and its exponential is 0.
        let others = scaled.clone().mask_fill(is_label.clone(), -1e30);
        let all = log_sum_exp(scaled.clone(), 1);
        let label = scaled.gather(1, column.clone()) - all.clone();
        (label, log_sum_exp(others.clone(), 1) - all, log_softmax(others, 1))
    };
    let divergence = |p: Tensor<2>, q: Tensor<2>| p.clone().exp() * (p - q);
    let (label_p, rest_p, among_p) = parts(teacher);
    let (label_q, rest_q, among_q) = parts(student);
    let target = divergence(label_p, label_q) + divergence(rest_p, rest_q);
    let others = divergence(among_p, among_q).sum_dim(1);
    let square = temperature * temperature;
    (target.reshape([batch]) * square, others.reshape([batch]) * square)
}
