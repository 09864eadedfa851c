//! What the rows of the methods are written with: options that several methods share, and reading
//! a recipe's options back.

use crate::Scale;
use faculty_recipe::{self as recipe, OptionSpec, OptionValue, Range};

pub(crate) const CA_MKD_PAPER: &str = "CA-MKD paper";
pub(crate) const CA_MKD_CODE: &str = "CA-MKD released code";
pub(crate) const BENCHMARKS: &str = "distillation benchmarks";
pub(crate) const OURS: &str = "faculty's choice";

/// An option without exceptions.
pub(crate) const fn option(
    key: &'static str,
    default: OptionValue,
    range: Range,
    source: &'static str,
    help: &'static str,
) -> OptionSpec {
    OptionSpec { key, default, range, source, help, exceptions: &[] }
}

/// Softening of the distillation term at the output.
pub(crate) const TEMPERATURE: OptionSpec = option(
    "temperature",
    OptionValue::Number(4.0),
    Range::above(0.0),
    CA_MKD_PAPER,
    "softening τ of teacher and student outputs in the distillation term",
);

/// Weight of the distillation term of methods of several teachers.
pub(crate) const ALPHA: OptionSpec = option(
    "alpha",
    OptionValue::Number(1.0),
    Range::at_least(0.0),
    CA_MKD_PAPER,
    "weight of the distillation term at the output",
);

/// Where a released code has another constant than "weights sum to 1".
pub(crate) const SCALE: OptionSpec = option(
    "scale",
    OptionValue::Word("unit"),
    Range::Words(&["unit", "official"]),
    OURS,
    "unit: weights sum to 1; official: the released code's factor on the distillation terms",
);

const CHECKED: &str = "the recipe check fills in every option of the method";

/// A number of a checked recipe.
pub(crate) fn number(options: &recipe::Method, key: &str) -> f64 {
    options.number(key).expect(CHECKED)
}

/// A yes or no of a checked recipe.
pub(crate) fn flag(options: &recipe::Method, key: &str) -> bool {
    options.flag(key).expect(CHECKED)
}

/// A count of a checked recipe, whose range starts at 0 or above.
pub(crate) fn count(options: &recipe::Method, key: &str) -> usize {
    usize::try_from(options.integer(key).expect(CHECKED)).unwrap_or(usize::MAX)
}

/// A word of a checked recipe.
pub(crate) fn word(options: &recipe::Method, key: &str) -> &'static str {
    options.word(key).expect(CHECKED)
}

/// The option `temperature`.
pub(crate) fn temperature(options: &recipe::Method) -> f32 {
    number(options, "temperature") as f32
}

/// The option `scale`.
pub(crate) fn scale(options: &recipe::Method) -> Scale {
    match word(options, "scale") {
        "official" => Scale::Official,
        _ => Scale::Unit,
    }
}
