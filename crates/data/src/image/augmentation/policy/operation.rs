//! The operations of the policies, on bytes.
//!
//! ```text
//! blend(rest, x, f) = rest + f (x - rest), cut off to a byte
//! brightness   rest = 0
//! color        rest = grey of the pixel         grey = (19595 red + 38470 green + 7471 blue + 32768) / 65536
//! contrast     rest = mean of grey, rounded
//! sharpness    rest = mean over the 9 pixels around with 5 for the middle one, but the pixel at the edges
//! posterize    the highest bits of each byte
//! solarize     x < threshold ? x : 255 - x
//! auto-contrast  each channel stretched to 0..255
//! equalize     each channel by its cumulative histogram
//! ```
//! f is 1 + magnitude. Values are those of Pillow to the last bit (golden test below).

use super::affine::Affine;

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing is done.
    Identity,
    /// Rows moved by their number.
    ShearX,
    /// Columns moved by their number.
    ShearY,
    /// Moved right.
    TranslateX,
    /// Moved down.
    TranslateY,
    /// Turned counterclockwise.
    Rotate,
    /// Darker or brighter.
    Brightness,
    /// Paler or more colourful.
    Color,
    /// Less or more contrast.
    Contrast,
    /// Blurred or sharpened.
    Sharpness,
    /// Fewer values.
    Posterize,
    /// The bright turned dark.
    Solarize,
    /// The full range of values.
    AutoContrast,
    /// An even histogram.
    Equalize,
}

/// An operation at a magnitude, in the operation's own unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Applied {
    /// What is done.
    pub(super) kind: Kind,
    /// How much.
    pub(super) magnitude: f64,
}

impl Kind {
    /// All, in the order by which they are drawn. Fixed for ever: another order is another view.
    pub(super) const ALL: [Self; 14] = [
        Self::Identity,
        Self::ShearX,
        Self::ShearY,
        Self::TranslateX,
        Self::TranslateY,
        Self::Rotate,
        Self::Brightness,
        Self::Color,
        Self::Contrast,
        Self::Sharpness,
        Self::Posterize,
        Self::Solarize,
        Self::AutoContrast,
        Self::Equalize,
    ];

    /// Whether a magnitude may go either way.
    pub(super) fn is_signed(self) -> bool {
        !matches!(
            self,
            Self::Identity | Self::Posterize | Self::Solarize | Self::AutoContrast | Self::Equalize
        )
    }

    /// What step 0 to 30 of RandAugment means on a picture of this height and width.
    pub(super) fn rand_augment(self, step: u32, height: usize, width: usize) -> f64 {
        let share = f64::from(step) / 30.0;
        match self {
            Self::ShearX | Self::ShearY => 0.3 * share,
            Self::TranslateX => 150.0 * width as f64 * f64::from(step) / (331.0 * 30.0),
            Self::TranslateY => 150.0 * height as f64 * f64::from(step) / (331.0 * 30.0),
            Self::Rotate => 30.0 * share,
            Self::Brightness | Self::Color | Self::Contrast | Self::Sharpness => 0.9 * share,
            Self::Posterize => 8.0 - (f64::from(step) / 7.5).round(),
            Self::Solarize => 255.0 - 8.5 * f64::from(step),
            Self::Identity | Self::AutoContrast | Self::Equalize => 0.0,
        }
    }

    /// What step 0 to 30 of TrivialAugment's wide ranges means.
    pub(super) fn trivial_augment(self, step: u32) -> f64 {
        let share = f64::from(step) / 30.0;
        match self {
            Self::ShearX | Self::ShearY => 0.99 * share,
            Self::TranslateX | Self::TranslateY => 32.0 * f64::from(step) / 30.0,
            Self::Rotate => 4.5 * f64::from(step),
            Self::Brightness | Self::Color | Self::Contrast | Self::Sharpness => 0.99 * share,
            Self::Posterize => 8.0 - (f64::from(step) / 5.0).round(),
            Self::Solarize => 255.0 - 8.5 * f64::from(step),
            Self::Identity | Self::AutoContrast | Self::Equalize => 0.0,
        }
    }

