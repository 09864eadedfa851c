//! Attention of each token to itself and those before it in its text, with rotary positions and
//! groups of heads that share keys and values; its projections included.
//!
//! ```text
//! q = turn(x Wqᵀ [+ bq])      k = turn(x Wkᵀ [+ bk])      v = x Wvᵀ [+ bv]      y = attention(q, k, v)
//! ```
//! Attention is [`faculty_kernels::attention`], turning [`faculty_kernels::rotary`]. In a plan with a
//! [cache](KvCache) keys and values of earlier tokens are read from there, and those of the tokens at
//! hand are added to it.

use faculty_inputs::Tokens;
use faculty_kernels::attention::{
    AttentionGrads, AttentionShape, Samples, attention, attention_backward,
};
use faculty_kernels::columns::column_sums;
use faculty_kernels::matmul::{Finish, Matrix, MatrixMut, PackedMatrix, matmul, matmul_packed};
use faculty_kernels::rotary::{Rotary, RotaryLayout, Turn, rotate};

use super::{
    BackwardStep, ForwardStep, FrozenOp, FrozenStep, GradRoute, Op, ReadBack, Site, Values,
};
use crate::kv_cache::KvCache;
use crate::op::projection::packed;
use crate::parameter::ParameterId;

/// Projections of queries, keys and values, and how they attend.
#[derive(Debug)]
pub(crate) struct CausalAttention {
    /// Weight `[heads or kv_heads times head width, width]`, and bias.
    pub(crate) projections: [(ParameterId, Option<ParameterId>); 3],
    pub(crate) heads: Heads,
    /// Number of the layer, for its part of a cache.
    pub(crate) layer: usize,
}

/// Heads and positions of attention.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Heads {
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    /// Values of a head.
    pub(crate) width: usize,
    /// How many of them are turned.
    pub(crate) rotated: usize,
    pub(crate) base: f64,
    pub(crate) layout: RotaryLayout,
    /// Whether only tokens at a distance below this are seen.
    pub(crate) window: Option<usize>,
}

impl Heads {
    fn shape(&self) -> AttentionShape {
        let &Self { heads, kv_heads, width, window, .. } = self;
        let scale = 1.0 / (width as f32).sqrt();
        AttentionShape { heads, kv_heads, width, scale, causal: true, window }
    }

    /// Values of a token's queries, keys and values.
    fn widths(&self) -> [usize; 3] {
        let kv = self.kv_heads * self.width;
        [self.heads * self.width, kv, kv]
    }

    /// Turns queries and keys.
    fn turn(&self, turn: Turn, positions: &[u32], query: &mut [f32], key: &mut [f32]) {
        let &Self { heads, kv_heads, width, rotated, base, layout, .. } = self;
        for (heads, values) in [(heads, query), (kv_heads, key)] {
            rotate(&Rotary { heads, width, rotated, base, layout }, turn, positions, values);
        }
    }
}

/// Places of all tokens in their texts, of which so many tokens were there before.
fn positions(tokens: &Tokens, before: impl Fn(usize) -> usize) -> Vec<u32> {
    let of_text = |text| {
        let before = before(text);
        (0..tokens.range(text).len()).map(move |at| (before + at) as u32)
    };
    (0..tokens.len()).flat_map(of_text).collect()
}

fn bias_finish(bias: Option<&[f32]>) -> Finish<'_> {
    bias.map_or(Finish::Store, |bias| Finish::Bias { bias })
}

