//! Views of images: cropped, mirrored, recoloured, normalised, erased.
//!
//! ```text
//! padded = image with `pad` black pixels on each side        (black before normalisation, as torchvision's RandomCrop)
//! crop   = padded[top .. top + height, left .. left + width]  top, left uniform in 0..=2 pad
//!          or a random part of the image, scaled to its size  (`ResizedCrop`)
//! colour = crop, mirrored or not, with changed colours        (`ColorJitter`)
//! value  = (colour - mean[channel]) / std[channel]            colour = pixel / 255 without changes
//! view   = value, 0 in a rectangle                            (random erasing)
//! ```
//!
//! Every choice is a hash of (seed, sample id, view number), see [`crate::rng`]: the same view is the same pixels,
//! always. What is not asked for draws nothing and changes nothing.

use serde::{Deserialize, Serialize};

use crate::{DataError, Normalisation, SampleId};
use faculty_random::{Purpose, below, draw};

mod color_jitter;
mod random_erasing;
mod resized_crop;

pub use color_jitter::ColorJitter;
use resized_crop::Rectangle;
pub use resized_crop::ResizedCrop;

/// What may happen to an image in training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Augmentation {
    /// Black pixels added on each side before a crop of the old size is cut at a random place; 0
    /// for no crop.
    pub pad: usize,
    /// Whether to mirror left and right in half of the views.
    pub flip: bool,
    /// Instead of a crop from padding: a random part, scaled to the image's size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resized_crop: Option<ResizedCrop>,
    /// Changes of brightness, contrast, saturation and hue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub color_jitter: Option<ColorJitter>,
    /// Probability with which a rectangle of a view is erased.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub erasing: f64,
}

fn is_zero(probability: &f64) -> bool {
    *probability == 0.0
}

/// Where the words of each kind of change begin, behind those of crop and flip. Fixed for ever, as
/// [`Purpose`]: another number is another view.
const RESIZED_CROP: u64 = 16;
const COLOR_JITTER: u64 = 64;
const ERASING: u64 = 96;

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
    pub const NONE: Self = Self::crop_and_flip(0, false);
    /// The usual one for CIFAR: 4 pixels of padding, crop, flip.
    pub const CIFAR: Self = Self::crop_and_flip(4, true);

    /// A crop from `pad` pixels of padding, a mirror image in half of the views, and nothing else.
    #[must_use]
    pub const fn crop_and_flip(pad: usize, flip: bool) -> Self {
        Self { pad, flip, resized_crop: None, color_jitter: None, erasing: 0.0 }
    }

    /// What there is beside crop and flip, in words that are the same for equal settings alone; nothing
    /// where there is nothing. For whatever must know whether its views are still these.
    #[must_use]
    pub fn beside_crop_and_flip(&self) -> Option<String> {
        let mut parts = Vec::new();
        if let Some(ResizedCrop { area: [least, most] }) = self.resized_crop {
            parts.push(format!("random resized crop of {least} to {most} of the area"));
        }
        if let Some(own) = self.color_jitter {
            let ColorJitter { brightness, contrast, saturation, hue } = own;
            parts.push(format!(
                "colour jitter {brightness} {contrast} {saturation} {hue} (brightness, contrast, \
                 saturation, hue)"
            ));
        }
        if self.erasing > 0.0 {
            parts.push(format!("random erasing of {}", self.erasing));
        }
        (!parts.is_empty()).then(|| parts.join(", "))
    }

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
    /// Normalised values of pixels, by channel.
    table: Vec<[f32; 256]>,
    normalisation: Normalisation,
}

