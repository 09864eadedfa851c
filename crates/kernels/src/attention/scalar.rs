//! Attention straight from its formula, in `f64`, with whole rows of scores: the reference of the
//! tests, which differentiate it numerically.

use super::mask::Mask;
use super::shape::{AttentionShape, RelativeBias, Samples};

/// Output `[query rows, heads, width]` and lse `[heads, query rows]`; shapes as in
/// [`attention`](super::attention), the bias's values apart.
#[must_use]
pub fn attention(
    shape: &AttentionShape,
    samples: &Samples<'_>,
    bias: Option<(&RelativeBias<'_>, &[f64])>,
    query: &[f64],
    key: &[f64],
    value: &[f64],
) -> (Vec<f64>, Vec<f64>) {
    let &AttentionShape { heads, kv_heads, width, scale, .. } = shape;
    let rows = samples.query_rows();
    let mut output = vec![0.0; rows * heads * width];
    let mut lse = vec![f64::NEG_INFINITY; rows * heads];
    for sample in 0..samples.count() {
        let mask = Mask::new(shape, samples, sample);
        let (queries, keys) = (samples.queries(sample), samples.keys(sample));
        for head in 0..heads {
            let kv = |j: usize| ((keys.start + j) * kv_heads + head * kv_heads / heads) * width;
            for i in 0..queries.len() {
                let row = queries.start + i;
                let from = (row * heads + head) * width;
                let score = |j: usize| -> f64 {
                    let product: f64 = (0..width).map(|c| query[from + c] * key[kv(j) + c]).sum();
                    let added = bias.map_or(0.0, |(bias, values)| {
                        let reach = bias.reach as isize;
                        let distance = (j as isize - mask.position(i)).clamp(-reach, reach);
                        values[head * (2 * bias.reach + 1) + (distance + reach) as usize]
                    });
                    f64::from(scale) * product + added
                };
                let scores: Vec<(usize, f64)> = mask.seen(i).map(|j| (j, score(j))).collect();
                let max = scores.iter().map(|s| s.1).fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = scores.iter().map(|s| (s.1 - max).exp()).sum();
                if scores.is_empty() {
                    continue;
                }
                lse[head * rows + row] = max + sum.ln();
                for (j, s) in scores {
                    let p = (s - max).exp() / sum;
                    for c in 0..width {
                        output[from + c] += p * value[kv(j) + c];
                    }
                }
            }
        }
    }
    (output, lse)
}
