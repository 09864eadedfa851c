//! Resizing against PyTorch's values and the adjoint identity.

use super::*;
use crate::testing::{Seeded, assert_close};

#[test]
fn equals_pytorch() {
    // torch.nn.functional.interpolate([[1, 2], [3, 4]], size=(4, 4), mode="bilinear")
    let shape = ResizeShape { planes: 1, input: [2, 2], output: [4, 4] };
    let mut output = [0.0; 16];
    resize_bilinear(&shape, &[1.0, 2.0, 3.0, 4.0], &mut output);
    let want =
        [1.0, 1.25, 1.75, 2.0, 1.5, 1.75, 2.25, 2.5, 2.5, 2.75, 3.25, 3.5, 3.0, 3.25, 3.75, 4.0];
    assert_close("up", &output, &want, 1e-6, 0.0);
    // The same of a row of five to two: positions 0.75 and 3.25.
    let shape = ResizeShape { planes: 1, input: [1, 5], output: [1, 2] };
    let mut output = [0.0; 2];
    resize_bilinear(&shape, &[0.0, 1.0, 2.0, 3.0, 4.0], &mut output);
    assert_close("down", &output, &[0.75, 3.25], 1e-6, 0.0);
}

#[test]
fn the_gradient_is_adjoint_and_the_same_size_is_a_copy() {
    for (input, output) in [([4, 4], [8, 8]), ([8, 8], [4, 4]), ([5, 7], [7, 3]), ([1, 1], [3, 2])]
    {
        let shape = ResizeShape { planes: 5, input, output };
        let mut seeded = Seeded(1);
        let x = seeded.values(5 * input[0] * input[1]);
        let y_grad = seeded.values(5 * output[0] * output[1]);
        let (mut y, mut x_grad) = (vec![f32::NAN; y_grad.len()], vec![f32::NAN; x.len()]);
        resize_bilinear(&shape, &x, &mut y);
        resize_bilinear_backward(&shape, &y_grad, &mut x_grad);
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        assert!((dot(&y, &y_grad) - dot(&x, &x_grad)).abs() < 1e-5, "{shape:?}");
        let shape = ResizeShape { planes: 5, input, output: input };
        let mut same = vec![f32::NAN; x.len()];
        resize_bilinear(&shape, &x, &mut same);
        assert_eq!(same, x);
    }
}
