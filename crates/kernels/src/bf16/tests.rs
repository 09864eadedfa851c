//! Every way that this machine has against plain loops in `f64`, over many shapes.

use super::conv2d::{Epilogue, PackedWeights, fits};
use super::convert::{round, widen};
use super::engine::Engine;
use super::*;
use crate::conv2d::{Conv2dShape, scalar};
use crate::testing::{Seeded, assert_same_for_any_threads};

fn shape(
    batch: usize,
    [in_channels, in_height, in_width]: [usize; 3],
    out_channels: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
) -> Conv2dShape {
    Conv2dShape {
        batch,
        in_channels,
        in_height,
        in_width,
        out_channels,
        kernel,
        stride,
        padding,
        groups: 1,
    }
}

/// Shapes at the edges of tiles, pairs, strips and borders.
fn shapes() -> Vec<Conv2dShape> {
    let mut shapes = vec![
        shape(0, [3, 5, 5], 4, [3, 3], [1, 1], [1, 1]),
        shape(1, [0, 5, 5], 4, [3, 3], [1, 1], [1, 1]),
        shape(1, [4, 5, 5], 0, [3, 3], [1, 1], [1, 1]),
        shape(1, [1, 1, 1], 1, [1, 1], [1, 1], [0, 0]),
        shape(1, [1, 1, 1], 1, [3, 3], [1, 1], [1, 1]),
        shape(2, [3, 0, 4], 2, [1, 1], [1, 1], [1, 0]),
        shape(17, [3, 32, 32], 16, [3, 3], [1, 1], [1, 1]),
        shape(33, [16, 8, 8], 16, [3, 3], [1, 1], [1, 1]),
        shape(3, [16, 32, 32], 32, [3, 3], [2, 2], [1, 1]),
        shape(3, [16, 32, 32], 32, [1, 1], [2, 2], [0, 0]),
        shape(40, [64, 4, 4], 64, [3, 3], [1, 1], [1, 1]),
        shape(2, [80, 16, 16], 48, [3, 3], [1, 1], [1, 1]),
        shape(17, [8, 4, 4], 24, [3, 3], [1, 1], [1, 1]),
        shape(19, [33, 2, 2], 65, [3, 3], [1, 1], [1, 1]),
        shape(2, [4, 9, 11], 6, [5, 3], [2, 1], [2, 0]),
        shape(2, [4, 11, 9], 6, [4, 4], [2, 2], [1, 1]),
        shape(2, [4, 11, 9], 6, [2, 2], [3, 3], [0, 0]),
        shape(2, [4, 7, 9], 6, [1, 1], [3, 2], [2, 1]),
        shape(2, [4, 7, 9], 6, [3, 3], [1, 1], [4, 3]),
        shape(2, [4, 14, 14], 6, [7, 7], [2, 2], [3, 3]),
    ];
    let mut seeded = Seeded(11);
    let mut pick = |from: &[usize]| from[seeded.next_u64() as usize % from.len()];
    for _ in 0..60 {
        let kernel = [pick(&[1, 3, 4, 5]), pick(&[1, 3, 4, 5])];
        let dims = [
            pick(&[1, 2, 15, 16, 17, 31, 32, 33, 64]),
            kernel[0] + pick(&[0, 1, 2, 5, 9]),
            kernel[1] + pick(&[0, 1, 2, 5, 9]),
        ];
        let out = pick(&[1, 2, 15, 16, 17, 31, 32, 33]);
        let stride = [pick(&[1, 1, 2, 3]), pick(&[1, 1, 2, 3])];
        let padding = [pick(&[0, 1, 2]), pick(&[0, 1, 2])];
        shapes.push(shape(pick(&[1, 2, 15, 16, 18]), dims, out, kernel, stride, padding));
    }
    shapes
}

fn rounded(values: &[f32]) -> Vec<f32> {
    values.iter().map(|&x| widen(round(x))).collect()
}

fn magnitude(values: &[f32]) -> Vec<f32> {
    values.iter().map(|x| x.abs()).collect()
}

