//! The bytes of image files to planes of pixels, and many of them to an image set.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::imageops::FilterType;
use image::metadata::Orientation;
use image::{
    ColorType, DynamicImage, ExtendedColorType, ImageDecoder, ImageError, ImageFormat, ImageReader,
    Limits,
};

use crate::bounds::{OF_A_PICTURE, check_justified, in_turn};
use crate::error::panic_message;
use crate::findings::Findings;
use crate::origin::Origins;
use crate::splits::Splits;
use crate::{DataError, ExifOrientation, ImageSet, ReadOptions};

mod jpeg;

/// The most pixels that one byte can give: 8 pixels of one bit in a byte, 1032 bytes from one of
/// deflate. JPEG gives fewer.
const PIXELS_PER_BYTE: u64 = 8 * 1032;

/// Memory for what stands beside the pixels of a PNG: colour profiles and texts, which are
/// compressed too, and two rows. Real profiles have some kilobytes.
const BESIDE_THE_PIXELS: u64 = 16 << 20;

/// What is made of an image when it is decoded.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Decoding {
    /// `[height, width]` that it is scaled to, after it was turned.
    pub(crate) resize: Option<[usize; 2]>,
    pub(crate) orientation: ExifOrientation,
}

impl Decoding {
    pub(crate) fn of(options: &ReadOptions) -> Self {
        Self { resize: options.resize, orientation: options.exif_orientation }
    }
}

/// A decoded image: grey, or red, green and blue.
#[derive(Debug)]
pub(crate) struct Picture {
    /// 1 or 3.
    channels: usize,
    /// `[height, width]`.
    size: [usize; 2],
    /// `[channels, height, width]`.
    pixels: Vec<u8>,
    /// Whether it was turned or mirrored by its EXIF orientation.
    turned: bool,
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

/// Decodes an image; alpha is dropped, 16 bits become 8.
pub(crate) fn decode(
    bytes: &[u8],
    path: &Path,
    row: Option<u64>,
    decoding: Decoding,
) -> Result<Picture, DataError> {
    // The decoders are not ours; should one panic on a damaged file, that is still an error of the
    // file.
    catch_unwind(AssertUnwindSafe(|| decode_trusting(bytes, path, row, decoding))).unwrap_or_else(
        |payload| {
            let message = panic_message(payload.as_ref());
            Err(DataError::DecoderPanicked { path: path.to_owned(), row, message })
        },
    )
}

/// The format of an image file, if it is one that is read.
pub(crate) fn known_format(bytes: &[u8]) -> Option<ImageFormat> {
    use ImageFormat::{Bmp, Gif, Jpeg, Png, Tiff, WebP};
    let is_read = |format: &ImageFormat| matches!(format, Png | Jpeg | WebP | Bmp | Gif | Tiff);
    image::guess_format(bytes).ok().filter(is_read)
}

fn decode_trusting(
    bytes: &[u8],
    path: &Path,
    row: Option<u64>,
    decoding: Decoding,
) -> Result<Picture, DataError> {
    if bytes.is_empty() {
        return Err(DataError::EmptyFile { path: path.to_owned(), row });
    }
    let Some(format) = known_format(bytes) else {
        return Err(DataError::NotAnImage { path: path.to_owned(), row });
    };
    let corrupt = |source| DataError::CorruptImage { path: path.to_owned(), row, source };
    let header = match format {
        ImageFormat::Jpeg => jpeg::Header::read(bytes).map(Box::new).map(Decoder::Jpeg),
        _ => reader(bytes, format).map(Decoder::Other),
    };
    let mut decoder = header.map_err(corrupt)?;
    let [height, width] = decoder.size();
    let most = (bytes.len() as u64).saturating_mul(PIXELS_PER_BYTE);
    let pixels = (height as u64).saturating_mul(width as u64);
    if pixels > most || pixels == 0 {
        let (path, bytes) = (path.to_owned(), bytes.len());
        return Err(DataError::ImplausibleImage { path, row, size: [height, width], bytes });
    }
    let decoded = decoder.total_bytes();
    check_justified(path, bytes.len() as u64, decoded, OF_A_PICTURE)?;
    if is_cut(bytes, format) {
        return Err(DataError::TruncatedImage { path: path.to_owned(), row });
    }
    // What cannot be read of it says nothing, as in every viewer.
    let orientation = match decoding.orientation {
        ExifOrientation::Apply => decoder.orientation().unwrap_or(Orientation::NoTransforms),
        ExifOrientation::Ignore => Orientation::NoTransforms,
    };
    in_turn(decoded, || {
        let grey = decoder.is_grey();
        let image = decoder.pixels().map_err(corrupt)?;
        if matches!(image, DynamicImage::ImageRgb32F(_) | DynamicImage::ImageRgba32F(_)) {
            return Err(DataError::NotAnImage { path: path.to_owned(), row });
        }
        Ok(planes(image, grey, orientation, decoding.resize))
    })
}

/// Whether a file ends before its image does, where the decoder would not mind.
fn is_cut(bytes: &[u8], format: ImageFormat) -> bool {
    match format {
        ImageFormat::Jpeg => !jpeg::has_end(bytes),
        // `RIFF`, then the length of the rest.
        ImageFormat::WebP => {
            let length = bytes.get(4..8).and_then(|length| length.try_into().ok());
            let length = length.map_or(u64::MAX, |length| u32::from_le_bytes(length).into());
            (bytes.len() as u64) < length + 8
        }
        _ => false,
    }
}

/// An image whose header was read.
enum Decoder<'a> {
    Jpeg(Box<jpeg::Header<'a>>),
    Other(Box<dyn ImageDecoder + 'a>),
}

fn reader(bytes: &[u8], format: ImageFormat) -> Result<Box<dyn ImageDecoder + '_>, ImageError> {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(match format {
        ImageFormat::Png => BESIDE_THE_PIXELS,
        _ => 4 * OF_A_PICTURE.max(bytes.len() as u64),
    });
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    Ok(Box::new(reader.into_decoder()?))
}

