//! The mean of every plane.

use rayon::prelude::*;

use super::{check_len, planes_per_task};
use crate::elementwise::lane_sum;
use crate::isa::{Isa, Kernel};
use crate::simd::Simd;
use crate::sizes::elements;

struct Means<'a> {
    spatial: usize,
    input: &'a [f32],
    output: &'a mut [f32],
}

impl Kernel for Means<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        for (mean, plane) in self.output.iter_mut().zip(self.input.chunks_exact(self.spatial)) {
            *mean = lane_sum(plane, |x| x) / self.spatial as f32;
        }
    }
}

/// `output[plane] = mean(input[plane, ..])`, summed in `f32` by 32 lanes.
///
/// # Shapes
/// input `[planes, spatial]`, output `[planes]`
///
/// # Panics
/// If a length does not match or `spatial` is 0.
pub fn global_avg_pool(planes: usize, spatial: usize, input: &[f32], output: &mut [f32]) {
    assert!(spatial > 0, "the mean of empty planes is not defined");
    check_len("input", input.len(), elements([planes, spatial]));
    check_len("output", output.len(), planes);
    let isa = Isa::active();
    let task = planes_per_task(spatial);
    (output.par_chunks_mut(task).zip(input.par_chunks(task * spatial)))
        .for_each(|(output, input)| isa.run(Means { spatial, input, output }));
}

/// `input_grad[plane, ..] = output_grad[plane] / spatial`
///
/// # Panics
/// If a length does not match or `spatial` is 0.
pub fn global_avg_pool_backward(
    planes: usize,
    spatial: usize,
    output_grad: &[f32],
    input_grad: &mut [f32],
) {
    assert!(spatial > 0, "the mean of empty planes is not defined");
    check_len("output_grad", output_grad.len(), planes);
    check_len("input_grad", input_grad.len(), elements([planes, spatial]));
    let task = planes_per_task(spatial);
    (input_grad.par_chunks_mut(task * spatial).zip(output_grad.par_chunks(task))).for_each(
        |(input_grad, output_grad)| {
            for (plane, grad) in input_grad.chunks_exact_mut(spatial).zip(output_grad) {
                plane.fill(grad / spatial as f32);
            }
        },
    );
}
