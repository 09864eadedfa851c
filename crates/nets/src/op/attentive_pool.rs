//! One vector a text: the mean of its tokens, weighted by a softmax over scores.
//!
//! ```text
//! a[t] = exp(s[t]) / sum over the text's tokens u of exp(s[u])      y = sum_t a[t] x[t]
//! x_grad[t] = a[t] g      s_grad[t] = a[t] (g · x[t] - g · y)
//! ```
//! Yang et al., "Hierarchical attention networks", NAACL 2016.

use faculty_inputs::Tokens;
use rayon::prelude::*;

use super::{BackwardStep, ForwardStep, FrozenOp, FrozenStep, Op, ReadBack, Site, Values};

/// Reads vectors `[tokens, width]` and scores `[tokens]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttentivePool;

/// Weights of all tokens into `weights`, `[tokens]`, and the weighted means.
fn compute(
    site: &Site,
    tokens: &Tokens,
    [input, scores]: [&[f32]; 2],
    weights: &mut Vec<f32>,
    output: &mut [f32],
) {
    let width = site.output.elements();
    weights.clear();
    weights.extend_from_slice(scores);
    let mut rest = weights.as_mut_slice();
    let mut texts = Vec::with_capacity(tokens.len());
    for (text, output) in output.chunks_exact_mut(width).enumerate() {
        let range = tokens.range(text);
        let (weights, behind) = rest.split_at_mut(range.len());
        texts.push((&input[range.start * width..range.end * width], weights, output));
        rest = behind;
    }
    texts.into_par_iter().for_each(|(rows, weights, output)| {
        let largest = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        weights.iter_mut().for_each(|w| *w = (*w - largest).exp());
        let sum: f32 = weights.iter().sum();
        weights.iter_mut().for_each(|w| *w /= sum);
        output.fill(0.0);
        for (row, &weight) in rows.chunks_exact(width).zip(&*weights) {
            output.iter_mut().zip(row).for_each(|(y, x)| *y += weight * x);
        }
    });
}

impl Op for AttentivePool {
    fn kind(&self) -> &'static str {
        "AttentivePool"
    }

    fn reads_back(&self) -> ReadBack {
        ReadBack { input: true, output: true }
    }

    fn forward(&self, site: &Site, step: ForwardStep<'_>) {
        let [weights, _] = &mut step.state.floats;
        compute(site, step.tokens, step.inputs, weights, step.output);
    }

    fn backward(&self, site: &Site, step: BackwardStep<'_>) {
        let width = site.output.elements();
        let [by_input, by_scores] = step
            .by_inputs
            .map(|target| target.expect("attentive pooling leaves out no gradient").values);
        let (mut by_input, mut by_scores) = (by_input, by_scores);
        let mut texts = Vec::with_capacity(step.tokens.len());
        for text in 0..step.tokens.len() {
            let range = step.tokens.range(text);
            let (rows, rows_behind) = by_input.split_at_mut(range.len() * width);
            let (scores, scores_behind) = by_scores.split_at_mut(range.len());
            texts.push((text, range, rows, scores));
            (by_input, by_scores) = (rows_behind, scores_behind);
        }
        let [weights, _] = &step.state.floats;
        texts.into_par_iter().for_each(|(text, range, by_rows, by_scores)| {
            let of_text = text * width..(text + 1) * width;
            let (grad, pooled) = (&step.by_output[of_text.clone()], &step.output[of_text]);
            let level = dot(grad, pooled);
            let rows = step.input[range.start * width..range.end * width].chunks_exact(width);
            let targets = by_rows.chunks_exact_mut(width).zip(by_scores);
            for ((row, &weight), (by_row, by_score)) in rows.zip(&weights[range]).zip(targets) {
                by_row.iter_mut().zip(grad).for_each(|(x, g)| *x = weight * g);
                *by_score = weight * (dot(grad, row) - level);
            }
        });
    }

    fn freeze(&self, _values: Values<'_>) -> Box<dyn FrozenOp> {
        Box::new(FrozenAttentivePool)
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[derive(Debug)]
struct FrozenAttentivePool;

impl FrozenOp for FrozenAttentivePool {
    fn run(&self, site: &Site, step: FrozenStep<'_>) {
        let [weights, ..] = &mut step.scratch.floats;
        compute(site, step.tokens, step.inputs, weights, step.output);
    }
}