    /// Changes a picture `[channels, height, width]` of one or three channels.
    pub(super) fn apply(self, magnitude: f64, picture: &mut Vec<u8>, shape: [usize; 3]) {
        let [channels, height, width] = shape;
        let area = height * width;
        let affine = |own: Affine, picture: &mut Vec<u8>| *picture = own.apply(picture, shape);
        let factor = (1.0 + magnitude) as f32;
        match self {
            Self::Identity => {}
            Self::ShearX => affine(Affine::shear_x(magnitude), picture),
            Self::ShearY => affine(Affine::shear_y(magnitude), picture),
            Self::TranslateX => affine(Affine::translate(magnitude, 0.0), picture),
            Self::TranslateY => affine(Affine::translate(0.0, magnitude), picture),
            Self::Rotate => affine(Affine::rotate(magnitude, [height, width]), picture),
            Self::Brightness => picture.iter_mut().for_each(|x| *x = blend(0, *x, factor)),
            Self::Color if channels == 3 => {
                for (at, rest) in greys(picture, channels).into_iter().enumerate() {
                    for channel in 0..channels {
                        let x = &mut picture[channel * area + at];
                        *x = blend(rest, *x, factor);
                    }
                }
            }
            // Grey has no colours to weaken.
            Self::Color => {}
            Self::Contrast => {
                let sum: u64 = greys(picture, channels).into_iter().map(u64::from).sum();
                let rest = (sum as f64 / area as f64 + 0.5) as u8;
                picture.iter_mut().for_each(|x| *x = blend(rest, *x, factor));
            }
            Self::Sharpness => {
                for plane in picture.chunks_exact_mut(area) {
                    let smooth = smoothed(plane, height, width);
                    let pixels = plane.iter_mut().zip(smooth);
                    pixels.for_each(|(x, rest)| *x = blend(rest, *x, factor));
                }
            }
            Self::Posterize => {
                let low = 8_u32.saturating_sub(magnitude as u32);
                let kept = (0xff_u32 << low) as u8;
                picture.iter_mut().for_each(|x| *x &= kept);
            }
            Self::Solarize => {
                let turned = |x: u8| if f64::from(x) < magnitude { x } else { 255 - x };
                picture.iter_mut().for_each(|x| *x = turned(*x));
            }
            Self::AutoContrast => picture.chunks_exact_mut(area).for_each(stretch),
            Self::Equalize => picture.chunks_exact_mut(area).for_each(equalize),
        }
    }
}

/// `rest + factor (x - rest)`, cut off to a byte.
fn blend(rest: u8, x: u8, factor: f32) -> u8 {
    // The conversion holds values below 0 and above 255 at the ends.
    (f32::from(rest) + factor * (f32::from(x) - f32::from(rest))) as u8
}

/// The grey of each pixel.
fn greys(picture: &[u8], channels: usize) -> Vec<u8> {
    if channels != 3 {
        return picture.to_vec();
    }
    let area = picture.len() / 3;
    let grey = |at: usize| {
        let [red, green, blue] = [0, 1, 2].map(|channel| u32::from(picture[channel * area + at]));
        ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16) as u8
    };
    (0..area).map(grey).collect()
}

/// Each pixel but those at the edges as the mean of the 9 around, the middle one five times.
fn smoothed(plane: &[u8], height: usize, width: usize) -> Vec<u8> {
    let mut smooth = plane.to_vec();
    for y in 1..height.saturating_sub(1) {
        for x in 1..width.saturating_sub(1) {
            let row = |y: usize| plane[y * width + x - 1..y * width + x + 2].iter();
            let around = row(y - 1).chain(row(y)).chain(row(y + 1));
            let sum =
                around.map(|&x| u32::from(x)).sum::<u32>() + 4 * u32::from(plane[y * width + x]);
            // To the nearest; a thirteenth never lies in the middle.
            smooth[y * width + x] = ((2 * sum + 13) / 26) as u8;
        }
    }
    smooth
}

/// Stretches a channel to 0..255; one of a single value stays.
fn stretch(plane: &mut [u8]) {
    let (Some(&low), Some(&high)) = (plane.iter().min(), plane.iter().max()) else { return };
    if low < high {
        let scale = 255.0 / (f64::from(high) - f64::from(low));
        let offset = -f64::from(low) * scale;
        plane.iter_mut().for_each(|x| *x = (f64::from(*x) * scale + offset) as u8);
    }
}