impl Op for CausalAttention {
    fn kind(&self) -> &'static str {
        "CausalAttention"
    }

    fn parameters(&self) -> Vec<ParameterId> {
        let of_one = |(weight, bias): (ParameterId, Option<ParameterId>)| {
            std::iter::once(weight).chain(bias)
        };
        self.projections.into_iter().flat_map(of_one).collect()
    }

    fn reads_back(&self) -> ReadBack {
        ReadBack { input: true, output: true }
    }

    fn grad_route(&self, _which: usize) -> GradRoute {
        GradRoute::Add
    }

    fn multiply_adds(&self, site: &Site, weights: usize) -> usize {
        // Of a text of one token, which sees itself.
        let [query, key, value] = self.heads.widths();
        weights / query * (query + key + value) + 2 * site.output.elements()
    }

    fn forward(&self, site: &Site, step: ForwardStep<'_>) {
        let (rows, inputs) = (site.batch, site.input().elements());
        let input = Matrix::new(step.inputs[0], [rows, inputs]);
        let [query, key, value, lse] = &mut step.state.between;
        let targets = [&mut *query, &mut *key, &mut *value];
        for (((weight, bias), width), values) in
            self.projections.iter().zip(self.heads.widths()).zip(targets)
        {
            values.resize(rows * width, 0.0);
            let weight = Matrix::new(&step.parameters[weight.0], [width, inputs]).transposed();
            let bias = bias.map(|bias| step.parameters[bias.0].as_slice());
            matmul(input, weight, bias_finish(bias), MatrixMut::new(values, [rows, width]));
        }
        self.heads.turn(Turn::Forward, &positions(step.tokens, |_| 0), query, key);
        lse.resize(self.heads.heads * rows, 0.0);
        let samples = Samples::new(step.tokens.offsets());
        attention(&self.heads.shape(), &samples, None, query, key, value, step.output, lse);
    }

    fn backward(&self, site: &Site, step: BackwardStep<'_>) {
        let (rows, inputs) = (site.batch, site.input().elements());
        let widths = self.heads.widths();
        let mut grads = widths.map(|width| vec![0.0; rows * width]);
        let [query, key, value, lse] = &step.state.between;
        let [by_query, by_key, by_value] = &mut grads;
        attention_backward(
            &self.heads.shape(),
            &Samples::new(step.tokens.offsets()),
            None,
            query,
            key,
            value,
            step.output,
            lse,
            step.by_output,
            AttentionGrads { query: by_query, key: by_key, value: by_value, bias: &mut [] },
        );
        self.heads.turn(Turn::Back, &positions(step.tokens, |_| 0), by_query, by_key);
        let [mut by_input, _] = step.by_inputs;
        let input = Matrix::new(step.input, [rows, inputs]);
        let parts = self.projections.iter().zip(&grads).zip(widths);
        for (which, (((weight, bias), grad), width)) in parts.enumerate() {
            let grad_rows = Matrix::new(grad, [rows, width]);
            if let Some(target) = &mut by_input {
                let finish = if target.add || which > 0 { Finish::Add } else { Finish::Store };
                let weight = Matrix::new(&step.parameters[weight.0], [width, inputs]);
                matmul(grad_rows, weight, finish, MatrixMut::new(target.values, [rows, inputs]));
            }
            let by_weight = MatrixMut::new(&mut step.gradients[weight.0], [width, inputs]);
            matmul(grad_rows.transposed(), input, Finish::Store, by_weight);
            if let Some(bias) = bias {
                column_sums(rows, grad, &mut step.gradients[bias.0]);
            }
        }
    }

    fn freeze(&self, values: Values<'_>) -> Box<dyn FrozenOp> {
        let frozen = |(weight, bias): (ParameterId, Option<ParameterId>)| {
            let packed = packed(&values.parameters[weight.0], values.matrix_sizes(weight));
            (packed, bias.map(|bias| values.parameters[bias.0].clone()))
        };
        Box::new(FrozenCausalAttention {
            projections: self.projections.map(frozen),
            heads: self.heads,
            layer: self.layer,
        })
    }
}

#[derive(Debug)]
struct FrozenCausalAttention {
    projections: [(PackedMatrix, Option<Vec<f32>>); 3],
    heads: Heads,
    layer: usize,
}

impl FrozenOp for FrozenCausalAttention {
    fn run(&self, site: &Site, step: FrozenStep<'_>) {
        let (rows, inputs) = (site.batch, site.input().elements());
        let input = Matrix::new(step.inputs[0], [rows, inputs]);
        let [query, key, value, lse] = &mut step.scratch.floats;
        let targets = [&mut *query, &mut *key, &mut *value];
        for (((weight, bias), width), values) in
            self.projections.iter().zip(self.heads.widths()).zip(targets)
        {
            values.resize(rows * width, 0.0);
            let output = MatrixMut::new(values, [rows, width]);
            matmul_packed(input, weight, bias_finish(bias.as_deref()), output);
        }
        let before = |text| step.cache.as_ref().map_or(0, |cache: &&mut KvCache| cache.len(text));
        self.heads.turn(Turn::Forward, &positions(step.tokens, before), query, key);
        lse.resize(self.heads.heads * rows, 0.0);
        let (shape, offsets) = (self.heads.shape(), step.tokens.offsets());
        match step.cache {
            None => {
                let samples = Samples::new(offsets);
                attention(&shape, &samples, None, query, key, value, step.output, lse);
            }
            Some(cache) => {
                let seen = cache.add(self.layer, step.tokens, key, value);
                let samples = Samples::in_cache(offsets, &seen.starts, &seen.lengths, seen.rows);
                attention(&shape, &samples, None, query, seen.key, seen.value, step.output, lse);
            }
        }
    }
}
