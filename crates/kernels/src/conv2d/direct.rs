//! Direct convolution: the forward pass and the gradient by the input share one micro-kernel.
//!
//! An image is copied to channels-last memory with a zero border. The window of an output
//! position is then `kernel` rows of contiguous floats, at any stride. A register tile holds
//! `ROWS` positions × two vectors of output channels; each step loads the weights of both vectors
//! and broadcasts one float per position. The gradient by the input is the same over the output
//! gradient, one pass for each phase of the stride.

use rayon::prelude::*;

use super::epilogue::Epilogue;
use super::pack::{Layout, Panels, add_residual};
use super::passes::{Pass, Passes};
use super::shape::Conv2dShape;
use crate::isa::{Isa, Kernel};
use crate::scratch::Scratch;
use crate::simd::Simd;
use crate::sizes;

/// Vectors of output channels in a register tile.
pub(super) const BLOCK: usize = 2;

/// One image and one group.
struct ImageKernel<'a> {
    plan: &'a Plan,
    planes: &'a [f32],
    panels: &'a [f32],
    /// Padded to whole vectors.
    bias: &'a [f32],
    residual: Option<&'a [f32]>,
    relu: bool,
    output: &'a mut [f32],
}

impl Kernel for ImageKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let plan = self.plan;
        let mut packed = Scratch::take(plan.source.len());
        plan.source.pack(simd, self.planes, &mut packed);
        let mut result = Scratch::take(plan.target.len());
        let mut panels = self.panels;
        for pass in &plan.passes {
            let (here, rest) = panels.split_at(pass.depth() * plan.target.border.pitch);
            panels = rest;
            if S::REGISTERS >= 32 {
                self.pass::<S, 8>(simd, pass, here, &packed, &mut result);
            } else {
                self.pass::<S, 4>(simd, pass, here, &packed, &mut result);
            }
        }
        plan.target.unpack(simd, &result, self.output);
        add_residual(self.residual, self.relu, self.output);
    }
}

impl ImageKernel<'_> {
    #[inline(always)]
    fn pass<S: Simd, const ROWS: usize>(
        &self,
        simd: S,
        pass: &Pass,
        panels: &[f32],
        packed: &[f32],
        result: &mut [f32],
    ) {
        let positions = pass.windows.len();
        let (Some(&last), Some(&target)) = (pass.windows.last(), pass.targets.last()) else {
            return;
        };
        let depth = pass.depth();
        // Windows and targets are in ascending order, so the last ones reach furthest.
        assert!(depth == 0 || last + (pass.rows - 1) * pass.row_stride + pass.run <= packed.len());
        let padded = self.plan.target.border.pitch;
        assert!(padded.is_multiple_of(S::LANES) && pass.targets.len() == positions);
        assert!((target + 1) * padded <= result.len() && self.bias.len() >= padded);
        assert_eq!(panels.len(), padded * depth, "panels and pass differ");
        // ReLU after the residual, if there is one.
        let relu = self.relu && self.residual.is_none();
        for channel in (0..padded).step_by(BLOCK * S::LANES) {
            let weights = &panels[channel * depth..];
            for position in (0..positions).step_by(ROWS) {
                // The last tile goes back over positions done before, with the same result.
                let first = position.min(positions.saturating_sub(ROWS));
                let (mut windows, mut targets) = ([0; ROWS], [0; ROWS]);
                for r in 0..ROWS {
                    let position = (first + r).min(positions - 1);
                    windows[r] = pass.windows[position];
                    targets[r] = pass.targets[position] * padded + channel;
                }
                // SAFETY: by the assertions above every window ends inside `packed`, the weights
                // of `WIDTH` vectors follow at `weights`, and targets have `padded` floats.
                unsafe {
                    let bias = self.bias.as_ptr().add(channel);
                    let to = result.as_mut_ptr();
                    if channel + S::LANES < padded {
                        let sums = tile::<S, ROWS, 2>(simd, pass, packed, windows, weights);
                        store(simd, sums, bias, relu, to, targets);
                    } else {
                        let sums = tile::<S, ROWS, 1>(simd, pass, packed, windows, weights);
                        store(simd, sums, bias, relu, to, targets);
                    }
                }
            }
        }
    }
}

/// Adds the bias, applies ReLU and writes a tile.
///
/// # Safety
/// `WIDTH` vectors are readable at `bias` and writable at every target.
#[inline(always)]
unsafe fn store<S: Simd, const ROWS: usize, const WIDTH: usize>(
    simd: S,
    sums: [[S::V; WIDTH]; ROWS],
    bias: *const f32,
    relu: bool,
    to: *mut f32,
    targets: [usize; ROWS],
) {
    for v in 0..WIDTH {
        // SAFETY: the caller's promise.
        unsafe {
            let bias = simd.load(bias.add(v * S::LANES));
            for r in 0..ROWS {
                let mut sum = simd.add(sums[r][v], bias);
                if relu {
                    sum = simd.relu(sum);
                }
                simd.store(to.add(targets[r] + v * S::LANES), sum);
            }
        }
    }
}

