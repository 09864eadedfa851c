//! Parametric ReLU (He et al., ICCV 2015, arXiv:1502.01852): a trained slope below 0 for each channel.
//!
//! ```text
//! y[b,c,s] = x where x >= 0, else slope[c] x      slope_grad[c] = sum over x < 0 of g[b,c,s] x[b,c,s]
//! ```
//! Which side a value is on is decided by a second value, which is `x` itself but where an activation
//! pattern is held.
//!
//! # Shapes
//! As for [`channel_affine`](crate::channel_affine). One slope for all channels is a shape of one
//! channel whose positions are all of an image.
//!
//! # Threads
//! As there: the same for any number of threads.

use rayon::prelude::*;

pub use crate::channel_affine::AffineShape;

/// The forward pass; the sides are those of `decided`.
///
/// # Panics
/// If a length does not match `shape`.
pub fn prelu(
    shape: &AffineShape,
    decided: &[f32],
    input: &[f32],
    slope: &[f32],
    output: &mut [f32],
) {
    shape.check("input", input.len());
    shape.check("decided", decided.len());
    shape.check("output", output.len());
    assert!(slope.len() == shape.channels, "one slope for each channel");
    if output.is_empty() {
        return;
    }
    let spatial = shape.spatial;
    let sources = input.par_chunks(spatial).zip(decided.par_chunks(spatial));
    let planes = output.par_chunks_mut(spatial).zip(sources).enumerate();
    planes.with_min_len(shape.planes()).for_each(|(plane, (output, (input, decided)))| {
        let slope = slope[plane % shape.channels];
        for ((y, &x), &by) in output.iter_mut().zip(input).zip(decided) {
            *y = if by < 0.0 { slope * x } else { x };
        }
    });
}

/// The gradients by input and slope; overwritten.
///
/// # Panics
/// If a length does not match `shape`.
pub fn prelu_backward(
    shape: &AffineShape,
    decided: &[f32],
    input: &[f32],
    slope: &[f32],
    output_grad: &[f32],
    input_grad: &mut [f32],
    slope_grad: &mut [f32],
) {
    // The pass is linear in its input once the sides are decided.
    prelu(shape, decided, output_grad, slope, input_grad);
    shape.check("input", input.len());
    assert!(slope_grad.len() == shape.channels, "one slope for each channel");
    let products: Vec<f32> =
        decided.par_iter().zip(input).map(|(&by, &x)| if by < 0.0 { x } else { 0.0 }).collect();
    slope_grad.par_iter_mut().enumerate().for_each(|(channel, slope)| {
        let product = |x: f32, g: f32| f64::from(x) * f64::from(g);
        *slope = shape.sum_of_channel(channel, &products, output_grad, product) as f32;
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Seeded, assert_close, assert_same_for_any_threads};

    #[test]
    fn equals_the_obvious_loops() {
        for (batch, channels, spatial) in [(0, 2, 3), (3, 5, 7), (4, 1, 900)] {
            let shape = AffineShape { batch, channels, spatial };
            let len = batch * channels * spatial;
            let mut seeded = Seeded(len as u64);
            let (x, g, slope) = (seeded.values(len), seeded.values(len), seeded.values(channels));
            let of = |i: usize| i / spatial % channels;
            let side = |i: usize| if x[i] < 0.0 { slope[of(i)] } else { 1.0 };
            let both = || {
                let [mut y, mut x_grad] = [vec![f32::NAN; len], vec![f32::NAN; len]];
                let mut slopes = vec![f32::NAN; channels];
                prelu(&shape, &x, &x, &slope, &mut y);
                prelu_backward(&shape, &x, &x, &slope, &g, &mut x_grad, &mut slopes);
                [y, x_grad, slopes].concat()
            };
            let mut want: Vec<f64> = (0..len).map(|i| f64::from(side(i) * x[i])).collect();
            want.extend((0..len).map(|i| f64::from(side(i) * g[i])));
            let mut sums = vec![0.0; channels];
            (0..len).filter(|&i| x[i] < 0.0).for_each(|i| sums[of(i)] += f64::from(x[i] * g[i]));
            want.extend(sums);
            assert_close("PReLU", &both(), &want, 1e-5, 1e-5);
            assert_same_for_any_threads("PReLU", both);
        }
    }
}
