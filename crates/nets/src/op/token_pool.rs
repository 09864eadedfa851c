//! One vector a text: that of its first token, or the mean of all.

use faculty_inputs::Tokens;
use rayon::prelude::*;

use super::{BackwardStep, ForwardStep, FrozenOp, FrozenStep, Op, Site, Values};

/// Which vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenPool {
    /// Of the first token, `[CLS]`.
    First,
    /// The mean of all tokens, those that mark start and end among them.
    Mean,
}

impl TokenPool {
    fn compute(self, site: &Site, tokens: &Tokens, input: &[f32], output: &mut [f32]) {
        let width = site.output.elements();
        output.par_chunks_mut(width).enumerate().for_each(|(text, output)| {
            let range = tokens.range(text);
            let rows = &input[range.start * width..range.end * width];
            output.copy_from_slice(&rows[..width]);
            if self == Self::Mean {
                for row in rows.chunks_exact(width).skip(1) {
                    output.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
                }
                let share = 1.0 / range.len() as f32;
                output.iter_mut().for_each(|sum| *sum *= share);
            }
        });
    }
}

impl Op for TokenPool {
    fn kind(&self) -> &'static str {
        "TokenPool"
    }

    fn forward(&self, site: &Site, step: ForwardStep<'_>) {
        self.compute(site, step.tokens, step.inputs[0], step.output);
    }

    fn backward(&self, site: &Site, step: BackwardStep<'_>) {
        let width = site.output.elements();
        let [by_input, _] = step.by_inputs;
        let mut rest = by_input.expect("pooling leaves out no gradient").values;
        let mut texts = Vec::with_capacity(step.tokens.len());
        for (text, grad) in step.by_output.chunks_exact(width).enumerate() {
            let (rows, behind) = rest.split_at_mut(step.tokens.range(text).len() * width);
            texts.push((rows, grad));
            rest = behind;
        }
        texts.into_par_iter().for_each(|(rows, grad)| match self {
            Self::First => {
                let (first, others) = rows.split_at_mut(width);
                first.copy_from_slice(grad);
                others.fill(0.0);
            }
            Self::Mean => {
                let share = width as f32 / rows.len() as f32;
                for row in rows.chunks_exact_mut(width) {
                    row.iter_mut().zip(grad).for_each(|(x, g)| *x = g * share);
                }
            }
        });
    }

    fn freeze(&self, _values: Values<'_>) -> Box<dyn FrozenOp> {
        Box::new(FrozenTokenPool(*self))
    }
}

#[derive(Debug)]
struct FrozenTokenPool(TokenPool);

impl FrozenOp for FrozenTokenPool {
    fn run(&self, site: &Site, step: FrozenStep<'_>) {
        self.0.compute(site, step.tokens, step.inputs[0], step.output);
    }
}
