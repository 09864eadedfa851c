//! Scaled dot-product attention (Vaswani et al., 2017, arXiv:1706.03762) over rows of their own
//! lengths, forward and backward, without a matrix of queries by keys.
//!
//! ```text
//! s[i,j] = scale q[i] · k[j] + bias[head, j - i]        where query i sees key j
//! p[i,j] = exp(s[i,j] - lse[i])                         lse[i] = ln sum_j exp(s[i,j])
//! o[i]   = sum_j p[i,j] v[j]
//! v_grad[j] = sum_i p[i,j] g[i]        d[i,j] = p[i,j] (g[i] · v[j] - g[i] · o[i])
//! q_grad[i] = scale sum_j d[i,j] k[j]        k_grad[j] = scale sum_i d[i,j] q[i]        bias_grad[h,r] = sum over j - i = r of d[i,j]
//! ```
//! Query `i` stands at position `i + keys - queries` of its sample, so that the last query stands
//! at the last key. With `causal` it sees no key behind its position, with a `window` none at a distance
//! of `window` or more. A query that sees nothing gives 0, and passes no gradient.
//!
//! # Shapes
//! Samples lie behind one another ([`Samples`]): queries, output and their gradients `[query rows, heads,
//! width]`, keys, values and theirs `[key rows, kv_heads, width]`, `lse` `[heads, query rows]`; keys and
//! values of decoding may lie anywhere in a cache ([`Samples::in_cache`]). Heads
//! `h kv_heads / heads` share keys and values (grouped-query attention, arXiv:2305.13245).
//!
//! # Algorithm
//! Blocks of keys with running maxima and sums (Milakov, Gimelshein, 2018, arXiv:1805.02867; Dao et
//! al., 2022, arXiv:2205.14135); the backward pass makes the scores again from `lse`. Memory: half
//! a MiB a thread, and `samples * heads * (2 reach + 1)` floats for the gradient of a bias.
//!
//! # Error
//! Products as [`matmul`](crate::matmul)'s, exponentials to 2e-7, sums over a block of 256 keys in `f32` lanes.
//!
//! # Threads
//! Forward: a task for each sample, head and 240 queries. Backward: one for each sample and key
//! head, so one long sample with few key heads does not fill many threads. The same results for any
//! number of threads.

mod backward;
mod forward;
mod mask;
mod panels;
pub mod scalar;
mod shape;
#[cfg(test)]
mod tests;

use rayon::prelude::*;

pub use self::shape::{AttentionShape, AttentionShapeError, RelativeBias, Samples};

use crate::isa::Isa;
use crate::parallel::SharedMut;
use crate::scratch::Scratch;
use crate::sizes;

/// Attention; the formula and layout are the [module](self)'s. `output` and `lse` are overwritten.
///
/// # Panics
/// If `shape` is not [valid](AttentionShape::validate), or a length does not match it and `samples`.
pub fn attention(
    shape: &AttentionShape,
    samples: &Samples<'_>,
    bias: Option<&RelativeBias<'_>>,
    query: &[f32],
    key: &[f32],
    value: &[f32],
    output: &mut [f32],
    lse: &mut [f32],
) {
    attention_on(Isa::active(), shape, samples, bias, query, key, value, output, lse);
}

pub(crate) fn attention_on(
    isa: Isa,
    shape: &AttentionShape,
    samples: &Samples<'_>,
    bias: Option<&RelativeBias<'_>>,
    query: &[f32],
    key: &[f32],
    value: &[f32],
    output: &mut [f32],
    lse: &mut [f32],
) {
    let [query_len, key_len] = shape.lens(samples);
    let rows = samples.query_rows();
    check("query", query.len(), query_len);
    check("key", key.len(), key_len);
    check("value", value.len(), key_len);
    check("output", output.len(), query_len);
    check("lse", lse.len(), sizes::elements([shape.heads, rows]));
    if let Some(bias) = bias {
        bias.check(shape);
    }
    if output.is_empty() {
        return;
    }
    let (output, lse) = (SharedMut::new(output), SharedMut::new(lse));
    let mut tasks = Vec::new();
    for sample in 0..samples.count() {
        for head in 0..shape.heads {
            for first in (0..samples.queries(sample).len()).step_by(forward::QUERIES) {
                tasks.push((sample, head, first));
            }
        }
    }
    tasks.into_par_iter().for_each(|(sample, head, first)| {
        isa.run(forward::Task {
            shape,
            samples,
            bias,
            query,
            key,
            value,
            output,
            lse,
            sample,
            head,
            first,
        });
    });
}

