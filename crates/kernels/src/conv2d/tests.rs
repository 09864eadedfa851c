//! Every path this machine has against the scalar loops, over many shapes.

use super::*;
use crate::testing::{Seeded, assert_close, assert_same_for_any_threads};

/// Tolerance against the sum of absolute products; see the module's error bound.
const TOLERANCE: f64 = 4e-6;

fn shape(
    batch: usize,
    [in_channels, in_height, in_width]: [usize; 3],
    out_channels: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    groups: usize,
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
        groups,
    }
}

/// Shapes at the edges of the tiles, blocks, chunks and borders.
fn shapes() -> Vec<Conv2dShape> {
    let mut shapes = vec![
        shape(0, [3, 5, 5], 4, [3, 3], [1, 1], [1, 1], 1),
        shape(1, [0, 5, 5], 4, [3, 3], [1, 1], [1, 1], 1),
        shape(1, [4, 5, 5], 0, [3, 3], [1, 1], [1, 1], 1),
        shape(1, [1, 1, 1], 1, [1, 1], [1, 1], [0, 0], 1),
        shape(1, [1, 1, 1], 1, [3, 3], [1, 1], [1, 1], 1),
        shape(2, [3, 0, 4], 2, [1, 1], [1, 1], [1, 0], 1),
        shape(2, [3, 32, 32], 16, [3, 3], [1, 1], [1, 1], 1),
        shape(3, [16, 32, 32], 16, [3, 3], [1, 1], [1, 1], 1),
        shape(3, [16, 32, 32], 32, [3, 3], [2, 2], [1, 1], 1),
        shape(3, [16, 32, 32], 32, [1, 1], [2, 2], [0, 0], 1),
        shape(5, [64, 8, 8], 64, [3, 3], [1, 1], [1, 1], 1),
        shape(2, [80, 16, 16], 48, [3, 3], [1, 1], [1, 1], 1),
        shape(17, [8, 4, 4], 24, [3, 3], [1, 1], [1, 1], 1),
        shape(19, [33, 2, 2], 65, [3, 3], [1, 1], [1, 1], 1),
        shape(2, [4, 9, 11], 6, [5, 3], [2, 1], [2, 0], 1),
        shape(2, [4, 11, 9], 6, [4, 4], [2, 2], [1, 1], 1),
        shape(2, [4, 11, 9], 6, [2, 2], [3, 3], [0, 0], 1),
        shape(2, [4, 7, 9], 6, [1, 1], [3, 2], [2, 1], 1),
        shape(2, [4, 7, 9], 6, [1, 1], [1, 1], [2, 1], 1),
        shape(2, [4, 7, 9], 6, [3, 3], [1, 1], [4, 3], 1),
        shape(2, [4, 14, 14], 6, [7, 7], [2, 2], [3, 3], 1),
        shape(2, [6, 9, 9], 6, [3, 3], [1, 1], [1, 1], 6),
        shape(2, [18, 9, 9], 36, [3, 3], [2, 2], [1, 1], 18),
        shape(2, [34, 8, 8], 34, [5, 5], [1, 1], [2, 2], 34),
        shape(2, [12, 8, 8], 18, [3, 3], [1, 1], [1, 1], 3),
        shape(2, [96, 8, 8], 64, [1, 1], [1, 1], [0, 0], 2),
    ];
    for channels in [1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 49] {
        shapes.push(shape(2, [channels, 6, 5], 50 - channels, [3, 3], [1, 1], [1, 1], 1));
    }
    let mut seeded = Seeded(11);
    let mut pick = |from: &[usize]| from[seeded.next_u64() as usize % from.len()];
    for _ in 0..150 {
        let groups = pick(&[1, 1, 1, 2, 3]);
        let kernel = [pick(&[1, 3, 4, 5]), pick(&[1, 3, 4, 5])];
        let stride = [pick(&[1, 1, 2, 3]), pick(&[1, 1, 2, 3])];
        let padding = [pick(&[0, 1, 2]), pick(&[0, 1, 2])];
        let dims = [
            groups * pick(&[1, 2, 5, 8, 13, 16]),
            kernel[0] + pick(&[0, 1, 2, 5, 9, 12]),
            kernel[1] + pick(&[0, 1, 2, 5, 9, 12]),
        ];
        let out = groups * pick(&[1, 2, 7, 8, 16, 17, 33]);
        shapes.push(shape(pick(&[1, 2, 3]), dims, out, kernel, stride, padding, groups));
    }
    shapes
}

