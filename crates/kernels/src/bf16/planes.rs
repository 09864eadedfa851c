//! Between planes of `f32` and [`Maps`].

use rayon::prelude::*;

use super::convert::widen;
use super::engine::Engine;
use super::maps::{CHANNELS, IMAGES, Maps, TILE};
use super::products::{Products, TileKernel};
use crate::parallel::SharedMut;
use crate::simd::Simd;
use crate::sizes;

/// Positions of a task: their tiles stay in a second cache.
const POSITIONS: usize = 256;

impl Maps {
    /// Rounds planes `[batch, channels, height, width]` into these maps, which take their sizes.
    ///
    /// # Panics
    /// If `planes` has another length, or the sizes are too large.
    pub fn write(&mut self, sizes: [usize; 4], planes: &[f32]) {
        self.write_on(Engine::active(), sizes, planes);
    }

    pub(crate) fn write_on(&mut self, engine: Engine, sizes: [usize; 4], planes: &[f32]) {
        let want = sizes::elements(sizes);
        assert!(planes.len() == want, "maps {sizes:?} have {want} values, not {}", planes.len());
        assert!(Self::fit_memory(sizes), "maps {sizes:?} are too large");
        self.resize(sizes);
        let [batch, channels, height, width] = sizes;
        let (plane, depth) = (height * width, channels.div_ceil(CHANNELS));
        if want == 0 {
            return;
        }
        let (block_len, image) = (self.block_len(), channels * plane);
        self.values_mut().par_chunks_exact_mut(block_len).enumerate().for_each(|(block, tiles)| {
            let images = (batch - block * IMAGES).min(IMAGES);
            let planes = &planes[block * IMAGES * image..][..images * image];
            let tiles = &mut tiles[..plane * depth * TILE];
            tiles.par_chunks_mut(POSITIONS * depth * TILE).enumerate().for_each(|(part, tiles)| {
                let first = part * POSITIONS;
                engine.run(images, Write { planes, images, channels, plane, first, tiles });
            });
        });
    }

    /// Writes these maps as planes `[batch, channels, height, width]`.
    ///
    /// # Panics
    /// If `planes` has another length.
    pub fn read(&self, planes: &mut [f32]) {
        self.read_on(Engine::active(), planes);
    }

    pub(crate) fn read_on(&self, engine: Engine, planes: &mut [f32]) {
        let sizes = self.sizes();
        let want = sizes::elements(sizes);
        assert!(planes.len() == want, "maps {sizes:?} have {want} values, not {}", planes.len());
        let [_, channels, height, width] = sizes;
        if want == 0 {
            return;
        }
        let plane = height * width;
        let target = SharedMut::new(planes);
        let parts = plane.div_ceil(POSITIONS);
        (0..self.blocks() * parts).into_par_iter().for_each(|task| {
            let (block, first) = (task / parts, task % parts * POSITIONS);
            let count = (plane - first).min(POSITIONS);
            let images = self.images(block);
            let tiles = &self.block(block)[first * self.depth() * TILE..];
            let image = block * IMAGES;
            engine
                .run(images, Read { tiles, images, image, channels, plane, first, count, target });
        });
    }
}

struct Write<'a> {
    /// Of the block.
    planes: &'a [f32],
    images: usize,
    channels: usize,
    plane: usize,
    /// First position.
    first: usize,
    /// From there on.
    tiles: &'a mut [u16],
}

