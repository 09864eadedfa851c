//! Winograd's F(4 × 4, 3 × 3): a 4 × 4 tile of the output from 36 products instead of 144.
//!
//! ```text
//! Y = A' [ (G w G') * (B' d B) ] A          d: 6 × 6 input tile, w: 3 × 3 kernel, Y: 4 × 4 output
//! ```
//! The products of all tiles and channels are 36 matrix products. The interpolation points are 0,
//! ±√½, ±√2 and infinity, which make half the rounding error of the usual 0, ±1, ±2 and a quarter
//! of its maximum (measured, see TUNING.md). Everything has channels in its lanes, so the transforms are plain
//! vector arithmetic on the channels-last copy of the image.
//!
//! The gradient by the input is the same with the kernel turned and the channels swapped.

mod transform;
pub(super) mod weight_grad;

use rayon::prelude::*;

use super::direct::{BLOCK, tile};
use super::epilogue::Epilogue;
use super::pack::{Border, Layout, Panels, add_residual};
use super::passes::Pass;
use super::shape::Conv2dShape;
use crate::isa::{Isa, Kernel};
use crate::parallel::SharedMut;
use crate::scratch::Scratch;
use crate::simd::Simd;
use crate::sizes;
use transform::{POINTS, input_tile, output_tile, weight_tile};

/// Rows and columns of an output tile.
pub(super) const TILE: usize = 4;

/// Output tiles handled together: enough rows for the matrix products to reuse the weights, few
/// enough that the transformed tiles stay in the second-level cache up to 256 channels.
const TILES: usize = 16;

/// Work of transforming a tile, in multiply-adds per input or output channel; measured, see
/// TUNING.md.
const TRANSFORM_COST: usize = 370;

/// Whether this path is made for the convolution and takes less work than the direct one.
pub(super) fn is_cheaper(shape: &Conv2dShape) -> bool {
    let fits = shape.kernel == [3, 3]
        && shape.stride == [1, 1]
        && shape.groups == 1
        && shape.padding.iter().all(|&padding| padding <= 2);
    if !fits {
        return false;
    }
    let (inputs, outputs) = (shape.in_channels, shape.out_channels);
    let (height, width) = (shape.out_height(), shape.out_width());
    let tiles = [height, width].map(|size| size.div_ceil(TILE));
    // The work of a convolution that fits into memory may not fit into a `usize`.
    let [height, width, inputs, outputs, down, across] =
        [height, width, inputs, outputs, tiles[0], tiles[1]].map(|n| n as f64);
    let direct = 9.0 * height * width * inputs * outputs;
    let (points, transform) = (POINTS as f64, TRANSFORM_COST as f64);
    down * across * (points * inputs * outputs + transform * (inputs + outputs)) < direct
}

/// One stride-1 convolution as this file computes it: the forward pass or the input gradient.
struct Plan {
    /// The channels-last copy of an image, with a border that makes whole tiles.
    source: Layout,
    /// The channels-last result.
    target: Layout,
    /// Tiles of an image, down and across.
    tiles: [usize; 2],
}

impl Plan {
    fn new(isa: Isa, dims: [usize; 3], out: [usize; 3], padding: [usize; 2]) -> Self {
        let tiles = [out[1].div_ceil(TILE), out[2].div_ceil(TILE)];
        let border = Border {
            top: padding[0],
            left: padding[1],
            rows: TILE * tiles[0] + 2,
            columns: TILE * tiles[1] + 2,
            pitch: dims[0].next_multiple_of(isa.lanes()),
        };
        let target = Layout::plain(out, out[0].next_multiple_of(isa.lanes()));
        Self { source: Layout::new(dims, border), target, tiles }
    }

    fn image_tiles(&self) -> usize {
        self.tiles[0] * self.tiles[1]
    }
}

/// Floats from one point's matrix to the next: an odd number of cache lines, since at a multiple
/// of 4096 bytes all 36 would fall into the same few lines of the first-level cache.
pub(super) fn point_stride(rows: usize, pitch: usize) -> usize {
    let lines = sizes::elements([rows, pitch]).div_ceil(16);
    sizes::elements([lines | 1, 16])
}

