//! Image files: one as a network of a given input wants it, and those of a data set.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::bounds::Budget;
use crate::files::{FileRoot, MOST_BYTES, read_regular};
use crate::findings::Findings;
use crate::image::picture::{self, Decoding, Gather};
use crate::{DataError, ExifOrientation, ReadOptions};

/// Files decoded at a time: bounds the memory beside the result.
const CHUNK: usize = 512;

const IMAGE_EXTENSIONS: [&str; 10] =
    ["png", "jpg", "jpeg", "jpe", "jfif", "webp", "gif", "bmp", "tif", "tiff"];

/// Reads an image file (PNG, JPEG, WebP, GIF, BMP, TIFF) as `[channels, height, width]`: turned as its
/// EXIF orientation says unless told not to, scaled as datasets are (bilinear with antialiasing), grey repeated for three channels, colour made grey for one with
/// the weights of ITU-R BT.601 (as PIL does).
///
/// # Errors
/// When the file cannot be read or is no whole image; when `channels` is neither 1
/// nor 3.
pub fn read_image(
    path: &Path,
    shape: [usize; 3],
    orientation: ExifOrientation,
) -> Result<Vec<u8>, DataError> {
    let [channels, height, width] = shape;
    if channels != 1 && channels != 3 {
        return Err(DataError::OutOfRange {
            name: "the number of channels",
            found: channels.to_string(),
            range: "1 or 3 to read image files".to_owned(),
        });
    }
    let decoding = Decoding { resize: Some([height, width]), orientation };
    let picture = picture::decode(&read_regular(path, MOST_BYTES)?, path, None, decoding)?;
    Ok(picture.with_channels(channels))
}

/// Reads the image files `(path, label)` in parallel, in order.
///
/// Text files are left out with a note; whatever else is no image is an error, since it would be
/// missed without notice.
pub(crate) fn read_images(
    files: &FileRoot,
    images: &[(PathBuf, u32)],
    options: &ReadOptions,
    findings: &mut Findings,
) -> Result<Gather, DataError> {
    let mut gather = Gather::default();
    let budget = Budget::default();
    for chunk in images.chunks(CHUNK) {
        let decode = |path: &Path| {
            let file = files.read(path, MOST_BYTES)?;
            if is_text(path, &file) {
                return Ok(None);
            }
            let picture = picture::decode(&file, path, None, Decoding::of(options))?;
            budget.store(file.len() as u64);
            budget.decode(path, picture.bytes()).map(|()| Some(picture))
        };
        let decoded: Vec<_> = chunk.par_iter().map(|(path, _)| decode(path)).collect();
        for ((path, label), picture) in chunk.iter().zip(decoded) {
            match picture {
                Ok(Some(picture)) => gather.push(picture, *label, path, None)?,
                Ok(None) => findings.texts.push(path.clone()),
                Err(error) => findings.skip(error, options)?,
            }
        }
    }
    Ok(gather)
}

/// Whether a file is called like an image that is read: `.png`, `.jpg`, `.jpeg`, `.jpe`, `.jfif`,
/// `.webp`, `.gif`, `.bmp`, `.tif` or `.tiff`, in any case.
#[must_use]
pub fn has_image_name(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| {
        IMAGE_EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known))
    })
}

/// A file of text that does not claim to be an image.
fn is_text(path: &Path, bytes: &[u8]) -> bool {
    const LOOKED_AT: usize = 4096;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if has_image_name(name) || picture::known_format(bytes).is_some() {
        return false;
    }
    let start = &bytes[..bytes.len().min(LOOKED_AT)];
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        // A letter that is cut at the end.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&start[..error.valid_up_to()]).unwrap_or("\0")
        }
        Err(_) => return false,
    };
    !text.contains(|c: char| c.is_control() && !c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{GrayImage, ImageFormat, RgbImage};

    #[test]
    fn channels_and_size_are_those_of_the_network() {
        let folder = tempfile::tempdir().unwrap();
        let (grey, colour) = (folder.path().join("grey.png"), folder.path().join("colour.jpg"));
        let image = GrayImage::from_raw(2, 1, vec![10, 200]).unwrap();
        image.save_with_format(&grey, ImageFormat::Png).unwrap();
        assert_eq!(read_image(&grey, [1, 1, 2], ExifOrientation::Apply).unwrap(), [10, 200]);
        assert_eq!(
            read_image(&grey, [3, 1, 2], ExifOrientation::Apply).unwrap(),
            [10, 200, 10, 200, 10, 200]
        );
        let one_colour = RgbImage::from_pixel(16, 16, image::Rgb([255, 0, 0]));
        one_colour.save_with_format(&colour, ImageFormat::Jpeg).unwrap();
        let red = read_image(&colour, [3, 4, 5], ExifOrientation::Apply).unwrap();
        assert_eq!(red.len(), 60);
        assert!(red[..20].iter().all(|&r| r > 250) && red[20..].iter().all(|&x| x < 5), "{red:?}");
        // 0.299 · 255.
        let grey = read_image(&colour, [1, 4, 5], ExifOrientation::Apply).unwrap();
        assert!(grey.len() == 20 && grey.iter().all(|y| (74..=78).contains(y)), "{grey:?}");
        assert!(matches!(
            read_image(&colour, [2, 4, 5], ExifOrientation::Apply),
            Err(DataError::OutOfRange { .. })
        ));
        std::fs::write(folder.path().join("text.png"), "no image").unwrap();
        assert!(
            read_image(&folder.path().join("text.png"), [1, 4, 4], ExifOrientation::Apply).is_err()
        );
        assert!(matches!(
            read_image(&folder.path().join("absent.png"), [1, 4, 4], ExifOrientation::Apply),
            Err(DataError::MissingFile { .. })
        ));
    }
}
