//! An encoder block on the tape: attention between the positions of a sample, and a network on each
//! of them, both behind a layer norm and beside a shortcut (pre-norm, as in ViT).

use burn::Tensor;
use burn::tensor::activation::{gelu, softmax};
use faculty_nets::{Init, ParameterSpec};

use crate::shared::layers::{Parameters, parameter};

/// Added to variances, PyTorch's default.
const EPSILON: f32 = 1e-5;
/// Times as wide inside the network on each position (ViT).
const EXPANSION: usize = 4;

/// Weight `[to, from]` and bias `[to]` of [`linear`].
pub(crate) fn linear_parameters(name: &str, from: usize, to: usize) -> [ParameterSpec; 2] {
    let initial = Init::UniformFanIn { fan_in: from };
    [
        parameter(format!("{name}.weight"), &[to, from], initial),
        parameter(format!("{name}.bias"), &[to], initial),
    ]
}

/// Tokens `[batch, positions, from]` to `[batch, positions, to]`.
pub(crate) fn linear(tokens: Tensor<3>, to: usize, parameters: &mut Parameters<'_>) -> Tensor<3> {
    let [batch, positions, from] = tokens.dims();
    let (weight, bias) = (parameters.next([to, from]), parameters.next([to]));
    let rows = tokens.reshape([batch * positions, from]).matmul(weight.transpose());
    (rows + bias.unsqueeze::<2>()).reshape([batch, positions, to])
}

/// Scale and shift `[width]` of [`layer_norm`].
pub(crate) fn layer_norm_parameters(name: &str, width: usize) -> [ParameterSpec; 2] {
    [
        parameter(format!("{name}.weight"), &[width], Init::Ones),
        parameter(format!("{name}.bias"), &[width], Init::Zeros),
    ]
}

/// Each token of mean 0 and variance 1, then scaled and shifted.
pub(crate) fn layer_norm(tokens: Tensor<3>, parameters: &mut Parameters<'_>) -> Tensor<3> {
    let width = tokens.dims()[2];
    let centred = tokens.clone() - tokens.mean_dim(2);
    let deviation = (centred.clone().square().mean_dim(2) + EPSILON).sqrt();
    let (scale, shift) = (parameters.next([width]), parameters.next([width]));
    centred / deviation * scale.unsqueeze::<3>() + shift.unsqueeze::<3>()
}

/// Parameters of [`encoder_block`] for tokens of `width`.
pub(crate) fn encoder_block_parameters(name: &str, width: usize) -> Vec<ParameterSpec> {
    let part = |kind: &str| format!("{name}.{kind}");
    [
        layer_norm_parameters(&part("norm1"), width),
        linear_parameters(&part("attention.in"), width, 3 * width),
        linear_parameters(&part("attention.out"), width, width),
        layer_norm_parameters(&part("norm2"), width),
        linear_parameters(&part("network.in"), width, EXPANSION * width),
        linear_parameters(&part("network.out"), EXPANSION * width, width),
    ]
    .concat()
}

