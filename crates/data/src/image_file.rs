//! Single image files, as a network of a given input wants them.

use std::path::Path;

use crate::listing::read_file;
use crate::{DataError, picture};

/// Reads a PNG or JPEG file as `[channels, height, width]`: scaled as datasets are
/// (bilinear with antialiasing), grey repeated for three channels, colour made grey for one with
/// the weights of ITU-R BT.601 (as PIL does).
///
/// # Errors
/// When the file cannot be read or is no whole PNG or JPEG image; when `channels` is neither 1
/// nor 3.
pub fn read_image(path: &Path, shape: [usize; 3]) -> Result<Vec<u8>, DataError> {
    let [channels, height, width] = shape;
    if channels != 1 && channels != 3 {
        return Err(DataError::OutOfRange {
            name: "the number of channels",
            found: channels.to_string(),
            range: "1 or 3 to read image files".to_owned(),
        });
    }
    let picture = picture::decode(&read_file(path)?, path, None, Some([height, width]))?;
    Ok(picture.with_channels(channels))
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
        assert_eq!(read_image(&grey, [1, 1, 2]).unwrap(), [10, 200]);
        assert_eq!(read_image(&grey, [3, 1, 2]).unwrap(), [10, 200, 10, 200, 10, 200]);
        let one_colour = RgbImage::from_pixel(16, 16, image::Rgb([255, 0, 0]));
        one_colour.save_with_format(&colour, ImageFormat::Jpeg).unwrap();
        let red = read_image(&colour, [3, 4, 5]).unwrap();
        assert_eq!(red.len(), 60);
        assert!(red[..20].iter().all(|&r| r > 250) && red[20..].iter().all(|&x| x < 5), "{red:?}");
        // 0.299 · 255.
        let grey = read_image(&colour, [1, 4, 5]).unwrap();
        assert!(grey.len() == 20 && grey.iter().all(|y| (74..=78).contains(y)), "{grey:?}");
        assert!(matches!(read_image(&colour, [2, 4, 5]), Err(DataError::OutOfRange { .. })));
        std::fs::write(folder.path().join("text.png"), "no image").unwrap();
        assert!(read_image(&folder.path().join("text.png"), [1, 4, 4]).is_err());
        assert!(matches!(
            read_image(&folder.path().join("absent.png"), [1, 4, 4]),
            Err(DataError::MissingFile { .. })
        ));
    }
}
