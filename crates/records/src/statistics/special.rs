//! The functions that the tests need: digamma and its derivatives, and Student's t for any degrees of
//! freedom.
//!
//! Arguments are positive. Recurrences lift them to where the asymptotic series holds to 1e-15
//! (Abramowitz, Stegun, 6.3.18, 6.4.11 to 6.4.13, 6.1.41); the incomplete beta function is its continued
//! fraction (26.5.8), evaluated by Lentz's method.

/// From here on the asymptotic series hold to the last digit or two.
const LARGE: f64 = 12.0;

/// Derivative of the logarithm of the gamma function.
pub(super) fn digamma(mut x: f64) -> f64 {
    let mut sum = 0.0;
    while x < LARGE {
        sum -= 1.0 / x;
        x += 1.0;
    }
    let y = 1.0 / (x * x);
    let series = y
        * (1.0 / 12.0
            - y * (1.0 / 120.0 - y * (1.0 / 252.0 - y * (1.0 / 240.0 - y * (1.0 / 132.0)))));
    sum + x.ln() - 0.5 / x - series
}

/// Derivative of [`digamma`].
pub(super) fn trigamma(mut x: f64) -> f64 {
    let mut sum = 0.0;
    while x < LARGE {
        sum += 1.0 / (x * x);
        x += 1.0;
    }
    let y = 1.0 / (x * x);
    let series =
        y * (1.0 / 6.0 - y * (1.0 / 30.0 - y * (1.0 / 42.0 - y * (1.0 / 30.0 - y * (5.0 / 66.0)))));
    sum + 1.0 / x + 0.5 * y + series / x
}

/// Derivative of [`trigamma`].
fn tetragamma(mut x: f64) -> f64 {
    let mut sum = 0.0;
    while x < LARGE {
        sum -= 2.0 / (x * x * x);
        x += 1.0;
    }
    let y = 1.0 / (x * x);
    let series = y * (0.5 - y * (1.0 / 6.0 - y * (1.0 / 6.0 - y * (0.3 - y * (5.0 / 6.0)))));
    sum - y - y / x - y * series
}

/// The x whose [`trigamma`] is `value`, by Newton's steps on `1 / trigamma`, which is convex and
/// nearly a line: from `0.5 + 1 / value`, which lies below, every step stays on one side.
pub(super) fn inverse_trigamma(value: f64) -> f64 {
    let mut x = 0.5 + 1.0 / value;
    for _ in 0..50 {
        let own = trigamma(x);
        let step = own * (1.0 - own / value) / tetragamma(x);
        x += step;
        if step.abs() <= 1e-14 * x {
            break;
        }
    }
    x
}

/// Logarithm of the gamma function.
fn ln_gamma(mut x: f64) -> f64 {
    let mut product = 1.0;
    while x < LARGE {
        product *= x;
        x += 1.0;
    }
    let y = 1.0 / (x * x);
    let series = (1.0 / 12.0
        - y * (1.0 / 360.0 - y * (1.0 / 1260.0 - y * (1.0 / 1680.0 - y * (1.0 / 1188.0)))))
        / x;
    (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + series - product.ln()
}

/// The regularised incomplete beta function.
fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    // Where the fraction converges fast.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(b, a, 1.0 - x);
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p()).exp();
    let away = |v: f64| if v.abs() < 1e-300 { 1e-300 } else { v };
    let mut c = 1.0;
    let mut d = 1.0 / away(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for k in 1..500 {
        let k = f64::from(k);
        let even = k * (b - k) * x / ((a + 2.0 * k - 1.0) * (a + 2.0 * k));
        let odd = -(a + k) * (a + b + k) * x / ((a + 2.0 * k) * (a + 2.0 * k + 1.0));
        let mut last = 1.0;
        for term in [even, odd] {
            d = 1.0 / away(1.0 + term * d);
            c = away(1.0 + term / c);
            last = c * d;
            fraction *= last;
        }
        if (last - 1.0).abs() < 1e-15 {
            break;
        }
    }
    (front * fraction / a).clamp(0.0, 1.0)
}

/// P(|T| > t) of Student's t; `degrees` > 0, `t` ≥ 0.
pub(super) fn student_tail(degrees: f64, t: f64) -> f64 {
    if t.is_infinite() {
        return 0.0;
    }
    incomplete_beta(0.5 * degrees, 0.5, degrees / (degrees + t * t))
}

/// The t that is exceeded on both sides together with chance `level`.
pub(super) fn student_quantile(degrees: f64, level: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while student_tail(degrees, high) > level && high < 1e12 {
        low = high;
        high *= 2.0;
    }
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if student_tail(degrees, middle) > level { low = middle } else { high = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(got: f64, want: f64, relative: f64) {
        assert!((got - want).abs() <= relative * want.abs(), "{got} instead of {want}");
    }

    #[test]
    fn digamma_and_trigamma_have_their_known_values() {
        let euler = 0.577_215_664_901_532_9;
        let squares = std::f64::consts::PI.powi(2);
        near(digamma(1.0), -euler, 1e-13);
        near(digamma(0.5), -euler - 2.0 * std::f64::consts::LN_2, 1e-13);
        near(trigamma(1.0), squares / 6.0, 1e-14);
        near(trigamma(0.5), squares / 2.0, 1e-14);
        // -2 ζ(3)
        near(tetragamma(1.0), -2.404_113_806_319_188_6, 1e-13);
        // (1 - 1/x²) summed: both sides of the recurrence.
        near(trigamma(30.0), trigamma(29.0) - 1.0 / 841.0, 1e-12);
    }

    #[test]
    fn the_inverse_of_trigamma_is_one() {
        for value in [1e-6, 1e-3, 0.1, 0.5, 1.6449, 5.0, 1e3] {
            near(trigamma(inverse_trigamma(value)), value, 1e-11);
        }
    }

    #[test]
    fn student_is_that_of_tables_and_of_closed_forms() {
        let cases = [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (30, 2.042)];
        for (degrees, expected) in cases {
            let own = student_quantile(f64::from(degrees), 0.05);
            assert!((own - expected).abs() < 6e-4, "{degrees}: {own}");
        }
        assert!((student_quantile(4.0, 0.01) - 4.604).abs() < 6e-4);
        assert_eq!(student_tail(3.0, 0.0), 1.0);
        for t in [0.1, 1.0, 5.0, 60.0, 1e4] {
            // One and two degrees of freedom.
            near(student_tail(1.0, t), 1.0 - std::f64::consts::FRAC_2_PI * f64::atan(t), 1e-8);
            near(student_tail(2.0, t), 1.0 - t / (2.0 + t * t).sqrt(), 1e-7);
        }
    }
}
