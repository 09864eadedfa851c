//! A factor and a summand for each channel, both trained: the layer scale of CaiT (Touvron et al.,
//! ICCV 2021, arXiv:2103.17239) and ConvNeXt.
//!
//! ```text
//! y[b,c,s] = scale[c] x[b,c,s] + shift[c]      x_grad[b,c,s] = scale[c] g[b,c,s]
//! scale_grad[c] = sum_bs g[b,c,s] x[b,c,s]     shift_grad[c] = sum_bs g[b,c,s]
//! ```
//!
//! # Shapes
//! `x`, `y` and their gradients `[batch, channels, spatial]`, the others `[channels]`.
//!
//! # Threads
//! Images and channels are spread over rayon's current pool; the sums of a channel are one task's, in
//! `f64` and in order, so results do not depend on the number of threads.

use rayon::prelude::*;

use crate::parallel::ELEMENTS_PER_TASK;

/// The sizes; see the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AffineShape {
    /// Images.
    pub batch: usize,
    /// Channels.
    pub channels: usize,
    /// Positions of a channel.
    pub spatial: usize,
}

impl AffineShape {
    #[track_caller]
    pub(crate) fn check(&self, name: &str, got: usize) {
        let Self { batch, channels, spatial } = *self;
        let want = crate::sizes::elements([batch, channels, spatial]);
        assert!(got == want, "`{name}` has {got} elements, {want} expected for {self:?}");
    }

    /// Planes one task handles.
    pub(crate) fn planes(&self) -> usize {
        (ELEMENTS_PER_TASK / self.spatial.max(1)).max(1)
    }

    /// For each channel the planes of all images, in order.
    pub(crate) fn sum_of_channel(
        &self,
        channel: usize,
        input: &[f32],
        grad: &[f32],
        term: impl Fn(f32, f32) -> f64,
    ) -> f64 {
        let Self { batch, channels, spatial } = *self;
        let plane = |image: usize| {
            let at = (image * channels + channel) * spatial;
            at..at + spatial
        };
        let of_image = |image: usize| -> f64 {
            let (input, grad) = (&input[plane(image)], &grad[plane(image)]);
            input.iter().zip(grad).map(|(&x, &g)| term(x, g)).sum()
        };
        (0..batch).map(of_image).sum()
    }
}

/// `output = scale · input + shift`
///
/// # Panics
/// If a length does not match `shape`.
pub fn channel_affine(
    shape: &AffineShape,
    input: &[f32],
    scale: &[f32],
    shift: &[f32],
    output: &mut [f32],
) {
    shape.check("input", input.len());
    shape.check("output", output.len());
    assert!(scale.len() == shape.channels && shift.len() == shape.channels, "one for each channel");
    if output.is_empty() {
        return;
    }
    let planes = output.par_chunks_mut(shape.spatial).zip(input.par_chunks(shape.spatial));
    planes.enumerate().with_min_len(shape.planes()).for_each(|(plane, (output, input))| {
        let channel = plane % shape.channels;
        let (scale, shift) = (scale[channel], shift[channel]);
        output.iter_mut().zip(input).for_each(|(y, x)| *y = scale * x + shift);
    });
}

/// The gradients of [`channel_affine`] by input, scale and shift; overwritten.
///
/// # Panics
/// If a length does not match `shape`.
pub fn channel_affine_backward(
    shape: &AffineShape,
    input: &[f32],
    scale: &[f32],
    output_grad: &[f32],
    input_grad: &mut [f32],
    scale_grad: &mut [f32],
    shift_grad: &mut [f32],
) {
    shape.check("input", input.len());
    assert!(scale_grad.len() == shape.channels, "one factor for each channel");
    assert!(shift_grad.len() == shape.channels, "one summand for each channel");
    channel_affine(shape, output_grad, scale, &vec![0.0; shape.channels], input_grad);
    (scale_grad.par_iter_mut().zip(shift_grad)).enumerate().for_each(
        |(channel, (scale, shift))| {
            let product = |x: f32, g: f32| f64::from(x) * f64::from(g);
            *scale = shape.sum_of_channel(channel, input, output_grad, product) as f32;
            *shift = shape.sum_of_channel(channel, input, output_grad, |_, g| f64::from(g)) as f32;
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Seeded, assert_close, assert_same_for_any_threads};

    #[test]
    fn equals_the_obvious_loops() {
        for (batch, channels, spatial) in
            [(0, 2, 3), (1, 1, 1), (3, 5, 7), (2, 300, 1), (4, 3, 900)]
        {
            let shape = AffineShape { batch, channels, spatial };
            let len = batch * channels * spatial;
            let mut seeded = Seeded(len as u64);
            let (x, g) = (seeded.values(len), seeded.values(len));
            let (scale, shift) = (seeded.values(channels), seeded.values(channels));
            let mut y = vec![f32::NAN; len];
            channel_affine(&shape, &x, &scale, &shift, &mut y);
            let of = |i: usize| i / spatial % channels;
            for (i, &y) in y.iter().enumerate() {
                assert_eq!(y, scale[of(i)] * x[i] + shift[of(i)]);
            }
            let backward = || {
                let mut x_grad = vec![f32::NAN; len];
                let [mut a, mut b] = [vec![f32::NAN; channels], vec![f32::NAN; channels]];
                channel_affine_backward(&shape, &x, &scale, &g, &mut x_grad, &mut a, &mut b);
                [x_grad, a, b].concat()
            };
            let got = backward();
            let mut want: Vec<f64> = (0..len).map(|i| f64::from(scale[of(i)] * g[i])).collect();
            let mut sums = vec![0.0; 2 * channels];
            for i in 0..len {
                sums[of(i)] += f64::from(x[i]) * f64::from(g[i]);
                sums[channels + of(i)] += f64::from(g[i]);
            }
            want.extend(sums);
            assert_close("gradients", &got, &want, 1e-5, 1e-5);
            assert_same_for_any_threads("channel_affine_backward", backward);
        }
    }
}