/// A few images.
struct ImagesKernel<'a> {
    plan: &'a Plan,
    input: &'a [f32],
    /// `[point][block][channel][lane]`
    weights: &'a [f32],
    /// Padded to whole vectors.
    bias: &'a [f32],
    residual: Option<&'a [f32]>,
    relu: bool,
    output: &'a mut [f32],
}

impl Kernel for ImagesKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let plan = self.plan;
        let [channels, height, width] = plan.source.dims;
        let pitch = plan.source.border.pitch;
        let padded = plan.target.border.pitch;
        assert!(pitch.is_multiple_of(S::LANES) && padded.is_multiple_of(S::LANES));
        assert_eq!(self.weights.len(), POINTS * channels * padded, "weights and shape differ");
        assert_eq!(self.bias.len(), padded, "bias and shape differ");
        let image_len = channels * height * width;
        let images = self.input.len() / image_len;
        let mut packed = Scratch::take(sizes::elements([images, plan.source.len()]));
        let copies = packed.chunks_mut(plan.source.len());
        for (planes, packed) in self.input.chunks(image_len).zip(copies) {
            plan.source.pack(simd, planes, packed);
        }
        let mut result = Scratch::take(sizes::elements([images, plan.target.len()]));
        let tiles = images * plan.image_tiles();
        let rows = TILES.min(tiles);
        let mut transformed = Scratch::take(sizes::elements([POINTS, point_stride(rows, pitch)]));
        let mut products = Scratch::take(sizes::elements([POINTS, point_stride(rows, padded)]));
        for start in (0..tiles).step_by(TILES) {
            let count = TILES.min(tiles - start);
            for row in 0..count {
                self.transform(simd, start + row, rows, row, &packed, &mut transformed);
            }
            for point in 0..POINTS {
                if S::REGISTERS >= 32 {
                    self.multiply::<S, 8>(simd, point, rows, count, &transformed, &mut products);
                } else {
                    self.multiply::<S, 4>(simd, point, rows, count, &transformed, &mut products);
                }
            }
            for row in 0..count {
                self.store(simd, start + row, rows, row, &products, &mut result);
            }
        }
        let results = result.chunks(plan.target.len());
        let image_len = self.output.len() / images;
        for (packed, planes) in results.zip(self.output.chunks_mut(image_len)) {
            plan.target.unpack(simd, packed, planes);
        }
        add_residual(self.residual, self.relu, self.output);
    }
}

