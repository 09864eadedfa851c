//! How many seeds a comparison takes.

use std::fmt;
use std::str::FromStr;

/// A number of seeds, or as many as it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seeds {
    /// This many.
    Count(u32),
    /// Until the intervals are narrow enough.
    Auto,
}

/// More are a slip of the finger.
const MOST: u32 = 1000;

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            _ if text.eq_ignore_ascii_case("auto") => Ok(Self::Auto),
            Ok(count) if (1..=MOST).contains(&count) => Ok(Self::Count(count)),
            _ => Err(format!("a number from 1 to {MOST} is expected, or `auto`")),
        }
    }
}

impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(f),
            Self::Auto => f.write_str("auto"),
        }
    }
}

/// `--width`: points, above 0.
pub(super) fn points(text: &str) -> Result<f64, String> {
    let points = text.parse().ok().filter(|own: &f64| own.is_finite() && *own > 0.0);
    points.ok_or_else(|| "points of accuracy above 0 are expected, for example `0.5`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_or_auto() {
        assert_eq!(("5".parse(), "auto".parse()), (Ok(Seeds::Count(5)), Ok(Seeds::Auto)));
        assert_eq!("AUTO".parse(), Ok(Seeds::Auto));
        for bad in ["0", "1001", "-1", "", "all", "1.5"] {
            assert!(bad.parse::<Seeds>().is_err(), "{bad}");
        }
        for text in ["7", "auto"] {
            assert_eq!(text.parse::<Seeds>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn widths_are_above_zero() {
        assert_eq!(points("0.5"), Ok(0.5));
        for bad in ["0", "-1", "NaN", "inf", "x"] {
            assert!(points(bad).is_err(), "{bad}");
        }
    }
}
