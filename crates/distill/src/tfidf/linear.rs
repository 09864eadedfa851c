//! Softmax regression on sparse rows.
//!
//! ```text
//! minimise  mean_t CE(W x(t) + b, label) + |W|² / (2 c n)
//! ```
//! The minimum is unique but for a number added to all of `b`, and does not depend on how it is found.

use super::features::Row;
use super::lbfgs::minimise;

/// How weights are found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinearConfig {
    /// Inverse of the pull towards 0, as scikit-learn's `C`, above 0.
    pub c: f64,
    /// Length of the gradient at which the search ends, as a share of that at the start.
    pub tolerance: f64,
    /// Most steps.
    pub steps: usize,
}

impl Default for LinearConfig {
    fn default() -> Self {
        Self { c: 10.0, tolerance: 1e-4, steps: 500 }
    }
}

/// Weights `[classes, features]` and biases `[classes]`.
#[derive(Clone, Debug)]
pub struct LinearModel {
    features: usize,
    weights: Vec<f64>,
    bias: Vec<f64>,
}

impl LinearModel {
    /// Trains on rows with their labels.
    pub(crate) fn train(
        rows: &[Row],
        labels: &[u32],
        [features, classes]: [usize; 2],
        config: LinearConfig,
    ) -> Self {
        let count = rows.len().max(1) as f64;
        let pull = 1.0 / (config.c * count);
        let start = vec![0.0; classes * (features + 1)];
        let found = minimise(start, config.tolerance, config.steps, |x| {
            let (weights, bias) = x.split_at(classes * features);
            let mut gradient: Vec<f64> = weights.iter().map(|w| pull * w).collect();
            let mut value = pull / 2.0 * weights.iter().map(|w| w * w).sum::<f64>();
            let mut by_bias = vec![0.0; classes];
            for (row, &label) in rows.iter().zip(labels) {
                let mut p = scores(row, weights, bias, features);
                let largest = p.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let of_label = p[label as usize];
                p.iter_mut().for_each(|z| *z = (*z - largest).exp());
                let sum: f64 = p.iter().sum();
                value += (largest + sum.ln() - of_label) / count;
                for (class, p) in p.iter().enumerate() {
                    let hit = f64::from(u8::from(class == label as usize));
                    let grad = (p / sum - hit) / count;
                    by_bias[class] += grad;
                    for &(place, x) in row {
                        gradient[class * features + place as usize] += grad * f64::from(x);
                    }
                }
            }
            gradient.extend(by_bias);
            (value, gradient)
        });
        let (weights, bias) = found.split_at(classes * features);
        Self { features, weights: weights.to_vec(), bias: bias.to_vec() }
    }

    /// Logits of a row, `[classes]`.
    pub(crate) fn logits(&self, row: &Row) -> Vec<f32> {
        let scores = scores(row, &self.weights, &self.bias, self.features);
        scores.into_iter().map(|z| z as f32).collect()
    }
}

fn scores(row: &Row, weights: &[f64], bias: &[f64], features: usize) -> Vec<f64> {
    let of_class = |(class, bias): (usize, &f64)| {
        let own = &weights[class * features..(class + 1) * features];
        bias + row.iter().map(|&(place, x)| own[place as usize] * f64::from(x)).sum::<f64>()
    };
    bias.iter().enumerate().map(of_class).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_is_zero_at_the_result() {
        // Four rows of three features, three classes; checked against the optimality conditions.
        let rows: Vec<Row> = vec![
            vec![(0, 1.0)],
            vec![(1, 0.8), (2, 0.6)],
            vec![(2, 1.0)],
            vec![(0, 0.6), (1, 0.8)],
        ];
        let labels = [0, 1, 2, 1];
        let config = LinearConfig { c: 2.0, tolerance: 1e-12, steps: 1000 };
        let model = LinearModel::train(&rows, &labels, [3, 3], config);
        let probabilities: Vec<Vec<f64>> = rows
            .iter()
            .map(|row| {
                let z = model.logits(row);
                let sum: f64 = z.iter().map(|&z| f64::from(z).exp()).sum();
                z.iter().map(|&z| f64::from(z).exp() / sum).collect()
            })
            .collect();
        for class in 0..3 {
            let error = |t: usize| {
                probabilities[t][class] - f64::from(u8::from(labels[t] as usize == class))
            };
            assert!((0..4).map(error).sum::<f64>().abs() < 1e-5, "bias of class {class}");
            for feature in 0..3 {
                let x = |t: usize| {
                    let own = rows[t].iter().find(|(place, _)| *place == feature as u32);
                    own.map_or(0.0, |(_, x)| f64::from(*x))
                };
                // c Σ_t error x + w = 0
                let sum: f64 = (0..4).map(|t| error(t) * x(t)).sum();
                let w = model.weights[class * 3 + feature];
                assert!((config.c * sum + w).abs() < 1e-4, "{class}, {feature}: {sum} and {w}");
            }
        }
    }
}
