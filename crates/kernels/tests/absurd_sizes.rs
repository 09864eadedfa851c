//! Sizes whose products do not fit into a `usize`, with slices as long as the wrapped products: in
//! a release build these are what a check that multiplies without looking lets through.

use std::panic::{AssertUnwindSafe, catch_unwind};

use faculty_kernels::attention::{
    AttentionGrads, AttentionShape, RelativeBias, Samples, attention, attention_backward,
};
use faculty_kernels::batch_norm::{
    NormShape, ReluGate, batch_norm_inference, batch_norm_inference_backward, batch_norm_train,
    batch_norm_train_backward,
};
use faculty_kernels::channels::{ChannelsShape, Side, join_channels, join_channels_backward};
use faculty_kernels::conv2d::{self, Conv2dShape, Conv2dShapeError};
use faculty_kernels::dropout::dropout;
use faculty_kernels::embedding::{EmbeddingShape, embedding, embedding_backward};
use faculty_kernels::head_loss::{
    Divergence, Head, HeadGrads, Targets, head_loss, head_statistics,
};
use faculty_kernels::layer_norm::{layer_norm, layer_norm_backward};
use faculty_kernels::linear::{LinearShape, linear, linear_backward};
use faculty_kernels::matmul::{Finish, Matrix, MatrixMut, matmul};
use faculty_kernels::pool::{self, AdaptiveShape, PoolShape};
use faculty_kernels::resize::{resize_bilinear, resize_bilinear_backward};
use faculty_kernels::rms_norm::{rms_norm, rms_norm_backward};
use faculty_kernels::rotary::{Rotary, RotaryLayout, Turn, rotate};
use faculty_kernels::row_norm::RowsShape;
use faculty_kernels::softmax_kl::{SoftmaxKl, cross_entropy_rows, softmax_kl};
use faculty_kernels::squared_error::squared_error;

/// Small ones, and ones whose products wrap to small ones.
const SIZES: [usize; 14] = [
    0,
    1,
    1,
    2,
    3,
    4,
    16,
    1 << 32,
    (1 << 32) + 1,
    1 << 61,
    (1 << 62) + 1,
    (1 << 63) + 2,
    usize::MAX / 2 + 1,
    usize::MAX,
];

struct Sizes(u64);

impl Sizes {
    fn next(&mut self) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        SIZES[(self.0 >> 33) as usize % SIZES.len()]
    }

    fn pair(&mut self) -> [usize; 2] {
        [self.next(), self.next()]
    }
}

/// A slice of the wrapped product, and whether that is the true one.
fn slice(sizes: &[usize]) -> (Vec<f32>, bool) {
    let wrapped = sizes.iter().fold(1, |product: usize, &n| product.wrapping_mul(n));
    // A product with a zero is zero, however large the others are.
    let exact = sizes.iter().try_fold(1_usize, |product, &n| product.checked_mul(n));
    let exact = if sizes.contains(&0) { Some(0) } else { exact };
    let len = if wrapped <= 4096 { wrapped } else { 0 };
    (vec![1.0; len], exact == Some(len))
}

/// Runs `call`, which must panic unless `lengths_fit`.
#[track_caller]
fn attack(what: &str, lengths_fit: bool, call: impl FnOnce()) {
    let finished = catch_unwind(AssertUnwindSafe(call)).is_ok();
    assert!(lengths_fit || !finished, "{what} took slices that are too short");
}

fn quietly(test: impl FnOnce()) {
    std::panic::set_hook(Box::new(|_| {}));
    let result = catch_unwind(AssertUnwindSafe(test));
    let _ = std::panic::take_hook();
    if let Err(panic) = result {
        let text = panic.downcast_ref::<String>().cloned();
        panic!("{}", text.unwrap_or_else(|| "a panic without a text".to_owned()));
    }
}

fn trials() -> usize {
    if cfg!(miri) { 50 } else { 5000 }
}

