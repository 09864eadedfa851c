//! Largest values and sums over a row's logits of some classes.

/// Independent sums, so that a reduction can use whole vectors.
pub(super) const LANES: usize = 16;

/// The largest of some logits; NaN only if all are.
#[inline(always)]
pub(super) fn largest(logits: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = logits.as_chunks::<LANES>();
    for chunk in chunks {
        for i in 0..LANES {
            lanes[i] = if chunk[i] > lanes[i] { chunk[i] } else { lanes[i] };
        }
    }
    for (lane, &z) in lanes.iter_mut().zip(rest) {
        *lane = if z > *lane { z } else { *lane };
    }
    lanes.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

/// Sums of `f` of each index: 128 a lane in `f32`, those in `f64`.
#[inline(always)]
pub(super) fn sum<const N: usize>(len: usize, f: impl Fn(usize) -> [f32; N]) -> [f64; N] {
    let mut lanes = [[0.0_f32; LANES]; N];
    let whole = len / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        for i in 0..LANES {
            let terms = f(start + i);
            for n in 0..N {
                lanes[n][i] += terms[n];
            }
        }
    }
    for i in whole..len {
        let terms = f(i);
        for n in 0..N {
            lanes[n][i - whole] += terms[n];
        }
    }
    let mut sums = [0.0; N];
    for n in 0..N {
        sums[n] = lanes[n].iter().map(|&x| f64::from(x)).sum();
    }
    sums
}
