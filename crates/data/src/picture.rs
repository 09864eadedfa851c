//! PNG and JPEG bytes to planes of pixels, and many of them to an image set.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::imageops::FilterType;
use image::{ColorType, DynamicImage, ExtendedColorType, ImageDecoder, ImageFormat, ImageReader};

use crate::bounds::{OF_A_PICTURE, check_justified};
use crate::error::panic_message;
use crate::{DataError, ImageSet};

/// The most pixels that one byte can give: 8 pixels of one bit in a byte, 1032 bytes from one of
/// deflate. JPEG gives fewer.
const PIXELS_PER_BYTE: u64 = 8 * 1032;

/// A decoded image: grey, or red, green and blue.
#[derive(Debug)]
pub(crate) struct Picture {
    /// 1 or 3.
    channels: usize,
    /// `[height, width]`.
    size: [usize; 2],
    /// `[channels, height, width]`.
    pixels: Vec<u8>,
}

impl Picture {
    /// Of its pixels.
    pub(crate) fn bytes(&self) -> u64 {
        self.pixels.len() as u64
    }

    /// Its pixels `[channels, height, width]` for 1 or 3 channels: grey is repeated, colour weighed
    /// in whole numbers (ITU-R BT.601, rounded as PIL does).
    pub(crate) fn with_channels(self, channels: usize) -> Vec<u8> {
        let plane = self.size[0] * self.size[1];
        match (self.channels, channels) {
            (1, 3) => self.pixels.repeat(3),
            (3, 1) => {
                let part = |channel: usize, at: usize| u32::from(self.pixels[channel * plane + at]);
                let grey = |at| 19595 * part(0, at) + 38470 * part(1, at) + 7471 * part(2, at);
                (0..plane).map(|at| ((grey(at) + 0x8000) >> 16) as u8).collect()
            }
            _ => self.pixels,
        }
    }
}

/// Decodes an image; alpha is dropped, 16 bits become 8, orientation tags are not followed (as in
/// torchvision).
pub(crate) fn decode(
    bytes: &[u8],
    path: &Path,
    row: Option<u64>,
    resize: Option<[usize; 2]>,
) -> Result<Picture, DataError> {
    // The decoders are not ours; should one panic on a damaged file, that is still an error of the
    // file.
    catch_unwind(AssertUnwindSafe(|| decode_trusting(bytes, path, row, resize))).unwrap_or_else(
        |payload| {
            let message = panic_message(payload.as_ref());
            Err(DataError::DecoderPanicked { path: path.to_owned(), row, message })
        },
    )
}

fn decode_trusting(
    bytes: &[u8],
    path: &Path,
    row: Option<u64>,
    resize: Option<[usize; 2]>,
) -> Result<Picture, DataError> {
    let corrupt = |source| DataError::CorruptImage { path: path.to_owned(), row, source };
    let mut reader = ImageReader::new(Cursor::new(bytes));
    match image::guess_format(bytes).map_err(corrupt)? {
        format @ (ImageFormat::Png | ImageFormat::Jpeg) => reader.set_format(format),
        _ => {
            return Err(DataError::NotAnImage { path: path.to_owned() });
        }
    }
    let decoder = reader.into_decoder().map_err(corrupt)?;
    let (width, height) = decoder.dimensions();
    let most = (bytes.len() as u64).saturating_mul(PIXELS_PER_BYTE);
    if u64::from(width) * u64::from(height) > most || width == 0 || height == 0 {
        let size = [height as usize, width as usize];
        let (path, bytes) = (path.to_owned(), bytes.len());
        return Err(DataError::ImplausibleImage { path, row, size, bytes });
    }
    check_justified(path, bytes.len() as u64, decoder.total_bytes(), OF_A_PICTURE)?;
    let grey = matches!(
        decoder.original_color_type(),
        ExtendedColorType::L1
            | ExtendedColorType::L2
            | ExtendedColorType::L4
            | ExtendedColorType::La1
            | ExtendedColorType::La2
            | ExtendedColorType::La4
    ) || matches!(
        decoder.color_type(),
        ColorType::L8 | ColorType::La8 | ColorType::L16 | ColorType::La16
    );
    let mut image = DynamicImage::from_decoder(decoder).map_err(corrupt)?;
    image = if grey { image.into_luma8().into() } else { image.into_rgb8().into() };
    if let Some([height, width]) = resize
        && [image.height() as usize, image.width() as usize] != [height, width]
    {
        // Triangle with antialiasing: what PIL and torchvision call bilinear.
        image = image.resize_exact(width as u32, height as u32, FilterType::Triangle);
    }
    let size = [image.height() as usize, image.width() as usize];
    let channels = if grey { 1 } else { 3 };
    let interleaved = image.into_bytes();
    let pixels = if grey {
        interleaved
    } else {
        let plane = |channel| interleaved.iter().skip(channel).step_by(3).copied();
        (0..3).flat_map(plane).collect()
    };
    Ok(Picture { channels, size, pixels })
}

/// Pictures of one size and their labels, collected in order.
///
/// If one picture is in colour, all become so: the result does not depend on the order.
#[derive(Debug, Default)]
pub(crate) struct Gather {
    channels: usize,
    size: [usize; 2],
    pixels: Vec<u8>,
    labels: Vec<u32>,
}

impl Gather {
    pub(crate) fn push(
        &mut self,
        picture: Picture,
        label: u32,
        path: &Path,
        row: Option<u64>,
    ) -> Result<(), DataError> {
        if self.labels.is_empty() {
            self.channels = picture.channels;
            self.size = picture.size;
        }
        if picture.size != self.size {
            let (expected, found) = (self.size, picture.size);
            return Err(DataError::MixedSizes { path: path.to_owned(), row, expected, found });
        }
        if picture.channels == 3 {
            self.make_colour();
        }
        if picture.channels == self.channels {
            self.pixels.extend_from_slice(&picture.pixels);
        } else {
            (0..3).for_each(|_| self.pixels.extend_from_slice(&picture.pixels));
        }
        self.labels.push(label);
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    fn make_colour(&mut self) {
        if self.channels == 1 {
            let area = self.size[0] * self.size[1];
            self.pixels = self.pixels.chunks_exact(area).flat_map(|grey| grey.repeat(3)).collect();
            self.channels = 3;
        }
    }

    fn into_set(self) -> Result<ImageSet, DataError> {
        ImageSet::new(self.channels, self.size[0], self.size[1], self.pixels, self.labels)
    }
}

/// Makes the sets of the training and the test part; if one is in colour, both become so.
pub(crate) fn into_sets(
    mut train: Gather,
    mut test: Option<Gather>,
) -> Result<(ImageSet, Option<ImageSet>), DataError> {
    if train.channels == 3 || test.as_ref().is_some_and(|test| test.channels == 3) {
        train.make_colour();
        test.as_mut().map(Gather::make_colour).unwrap_or_default();
    }
    Ok((train.into_set()?, test.map(Gather::into_set).transpose()?))
}

#[cfg(test)]
pub(crate) mod tests;
