//! Random erasing: a rectangle of a view is blotted out.
//!
//! ```text
//! with probability p, up to 10 times:
//!   share ~ U(0.02, 0.33), ratio = exp U(ln 0.3, ln 3.3)
//!   height = round sqrt(share H W ratio), width = round sqrt(share H W / ratio)
//!   both at least 1 and smaller than the image: taken; top ~ U{0..H - height}, left ~ U{0..W - width}
//! values there = 0 after normalisation, which is the mean of each channel
//! ```
//!
//! Zhong et al., AAAI 2020, <https://arxiv.org/abs/1708.04896>; the procedure and its constants are
//! those of torchvision's `RandomErasing` with `value = 0`.

use crate::image::augmentation::resized_crop::Rectangle;
use faculty_random::{below, unit};

/// Smallest and largest share of the area.
const AREA: [f64; 2] = [0.02, 0.33];
/// Smallest and largest ratio of height to width.
const RATIOS: [f64; 2] = [0.3, 3.3];
/// Draws of a rectangle before a view is left whole.
const ATTEMPTS: u64 = 10;

/// The rectangle that is erased from a view of this height and width, if one is: as `probability` and
/// the words of `draw` (by their number, from 0) say.
pub(super) fn erased(
    probability: f64,
    [height, width]: [usize; 2],
    draw: impl Fn(u64) -> u64,
) -> Option<Rectangle> {
    if unit(draw(0)) >= probability {
        return None;
    }
    let area = (height * width) as f64;
    let [low, high] = RATIOS.map(f64::ln);
    (0..ATTEMPTS).find_map(|attempt| {
        let word = |c| draw(1 + 4 * attempt + c);
        let share = area * (AREA[0] + (AREA[1] - AREA[0]) * unit(word(0)));
        let ratio = (low + (high - low) * unit(word(1))).exp();
        let rows = (share * ratio).sqrt().round() as usize;
        let columns = (share / ratio).sqrt().round() as usize;
        ((1..height).contains(&rows) && (1..width).contains(&columns)).then(|| Rectangle {
            top: below(word(2), (height - rows + 1) as u64) as usize,
            left: below(word(3), (width - columns + 1) as u64) as usize,
            height: rows,
            width: columns,
        })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use faculty_random::{Purpose, draw};

    fn parts(probability: f64, size: [usize; 2]) -> Vec<Rectangle> {
        let part = |id| erased(probability, size, |c| draw(Purpose::Augmentation, 5, id, 0, c));
        (0..4000).filter_map(part).collect()
    }

    #[test]
    fn as_many_views_lose_a_rectangle_as_asked_for() {
        assert!(parts(0.0, [32, 32]).is_empty());
        assert_eq!(parts(1.0, [32, 32]).len(), 4000);
        // Binomial(4000, 0.25): standard deviation 27.
        assert!((865..1135).contains(&parts(0.25, [32, 32]).len()));
    }

    #[test]
    fn rectangles_lie_inside_with_areas_and_ratios_of_their_ranges() {
        let (mut areas, mut places) = (0.0, HashSet::new());
        let all = parts(1.0, [32, 24]);
        for &Rectangle { top, left, height, width } in &all {
            assert!(top + height <= 32 && left + width <= 24 && height < 32 && width < 24);
            let (share, ratio) = ((height * width) as f64 / 768.0, height as f64 / width as f64);
            // Half a pixel of rounding on each side of at least 2.
            assert!(
                (0.01..0.36).contains(&share) && (0.2..5.0).contains(&ratio),
                "{share} {ratio}"
            );
            areas += share;
            places.insert((top, left));
        }
        // Uniform shares give 0.175; long ones of large area fit less often.
        let mean = areas / all.len() as f64;
        assert!((0.15..0.18).contains(&mean), "{mean}");
        assert!(places.len() > 300);
    }

    #[test]
    fn what_is_too_small_stays_whole() {
        assert!(parts(1.0, [1, 1]).is_empty());
        assert!(parts(1.0, [1, 50]).is_empty());
    }
}
