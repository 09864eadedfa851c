//! The terms that methods share. Every function gives one value per sample, `[batch]`, in nats;
//! methods take the mean over the batch themselves, so nothing is ever divided by the classes.

use burn::Tensor;
use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::{Int, TensorData};
use faculty_data::MixedLabels;
use faculty_kernels::softmax_kl::{SoftmaxKl, softmax_kl};

pub mod maps;
mod task;

pub use task::TaskLoss;

/// Cross-entropy at temperature 1, `-log σ(z)[y]`.
///
/// Shapes: logits `[batch, classes]`, labels `[batch]` in `0..classes`; result `[batch]`.
#[must_use]
pub fn cross_entropy(logits: Tensor<2>, labels: &Tensor<1, Int>) -> Tensor<1> {
    let batch = logits.dims()[0];
    let picked = log_softmax(logits, 1).gather(1, labels.clone().reshape([batch, 1]));
    picked.reshape([batch]).neg()
}

/// Costs by label, `[networks, batch]`: what `of` gives for `labels`, and where samples are mixed from two
/// the mean by their shares of what it gives for both.
pub fn costs_by_label(
    labels: &[u32],
    mixed: Option<&MixedLabels>,
    of: impl Fn(&[u32]) -> Vec<f64>,
) -> Vec<f64> {
    match mixed {
        None => of(labels),
        Some(mixed) => mixed.mean(&of(labels), &of(&mixed.partners)),
    }
}

/// `τ² KL(σ(teacher/τ) ‖ σ(student/τ))`, summed over the classes.
///
/// Shapes: both `[batch, classes]`; result `[batch]`. The teacher should carry no gradient.
#[must_use]
pub fn kl_divergence(teacher: Tensor<2>, student: Tensor<2>, temperature: f32) -> Tensor<1> {
    kl_from_log_target(log_softmax(teacher / temperature, 1), student, temperature)
}

/// Mean over the batch of [`cross_entropy`], `[1]`, in one pass with its gradient.
///
/// Shapes: logits `[batch, classes]`, labels `[batch]` in `0..classes`.
#[must_use]
pub fn mean_cross_entropy(logits: &Tensor<2>, labels: &Tensor<1, Int>) -> Tensor<1> {
    let [batch, classes] = logits.dims();
    let shape =
        SoftmaxKl { batch, classes, teachers: 0, temperature: 1.0, ce_weight: 1.0, kd_weight: 0.0 };
    let mut gradient = vec![0.0; batch * classes];
    let values = numbers(logits);
    let loss = softmax_kl(&shape, &values, &class_numbers(labels), &[], &[], &mut gradient);
    with_gradient(loss.ce, logits, gradient)
}

/// Mean over the batch of `Σ_k w[k,b] τ² KL(teacher_k ‖ student)`, in one pass with its gradient
/// by the student. Teachers and weights are constants: no gradient flows into them.
///
/// Shapes: teachers `[teachers, batch, classes]`, student `[batch, classes]`, weights
/// `[teachers, batch]`; result `[1]`.
#[must_use]
pub fn weighted_kl(
    teachers: &Tensor<3>,
    student: &Tensor<2>,
    weights: &Tensor<2>,
    temperature: f32,
) -> Tensor<1> {
    let [teacher_count, batch, classes] = teachers.dims();
    let shape = SoftmaxKl {
        batch,
        classes,
        teachers: teacher_count,
        temperature,
        ce_weight: 0.0,
        kd_weight: 1.0,
    };
    let mut gradient = vec![0.0; batch * classes];
    let loss = softmax_kl(
        &shape,
        &numbers(student),
        &vec![0; batch],
        &numbers(teachers),
        &numbers(weights),
        &mut gradient,
    );
    with_gradient(loss.kd, student, gradient)
}

