//! Random resized crop: a part of the image, of random area and shape, scaled to the image's size.
//!
//! ```text
//! up to 10 times:
//!   share ~ U(area), ratio = exp U(ln 3/4, ln 4/3)
//!   width = round sqrt(share H W ratio), height = round sqrt(share H W / ratio)
//!   both at least 1 and inside the image: taken; top ~ U{0..H - height}, left ~ U{0..W - width}
//! none taken: the largest part of an allowed ratio in the middle
//! value = bilinear between pixel centres (no antialiasing: a part is never larger than the image)
//! ```
//!
//! Szegedy et al., CVPR 2015, <https://arxiv.org/abs/1409.4842>, section 6; the procedure and its
//! constants are those of torchvision's `RandomResizedCrop`.

use serde::{Deserialize, Serialize};

use crate::DataError;
use faculty_random::{below, unit};

/// Smallest and largest ratio of width to height.
const RATIOS: [f64; 2] = [3.0 / 4.0, 4.0 / 3.0];
/// Draws of a part before the middle is taken.
const ATTEMPTS: u64 = 10;

/// Cuts a random part out of each view and scales it to the image's size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResizedCrop {
    /// Smallest and largest share of the image's area, above 0 and at most 1; torchvision has
    /// `[0.08, 1]`.
    pub area: [f64; 2],
}

/// A part of an image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Rectangle {
    /// First row.
    pub top: usize,
    /// First column.
    pub left: usize,
    /// Rows, at least 1.
    pub height: usize,
    /// Columns, at least 1.
    pub width: usize,
}

impl ResizedCrop {
    /// Refuses what is no range of shares.
    ///
    /// # Errors
    /// [`DataError::OutOfRange`].
    pub fn check(&self) -> Result<(), DataError> {
        let [least, most] = self.area;
        if least > 0.0 && least <= most && most <= 1.0 {
            return Ok(());
        }
        Err(DataError::OutOfRange {
            name: "the area of random resized crops",
            found: format!("{least} to {most}"),
            range: "two rising shares above 0 and at most 1".to_owned(),
        })
    }

    /// The part of an image of this height and width that the words of `draw` (by their number, from 0)
    /// choose.
    pub(super) fn part(&self, [height, width]: [usize; 2], draw: impl Fn(u64) -> u64) -> Rectangle {
        let [least, most] = self.area;
        let [low, high] = RATIOS.map(f64::ln);
        let area = (height * width) as f64;
        for attempt in 0..ATTEMPTS {
            let word = |c| draw(4 * attempt + c);
            let share = area * (least + (most - least) * unit(word(0)));
            let ratio = (low + (high - low) * unit(word(1))).exp();
            let columns = (share * ratio).sqrt().round() as usize;
            let rows = (share / ratio).sqrt().round() as usize;
            if (1..=width).contains(&columns) && (1..=height).contains(&rows) {
                return Rectangle {
                    top: below(word(2), (height - rows + 1) as u64) as usize,
                    left: below(word(3), (width - columns + 1) as u64) as usize,
                    height: rows,
                    width: columns,
                };
            }
        }
        let [slim, broad] = RATIOS;
        let ratio = width as f64 / height as f64;
        let (rows, columns) = if ratio < slim {
            (((width as f64 / slim).round() as usize).clamp(1, height), width)
        } else if ratio > broad {
            (height, ((height as f64 * broad).round() as usize).clamp(1, width))
        } else {
            (height, width)
        };
        let (top, left) = ((height - rows) / 2, (width - columns) / 2);
        Rectangle { top, left, height: rows, width: columns }
    }
}

/// Between which two rows or columns of the image each one of the view lies, and how far it is from the
/// first.
pub(super) fn between(first: usize, count: usize, views: usize) -> Vec<(usize, usize, f32)> {
    let scale = count as f64 / views as f64;
    (0..views)
        .map(|at| {
            let place = ((at as f64 + 0.5) * scale - 0.5).max(0.0);
            let below = (place as usize).min(count - 1);
            let above = (below + 1).min(count - 1);
            (first + below, first + above, (place - below as f64) as f32)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use faculty_random::{Purpose, draw};

    fn parts(crop: ResizedCrop, size: [usize; 2]) -> Vec<Rectangle> {
        let part = |id| crop.part(size, |c| draw(Purpose::Augmentation, 11, id, 3, c));
        (0..4000).map(part).collect()
    }

    #[test]
    fn parts_lie_inside_with_areas_and_ratios_of_their_ranges() {
        let crop = ResizedCrop { area: [0.08, 1.0] };
        let (mut areas, mut places) = (0.0, HashSet::new());
        for Rectangle { top, left, height, width } in parts(crop, [40, 30]) {
            assert!(height > 0 && width > 0 && top + height <= 40 && left + width <= 30);
            let (share, ratio) = ((height * width) as f64 / 1200.0, width as f64 / height as f64);
            // Half a pixel of rounding on each side of at least 8.
            assert!(
                (0.07..=1.0).contains(&share) && (0.68..1.47).contains(&ratio),
                "{share} {ratio}"
            );
            areas += share;
            places.insert((top, left));
        }
        // Uniform shares would give 0.54; large ones fit less often and are drawn again.
        assert!((0.40..0.54).contains(&(areas / 4000.0)), "{}", areas / 4000.0);
        assert!(places.len() > 300);
        assert!(parts(ResizedCrop { area: [1.0, 1.0] }, [9, 9]).iter().any(|own| own.height == 9));
    }

    #[test]
    fn what_never_fits_is_cut_from_the_middle() {
        // The whole of a long strip has no allowed ratio.
        let all = parts(ResizedCrop { area: [1.0, 1.0] }, [10, 100]);
        let middle = Rectangle { top: 0, left: 43, height: 10, width: 13 };
        assert!(all.iter().all(|own| *own == middle), "{:?}", all[0]);
        let all = parts(ResizedCrop { area: [1.0, 1.0] }, [100, 9]);
        assert!(all.iter().all(|own| (own.height, own.width) == (12, 9)), "{:?}", all[0]);
        assert_eq!(parts(ResizedCrop { area: [0.5, 1.0] }, [1, 1])[0].width, 1);
    }

    #[test]
    fn rows_of_the_view_lie_between_those_of_the_part() {
        assert_eq!(between(3, 2, 2), [(3, 4, 0.0), (4, 4, 0.0)]);
        // Centres of four at -0.25 (held at 0), 0.25, 0.75 and 1.25 of two.
        assert_eq!(between(0, 2, 4), [(0, 1, 0.0), (0, 1, 0.25), (0, 1, 0.75), (1, 1, 0.25)]);
        assert!(between(5, 1, 3).iter().all(|&(first, second, _)| (first, second) == (5, 5)));
    }

    #[test]
    fn ranges_that_are_none_are_refused() {
        for area in [[0.0, 1.0], [0.5, 0.4], [0.5, 1.1], [f64::NAN, 1.0], [0.5, f64::NAN]] {
            let error = ResizedCrop { area }.check().unwrap_err();
            assert!(matches!(error, DataError::OutOfRange { .. }), "{area:?}");
        }
        assert!(ResizedCrop { area: [1e-9, 1.0] }.check().is_ok());
    }
}
