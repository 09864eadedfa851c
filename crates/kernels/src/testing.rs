//! What the tests share: seeded values, comparison with a reference, thread pools.

/// A counter-based generator (SplitMix64): value `i` depends on the seed and `i` only.
pub(crate) struct Seeded(pub(crate) u64);

impl Seeded {
    pub(crate) fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in [-1, 1).
    pub(crate) fn value(&mut self) -> f32 {
        (self.next_u64() >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }

    pub(crate) fn values(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.value()).collect()
    }
}

/// `f32` values as `f64`.
pub(crate) fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

/// The worst difference of `got` from `want`, if one is above `rel * |want| + abs` (or one of
/// them alone is NaN).
#[track_caller]
pub(crate) fn assert_close(what: &str, got: &[f32], want: &[f64], rel: f64, abs: f64) {
    assert_eq!(got.len(), want.len(), "{what}: lengths differ");
    let mut worst = (0.0, 0);
    for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
        let got = f64::from(got);
        if got.is_nan() && want.is_nan() || got == want {
            continue;
        }
        let excess = (got - want).abs() / (rel * want.abs() + abs);
        let excess = if excess.is_nan() { f64::INFINITY } else { excess };
        if excess > worst.0 {
            worst = (excess, i);
        }
    }
    let (excess, i) = worst;
    assert!(
        excess <= 1.0,
        "{what}: worst at {i}: got {}, want {}, {excess} times the tolerance",
        got[i],
        want[i]
    );
}

/// Runs `work` on pools of 1, 2 and 3 threads and asserts that the results are bit-identical.
#[track_caller]
pub(crate) fn assert_same_for_any_threads(what: &str, work: impl Fn() -> Vec<f32> + Sync) {
    let bits = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(&work).iter().map(|x| x.to_bits()).collect::<Vec<_>>()
    };
    let one = bits(1);
    for threads in [2, 3] {
        assert!(bits(threads) == one, "{what}: {threads} threads give another result than one");
    }
}