/// Sum of absolute products, which the error bound refers to.
fn magnitude(values: &[f32]) -> Vec<f32> {
    values.iter().map(|x| x.abs()).collect()
}

fn assert_within(what: &str, got: &[f32], want: &[f64], scale: &[f64], tolerance: f64) {
    let scaled: Vec<f32> = got
        .iter()
        .zip(want)
        .zip(scale)
        .map(|((g, w), s)| ((f64::from(*g) - w) / s.max(1e-30)) as f32)
        .collect();
    assert_close(what, &scaled, &vec![0.0; want.len()], 0.0, tolerance);
}

#[test]
fn every_path_agrees_with_the_scalar_loops() {
    for (seed, shape) in shapes().into_iter().enumerate() {
        shape.validate().unwrap();
        let mut seeded = Seeded(seed as u64);
        let input = seeded.values(shape.input_len());
        let weight = seeded.values(shape.weight_len());
        let grad = seeded.values(shape.output_len());
        let (abs_input, abs_weight, abs_grad) =
            (magnitude(&input), magnitude(&weight), magnitude(&grad));
        let forward = scalar::conv2d(&shape, &input, &weight);
        let forward_scale = scalar::conv2d(&shape, &abs_input, &abs_weight);
        let by_input = scalar::conv2d_input_grad(&shape, &weight, &grad);
        let by_input_scale = scalar::conv2d_input_grad(&shape, &abs_weight, &abs_grad);
        let by_weight = scalar::conv2d_weight_grad(&shape, &input, &grad);
        let by_weight_scale = scalar::conv2d_weight_grad(&shape, &abs_input, &abs_grad);
        for isa in Isa::available() {
            let what = format!("{} lanes, {shape:?}", isa.lanes());
            // NaN everywhere: what is not overwritten shows.
            let mut output = vec![f32::NAN; shape.output_len()];
            let none = Epilogue { bias: None, residual: None, relu: false };
            forward_on(isa, &shape, &input, &weight, none, &mut output);
            let name = format!("forward, {what}");
            assert_within(&name, &output, &forward, &forward_scale, TOLERANCE);
            let mut input_grad = vec![f32::NAN; shape.input_len()];
            input_grad_on(isa, &shape, &weight, &grad, &mut input_grad);
            let name = format!("input gradient, {what}");
            assert_within(&name, &input_grad, &by_input, &by_input_scale, TOLERANCE);
            let mut weight_grad = vec![f32::NAN; shape.weight_len()];
            weight_grad_on(isa, &shape, &input, &grad, &mut weight_grad);
            let name = format!("weight gradient, {what}");
            assert_within(&name, &weight_grad, &by_weight, &by_weight_scale, TOLERANCE);
        }
    }
}

fn resnet_shapes() -> [Conv2dShape; 4] {
    [
        shape(18, [16, 12, 12], 20, [3, 3], [1, 1], [1, 1], 1),
        shape(9, [33, 8, 8], 33, [3, 3], [1, 1], [1, 1], 1),
        shape(9, [16, 12, 12], 32, [3, 3], [2, 2], [1, 1], 1),
        shape(9, [16, 12, 12], 32, [1, 1], [2, 2], [0, 0], 2),
    ]
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    for shape in resnet_shapes() {
        let mut seeded = Seeded(5);
        let input = seeded.values(shape.input_len());
        let weight = seeded.values(shape.weight_len());
        let grad = seeded.values(shape.output_len());
        assert_same_for_any_threads("forward", || {
            let mut output = vec![0.0; shape.output_len()];
            conv2d(&shape, &input, &weight, None, &mut output);
            output
        });
        assert_same_for_any_threads("input gradient", || {
            let mut output = vec![0.0; shape.input_len()];
            conv2d_input_grad(&shape, &weight, &grad, &mut output);
            output
        });
        assert_same_for_any_threads("weight gradient", || {
            let mut output = vec![0.0; shape.weight_len()];
            conv2d_weight_grad(&shape, &input, &grad, &mut output);
            output
        });
        assert_same_for_any_threads("bias gradient", || {
            let mut output = vec![0.0; shape.out_channels];
            conv2d_bias_grad(&shape, &grad, &mut output);
            output
        });
    }
}