impl ImagesKernel<'_> {
    /// The image, row and column of a tile.
    #[inline(always)]
    fn place(&self, tile: usize) -> [usize; 3] {
        let within = tile % self.plan.image_tiles();
        let [_, across] = self.plan.tiles;
        [tile / self.plan.image_tiles(), within / across * TILE, within % across * TILE]
    }

    /// `B' d B` of one tile, all channels, to row `row` of the 36 matrices.
    #[inline(always)]
    fn transform<S: Simd>(
        &self,
        simd: S,
        tile: usize,
        rows: usize,
        row: usize,
        packed: &[f32],
        to: &mut [f32],
    ) {
        let border = &self.plan.source.border;
        let [image, y, x] = self.place(tile);
        let from = image * self.plan.source.len() + (y * border.columns + x) * border.pitch;
        let row_stride = border.columns * border.pitch;
        assert!(from + 5 * row_stride + 6 * border.pitch <= packed.len());
        let stride = point_stride(rows, border.pitch);
        assert!(row < rows && to.len() == POINTS * stride);
        for channel in (0..border.pitch).step_by(S::LANES) {
            // SAFETY: the 6 × 6 positions lie inside the copy and the 36 targets inside `to`, by
            // the two assertions; the pitch is whole vectors, asserted in `run`.
            unsafe {
                let from = packed.as_ptr().add(from + channel);
                let to = to.as_mut_ptr().add(row * border.pitch + channel);
                input_tile(simd, from, row_stride, border.pitch, to, stride);
            }
        }
    }

    /// One of the 36 matrix products: tiles × channels times channels × output channels.
    #[inline(always)]
    fn multiply<S: Simd, const ROWS: usize>(
        &self,
        simd: S,
        point: usize,
        rows: usize,
        count: usize,
        transformed: &[f32],
        products: &mut [f32],
    ) {
        let plan = self.plan;
        let channels = plan.source.dims[0];
        let pitch = plan.source.border.pitch;
        let padded = plan.target.border.pitch;
        let source = &transformed[point * point_stride(rows, pitch)..][..rows * pitch];
        let target = &mut products[point * point_stride(rows, padded)..][..rows * padded];
        let weights = &self.weights[point * channels * padded..][..channels * padded];
        assert!(count > 0 && count <= rows && channels <= pitch);
        let pass = Pass::row(channels);
        for channel in (0..padded).step_by(BLOCK * S::LANES) {
            let weights = &weights[channel * channels..];
            let mut row = 0;
            while row < count {
                let first = row.min(count.saturating_sub(ROWS));
                let mut windows = [0; ROWS];
                for r in 0..ROWS {
                    windows[r] = (first + r).min(count - 1) * pitch;
                }
                // SAFETY: windows start at rows below `count` and have `channels <= pitch`
                // floats; `weights` has the panel of this block; the target rows are below
                // `count` and their vectors end at `padded`.
                unsafe {
                    let to = target.as_mut_ptr().add(channel);
                    if channel + S::LANES < padded {
                        let sums = tile::<S, ROWS, 2>(simd, &pass, source, windows, weights);
                        for r in 0..ROWS {
                            let to = to.add((first + r).min(count - 1) * padded);
                            simd.store(to, sums[r][0]);
                            simd.store(to.add(S::LANES), sums[r][1]);
                        }
                    } else {
                        let sums = tile::<S, ROWS, 1>(simd, &pass, source, windows, weights);
                        for r in 0..ROWS {
                            simd.store(to.add((first + r).min(count - 1) * padded), sums[r][0]);
                        }
                    }
                }
                row += ROWS;
            }
        }
    }

    /// `A' m A` of one tile, all output channels, with bias and ReLU, to the result.
    #[inline(always)]
    fn store<S: Simd>(
        &self,
        simd: S,
        tile: usize,
        rows: usize,
        row: usize,
        products: &[f32],
        result: &mut [f32],
    ) {
        let [_, height, width] = self.plan.target.dims;
        let padded = self.plan.target.border.pitch;
        let [image, y, x] = self.place(tile);
        let stride = point_stride(rows, padded);
        assert!(row < rows && products.len() == POINTS * stride && self.bias.len() == padded);
        assert!(result.len() >= (image + 1) * height * width * padded && y < height && x < width);
        let corner = (image * height + y) * width + x;
        let (down, across) = (TILE.min(height - y), TILE.min(width - x));
        // ReLU after the residual, if there is one.
        let relu = self.relu && self.residual.is_none();
        for channel in (0..padded).step_by(S::LANES) {
            // SAFETY: row and channel lie inside the 36 matrices, `down` rows and `across` columns
            // of the tile inside the image, by the assertions above; `padded` is whole vectors,
            // asserted in `run`.
            unsafe {
                let tile = output_tile(simd, products.as_ptr().add(row * padded + channel), stride);
                let bias = simd.load(self.bias.as_ptr().add(channel));
                let to = result.as_mut_ptr().add(corner * padded + channel);
                for i in 0..TILE {
                    for j in 0..TILE {
                        let mut sum = simd.add(tile[i][j], bias);
                        if relu {
                            sum = simd.relu(sum);
                        }
                        if i < down && j < across {
                            simd.store(to.add((i * width + j) * padded), sum);
                        }
                    }
                }
            }
        }
    }
}

/// Transforms the weights of one block of output channels.
struct WeightsKernel<'a> {
    /// `[tap][channel][lane]`
    panel: &'a [f32],
    channels: usize,
    width: usize,
    /// Where the block starts in a point's weights.
    start: usize,
    /// Floats of a point's weights.
    stride: usize,
    weights: SharedMut<'a>,
}

impl Kernel for WeightsKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let len = self.channels * self.width;
        assert!(self.panel.len() == 9 * len && self.width.is_multiple_of(S::LANES));
        // SAFETY: this block's floats of every point are this task's alone.
        let targets: [*mut f32; POINTS] = std::array::from_fn(|point| unsafe {
            self.weights.part(point * self.stride + self.start, len).as_mut_ptr()
        });
        for at in (0..len).step_by(S::LANES) {
            // SAFETY: `at + LANES <= len` since `len` is whole vectors; taps are `len` apart.
            unsafe { weight_tile(simd, self.panel.as_ptr().add(at), len, targets, at) };
        }
    }
}

