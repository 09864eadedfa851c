//! Views of images: cropped, mirrored, normalised.
//!
//! ```text
//! padded = image with `pad` black pixels on each side        (black before normalisation, as torchvision's RandomCrop)
//! crop   = padded[top .. top + height, left .. left + width]  top, left uniform in 0..=2 pad
//! value  = (pixel / 255 - mean[channel]) / std[channel]
//! ```
//!
//! Top, left and flip are hashes of (seed, sample id, view number), see [`crate::rng`]: the same
//! view is the same pixels, always.

use serde::{Deserialize, Serialize};

use crate::{DataError, Normalisation, SampleId};
use faculty_random::{Purpose, below, draw};

/// What may happen to an image in training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Augmentation {
    /// Black pixels added on each side before a crop of the old size is cut at a random place; 0
    /// for no crop.
    pub pad: usize,
    /// Whether to mirror left and right in half of the views.
    pub flip: bool,
}

/// Where a view is cut, in the padded image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Placement {
    /// First row, `0..=2 * pad`.
    pub top: usize,
    /// First column, `0..=2 * pad`.
    pub left: usize,
    /// Whether the crop is mirrored left and right.
    pub flipped: bool,
}

impl Augmentation {
    /// The image as it is: for evaluation.
    pub const NONE: Self = Self { pad: 0, flip: false };
    /// The usual one for CIFAR: 4 pixels of padding, crop, flip.
    pub const CIFAR: Self = Self { pad: 4, flip: true };

    /// Draws the placement of the view of a number: a function of the arguments alone.
    #[must_use]
    pub fn place(&self, seed: u64, id: SampleId, number: u32) -> Placement {
        let word = |c| draw(Purpose::Augmentation, seed, id.0, u64::from(number), c);
        let places = 2 * self.pad as u64 + 1;
        Placement {
            top: below(word(0), places) as usize,
            left: below(word(1), places) as usize,
            flipped: self.flip && word(2) >> 63 == 1,
        }
    }
}

/// Renders views of images of one shape into floats.
#[derive(Clone, Debug)]
pub struct Renderer {
    shape: [usize; 3],
    augmentation: Augmentation,
    seed: u64,
    table: Vec<[f32; 256]>,
}

impl Renderer {
    /// For images `[channels, height, width]`; `seed` is that of the augmentation.
    ///
    /// # Errors
    /// [`DataError::WrongShape`] or [`DataError::OutOfRange`] if the normalisation does not fit the
    /// channels, or the padding is larger than the image.
    pub fn new(
        shape: [usize; 3],
        augmentation: Augmentation,
        normalisation: &Normalisation,
        seed: u64,
    ) -> Result<Self, DataError> {
        normalisation.check(shape[0])?;
        let limit = shape[1].min(shape[2]);
        if augmentation.pad > limit {
            return Err(DataError::OutOfRange {
                name: "the padding",
                found: augmentation.pad.to_string(),
                range: format!("at most {limit}, the shorter side of the images"),
            });
        }
        Ok(Self { shape, augmentation, seed, table: normalisation.table() })
    }

    /// Floats of one view: `channels * height * width`.
    #[must_use]
    pub fn view_len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Writes the view `number` of `image` (`[channels, height, width]`), which has this id, to
    /// `out` (the same shape, normalised).
    ///
    /// # Panics
    /// If `image` or `out` is not [`Renderer::view_len`] long.
    pub fn render_into(&self, image: &[u8], id: SampleId, number: u32, out: &mut [f32]) {
        self.render_at(image, self.augmentation.place(self.seed, id, number), out);
    }