#[test]
fn gradients_are_adjoint_to_the_forward_pass() {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    for shape in resnet_shapes() {
        let mut seeded = Seeded(6);
        let input = seeded.values(shape.input_len());
        let weight = seeded.values(shape.weight_len());
        let grad = seeded.values(shape.output_len());
        let mut output = vec![0.0; shape.output_len()];
        conv2d(&shape, &input, &weight, None, &mut output);
        let mut input_grad = vec![0.0; shape.input_len()];
        conv2d_input_grad(&shape, &weight, &grad, &mut input_grad);
        let mut weight_grad = vec![0.0; shape.weight_len()];
        conv2d_weight_grad(&shape, &input, &grad, &mut weight_grad);
        let forward = dot(&output, &grad);
        // Rounding errors of the outputs add up like a random walk.
        let size = (dot(&output, &output) * dot(&grad, &grad)).sqrt();
        for (name, adjoint) in
            [("input", dot(&input, &input_grad)), ("weight", dot(&weight, &weight_grad))]
        {
            assert!(
                (forward - adjoint).abs() < 1e-6 * size,
                "{name} gradient of {shape:?}: {forward} against {adjoint}"
            );
        }
    }
}

#[test]
fn the_scalar_gradients_match_finite_differences() {
    let shape = shape(2, [2, 5, 4], 3, [3, 2], [2, 1], [1, 1], 1);
    let mut seeded = Seeded(7);
    let input = seeded.values(shape.input_len());
    let weight = seeded.values(shape.weight_len());
    let grad = seeded.values(shape.output_len());
    let loss = |input: &[f32], weight: &[f32]| -> f64 {
        let output = scalar::conv2d(&shape, input, weight);
        output.iter().zip(&grad).map(|(y, g)| y * f64::from(*g)).sum()
    };
    // The loss is linear in each argument, so any step gives the exact slope; a power of two
    // keeps the changed values exact.
    let step = 0.25;
    let by_input = scalar::conv2d_input_grad(&shape, &weight, &grad);
    for i in 0..input.len() {
        let mut changed = input.clone();
        changed[i] += step;
        let moved = f64::from(changed[i]) - f64::from(input[i]);
        let slope = (loss(&changed, &weight) - loss(&input, &weight)) / moved;
        assert!((slope - by_input[i]).abs() < 1e-12, "input {i}: {slope}, {}", by_input[i]);
    }
    let by_weight = scalar::conv2d_weight_grad(&shape, &input, &grad);
    for i in 0..weight.len() {
        let mut changed = weight.clone();
        changed[i] += step;
        let moved = f64::from(changed[i]) - f64::from(weight[i]);
        let slope = (loss(&input, &changed) - loss(&input, &weight)) / moved;
        assert!((slope - by_weight[i]).abs() < 1e-12, "weight {i}: {slope}, {}", by_weight[i]);
    }
}

#[test]
fn nan_and_infinity_reach_every_output_that_depends_on_them() {
    for shape in resnet_shapes() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for isa in Isa::available() {
                let mut seeded = Seeded(8);
                let mut input = seeded.values(shape.input_len());
                let weight = seeded.values(shape.weight_len());
                let grad = seeded.values(shape.output_len());
                let at = seeded.next_u64() as usize % input.len();
                input[at] = bad;
                let mut output = vec![0.0; shape.output_len()];
                let none = Epilogue { bias: None, residual: None, relu: false };
                forward_on(isa, &shape, &input, &weight, none, &mut output);
                let want = scalar::conv2d(&shape, &input, &weight);
                let mut weight_grad = vec![0.0; shape.weight_len()];
                weight_grad_on(isa, &shape, &input, &grad, &mut weight_grad);
                let want_grad = scalar::conv2d_weight_grad(&shape, &input, &grad);
                let pairs = output.iter().zip(&want).chain(weight_grad.iter().zip(&want_grad));
                for (i, (got, want)) in pairs.enumerate() {
                    assert!(
                        want.is_finite() || !got.is_finite(),
                        "{bad} lost at {i}, {} lanes, {shape:?}: got {got}, want {want}",
                        isa.lanes()
                    );
                }
            }
        }
    }
}

