//! Entropic optimal transport between the outputs of a teacher and of a student of other classes.
//!
//! Lu, Ye, Zhan, "Faculty distillation with optimal transport", 2022,
//! <https://arxiv.org/abs/2204.11526>.
//!
//! ```text
//! W(p, q) = min ⟨P, M⟩ - ε H(P)   over plans P ≥ 0 with row sums p and column sums q
//! P       = exp((f_i + g_j - M_ij) / ε),   ∂W/∂q = g
//! ```
//! # Shapes
//! p `[teacher classes]`, q `[student classes]`, cost M row-major `[teacher classes, student classes]`.
//! # Gradient
//! none on a tape: the potential g, centred, is the gradient by the student's probabilities.
//! # Paper and code
//! f64, iterations on logarithms, so that small ε neither underflow nor overflow.
//! # Limits
//! only the transport: teachers of other classes cannot be loaded yet, so there is no method of this
//! name.

/// A transport between two distributions.
#[derive(Clone, Debug, PartialEq)]
pub struct Transport {
    /// `⟨P, M⟩`.
    pub cost: f64,
    /// P, row-major `[teacher classes, student classes]`.
    pub plan: Vec<f64>,
    /// g less its mean, `[student classes]`.
    pub student_potential: Vec<f64>,
}

/// The transport between `teacher` and `student` under `cost`; stops when no row sum is off by more
/// than 1e-10, or after `most_iterations`.
///
/// Probabilities of 0 are taken as 1e-300, and `epsilon` must be above 0.
///
/// # Panics
/// When `cost` has not one value for each pair of classes.
#[must_use]
pub fn entropic_transport(
    teacher: &[f64],
    student: &[f64],
    cost: &[f64],
    epsilon: f64,
    most_iterations: usize,
) -> Transport {
    let (rows, columns) = (teacher.len(), student.len());
    assert_eq!(cost.len(), rows * columns, "one cost for each pair of classes");
    let log = |p: &[f64]| -> Vec<f64> { p.iter().map(|p| p.max(1e-300).ln()).collect() };
    let (log_p, log_q) = (log(teacher), log(student));
    // Potentials divided by ε.
    let (mut f, mut g) = (vec![0.0; rows], vec![0.0; columns]);
    let scaled = |i: usize, j: usize| cost[i * columns + j] / epsilon;
    for _ in 0..most_iterations {
        let mut change: f64 = 0.0;
        for i in 0..rows {
            let new = log_p[i] - log_sum_exp((0..columns).map(|j| g[j] - scaled(i, j)));
            change = change.max((new - f[i]).abs() * teacher[i]);
            f[i] = new;
        }
        for j in 0..columns {
            g[j] = log_q[j] - log_sum_exp((0..rows).map(|i| f[i] - scaled(i, j)));
        }
        if change < 1e-10 {
            break;
        }
    }
    let plan: Vec<f64> = (0..rows * columns)
        .map(|at| (f[at / columns] + g[at % columns] - scaled(at / columns, at % columns)).exp())
        .collect();
    let mean = g.iter().sum::<f64>() / columns as f64;
    Transport {
        cost: plan.iter().zip(cost).map(|(p, m)| p * m).sum(),
        plan,
        student_potential: g.iter().map(|g| (g - mean) * epsilon).collect(),
    }
}

/// `Σ_i p_i M[i, label]`: how far a teacher's output is from a label, before any training.
#[must_use]
pub fn label_cost(teacher: &[f64], cost: &[f64], student_classes: usize, label: usize) -> f64 {
    teacher.iter().enumerate().map(|(i, p)| p * cost[i * student_classes + label]).sum()
}

fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = values.clone().fold(f64::NEG_INFINITY, f64::max);
    largest + values.map(|v| (v - largest).exp()).sum::<f64>().ln()
}
