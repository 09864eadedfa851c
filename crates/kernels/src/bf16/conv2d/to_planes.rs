//! A convolution from maps to planes of `f32`.

use rayon::prelude::*;

use super::packed_weights::PackedWeights;
use crate::bf16::engine::Engine;
use crate::bf16::maps::{CHANNELS, IMAGES, Maps};
use crate::bf16::products::{Products, Quad, SUMS, TileKernel};
use crate::parallel::SharedMut;
use crate::scratch::Scratch;
use crate::simd::Simd;
use crate::sizes;

/// Sums of a position: 32 channels of 16 images.
const POSITION: usize = 2 * SUMS;

pub(in crate::bf16) fn conv2d_on(
    engine: Engine,
    weights: &PackedWeights,
    source: &Maps,
    residual: Option<&[f32]>,
    relu: bool,
    target: &mut [f32],
) {
    weights.check_source(source);
    let sizes = weights.target_sizes(source.sizes()[0]);
    let want = sizes::elements(sizes);
    for (name, len) in [("target", target.len()), ("residual", residual.map_or(want, <[_]>::len))] {
        assert!(len == want, "the {name} has {len} values, the result {sizes:?} has {want}");
    }
    if want == 0 {
        return;
    }
    let height = sizes[2];
    let target = SharedMut::new(target);
    let rows = weights.task_rows();
    let parts = height.div_ceil(rows);
    (0..source.blocks() * parts).into_par_iter().for_each(|task| {
        let (block, first) = (task / parts, task % parts * rows);
        let images = source.images(block);
        let task = Task {
            weights,
            source: source.block(block),
            residual,
            relu,
            images,
            image: block * IMAGES,
            rows: first..height.min(first + rows),
            target,
        };
        engine.run(images, task);
    });
}

struct Task<'a> {
    weights: &'a PackedWeights,
    /// The block.
    source: &'a [u16],
    /// All planes.
    residual: Option<&'a [f32]>,
    relu: bool,
    images: usize,
    /// The block's first.
    image: usize,
    rows: std::ops::Range<usize>,
    target: SharedMut<'a>,
}

impl TileKernel for Task<'_> {
    #[inline(always)]
    fn run<P: Products>(self, products: P) {
        let (weights, geometry) = (self.weights, &self.weights.geometry);
        let width = geometry.target[1];
        let count = self.rows.len() * width;
        let panels = weights.panels.values();
        assert!(panels.len() == weights.blocks() * weights.panels.block);
        let mut steps = Vec::new();
        let mut ends = Vec::new();
        for row in self.rows.clone() {
            for pair in &geometry.pairs {
                weights.steps(&geometry.rows[row], pair, &mut steps);
                ends.push(steps.len());
            }
        }
        // A place more, for the second column of a pair that has one only.
        let mut sums = Scratch::take((count + 1) * POSITION);
        let places = sums.as_mut_ptr();
        for block in 0..weights.blocks() {
            let halves = weights.halves(block);
            let mut start = 0;
            let mut ends = ends.iter();
            for row in 0..self.rows.len() {
                for pair in &geometry.pairs {
                    let end = *ends.next().expect("an end for each row and pair");
                    let mut targets = [places; 2];
                    for (which, column) in pair.columns.into_iter().enumerate() {
                        let position = column.map_or(count, |column| row * width + column);
                        assert!(position <= count);
                        // SAFETY: there are `count + 1` positions.
                        targets[which] = unsafe { places.add(position * POSITION) };
                    }
                    let quad = Quad {
                        steps: &steps[start..end],
                        left: self.source.as_ptr(),
                        right: panels[block * weights.panels.block..].as_ptr(),
                        targets,
                        rows: self.images,
                        halves,
                        adds: false,
                    };
                    // SAFETY: the geometry's positions lie inside the source, whose sizes were
                    // checked, or are the block's tile of zeros; the panels hold all taps; each
                    // target has two tiles.
                    unsafe { products.quad(quad) };
                    start = end;
                }
            }
            self.write::<P>(products, &sums, block, count);
        }
    }
}

impl Task<'_> {
    /// Writes 32 channels of all images.
    #[inline(always)]
    fn write<P: Products>(&self, products: P, sums: &[f32], block: usize, count: usize) {
        let [height, width] = self.weights.geometry.target;
        let (lanes, plane) = (P::Vectors::LANES, height * width);
        let channels = self.weights.channels[1];
        let here = (channels - block * CHANNELS).min(CHANNELS);
        let mut offsets = [0; 16];
        for (lane, offset) in offsets.iter_mut().enumerate() {
            *offset = lane * plane;
        }
        for image in 0..self.images {
            let first_plane = (self.image + image) * channels + block * CHANNELS;
            let start = first_plane * plane + self.rows.start * width;
            // Sums of channel `c` at position `p`.
            let place = |p: usize, c: usize| p * POSITION + c / 16 * SUMS + image * 16 + c % 16;
            let mut channel = 0;
            while count >= lanes && channel + lanes <= here {
                for p in (0..count).step_by(lanes) {
                    // The last square goes back over what is done: the same values again.
                    let p = p.min(count - lanes);
                    let at = start + channel * plane + p;
                    let to = self.target.start_of(at, (lanes - 1) * plane + lanes);
                    let from = &sums[place(p, channel)..];
                    assert!(from.len() >= (lanes - 1) * POSITION + lanes);
                    // SAFETY: the square ends inside the sums by the assertion and inside the target
                    // by the check of `start_of`; no other task has these positions.
                    unsafe {
                        products.vectors().transpose(from.as_ptr(), POSITION, to, offsets.as_ptr());
                    }
                }
                channel += lanes;
            }
            for channel in channel..here {
                // SAFETY: this task's positions of one plane; no other part is alive.
                let to = unsafe { self.target.part(start + channel * plane, count) };
                for (p, value) in to.iter_mut().enumerate() {
                    *value = sums[place(p, channel)];
                }
            }
            self.finish::<P>(block, start, here, count, plane);
        }
    }

    /// Bias, residual and ReLU of the positions of one image.
    #[inline(always)]
    fn finish<P: Products>(
        &self,
        block: usize,
        start: usize,
        here: usize,
        count: usize,
        plane: usize,
    ) {
        let bias = &self.weights.bias[block * CHANNELS..][..here];
        let has_bias = bias.iter().any(|&bias| bias != 0.0);
        if !has_bias && self.residual.is_none() && !self.relu {
            return;
        }
        for (channel, bias) in bias.iter().enumerate() {
            let at = start + channel * plane;
            // SAFETY: this task's positions of one plane; no other part is alive.
            let values = unsafe { self.target.part(at, count) };
            for value in values.iter_mut() {
                *value += bias;
            }
            if let Some(residual) = self.residual {
                for (value, residual) in values.iter_mut().zip(&residual[at..at + count]) {
                    *value += residual;
                }
            }
            if self.relu {
                for value in values {
                    *value = if *value < 0.0 { 0.0 } else { *value };
                }
            }
        }
    }
}