#[test]
fn the_fused_epilogue_equals_separate_passes() {
    let mut cases = resnet_shapes().to_vec();
    cases.push(shape(3, [5, 7, 5], 19, [3, 3], [1, 1], [1, 1], 1));
    cases.push(shape(3, [8, 2, 3], 16, [1, 1], [1, 1], [0, 0], 1));
    for shape in cases {
        let mut seeded = Seeded(9);
        let input = seeded.values(shape.input_len());
        let weight = seeded.values(shape.weight_len());
        let bias = seeded.values(shape.out_channels);
        let residual = seeded.values(shape.output_len());
        for isa in Isa::available() {
            let mut plain = vec![0.0; shape.output_len()];
            let none = Epilogue { bias: None, residual: None, relu: false };
            forward_on(isa, &shape, &input, &weight, none, &mut plain);
            let plane = shape.out_height() * shape.out_width();
            for (with_bias, with_residual, relu) in [
                (true, false, false),
                (false, true, true),
                (true, true, true),
                (false, false, true),
            ] {
                let epilogue = Epilogue {
                    bias: with_bias.then_some(&bias[..]),
                    residual: with_residual.then_some(&residual[..]),
                    relu,
                };
                let mut fused = vec![0.0; shape.output_len()];
                forward_on(isa, &shape, &input, &weight, epilogue, &mut fused);
                let want: Vec<f64> = (0..plain.len())
                    .map(|i| {
                        let mut y = plain[i];
                        if with_bias {
                            y += bias[i / plane % shape.out_channels];
                        }
                        if with_residual {
                            y += residual[i];
                        }
                        f64::from(if relu { y.max(0.0) } else { y })
                    })
                    .collect();
                assert_close(&format!("{shape:?}"), &fused, &want, 1e-6, 1e-6);
            }
        }
    }
}

#[test]
fn refuses_shapes_that_are_no_convolution() {
    let good = shape(1, [4, 5, 5], 6, [3, 3], [1, 1], [1, 1], 1);
    let text = |shape: Conv2dShape| shape.validate().unwrap_err().to_string();
    assert_eq!(
        text(Conv2dShape { kernel: [0, 3], ..good }),
        "`kernel` is 0, it must be at least 1"
    );
    assert_eq!(text(Conv2dShape { groups: 3, ..good }), "3 groups do not divide 4 `in_channels`");
    assert_eq!(
        text(Conv2dShape { kernel: [3, 9], ..good }),
        "a kernel of 9 does not fit into 7 padded columns"
    );
}

#[test]
#[should_panic(expected = "`weight` has 3 elements, 216 expected")]
fn a_wrong_length_names_the_slice() {
    let shape = shape(1, [4, 5, 5], 6, [3, 3], [1, 1], [1, 1], 1);
    conv2d(&shape, &[0.0; 100], &[0.0; 3], None, &mut [0.0; 150]);
}

#[test]
fn winograd_rounds_little_at_many_channels() {
    // Sums of 2304 products and 512 positions: the error against the largest output.
    let shape = shape(8, [256, 8, 8], 32, [3, 3], [1, 1], [1, 1], 1);
    assert!(winograd::is_cheaper(&shape));
    let mut seeded = Seeded(10);
    let input = seeded.values(shape.input_len());
    let weight = seeded.values(shape.weight_len());
    let grad = seeded.values(shape.output_len());
    let worst = |got: &[f32], want: &[f64]| {
        let largest = want.iter().fold(0.0_f64, |max, x| max.max(x.abs()));
        let errors = got.iter().zip(want).map(|(got, want)| (f64::from(*got) - want).abs());
        errors.fold(0.0, f64::max) / largest
    };
    let mut output = vec![0.0; shape.output_len()];
    conv2d(&shape, &input, &weight, None, &mut output);
    let mut input_grad = vec![0.0; shape.input_len()];
    conv2d_input_grad(&shape, &weight, &grad, &mut input_grad);
    let mut weight_grad = vec![0.0; shape.weight_len()];
    conv2d_weight_grad(&shape, &input, &grad, &mut weight_grad);
    let errors = [
        worst(&output, &scalar::conv2d(&shape, &input, &weight)),
        worst(&input_grad, &scalar::conv2d_input_grad(&shape, &weight, &grad)),
        worst(&weight_grad, &scalar::conv2d_weight_grad(&shape, &input, &grad)),
    ];
    assert!(errors.iter().all(|&error| error < 5e-6), "{errors:?}");
}
