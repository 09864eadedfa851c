//! Colour jitter: brightness, contrast, saturation and hue of a view, each changed by a random factor,
//! in random order.
//!
//! ```text
//! brightness  x = f x                              f ~ U(max(0, 1 - brightness), 1 + brightness)
//! contrast    x = f x + (1 - f) mean of grey       likewise by contrast; over all pixels
//! saturation  x = f x + (1 - f) grey               likewise by saturation; of each pixel
//! hue         turned by f in HSV, of a turn        f ~ U(-hue, hue)
//! grey = 0.2989 red + 0.587 green + 0.114 blue     of one channel: itself
//! ```
//! Values are in `[0, 1]`, and held there after each change. Krizhevsky, Sutskever, Hinton, NIPS 2012,
//! and Howard, <https://arxiv.org/abs/1312.5402>; formulas and order are those of torchvision's
//! `ColorJitter` on floats.

use serde::{Deserialize, Serialize};

use crate::DataError;
use faculty_random::{below, unit};

/// Changes the colours of each view at random; with all four 0 it changes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColorJitter {
    /// How far the factor of brightness is from 1, at most; at least 0.
    pub brightness: f64,
    /// Likewise of contrast.
    pub contrast: f64,
    /// Likewise of saturation; 0 unless there are three channels.
    pub saturation: f64,
    /// How far hue is turned, at most: 0 to 0.5 of a turn; 0 unless there are three channels.
    pub hue: f64,
}

/// One change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Brightness,
    Contrast,
    Saturation,
    Hue,
}

impl ColorJitter {
    /// Refuses what is no strength, and colours of images that have none.
    ///
    /// # Errors
    /// [`DataError::OutOfRange`].
    pub fn check(&self, channels: usize) -> Result<(), DataError> {
        let refuse = |name, found: f64, range: &str| {
            Err(DataError::OutOfRange { name, found: found.to_string(), range: range.to_owned() })
        };
        for (name, own) in [
            ("the jitter of brightness", self.brightness),
            ("the jitter of contrast", self.contrast),
            ("the jitter of saturation", self.saturation),
        ] {
            if !(own >= 0.0 && own.is_finite()) {
                return refuse(name, own, "at least 0");
            }
        }
        if !(0.0..=0.5).contains(&self.hue) {
            return refuse("the jitter of hue", self.hue, "between 0 and 0.5 of a turn");
        }
        let without = format!("0, for images have {channels} channels and not red, green and blue");
        match channels {
            3 => Ok(()),
            _ if self.saturation > 0.0 => {
                refuse("the jitter of saturation", self.saturation, &without)
            }
            _ if self.hue > 0.0 => refuse("the jitter of hue", self.hue, &without),
            _ => Ok(()),
        }
    }

    /// Changes `image` `[channels, pixels]`, values in `[0, 1]`, as the words of `draw` (by their number,
    /// from 0) say.
    pub(super) fn apply(&self, image: &mut [f32], channels: usize, draw: impl Fn(u64) -> u64) {
        let mut order = [Change::Brightness, Change::Contrast, Change::Saturation, Change::Hue];
        for last in (1..order.len()).rev() {
            order.swap(last, below(draw(last as u64), last as u64 + 1) as usize);
        }
        let around = |strength: f64, word| {
            let low = (1.0 - strength).max(0.0);
            (low + (1.0 + strength - low) * unit(draw(word))) as f32
        };
        let pixels = image.len() / channels;
        for change in order {
            match change {
                Change::Brightness if self.brightness > 0.0 => {
                    let factor = around(self.brightness, 4);
                    image.iter_mut().for_each(|x| *x = (*x * factor).clamp(0.0, 1.0));
                }
                Change::Contrast if self.contrast > 0.0 => {
                    let factor = around(self.contrast, 5);
                    let sum: f64 = match channels {
                        3 => (0..pixels).map(|at| f64::from(grey(rgb(image, at)))).sum(),
                        _ => image.iter().map(|&x| f64::from(x)).sum(),
                    };
                    let count = if channels == 3 { pixels } else { image.len() };
                    let rest = (1.0 - factor) * (sum / count as f64) as f32;
                    image.iter_mut().for_each(|x| *x = (factor * *x + rest).clamp(0.0, 1.0));
                }
                Change::Saturation if self.saturation > 0.0 => {
                    let factor = around(self.saturation, 6);
                    for at in 0..pixels {
                        let own = rgb(image, at);
                        let rest = (1.0 - factor) * grey(own);
                        let new = own.map(|x| (factor * x + rest).clamp(0.0, 1.0));
                        set_rgb(image, at, new);
                    }
                }
                Change::Hue if self.hue > 0.0 => {
                    let turn = (self.hue * (2.0 * unit(draw(7)) - 1.0)) as f32;
                    for at in 0..pixels {
                        set_rgb(image, at, turned(rgb(image, at), turn));
                    }
                }
                _ => {}
            }
        }
    }
}