impl TileKernel for Write<'_> {
    #[inline(always)]
    fn run<P: Products>(self, products: P) {
        let Self { planes, images, channels, plane, first, tiles } = self;
        let lanes = P::Vectors::LANES;
        let depth = channels.div_ceil(CHANNELS);
        let count = tiles.len() / (depth * TILE);
        // Positions of a square, channels of a tile.
        let mut rows = [0.0_f32; 16 * CHANNELS];
        let mut offsets = [0; 16];
        for (lane, offset) in offsets.iter_mut().enumerate() {
            *offset = lane * CHANNELS;
        }
        for image in 0..images {
            let planes = &planes[image * channels * plane..][..channels * plane];
            for slab in 0..depth {
                let here = (channels - slab * CHANNELS).min(CHANNELS);
                // What the loops below leave stays zero.
                rows.fill(0.0);
                let mut p = 0;
                while p < count {
                    let width = (count - p).min(lanes);
                    let start = first + p;
                    let mut channel = 0;
                    while width == lanes && channel + lanes <= here {
                        let from = &planes[(slab * CHANNELS + channel) * plane + start..];
                        assert!(from.len() >= (lanes - 1) * plane + lanes);
                        // SAFETY: the square ends inside the planes by the assertion, and inside
                        // `rows`: `lanes` positions of 32 channels.
                        unsafe {
                            products.vectors().transpose(
                                from.as_ptr(),
                                plane,
                                rows.as_mut_ptr().add(channel),
                                offsets.as_ptr(),
                            );
                        }
                        channel += lanes;
                    }
                    for channel in channel..here {
                        let from = &planes[(slab * CHANNELS + channel) * plane + start..][..width];
                        for (lane, value) in from.iter().enumerate() {
                            rows[lane * CHANNELS + channel] = *value;
                        }
                    }
                    for lane in 0..width {
                        let at = ((p + lane) * depth + slab) * TILE + image * CHANNELS;
                        let to = &mut tiles[at..at + CHANNELS];
                        // SAFETY: 32 floats and 32 values.
                        unsafe {
                            products.round(rows.as_ptr().add(lane * CHANNELS), to.as_mut_ptr())
                        };
                    }
                    p += width;
                }
            }
        }
    }
}

struct Read<'a> {
    /// From the first position on.
    tiles: &'a [u16],
    images: usize,
    /// The first of the block.
    image: usize,
    channels: usize,
    plane: usize,
    first: usize,
    count: usize,
    target: SharedMut<'a>,
}

impl TileKernel for Read<'_> {
    #[inline(always)]
    fn run<P: Products>(self, products: P) {
        let Self { tiles, images, image, channels, plane, first, count, target } = self;
        let lanes = P::Vectors::LANES;
        let depth = channels.div_ceil(CHANNELS);
        let mut rows = [0.0_f32; 16 * CHANNELS];
        let mut offsets = [0; 16];
        for (lane, offset) in offsets.iter_mut().enumerate() {
            *offset = lane * plane;
        }
        for index in 0..images {
            for slab in 0..depth {
                let here = (channels - slab * CHANNELS).min(CHANNELS);
                let mut p = 0;
                while p < count {
                    let width = (count - p).min(lanes);
                    for lane in 0..width {
                        let at = ((p + lane) * depth + slab) * TILE + index * CHANNELS;
                        let from = &tiles[at..at + CHANNELS];
                        let to = &mut rows[lane * CHANNELS..(lane + 1) * CHANNELS];
                        for i in 0..CHANNELS {
                            to[i] = widen(from[i]);
                        }
                    }
                    let plane_of = (image + index) * channels + slab * CHANNELS;
                    let start = plane_of * plane + first + p;
                    let mut channel = 0;
                    while width == lanes && channel + lanes <= here {
                        let to =
                            target.start_of(start + channel * plane, (lanes - 1) * plane + lanes);
                        // SAFETY: `rows` has `lanes` positions of 32 channels; the target's rows end
                        // inside it by the check of `start_of`, and are this task's only.
                        unsafe {
                            let from = rows.as_ptr().add(channel);
                            products.vectors().transpose(from, CHANNELS, to, offsets.as_ptr());
                        }
                        channel += lanes;
                    }
                    for channel in channel..here {
                        // SAFETY: this task's positions of one plane; no other part is alive.
                        let to = unsafe { target.part(start + channel * plane, width) };
                        for (lane, value) in to.iter_mut().enumerate() {
                            *value = rows[lane * CHANNELS + channel];
                        }
                    }
                    p += width;
                }
            }
        }
    }
}