/// Sums of `count` products of rounded factors: exact products, each addition off by `2^-24` of what
/// is summed, and by twice that where an instruction rounds the sum of a pair first.
#[track_caller]
fn assert_summed(what: &str, got: &[f32], want: &[f64], scale: &[f64], count: usize) {
    assert_eq!(got.len(), want.len(), "{what}");
    let bound = (count + 2) as f64 * 2_f64.powi(-23);
    for (i, ((got, want), scale)) in got.iter().zip(want).zip(scale).enumerate() {
        let off = (f64::from(*got) - want).abs();
        assert!(off <= bound * scale, "{what}: value {i} is {got}, not {want} (of {scale})");
    }
}

#[test]
fn rounding_is_to_nearest_even() {
    let half = f32::from_bits(0x3F80_8000);
    let cases = [
        (1.0, 0x3F80),
        (-0.0, 0x8000),
        (half, 0x3F80),
        (f32::from_bits(0x3F80_8001), 0x3F81),
        (f32::from_bits(0x3F81_8000), 0x3F82),
        (f32::MAX, 0x7F80),
        (f32::INFINITY, 0x7F80),
        (f32::NEG_INFINITY, 0xFF80),
    ];
    for (x, want) in cases {
        assert_eq!(round(x), want, "{x}");
    }
    assert!(widen(round(f32::NAN)).is_nan());
    assert!(widen(round(f32::from_bits(0x7F80_0001))).is_nan());
    // Every way rounds as the plain function does, subnormal numbers excepted.
    let mut seeded = Seeded(3);
    let values: Vec<f32> = (0..16 * 32 * 4)
        .map(|_| f32::from_bits(seeded.next_u64() as u32))
        .map(|x| if x.is_subnormal() || x.is_nan() { 0.5 } else { x })
        .collect();
    for engine in Engine::available() {
        let mut maps = Maps::new();
        maps.write_on(engine, [16, 32, 2, 2], &values);
        let mut read = vec![0.0; values.len()];
        maps.read_on(engine, &mut read);
        for (read, value) in read.iter().zip(&values) {
            assert_eq!(read.to_bits(), widen(round(*value)).to_bits(), "{}", engine.word());
        }
    }
}

#[test]
fn maps_hold_planes_of_any_size() {
    for engine in Engine::available() {
        for sizes in [[0, 3, 2, 2], [1, 1, 1, 1], [17, 33, 5, 3], [16, 64, 8, 8], [5, 3, 9, 16]] {
            let values = Seeded(1).values(sizes.iter().product());
            let mut maps = Maps::new();
            maps.write_on(engine, [18, 70, 9, 9], &vec![f32::NAN; 18 * 70 * 81]);
            maps.write_on(engine, sizes, &values);
            let mut read = vec![f32::NAN; values.len()];
            maps.read_on(engine, &mut read);
            assert_eq!(read, rounded(&values), "{} {sizes:?}", engine.word());
        }
    }
}

#[test]
fn every_way_agrees_with_the_scalar_loops() {
    for (seed, shape) in shapes().into_iter().enumerate() {
        assert!(fits(&shape), "{shape:?}");
        let mut seeded = Seeded(seed as u64);
        let input = rounded(&seeded.values(shape.input_len()));
        let weight = rounded(&seeded.values(shape.weight_len()));
        let grad = rounded(&seeded.values(shape.output_len()));
        let [abs_input, abs_weight, abs_grad] = [&input, &weight, &grad].map(|v| magnitude(v));
        let kernel = shape.kernel[0] * shape.kernel[1];
        let forward = scalar::conv2d(&shape, &input, &weight);
        let forward_scale = scalar::conv2d(&shape, &abs_input, &abs_weight);
        let by_input = scalar::conv2d_input_grad(&shape, &weight, &grad);
        let by_input_scale = scalar::conv2d_input_grad(&shape, &abs_weight, &abs_grad);
        let by_weight = scalar::conv2d_weight_grad(&shape, &input, &grad);
        let by_weight_scale = scalar::conv2d_weight_grad(&shape, &abs_input, &abs_grad);
        let out = [shape.batch, shape.out_channels, shape.out_height(), shape.out_width()];
        let from = [shape.batch, shape.in_channels, shape.in_height, shape.in_width];
        for engine in Engine::available() {
            let what = format!("{}, {shape:?}", engine.word());
            let (mut x, mut g) = (Maps::new(), Maps::new());
            x.write_on(engine, from, &input);
            g.write_on(engine, out, &grad);
            let packed = PackedWeights::forward(&shape, &weight, None);
            // NaN everywhere: what is not overwritten shows.
            let mut planes = vec![f32::NAN; shape.output_len()];
            conv2d::to_planes_on(engine, &packed, &x, None, false, &mut planes);
            let count = kernel * shape.in_channels;
            assert_summed(&format!("forward, {what}"), &planes, &forward, &forward_scale, count);
            let mut maps = Maps::new();
            maps.write_on(engine, [18, 40, 9, 9], &vec![f32::NAN; 18 * 40 * 81]);
            conv2d::to_maps_on(engine, &packed, &x, Epilogue::default(), &mut maps);
            let mut stored = vec![f32::NAN; shape.output_len()];
            maps.read_on(engine, &mut stored);
            assert_eq!(stored, rounded(&planes), "stored, {what}");
            let turned = PackedWeights::input_grad(&shape, &weight);
            let mut input_grad = vec![f32::NAN; shape.input_len()];
            conv2d::to_planes_on(engine, &turned, &g, None, false, &mut input_grad);
            let count = kernel * shape.out_channels;
            let name = format!("input gradient, {what}");
            assert_summed(&name, &input_grad, &by_input, &by_input_scale, count);
            let mut weight_grad = vec![f32::NAN; shape.weight_len()];
            conv2d::weight_grad_on(engine, &shape, &x, &g, &mut weight_grad);
            let count = shape.batch * shape.out_height() * shape.out_width();
            let name = format!("weight gradient, {what}");
            assert_summed(&name, &weight_grad, &by_weight, &by_weight_scale, count);
        }
    }
}

