//! What the benches share: repeated timing, rates, values, the machine's peak.
#![expect(unsafe_code, reason = "the peak is measured with vector instructions")]

use std::hint::black_box;
use std::time::Instant;

use rayon::prelude::*;

/// Seconds of each of many repetitions, sorted.
pub(crate) fn time(mut work: impl FnMut()) -> Vec<f64> {
    work();
    let start = Instant::now();
    let mut seconds = Vec::new();
    while seconds.len() < 7 || (start.elapsed().as_secs_f64() < 0.4 && seconds.len() < 1000) {
        let start = Instant::now();
        work();
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    seconds
}

/// `amount` per second in units of 1e9, at the minimum and the median time.
pub(crate) fn rates(amount: f64, seconds: &[f64]) -> (f64, f64) {
    (amount / seconds[0] / 1e9, amount / seconds[seconds.len() / 2] / 1e9)
}

pub(crate) fn values(len: usize) -> Vec<f32> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// GFLOP/s of independent multiply-adds on all threads: the roof of the convolutions.
pub(crate) fn peak() -> f64 {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2,fma")]
        fn multiply_adds(rounds: usize) -> f32 {
            use std::arch::x86_64::*;
            let factor = _mm256_set1_ps(black_box(0.999));
            let mut sums = [_mm256_set1_ps(1.0); 12];
            for _ in 0..rounds {
                for sum in &mut sums {
                    *sum = _mm256_fmadd_ps(*sum, factor, factor);
                }
            }
            let mut total = sums[0];
            for sum in &sums[1..] {
                total = _mm256_add_ps(total, *sum);
            }
            _mm256_cvtss_f32(total)
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            let threads = rayon::current_num_threads();
            let rounds = 1_000_000;
            let seconds = time(|| {
                (0..threads).into_par_iter().for_each(|_| {
                    // SAFETY: the features were detected just above.
                    black_box(unsafe { multiply_adds(rounds) });
                });
            });
            return rates((threads * rounds * 12 * 16) as f64, &seconds).0;
        }
    }
    f64::NAN
}
