//! Rules that weigh teachers row by row, from one number about each: weights that sum to 1 over the
//! teachers.
//!
//! # Shapes
//! Numbers `[teachers, rows]` row-major, weights likewise. With one teacher its weight is 1. Where
//! there are no teachers there are no numbers, and no weights.

/// Keeps shares defined, and equal, where all numbers of a row are 0.
const EPSILON: f64 = 1e-12;

/// `(1 - softmax_k(cost)) / (K - 1)`: a low cost earns a high weight. Of cross-entropies this is the
/// rule of CA-MKD (Zhang, Chen, Wang, ICASSP 2022).
#[must_use]
pub fn complement_of_softmax(cost: &[f64], teachers: usize) -> Vec<f64> {
    by_row(cost, teachers, |column| {
        let largest = column.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        column.iter_mut().for_each(|cost| *cost = (*cost - largest).exp());
        complement(column);
    })
}

/// `(1 - x_k / Σ_j x_j) / (K - 1)` of numbers that are 0 or more: the larger the lower the weight. Of
/// entropies this is the rule of EBKD (Kwon, Na, Lee, Kim, ICASSP 2020).
#[must_use]
pub fn complement_of_shares(values: &[f64], teachers: usize) -> Vec<f64> {
    by_row(values, teachers, |column| {
        column.iter_mut().for_each(|value| *value += EPSILON);
        complement(column);
    })
}

/// `x_k / Σ_j x_j` of numbers that are 0 or more, equal where all are 0.
#[must_use]
pub fn shares(values: &[f64], teachers: usize) -> Vec<f64> {
    by_row(values, teachers, |column| {
        let sum: f64 = column.iter().sum();
        let count = column.len() as f64;
        for value in column {
            *value = if sum > 0.0 { *value / sum } else { 1.0 / count };
        }
    })
}

/// `(1 - x_k / Σ_j x_j) / (K - 1)`; more than one number, none below 0, one at least above.
fn complement(column: &mut [f64]) {
    let (sum, others) = (column.iter().sum::<f64>(), (column.len() - 1) as f64);
    column.iter_mut().for_each(|value| *value = (1.0 - *value / sum) / others);
}

/// Calls `weigh` with the numbers of all teachers of each row, which become weights.
fn by_row(values: &[f64], teachers: usize, weigh: impl Fn(&mut [f64])) -> Vec<f64> {
    if teachers <= 1 {
        return vec![1.0; values.len()];
    }
    let rows = values.len() / teachers;
    let (mut weights, mut column) = (vec![0.0; values.len()], vec![0.0; teachers]);
    for row in 0..rows {
        for k in 0..teachers {
            column[k] = values[k * rows + row];
        }
        weigh(&mut column);
        for k in 0..teachers {
            weights[k * rows + row] = column[k];
        }
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    type Rule = fn(&[f64], usize) -> Vec<f64>;
    const RULES: [Rule; 3] = [complement_of_softmax, complement_of_shares, shares];

    #[track_caller]
    fn assert_near(got: &[f64], want: &[f64]) {
        assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-12), "{got:?} {want:?}");
        assert_eq!(got.len(), want.len());
    }

    #[test]
    fn weights_are_the_formulas() {
        // Two rows of three teachers; softmaxes of 0, ln 2 and ln 3 are 1/6, 2/6 and 3/6.
        let [two, three] = [2_f64, 3.0].map(f64::ln);
        let cost = [0.0, 5.0 + three, two, 5.0 + two, three, 5.0];
        let want = [5.0 / 12.0, 3.0 / 12.0, 4.0 / 12.0, 4.0 / 12.0, 3.0 / 12.0, 5.0 / 12.0];
        assert_near(&complement_of_softmax(&cost, 3), &want);
        let values = [1.0, 9.0, 2.0, 6.0, 3.0, 3.0];
        assert_near(&complement_of_shares(&values, 3), &want);
        assert_near(&shares(&values, 3), &[1.0 / 6.0, 0.5, 2.0 / 6.0, 2.0 / 6.0, 0.5, 1.0 / 6.0]);
    }

    #[test]
    fn weights_sum_to_one_and_one_teacher_has_them_all() {
        for rule in RULES {
            for values in [[0.0; 6], [1e4, 0.0, 3.0, 0.5, 7.0, 1e-9]] {
                let weights = rule(&values, 3);
                for row in 0..2 {
                    let column = [weights[row], weights[2 + row], weights[4 + row]];
                    assert!((column.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{column:?}");
                    assert!(column.iter().all(|weight| (0.0..=1.0).contains(weight)), "{column:?}");
                }
            }
            assert_eq!(rule(&[0.0, 3.0], 1), [1.0, 1.0]);
            assert!(rule(&[], 0).is_empty() && rule(&[], 2).is_empty());
        }
    }
}