fn attack_convolutions(sizes: &mut Sizes) {
    let small = |n: usize| if n < 1 << 32 { n } else { n | 1 << 61 };
    let shape = Conv2dShape {
        batch: sizes.next(),
        in_channels: sizes.next(),
        in_height: sizes.next(),
        in_width: sizes.next(),
        out_channels: sizes.next(),
        kernel: sizes.pair(),
        stride: sizes.pair(),
        // What fits into memory is given its memory, so not some billions of zeros.
        padding: sizes.pair().map(small),
        groups: sizes.next(),
    };
    let out = |input: usize, axis: usize| {
        let room = input.wrapping_add(shape.padding[axis].wrapping_mul(2));
        let room = room.wrapping_sub(shape.kernel[axis]);
        room.checked_div(shape.stride[axis]).unwrap_or(0).wrapping_add(1)
    };
    let in_group = shape.in_channels.checked_div(shape.groups).unwrap_or(0);
    let (input, a) = slice(&[shape.batch, shape.in_channels, shape.in_height, shape.in_width]);
    let (weight, b) = slice(&[shape.out_channels, in_group, shape.kernel[0], shape.kernel[1]]);
    let plane = [out(shape.in_height, 0), out(shape.in_width, 1)];
    let (output, c) = slice(&[shape.batch, shape.out_channels, plane[0], plane[1]]);
    let (bias, d) = slice(&[shape.out_channels]);
    let valid = shape.validate().is_ok();
    let what = format!("{shape:?}");
    attack(&what, valid && a && b && c && d, || {
        let (bias, residual) = (Some(&bias[..]), Some(&output[..]));
        conv2d::conv2d_fused(&shape, &input, &weight, bias, residual, true, &mut output.clone());
    });
    attack(&what, valid && a && b && c, || {
        conv2d::conv2d(&shape, &input, &weight, None, &mut output.clone());
    });
    attack(&what, valid && a && b && c, || {
        conv2d::conv2d_input_grad(&shape, &weight, &output, &mut input.clone());
    });
    attack(&what, valid && a && b && c, || {
        conv2d::conv2d_weight_grad(&shape, &input, &output, &mut weight.clone());
    });
    attack(&what, valid && c && d, || {
        conv2d::conv2d_bias_grad(&shape, &output, &mut bias.clone());
    });
    let lengths = || shape.input_len() + shape.weight_len() + shape.output_len() + shape.flops();
    attack(&what, true, || assert!(lengths() < usize::MAX));
}

fn attack_pools(sizes: &mut Sizes) {
    let shape = PoolShape {
        planes: sizes.next(),
        in_height: sizes.next(),
        in_width: sizes.next(),
        kernel: sizes.pair(),
        stride: sizes.pair(),
        padding: sizes.pair(),
    };
    let out = |input: usize, axis: usize| {
        let room = input.wrapping_add(shape.padding[axis].wrapping_mul(2));
        let room = room.wrapping_sub(shape.kernel[axis]);
        room.checked_div(shape.stride[axis]).unwrap_or(0).wrapping_add(1)
    };
    let (input, a) = slice(&[shape.planes, shape.in_height, shape.in_width]);
    let (output, b) = slice(&[shape.planes, out(shape.in_height, 0), out(shape.in_width, 1)]);
    let indices = vec![0_u32; output.len()];
    let (what, fits) = (format!("{shape:?}"), a && b);
    attack(&what, fits, || pool::avg_pool2d(&shape, &input, &mut output.clone()));
    attack(&what, fits, || pool::avg_pool2d_backward(&shape, &output, &mut input.clone()));
    attack(&what, fits, || {
        pool::max_pool2d(&shape, &input, &mut output.clone(), &mut indices.clone());
    });
    attack(&what, fits, || {
        pool::max_pool2d_backward(&shape, &output, &indices, &mut input.clone());
    });

    let shape = AdaptiveShape { planes: sizes.next(), input: sizes.pair(), output: sizes.pair() };
    let (input, a) = slice(&[shape.planes, shape.input[0], shape.input[1]]);
    let (output, b) = slice(&[shape.planes, shape.output[0], shape.output[1]]);
    let (what, fits) = (format!("{shape:?}"), a && b);
    attack(&what, fits, || pool::adaptive_avg_pool2d(&shape, &input, &mut output.clone()));
    attack(&what, fits, || {
        pool::adaptive_avg_pool2d_backward(&shape, &output, &mut input.clone());
    });
    attack(&what, fits, || resize_bilinear(&shape, &input, &mut output.clone()));
    attack(&what, fits, || resize_bilinear_backward(&shape, &output, &mut input.clone()));

    let [planes, spatial] = sizes.pair();
    let ((input, a), (output, b)) = (slice(&[planes, spatial]), slice(&[planes]));
    let (what, fits) = (format!("{planes} planes of {spatial}"), a && b);
    attack(&what, fits, || pool::global_avg_pool(planes, spatial, &input, &mut output.clone()));
    attack(&what, fits, || {
        pool::global_avg_pool_backward(planes, spatial, &output, &mut input.clone());
    });
}