/// Maps a channel by its cumulative histogram; one of a single value stays, and so does one of fewer than
/// 255 pixels beside the brightest.
fn equalize(plane: &mut [u8]) {
    let mut counts = [0_usize; 256];
    plane.iter().for_each(|&x| counts[usize::from(x)] += 1);
    let Some(&brightest) = counts.iter().rev().find(|&&count| count > 0) else { return };
    let step = (plane.len() - brightest) / 255;
    if step == 0 {
        return;
    }
    let mut sum = step / 2;
    let map = counts.map(|count| {
        let value = (sum / step).min(255) as u8;
        sum += count;
        value
    });
    plane.iter_mut().for_each(|x| *x = map[usize::from(*x)]);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use safetensors::SafeTensors;

    use super::*;

    #[test]
    fn every_operation_gives_what_pillow_gives() {
        let path =
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/augmentation/operations.safetensors");
        let bytes = std::fs::read(path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let mut seen = BTreeSet::new();
        let mut wrong = Vec::new();
        for (name, want) in file.iter() {
            let Some((picture, case)) = name.split_once('.') else { continue };
            let (operation, magnitude) = case.split_once('.').unwrap();
            let kind = match operation {
                "shear-x" => Kind::ShearX,
                "shear-y" => Kind::ShearY,
                "translate-x" => Kind::TranslateX,
                "translate-y" => Kind::TranslateY,
                "rotate" => Kind::Rotate,
                "brightness" => Kind::Brightness,
                "color" => Kind::Color,
                "contrast" => Kind::Contrast,
                "sharpness" => Kind::Sharpness,
                "posterize" => Kind::Posterize,
                "solarize" => Kind::Solarize,
                "auto-contrast" => Kind::AutoContrast,
                "equalize" => Kind::Equalize,
                other => panic!("no operation {other}"),
            };
            let start = file.tensor(picture).unwrap();
            let shape = <[usize; 3]>::try_from(start.shape()).unwrap();
            let mut got = start.data().to_vec();
            kind.apply(magnitude.parse().unwrap(), &mut got, shape);
            let differ = got.iter().zip(want.data()).filter(|(a, b)| a != b).count();
            if differ > 0 || got.len() != want.data().len() {
                wrong.push(format!("{name}: {differ} of {}", got.len()));
            }
            // A case that changes nothing would show nothing.
            let is_still = (operation, magnitude) == ("solarize", "255.0") || case == "color.0.27";
            assert!(is_still || want.data() != start.data(), "{name}");
            seen.insert(operation.to_owned());
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert_eq!(seen.len(), Kind::ALL.len() - 1, "{seen:?}");
    }

    #[test]
    fn magnitudes_are_those_of_torchvision() {
        let rand = |kind: Kind, step| kind.rand_augment(step, 40, 32);
        let close = |got: f64, want: f64| assert!((got - want).abs() < 1e-12, "{got}, not {want}");
        close(rand(Kind::ShearX, 9), 0.09);
        close(rand(Kind::TranslateX, 9), 150.0 / 331.0 * 32.0 * 0.3);
        close(rand(Kind::TranslateY, 30), 150.0 / 331.0 * 40.0);
        close(rand(Kind::Rotate, 9), 9.0);
        close(rand(Kind::Color, 9), 0.27);
        close(rand(Kind::Solarize, 9), 178.5);
        let bits =
            |of: fn(Kind, u32) -> f64| [0, 3, 4, 9, 30].map(|step| of(Kind::Posterize, step));
        assert_eq!(bits(|kind, step| kind.rand_augment(step, 1, 1)), [8.0, 8.0, 7.0, 7.0, 4.0]);
        assert_eq!(bits(Kind::trivial_augment), [8.0, 7.0, 7.0, 6.0, 2.0]);
        close(Kind::ShearY.trivial_augment(30), 0.99);
        close(Kind::TranslateX.trivial_augment(15), 16.0);
        close(Kind::Rotate.trivial_augment(30), 135.0);
        close(Kind::Sharpness.trivial_augment(10), 0.33);
    }

    #[test]
    fn flat_and_tiny_pictures_survive_every_operation() {
        for shape in [[3, 1, 1], [1, 1, 7], [3, 2, 2], [1, 20, 20]] {
            for kind in Kind::ALL {
                for magnitude in [0.0, 0.99, -0.99, 2.0] {
                    let mut picture = vec![77; shape.iter().product()];
                    kind.apply(magnitude, &mut picture, shape);
                    assert_eq!(picture.len(), shape.iter().product::<usize>());
                }
            }
            for kind in [Kind::AutoContrast, Kind::Equalize, Kind::Sharpness, Kind::Color] {
                let mut picture = vec![77; shape.iter().product()];
                kind.apply(0.5, &mut picture, shape);
                assert!(picture.iter().all(|&x| x == 77), "{kind:?} of a flat picture");
            }
        }
    }
}
