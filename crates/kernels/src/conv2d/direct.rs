//! Direct convolution: the forward pass and the gradient by the input share one micro-kernel.
//!
//! An image is copied to channels-last memory with a zero border. The window of an output
//! position is then `kernel` rows of contiguous floats, at any stride. A register tile holds
//! `ROWS` positions × two vectors of output channels; each step loads the weights of both vectors
//! and broadcasts one float per position. The gradient by the input at stride `s` falls into
//! `s × s` phases of input positions; each is a stride-1 convolution of the output gradient with
//! the taps of that phase, turned.

use rayon::prelude::*;

use super::pack::{Border, Panels, channels_last};
use super::{Conv2dShape, Epilogue};
use crate::isa::{Isa, Kernel};
use crate::scratch::Scratch;
use crate::simd::Simd;

/// Vectors of output channels in a register tile.
pub(super) const BLOCK: usize = 2;

/// A convolution of the packed image for one set of output positions.
struct Pass {
    /// Rows of the window.
    rows: usize,
    /// Floats from one row of the window to the next.
    row_stride: usize,
    /// Floats of one row of the window.
    run: usize,
    /// Where the window of every position starts.
    windows: Vec<usize>,
    /// Where every position goes in its output plane; `None` when position `p` goes to `p`.
    targets: Option<Vec<usize>>,
    /// Where this pass's weights start in a group's panels.
    panels: usize,
}

/// One image and one group.
struct ImageKernel<'a> {
    planes: &'a [f32],
    dims: [usize; 3],
    border: Border,
    passes: &'a [Pass],
    panels: &'a [f32],
    /// Padded to whole vectors.
    bias: &'a [f32],
    residual: Option<&'a [f32]>,
    relu: bool,
    /// `channels × plane`
    output: &'a mut [f32],
    channels: usize,
}

impl Kernel for ImageKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let mut packed = Scratch::take(self.border.len());
        channels_last(simd, self.planes, self.dims, &self.border, &mut packed);
        for pass in self.passes {
            if S::REGISTERS >= 32 {
                self.pass::<S, 8>(simd, pass, &packed);
            } else {
                self.pass::<S, 4>(simd, pass, &packed);
            }
        }
    }
}