fn attack_linear(sizes: &mut Sizes) {
    let shape = LinearShape { batch: sizes.next(), inputs: sizes.next(), outputs: sizes.next() };
    let (x, a) = slice(&[shape.batch, shape.inputs]);
    let (w, b) = slice(&[shape.outputs, shape.inputs]);
    let (y, c) = slice(&[shape.batch, shape.outputs]);
    let (bias, d) = slice(&[shape.outputs]);
    let (what, fits) = (format!("{shape:?}"), a && b && c && d);
    attack(&what, fits, || linear(&shape, &x, &w, &bias, &mut y.clone()));
    attack(&what, fits, || {
        let (mut x_grad, mut w_grad, mut bias_grad) = (x.clone(), w.clone(), bias.clone());
        linear_backward(&shape, &x, &w, &y, &mut x_grad, &mut w_grad, &mut bias_grad);
    });
}

fn attack_products(sizes: &mut Sizes) {
    let [rows, columns, depth] = [sizes.next(), sizes.next(), sizes.next()];
    let pitches = [sizes.next(), sizes.next(), sizes.next()];
    let (a, left) = slice(&[rows, depth]);
    let (b, right) = slice(&[depth, columns]);
    let (c, output) = slice(&[rows, columns]);
    let (bias, d) = slice(&[columns]);
    let what = format!("[{rows}, {columns}, {depth}], {pitches:?}");
    attack(&what, left && right && output && d, || {
        let residual = &c.clone();
        let finish = Finish::Residual { bias: Some(&bias), residual };
        let (a, b) = (Matrix::new(&a, [rows, depth]), Matrix::new(&b, [depth, columns]));
        matmul(a, b, finish, MatrixMut::new(&mut c.clone(), [rows, columns]));
    });
    // Rows apart: the last one need not be whole.
    let holds = |len: usize, [rows, columns]: [usize; 2], pitch: usize| {
        let last = rows.saturating_sub(1).checked_mul(pitch);
        let need = last.and_then(|last| last.checked_add(columns));
        pitch >= columns && (rows == 0 || columns == 0 || need.is_some_and(|need| need <= len))
    };
    let fits = holds(a.len(), [depth, rows], pitches[0])
        && holds(b.len(), [columns, depth], pitches[1])
        && holds(c.len(), [rows, columns], pitches[2]);
    attack(&what, fits, || {
        let left = Matrix::with_pitch(&a, [depth, rows], pitches[0]).transposed();
        let right = Matrix::with_pitch(&b, [columns, depth], pitches[1]).transposed();
        let mut c = c.clone();
        let target = MatrixMut::with_pitch(&mut c, [rows, columns], pitches[2]);
        matmul(left, right, Finish::Add, target);
    });
}

fn attack_channels(sizes: &mut Sizes) {
    let shape = ChannelsShape {
        batch: sizes.next(),
        first: sizes.next(),
        second: sizes.next(),
        groups: sizes.next(),
        start: sizes.next(),
        count: sizes.next(),
        spatial: sizes.next(),
    };
    let (first, a) = slice(&[shape.batch, shape.first, shape.spatial]);
    let (second, b) = slice(&[shape.batch, shape.second, shape.spatial]);
    let (output, c) = slice(&[shape.batch, shape.count, shape.spatial]);
    let what = format!("{shape:?}");
    attack(&what, a && b && c, || join_channels(&shape, &first, &second, &mut output.clone()));
    for (side, grad, fits) in [(Side::First, &first, a), (Side::Second, &second, b)] {
        attack(&what, fits && c, || {
            join_channels_backward(&shape, side, &output, true, &mut grad.clone());
        });
    }
    let index = sizes.next();
    attack(&what, index < shape.count, || {
        let _ = shape.source(index);
    });
}

