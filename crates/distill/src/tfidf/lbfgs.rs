//! L-BFGS: the minimum of a smooth convex function of many variables.
//!
//! Nocedal, "Updating quasi-Newton matrices with limited storage", 1980; steps are halved until they
//! lower the function enough (Armijo).

use std::collections::VecDeque;

/// Steps that are remembered.
const MEMORY: usize = 10;
/// Share of the promised decrease that a step must bring.
const ENOUGH: f64 = 1e-4;
/// Halvings of a step.
const HALVINGS: usize = 40;

/// Minimises from `x` on; `function` gives value and gradient. Ends when the gradient's length is
/// below `tolerance` times that at the start, or after so many steps.
pub(super) fn minimise(
    mut x: Vec<f64>,
    tolerance: f64,
    steps: usize,
    mut function: impl FnMut(&[f64]) -> (f64, Vec<f64>),
) -> Vec<f64> {
    let (mut value, mut gradient) = function(&x);
    let enough = tolerance * dot(&gradient, &gradient).sqrt();
    // Differences of points and of gradients, and the reciprocal of their product.
    let mut memory: VecDeque<(Vec<f64>, Vec<f64>, f64)> = VecDeque::new();
    for _ in 0..steps {
        if dot(&gradient, &gradient).sqrt() <= enough {
            break;
        }
        let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
        let mut shares = Vec::new();
        for (s, y, rho) in memory.iter().rev() {
            let share = rho * dot(s, &direction);
            add(&mut direction, -share, y);
            shares.push(share);
        }
        if let Some((s, y, _)) = memory.back() {
            let scale = dot(s, y) / dot(y, y);
            direction.iter_mut().for_each(|d| *d *= scale);
        }
        for ((s, y, rho), share) in memory.iter().zip(shares.iter().rev()) {
            let correction = share - rho * dot(y, &direction);
            add(&mut direction, correction, s);
        }
        let slope = dot(&gradient, &direction);
        let mut step = if memory.is_empty() { 1.0 / dot(&gradient, &gradient).sqrt() } else { 1.0 };
        let mut found = None;
        for _ in 0..HALVINGS {
            let mut next = x.clone();
            add(&mut next, step, &direction);
            let (next_value, next_gradient) = function(&next);
            if next_value <= value + ENOUGH * step * slope {
                found = Some((next, next_value, next_gradient));
                break;
            }
            step /= 2.0;
        }
        // Rounding: no lower point is found any more.
        let Some((next, next_value, next_gradient)) = found else { break };
        let s: Vec<f64> = next.iter().zip(&x).map(|(a, b)| a - b).collect();
        let y: Vec<f64> = next_gradient.iter().zip(&gradient).map(|(a, b)| a - b).collect();
        let product = dot(&s, &y);
        if product > 0.0 {
            memory.push_back((s, y, 1.0 / product));
            if memory.len() > MEMORY {
                memory.pop_front();
            }
        }
        (x, value, gradient) = (next, next_value, next_gradient);
    }
    x
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn add(to: &mut [f64], factor: f64, other: &[f64]) {
    to.iter_mut().zip(other).for_each(|(x, y)| *x += factor * y);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minimum_of_a_badly_scaled_bowl_is_found() {
        // Σ c_i (x_i - i)² with c from 1 to 1000.
        let scale = |i: usize| 10.0_f64.powf(3.0 * i as f64 / 29.0);
        let found = minimise(vec![5.0; 30], 1e-10, 1000, |x| {
            let value = (0..30).map(|i| scale(i) * (x[i] - i as f64).powi(2)).sum();
            (value, (0..30).map(|i| 2.0 * scale(i) * (x[i] - i as f64)).collect())
        });
        for (i, x) in found.iter().enumerate() {
            assert!((x - i as f64).abs() < 1e-6, "{x} instead of {i}");
        }
    }
}