#[test]
fn bias_residual_and_relu_come_in_this_order() {
    let shape = shape(18, [20, 6, 5], 40, [3, 3], [1, 1], [1, 1]);
    let mut seeded = Seeded(2);
    let input = rounded(&seeded.values(shape.input_len()));
    let weight = seeded.values(shape.weight_len());
    let bias = seeded.values(shape.out_channels);
    let mut residual = rounded(&seeded.values(shape.output_len()));
    residual[7] = f32::NAN;
    let out = [shape.batch, shape.out_channels, shape.out_height(), shape.out_width()];
    let from = [shape.batch, shape.in_channels, shape.in_height, shape.in_width];
    let plane = shape.out_height() * shape.out_width();
    for engine in Engine::available() {
        let [mut x, mut r, mut y] = [(); 3].map(|()| Maps::new());
        x.write_on(engine, from, &input);
        r.write_on(engine, out, &residual);
        let plain = PackedWeights::forward(&shape, &weight, None);
        let biased = PackedWeights::forward(&shape, &weight, Some(&bias));
        let mut sums = vec![0.0; shape.output_len()];
        conv2d::to_planes_on(engine, &plain, &x, None, false, &mut sums);
        for (with, relu) in [(false, false), (false, true), (true, false), (true, true)] {
            let want: Vec<f32> = (0..sums.len())
                .map(|i| {
                    let mut value = sums[i] + bias[i / plane % shape.out_channels];
                    value += if with { residual[i] } else { 0.0 };
                    if relu && value < 0.0 { 0.0 } else { value }
                })
                .collect();
            let mut planes = vec![0.0; sums.len()];
            let given = with.then_some(&residual[..]);
            conv2d::to_planes_on(engine, &biased, &x, given, relu, &mut planes);
            let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            let what = format!("{}, residual {with}, relu {relu}", engine.word());
            assert!(want[7].is_nan() == with, "{what}");
            assert_eq!(bits(&planes)[8..], bits(&want)[8..], "{what}");
            assert!(planes[7].is_nan() == with, "{what}");
            let epilogue = Epilogue { residual: with.then_some(&r), relu };
            conv2d::to_maps_on(engine, &biased, &x, epilogue, &mut y);
            y.read_on(engine, &mut planes);
            assert_eq!(bits(&planes)[8..], bits(&rounded(&want))[8..], "{what}, maps");
            assert!(planes[7].is_nan() == with, "{what}, maps");
        }
    }
}

