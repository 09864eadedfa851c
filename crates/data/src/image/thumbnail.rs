//! Small pictures of samples, to be shown in a page.

use std::io::Cursor;

use image::imageops::FilterType;
use image::{DynamicImage, GrayImage, ImageFormat, RgbImage};

/// A PNG of an image as a `data:` address. `image` is `[channels, height, width]`; sides above
/// `at_most` pixels are scaled down, in proportion. One channel is grey, the first three of others
/// are red, green and blue.
///
/// # Panics
/// If the pixels do not fit the shape, or a side is 0 or above 2^32 - 1: no [`crate::ImageSet`]
/// holds such images.
#[must_use]
pub fn thumbnail(image: &[u8], shape: [usize; 3], at_most: u32) -> String {
    let [channels, height, width] = shape;
    assert_eq!(image.len(), channels * height * width, "pixels of one image");
    let size = |side: usize| u32::try_from(side).expect("a side of an image set");
    let plane = height * width;
    let mut picture: DynamicImage = if channels < 3 {
        GrayImage::from_raw(size(width), size(height), image[..plane].to_vec()).map(Into::into)
    } else {
        let pixels = (0..plane).flat_map(|at| [0, 1, 2].map(|c| image[c * plane + at])).collect();
        RgbImage::from_raw(size(width), size(height), pixels).map(Into::into)
    }
    .expect("as many pixels as the size asks for");
    if size(height.max(width)) > at_most {
        picture = picture.resize(at_most, at_most, FilterType::Triangle);
    }
    let mut bytes = Vec::new();
    picture
        .write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)
        .expect("grey and RGB are written to memory as PNG");
    format!("data:image/png;base64,{}", base64(&bytes))
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let at = |i: usize| u32::from(three.get(i).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for digit in 0..4 {
            let value = bits >> (18 - 6 * digit) & 63;
            let padding = digit > three.len();
            text.push(if padding { '=' } else { char::from(DIGITS[value as usize]) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        let cases = ["", "f", "fo", "foo", "foob", "fooba", "foobar"];
        let expected = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"];
        assert_eq!(cases.map(|text| base64(text.as_bytes())), expected);
        assert_eq!(base64(&[0xfb, 0xff, 0xbf]), "+/+/");
    }

    #[test]
    fn the_picture_is_the_image() {
        let decoded = |image: &[u8], shape, at_most| {
            let text = thumbnail(image, shape, at_most);
            let text = text.strip_prefix("data:image/png;base64,").unwrap().to_owned();
            let value = |c: u8| match c {
                b'A'..=b'Z' => c - b'A',
                b'a'..=b'z' => c - b'a' + 26,
                b'0'..=b'9' => c - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => 0,
            };
            let bytes: Vec<u8> = text
                .as_bytes()
                .chunks(4)
                .flat_map(|four| {
                    let bits = four.iter().fold(0_u32, |bits, &c| bits << 6 | u32::from(value(c)));
                    [bits >> 16, bits >> 8, bits].map(|byte| byte as u8)
                })
                .collect();
            image::load_from_memory_with_format(&bytes, ImageFormat::Png).unwrap()
        };
        let grey: Vec<u8> = (0..6).collect();
        assert_eq!(decoded(&grey, [1, 2, 3], 64).into_luma8().into_raw(), grey);
        // Planes of red, green and blue become pixels.
        let colour = decoded(&[1, 2, 10, 20, 100, 200], [3, 1, 2], 64).into_rgb8();
        assert_eq!(colour.into_raw(), [1, 10, 100, 2, 20, 200]);
        let large = decoded(&vec![7; 3 * 40 * 20], [3, 40, 20], 10);
        assert_eq!((large.width(), large.height()), (5, 10));
    }
}