fn attack_losses(sizes: &mut Sizes) {
    let loss = SoftmaxKl {
        batch: sizes.next(),
        classes: sizes.next(),
        teachers: sizes.next(),
        temperature: 2.0,
        ce_weight: 1.0,
        kd_weight: 1.0,
    };
    let (student, a) = slice(&[loss.batch, loss.classes]);
    let (teachers, b) = slice(&[loss.teachers, loss.batch, loss.classes]);
    let (weights, c) = slice(&[loss.teachers, loss.batch]);
    let (rows, d) = slice(&[loss.batch]);
    let labels = vec![0; rows.len()];
    attack(&format!("{loss:?}"), a && b && c && d, || {
        softmax_kl(&loss, &student, &labels, &teachers, &weights, &mut student.clone());
    });
    let whole = loss.classes > 0 && student.len().is_multiple_of(loss.classes);
    attack(&format!("{loss:?}"), whole || student.is_empty(), || {
        let _ = cross_entropy_rows(loss.classes, &student, &labels);
    });
    let fits = !rows.is_empty() && student.len().is_multiple_of(rows.len());
    attack(&format!("{loss:?}"), fits || student.is_empty(), || {
        squared_error(&student, &student.clone(), &rows, &mut student.clone());
    });
}

fn attack_norms(sizes: &mut Sizes) {
    let shape = NormShape { batch: sizes.next(), channels: sizes.next(), spatial: sizes.next() };
    let (x, a) = slice(&[shape.batch, shape.channels, shape.spatial]);
    let (c, b) = slice(&[shape.channels]);
    let (what, fits) = (format!("{shape:?}"), a && b);
    let mut gradients = (c.clone(), c.clone());
    attack(&what, fits, || {
        let (mut mean, mut variance) = (c.clone(), c.clone());
        let (y, residual) = (&mut x.clone(), Some(&x[..]));
        batch_norm_train(&shape, &x, &c, &c, 1e-5, residual, true, y, &mut mean, &mut variance);
    });
    attack(&what, fits, || {
        let (y, residual) = (&mut x.clone(), Some(&x[..]));
        batch_norm_inference(&shape, &x, &c, &c, &c, &c, 1e-5, residual, true, y);
    });
    for backward in [batch_norm_train_backward, batch_norm_inference_backward] {
        attack(&what, fits, || {
            let (x_grad, residual) = (&mut x.clone(), &mut x.clone());
            let (gamma, beta) = (&mut gradients.0, &mut gradients.1);
            let (gate, residual) = (ReluGate::Output(&x), Some(&mut residual[..]));
            backward(&shape, &x, gate, &x, &c, &c, &c, 1e-5, x_grad, gamma, beta, residual);
        });
    }
}

fn attack_row_norms(sizes: &mut Sizes) {
    let shape = RowsShape { rows: sizes.next(), width: sizes.next() };
    let (x, a) = slice(&[shape.rows, shape.width]);
    let (w, b) = slice(&[shape.width]);
    let (r, c) = slice(&[shape.rows]);
    let (what, fits) = (format!("{shape:?}"), a && b && c);
    let [mut y, mut gamma, mut beta] = [x.clone(), w.clone(), w.clone()];
    let [mut mean, mut rstd] = [r.clone(), r.clone()];
    attack(&what, fits, || layer_norm(&shape, &x, &w, &w, 1e-5, &mut y, &mut mean, &mut rstd));
    attack(&what, fits, || rms_norm(&shape, &x, &w, 1e-5, &mut y, &mut rstd));
    attack(&what, fits, || {
        layer_norm_backward(&shape, &x, &w, &r, &r, &x, &mut y, &mut gamma, &mut beta);
    });
    attack(&what, fits, || rms_norm_backward(&shape, &x, &w, &r, &x, &mut y, &mut gamma));
}

