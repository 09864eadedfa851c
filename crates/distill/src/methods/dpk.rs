//! DPK's mixing ratio: how much of the teacher's map the student is given as prior knowledge.
//!
//! Qiu et al., ICLR 2023, <https://arxiv.org/abs/2206.06067>.
//!
//! ```text
//! K, L     = Gram matrices of the batch's features, with zeros on the diagonal
//! HSIC(K,L) = (tr KL + (1ᵀK1)(1ᵀL1)/((n-1)(n-2)) - 2/(n-2) 1ᵀKL1) / (n (n-3))      unbiased
//! CKA       = HSIC(K,L) / √(HSIC(K,K) HSIC(L,L))
//! ratio     = 1 - CKA, within 0 to 1
//! ```
//! # Shapes
//! features `[batch, width]`, of any widths.
//! # Gradient
//! none: the ratio is a constant.
//! # Paper and code
//! the unbiased estimate of minibatch CKA (Nguyen, Raghu, Kornblith, ICLR 2021).
//! # Limits
//! four samples at least. Only the ratio: the transformers that DPK mixes with are not built, so there
//! is no method of this name yet.

/// CKA of two sets of features, row-major `[batch, _]`; 0 where it is not defined (fewer than four
/// samples, or features without any spread).
#[must_use]
pub fn minibatch_cka(a: &[f32], b: &[f32], batch: usize) -> f64 {
    if batch < 4 {
        return 0.0;
    }
    let (a, b) = (gram_without_diagonal(a, batch), gram_without_diagonal(b, batch));
    let own = hsic(&a, &a, batch) * hsic(&b, &b, batch);
    if own > 0.0 { hsic(&a, &b, batch) / own.sqrt() } else { 0.0 }
}

/// The teacher's share, 0 to 1: the less alike the two are, the larger.
#[must_use]
pub fn prior_ratio(student: &[f32], teacher: &[f32], batch: usize) -> f64 {
    (1.0 - minibatch_cka(student, teacher, batch)).clamp(0.0, 1.0)
}

fn gram_without_diagonal(features: &[f32], batch: usize) -> Vec<f64> {
    let row = |i: usize| &features[i * features.len() / batch..(i + 1) * features.len() / batch];
    let dot = |i: usize, j: usize| -> f64 {
        row(i).iter().zip(row(j)).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    };
    (0..batch * batch)
        .map(|at| if at / batch == at % batch { 0.0 } else { dot(at / batch, at % batch) })
        .collect()
}

/// Both without diagonals, symmetric.
fn hsic(k: &[f64], l: &[f64], batch: usize) -> f64 {
    let n = batch as f64;
    let row_sums = |matrix: &[f64]| -> Vec<f64> {
        matrix.chunks_exact(batch).map(|row| row.iter().sum()).collect()
    };
    let trace: f64 = k.iter().zip(l).map(|(a, b)| a * b).sum();
    let (of_k, of_l) = (row_sums(k), row_sums(l));
    let product: f64 = of_k.iter().zip(&of_l).map(|(a, b)| a * b).sum();
    let sums = of_k.iter().sum::<f64>() * of_l.iter().sum::<f64>();
    (trace + sums / ((n - 1.0) * (n - 2.0)) - 2.0 / (n - 2.0) * product) / (n * (n - 3.0))
}