/// The micro-kernel: `ROWS` positions × `WIDTH` vectors of output channels.
///
/// # Safety
/// All windows end inside `packed`; `weights` holds the pass's depth times `WIDTH` vectors.
#[inline(always)]
pub(super) unsafe fn tile<S: Simd, const ROWS: usize, const WIDTH: usize>(
    simd: S,
    pass: &Pass,
    packed: &[f32],
    windows: [usize; ROWS],
    weights: &[f32],
) -> [[S::V; WIDTH]; ROWS] {
    let mut sums = [[simd.splat(0.0); WIDTH]; ROWS];
    let mut weights = weights.as_ptr();
    for row in 0..pass.rows {
        // SAFETY: the caller promises that windows and weights are inside their slices.
        unsafe {
            let mut from = [packed.as_ptr(); ROWS];
            for r in 0..ROWS {
                from[r] = from[r].add(windows[r] + row * pass.row_stride);
            }
            for i in 0..pass.run {
                let mut w = [simd.splat(0.0); WIDTH];
                for v in 0..WIDTH {
                    w[v] = simd.load(weights.add(v * S::LANES));
                }
                for r in 0..ROWS {
                    let x = simd.splat(*from[r].add(i));
                    for v in 0..WIDTH {
                        sums[r][v] = simd.mul_add(x, w[v], sums[r][v]);
                    }
                }
                weights = weights.add(WIDTH * S::LANES);
            }
        }
    }
    sums
}

/// Everything the images of one call share.
struct Plan {
    source: Layout,
    target: Layout,
    passes: Vec<Pass>,
    /// Per group: the panels of all passes.
    panels: Scratch,
    group_panels: usize,
    /// Per group, padded to whole vectors.
    bias: Scratch,
    group_bias: usize,
}

/// The forward pass on `isa`; lengths are checked by the caller.
pub(super) fn forward(
    isa: Isa,
    shape: &Conv2dShape,
    input: &[f32],
    weight: &[f32],
    epilogue: Epilogue<'_>,
    output: &mut [f32],
) {
    let (in_group, out_group) = shape.group_channels();
    let kernel = shape.kernel[0] * shape.kernel[1];
    let strides = [in_group * kernel, kernel];
    let dims = [in_group, shape.in_height, shape.in_width];
    let out = [out_group, shape.out_height(), shape.out_width()];
    let passes = Passes::forward(shape, in_group);
    let plan = plan(isa, shape.groups, passes, dims, out, weight, strides, epilogue.bias);
    run(isa, &plan, shape.groups, input, epilogue, output);
}

/// The gradient by the input on `isa`; lengths are checked by the caller.
pub(super) fn input_grad(
    isa: Isa,
    shape: &Conv2dShape,
    weight: &[f32],
    output_grad: &[f32],
    input_grad: &mut [f32],
) {
    let (in_group, out_group) = shape.group_channels();
    let kernel = shape.kernel[0] * shape.kernel[1];
    let strides = [kernel, in_group * kernel];
    let dims = [out_group, shape.out_height(), shape.out_width()];
    let out = [in_group, shape.in_height, shape.in_width];
    let passes = Passes::input_grad(shape, out_group);
    let plan = plan(isa, shape.groups, passes, dims, out, weight, strides, None);
    let epilogue = Epilogue { bias: None, residual: None, relu: false };
    run(isa, &plan, shape.groups, output_grad, epilogue, input_grad);
}

/// Packs weights and bias; `strides` are the distances in the weight of two channels of the result
/// and of two channels that are summed over.
fn plan(
    isa: Isa,
    groups: usize,
    passes: Passes,
    dims: [usize; 3],
    out: [usize; 3],
    weight: &[f32],
    [lane_stride, channel_stride]: [usize; 2],
    bias_values: Option<&[f32]>,
) -> Plan {
    let group_bias = out[0].next_multiple_of(isa.lanes());
    fn layout_of<'a>(
        pass: &'a Pass,
        [lanes, lane_stride]: [usize; 2],
        [channels, channel_stride]: [usize; 2],
    ) -> Panels<'a> {
        Panels { lanes, lane_stride, channels, channel_stride, taps: &pass.taps }
    }
    let (lanes, summed) = ([out[0], lane_stride], [dims[0], channel_stride]);
    let group_panels =
        (passes.passes.iter()).map(|pass| layout_of(pass, lanes, summed).len(isa.lanes())).sum();
    let mut panels = Scratch::take(sizes::elements([group_panels, groups]));
    let mut bias = Scratch::take(sizes::elements([group_bias, groups]));
    bias.fill(0.0);
    let group_weights = weight.len() / groups;
    let mut rest = &mut panels[..];
    for group in 0..groups {
        for pass in &passes.passes {
            let layout = layout_of(pass, lanes, summed);
            let here;
            (here, rest) = rest.split_at_mut(layout.len(isa.lanes()));
            layout.pack(isa.lanes(), BLOCK, &weight[group * group_weights..], here);
        }
        if let Some(values) = bias_values {
            let values = &values[group * out[0]..][..out[0]];
            bias[group * group_bias..][..out[0]].copy_from_slice(values);
        }
    }
    Plan {
        source: Layout::new(dims, passes.border),
        target: Layout::plain(out, group_bias),
        passes: passes.passes,
        panels,
        group_panels,
        bias,
        group_bias,
    }
}

/// Runs a plan over all images.
fn run(
    isa: Isa,
    plan: &Plan,
    groups: usize,
    source: &[f32],
    epilogue: Epilogue<'_>,
    output: &mut [f32],
) {
    let group_in = plan.source.dims.iter().product::<usize>();
    let group_out = plan.target.dims.iter().product::<usize>();
    output.par_chunks_mut(group_out * groups).enumerate().for_each(|(image, output)| {
        for (group, output) in output.chunks_mut(group_out).enumerate() {
            let part = image * groups + group;
            isa.run(ImageKernel {
                plan,
                planes: &source[part * group_in..][..group_in],
                panels: &plan.panels[group * plan.group_panels..][..plan.group_panels],
                bias: &plan.bias[group * plan.group_bias..][..plan.group_bias],
                residual: epilogue.residual.map(|r| &r[part * group_out..][..group_out]),
                relu: epilogue.relu,
                output,
            });
        }
    });
}