#[test]
fn a_sample_does_not_depend_on_its_batch_nor_results_on_threads() {
    let whole = shape(37, [33, 8, 8], 33, [3, 3], [1, 1], [1, 1]);
    let mut seeded = Seeded(5);
    let input = seeded.values(whole.input_len());
    let weight = seeded.values(whole.weight_len());
    let grad = seeded.values(whole.output_len());
    let sizes = [37, 33, 8, 8];
    let run = |images: std::ops::Range<usize>| {
        let image = 33 * 64;
        let mut x = Maps::new();
        let part = &input[images.start * image..images.end * image];
        x.write([images.len(), 33, 8, 8], part);
        let packed = PackedWeights::forward(&whole, &weight, None);
        let mut planes = vec![0.0; part.len()];
        conv2d::conv2d_to_planes(&packed, &x, None, false, &mut planes);
        planes
    };
    let all = run(0..37);
    for images in [0..1, 3..20, 36..37] {
        let image = 33 * 64;
        assert_eq!(run(images.clone()), all[images.start * image..images.end * image]);
    }
    assert_same_for_any_threads("forward", || run(0..37));
    assert_same_for_any_threads("weight gradient", || {
        let (mut x, mut g) = (Maps::new(), Maps::new());
        x.write(sizes, &input);
        g.write(sizes, &grad);
        let mut by_weight = vec![0.0; whole.weight_len()];
        conv2d::conv2d_weight_grad(&whole, &x, &g, &mut by_weight);
        by_weight
    });
}

#[test]
fn affine_and_pooling_are_those_of_single_numbers() {
    let sizes = [18, 40, 6, 7];
    let mut seeded = Seeded(9);
    let mut values = rounded(&seeded.values(sizes.iter().product()));
    values[100] = f32::NAN;
    let residual = rounded(&seeded.values(values.len()));
    let (scale, shift) = (seeded.values(40), seeded.values(40));
    for engine in Engine::available() {
        let [mut x, mut r, mut y] = [(); 3].map(|()| Maps::new());
        x.write_on(engine, sizes, &values);
        r.write_on(engine, sizes, &residual);
        for (constants, with, relu) in
            [(true, false, true), (true, true, false), (false, true, true)]
        {
            let given = constants.then_some([&scale[..], &shift[..]]);
            elementwise::affine_on(engine, &x, given, with.then_some(&r), relu, &mut y);
            let mut got = vec![0.0; values.len()];
            y.read_on(engine, &mut got);
            for (i, got) in got.into_iter().enumerate() {
                let channel = i / 42 % 40;
                let mut want = f64::from(values[i]);
                if constants {
                    want = want * f64::from(scale[channel]) + f64::from(shift[channel]);
                }
                want += if with { f64::from(residual[i]) } else { 0.0 };
                want = if relu && want < 0.0 { 0.0 } else { want };
                // Rounded once to `f32` a step, then to bfloat16.
                let close = (f64::from(got) - want).abs() <= 2_f64.powi(-8) * want.abs() + 1e-6;
                assert!(close || got.is_nan() && want.is_nan(), "{}: {got}, {want}", engine.word());
            }
        }
        let kinds = [(2, 2, 0), (3, 2, 1), (3, 1, 1)];
        for ((kernel, stride, padding), kind) in
            kinds.into_iter().flat_map(|k| [(k, pool::Pooling::Max), (k, pool::Pooling::Average)])
        {
            let shape = crate::pool::PoolShape {
                planes: 18 * 40,
                in_height: 6,
                in_width: 7,
                kernel: [kernel; 2],
                stride: [stride; 2],
                padding: [padding; 2],
            };
            pool::pool2d_on(engine, &shape, kind, &x, &mut y);
            let mut want = vec![0.0; 18 * 40 * shape.out_height() * shape.out_width()];
            match kind {
                pool::Pooling::Max => {
                    let mut maxima = vec![0; want.len()];
                    crate::pool::max_pool2d(&shape, &values, &mut want, &mut maxima);
                }
                pool::Pooling::Average => crate::pool::avg_pool2d(&shape, &values, &mut want),
            }
            let mut got = vec![0.0; want.len()];
            y.read_on(engine, &mut got);
            for (got, want) in got.into_iter().zip(want) {
                let close = (got - want).abs() <= want.abs() / 256.0 + 1e-6;
                assert!(close || got.is_nan() && want.is_nan(), "{kind:?}: {got}, {want}");
            }
        }
    }
}

