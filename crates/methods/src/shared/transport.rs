//! Entropic optimal transport between the outputs of a teacher and of a student of other classes.
//!
//! Lu, Ye, Zhan, "Faculty distillation with optimal transport", 2022,
//! <https://arxiv.org/abs/2204.11526>.
//!
//! ```text
//! W(p, q) = min ⟨P, M⟩ - ε H(P)   over plans P ≥ 0 with row sums p and column sums q
//! P       = exp((f_i + g_j - M_ij) / ε),   W = ⟨f, p⟩ + ⟨g, q⟩,   ∂W/∂q = g
//! ```
//! # Shapes
//! p `[teacher classes]`, q `[student classes]`, cost M row-major `[teacher classes, student classes]`.
//! # Gradient
//! none on a tape: the potential g, centred, is the gradient by the student's probabilities.
//! # Paper and code
//! f64. Where `exp(-M/ε)` is far from the end of f64 the iterations multiply (Cuturi, NIPS 2013),
//! otherwise they work on logarithms; both are the same iterations.
//! # Limits
//! `ot` is the method; here is one pair of distributions.

/// Up to this `M/ε`, and with probabilities of at least [`LEAST`], no product of the multiplying
/// iterations leaves f64: potentials stay within `e^±400 · 1e±100`.
const MOST_EXPONENT: f64 = 200.0;
/// Smaller probabilities count as this.
const LEAST: f64 = 1e-100;
/// Row sums that are off by no more than this are right.
const EXACT: f64 = 1e-10;

/// A transport between two distributions.
#[derive(Clone, Debug, PartialEq)]
pub struct Transport {
    /// `⟨P, M⟩`.
    pub cost: f64,
    /// `⟨P, M⟩ - ε H(P)`, as `⟨f, p⟩ + ⟨g, q⟩`: what `student_potential` is the gradient of.
    pub objective: f64,
    /// P, row-major `[teacher classes, student classes]`.
    pub plan: Vec<f64>,
    /// g less its mean, `[student classes]`.
    pub student_potential: Vec<f64>,
}

/// The transport between `teacher` and `student` under `cost`; stops when no row sum is off by more
/// than 1e-10, or after `most_iterations`.
///
/// Probabilities below 1e-100 are taken as that, and `epsilon` must be above 0.
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
    let columns = student.len();
    assert_eq!(cost.len(), teacher.len() * columns, "one cost for each pair of classes");
    let floor = |p: &[f64]| -> Vec<f64> { p.iter().map(|p| p.max(LEAST)).collect() };
    let (p, q) = (floor(teacher), floor(student));
    let scaled: Vec<f64> = cost.iter().map(|m| m / epsilon).collect();
    let small = scaled.iter().all(|m| m.abs() <= MOST_EXPONENT);
    let potentials = if small { by_products } else { by_logarithms };
    let (f, g) = potentials(&p, &q, &scaled, most_iterations.max(1));
    let plan: Vec<f64> =
        (0..cost.len()).map(|at| (f[at / columns] + g[at % columns] - scaled[at]).exp()).collect();
    let mean = g.iter().sum::<f64>() / columns as f64;
    let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    Transport {
        cost: dot(&plan, cost),
        objective: epsilon * (dot(&f, &p) + dot(&g, &q)),
        plan,
        student_potential: g.iter().map(|g| (g - mean) * epsilon).collect(),
    }
}

/// `Σ_i p_i M[i, label]`: how far a teacher's output is from a label, before any training.
#[must_use]
pub fn label_cost(teacher: &[f64], cost: &[f64], student_classes: usize, label: usize) -> f64 {
    teacher.iter().enumerate().map(|(i, p)| p * cost[i * student_classes + label]).sum()
}

