//! The shortest vector among the weighted means of several vectors: AEKD's small quadratic program.
//!
//! ```text
//! minimise aᵀ G a    subject to Σ a = 1,  0 ≤ a_k ≤ cap
//! ```
//! solved exactly by a primal active-set method in f64: from a feasible point, the program without
//! inequalities is solved on the weights that are free; a bound that is met on the way is fixed, and
//! the fixed bound that the objective pulls away from hardest is freed, until none is.

/// Of the Gram matrix with largest diagonal 1: makes the minimum unique (equal vectors get equal
/// weights) and moves it by no more than this relative to the others.
const RIDGE: f64 = 1e-12;

/// Weights of length `count` that minimise `aᵀ gram a` with sum 1 and `0 ≤ a_k ≤ max(cap, 1/count)`.
///
/// `gram` is row-major `[count, count]`, symmetric, positive semi-definite, of any scale: the result
/// does not depend on it. Zero (or not finite) gives equal weights.
#[must_use]
pub fn min_norm_weights(gram: &[f64], count: usize, cap: f64) -> Vec<f64> {
    let largest = (0..count).map(|k| gram[k * count + k]).fold(0.0, f64::max);
    let usable = largest > 0.0 && gram.iter().all(|value| (value / largest).is_finite());
    // With no room under the cap only equal weights are feasible.
    if !usable || cap * count as f64 <= 1.0 {
        return vec![1.0 / count as f64; count];
    }
    let scaled: Vec<f64> = (0..count * count)
        .map(|i| gram[i] / largest + if i / count == i % count { RIDGE } else { 0.0 })
        .collect();
    Program { gram: &scaled, count, cap: cap.min(1.0) }.solve()
}

struct Program<'a> {
    gram: &'a [f64],
    count: usize,
    cap: f64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bound {
    Free,
    Zero,
    Cap,
}

impl Program<'_> {
    fn solve(&self) -> Vec<f64> {
        let mut weights = vec![1.0 / self.count as f64; self.count];
        let mut bounds = vec![Bound::Free; self.count];
        // Each round fixes or frees one bound; degenerate vectors could make it repeat itself, and
        // then the feasible point reached so far is as good as the rounding allows.
        for _ in 0..100 * self.count {
            let (target, multiplier) = self.minimum_on_free(&weights, &bounds);
            match self.first_bound_on_the_way(&weights, &target, &bounds) {
                Some((share, index, bound)) => {
                    for (weight, target) in weights.iter_mut().zip(&target) {
                        *weight += share * (target - *weight);
                    }
                    bounds[index] = bound;
                    weights[index] = if bound == Bound::Zero { 0.0 } else { self.cap };
                }
                None => {
                    weights = target;
                    match self.worst_bound(&weights, &bounds, multiplier) {
                        Some(index) => bounds[index] = Bound::Free,
                        None => break,
                    }
                }
            }
        }
        weights
    }

    /// The minimum over the free weights alone, the others staying, and the multiplier of the sum.
    fn minimum_on_free(&self, weights: &[f64], bounds: &[Bound]) -> (Vec<f64>, f64) {
        let free: Vec<usize> = (0..self.count).filter(|&k| bounds[k] == Bound::Free).collect();
        let fixed = |k: &usize| bounds[*k] != Bound::Free;
        let rest = 1.0 - (0..self.count).filter(fixed).map(|k| weights[k]).sum::<f64>();
        let pull: Vec<f64> = free
            .iter()
            .map(|&i| {
                let fixed = (0..self.count).filter(fixed);
                -fixed.map(|j| self.gram[i * self.count + j] * weights[j]).sum::<f64>()
            })
            .collect();
        let matrix: Vec<f64> = free
            .iter()
            .flat_map(|&i| free.iter().map(move |&j| self.gram[i * self.count + j]))
            .collect();
        let factor = cholesky(matrix, free.len());
        let ones = solve(&factor, vec![1.0; free.len()]);
        let pulled = solve(&factor, pull);
        let multiplier = (pulled.iter().sum::<f64>() - rest) / ones.iter().sum::<f64>();
        let mut target = weights.to_vec();
        for (place, &k) in free.iter().enumerate() {
            target[k] = pulled[place] - multiplier * ones[place];
        }
        (target, multiplier)
    }

    /// The first bound between `weights` and `target`: how far along, whose, and which.
    fn first_bound_on_the_way(
        &self,
        weights: &[f64],
        target: &[f64],
        bounds: &[Bound],
    ) -> Option<(f64, usize, Bound)> {
        let free = (0..self.count).filter(|&k| bounds[k] == Bound::Free);
        // The last free weight is what the sum leaves for it, which is within bounds.
        if free.clone().count() < 2 {
            return None;
        }
        free.filter_map(|k| {
            let (from, to) = (weights[k], target[k]);
            let (limit, bound) = if to < -ROUNDING {
                (0.0, Bound::Zero)
            } else if to > self.cap + ROUNDING {
                (self.cap, Bound::Cap)
            } else {
                return None;
            };
            Some((((limit - from) / (to - from)).clamp(0.0, 1.0), k, bound))
        })
        .min_by(|a, b| a.0.total_cmp(&b.0))
    }

    /// The fixed weight that would lower the objective most by leaving its bound.
    fn worst_bound(&self, weights: &[f64], bounds: &[Bound], multiplier: f64) -> Option<usize> {
        let gain = |k: usize| {
            let row = &self.gram[k * self.count..(k + 1) * self.count];
            let slope: f64 = row.iter().zip(weights).map(|(g, w)| g * w).sum::<f64>() + multiplier;
            match bounds[k] {
                Bound::Free => 0.0,
                Bound::Zero => -slope,
                Bound::Cap => slope,
            }
        };
        (0..self.count)
            .map(|k| (gain(k), k))
            .filter(|(gain, _)| *gain > ROUNDING)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, k)| k)
    }
}

