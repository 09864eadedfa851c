//! Views of images: cropped, mirrored, recoloured, normalised, erased.
//!
//! ```text
//! padded = image with `pad` black pixels on each side        (black before normalisation, as torchvision's RandomCrop)
//! crop   = padded[top .. top + height, left .. left + width]  top, left uniform in 0..=2 pad
//!          or a random part of the image, scaled to its size  (`ResizedCrop`)
//! drawn  = crop, mirrored or not, after operations by chance  (`Policy`)
//! colour = drawn, with changed colours                        (`ColorJitter`)
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
mod policy;
mod random_erasing;
mod resized_crop;

pub use color_jitter::ColorJitter;
pub use policy::Policy;
pub(crate) use resized_crop::Rectangle;
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
    /// Operations on the whole picture, drawn by RandAugment or TrivialAugment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
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
const POLICY: u64 = 160;

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
        Self { pad, flip, resized_crop: None, policy: None, color_jitter: None, erasing: 0.0 }
    }

    /// What there is beside crop and flip, in words that are the same for equal settings alone; nothing
    /// where there is nothing. For whatever must know whether its views are still these.
    #[must_use]
    pub fn beside_crop_and_flip(&self) -> Option<String> {
        let mut parts = Vec::new();
        if let Some(ResizedCrop { area: [least, most] }) = self.resized_crop {
            parts.push(format!("random resized crop of {least} to {most} of the area"));
        }
        parts.extend(self.policy.map(|policy| policy.words()));
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
        if let Some(policy) = &augmentation.policy {
            policy.check(shape[0])?;
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
        let Augmentation { resized_crop, policy, color_jitter, erasing, .. } = augmentation;
        let area = height * width;
        let part = resized_crop.map(|crop| crop.part([height, width], |c| word(RESIZED_CROP + c)));
        let is_normalised = color_jitter.is_none() && (part.is_none() || policy.is_some());
        // Where nothing comes between, pixels are normalised by a table.
        let shares = if is_normalised { None } else { Some(vec![values_of_pixels(); channels]) };
        let table = shares.as_ref().unwrap_or(&self.table);
        match (part, policy) {
            (None, None) => self.render_at(image, placement, table, out),
            (Some(part), None) => self.render_part(image, part, placement.flipped, out),
            (_, Some(policy)) => {
                let mut pixels = self.bytes_of_crop(image, part, placement, out);
                policy.apply(&mut pixels, self.shape, |c| word(POLICY + c));
                let planes = pixels.chunks_exact(area).zip(out.chunks_exact_mut(area));
                for (table, (pixels, out)) in table.iter().zip(planes) {
                    let values = pixels.iter().map(|&pixel| table[usize::from(pixel)]);
                    out.iter_mut().zip(values).for_each(|(out, value)| *out = value);
                }
            }
        }
        if let Some(jitter) = color_jitter {
            jitter.apply(out, channels, |c| word(COLOR_JITTER + c));
        }
        if !is_normalised {
            let constants = self.normalisation.mean.iter().zip(&self.normalisation.std);
            for (plane, (mean, std)) in out.chunks_exact_mut(area).zip(constants) {
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

    /// The crop, mirrored or not, as bytes; `floats` is memory of a view.
    fn bytes_of_crop(
        &self,
        image: &[u8],
        part: Option<Rectangle>,
        placement: Placement,
        floats: &mut [f32],
    ) -> Vec<u8> {
        let Some(part) = part else {
            let mut pixels = vec![0; image.len()];
            let same: [u8; 256] = std::array::from_fn(|pixel| pixel as u8);
            self.render_at(image, placement, &vec![same; self.shape[0]], &mut pixels);
            return pixels;
        };
        self.render_part(image, part, placement.flipped, floats);
        floats.iter().map(|value| (value * 255.0).round() as u8).collect()
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
    fn render_at<T: Copy>(
        &self,
        image: &[u8],
        placement: Placement,
        table: &[[T; 256]],
        out: &mut [T],
    ) {
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
mod tests;