    fn render_at(&self, image: &[u8], placement: Placement, out: &mut [f32]) {
        assert_eq!(image.len(), self.view_len(), "an image of another shape");
        assert_eq!(out.len(), self.view_len(), "a buffer of another shape");
        let [_, height, width] = self.shape;
        let pad = self.augmentation.pad;
        // Columns of the crop that lie in the image; in the image they start `left - pad` further
        // right.
        let first = pad.saturating_sub(placement.left);
        let last = (width + pad).saturating_sub(placement.left).min(width);
        for ((table, image), out) in self
            .table
            .iter()
            .zip(image.chunks_exact(height * width))
            .zip(out.chunks_exact_mut(height * width))
        {
            for (row, out) in out.chunks_exact_mut(width).enumerate() {
                out.fill(table[0]);
                let padded_row = row + placement.top;
                if padded_row < pad || padded_row >= height + pad {
                    continue;
                }
                let start = (padded_row - pad) * width + first + placement.left - pad;
                let source = &image[start..start + last - first];
                for (out, &pixel) in out[first..last].iter_mut().zip(source) {
                    *out = table[usize::from(pixel)];
                }
                if placement.flipped {
                    out.reverse();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const SEED: u64 = 11;

    /// The definition, pixel by pixel.
    fn plainly(image: &[u8], shape: [usize; 3], pad: usize, at: Placement) -> Vec<f32> {
        let [channels, height, width] = shape;
        let normalisation = Normalisation::cifar100();
        let mut out = Vec::new();
        for channel in 0..channels {
            for y in 0..height {
                for x in 0..width {
                    let x = if at.flipped { width - 1 - x } else { x };
                    let (y, x) = (y + at.top, x + at.left);
                    let inside =
                        (pad..height + pad).contains(&y) && (pad..width + pad).contains(&x);
                    let pixel = if inside {
                        image[(channel * height + y - pad) * width + x - pad]
                    } else {
                        0
                    };
                    let value = f32::from(pixel) / 255.0;
                    out.push((value - normalisation.mean[channel]) / normalisation.std[channel]);
                }
            }
        }
        out
    }

    #[test]
    fn every_placement_gives_the_pixels_of_the_definition() {
        let shape = [3, 4, 5];
        let image: Vec<u8> = (0..60).map(|i| (i * 4 + 3) as u8).collect();
        for pad in 0..=4 {
            let augmentation = Augmentation { pad, flip: true };
            let renderer =
                Renderer::new(shape, augmentation, &Normalisation::cifar100(), SEED).unwrap();
            for top in 0..=2 * pad {
                for left in 0..=2 * pad {
                    for flipped in [false, true] {
                        let at = Placement { top, left, flipped };
                        let mut out = vec![f32::NAN; 60];
                        renderer.render_at(&image, at, &mut out);
                        assert_eq!(out, plainly(&image, shape, pad, at), "pad {pad}, {at:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_same_view_is_the_same_pixels_and_others_differ() {
        let image: Vec<u8> = (0..=255).collect();
        let renderer = |seed| {
            Renderer::new([1, 16, 16], Augmentation::CIFAR, &Normalisation::identity(1), seed)
                .unwrap()
        };
        let render = |seed, id, number| {
            let mut out = vec![0.0; 256];
            renderer(seed).render_into(&image, SampleId(id), number, &mut out);
            out
        };
        for number in 0..50 {
            assert_eq!(render(SEED, 5, number), render(SEED, 5, number));
        }
        let different = |other: &dyn Fn(u32) -> Vec<f32>| {
            (0..100).filter(|&number| render(SEED, 5, number) != other(number)).count()
        };
        // Of 162 placements, two agree by chance in 0.6 of 100 views.
        assert!(different(&|number| render(SEED, 6, number)) > 90);
        assert!(different(&|number| render(SEED + 1, 5, number)) > 90);
        assert!(different(&|number| render(SEED, 5, number + 1)) > 90);
    }

    #[test]
    fn placements_are_uniform_and_all_are_reached() {
        let mut tops = [0; 9];
        let mut flips = 0;
        let mut reached = HashSet::new();
        for id in 0..9000 {
            let at = Augmentation::CIFAR.place(SEED, SampleId(id), 3);
            tops[at.top] += 1;
            flips += usize::from(at.flipped);
            reached.insert(at);
        }
        // Binomial(9000, 1/9): standard deviation 30; Binomial(9000, 1/2): standard deviation 47.
        assert!(tops.iter().all(|count| (850..1150).contains(count)), "{tops:?}");
        assert!((4260..4740).contains(&flips), "{flips}");
        assert_eq!(reached.len(), 9 * 9 * 2);
    }

    #[test]
    fn no_augmentation_leaves_the_image_as_it_is() {
        let image: Vec<u8> = (0..12).map(|i| i * 20).collect();
        let renderer =
            Renderer::new([1, 3, 4], Augmentation::NONE, &Normalisation::identity(1), SEED)
                .unwrap();
        for number in 0..20 {
            let mut out = vec![0.0; 12];
            renderer.render_into(&image, SampleId(77), number, &mut out);
            let expected: Vec<f32> = image.iter().map(|&pixel| f32::from(pixel) / 255.0).collect();
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn refuses_padding_beyond_the_image_and_a_foreign_normalisation() {
        let new = |pad, channels| {
            let augmentation = Augmentation { pad, flip: false };
            Renderer::new([1, 3, 4], augmentation, &Normalisation::identity(channels), SEED)
        };
        assert!(new(3, 1).is_ok());
        assert!(matches!(new(4, 1), Err(DataError::OutOfRange { .. })));
        assert!(matches!(new(0, 3), Err(DataError::WrongShape { .. })));
    }
}
