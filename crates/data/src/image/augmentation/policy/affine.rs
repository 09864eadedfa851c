//! Pictures sheared, moved and turned: each pixel of the result is the nearest one of the picture.
//!
//! ```text
//! [x', y'] = [a b; d e] [x + 1/2, y + 1/2] + [c, f]      place in the picture of the pixel (x, y)
//! result   = picture at (floor x', floor y'), black outside
//! ```
//! Coefficients are rounded to 1/65536 and places added up from those, which is what Pillow does: pixels
//! whose place lies between two others go to the same side.

/// Where each pixel of a result comes from: `[a, b, c, d, e, f]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Affine(pub(super) [f64; 6]);

impl Affine {
    /// Moves each row to the left by `by` times its number.
    pub(super) fn shear_x(by: f64) -> Self {
        Self([1.0, by, 0.0, 0.0, 1.0, 0.0])
    }

    /// Moves each column up by `by` times its number.
    pub(super) fn shear_y(by: f64) -> Self {
        Self([1.0, 0.0, 0.0, by, 1.0, 0.0])
    }

    /// Moves the picture right and down by whole pixels, the fraction cut off.
    pub(super) fn translate(right: f64, down: f64) -> Self {
        Self([1.0, 0.0, -right.trunc(), 0.0, 1.0, -down.trunc()])
    }

    /// Turns a picture of this height and width about its middle, counterclockwise, by degrees.
    pub(super) fn rotate(degrees: f64, [height, width]: [usize; 2]) -> Self {
        // Whole turns of a quarter have exact coefficients.
        let rounded = |x: f64| (x * 1e15).round() / 1e15;
        let (sine, cosine) = (-degrees.to_radians()).sin_cos();
        let (sine, cosine) = (rounded(sine), rounded(cosine));
        let (x, y) = (width as f64 / 2.0, height as f64 / 2.0);
        let right = x - (cosine * x + sine * y);
        let down = y - (cosine * y - sine * x);
        Self([cosine, sine, right, -sine, cosine, down])
    }

    /// Makes the result of `picture` `[channels, height, width]`.
    pub(super) fn apply(&self, picture: &[u8], [_, height, width]: [usize; 3]) -> Vec<u8> {
        let fixed = |x: f64| (x * 65536.0 + 0.5).floor() as i64;
        let [a, b, c, d, e, f] = self.0;
        let by_column = [fixed(a), fixed(d)];
        let by_row = [fixed(b), fixed(e)];
        let first = [fixed(c + 0.5 * a + 0.5 * b), fixed(f + 0.5 * d + 0.5 * e)];
        let mut result = vec![0; picture.len()];
        for y in 0..height {
            let mut place = [0, 1].map(|axis| first[axis] + by_row[axis] * y as i64);
            for x in 0..width {
                let [column, row] = place.map(|own| usize::try_from(own >> 16).ok());
                if let (Some(column), Some(row)) = (column, row)
                    && column < width
                    && row < height
                {
                    let planes = picture.chunks_exact(height * width);
                    for (plane, own) in planes.zip(result.chunks_exact_mut(height * width)) {
                        own[y * width + x] = plane[row * width + column];
                    }
                }
                place = [0, 1].map(|axis| place[axis] + by_column[axis]);
            }
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarter_turns_and_whole_pixels_are_exact() {
        let picture = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        let shape = [1, 3, 3];
        let turned = Affine::rotate(90.0, [3, 3]).apply(&picture, shape);
        assert_eq!(turned, [3, 6, 9, 2, 5, 8, 1, 4, 7]);
        let back = Affine::rotate(-90.0, [3, 3]).apply(&turned, shape);
        assert_eq!(back, picture);
        assert_eq!(Affine::rotate(0.0, [3, 3]).apply(&picture, shape), picture);
        let moved = Affine::translate(1.9, -1.0).apply(&picture, shape);
        assert_eq!(moved, [0, 4, 5, 0, 7, 8, 0, 0, 0]);
        assert_eq!(Affine::translate(-0.9, 0.9).apply(&picture, shape), picture);
        assert_eq!(Affine::translate(5.0, 0.0).apply(&picture, shape), [0; 9]);
    }

    #[test]
    fn all_channels_move_together() {
        let picture = [1, 2, 3, 4, 11, 12, 13, 14];
        let moved = Affine::shear_x(1.0).apply(&picture, [2, 2, 2]);
        let one = Affine::shear_x(1.0).apply(&picture[..4], [1, 2, 2]);
        assert_eq!(moved[..4], one);
        assert!(moved[4..].iter().zip(&one).all(|(b, a)| *b == if *a == 0 { 0 } else { a + 10 }));
    }
}