/// f and g divided by ε, from `exp(-M/ε)` itself.
fn by_products(p: &[f64], q: &[f64], scaled: &[f64], most: usize) -> (Vec<f64>, Vec<f64>) {
    let columns = q.len();
    let kernel: Vec<f64> = scaled.iter().map(|m| (-m).exp()).collect();
    let (mut u, mut v) = (vec![1.0; p.len()], vec![1.0; columns]);
    let mut sums = vec![0.0; columns];
    for iteration in 0..most {
        let mut worst: f64 = 0.0;
        sums.fill(0.0);
        for ((row, u), p) in kernel.chunks_exact(columns).zip(&mut u).zip(p) {
            let sum: f64 = row.iter().zip(&v).map(|(k, v)| k * v).sum();
            worst = worst.max((*u * sum - p).abs());
            *u = p / sum;
            sums.iter_mut().zip(row).for_each(|(sum, k)| *sum += k * *u);
        }
        // The first row sums are of no plan yet.
        if iteration > 0 && worst < EXACT {
            break;
        }
        v.iter_mut().zip(q).zip(&sums).for_each(|((v, q), sum)| *v = q / sum);
    }
    let logarithms = |values: Vec<f64>| values.into_iter().map(f64::ln).collect();
    // One that stopped early has new u and old v: columns first, as after every iteration.
    (logarithms(u), q.iter().zip(&sums).map(|(q, sum)| (q / sum).ln()).collect())
}

/// The same on logarithms, for costs of any size.
fn by_logarithms(p: &[f64], q: &[f64], scaled: &[f64], most: usize) -> (Vec<f64>, Vec<f64>) {
    let (rows, columns) = (p.len(), q.len());
    let (mut f, mut g) = (vec![0.0; rows], vec![0.0; columns]);
    for iteration in 0..most {
        let mut worst: f64 = 0.0;
        for i in 0..rows {
            let row = &scaled[i * columns..][..columns];
            let new = p[i].ln() - log_sum_exp(row.iter().zip(&g).map(|(m, g)| g - m));
            worst = worst.max((f[i] - new).exp_m1().abs() * p[i]);
            f[i] = new;
        }
        for j in 0..columns {
            g[j] = q[j].ln() - log_sum_exp((0..rows).map(|i| f[i] - scaled[i * columns + j]));
        }
        if iteration > 0 && worst < EXACT {
            break;
        }
    }
    (f, g)
}

fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = values.clone().fold(f64::NEG_INFINITY, f64::max);
    largest + values.map(|v| (v - largest).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: [f64; 3] = [0.7, 0.3, 0.0];
    const Q: [f64; 2] = [0.4, 0.6];
    const COST: [f64; 6] = [0.0, 1.0, 0.8, 0.1, 0.5, 0.5];

    #[test]
    fn products_and_logarithms_are_the_same_iterations() {
        let (p, q) = (P.map(|p| p.max(LEAST)), Q);
        let scaled = COST.map(|m| m / 0.1);
        for iterations in [1, 5, 50, 500] {
            let (f, g) = by_products(&p, &q, &scaled, iterations);
            let (log_f, log_g) = by_logarithms(&p, &q, &scaled, iterations);
            for (a, b) in f.iter().zip(&log_f).chain(g.iter().zip(&log_g)) {
                assert!((a - b).abs() < 1e-8 * b.abs().max(1.0), "{iterations}: {a} and {b}");
            }
        }
    }

    #[test]
    fn the_objective_is_cost_less_entropy_and_stays_finite() {
        for epsilon in [1.0, 0.1, 1e-3] {
            let found = entropic_transport(&P, &Q, &COST, epsilon, 100_000);
            let entropy: f64 = found.plan.iter().filter(|p| **p > 0.0).map(|p| -p * p.ln()).sum();
            let want = found.cost - epsilon * entropy;
            assert!((found.objective - want).abs() < 1e-6, "{epsilon}: {found:?}, {want}");
            assert!(found.student_potential.iter().all(|g| g.is_finite()), "{found:?}");
        }
        // Little entropy: the cheapest plan moves 0.3 at 1 and 0.3 at 0.1.
        let found = entropic_transport(&P, &Q, &COST, 1e-3, 100_000);
        assert!((found.cost - 0.33).abs() < 1e-3, "{found:?}");
    }
}
