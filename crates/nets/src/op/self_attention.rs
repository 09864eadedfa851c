//! Self-attention of each text's tokens, its projections of queries, keys and values included.
//!
//! ```text
//! q = x Wqᵀ + bq      k = x Wkᵀ + bk      v = x Wvᵀ + bv      y = attention(q, k, v)
//! ```
//! Attention itself is [`faculty_kernels::attention`]. What attends gets no dropout.

use faculty_inputs::Tokens;
use faculty_kernels::attention::{
    AttentionGrads, AttentionShape, RelativeBias, Samples, attention, attention_backward,
};
use faculty_kernels::columns::column_sums;
use faculty_kernels::matmul::{Finish, Matrix, MatrixMut};

use super::{
    BackwardStep, ForwardStep, FrozenOp, FrozenStep, GradRoute, Op, ReadBack, Site, Values,
};
use crate::parameter::ParameterId;
use crate::precision::Precision;

/// Projections and heads.
#[derive(Debug)]
pub(crate) struct SelfAttention {
    /// Weight `[width, width]` and bias `[width]` of queries, keys and values.
    pub(crate) projections: [[ParameterId; 2]; 3],
    pub(crate) heads: usize,
    /// Of all layers.
    pub(crate) bias: Option<BucketBias>,
}

/// A number for each head and bucket of distances, added to the scores: T5's bias as MPNet has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BucketBias {
    /// `[buckets, heads]`.
    pub(crate) table: ParameterId,
    pub(crate) buckets: usize,
    /// Distances from it on share the last bucket.
    pub(crate) furthest: usize,
}

impl BucketBias {
    /// The bucket of a key so far behind its query (Raffel et al., 2020, arXiv:1910.10683): half of
    /// them for keys behind, half for keys before; half of these one a distance, the others by powers.
    fn bucket(self, distance: isize) -> usize {
        let half = self.buckets / 2;
        let side = if distance > 0 { half } else { 0 };
        let (distance, exact) = (distance.unsigned_abs(), half / 2);
        if distance < exact {
            return side + distance;
        }
        let share =
            (distance as f64 / exact as f64).ln() / (self.furthest as f64 / exact as f64).ln();
        side + (exact + (share * (half - exact) as f64) as usize).min(half - 1)
    }

    /// The buckets of all distances, from `-furthest` to `furthest`.
    fn all(self) -> impl Iterator<Item = usize> {
        let reach = self.furthest as isize;
        (-reach..=reach).map(move |distance| self.bucket(distance))
    }

    /// The table as a number for each head and distance, `[heads, 2 furthest + 1]`.
    fn spread(self, table: &[f32], heads: usize) -> Vec<f32> {
        let of_head = |head: usize| self.all().map(move |bucket| table[bucket * heads + head]);
        (0..heads).flat_map(of_head).collect()
    }

    /// Adds gradients by distances up to those by buckets.
    fn gather(self, by_distance: &[f32], heads: usize, by_table: &mut [f32]) {
        for (head, of_head) in by_distance.chunks_exact(2 * self.furthest + 1).enumerate() {
            for (bucket, grad) in self.all().zip(of_head) {
                by_table[bucket * heads + head] += grad;
            }
        }
    }
}

fn shape(site: &Site, heads: usize) -> AttentionShape {
    let width = site.output.elements() / heads;
    let scale = 1.0 / (width as f32).sqrt();
    AttentionShape { heads, kv_heads: heads, width, scale, causal: false, window: None }
}

/// Queries, keys, values and the logarithms of the sums of scores, then the output.
fn compute(
    site: &Site,
    precision: Precision,
    heads: usize,
    tokens: &Tokens,
    projections: [[&[f32]; 2]; 3],
    bias: Option<&RelativeBias<'_>>,
    input: &[f32],
    between: &mut [Vec<f32>; 4],
    output: &mut [f32],
) {
    let (rows, width) = (site.batch, site.output.elements());
    let [query, key, value, lse] = between;
    for ([weight, bias], values) in
        projections.into_iter().zip([&mut *query, &mut *key, &mut *value])
    {
        values.resize(rows * width, 0.0);
        precision.multiply(
            Matrix::new(input, [rows, width]),
            Matrix::new(weight, [width, width]).transposed(),
            Finish::Bias { bias },
            MatrixMut::new(values, [rows, width]),
        );
    }
    lse.resize(heads * rows, 0.0);
    let samples = Samples::new(tokens.offsets());
    attention(&shape(site, heads), &samples, bias, query, key, value, output, lse);
}

