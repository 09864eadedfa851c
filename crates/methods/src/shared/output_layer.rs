//! The loss that methods of the output layer share: the task term, and one `kd` term.

use burn::Tensor;

use crate::shared::options::{number, temperature};
use crate::{Loss, Step, Term};
use faculty_contract::losses::weighted_kl;
use faculty_recipe as recipe;

/// Constants that these methods share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutputConfig {
    /// Softening of both distributions, > 0. Default 4.
    pub temperature: f32,
    /// Weight of the distillation term, ≥ 0. Default 1.
    pub alpha: f64,
}

impl Default for OutputConfig {
    fn default() -> Self {
        Self { temperature: 4.0, alpha: 1.0 }
    }
}

impl OutputConfig {
    /// The options `temperature` and `alpha`.
    pub(crate) fn of(options: &recipe::Method) -> Self {
        Self { temperature: temperature(options), alpha: number(options, "alpha") }
    }
}

/// `mean_b CE_b(z_S)`, as the recipe wants it.
pub(crate) fn task(step: &Step, weight: f64) -> Term {
    Term { name: "task", weight, value: step.task_loss() }
}

/// `CE + alpha · value`.
pub(crate) fn task_and_kd(step: &Step, alpha: f64, value: Tensor<1>) -> Loss {
    Loss::new(vec![task(step, 1.0), Term { name: "kd", weight: alpha, value }])
}

/// `CE + alpha mean_b Σ_k w[k,b] τ² KL_k,b`, with weights `[teachers, batch]`.
pub(crate) fn task_and_weighted_kd(
    step: &Step,
    weights: Tensor<2>,
    alpha: f64,
    temperature: f32,
) -> Loss {
    let kd = weighted_kl(step.given_logits(), &step.student_logits, &weights, temperature);
    task_and_kd(step, alpha, kd).with_teacher_weights("kd", weights)
}