/// `x + attention(norm(x))`, then `x + network(norm(x))`; tokens `[batch, positions, width]`, width
/// a multiple of `heads`.
pub(crate) fn encoder_block(
    tokens: Tensor<3>,
    heads: usize,
    parameters: &mut Parameters<'_>,
) -> Tensor<3> {
    let [batch, positions, width] = tokens.dims();
    let each = width / heads;
    let all = linear(layer_norm(tokens.clone(), parameters), 3 * width, parameters);
    let [query, key, value]: [Tensor<4>; 3] = std::array::from_fn(|part| {
        let columns = all.clone().narrow(2, part * width, width);
        columns.reshape([batch, positions, heads, each]).swap_dims(1, 2)
    });
    let scores = query.matmul(key.transpose()) / (each as f32).sqrt();
    let mixed = softmax(scores, 3).matmul(value).swap_dims(1, 2);
    let mixed = mixed.reshape([batch, positions, width]);
    let tokens = tokens + linear(mixed, width, parameters);
    let inner = linear(layer_norm(tokens.clone(), parameters), EXPANSION * width, parameters);
    tokens + linear(gelu(inner), width, parameters)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    fn numbers(len: usize, seed: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * 7919 + seed * 31 + 13) % 101) as f32 / 50.0 - 1.0).collect()
    }

    fn tensor<const D: usize>(values: &[f32], shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values.to_vec(), shape), &Device::flex())
    }

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_to_vec::<f32>().unwrap()
    }

    const WIDTH: usize = 8;
    const HEADS: usize = 2;

    fn parameters() -> Vec<Vec<f32>> {
        let specs = encoder_block_parameters("block", WIDTH);
        let lengths = specs.iter().map(|spec| spec.shape.iter().product::<usize>());
        lengths.enumerate().map(|(i, len)| numbers(len, i)).collect()
    }

    fn on_tape(values: &[Vec<f32>]) -> Vec<Tensor<1>> {
        values.iter().map(|array| tensor(array, [array.len()])).collect()
    }

    /// The block on one sample, written out with loops.
    fn by_loops(tokens: &[Vec<f64>], values: &[Vec<f32>]) -> Vec<Vec<f64>> {
        let linear = |x: &[f64], at: usize| -> Vec<f64> {
            let (weight, bias) = (&values[at], &values[at + 1]);
            let rows = weight.chunks_exact(x.len()).zip(bias);
            rows.map(|(row, &b)| {
                let product = row.iter().zip(x).map(|(&w, x)| f64::from(w) * x).sum::<f64>();
                product + f64::from(b)
            })
            .collect()
        };
        let norm = |x: &[f64], at: usize| -> Vec<f64> {
            let mean = x.iter().sum::<f64>() / x.len() as f64;
            let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / x.len() as f64;
            let unit = x.iter().map(|v| (v - mean) / (variance + f64::from(EPSILON)).sqrt());
            unit.zip(values[at].iter().zip(&values[at + 1]))
                .map(|(v, (&scale, &shift))| v * f64::from(scale) + f64::from(shift))
                .collect()
        };
        let all: Vec<Vec<f64>> = tokens.iter().map(|x| linear(&norm(x, 0), 2)).collect();
        let each = WIDTH / HEADS;
        tokens
            .iter()
            .zip(&all)
            .map(|(x, token)| {
                let mut mixed = vec![0.0; WIDTH];
                for head in 0..HEADS {
                    let part = |of: &[f64], which: usize| {
                        of[which * WIDTH + head * each..][..each].to_vec()
                    };
                    let scores: Vec<f64> = all
                        .iter()
                        .map(|other| {
                            let (q, k) = (part(token, 0), part(other, 1));
                            let dot = q.iter().zip(&k).map(|(a, b)| a * b).sum::<f64>();
                            (dot / (each as f64).sqrt()).exp()
                        })
                        .collect();
                    let whole: f64 = scores.iter().sum();
                    for (score, other) in scores.iter().zip(&all) {
                        for (sum, v) in mixed[head * each..].iter_mut().zip(part(other, 2)) {
                            *sum += score / whole * v;
                        }
                    }
                }
                let x: Vec<f64> = x.iter().zip(linear(&mixed, 4)).map(|(a, b)| a + b).collect();
                let inner = linear(&norm(&x, 6), 8);
                let inner: Vec<f64> = inner.iter().map(|&v| v * normal_below(v)).collect();
                x.iter().zip(linear(&inner, 10)).map(|(a, b)| a + b).collect()
            })
            .collect()
    }

    /// The normal distribution function, by Simpson's rule.
    fn normal_below(x: f64) -> f64 {
        let density = |t: f64| (-t * t / 2.0).exp() / std::f64::consts::TAU.sqrt();
        let (steps, width) = (2000, x / 2000.0);
        let weight = |i: usize| if i == 0 || i == steps { 1.0 } else { 2.0 + 2.0 * (i % 2) as f64 };
        0.5 + (0..=steps).map(|i| weight(i) * density(i as f64 * width)).sum::<f64>() * width / 3.0
    }

    #[test]
    fn the_block_is_what_loops_compute() {
        let (batch, positions) = (2, 3);
        let input = numbers(batch * positions * WIDTH, 50);
        let all = parameters();
        let leaves = on_tape(&all);
        let block = encoder_block(
            tensor(&input, [batch, positions, WIDTH]),
            HEADS,
            &mut Parameters::new(&leaves),
        );
        let got = values(block);
        for (sample, got) in input.chunks(positions * WIDTH).zip(got.chunks(positions * WIDTH)) {
            let tokens: Vec<Vec<f64>> = sample
                .chunks(WIDTH)
                .map(|token| token.iter().copied().map(f64::from).collect())
                .collect();
            let want = by_loops(&tokens, &all).concat();
            for (got, want) in got.iter().zip(want) {
                assert!(
                    (f64::from(*got) - want).abs() < 1e-3 * want.abs().max(1.0),
                    "{got} {want}"
                );
            }
        }
    }
}