impl Op for SelfAttention {
    fn kind(&self) -> &'static str {
        "SelfAttention"
    }

    fn parameters(&self) -> Vec<ParameterId> {
        let bias = self.bias.map(|bias| bias.table);
        self.projections.iter().flatten().copied().chain(bias).collect()
    }

    fn shared_parameters(&self) -> Vec<ParameterId> {
        self.bias.map(|bias| bias.table).into_iter().collect()
    }

    fn reads_back(&self) -> ReadBack {
        ReadBack { input: true, output: true }
    }

    fn grad_route(&self, _which: usize) -> GradRoute {
        GradRoute::Add
    }

    fn multiply_adds(&self, site: &Site, weights: usize) -> usize {
        // Of a text of one token, which sees itself.
        3 * weights + 2 * site.output.elements()
    }

    fn forward(&self, site: &Site, step: ForwardStep<'_>) {
        let values = |id: ParameterId| step.parameters[id.0].as_slice();
        let bias = self.bias.map(|bias| bias.spread(values(bias.table), self.heads));
        let bias = self.bias.zip(bias.as_ref());
        let bias = bias.map(|(own, values)| RelativeBias { reach: own.furthest, values });
        compute(
            site,
            step.precision,
            self.heads,
            step.tokens,
            self.projections.map(|ids| ids.map(values)),
            bias.as_ref(),
            step.inputs[0],
            &mut step.state.between,
            step.output,
        );
    }

    fn backward(&self, site: &Site, step: BackwardStep<'_>) {
        let (rows, width) = (site.batch, site.output.elements());
        let spread = self.bias.map(|bias| bias.spread(&step.parameters[bias.table.0], self.heads));
        let bias = self.bias.zip(spread.as_ref());
        let bias = bias.map(|(own, values)| RelativeBias { reach: own.furthest, values });
        let mut by_distance = vec![0.0; spread.as_ref().map_or(0, Vec::len)];
        let mut grads = [(); 3].map(|()| vec![0.0; rows * width]);
        let [query, key, value, lse] = &step.state.between;
        let [by_query, by_key, by_value] = &mut grads;
        attention_backward(
            &shape(site, self.heads),
            &Samples::new(step.tokens.offsets()),
            bias.as_ref(),
            query,
            key,
            value,
            step.output,
            lse,
            step.by_output,
            AttentionGrads {
                query: by_query,
                key: by_key,
                value: by_value,
                bias: &mut by_distance,
            },
        );
        if let Some(bias) = self.bias {
            bias.gather(&by_distance, self.heads, &mut step.gradients[bias.table.0]);
        }
        let [mut by_input, _] = step.by_inputs;
        let input = Matrix::new(step.input, [rows, width]);
        for (which, ([weight, bias], grad)) in self.projections.iter().zip(&grads).enumerate() {
            let grad_rows = Matrix::new(grad, [rows, width]);
            if let Some(target) = &mut by_input {
                let finish = if target.add || which > 0 { Finish::Add } else { Finish::Store };
                let weight = Matrix::new(&step.parameters[weight.0], [width, width]);
                let target = MatrixMut::new(target.values, [rows, width]);
                step.precision.multiply(grad_rows, weight, finish, target);
            }
            let by_weight = MatrixMut::new(&mut step.gradients[weight.0], [width, width]);
            step.precision.multiply(grad_rows.transposed(), input, Finish::Store, by_weight);
            column_sums(rows, grad, &mut step.gradients[bias.0]);
        }
    }

    fn freeze(&self, values: Values<'_>) -> Box<dyn FrozenOp> {
        let values = |id: ParameterId| values.parameters[id.0].clone();
        let spread =
            |bias: BucketBias| (bias.furthest, bias.spread(&values(bias.table), self.heads));
        Box::new(FrozenSelfAttention {
            projections: self.projections.map(|ids| ids.map(values)),
            heads: self.heads,
            bias: self.bias.map(spread),
        })
    }
}

#[derive(Debug)]
struct FrozenSelfAttention {
    projections: [[Vec<f32>; 2]; 3],
    heads: usize,
    /// Reach, and a number for each head and distance.
    bias: Option<(usize, Vec<f32>)>,
}

impl FrozenOp for FrozenSelfAttention {
    fn run(&self, site: &Site, step: FrozenStep<'_>) {
        let bias = self.bias.as_ref();
        let bias = bias.map(|&(reach, ref values)| RelativeBias { reach, values });
        compute(
            site,
            step.precision,
            self.heads,
            step.tokens,
            self.projections.each_ref().map(|pair| pair.each_ref().map(Vec::as_slice)),
            bias.as_ref(),
            step.inputs[0],
            &mut step.scratch.floats,
            step.output,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_fall_into_t5s_buckets() {
        let bias = BucketBias { table: ParameterId(0), buckets: 32, furthest: 128 };
        // By the reference's formula: 8 buckets for distances below 8, then 8 by powers up to 128.
        let wants = [(0, 0), (-1, 1), (-7, 7), (-8, 8), (-11, 8), (-12, 9), (-16, 10), (-127, 15)];
        for (distance, want) in wants {
            assert_eq!(bias.bucket(distance), want, "{distance}");
            if distance < 0 {
                assert_eq!(bias.bucket(-distance), 16 + want, "{}", -distance);
            }
        }
        assert_eq!((bias.bucket(-128), bias.bucket(128)), (15, 31));
    }
}