/// `G w G'` of all kernels, as panels for every point.
fn transform_weights(isa: Isa, layout: &Panels<'_>, weight: &[f32]) -> Scratch {
    let lanes = isa.lanes();
    let padded = layout.lanes.next_multiple_of(lanes);
    let mut panels = Scratch::take(layout.len(lanes));
    layout.pack(lanes, BLOCK, weight, &mut panels);
    let stride = layout.channels * padded;
    let mut weights = Scratch::take(sizes::elements([POINTS, stride]));
    let shared = SharedMut::new(&mut weights);
    let depth = layout.depth();
    let block = BLOCK * lanes;
    panels.par_chunks(block * depth).enumerate().for_each(|(index, panel)| {
        isa.run(WeightsKernel {
            panel,
            channels: layout.channels,
            width: panel.len() / depth,
            start: index * block * layout.channels,
            stride,
            weights: shared,
        });
    });
    weights
}

/// The forward pass on `isa`, for shapes that [fit](is_cheaper).
pub(super) fn forward(
    isa: Isa,
    shape: &Conv2dShape,
    input: &[f32],
    weight: &[f32],
    epilogue: Epilogue<'_>,
    output: &mut [f32],
) {
    let (inputs, outputs) = (shape.in_channels, shape.out_channels);
    let taps: [usize; 9] = std::array::from_fn(|tap| tap);
    let layout = Panels {
        lanes: outputs,
        lane_stride: inputs * 9,
        channels: inputs,
        channel_stride: 9,
        taps: &taps,
    };
    let plan = Plan::new(
        isa,
        [inputs, shape.in_height, shape.in_width],
        [outputs, shape.out_height(), shape.out_width()],
        shape.padding,
    );
    run(isa, &plan, &transform_weights(isa, &layout, weight), input, epilogue, output);
}

/// The gradient by the input on `isa`, for shapes that [fit](is_cheaper).
pub(super) fn input_grad(
    isa: Isa,
    shape: &Conv2dShape,
    weight: &[f32],
    output_grad: &[f32],
    input_grad: &mut [f32],
) {
    let (inputs, outputs) = (shape.in_channels, shape.out_channels);
    let taps: [usize; 9] = std::array::from_fn(|tap| 8 - tap);
    let layout = Panels {
        lanes: inputs,
        lane_stride: 9,
        channels: outputs,
        channel_stride: inputs * 9,
        taps: &taps,
    };
    let plan = Plan::new(
        isa,
        [outputs, shape.out_height(), shape.out_width()],
        [inputs, shape.in_height, shape.in_width],
        shape.padding.map(|padding| 2 - padding),
    );
    let epilogue = Epilogue { bias: None, residual: None, relu: false };
    let weights = transform_weights(isa, &layout, weight);
    run(isa, &plan, &weights, output_grad, epilogue, input_grad);
}

fn run(
    isa: Isa,
    plan: &Plan,
    weights: &[f32],
    input: &[f32],
    epilogue: Epilogue<'_>,
    output: &mut [f32],
) {
    let image_in = plan.source.dims.iter().product::<usize>();
    let image_out = plan.target.dims.iter().product::<usize>();
    let mut bias = Scratch::take(plan.target.border.pitch);
    bias.fill(0.0);
    if let Some(values) = epilogue.bias {
        bias[..values.len()].copy_from_slice(values);
    }
    let bias = &bias[..];
    let images = TILES.div_ceil(plan.image_tiles());
    let tasks = output.par_chunks_mut(images * image_out).zip(input.par_chunks(images * image_in));
    tasks.enumerate().for_each(|(task, (output, input))| {
        let start = task * images * image_out;
        isa.run(ImagesKernel {
            plan,
            input,
            weights,
            bias,
            residual: epilogue.residual.map(|residual| &residual[start..][..output.len()]),
            relu: epilogue.relu,
            output,
        });
    });
}
