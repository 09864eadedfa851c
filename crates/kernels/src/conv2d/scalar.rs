//! The convolutions as plain loops with `f64` sums: the reference of the tests and the baseline
//! of the benches.

use super::shape::Conv2dShape;

/// Calls `visit(input, weight, output)` with the indices of every product of the convolution.
fn for_each_product(shape: &Conv2dShape, mut visit: impl FnMut(usize, usize, usize)) {
    let (in_group, out_group) =
        (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
    let (height, width) = (shape.out_height(), shape.out_width());
    for image in 0..shape.batch {
        for o in 0..shape.out_channels {
            for p in 0..height {
                for q in 0..width {
                    let output = ((image * shape.out_channels + o) * height + p) * width + q;
                    for c in 0..in_group {
                        let channel = o / out_group * in_group + c;
                        let plane = (image * shape.in_channels + channel) * shape.in_height;
                        for i in 0..shape.kernel[0] {
                            let Some(y) = (p * shape.stride[0] + i).checked_sub(shape.padding[0])
                            else {
                                continue;
                            };
                            for j in 0..shape.kernel[1] {
                                let x = (q * shape.stride[1] + j).checked_sub(shape.padding[1]);
                                let Some(x) = x.filter(|&x| x < shape.in_width) else { continue };
                                if y < shape.in_height {
                                    let input = (plane + y) * shape.in_width + x;
                                    let tap = (o * in_group + c) * shape.kernel[0] + i;
                                    visit(input, tap * shape.kernel[1] + j, output);
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The convolution without bias.
pub fn conv2d(shape: &Conv2dShape, input: &[f32], weight: &[f32]) -> Vec<f64> {
    let mut sums = vec![0.0; shape.output_len()];
    for_each_product(shape, |x, w, y| sums[y] += f64::from(input[x]) * f64::from(weight[w]));
    sums
}

/// The gradient by the input.
pub fn conv2d_input_grad(shape: &Conv2dShape, weight: &[f32], output_grad: &[f32]) -> Vec<f64> {
    let mut sums = vec![0.0; shape.input_len()];
    for_each_product(shape, |x, w, y| sums[x] += f64::from(output_grad[y]) * f64::from(weight[w]));
    sums
}

/// The gradient by the weight.
pub fn conv2d_weight_grad(shape: &Conv2dShape, input: &[f32], output_grad: &[f32]) -> Vec<f64> {
    let mut sums = vec![0.0; shape.weight_len()];
    for_each_product(shape, |x, w, y| sums[w] += f64::from(output_grad[y]) * f64::from(input[x]));
    sums
}