fn rgb(image: &[f32], at: usize) -> [f32; 3] {
    let pixels = image.len() / 3;
    [image[at], image[pixels + at], image[2 * pixels + at]]
}

fn set_rgb(image: &mut [f32], at: usize, values: [f32; 3]) {
    let pixels = image.len() / 3;
    for (channel, value) in values.into_iter().enumerate() {
        image[channel * pixels + at] = value;
    }
}

fn grey([red, green, blue]: [f32; 3]) -> f32 {
    0.2989 * red + 0.587 * green + 0.114 * blue
}

/// A colour whose hue is turned, through HSV.
fn turned([red, green, blue]: [f32; 3], turn: f32) -> [f32; 3] {
    let (most, least) = (red.max(green).max(blue), red.min(green).min(blue));
    let range = most - least;
    if range == 0.0 {
        return [red, green, blue];
    }
    let sixths = if most == red {
        (green - blue) / range
    } else if most == green {
        2.0 + (blue - red) / range
    } else {
        4.0 + (red - green) / range
    };
    let hue = (sixths / 6.0 + turn).rem_euclid(1.0) * 6.0;
    // Each channel falls from the most to the least and rises again, a third of a turn apart.
    [5.0_f32, 3.0, 1.0].map(|shift| {
        let k = (shift + hue).rem_euclid(6.0);
        (most - range * k.min(4.0 - k).clamp(0.0, 1.0)).clamp(0.0, 1.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use faculty_random::{Purpose, draw};

    const NONE: ColorJitter =
        ColorJitter { brightness: 0.0, contrast: 0.0, saturation: 0.0, hue: 0.0 };
    /// Three colours and a grey, channel by channel.
    const IMAGE: [f32; 12] = [0.8, 0.1, 0.3, 0.5, 0.2, 0.6, 0.3, 0.5, 0.4, 0.3, 0.9, 0.5];

    /// All draws give this share of their range.
    fn at(share: f64) -> impl Fn(u64) -> u64 {
        move |_| (share * 2.0_f64.powi(64)) as u64
    }

    fn applied(jitter: ColorJitter, share: f64) -> [f32; 12] {
        let mut image = IMAGE;
        jitter.apply(&mut image, 3, at(share));
        image
    }

    fn assert_near(got: [f32; 12], want: impl Fn(usize) -> f32) {
        for (at, got) in got.into_iter().enumerate() {
            assert!((got - want(at)).abs() < 1e-6, "{at}: {got} instead of {}", want(at));
        }
    }

    #[test]
    fn each_change_is_its_formula() {
        // Factors 0.6 + 0.8 * 0.75 = 1.2 and 0.6 + 0.8 * 0.25 = 0.8.
        for (share, factor) in [(0.75, 1.2_f32), (0.25, 0.8)] {
            let brighter = applied(ColorJitter { brightness: 0.4, ..NONE }, share);
            assert_near(brighter, |at| (IMAGE[at] * factor).min(1.0));
            let greys = [0, 1, 2, 3].map(|at| grey(rgb(&IMAGE, at)));
            let mean = greys.iter().sum::<f32>() / 4.0;
            let contrast = applied(ColorJitter { contrast: 0.4, ..NONE }, share);
            assert_near(contrast, |at| factor * IMAGE[at] + (1.0 - factor) * mean);
            let saturation = applied(ColorJitter { saturation: 0.4, ..NONE }, share);
            let want = |at: usize| factor * IMAGE[at] + (1.0 - factor) * greys[at % 4];
            assert_near(saturation, |at| want(at).clamp(0.0, 1.0));
        }
        // A factor below 0 would turn colours inside out.
        let dark = applied(ColorJitter { brightness: 3.0, ..NONE }, 0.0);
        assert_eq!(dark, [0.0; 12]);
    }

    #[test]
    fn hue_is_turned_by_its_share_of_a_turn() {
        let close = |a: [f32; 3], b: [f32; 3]| {
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5), "{a:?} instead of {b:?}");
        };
        // A third of a turn takes red to green to blue; a sixth takes red to yellow.
        close(turned([0.9, 0.1, 0.1], 1.0 / 3.0), [0.1, 0.9, 0.1]);
        close(turned([0.1, 0.9, 0.1], 1.0 / 3.0), [0.1, 0.1, 0.9]);
        close(turned([0.1, 0.1, 0.9], 1.0 / 3.0), [0.9, 0.1, 0.1]);
        close(turned([0.9, 0.1, 0.1], 1.0 / 6.0), [0.9, 0.9, 0.1]);
        close(turned([0.8, 0.2, 0.4], -1.0 / 3.0), [0.2, 0.4, 0.8]);
        close(turned([0.3, 0.3, 0.3], 0.4), [0.3; 3]);
        for colour in [[0.8, 0.2, 0.4], [0.1, 0.6, 0.3], [0.25, 0.5, 1.0], [0.7, 0.7, 0.0]] {
            close(turned(colour, 0.0), colour);
            close(turned(turned(colour, 0.23), -0.23), colour);
        }
        let half = applied(ColorJitter { hue: 0.5, ..NONE }, 0.0);
        close(rgb(&half, 0), turned(rgb(&IMAGE, 0), 0.5));
        assert_eq!(rgb(&half, 3), rgb(&IMAGE, 3), "a grey has no hue");
    }

    #[test]
    fn orders_differ_and_nothing_asked_for_is_nothing_done() {
        let strong = ColorJitter { brightness: 0.9, contrast: 0.9, saturation: 0.9, hue: 0.5 };
        let mut image = IMAGE;
        NONE.apply(&mut image, 3, at(0.4));
        assert_eq!(image, IMAGE);
        // Equal factors in other orders are other images, since values are held in their range.
        let fixed = |order: u64| {
            let mut image = IMAGE;
            strong.apply(&mut image, 3, |c| match c {
                0..4 => draw(Purpose::Augmentation, 1, order, 0, c),
                _ => at(0.95)(c),
            });
            image
        };
        assert!((1..20).any(|order| fixed(order) != fixed(0)));
        for seed in 0..200 {
            let mut image = IMAGE;
            strong.apply(&mut image, 3, |c| draw(Purpose::Augmentation, seed, 0, 0, c));
            assert!(image.iter().all(|x| (0.0..=1.0).contains(x)), "{image:?}");
        }
    }

    #[test]
    fn grey_images_have_brightness_and_contrast_alone() {
        let both = ColorJitter { brightness: 0.4, contrast: 0.4, ..NONE };
        let mut image = [0.2, 0.4, 0.9];
        ColorJitter { contrast: 0.4, ..NONE }.apply(&mut image, 1, at(0.75));
        for (got, x) in image.into_iter().zip([0.2, 0.4, 0.9]) {
            assert!((got - (1.2_f32 * x - 0.2 * 0.5)).abs() < 1e-6, "{got}");
        }
        assert!(both.check(1).is_ok() && both.check(4).is_ok());
        let colours = [ColorJitter { hue: 0.1, ..NONE }, ColorJitter { saturation: 0.1, ..NONE }];
        for own in colours {
            assert!(own.check(3).is_ok());
            let text = own.check(1).unwrap_err().to_string();
            assert!(text.contains("0, for images have 1 channels"), "{text}");
        }
        for bad in [
            ColorJitter { hue: 0.51, ..NONE },
            ColorJitter { brightness: -0.1, ..NONE },
            ColorJitter { contrast: f64::NAN, ..NONE },
            ColorJitter { saturation: f64::INFINITY, ..NONE },
        ] {
            assert!(matches!(bad.check(3), Err(DataError::OutOfRange { .. })), "{bad:?}");
        }
    }
}