/// What f64 leaves of zero for values around 1.
const ROUNDING: f64 = 1e-14;

/// Lower triangular factor of a positive definite matrix.
fn cholesky(mut matrix: Vec<f64>, size: usize) -> Vec<f64> {
    for column in 0..size {
        for row in column..size {
            let dot: f64 =
                (0..column).map(|k| matrix[row * size + k] * matrix[column * size + k]).sum();
            let value = matrix[row * size + column] - dot;
            matrix[row * size + column] = if row == column {
                // Rounding may eat the ridge of vectors that depend on each other.
                value.max(RIDGE * RIDGE).sqrt()
            } else {
                value / matrix[column * size + column]
            };
        }
    }
    matrix
}

/// Solves `L Lᵀ x = right`.
fn solve(factor: &[f64], right: Vec<f64>) -> Vec<f64> {
    let size = right.len();
    let mut x = right;
    for row in 0..size {
        let dot: f64 = (0..row).map(|k| factor[row * size + k] * x[k]).sum();
        x[row] = (x[row] - dot) / factor[row * size + row];
    }
    for row in (0..size).rev() {
        let dot: f64 = (row + 1..size).map(|k| factor[k * size + row] * x[k]).sum();
        x[row] = (x[row] - dot) / factor[row * size + row];
    }
    x
}

#[cfg(test)]
mod tests {
    use faculty_data::rng::{Purpose, draw, unit};

    use super::*;

    /// Gram matrix of `count` vectors of length `length` that look random.
    fn gram(count: usize, length: usize, seed: u64) -> Vec<f64> {
        let vector = |k: usize| -> Vec<f64> {
            let value = |i: usize| unit(draw(Purpose::Method, seed, k as u64, i as u64, 0)) - 0.4;
            (0..length).map(value).collect()
        };
        let vectors: Vec<Vec<f64>> = (0..count).map(vector).collect();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        (0..count * count).map(|i| dot(&vectors[i / count], &vectors[i % count])).collect()
    }

    fn objective(gram: &[f64], weights: &[f64]) -> f64 {
        let count = weights.len();
        (0..count * count).map(|i| gram[i] * weights[i / count] * weights[i % count]).sum()
    }

    #[test]
    fn no_step_between_two_weights_lowers_the_objective() {
        // Of a convex program over the simplex with a cap, a point that no exchange between two
        // weights improves is the minimum.
        for count in 1..=12 {
            for seed in 0..20 {
                for length in [2, 3 * count] {
                    let gram = gram(count, length, seed);
                    for cap in [0.3, 0.6, 1.0] {
                        let weights = min_norm_weights(&gram, count, cap);
                        let cap = f64::max(cap, 1.0 / count as f64);
                        assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-9);
                        assert!(weights.iter().all(|w| (-1e-9..=cap + 1e-9).contains(w)));
                        let least = objective(&gram, &weights);
                        for (from, to) in (0..count * count).map(|i| (i / count, i % count)) {
                            let step = f64::min(1e-4, f64::min(weights[from], cap - weights[to]));
                            let mut other = weights.clone();
                            other[from] -= step;
                            other[to] += step;
                            let change = objective(&gram, &other) - least;
                            assert!(change > -1e-9 * gram[0], "{count} {seed} {cap}: {change}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn the_scale_of_the_vectors_does_not_matter() {
        let gram = gram(5, 9, 3);
        let weights = min_norm_weights(&gram, 5, 0.6);
        for scale in [1e-12, 1e-30, 1e12] {
            let scaled: Vec<f64> = gram.iter().map(|g| g * scale).collect();
            for (a, b) in min_norm_weights(&scaled, 5, 0.6).iter().zip(&weights) {
                assert!((a - b).abs() < 1e-9, "{scale}: {a} and {b}");
            }
        }
    }

    #[test]
    fn equal_vectors_and_no_vectors_get_equal_weights() {
        for gram in [vec![4.0; 9], vec![0.0; 9], vec![f64::NAN; 9]] {
            for weight in min_norm_weights(&gram, 3, 0.6) {
                assert!((weight - 1.0 / 3.0).abs() < 1e-6, "{weight}");
            }
        }
        assert_eq!(min_norm_weights(&[2.0], 1, 0.6), [1.0]);
    }
}