/// The gradients by queries, keys and values, overwritten, and by the bias.
pub struct AttentionGrads<'a> {
    /// `[query rows, heads, width]`
    pub query: &'a mut [f32],
    /// `[key rows, kv_heads, width]`
    pub key: &'a mut [f32],
    /// `[key rows, kv_heads, width]`
    pub value: &'a mut [f32],
    /// `[heads, 2 reach + 1]` if there is a bias, else empty.
    pub bias: &'a mut [f32],
}

/// The gradients of [`attention`], whose `output` and `lse` these are.
///
/// # Panics
/// If `shape` is not [valid](AttentionShape::validate), a length does not match it and `samples`, or the
/// keys lie [in a cache](Samples::in_cache).
pub fn attention_backward(
    shape: &AttentionShape,
    samples: &Samples<'_>,
    bias: Option<&RelativeBias<'_>>,
    query: &[f32],
    key: &[f32],
    value: &[f32],
    output: &[f32],
    lse: &[f32],
    output_grad: &[f32],
    grads: AttentionGrads<'_>,
) {
    let isa = Isa::active();
    let inputs = backward::Inputs { query, key, value, output, lse, output_grad };
    attention_backward_on(isa, shape, samples, bias, inputs, grads);
}

pub(crate) fn attention_backward_on(
    isa: Isa,
    shape: &AttentionShape,
    samples: &Samples<'_>,
    bias: Option<&RelativeBias<'_>>,
    inputs: backward::Inputs<'_>,
    grads: AttentionGrads<'_>,
) {
    assert!(!samples.are_cached(), "keys in a cache get no gradients");
    let [query_len, key_len] = shape.lens(samples);
    check("query", inputs.query.len(), query_len);
    check("key", inputs.key.len(), key_len);
    check("value", inputs.value.len(), key_len);
    check("output", inputs.output.len(), query_len);
    check("lse", inputs.lse.len(), sizes::elements([shape.heads, samples.query_rows()]));
    check("output_grad", inputs.output_grad.len(), query_len);
    check("gradient by query", grads.query.len(), query_len);
    check("gradient by key", grads.key.len(), key_len);
    check("gradient by value", grads.value.len(), key_len);
    if let Some(bias) = bias {
        bias.check(shape);
    }
    let distances = bias.map_or(0, |bias| bias.distances());
    check("gradient by bias", grads.bias.len(), shape.heads * distances);
    grads.query.fill(0.0);
    grads.key.fill(0.0);
    grads.value.fill(0.0);
    if shape.heads == 0 {
        return;
    }
    // Each sample has its own sums for the bias, added in order below.
    let mut sums = Scratch::take(sizes::elements([samples.count(), shape.heads, distances]));
    sums.fill(0.0);
    let (query, key, value, bias_sums) = (
        SharedMut::new(grads.query),
        SharedMut::new(grads.key),
        SharedMut::new(grads.value),
        SharedMut::new(&mut sums),
    );
    (0..samples.count() * shape.kv_heads).into_par_iter().for_each(|task| {
        isa.run(backward::Task {
            shape,
            samples,
            bias,
            inputs,
            query,
            key,
            value,
            bias_sums,
            sample: task / shape.kv_heads,
            kv_head: task % shape.kv_heads,
        });
    });
    let len = grads.bias.len();
    for (i, to) in grads.bias.iter_mut().enumerate() {
        let sample = |sample: usize| f64::from(sums[sample * len + i]);
        *to = (0..samples.count()).map(sample).sum::<f64>() as f32;
    }
}

#[track_caller]
fn check(name: &str, got: usize, want: usize) {
    assert!(got == want, "`{name}` has {got} elements, {want} expected");
}
