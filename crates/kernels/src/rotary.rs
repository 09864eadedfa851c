//! Rotary position embedding (Su et al., "RoFormer", 2021, arXiv:2104.09864): pairs of a head's
//! values are turned by an angle that grows with the position.
//!
//! ```text
//! y[a] = x[a] cos - x[b] sin      y[b] = x[b] cos + x[a] sin      (a, b) the pair, angle position / base^(2 pair / rotated)
//! ```
//! The inverse turns back; it is also the gradient, since turning keeps lengths and angles.
//!
//! # Shapes
//! values `[tokens, heads, width]` of which the first `rotated` values of each head are turned;
//! positions `[tokens]`.
//!
//! # Error
//! Angles, sines and cosines in `f64`, rounded once; products in `f32`.

use rayon::prelude::*;

use crate::parallel::ELEMENTS_PER_TASK;
use crate::sizes;

/// Which values of a head make a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotaryLayout {
    /// `(i, rotated / 2 + i)`: GPT-NeoX, Llama in Hugging Face's files.
    Halves,
    /// `(2 i, 2 i + 1)`: the paper, GPT-J.
    Interleaved,
}

/// Which way values are turned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The embedding.
    Forward,
    /// Its inverse, and its gradient.
    Back,
}

/// Sizes and angles of a rotary embedding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rotary {
    /// Heads of a token.
    pub heads: usize,
    /// Values of a head.
    pub width: usize,
    /// How many of them are turned, the first; even.
    pub rotated: usize,
    /// Angles fall by powers of it; 10,000 in the paper.
    pub base: f64,
    /// Pairs.
    pub layout: RotaryLayout,
}

/// Turns the heads of all tokens in place.
///
/// # Panics
/// If `values` is not a row of heads for each position, `rotated` is odd or above `width`, or `base`
/// is not positive.
pub fn rotate(rotary: &Rotary, turn: Turn, positions: &[u32], values: &mut [f32]) {
    let &Rotary { heads, width, rotated, base, layout } = rotary;
    let row = sizes::elements([heads, width]);
    let want = sizes::elements([positions.len(), heads, width]);
    assert!(
        values.len() == want,
        "`values` has {} elements, {want} expected for {rotary:?}",
        values.len()
    );
    assert!(
        rotated <= width && rotated.is_multiple_of(2),
        "`rotated` is {rotated}, it must be even and at most the width {width}"
    );
    assert!(base > 0.0, "`base` is {base}, it must be positive");
    let pairs = rotated / 2;
    if values.is_empty() || pairs == 0 {
        return;
    }
    let step = |pair: usize| base.powf(-2.0 * pair as f64 / rotated as f64);
    let frequencies: Vec<f64> = (0..pairs).map(step).collect();
    let direction = if turn == Turn::Forward { 1.0 } else { -1.0 };
    let min_len = ELEMENTS_PER_TASK / row / 4;
    values.par_chunks_mut(row).with_min_len(min_len).zip(positions).for_each_init(
        || (vec![0.0_f32; pairs], vec![0.0_f32; pairs]),
        |(cosines, sines), (values, &position)| {
            for ((cosine, sine), frequency) in cosines.iter_mut().zip(&mut *sines).zip(&frequencies)
            {
                let (s, c) = (f64::from(position) * frequency).sin_cos();
                (*cosine, *sine) = (c as f32, (direction * s) as f32);
            }
            for head in values.chunks_exact_mut(width) {
                let head = &mut head[..rotated];
                match layout {
                    RotaryLayout::Halves => {
                        let (first, second) = head.split_at_mut(pairs);
                        let angles = cosines.iter().zip(&*sines);
                        for ((a, b), (c, s)) in first.iter_mut().zip(second).zip(angles) {
                            (*a, *b) = (*a * c - *b * s, *b * c + *a * s);
                        }
                    }
                    RotaryLayout::Interleaved => {
                        let angles = cosines.iter().zip(&*sines);
                        for ([a, b], (c, s)) in head.as_chunks_mut::<2>().0.iter_mut().zip(angles) {
                            (*a, *b) = (*a * c - *b * s, *b * c + *a * s);
                        }
                    }
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Seeded, assert_close, wide};

    fn cases() -> Vec<Rotary> {
        let mut cases = Vec::new();
        for layout in [RotaryLayout::Halves, RotaryLayout::Interleaved] {
            for (heads, width, rotated) in [(1, 2, 2), (3, 64, 64), (2, 80, 32), (2, 5, 0)] {
                cases.push(Rotary { heads, width, rotated, base: 10_000.0, layout });
            }
        }
        cases
    }

    #[test]
    fn pairs_are_turned_by_the_angle_of_their_position() {
        for rotary in cases() {
            let &Rotary { heads, width, rotated, .. } = &rotary;
            let positions = [0, 1, 5, 100_000];
            let values = Seeded(1).values(4 * heads * width);
            let mut turned = values.clone();
            rotate(&rotary, Turn::Forward, &positions, &mut turned);
            let mut want = wide(&values);
            for (t, &position) in positions.iter().enumerate() {
                for head in 0..heads {
                    for pair in 0..rotated / 2 {
                        let (a, b) = match rotary.layout {
                            RotaryLayout::Halves => (pair, rotated / 2 + pair),
                            RotaryLayout::Interleaved => (2 * pair, 2 * pair + 1),
                        };
                        let start = (t * heads + head) * width;
                        let exponent = -2.0 * pair as f64 / rotated as f64;
                        let angle = f64::from(position) * 10_000_f64.powf(exponent);
                        let (x, y) = (want[start + a], want[start + b]);
                        want[start + a] = x * angle.cos() - y * angle.sin();
                        want[start + b] = y * angle.cos() + x * angle.sin();
                    }
                }
            }
            assert_close(&format!("{rotary:?}"), &turned, &want, 2e-7, 3e-7);
            rotate(&rotary, Turn::Back, &positions, &mut turned);
            assert_close("back", &turned, &wide(&values), 3e-7, 5e-7);
        }
    }

    #[test]
    fn products_depend_on_the_distance_only() {
        let rotary = cases()[1];
        let (q, k) = (Seeded(2).values(192), Seeded(3).values(192));
        let product = |i: u32, j: u32| -> f64 {
            let (mut q, mut k) = (q.clone(), k.clone());
            rotate(&rotary, Turn::Forward, &[i], &mut q);
            rotate(&rotary, Turn::Forward, &[j], &mut k);
            q.iter().zip(&k).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        assert!((product(3, 1) - product(502, 500)).abs() < 1e-5);
        assert!((product(3, 1) - product(3, 2)).abs() > 1e-2);
    }

    #[test]
    #[should_panic(expected = "`rotated` is 3, it must be even and at most the width 4")]
    fn an_odd_count_is_refused() {
        rotate(&Rotary { rotated: 3, width: 4, ..cases()[0] }, Turn::Back, &[0], &mut [0.0; 4]);
    }
}