impl ImageKernel<'_> {
    #[inline(always)]
    fn pass<S: Simd, const ROWS: usize>(&mut self, simd: S, pass: &Pass, packed: &[f32]) {
        let positions = pass.windows.len();
        let Some(&last) = pass.windows.last() else { return };
        let depth = pass.rows * pass.run;
        if depth > 0 {
            // Windows are in ascending order, so the last one reaches furthest.
            assert!(last + (pass.rows - 1) * pass.row_stride + pass.run <= packed.len());
        }
        let padded = self.channels.next_multiple_of(S::LANES);
        assert!(self.panels.len() >= pass.panels + padded * depth && self.bias.len() >= padded);
        for channel in (0..padded).step_by(BLOCK * S::LANES) {
            let weights = &self.panels[pass.panels + channel * depth..];
            let mut position = 0;
            while position < positions {
                // The last tile goes back over positions done before, with the same result.
                let first = position.min(positions.saturating_sub(ROWS));
                let windows: [usize; ROWS] =
                    std::array::from_fn(|r| pass.windows[(first + r).min(positions - 1)]);
                let count = ROWS.min(positions);
                // SAFETY: the assertions above: every window ends inside `packed`, and the
                // weights of `width` vectors follow at `weights`.
                unsafe {
                    if channel + S::LANES < padded {
                        let sums = tile::<S, ROWS, 2>(simd, pass, packed, windows, weights);
                        self.store(simd, pass, sums, channel, first, count);
                    } else {
                        let sums = tile::<S, ROWS, 1>(simd, pass, packed, windows, weights);
                        self.store(simd, pass, sums, channel, first, count);
                    }
                }
                position += ROWS;
            }
        }
    }

    /// Writes a tile to the planes.
    ///
    /// The vectors are taken out with constant indices: were one indexed by a variable, the
    /// compiler would keep the sums of the micro-kernel in memory.
    #[inline(always)]
    fn store<S: Simd, const ROWS: usize, const WIDTH: usize>(
        &mut self,
        simd: S,
        pass: &Pass,
        sums: [[S::V; WIDTH]; ROWS],
        channel: usize,
        first: usize,
        count: usize,
    ) {
        const { assert!(WIDTH == 1 || WIDTH == 2) };
        self.store_vector(simd, pass, sums.map(|sums| sums[0]), channel, first, count);
        if WIDTH == 2 {
            let channel = channel + S::LANES;
            self.store_vector(simd, pass, sums.map(|sums| sums[1 % WIDTH]), channel, first, count);
        }
    }

    /// Adds bias and residual, applies ReLU and writes one vector of channels.
    #[inline(always)]
    fn store_vector<S: Simd, const ROWS: usize>(
        &mut self,
        simd: S,
        pass: &Pass,
        sums: [S::V; ROWS],
        channel: usize,
        first: usize,
        count: usize,
    ) {
        const { assert!(ROWS == 4 || ROWS == 8) };
        let plane = self.output.len() / self.channels;
        // SAFETY: `bias` is padded to whole vectors, asserted in `pass`.
        let bias = unsafe { simd.load(self.bias.as_ptr().add(channel)) };
        let sums = sums.map(|sum| simd.add(sum, bias));
        if channel + S::LANES <= self.channels && count == ROWS && pass.targets.is_none() {
            assert!(first + ROWS <= plane);
            let at = channel * plane + first;
            // SAFETY: `channel + LANES <= channels` and `first + ROWS <= plane`.
            unsafe {
                self.store_quad(simd, std::array::from_fn(|i| sums[i]), at, plane);
                if ROWS == 8 {
                    let quad = std::array::from_fn(|i| sums[(4 + i) % ROWS]);
                    self.store_quad(simd, quad, at + 4, plane);
                }
            }
            return;
        }
        let mut lanes = [[0.0; 16]; ROWS];
        for r in 0..ROWS {
            // SAFETY: a vector has at most 16 lanes.
            unsafe { simd.store(lanes[r].as_mut_ptr(), sums[r]) };
        }
        for r in 0..count {
            let target = match &pass.targets {
                Some(targets) => targets[first + r],
                None => first + r,
            };
            for lane in 0..S::LANES.min(self.channels - channel) {
                let at = (channel + lane) * plane + target;
                let mut sum = lanes[r][lane];
                if let Some(residual) = self.residual {
                    sum += residual[at];
                }
                if self.relu && sum < 0.0 {
                    sum = 0.0;
                }
                self.output[at] = sum;
            }
        }
    }

    /// Adds the residual, applies ReLU and writes four neighbouring positions.
    ///
    /// # Safety
    /// `at + lane * plane + 3` is inside the output for every lane.
    #[inline(always)]
    unsafe fn store_quad<S: Simd>(
        &mut self,
        simd: S,
        mut columns: [S::V; 4],
        at: usize,
        plane: usize,
    ) {
        // SAFETY: the caller's promise; the residual is as long as the output, which `forward_on`
        // checked.
        unsafe {
            if let Some(residual) = self.residual {
                let add = simd.load_columns4(residual.as_ptr().add(at), plane);
                columns = std::array::from_fn(|i| simd.add(columns[i], add[i]));
            }
            if self.relu {
                columns = columns.map(|column| simd.relu(column));
            }
            simd.store_columns4(self.output.as_mut_ptr().add(at), plane, columns);
        }
    }
}