#[test]
fn batch_norm_between_maps_is_that_between_planes() {
    use crate::batch_norm::NormShape;
    for sizes in [[18, 40, 6, 7], [3, 32, 9, 9], [1, 5, 1, 1], [33, 64, 2, 2]] {
        let shape = NormShape { batch: sizes[0], channels: sizes[1], spatial: sizes[2] * sizes[3] };
        let mut seeded = Seeded(4);
        let mut input = seeded.values(shape.len());
        // A mean that is large against the deviation.
        input.iter_mut().for_each(|x| *x = widen(round(0.1 * *x + 3.0)));
        let grad = rounded(&seeded.values(shape.len()));
        let residual = rounded(&seeded.values(shape.len()));
        let (gamma, beta) = (seeded.values(sizes[1]), seeded.values(sizes[1]));
        let epsilon = 1e-5;
        for engine in Engine::available() {
            let [mut x, mut g, mut r, mut y, mut dx, mut dr] = [(); 6].map(|()| Maps::new());
            x.write_on(engine, sizes, &input);
            g.write_on(engine, sizes, &grad);
            r.write_on(engine, sizes, &residual);
            let (mut mean, mut variance) = (vec![f32::NAN; sizes[1]], vec![f32::NAN; sizes[1]]);
            batch_norm::moments_on(engine, &x, &mut mean, &mut variance);
            let planes = |channel: usize| {
                let spatial = shape.spatial;
                let at = move |image: usize| (image * sizes[1] + channel) * spatial;
                (0..sizes[0]).flat_map(move |image| at(image)..at(image) + spatial)
            };
            let count = shape.count() as f64;
            for channel in 0..sizes[1] {
                let values: Vec<f64> = planes(channel).map(|i| f64::from(input[i])).collect();
                let want = values.iter().sum::<f64>() / count;
                assert!((f64::from(mean[channel]) - want).abs() < 1e-6 * 3.0, "{sizes:?}");
                let want = values.iter().map(|v| (v - want) * (v - want)).sum::<f64>() / count;
                assert!((f64::from(variance[channel]) - want).abs() < 1e-6, "{sizes:?}");
            }
            for (with, relu, of_the_batch) in
                [(false, false, true), (false, true, true), (true, true, true), (true, true, false)]
            {
                let normalised = batch_norm::Normalised {
                    gamma: &gamma,
                    mean: &mean,
                    variance: &variance,
                    epsilon,
                    of_the_batch,
                };
                let [scale, shift] = normalised.constants(&beta);
                let given = Some([&scale[..], &shift[..]]);
                elementwise::affine_on(engine, &x, given, with.then_some(&r), relu, &mut y);
                let mut output = vec![0.0; shape.len()];
                y.read_on(engine, &mut output);
                let gate = match (relu, with) {
                    (false, _) => batch_norm::Gate::Open,
                    (true, false) => batch_norm::Gate::Beta(&beta),
                    (true, true) => batch_norm::Gate::Output(&y),
                };
                let (mut by_gamma, mut by_beta) = (vec![f32::NAN; sizes[1]], vec![0.0; sizes[1]]);
                batch_norm::backward_on(
                    engine,
                    &normalised,
                    &x,
                    gate,
                    &g,
                    &mut dx,
                    &mut by_gamma,
                    &mut by_beta,
                    with.then_some(&mut dr),
                    &|_| {},
                );
                let mut got = vec![f32::NAN; shape.len()];
                dx.read_on(engine, &mut got);
                let cut = |i: usize| relu && output[i] <= 0.0;
                let gated = |i: usize| if cut(i) { 0.0 } else { f64::from(grad[i]) };
                for channel in 0..sizes[1] {
                    let deviation = (f64::from(variance[channel]) + f64::from(epsilon)).sqrt();
                    let h = |i: usize| (f64::from(input[i]) - f64::from(mean[channel])) / deviation;
                    let sum_g: f64 = planes(channel).map(gated).sum();
                    let sum_gh: f64 = planes(channel).map(|i| gated(i) * h(i)).sum();
                    let magnitude: f64 = planes(channel).map(|i| (gated(i) * h(i)).abs()).sum();
                    let what = format!("{} {sizes:?} {with} {relu}", engine.word());
                    assert!((f64::from(by_beta[channel]) - sum_g).abs() <= 1e-5 * count, "{what}");
                    let off = (f64::from(by_gamma[channel]) - sum_gh).abs();
                    assert!(off <= 1e-5 * magnitude + 1e-6, "{what}: {off} of {magnitude}");
                    for i in planes(channel) {
                        let mut want = gated(i);
                        if of_the_batch {
                            want -= sum_g / count + h(i) * sum_gh / count;
                        }
                        want *= f64::from(gamma[channel]) / deviation;
                        let largest = f64::from(gamma[channel].abs()) / deviation * 4.0;
                        let off = (f64::from(got[i]) - want).abs();
                        let bound = want.abs() / 256.0 + 1e-4 * largest;
                        assert!(off <= bound, "{what}: {} for {want}", got[i]);
                    }
                }
                if with {
                    dr.read_on(engine, &mut got);
                    for (i, got) in got.iter().enumerate() {
                        assert_eq!(f64::from(*got), gated(i));
                    }
                }
            }
        }
    }
}

