//! JPEG without leniency: what a file does not hold is not made grey.
//!
//! The decoder under the `image` crate fills what is missing of a cut file, which a viewer wants
//! and a training does not. Oddities of headers are still forgiven: they lose no pixel. What cannot
//! be seen is a file that was cut and then closed with an end marker.

use image::error::{DecodingError, ImageFormatHint};
use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, ImageError, ImageFormat, RgbImage};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

/// A file whose header was read.
pub(super) struct Header<'a> {
    decoder: JpegDecoder<ZCursor<&'a [u8]>>,
    /// `[height, width]`.
    pub(super) size: [usize; 2],
    pub(super) grey: bool,
}

impl<'a> Header<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, ImageError> {
        let side = usize::from(u16::MAX);
        let options = DecoderOptions::default()
            .set_strict_mode(false)
            .set_max_width(side)
            .set_max_height(side);
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
        decoder.decode_headers().map_err(error)?;
        let (width, height) = decoder.dimensions().unwrap_or_default();
        let colours = decoder.input_colorspace();
        let grey = matches!(colours, Some(ColorSpace::Luma | ColorSpace::LumaA));
        Ok(Self { decoder, size: [height, width], grey })
    }

    /// As its EXIF data says.
    pub(super) fn orientation(&self) -> Orientation {
        let exif = self.decoder.exif();
        let found = exif.and_then(|chunk| Orientation::from_exif_chunk(chunk));
        found.unwrap_or(Orientation::NoTransforms)
    }

    pub(super) fn total_bytes(&self) -> u64 {
        let channels = if self.grey { 1 } else { 3 };
        (self.size[0] as u64 * self.size[1] as u64).saturating_mul(channels)
    }

    pub(super) fn pixels(mut self) -> Result<DynamicImage, ImageError> {
        let colours = if self.grey { ColorSpace::Luma } else { ColorSpace::RGB };
        let options = self.decoder.options().jpeg_set_out_colorspace(colours);
        self.decoder.set_options(options.set_strict_mode(true));
        let pixels = self.decoder.decode().map_err(error)?;
        let [height, width] = self.size.map(|side| side as u32);
        let image = match self.grey {
            true => GrayImage::from_raw(width, height, pixels).map(Into::into),
            false => RgbImage::from_raw(width, height, pixels).map(Into::into),
        };
        image.ok_or_else(|| error("fewer pixels than its header says"))
    }
}

fn error(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ImageError {
    ImageError::Decoding(DecodingError::new(ImageFormatHint::Exact(ImageFormat::Jpeg), source))
}

/// Whether the file has its end marker behind its last scan: one cut anywhere has none.
pub(super) fn has_end(bytes: &[u8]) -> bool {
    // Behind the start marker.
    let mut at = 2;
    loop {
        // What lies between segments: nothing, fill bytes, or the coded pixels of a scan, in which a
        // 0xff is followed by 0 or is a restart marker.
        let Some(found) = bytes.get(at..).and_then(|rest| rest.iter().position(|&b| b == 0xff))
        else {
            return false;
        };
        at += found + 1;
        let segment = match bytes.get(at) {
            None => return false,
            Some(0xd9) => return true,
            // Fill bytes repeat.
            Some(0xff) => continue,
            // No segments: escaped 0xff, restart, start, reserved.
            Some(0x00..=0x01 | 0xd0..=0xd8) => 0,
            // Its length comes first and counts itself.
            Some(_) => match bytes.get(at + 1..at + 3) {
                Some(&[high, low]) => usize::from(u16::from_be_bytes([high, low])),
                _ => return false,
            },
        };
        at += 1 + segment;
    }
}