/// The micro-kernel: `ROWS` positions × `WIDTH` vectors of output channels.
///
/// # Safety
/// All windows end inside `packed`; `weights` holds the pass's depth times `WIDTH` vectors.
#[inline(always)]
unsafe fn tile<S: Simd, const ROWS: usize, const WIDTH: usize>(
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
            let from = windows.map(|window| packed.as_ptr().add(window + row * pass.row_stride));
            for i in 0..pass.run {
                let w: [S::V; WIDTH] =
                    std::array::from_fn(|v| simd.load(weights.add(v * S::LANES)));
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
    border: Border,
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
    let (in_group, out_group) =
        (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
    let [kernel_rows, kernel_columns] = shape.kernel;
    let border = Border {
        top: shape.padding[0],
        left: shape.padding[1],
        rows: shape.in_height + 2 * shape.padding[0],
        columns: shape.in_width + 2 * shape.padding[1],
        pitch: in_group,
    };
    let (height, width) = (shape.out_height(), shape.out_width());
    let window = |p: usize, q: usize| {
        (p * shape.stride[0] * border.columns + q * shape.stride[1]) * in_group
    };
    let taps: Vec<usize> = (0..kernel_rows * kernel_columns).collect();
    let layout = Panels {
        lanes: out_group,
        lane_stride: in_group * taps.len(),
        channels: in_group,
        channel_stride: taps.len(),
        taps: &taps,
    };
    let pass = Pass {
        rows: kernel_rows,
        row_stride: border.columns * in_group,
        run: kernel_columns * in_group,
        windows: (0..height * width).map(|p| window(p / width, p % width)).collect(),
        targets: None,
        panels: 0,
    };
    let group_panels = layout.len(isa.lanes());
    let mut panels = Scratch::take(group_panels * shape.groups);
    let group_bias = out_group.next_multiple_of(isa.lanes());
    let mut bias = Scratch::take(group_bias * shape.groups);
    bias.fill(0.0);
    for group in 0..shape.groups {
        let weight = &weight[group * out_group * layout.lane_stride..];
        let target = &mut panels[group * group_panels..][..group_panels];
        layout.pack(isa.lanes(), BLOCK, weight, target);
        if let Some(values) = epilogue.bias {
            let target = &mut bias[group * group_bias..][..out_group];
            target.copy_from_slice(&values[group * out_group..][..out_group]);
        }
    }
    let plan = Plan { border, passes: vec![pass], panels, group_panels, bias, group_bias };
    let dims = [in_group, shape.in_height, shape.in_width];
    run(isa, &plan, shape.groups, dims, input, epilogue, [out_group, height * width], output);
}

/// The taps, in ascending order of the output position they meet, and the input positions of one
/// phase of one axis.
struct Phase {
    /// Kernel indices, descending.
    taps: Vec<usize>,
    /// Input positions, and for each the output position of its first tap (may lie outside).
    positions: Vec<(usize, isize)>,
}

fn phases(input: usize, kernel: usize, stride: usize, padding: usize) -> Vec<Phase> {
    let phase = |phase: usize| {
        let taps: Vec<usize> = (phase..kernel).step_by(stride).rev().collect();
        let positions = (0..input).filter(|i| (i + padding) % stride == phase);
        let positions = positions
            .map(|i| (i, ((i + padding - phase) / stride) as isize - (taps.len() as isize - 1)));
        Phase { positions: positions.collect(), taps }
    };
    (0..stride).map(phase).collect()
}

/// Zeros needed before and after an axis of `output` positions for all `phases` of it.
fn margins(phases: &[Phase], output: usize) -> (usize, usize) {
    let used = phases.iter().filter(|phase| !phase.taps.is_empty());
    used.fold((0, 0), |(before, after), phase| {
        let first = phase.positions.first().map_or(0, |p| p.1);
        let end = phase.positions.last().map_or(0, |p| p.1 + phase.taps.len() as isize);
        let behind = (end - output as isize).max(0) as usize;
        (before.max((-first).max(0) as usize), after.max(behind))
    })
}

/// The gradient by the input on `isa`; lengths are checked by the caller.
pub(super) fn input_grad(
    isa: Isa,
    shape: &Conv2dShape,
    weight: &[f32],
    output_grad: &[f32],
    input_grad: &mut [f32],
) {
    let (in_group, out_group) =
        (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
    let [kernel_rows, kernel_columns] = shape.kernel;
    let (height, width) = (shape.out_height(), shape.out_width());
    let row_phases = phases(shape.in_height, kernel_rows, shape.stride[0], shape.padding[0]);
    let column_phases = phases(shape.in_width, kernel_columns, shape.stride[1], shape.padding[1]);
    let (top, bottom) = margins(&row_phases, height);
    let (left, right) = margins(&column_phases, width);
    let border = Border {
        top,
        left,
        rows: height + top + bottom,
        columns: width + left + right,
        pitch: out_group,
    };
    let row_stride = border.columns * out_group;
    let dense = shape.stride == [1, 1];
    let mut passes = Vec::new();
    let mut tap_lists = Vec::new();
    let mut group_panels = 0;
    for rows in &row_phases {
        for columns in &column_phases {
            let empty = rows.taps.is_empty() || columns.taps.is_empty();
            let taps: Vec<usize> = (rows.taps.iter())
                .flat_map(|&i| columns.taps.iter().map(move |&j| i * kernel_columns + j))
                .collect();
            let positions = (rows.positions.iter())
                .flat_map(|&row| columns.positions.iter().map(move |&column| (row, column)));
            let (mut windows, mut targets) = (Vec::new(), Vec::new());
            for ((y, p), (x, q)) in positions {
                targets.push(y * shape.in_width + x);
                // With no taps nothing is read, and `p` may lie anywhere.
                let (p, q) = (p + top as isize, q + left as isize);
                let window = p as usize * row_stride + q as usize * out_group;
                windows.push(if empty { 0 } else { window });
            }
            passes.push(Pass {
                rows: if empty { 0 } else { rows.taps.len() },
                row_stride,
                run: columns.taps.len() * out_group,
                windows,
                targets: (!dense).then_some(targets),
                panels: group_panels,
            });
            group_panels += taps.len() * out_group * in_group.next_multiple_of(isa.lanes());
            tap_lists.push(taps);
        }
    }
    let mut panels = Scratch::take(group_panels * shape.groups);
    let kernel = kernel_rows * kernel_columns;
    for group in 0..shape.groups {
        for (pass, taps) in passes.iter().zip(&tap_lists) {
            let layout = Panels {
                lanes: in_group,
                lane_stride: kernel,
                channels: out_group,
                channel_stride: in_group * kernel,
                taps,
            };
            let weight = &weight[group * out_group * in_group * kernel..];
            let start = group * group_panels + pass.panels;
            let target = &mut panels[start..][..layout.len(isa.lanes())];
            layout.pack(isa.lanes(), BLOCK, weight, target);
        }
    }
    let group_bias = in_group.next_multiple_of(isa.lanes());
    let mut bias = Scratch::take(group_bias * shape.groups);
    bias.fill(0.0);
    let plan = Plan { border, passes, panels, group_panels, bias, group_bias };
    let epilogue = Epilogue { bias: None, residual: None, relu: false };
    let out = [in_group, shape.in_height * shape.in_width];
    run(
        isa,
        &plan,
        shape.groups,
        [out_group, height, width],
        output_grad,
        epilogue,
        out,
        input_grad,
    );
}

/// Runs a plan over all images; `out` is the channels of a group and the plane they are written to.
fn run(
    isa: Isa,
    plan: &Plan,
    groups: usize,
    dims: [usize; 3],
    source: &[f32],
    epilogue: Epilogue<'_>,
    out: [usize; 2],
    output: &mut [f32],
) {
    let group_in = dims.iter().product::<usize>();
    let group_out = out[0] * out[1];
    output.par_chunks_mut(group_out * groups).enumerate().for_each(|(image, output)| {
        for (group, output) in output.chunks_mut(group_out).enumerate() {
            let part = image * groups + group;
            isa.run(ImageKernel {
                planes: &source[part * group_in..][..group_in],
                dims,
                border: plan.border,
                passes: &plan.passes,
                panels: &plan.panels[group * plan.group_panels..][..plan.group_panels],
                bias: &plan.bias[group * plan.group_bias..][..plan.group_bias],
                residual: epilogue.residual.map(|r| &r[part * group_out..][..group_out]),
                relu: epilogue.relu,
                output,
                channels: out[0],
            });
        }
    });
}