#[test]
fn matrix_products_of_every_way_and_layout_agree_with_the_formula() {
    use crate::activation::{Activation, activate};
    use crate::matmul::{Finish, Matrix, MatrixMut, scalar};
    let mut shapes = vec![
        [0, 3, 2],
        [3, 0, 2],
        [3, 2, 0],
        [1, 1, 1],
        [16, 32, 32],
        [17, 33, 31],
        [33, 15, 65],
        [130, 70, 40],
        [300, 17, 100],
    ];
    let mut seeded = Seeded(8);
    let mut pick = |most: u64| (seeded.next_u64() % most) as usize + 1;
    shapes.extend((0..25).map(|_| [pick(70), pick(70), pick(70)]));
    for (seed, [rows, columns, depth]) in shapes.into_iter().enumerate() {
        for layout in 0..4 {
            let (left_turned, right_turned) = (layout % 2 == 1, layout / 2 == 1);
            let factor = |seed: u64, [rows, columns]: [usize; 2], turned: bool| {
                let [across, pitch] =
                    if turned { [columns, rows + 3] } else { [rows, columns + 3] };
                rounded(&Seeded(seed).values(across * pitch))
            };
            fn view(data: &[f32], [rows, columns]: [usize; 2], turned: bool) -> Matrix<'_> {
                match turned {
                    true => Matrix::with_pitch(data, [columns, rows], rows + 3).transposed(),
                    false => Matrix::with_pitch(data, [rows, columns], columns + 3),
                }
            }
            let left = factor(2 * seed as u64, [rows, depth], left_turned);
            let right = factor(2 * seed as u64 + 1, [depth, columns], right_turned);
            let (abs_left, abs_right) = (magnitude(&left), magnitude(&right));
            let product = |left: &[f32], right: &[f32]| {
                scalar::matmul(
                    view(left, [rows, depth], left_turned),
                    view(right, [depth, columns], right_turned),
                )
            };
            let (want, scale) = (product(&left, &right), product(&abs_left, &abs_right));
            for engine in Engine::available() {
                let what = format!("{} [{rows}, {columns}, {depth}] {layout}", engine.word());
                let run = |finish: Finish<'_>, mut output: Vec<f32>| {
                    let target = MatrixMut::new(&mut output, [rows, columns]);
                    let (left, right) = (
                        view(&left, [rows, depth], left_turned),
                        view(&right, [depth, columns], right_turned),
                    );
                    matmul::matmul_on(engine, left, right, finish, target);
                    output
                };
                let stored = run(Finish::Store, vec![f32::NAN; rows * columns]);
                assert_summed(&what, &stored, &want, &scale, depth);
                let added = run(Finish::Add, vec![2.0; rows * columns]);
                let plus: Vec<f32> = stored.iter().map(|value| 2.0 + value).collect();
                assert_eq!(added, plus, "{what}");
                let bias = Seeded(3).values(columns);
                let mut before = vec![f32::NAN; rows * columns];
                let activation = Activation::Gelu;
                let finish =
                    Finish::Activate { bias: &bias, activation, before: Some(&mut before) };
                let activated = run(finish, vec![f32::NAN; rows * columns]);
                let biased: Vec<f32> =
                    stored.iter().enumerate().map(|(i, v)| v + bias[i % columns.max(1)]).collect();
                assert_eq!(before, biased, "{what}");
                let mut expected = vec![0.0; biased.len()];
                activate(activation, &biased, &mut expected);
                for (got, want) in activated.iter().zip(&expected) {
                    assert!(
                        (got - want).abs() <= 1e-5 * (1.0 + want.abs()),
                        "{what}: {got}, {want}"
                    );
                }
            }
        }
    }
}
