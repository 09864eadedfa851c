//! MT-BERT's output term: each teacher's soft cross-entropy, the less the worse it does on the label.
//!
//! Wu, Wu, Huang, "One teacher is enough? …", ACL Findings 2021, <https://arxiv.org/abs/2106.01023>.
//!
//! ```text
//! w[k,b] = 1 / (1 + CE_b(z_k))
//! L      = mean_b Σ_k w[k,b] · -Σ_c σ(z_k/τ) log σ(z_S/τ)            without τ²
//! ```
//! # Shapes
//! teachers `[teachers, batch, classes]`, student `[batch, classes]`, labels `[batch]`.
//! # Gradient
//! through the student only.
//! # Paper and code
//! these weights do not sum to 1, as in the paper.
//! # Limits
//! only this term: its teachers are text models trained together, so there is no method of this name.

use burn::Tensor;
use burn::tensor::Int;
use burn::tensor::activation::{log_softmax, softmax};

use faculty_contract::losses::cross_entropy;

/// `w`, `[teachers, batch]`.
#[must_use]
pub fn reliability_weights(teachers: &Tensor<3>, labels: &Tensor<1, Int>) -> Tensor<2> {
    let [count, batch, classes] = teachers.dims();
    let rows = teachers.clone().reshape([count * batch, classes]);
    let cost = cross_entropy(rows, &labels.clone().repeat_dim(0, count));
    (cost.reshape([count, batch]) + 1.0).recip().detach()
}

/// L, `[1]`.
#[must_use]
pub fn weighted_soft_cross_entropy(
    teachers: &Tensor<3>,
    student: &Tensor<2>,
    weights: &Tensor<2>,
    temperature: f32,
) -> Tensor<1> {
    let [count, batch, _] = teachers.dims();
    let p = softmax(teachers.clone() / temperature, 2);
    let log_q = log_softmax(student.clone() / temperature, 1).unsqueeze::<3>();
    let cross = (p * log_q).sum_dim(2).reshape([count, batch]).neg();
    (cross * weights.clone()).sum() / batch as f32
}
