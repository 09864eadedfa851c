//! Whole planes times a number each: the gate of squeeze-and-excitation (Hu, Shen, Sun, CVPR 2018,
//! arXiv:1709.01507).
//!
//! ```text
//! y[p,s] = x[p,s] gate[p]      x_grad[p,s] = g[p,s] gate[p]      gate_grad[p] = sum_s g[p,s] x[p,s]
//! ```
//!
//! # Shapes
//! `x`, `y` and their gradients `[planes, spatial]`, the gate and its gradient `[planes]`; batch and
//! channels are one axis.
//!
//! # Threads
//! Planes are spread over rayon's current pool; a plane is summed in `f64` by one task, so results
//! do not depend on the number of threads.

use rayon::prelude::*;

use crate::pool::planes_per_task;

#[track_caller]
fn check(name: &str, got: usize, planes: usize, spatial: usize) {
    let fits = planes.checked_mul(spatial) == Some(got);
    assert!(fits, "`{name}` has {got} elements, {planes} × {spatial} expected");
}

/// `output[p,s] = input[p,s] · gate[p]`: the forward pass, and with the gradient by the output in
/// place of the input the gradient by the input.
///
/// # Panics
/// If a length does not match.
pub fn gate_planes(spatial: usize, input: &[f32], gate: &[f32], output: &mut [f32]) {
    check("input", input.len(), gate.len(), spatial);
    check("output", output.len(), gate.len(), spatial);
    if output.is_empty() {
        return;
    }
    let planes = output.par_chunks_mut(spatial).zip(input.par_chunks(spatial)).zip(gate);
    planes.with_min_len(planes_per_task(spatial)).for_each(|((output, input), gate)| {
        output.iter_mut().zip(input).for_each(|(y, x)| *y = x * gate);
    });
}

/// `gate_grad[p] = sum_s output_grad[p,s] · input[p,s]`
///
/// # Panics
/// If a length does not match.
pub fn gate_planes_backward(
    spatial: usize,
    input: &[f32],
    output_grad: &[f32],
    gate_grad: &mut [f32],
) {
    check("input", input.len(), gate_grad.len(), spatial);
    check("output_grad", output_grad.len(), gate_grad.len(), spatial);
    if input.is_empty() {
        gate_grad.fill(0.0);
        return;
    }
    let planes = input.par_chunks(spatial).zip(output_grad.par_chunks(spatial));
    gate_grad.par_iter_mut().zip(planes).with_min_len(planes_per_task(spatial)).for_each(
        |(to, (input, grad))| {
            let products = input.iter().zip(grad).map(|(&x, &g)| f64::from(x) * f64::from(g));
            *to = products.sum::<f64>() as f32;
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Seeded, assert_close, assert_same_for_any_threads};

    #[test]
    fn equals_the_obvious_loops() {
        for (planes, spatial) in [(0, 3), (1, 1), (7, 5), (300, 49), (3, 20_000)] {
            let mut seeded = Seeded(planes as u64);
            let (x, g) = (seeded.values(planes * spatial), seeded.values(planes * spatial));
            let gate = seeded.values(planes);
            let (mut y, mut by_gate) = (vec![f32::NAN; x.len()], vec![f32::NAN; planes]);
            gate_planes(spatial, &x, &gate, &mut y);
            gate_planes_backward(spatial, &x, &g, &mut by_gate);
            for (i, &y) in y.iter().enumerate() {
                assert_eq!(y, x[i] * gate[i / spatial]);
            }
            let want: Vec<f64> = (0..planes)
                .map(|p| {
                    (0..spatial).map(|s| f64::from(x[p * spatial + s] * g[p * spatial + s])).sum()
                })
                .collect();
            assert_close("gate_grad", &by_gate, &want, 1e-5, 1e-4);
            assert_same_for_any_threads("gate_planes_backward", || {
                let mut by_gate = vec![0.0; planes];
                gate_planes_backward(spatial, &x, &g, &mut by_gate);
                by_gate
            });
        }
    }
}