fn attack_rows_of_tokens(sizes: &mut Sizes) {
    let shape = EmbeddingShape { vocabulary: sizes.next(), width: sizes.next() };
    // Their number is that of the ids, so never absurd itself.
    let tokens = sizes.next() % 17;
    let (table, a) = slice(&[shape.vocabulary, shape.width]);
    let (rows, b) = slice(&[tokens, shape.width]);
    let ids = vec![0_u32; tokens];
    let fits = a && b && (shape.vocabulary > 0 || tokens == 0);
    let what = format!("{shape:?}, {tokens} tokens");
    attack(&what, fits, || embedding(&shape, &table, &ids, &mut rows.clone()));
    attack(&what, fits, || embedding_backward(&shape, &ids, &rows, &mut table.clone()));
    let keys: Vec<u64> = ids.iter().map(|&id| u64::from(id)).collect();
    attack(&what, b, || {
        dropout(shape.width, &keys, 0.5, &mut rows.clone());
    });
    let layout = [RotaryLayout::Halves, RotaryLayout::Interleaved][sizes.next() % 2];
    let [heads, width, rotated] = [sizes.next(), sizes.next(), sizes.next()];
    let rotary = Rotary { heads, width, rotated, base: 1e4, layout };
    let (values, c) = slice(&[tokens, heads, width]);
    let fits = c && rotated <= width && rotated.is_multiple_of(2);
    attack(&format!("{rotary:?}, {tokens} tokens"), fits, || {
        rotate(&rotary, Turn::Back, &ids, &mut values.clone());
    });
}

fn attack_attention(sizes: &mut Sizes) {
    let shape = AttentionShape {
        heads: sizes.next(),
        kv_heads: sizes.next(),
        width: sizes.next(),
        scale: 1.0,
        causal: sizes.next().is_multiple_of(2),
        window: Some(sizes.next()).filter(|window| window % 3 > 0),
    };
    let (queries, keys) = ([0, sizes.next()], [0, sizes.next()]);
    let length = [sizes.next().min(keys[1])];
    let samples = Samples::with_keys(&queries, &keys).with_key_lengths(&length);
    let reach = sizes.next();
    let (q, a) = slice(&[queries[1], shape.heads, shape.width]);
    let (k, b) = slice(&[keys[1], shape.kv_heads, shape.width]);
    let (lse, c) = slice(&[shape.heads, queries[1]]);
    let distances = reach.wrapping_mul(2).wrapping_add(1);
    let (values, d) = slice(&[shape.heads, distances]);
    let d = d && (reach < usize::MAX / 2 || shape.heads == 0);
    let bias = RelativeBias { reach, values: &values };
    let fits = shape.validate().is_ok() && a && b && c && d;
    let what = format!("{shape:?}, {samples:?}, {reach}");
    attack(&what, fits, || {
        let (mut y, mut sums) = (q.clone(), lse.clone());
        attention(&shape, &samples, Some(&bias), &q, &k, &k, &mut y, &mut sums);
    });
    attack(&what, fits, || {
        let [mut query, mut key, mut value] = [q.clone(), k.clone(), k.clone()];
        let mut by_bias = values.clone();
        let grads = AttentionGrads {
            query: &mut query,
            key: &mut key,
            value: &mut value,
            bias: &mut by_bias,
        };
        attention_backward(&shape, &samples, Some(&bias), &q, &k, &k, &q, &lse, &q, grads);
    });
}

