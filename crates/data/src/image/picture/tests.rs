use image::{GrayImage, Luma, Rgb, RgbImage};

use super::*;

pub(crate) fn png_colour(height: u32, width: u32, seed: u8) -> Vec<u8> {
    let pixel = |x, y| Rgb([(x * 7) as u8 + seed, (y * 11) as u8 + seed, (x * y) as u8 + seed]);
    encode(RgbImage::from_fn(width, height, pixel).into(), ImageFormat::Png)
}

pub(crate) fn png_grey(height: u32, width: u32, seed: u8) -> Vec<u8> {
    let pixel = |x, y| Luma([(x * 7 + y) as u8 + seed]);
    encode(GrayImage::from_fn(width, height, pixel).into(), ImageFormat::Png)
}

pub(crate) fn jpeg(height: u32, width: u32, seed: u8) -> Vec<u8> {
    encode(RgbImage::from_pixel(width, height, Rgb([seed; 3])).into(), ImageFormat::Jpeg)
}

fn encode(image: DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn decoded(bytes: &[u8]) -> Result<Picture, DataError> {
    decode(bytes, Path::new("file"), Some(3), Decoding::default())
}

#[test]
fn colour_comes_as_three_planes_and_grey_as_one() {
    let picture = decoded(&png_colour(2, 3, 1)).unwrap();
    assert_eq!((picture.channels, picture.size), (3, [2, 3]));
    let red = [1, 8, 15, 1, 8, 15];
    let green = [1, 1, 1, 12, 12, 12];
    let blue = [1, 1, 1, 1, 2, 3];
    assert_eq!(picture.pixels, [red, green, blue].concat());
    let picture = decoded(&png_grey(2, 2, 1)).unwrap();
    assert_eq!((picture.channels, picture.size), (1, [2, 2]));
    assert_eq!(picture.pixels, [1, 8, 2, 9]);
    let picture = decoded(&jpeg(8, 8, 100)).unwrap();
    assert_eq!((picture.channels, picture.size), (3, [8, 8]));
    assert!(picture.pixels.iter().all(|pixel| pixel.abs_diff(100) <= 2));
}

#[test]
fn sixteen_bits_and_alpha_become_eight_bits_without() {
    let deep = image::ImageBuffer::from_pixel(2, 2, image::LumaA([0x8080_u16, 0]));
    let picture = decoded(&encode(deep.into(), ImageFormat::Png)).unwrap();
    assert_eq!((picture.channels, picture.pixels), (1, vec![0x80; 4]));
    let clear = image::RgbaImage::from_pixel(1, 1, image::Rgba([1, 2, 3, 0]));
    let picture = decoded(&encode(clear.into(), ImageFormat::Png)).unwrap();
    assert_eq!((picture.channels, picture.pixels), (3, vec![1, 2, 3]));
}

#[test]
fn resize_gives_the_size_asked_for_and_keeps_a_flat_image() {
    let to_5_by_7 = Decoding { resize: Some([5, 7]), ..Decoding::default() };
    let picture = decode(&jpeg(16, 24, 80), Path::new("f"), None, to_5_by_7).unwrap();
    assert_eq!((picture.size, picture.pixels.len()), ([5, 7], 105));
    assert!(picture.pixels.iter().all(|pixel| pixel.abs_diff(80) <= 3));
}

#[test]
fn every_cut_and_every_changed_byte_gives_a_result_without_panic() {
    for bytes in [png_colour(9, 9, 0), png_grey(9, 9, 0), jpeg(9, 9, 50)] {
        assert!(decoded(&bytes).is_ok());
        for cut in 0..bytes.len() / 2 {
            assert!(decoded(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        for at in 0..bytes.len() {
            for value in [0, 0x7f, 0xff, bytes[at] ^ 1] {
                let mut bad = bytes.clone();
                bad[at] = value;
                let error = decoded(&bad).err();
                // Not even the guard against foreign panics is needed.
                assert!(!matches!(error, Some(DataError::DecoderPanicked { .. })), "byte {at}");
            }
        }
    }
}

#[test]
fn a_changed_pixel_byte_of_a_png_is_noticed() {
    let bytes = png_colour(9, 9, 0);
    let data = bytes.windows(4).position(|window| window == b"IDAT").unwrap() + 10;
    let mut bad = bytes.clone();
    bad[data] ^= 0x10;
    let error = decoded(&bad).unwrap_err();
    assert!(matches!(error, DataError::CorruptImage { row: Some(3), .. }), "{error:?}");
}

#[test]
fn an_image_that_claims_more_than_its_bytes_can_hold_is_refused() {
    let mut bytes = png_grey(2, 2, 0);
    // Width and height in the header chunk, whose checksum is then made right again.
    bytes[16..24].copy_from_slice(&[0, 0, 0x40, 0, 0, 0, 0x40, 0]);
    let checksum = crc32(&bytes[12..29]).to_be_bytes();
    bytes[29..33].copy_from_slice(&checksum);
    let error = decoded(&bytes).unwrap_err();
    let size = [0x4000; 2];
    assert!(matches!(error, DataError::ImplausibleImage { size: s, .. } if s == size), "{error:?}");
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[test]
fn one_colour_image_makes_all_colour_in_any_order() {
    let pictures = [png_grey(2, 2, 0), png_colour(2, 2, 5), png_grey(2, 2, 9)];
    let gather = |order: [usize; 3]| {
        let mut gather = Gather::default();
        for i in order {
            let picture = decoded(&pictures[i]).unwrap();
            gather.push(picture, i as u32, Path::new("f"), None).unwrap();
        }
        gather.into_set().unwrap()
    };
    let set = gather([0, 1, 2]);
    assert_eq!(set.shape(), [3, 2, 2]);
    assert_eq!(set.image(0), [0, 7, 1, 8].repeat(3));
    assert_eq!(gather([2, 1, 0]).select(&[2, 1, 0]), set);
}

#[test]
fn grey_splits_follow_one_in_colour() {
    let gather = |bytes: &[u8]| {
        let mut gather = Gather::default();
        gather.push(decoded(bytes).unwrap(), 0, Path::new("f"), None).unwrap();
        gather
    };
    let (grey, colour) = (png_grey(2, 2, 0), png_colour(2, 2, 0));
    let splits = |test| Splits { train: gather(&grey), validation: Some(gather(&grey)), test };
    let mut findings = Findings::default();
    let sets = into_sets(splits(Some(gather(&colour))), &mut findings).unwrap();
    assert!(sets.iter().all(|set| set.channels() == 3));
    let sets = into_sets(splits(None), &mut findings).unwrap();
    assert!(sets.iter().all(|set| set.channels() == 1) && sets.test.is_none());
}

#[test]
fn a_bomb_is_refused_before_it_is_unpacked() {
    let flat = |side| encode(GrayImage::new(side, side).into(), ImageFormat::Png);
    assert!(decoded(&flat(1000)).is_ok());
    let error = decoded(&flat(8200)).unwrap_err();
    assert!(matches!(error, DataError::Bomb { decoded: 67_240_000, .. }), "{error}");
}

/// 24×24 pixels of noise, by PIL.
const JPEGS: [(&str, &[u8]); 4] = [
    ("baseline", include_bytes!("../../../tests/files/baseline.jpg")),
    ("progressive", include_bytes!("../../../tests/files/progressive.jpg")),
    ("restart markers", include_bytes!("../../../tests/files/restart.jpg")),
    ("CMYK", include_bytes!("../../../tests/files/cmyk.jpg")),
];

#[test]
fn whole_jpegs_give_the_pixels_of_the_image_crate() {
    for (name, bytes) in JPEGS {
        let lenient = image::load_from_memory(bytes).unwrap().into_rgb8();
        let picture = decoded(bytes).unwrap();
        assert_eq!(picture.size, [24, 24], "{name}");
        let red: Vec<u8> = lenient.pixels().map(|pixel| pixel[0]).collect();
        assert_eq!(picture.pixels[..576], red, "{name}");
        // What follows the end does not matter.
        assert!(decoded(&[bytes, b"more"].concat()).is_ok(), "{name}");
    }
}

#[test]
fn a_jpeg_cut_anywhere_is_refused() {
    for (name, bytes) in JPEGS {
        for cut in 0..bytes.len() {
            assert!(decoded(&bytes[..cut]).is_err(), "{name} cut at {cut}");
        }
        let error = decoded(&bytes[..bytes.len() - 2]).unwrap_err();
        assert!(matches!(error, DataError::TruncatedImage { .. }), "{name}: {error}");
    }
}

/// 16×16 pixels: red grows to the right, green downwards, blue is 90.
const OTHERS: [(&str, &[u8]); 4] = [
    ("lossless WebP", include_bytes!("../../../tests/files/small.webp")),
    ("lossy WebP", include_bytes!("../../../tests/files/lossy.webp")),
    ("GIF", include_bytes!("../../../tests/files/small.gif")),
    ("BMP", include_bytes!("../../../tests/files/small.bmp")),
];

#[test]
fn webp_gif_and_bmp_are_read() {
    for (name, bytes) in OTHERS {
        let picture = decoded(bytes).unwrap();
        assert_eq!((picture.channels, picture.size), (3, [16, 16]), "{name}");
        let allowed = if name == "lossy WebP" { 24 } else { 0 };
        for (at, &value) in picture.pixels.iter().enumerate() {
            let expected = [at % 16 * 16, at / 16 % 16 * 16, 90][at / 256];
            assert!(value.abs_diff(expected as u8) <= allowed, "{name}: {value} at {at}");
        }
    }
}

#[test]
fn webp_gif_and_bmp_cut_short_are_refused_and_no_changed_byte_panics() {
    for (name, bytes) in OTHERS {
        // A GIF's last bytes hold no pixels: they end the picture, its blocks and the file.
        let end = if name == "GIF" { bytes.len() - 4 } else { bytes.len() };
        for cut in 0..end {
            assert!(decoded(&bytes[..cut]).is_err(), "{name} cut at {cut} of {}", bytes.len());
        }
        for at in 0..bytes.len() {
            let mut bad = bytes.to_vec();
            bad[at] ^= 0x55;
            drop(decoded(&bad));
        }
    }
}

#[test]
fn files_without_content_and_other_files_are_told_apart() {
    assert!(matches!(decoded(b""), Err(DataError::EmptyFile { row: Some(3), .. })));
    for bytes in [&b"text"[..], b"\0\0\0\x0cjP  a JPEG 2000", &[0; 99]] {
        assert!(matches!(decoded(bytes), Err(DataError::NotAnImage { row: Some(3), .. })));
    }
}

/// An EXIF block that says nothing but this orientation.
pub(crate) fn exif(orientation: u8) -> Vec<u8> {
    let entry = [0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0];
    [&b"II*\0\x08\0\0\0\x01\0"[..], &entry, &[0; 4]].concat()
}

/// A JPEG with this block behind its start marker.
pub(crate) fn with_exif(jpeg: &[u8], exif: &[u8]) -> Vec<u8> {
    let length = (exif.len() as u16 + 8).to_be_bytes();
    [&jpeg[..2], b"\xff\xe1", &length, b"Exif\0\0", exif, &jpeg[2..]].concat()
}

/// Where the dark corner of a picture of one dark quarter lies: right, below.
fn dark_corner(picture: &Picture) -> [bool; 2] {
    let [height, width] = picture.size;
    let darkest = (0..height * width).min_by_key(|&at| picture.pixels[at]).unwrap();
    [darkest % width >= width / 2, darkest / width >= height / 2]
}

#[test]
fn images_are_turned_as_their_exif_orientation_says_unless_it_is_ignored() {
    // Wider than high, dark in the upper left quarter.
    let shade = |x, y| Luma([if x < 12 && y < 8 { 10 + ((x + y) % 8) as u8 } else { 220 }]);
    let plain = encode(GrayImage::from_fn(24, 16, shade).into(), ImageFormat::Jpeg);
    // Of the TIFF and EXIF standard: where its first row and its first column are shown.
    for (orientation, size, corner) in [
        (1, [16, 24], [false, false]),
        (2, [16, 24], [true, false]),
        (3, [16, 24], [true, true]),
        (4, [16, 24], [false, true]),
        (5, [24, 16], [false, false]),
        (6, [24, 16], [true, false]),
        (7, [24, 16], [true, true]),
        (8, [24, 16], [false, true]),
        // None that there is.
        (9, [16, 24], [false, false]),
    ] {
        let bytes = with_exif(&plain, &exif(orientation));
        let picture = decoded(&bytes).unwrap();
        assert_eq!((picture.size, dark_corner(&picture)), (size, corner), "{orientation}");
        assert_eq!(picture.turned, (2..9).contains(&orientation), "{orientation}");
        let ignore = Decoding { orientation: ExifOrientation::Ignore, ..Decoding::default() };
        let picture = decode(&bytes, Path::new("f"), None, ignore).unwrap();
        assert_eq!((picture.size, dark_corner(&picture)), ([16, 24], [false, false]));
        assert!(!picture.turned);
        // Scaled after it was turned.
        let scaled = Decoding { resize: Some([8, 8]), ..Decoding::default() };
        let picture = decode(&bytes, Path::new("f"), None, scaled).unwrap();
        assert_eq!((picture.size, dark_corner(&picture)), ([8, 8], corner), "{orientation}");
    }
    // Damaged EXIF data say nothing, and are no reason to refuse a picture.
    let block = exif(6);
    for cut in 0..block.len() {
        assert!(decoded(&with_exif(&plain, &block[..cut])).is_ok(), "cut at {cut}");
    }
}

#[test]
fn tiff_is_read_without_loss_and_refused_where_it_is_cut() {
    let grey = GrayImage::from_fn(5, 4, |x, y| Luma([(x * 40 + y) as u8]));
    let deep = image::ImageBuffer::from_pixel(2, 2, Rgb([0x8080_u16, 0, 0xffff]));
    let bytes = encode(grey.clone().into(), ImageFormat::Tiff);
    let picture = decoded(&bytes).unwrap();
    assert_eq!((picture.channels, picture.pixels), (1, grey.into_raw()));
    let picture = decoded(&encode(deep.into(), ImageFormat::Tiff)).unwrap();
    assert_eq!(
        (picture.channels, &picture.pixels[..]),
        (3, &[128, 128, 128, 128, 0, 0, 0, 0, 255, 255, 255, 255][..])
    );
    for cut in 0..bytes.len() {
        assert!(decoded(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    for at in 0..bytes.len() {
        for value in [0, 0x7f, 0xff, bytes[at] ^ 1] {
            let mut bad = bytes.clone();
            bad[at] = value;
            drop(decoded(&bad));
        }
    }
}
