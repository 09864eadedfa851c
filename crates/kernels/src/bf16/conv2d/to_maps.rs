//! A convolution from maps to maps.

use rayon::prelude::*;

use super::packed_weights::PackedWeights;
use crate::bf16::engine::Engine;
use crate::bf16::maps::{CHANNELS, IMAGES, Maps, TILE};
use crate::bf16::products::{Products, Quad, SUMS, Store, TileKernel};

/// What is done to a sum before it is stored in maps.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// Maps of the output's shape that are added.
    pub residual: Option<&'a Maps>,
    /// Whether ReLU comes last.
    pub relu: bool,
}

pub(in crate::bf16) fn conv2d_on(
    engine: Engine,
    weights: &PackedWeights,
    source: &Maps,
    Epilogue { residual, relu }: Epilogue<'_>,
    target: &mut Maps,
) {
    weights.check_source(source);
    let batch = source.sizes()[0];
    let sizes = weights.target_sizes(batch);
    if let Some(residual) = residual {
        let got = residual.sizes();
        assert!(got == sizes, "the residual is {got:?}, the result {sizes:?}");
    }
    target.resize(sizes);
    let [_, channels, height, width] = sizes;
    if batch * channels * height * width == 0 {
        return;
    }
    let row = width * channels.div_ceil(CHANNELS) * TILE;
    let block_len = target.block_len();
    target.values_mut().par_chunks_exact_mut(block_len).enumerate().for_each(|(block, tiles)| {
        let images = (batch - block * IMAGES).min(IMAGES);
        let rows = weights.task_rows();
        tiles[..height * row].par_chunks_mut(rows * row).enumerate().for_each(|(task, tiles)| {
            let first = task * rows;
            let task = Task {
                weights,
                source: source.block(block),
                residual: residual.map(|maps| &maps.block(block)[first * row..]),
                relu,
                images,
                first,
                tiles,
            };
            engine.run(images, task);
        });
    });
}

/// Sums of two positions × 32 channels.
#[repr(align(64))]
struct Sums([f32; 4 * SUMS]);

struct Task<'a> {
    weights: &'a PackedWeights,
    /// The block.
    source: &'a [u16],
    /// From the task's first row on.
    residual: Option<&'a [u16]>,
    relu: bool,
    images: usize,
    /// First row.
    first: usize,
    /// Of the task's rows.
    tiles: &'a mut [u16],
}

impl TileKernel for Task<'_> {
    #[inline(always)]
    fn run<P: Products>(self, products: P) {
        let Self { weights, source, residual, relu, images, first, tiles } = self;
        let (geometry, blocks) = (&weights.geometry, weights.blocks());
        let width = geometry.target[1];
        let rows = tiles.len() / (width * blocks * TILE);
        let panels = weights.panels.values();
        assert!(panels.len() == blocks * weights.panels.block);
        let mut sums = Sums([0.0; 4 * SUMS]);
        let targets = [sums.0.as_mut_ptr(), sums.0[2 * SUMS..].as_mut_ptr()];
        let mut steps = Vec::new();
        for row in 0..rows {
            for pair in &geometry.pairs {
                steps.clear();
                weights.steps(&geometry.rows[first + row], pair, &mut steps);
                for block in 0..blocks {
                    let halves = weights.halves(block);
                    let quad = Quad {
                        steps: &steps,
                        left: source.as_ptr(),
                        right: panels[block * weights.panels.block..].as_ptr(),
                        targets,
                        rows: images,
                        halves,
                        adds: false,
                    };
                    // SAFETY: the geometry's positions lie inside the source, whose sizes were
                    // checked, or are the block's tile of zeros; the panels hold all taps; the
                    // sums are two times two tiles.
                    unsafe { products.quad(quad) };
                    for (which, column) in pair.columns.into_iter().enumerate() {
                        let Some(column) = column else { continue };
                        let at = ((row * width + column) * blocks + block) * TILE;
                        let target = &mut tiles[at..at + TILE];
                        let store = Store {
                            sums: targets[which],
                            halves,
                            rows: images,
                            bias: weights.bias[block * CHANNELS..][..CHANNELS].as_ptr(),
                            residual: residual.map(|tiles| tiles[at..at + TILE].as_ptr()),
                            relu,
                            target: target.as_mut_ptr(),
                        };
                        // SAFETY: two tiles of sums, 32 values of bias, whole tiles.
                        unsafe { products.store(store) };
                    }
                }
            }
        }
    }
}