fn attack_heads(sizes: &mut Sizes) {
    // The rows are those of the labels, so never absurd themselves.
    let (rows, classes) = (sizes.next() % 17, sizes.next());
    let widths = sizes.pair();
    let [student, teacher] = widths.map(|width| (slice(&[rows, width]), slice(&[classes, width])));
    let (factor, a) = slice(&[rows]);
    let labels = vec![0; factor.len()];
    let divergence = [Divergence::Forward, Divergence::Reverse][sizes.next() % 2];
    let fits = a && student.0.1 && student.1.1 && teacher.0.1 && teacher.1.1;
    let fits = fits && (classes > 0 || rows == 0) && !widths.contains(&0);
    attack(&format!("{rows} rows, {classes} classes, {widths:?}"), fits, || {
        let [(own_hidden, own_weight), (hidden, weight)] =
            [&student, &teacher].map(|(hidden, weight)| (&hidden.0[..], &weight.0[..]));
        let own = Head { hidden: own_hidden, weight: own_weight, width: widths[0] };
        let teacher = Head { hidden, weight, width: widths[1] };
        let targets = Targets {
            labels: &labels,
            ce_factor: &factor,
            kd_factor: &factor,
            teachers: &[(teacher, &factor)],
            temperature: 2.0,
            divergence,
        };
        let (mut hidden, mut weight) = (own_hidden.to_vec(), own_weight.to_vec());
        let grads = HeadGrads { hidden: &mut hidden, weight: &mut weight };
        let _ = head_loss(classes, own, &targets, Some(grads));
        let _ = head_statistics(classes, teacher, &labels, 2.0);
    });
}

#[test]
fn no_kernel_takes_slices_shorter_than_its_sizes_say() {
    quietly(|| {
        let sizes = &mut Sizes(1);
        for _ in 0..trials() {
            attack_convolutions(sizes);
            attack_pools(sizes);
            attack_linear(sizes);
            attack_products(sizes);
            attack_channels(sizes);
            attack_losses(sizes);
            attack_norms(sizes);
            attack_row_norms(sizes);
            attack_rows_of_tokens(sizes);
            attack_attention(sizes);
            attack_heads(sizes);
        }
    });
}

/// Its products wrap to lengths of 68, 272 and 64, and the windows between the first and the last
/// one lie anywhere.
#[test]
fn a_shape_whose_padded_input_wraps_is_not_valid() {
    let shape = Conv2dShape {
        batch: 1,
        in_channels: 17,
        in_height: 4,
        in_width: 1,
        out_channels: 16,
        kernel: [1, 1],
        stride: [1_446_803_456_761_533_464, 1],
        padding: [2_170_205_185_142_300_195, 0],
        groups: 1,
    };
    assert_eq!(shape.validate(), Err(Conv2dShapeError::TooLarge { name: "padded input" }));
    let (input, weight) = (vec![1.0; 68], vec![1.0; 272]);
    quietly(|| {
        attack("the shape", false, || {
            conv2d::conv2d(&shape, &input, &weight, None, &mut vec![0.0; 64]);
        });
    });
}

/// A step beyond the input leaves one window, whatever its size.
#[test]
fn strides_larger_than_the_input_give_one_window_in_all_passes() {
    for (groups, stride) in [(1, 5), (1, usize::MAX), (4, 1 << 63), (2, usize::MAX - 1)] {
        let shape = Conv2dShape {
            batch: 2,
            in_channels: 4,
            in_height: 4,
            in_width: 3,
            out_channels: 4,
            kernel: [3, 2],
            stride: [stride; 2],
            padding: [1, 0],
            groups,
        };
        assert_eq!((shape.out_height(), shape.out_width()), (1, 1));
        let values = |len: usize| (0..len).map(|i| (i % 7) as f32 - 3.0).collect::<Vec<_>>();
        let (input, weight) = (values(shape.input_len()), values(shape.weight_len()));
        let grad = values(shape.output_len());
        let same = |what: &str, got: &[f32], want: &[f64]| {
            assert!(got.iter().zip(want).all(|(&a, &b)| f64::from(a) == b), "{what}: {shape:?}");
        };
        let mut output = vec![f32::NAN; grad.len()];
        conv2d::conv2d(&shape, &input, &weight, None, &mut output);
        same("output", &output, &conv2d::scalar::conv2d(&shape, &input, &weight));
        let mut input_grad = vec![f32::NAN; input.len()];
        conv2d::conv2d_input_grad(&shape, &weight, &grad, &mut input_grad);
        let want = conv2d::scalar::conv2d_input_grad(&shape, &weight, &grad);
        same("input gradient", &input_grad, &want);
        let mut weight_grad = vec![f32::NAN; weight.len()];
        conv2d::conv2d_weight_grad(&shape, &input, &grad, &mut weight_grad);
        let want = conv2d::scalar::conv2d_weight_grad(&shape, &input, &grad);
        same("weight gradient", &weight_grad, &want);
    }
}
