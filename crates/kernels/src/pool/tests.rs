//! Pooling against hand-made values and the obvious loops; gradients by the adjoint identity.

use super::*;
use crate::testing::{Seeded, assert_close, assert_same_for_any_threads};

fn shapes() -> Vec<PoolShape> {
    let mut shapes = Vec::new();
    for (kernel, stride, padding) in [
        ([2, 2], [2, 2], [0, 0]),
        ([3, 3], [2, 2], [1, 1]),
        ([3, 2], [1, 2], [1, 0]),
        ([1, 1], [1, 1], [0, 0]),
        ([4, 4], [3, 3], [2, 2]),
    ] {
        for (in_height, in_width) in [(4, 4), (7, 5), (9, 16), (32, 32)] {
            for planes in [0, 1, 3, 40] {
                shapes.push(PoolShape { planes, in_height, in_width, kernel, stride, padding });
            }
        }
    }
    shapes
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

#[track_caller]
fn assert_adjoint(what: &str, x: &[f32], y: &[f32], x_grad: &[f32], y_grad: &[f32]) {
    let (forward, backward) = (dot(y, y_grad), dot(x, x_grad));
    let size = (dot(y, y) * dot(y_grad, y_grad)).sqrt();
    assert!((forward - backward).abs() <= 1e-5 * size, "{what}: {forward}, {backward}");
}

/// Visits the values of a padded window, `None` for padding.
fn window(shape: &PoolShape, input: &[f32], p: usize, q: usize) -> Vec<Option<f32>> {
    let mut values = Vec::new();
    for i in 0..shape.kernel[0] {
        for j in 0..shape.kernel[1] {
            let y = (p * shape.stride[0] + i).checked_sub(shape.padding[0]);
            let x = (q * shape.stride[1] + j).checked_sub(shape.padding[1]);
            let inside = y.zip(x).filter(|&(y, x)| y < shape.in_height && x < shape.in_width);
            values.push(inside.map(|(y, x)| input[y * shape.in_width + x]));
        }
    }
    values
}

#[test]
fn windows_agree_with_the_obvious_loops() {
    for shape in shapes() {
        let mut seeded = Seeded(1);
        let input = seeded.values(shape.input_len());
        let grad = seeded.values(shape.output_len());
        let (mut means, mut maxima) = (vec![f32::NAN; grad.len()], vec![f32::NAN; grad.len()]);
        let mut indices = vec![u32::MAX; grad.len()];
        avg_pool2d(&shape, &input, &mut means);
        max_pool2d(&shape, &input, &mut maxima, &mut indices);
        let (mut want_means, mut want_maxima) = (Vec::new(), Vec::new());
        for plane in input.chunks(shape.in_plane()) {
            for p in 0..shape.out_height() {
                for q in 0..shape.out_width() {
                    let values = window(&shape, plane, p, q);
                    let sum: f64 = values.iter().map(|x| f64::from(x.unwrap_or(0.0))).sum();
                    want_means.push(sum / values.len() as f64);
                    let max = values.iter().flatten().copied().fold(f32::NEG_INFINITY, f32::max);
                    want_maxima.push(f64::from(max));
                }
            }
        }
        assert_close(&format!("average, {shape:?}"), &means, &want_means, 1e-5, 1e-6);
        assert_close(&format!("max, {shape:?}"), &maxima, &want_maxima, 0.0, 0.0);
        for (i, &index) in indices.iter().enumerate() {
            let plane = i / shape.out_plane() * shape.in_plane();
            assert_eq!(input[plane + index as usize], maxima[i], "{shape:?}");
        }
        let mut input_grad = vec![f32::NAN; input.len()];
        avg_pool2d_backward(&shape, &grad, &mut input_grad);
        assert_adjoint(&format!("average, {shape:?}"), &input, &means, &input_grad, &grad);
        max_pool2d_backward(&shape, &grad, &indices, &mut input_grad);
        assert_adjoint(&format!("max, {shape:?}"), &input, &maxima, &input_grad, &grad);
    }
}

#[test]
fn max_takes_the_first_of_equals_and_carries_nan() {
    let shape = PoolShape {
        planes: 1,
        in_height: 2,
        in_width: 4,
        kernel: [2, 2],
        stride: [2, 2],
        padding: [0, 0],
    };
    let (mut output, mut indices) = ([0.0; 2], [0; 2]);
    max_pool2d(&shape, &[5.0, 5.0, 1.0, 9.0, 5.0, 5.0, f32::NAN, 2.0], &mut output, &mut indices);
    assert!(output[0] == 5.0 && output[1].is_nan());
    assert_eq!(indices, [0, 6]);
    max_pool2d(&shape, &[f32::NEG_INFINITY; 8], &mut output, &mut indices);
    assert_eq!((output, indices), ([f32::NEG_INFINITY; 2], [0, 2]));
}

#[test]
fn global_means_and_their_gradient() {
    for (planes, spatial) in [(0, 5), (1, 1), (7, 64), (300, 64), (3, 1025)] {
        let mut seeded = Seeded(2);
        let (input, grad) = (seeded.values(planes * spatial), seeded.values(planes));
        let mut output = vec![f32::NAN; planes];
        global_avg_pool(planes, spatial, &input, &mut output);
        let want: Vec<f64> = (input.chunks(spatial))
            .map(|plane| plane.iter().map(|&x| f64::from(x)).sum::<f64>() / spatial as f64)
            .collect();
        assert_close("means", &output, &want, 1e-5, 1e-6);
        let mut input_grad = vec![f32::NAN; input.len()];
        global_avg_pool_backward(planes, spatial, &grad, &mut input_grad);
        assert_adjoint("global", &input, &output, &input_grad, &grad);
    }
}

#[test]
fn adaptive_bins_are_pytorchs() {
    // AdaptiveAvgPool1d: 5 to 3 has the bins 0..2, 1..4, 3..5; 2 to 4 repeats.
    let shape = AdaptiveShape { planes: 1, input: [1, 5], output: [1, 3] };
    let mut output = [0.0; 3];
    adaptive_avg_pool2d(&shape, &[1.0, 2.0, 3.0, 4.0, 5.0], &mut output);
    assert_eq!(output, [1.5, 3.0, 4.5]);
    let shape = AdaptiveShape { planes: 1, input: [1, 2], output: [1, 4] };
    let mut output = [0.0; 4];
    adaptive_avg_pool2d(&shape, &[1.0, 2.0], &mut output);
    assert_eq!(output, [1.0, 1.0, 2.0, 2.0]);
    for (input, output) in [([8, 8], [4, 4]), ([7, 5], [3, 4]), ([4, 4], [8, 8]), ([3, 3], [1, 1])]
    {
        let shape = AdaptiveShape { planes: 6, input, output };
        let mut seeded = Seeded(3);
        let x = seeded.values(6 * input[0] * input[1]);
        let y_grad = seeded.values(6 * output[0] * output[1]);
        let (mut y, mut x_grad) = (vec![f32::NAN; y_grad.len()], vec![f32::NAN; x.len()]);
        adaptive_avg_pool2d(&shape, &x, &mut y);
        adaptive_avg_pool2d_backward(&shape, &y_grad, &mut x_grad);
        assert_adjoint("adaptive", &x, &y, &x_grad, &y_grad);
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let (planes, spatial) = (1000, 100);
    let input = Seeded(4).values(planes * spatial);
    assert_same_for_any_threads("global average", || {
        let mut output = vec![0.0; planes];
        global_avg_pool(planes, spatial, &input, &mut output);
        output
    });
}
