//! Mean and standard deviation of each channel.

use serde::{Deserialize, Serialize};

use crate::{DataError, ImageSet};

/// Mean and standard deviation of each channel, over pixel / 255: what [`crate::Renderer`]
/// subtracts and divides by.
///
/// # Shapes
/// mean `[channels]`, std `[channels]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalisation {
    /// Mean of each channel.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel, above 0.
    pub std: Vec<f32>,
}

impl Normalisation {
    /// The numbers of CIFAR-100, as the published teachers were trained with (RepDistiller and its
    /// followers).
    #[must_use]
    pub fn cifar100() -> Self {
        Self { mean: vec![0.5071, 0.4867, 0.4408], std: vec![0.2675, 0.2565, 0.2761] }
    }

    /// No normalisation: values stay in `[0, 1]`.
    #[must_use]
    pub fn identity(channels: usize) -> Self {
        Self { mean: vec![0.0; channels], std: vec![1.0; channels] }
    }

    /// Values from 0 to 255, for networks that normalise by themselves.
    #[must_use]
    pub fn bytes(channels: usize) -> Self {
        Self { mean: vec![0.0; channels], std: vec![1.0 / 255.0; channels] }
    }

    /// Measures the images at `indices` of a set: the standard deviation is that of all pixels of a channel
    /// (divided by their number).
    ///
    /// Sums are whole numbers, so order and threads do not matter. A channel that never changes has
    /// the standard deviation 1.
    ///
    /// # Errors
    /// [`DataError::OutOfRange`] if there are no indices or one is not below the number of samples.
    pub fn measure(set: &ImageSet, indices: &[usize]) -> Result<Self, DataError> {
        let bad = indices.iter().find(|&&index| index >= set.len());
        if bad.is_some() || indices.is_empty() {
            return Err(DataError::OutOfRange {
                name: "an index to measure",
                found: bad.map_or_else(|| "missing".to_owned(), ToString::to_string),
                range: format!("below {}, the number of samples", set.len()),
            });
        }
        let area = set.height() * set.width();
        let mut sums = vec![(0_u64, 0_u64); set.channels()];
        for &index in indices {
            for (channel, (sum, squares)) in set.image(index).chunks_exact(area).zip(&mut sums) {
                for &pixel in channel {
                    let pixel = u64::from(pixel);
                    *sum += pixel;
                    *squares += pixel * pixel;
                }
            }
        }
        let count = (area * indices.len()) as f64;
        let (mean, std) = sums
            .into_iter()
            .map(|(sum, squares)| {
                let mean = sum as f64 / count;
                let variance = (squares as f64 / count - mean * mean).max(0.0);
                // One grey level in a million pixels is far above this; rounding is far below.
                let std = if variance < 1e-9 { 255.0 } else { variance.sqrt() };
                ((mean / 255.0) as f32, (std / 255.0) as f32)
            })
            .unzip();
        Ok(Self { mean, std })
    }

    /// Checks that there is one finite mean and one positive standard deviation a channel.
    ///
    /// # Errors
    /// [`DataError::WrongShape`] or [`DataError::OutOfRange`].
    pub fn check(&self, channels: usize) -> Result<(), DataError> {
        for (what, values) in [
            ("means of the normalisation", &self.mean),
            ("deviations of the normalisation", &self.std),
        ] {
            if values.len() != channels {
                let (expected, found) = (channels, values.len());
                return Err(DataError::WrongShape { what, expected, found });
            }
        }
        let bad_mean = self.mean.iter().find(|mean| !mean.is_finite());
        let bad_std = self.std.iter().find(|std| !(std.is_finite() && **std > 0.0));
        let (name, found, range) = match (bad_mean, bad_std) {
            (Some(mean), _) => ("a mean of the normalisation", mean, "finite"),
            (_, Some(std)) => ("a deviation of the normalisation", std, "finite and above 0"),
            (None, None) => return Ok(()),
        };
        let (found, range) = (found.to_string(), range.to_owned());
        Err(DataError::OutOfRange { name, found, range })
    }

    /// The normalised value of each byte, `[channels][256]`: `(byte / 255 - mean) / std` in f32, in
    /// PyTorch's order of operations.
    pub(crate) fn table(&self) -> Vec<[f32; 256]> {
        let one = |(&mean, &std): (&f32, &f32)| {
            std::array::from_fn(|byte| (byte as f32 / 255.0 - mean) / std)
        };
        self.mean.iter().zip(&self.std).map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_each_channel_over_the_chosen_images() {
        // Channel 0: 0 and 255 -> mean 0.5, standard deviation 0.5; channel 1: always 51 -> 0.2 and 1.
        let pixels = vec![0, 255, 51, 51, 255, 0, 51, 51, 9, 9, 9, 9];
        let set = ImageSet::new(2, 1, 2, pixels, vec![0, 0, 0]).unwrap();
        let got = Normalisation::measure(&set, &[0, 1]).unwrap();
        assert_eq!(got, Normalisation { mean: vec![0.5, 0.2], std: vec![0.5, 1.0] });
        assert!(Normalisation::measure(&set, &[]).is_err());
        assert!(Normalisation::measure(&set, &[3]).is_err());
    }

    #[test]
    fn refuses_wrong_channels_and_useless_deviations() {
        let cifar = Normalisation::cifar100();
        assert!(cifar.check(3).is_ok());
        assert!(matches!(cifar.check(1), Err(DataError::WrongShape { expected: 1, found: 3, .. })));
        for std in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let bad = Normalisation { mean: vec![0.0], std: vec![std] };
            assert!(matches!(bad.check(1), Err(DataError::OutOfRange { .. })), "{std}");
        }
    }
}