impl Renderer {
    /// For images `[channels, height, width]`; `seed` is that of the augmentation.
    ///
    /// # Errors
    /// [`DataError::WrongShape`] or [`DataError::OutOfRange`] if the normalisation does not fit the
    /// channels, the padding is larger than the image, or a change of the augmentation cannot be.
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
        if let Some(crop) = &augmentation.resized_crop {
            crop.check()?;
        }
        if let Some(jitter) = &augmentation.color_jitter {
            jitter.check(shape[0])?;
        }
        if !(0.0..=1.0).contains(&augmentation.erasing) {
            return Err(DataError::OutOfRange {
                name: "the probability of random erasing",
                found: augmentation.erasing.to_string(),
                range: "between 0 and 1".to_owned(),
            });
        }
        let (table, normalisation) = (normalisation.table(), normalisation.clone());
        Ok(Self { shape, augmentation, seed, table, normalisation })
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
        assert_eq!(image.len(), self.view_len(), "an image of another shape");
        assert_eq!(out.len(), self.view_len(), "a buffer of another shape");
        let Self { shape: [channels, height, width], augmentation, .. } = *self;
        let word = |c| draw(Purpose::Augmentation, self.seed, id.0, u64::from(number), c);
        let placement = augmentation.place(self.seed, id, number);
        let Augmentation { resized_crop, color_jitter, erasing, .. } = augmentation;
        if resized_crop.is_none() && color_jitter.is_none() {
            self.render_at(image, placement, &self.table, out);
        } else {
            match resized_crop {
                None => self.render_at(image, placement, &vec![values_of_pixels(); channels], out),
                Some(crop) => {
                    let part = crop.part([height, width], |c| word(RESIZED_CROP + c));
                    self.render_part(image, part, placement.flipped, out);
                }
            }
            if let Some(jitter) = color_jitter {
                jitter.apply(out, channels, |c| word(COLOR_JITTER + c));
            }
            let constants = self.normalisation.mean.iter().zip(&self.normalisation.std);
            for (plane, (mean, std)) in out.chunks_exact_mut(height * width).zip(constants) {
                plane.iter_mut().for_each(|x| *x = (*x - mean) / std);
            }
        }
        if erasing > 0.0
            && let Some(part) =
                random_erasing::erased(erasing, [height, width], |c| word(ERASING + c))
        {
            for plane in out.chunks_exact_mut(height * width) {
                for row in plane.chunks_exact_mut(width).skip(part.top).take(part.height) {
                    row[part.left..part.left + part.width].fill(0.0);
                }
            }
        }
    }

    /// A part of the image, scaled to its size and mirrored or not: values in `[0, 1]`.
    fn render_part(&self, image: &[u8], part: Rectangle, flipped: bool, out: &mut [f32]) {
        let [_, height, width] = self.shape;
        let rows = resized_crop::between(part.top, part.height, height);
        let columns = resized_crop::between(part.left, part.width, width);
        let planes = image.chunks_exact(height * width).zip(out.chunks_exact_mut(height * width));
        for (image, out) in planes {
            let pixel = |row: usize, column: usize| f32::from(image[row * width + column]);
            for (&(above, below, down), out) in rows.iter().zip(out.chunks_exact_mut(width)) {
                for (&(left, right, along), out) in columns.iter().zip(&mut *out) {
                    let upper = pixel(above, left) * (1.0 - along) + pixel(above, right) * along;
                    let lower = pixel(below, left) * (1.0 - along) + pixel(below, right) * along;
                    *out = (upper * (1.0 - down) + lower * down) / 255.0;
                }
                if flipped {
                    out.reverse();
                }
            }
        }
    }

    /// The crop from the padded image, by a table of what each pixel becomes.
    fn render_at(&self, image: &[u8], placement: Placement, table: &[[f32; 256]], out: &mut [f32]) {
        let [_, height, width] = self.shape;
        let pad = self.augmentation.pad;
        // Columns of the crop that lie in the image; in the image they start `left - pad` further
        // right.
        let first = pad.saturating_sub(placement.left);
        let last = (width + pad).saturating_sub(placement.left).min(width);
        for ((table, image), out) in table
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

/// A pixel as a share of the brightest.
fn values_of_pixels() -> [f32; 256] {
    std::array::from_fn(|pixel| pixel as f32 / 255.0)
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
            let augmentation = Augmentation::crop_and_flip(pad, true);
            let renderer =
                Renderer::new(shape, augmentation, &Normalisation::cifar100(), SEED).unwrap();
            for top in 0..=2 * pad {
                for left in 0..=2 * pad {
                    for flipped in [false, true] {
                        let at = Placement { top, left, flipped };
                        let mut out = vec![f32::NAN; 60];
                        renderer.render_at(&image, at, &renderer.table, &mut out);
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
            let augmentation = Augmentation::crop_and_flip(pad, false);
            Renderer::new([1, 3, 4], augmentation, &Normalisation::identity(channels), SEED)
        };
        assert!(new(3, 1).is_ok());
        assert!(matches!(new(4, 1), Err(DataError::OutOfRange { .. })));
        assert!(matches!(new(0, 3), Err(DataError::WrongShape { .. })));
    }

    /// A colour image with a pattern.
    fn picture() -> Vec<u8> {
        (0..3 * 16 * 12).map(|i| (i * 37 % 251) as u8).collect()
    }

    fn rendered(augmentation: Augmentation, seed: u64, id: u64, number: u32) -> Vec<f32> {
        let normalisation = Normalisation::cifar100();
        let renderer = Renderer::new([3, 16, 12], augmentation, &normalisation, seed).unwrap();
        let mut out = vec![f32::NAN; renderer.view_len()];
        renderer.render_into(&picture(), SampleId(id), number, &mut out);
        out
    }

    const ALL: Augmentation = Augmentation {
        resized_crop: Some(ResizedCrop { area: [0.3, 1.0] }),
        color_jitter: Some(ColorJitter {
            brightness: 0.4,
            contrast: 0.4,
            saturation: 0.4,
            hue: 0.1,
        }),
        erasing: 0.5,
        ..Augmentation::crop_and_flip(0, true)
    };

    #[test]
    fn every_change_is_a_function_of_seed_sample_and_view() {
        let alone = [
            Augmentation { color_jitter: None, erasing: 0.0, ..ALL },
            Augmentation { resized_crop: None, erasing: 0.0, ..ALL },
            Augmentation { resized_crop: None, color_jitter: None, erasing: 1.0, ..ALL },
            ALL,
        ];
        for own in alone {
            let mut same = 0;
            for number in 0..100 {
                let view = rendered(own, SEED, 5, number);
                assert_eq!(view, rendered(own, SEED, 5, number));
                assert!(view.iter().all(|value| value.is_finite()));
                let others = [(SEED + 1, 5, number), (SEED, 6, number), (SEED, 5, number + 1)];
                let others = others.map(|(seed, id, number)| rendered(own, seed, id, number));
                same += others.iter().filter(|other| **other == view).count();
            }
            // Large parts and rectangles have few places, so that two views agree now and then.
            assert!(same < 15, "{own:?}: {same} of 300");
        }
    }

    #[test]
    fn changes_that_change_nothing_leave_the_image() {
        let whole = ResizedCrop { area: [1.0, 1.0] };
        // The whole area in every ratio is the whole image where nothing else fits.
        let plain = Augmentation::NONE;
        let line = |augmentation| {
            let renderer =
                Renderer::new([1, 1, 9], augmentation, &Normalisation::identity(1), SEED).unwrap();
            let mut out = vec![f32::NAN; 9];
            renderer.render_into(&[9, 8, 7, 6, 5, 4, 3, 2, 1], SampleId(1), 0, &mut out);
            out
        };
        // The middle pixel of a strip of one row, everywhere.
        let cut = line(Augmentation { resized_crop: Some(whole), ..plain });
        assert_eq!(cut, [5.0_f32 / 255.0; 9]);
        let nothing = ColorJitter::default();
        let want = rendered(plain, SEED, 5, 0);
        let got = rendered(Augmentation { color_jitter: Some(nothing), ..plain }, SEED, 5, 0);
        assert!(want.iter().zip(&got).all(|(a, b)| (a - b).abs() < 1e-5));
        assert_eq!(rendered(Augmentation { erasing: 1e-18, ..plain }, SEED, 5, 0), want);
    }

    #[test]
    fn crop_and_flip_are_drawn_as_without_other_changes() {
        let plain = Augmentation::CIFAR;
        for number in 0..50 {
            let erased = rendered(Augmentation { erasing: 1.0, ..plain }, SEED, 5, number);
            let want = rendered(plain, SEED, 5, number);
            let changed = erased.iter().zip(&want).filter(|(a, b)| a != b);
            assert!(changed.clone().all(|(erased, _)| *erased == 0.0));
            // A third of the area, and half a pixel of rounding on each side.
            assert!((1..=3 * 16 * 12 * 2 / 5).contains(&changed.count()), "view {number}");
        }
    }

    #[test]
    fn a_scaled_part_has_the_pixels_of_the_definition() {
        let shape = [1, 4, 5];
        let image: Vec<u8> = (0..20).map(|i| (i * i % 97) as u8).collect();
        let renderer =
            Renderer::new(shape, Augmentation::NONE, &Normalisation::identity(1), SEED).unwrap();
        for (part, flipped) in [
            (Rectangle { top: 0, left: 0, height: 4, width: 5 }, false),
            (Rectangle { top: 1, left: 2, height: 2, width: 3 }, false),
            (Rectangle { top: 3, left: 0, height: 1, width: 5 }, true),
            (Rectangle { top: 0, left: 4, height: 3, width: 1 }, true),
        ] {
            let mut out = vec![f32::NAN; 20];
            renderer.render_part(&image, part, flipped, &mut out);
            for y in 0..4 {
                for x in 0..5 {
                    // The value at a place of the part, whose edge pixels go on outside of it.
                    let at = |count: usize, size: usize, i: usize| -> f64 {
                        let place = (i as f64 + 0.5) * count as f64 / size as f64 - 0.5;
                        place.clamp(0.0, count as f64 - 1.0)
                    };
                    let mirrored = if flipped { 4 - x } else { x };
                    let (row, column) = (at(part.height, 4, y), at(part.width, 5, mirrored));
                    let mut want = 0.0;
                    for r in 0..part.height {
                        for c in 0..part.width {
                            // The tent of each pixel.
                            let tent = |distance: f64| (1.0 - distance.abs()).max(0.0);
                            let share = tent(row - r as f64) * tent(column - c as f64);
                            let pixel = image[(part.top + r) * 5 + part.left + c];
                            want += share * f64::from(pixel) / 255.0;
                        }
                    }
                    let got = f64::from(out[y * 5 + x]);
                    assert!((got - want).abs() < 1e-6, "{part:?} {y} {x}: {got}, not {want}");
                }
            }
        }
    }

    #[test]
    fn changes_that_cannot_be_are_refused() {
        let new = |augmentation| {
            Renderer::new([1, 3, 4], augmentation, &Normalisation::identity(1), SEED).map(drop)
        };
        let plain = Augmentation::NONE;
        let hue = ColorJitter { hue: 0.1, ..ColorJitter::default() };
        for bad in [
            Augmentation { resized_crop: Some(ResizedCrop { area: [0.0, 1.0] }), ..plain },
            Augmentation { color_jitter: Some(hue), ..plain },
            Augmentation { erasing: 1.5, ..plain },
            Augmentation { erasing: f64::NAN, ..plain },
        ] {
            assert!(matches!(new(bad), Err(DataError::OutOfRange { .. })), "{bad:?}");
        }
    }

    #[test]
    fn other_settings_have_other_words_and_crop_and_flip_have_none() {
        assert_eq!(Augmentation::CIFAR.beside_crop_and_flip(), None);
        let told = "random resized crop of 0.3 to 1 of the area, colour jitter 0.4 0.4 0.4 0.1 \
                    (brightness, contrast, saturation, hue), random erasing of 0.5";
        assert_eq!(ALL.beside_crop_and_flip().as_deref(), Some(told));
    }
}