impl Decoder<'_> {
    /// `[height, width]`.
    fn size(&self) -> [usize; 2] {
        match self {
            Self::Jpeg(header) => header.size,
            Self::Other(decoder) => {
                let (width, height) = decoder.dimensions();
                [height as usize, width as usize]
            }
        }
    }

    fn total_bytes(&self) -> u64 {
        match self {
            Self::Jpeg(header) => header.total_bytes(),
            Self::Other(decoder) => decoder.total_bytes(),
        }
    }

    fn orientation(&mut self) -> Result<Orientation, ImageError> {
        match self {
            Self::Jpeg(header) => Ok(header.orientation()),
            Self::Other(decoder) => decoder.orientation(),
        }
    }

    fn is_grey(&self) -> bool {
        let decoder = match self {
            Self::Jpeg(header) => return header.grey,
            Self::Other(decoder) => decoder,
        };
        matches!(
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
        )
    }

    fn pixels(self) -> Result<DynamicImage, ImageError> {
        match self {
            Self::Jpeg(header) => header.pixels(),
            Self::Other(decoder) => DynamicImage::from_decoder(decoder),
        }
    }
}

/// 8 bits a channel, turned, scaled, plane by plane.
fn planes(
    image: DynamicImage,
    grey: bool,
    orientation: Orientation,
    resize: Option<[usize; 2]>,
) -> Picture {
    let mut image: DynamicImage =
        if grey { image.into_luma8().into() } else { image.into_rgb8().into() };
    image.apply_orientation(orientation);
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
    Picture { channels, size, pixels, turned: orientation != Orientation::NoTransforms }
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
    origins: Origins,
    /// How many were turned or mirrored by their EXIF orientation.
    turned: usize,
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
        self.turned += usize::from(picture.turned);
        self.origins.push(path, row.map(|row| ("row", row)));
        Ok(())
    }

    /// Takes over all pictures of another.
    pub(crate) fn append(&mut self, mut other: Self, path: &Path) -> Result<(), DataError> {
        if other.is_empty() {
            return Ok(());
        }
        if self.is_empty() {
            *self = other;
            return Ok(());
        }
        if other.size != self.size {
            let (path, row, expected, found) = (path.to_owned(), None, self.size, other.size);
            return Err(DataError::MixedSizes { path, row, expected, found });
        }
        if self.channels != other.channels {
            self.make_colour();
            other.make_colour();
        }
        self.pixels.append(&mut other.pixels);
        self.labels.append(&mut other.labels);
        self.turned += other.turned;
        self.origins = self.origins.followed_by(&other.origins);
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    pub(crate) fn labels(&self) -> &[u32] {
        &self.labels
    }

    fn make_colour(&mut self) {
        if self.channels == 1 {
            let area = self.size[0] * self.size[1];
            self.pixels = self.pixels.chunks_exact(area).flat_map(|grey| grey.repeat(3)).collect();
            self.channels = 3;
        }
    }

    fn into_set(self) -> Result<ImageSet, DataError> {
        let [height, width] = self.size;
        let set = ImageSet::new(self.channels, height, width, self.pixels, self.labels)?;
        Ok(set.with_origins(self.origins))
    }
}

/// Makes the sets of all splits; if one is in colour, all become so. Says how many images were turned.
pub(crate) fn into_sets(
    mut splits: Splits<Gather>,
    findings: &mut Findings,
) -> Result<Splits<ImageSet>, DataError> {
    let turned: usize = splits.iter().map(|gather| gather.turned).sum();
    if turned > 0 {
        findings.notes.push(format!(
            "{turned} {} turned by EXIF orientation; `exif_orientation = \"ignore\"` reads images as \
             they are stored, which is what torchvision's `ImageFolder` does",
            if turned == 1 { "image was" } else { "images were" }
        ));
    }
    if splits.iter().any(|gather| gather.channels == 3) {
        splits.iter_mut().for_each(Gather::make_colour);
    }
    splits.try_map(Gather::into_set)
}

#[cfg(test)]
pub(crate) mod tests;