/// A scalar of this value whose gradient by `of` is `gradient`, for terms whose gradient is known
/// in closed form.
pub fn with_gradient(value: f64, of: &Tensor<2>, gradient: Vec<f32>) -> Tensor<1> {
    let gradient = Tensor::from_data(TensorData::new(gradient, of.dims()), &of.device());
    let product = (of.clone() * gradient).sum();
    // The product itself cancels and leaves its gradient.
    product.clone() - product.detach() + value as f32
}

/// The values of a tensor, row-major.
///
/// # Panics
/// When it holds other than `f32`, which no tensor of a loss does.
pub fn numbers<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.to_data().try_to_vec::<f32>().expect("every tensor of a loss holds f32")
}

/// Labels as the kernels want them.
pub fn class_numbers(labels: &Tensor<1, Int>) -> Vec<u32> {
    labels.to_data().iter::<i64>().map(|label| label as u32).collect()
}

/// Entropy of `σ(z)` at temperature 1, `[batch]`.
#[must_use]
pub fn entropy(logits: Tensor<2>) -> Tensor<1> {
    let batch = logits.dims()[0];
    let probabilities = softmax(logits.clone(), 1);
    (probabilities * log_softmax(logits, 1)).sum_dim(1).reshape([batch]).neg()
}

/// `log Σ exp` over `axis`, which keeps length 1. Finite wherever the largest value is.
#[must_use]
pub fn log_sum_exp<const D: usize>(values: Tensor<D>, axis: usize) -> Tensor<D> {
    let largest = values.clone().detach().max_dim(axis);
    (values - largest.clone()).exp().sum_dim(axis).log() + largest
}

/// `log Σ_k w[k,b] σ(teacher_k/τ)`: the teachers' softened outputs mixed into one, in logarithms.
///
/// Shapes: teachers `[teachers, batch, classes]`, logarithms of the weights `[teachers, batch]`;
/// result `[batch, classes]`.
#[must_use]
pub fn log_mixture(teachers: Tensor<3>, log_weights: Tensor<2>, temperature: f32) -> Tensor<2> {
    let [count, batch, classes] = teachers.dims();
    let mixed = log_softmax(teachers / temperature, 2) + log_weights.reshape([count, batch, 1]);
    log_sum_exp(mixed, 0).reshape([batch, classes])
}

/// `τ² KL(p ‖ σ(student/τ))` of a target given as logarithms of probabilities.
///
/// Shapes: both `[batch, classes]`; result `[batch]`.
#[must_use]
pub fn kl_from_log_target(log_p: Tensor<2>, student: Tensor<2>, temperature: f32) -> Tensor<1> {
    let batch = student.dims()[0];
    let log_q = log_softmax(student / temperature, 1);
    let divergence = (log_p.clone().exp() * (log_p - log_q)).sum_dim(1);
    divergence.reshape([batch]) * (temperature * temperature)
}

/// Generalised Jensen-Shannon divergence: with `m = β p + (1-β) q`,
/// `β KL(p ‖ m) + (1-β) KL(q ‖ m)`; at its ends β = 0 is `KL(p ‖ q)` and β = 1 is `KL(q ‖ p)`.
///
/// Shapes: logits of p (teacher) and q (student) `[batch, classes]`; result `[batch]`.
#[must_use]
pub fn generalized_jensen_shannon(teacher: Tensor<2>, student: Tensor<2>, beta: f64) -> Tensor<1> {
    let [batch, classes] = student.dims();
    let (log_p, log_q) = (log_softmax(teacher, 1), log_softmax(student, 1));
    let divergence = |a: Tensor<2>, b: Tensor<2>| (a.clone().exp() * (a - b)).sum_dim(1);
    let value = if beta <= 0.0 {
        divergence(log_p, log_q)
    } else if beta >= 1.0 {
        divergence(log_q, log_p)
    } else {
        let parts = vec![log_p.clone() + beta.ln(), log_q.clone() + (1.0 - beta).ln()];
        let log_m = log_sum_exp(Tensor::stack::<3>(parts, 0), 0).reshape([batch, classes]);
        divergence(log_p, log_m.clone()) * beta + divergence(log_q, log_m) * (1.0 - beta)
    };
    value.reshape([batch])
}
