//! Every kernel that holds `unsafe` on shapes small enough for Miri:
//!
//! `FACULTY_ISA=scalar MIRIFLAGS="-Zmiri-tree-borrows -Zmiri-ignore-leaks -Zmiri-disable-isolation" \
//!  cargo +nightly miri test -p faculty-kernels --test small_shapes`
//!
//! A convolution is linear in its input and in its weight, so
//! `⟨g, conv(x; w)⟩ = ⟨input_grad(g; w), x⟩ = ⟨weight_grad(x, g), w⟩` checks all three passes.

use faculty_kernels::attention::{
    AttentionGrads, AttentionShape, Samples, attention, attention_backward,
};
use faculty_kernels::batch_norm::{
    NormShape, ReluGate, batch_norm_train, batch_norm_train_backward,
};
use faculty_kernels::bf16::{self, Maps};
use faculty_kernels::conv2d::{Conv2dShape, conv2d_fused, conv2d_input_grad, conv2d_weight_grad};
use faculty_kernels::embedding::{EmbeddingShape, embedding, embedding_backward};
use faculty_kernels::matmul::{Finish, Matrix, MatrixMut, matmul};

fn numbers(len: usize, seed: u64) -> Vec<f32> {
    (0..len as u64)
        .map(|i| {
            let mixed = (i + 1 + 7919 * seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            ((mixed ^ (mixed >> 29)) >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

fn convolution(
    batch: usize,
    channels: [usize; 2],
    side: usize,
    kernel: usize,
    stride: usize,
    groups: usize,
) {
    let shape = Conv2dShape {
        batch,
        in_channels: channels[0],
        in_height: side,
        in_width: side,
        out_channels: channels[1],
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [kernel / 2; 2],
        groups,
    };
    let input = numbers(shape.input_len(), 1);
    let weight = numbers(shape.weight_len(), 2);
    let gradient = numbers(shape.output_len(), 3);
    let mut output = vec![f32::NAN; shape.output_len()];
    conv2d_fused(&shape, &input, &weight, None, None, false, &mut output);
    let mut input_grad = vec![f32::NAN; input.len()];
    conv2d_input_grad(&shape, &weight, &gradient, &mut input_grad);
    let mut weight_grad = vec![f32::NAN; weight.len()];
    conv2d_weight_grad(&shape, &input, &gradient, &mut weight_grad);
    let want = dot(&gradient, &output);
    let close = |got: f64| (got - want).abs() < 1e-3 * want.abs().max(1.0);
    assert!(close(dot(&input_grad, &input)), "{shape:?}: input gradient");
    assert!(close(dot(&weight_grad, &weight)), "{shape:?}: weight gradient");

    // With everything fused: never below zero, and what the plain pass and the rest make of it.
    let bias = numbers(channels[1], 4);
    let residual = numbers(output.len(), 5);
    let mut fused = vec![f32::NAN; output.len()];
    conv2d_fused(&shape, &input, &weight, Some(&bias), Some(&residual), true, &mut fused);
    let plane = output.len() / batch / channels[1];
    for (i, &got) in fused.iter().enumerate() {
        let want = (output[i] + bias[i / plane % channels[1]] + residual[i]).max(0.0);
        assert!((got - want).abs() < 1e-3, "{shape:?}: fused value {i}: {got}, not {want}");
    }
}

#[test]
fn convolutions_are_adjoint_to_their_gradients() {
    convolution(1, [3, 5], 5, 3, 1, 1);
    convolution(2, [4, 8], 5, 3, 2, 1);
    convolution(1, [16, 17], 4, 1, 1, 1);
    convolution(1, [6, 6], 5, 3, 1, 6);
    convolution(1, [6, 9], 4, 1, 1, 3);
}

#[test]
fn winograd_is_adjoint_to_its_gradients() {
    // Wide enough for the Winograd paths of all three passes; a side that is no multiple of 4.
    convolution(1, [32, 32], 6, 3, 1, 1);
}

#[test]
fn batch_norm_gradients_are_orthogonal_to_what_it_ignores() {
    let shape = NormShape { batch: 2, channels: 3, spatial: 5 };
    let (input, residual) = (numbers(shape.len(), 6), numbers(shape.len(), 7));
    let (gamma, beta) = (numbers(3, 8), numbers(3, 9));
    let mut output = vec![f32::NAN; shape.len()];
    let (mut mean, mut variance) = ([f32::NAN; 3], [f32::NAN; 3]);
    batch_norm_train(
        &shape,
        &input,
        &gamma,
        &beta,
        1e-5,
        Some(&residual),
        true,
        &mut output,
        &mut mean,
        &mut variance,
    );
    assert!(output.iter().all(|&y| y >= 0.0));
    let gradient = numbers(shape.len(), 10);
    let mut input_grad = vec![f32::NAN; shape.len()];
    let mut residual_grad = vec![f32::NAN; shape.len()];
    let (mut gamma_grad, mut beta_grad) = ([f32::NAN; 3], [f32::NAN; 3]);
    batch_norm_train_backward(
        &shape,
        &input,
        ReluGate::Output(&output),
        &gradient,
        &gamma,
        &mean,
        &variance,
        1e-5,
        &mut input_grad,
        &mut gamma_grad,
        &mut beta_grad,
        Some(&mut residual_grad),
    );
    for channel in 0..3 {
        let own = |values: &[f32]| -> Vec<f32> {
            let positions = (0..2).flat_map(|b| (0..5).map(move |i| (b * 3 + channel) * 5 + i));
            positions.map(|i| values[i]).collect()
        };
        let by_input = own(&input_grad);
        // Shifting or scaling a channel changes nothing, so the gradient has no such part.
        assert!(by_input.iter().sum::<f32>().abs() < 1e-4, "shift of channel {channel}");
        assert!(dot(&by_input, &own(&input)).abs() < 1e-4, "scale of channel {channel}");
        let by_residual: f32 = own(&residual_grad).iter().sum();
        assert!((by_residual - beta_grad[channel]).abs() < 1e-4, "beta of channel {channel}");
    }
}

#[test]
fn products_of_all_layouts_are_the_formula() {
    for [rows, columns, depth] in [[1, 1, 1], [7, 18, 5], [13, 9, 10], [3, 40, 0]] {
        let (a, b) = (numbers(rows * depth, 1), numbers(depth * columns, 2));
        let bias = numbers(columns, 3);
        for layout in 0..4 {
            let (left, right) = (layout % 2 == 0, layout / 2 == 0);
            let at = |data: &[f32], [i, j]: [usize; 2], sizes: [usize; 2], plain: bool| -> f32 {
                if plain { data[i * sizes[1] + j] } else { data[j * sizes[0] + i] }
            };
            let view = |data, [rows, columns]: [usize; 2], plain| -> Matrix<'_> {
                if plain {
                    Matrix::new(data, [rows, columns])
                } else {
                    Matrix::new(data, [columns, rows]).transposed()
                }
            };
            let mut c = vec![f32::NAN; rows * columns];
            matmul(
                view(&a, [rows, depth], left),
                view(&b, [depth, columns], right),
                Finish::Bias { bias: &bias },
                MatrixMut::new(&mut c, [rows, columns]),
            );
            for (i, &got) in c.iter().enumerate() {
                let (row, column) = (i / columns, i % columns);
                let terms = (0..depth).map(|k| {
                    at(&a, [row, k], [rows, depth], left)
                        * at(&b, [k, column], [depth, columns], right)
                });
                let want = bias[column] + terms.sum::<f32>();
                assert!((got - want).abs() < 1e-5, "{rows} {columns} {depth}: {got}, {want}");
            }
        }
    }
}

#[test]
fn attention_passes_what_it_gets_by_value() {
    let shape = AttentionShape {
        heads: 2,
        kv_heads: 1,
        width: 9,
        scale: 0.3,
        causal: true,
        window: Some(4),
    };
    let samples = Samples::new(&[0, 5, 12]);
    let (query, key) = (numbers(12 * 18, 1), numbers(12 * 9, 2));
    let (value, grad) = (numbers(12 * 9, 3), numbers(12 * 18, 4));
    let (mut output, mut lse) = (vec![f32::NAN; 12 * 18], vec![f32::NAN; 24]);
    attention(&shape, &samples, None, &query, &key, &value, &mut output, &mut lse);
    let [mut by_query, mut by_key, mut by_value] = [&query, &key, &value].map(|x| x.clone());
    let grads = AttentionGrads {
        query: &mut by_query,
        key: &mut by_key,
        value: &mut by_value,
        bias: &mut [],
    };
    attention_backward(&shape, &samples, None, &query, &key, &value, &output, &lse, &grad, grads);
    // The output is linear in the values; a factor of the scores is one of queries or keys.
    let want = dot(&grad, &output);
    assert!((dot(&by_value, &value) - want).abs() < 1e-4);
    assert!((dot(&by_query, &query) - dot(&by_key, &key)).abs() < 1e-4);
}

#[test]
fn embedding_is_adjoint_to_its_gradient() {
    let shape = EmbeddingShape { vocabulary: 5, width: 3 };
    let (table, grad, ids) = (numbers(15, 1), numbers(12, 2), [4, 0, 4, 1]);
    let mut output = vec![f32::NAN; 12];
    embedding(&shape, &table, &ids, &mut output);
    let mut table_grad = vec![0.0; 15];
    embedding_backward(&shape, &ids, &grad, &mut table_grad);
    assert!((dot(&grad, &output) - dot(&table_grad, &table)).abs() < 1e-5);
}

#[test]
fn convolutions_and_products_of_bfloat16_factors() {
    for (batch, [from, to], side, stride) in
        [(1, [2, 3], 3, 1), (17, [3, 17], 2, 2), (3, [33, 2], 2, 1)]
    {
        let shape = Conv2dShape {
            batch,
            in_channels: from,
            in_height: side,
            in_width: side,
            out_channels: to,
            kernel: [3; 2],
            stride: [stride; 2],
            padding: [1; 2],
            groups: 1,
        };
        let out = shape.out_height();
        let [mut input, mut gradient, mut output] = [(); 3].map(|()| Maps::new());
        input.write([batch, from, side, side], &numbers(shape.input_len(), 1));
        gradient.write([batch, to, out, out], &numbers(shape.output_len(), 3));
        // What is left of rounding: the values that the maps hold.
        let (mut x, mut g) = (vec![0.0; shape.input_len()], vec![0.0; shape.output_len()]);
        input.read(&mut x);
        gradient.read(&mut g);
        let weight: Vec<f32> =
            numbers(shape.weight_len(), 2).iter().map(|w| (w * 64.0).round()).collect();
        let forward = bf16::conv2d::PackedWeights::forward(&shape, &weight, None);
        let mut planes = vec![f32::NAN; g.len()];
        bf16::conv2d::conv2d_to_planes(&forward, &input, None, false, &mut planes);
        bf16::conv2d::conv2d(&forward, &input, bf16::conv2d::Epilogue::default(), &mut output);
        let backward = bf16::conv2d::PackedWeights::input_grad(&shape, &weight);
        let mut by_input = vec![f32::NAN; x.len()];
        bf16::conv2d::conv2d_to_planes(&backward, &gradient, None, false, &mut by_input);
        let mut by_weight = vec![f32::NAN; weight.len()];
        bf16::conv2d::conv2d_weight_grad(&shape, &input, &gradient, &mut by_weight);
        let want = dot(&g, &planes);
        for (what, got) in [("input", dot(&by_input, &x)), ("weight", dot(&by_weight, &weight))] {
            assert!((got - want).abs() < 1e-3 * want.abs().max(1.0), "{what}: {got}, {want}");
        }
        assert_eq!(output.sizes(), [batch, to, out, out]);
    }
    let (left, right) = (numbers(3 * 35, 4), numbers(35 * 18, 5));
    let mut product = vec![f32::NAN; 3 * 18];
    bf16::matmul::matmul(
        Matrix::new(&left, [3, 35]),
        Matrix::new(&right, [35, 18]),
        Finish::Store,
        MatrixMut::new(&mut product, [3, 18]),
    );
    for (at, got) in product.into_iter().enumerate() {
        let column: Vec<f32> = (0..35).map(|k| right[k * 18 + at % 18]).collect();
        let want = dot(&left[at / 18 * 35..][..35], &column);
        assert!((f64::from(got) - want).abs() < 0.05, "{got}, {want}");
    }
}
